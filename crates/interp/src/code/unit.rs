//! Executable code: one 64-bit cell for each code word, at the same position, so that no map back to original offsets
//! is needed.
//!
//! The cell of an instruction holds what the dispatch backend needs to jump; the cell of an operand holds its value,
//! sign extended. Two kinds of operand are resolved to addresses: a unit's slots, and method caches.
//!
//! A unit's cells, original words and method caches share one allocation, so that freeing many units is cheap.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use md5::{Digest, Md5};
use spelter_bytecode::opcode::OpcodeSet;
use spelter_bytecode::{Instr, Instructions, Opcode};
use spelter_heap::raw::WeakId;
use spelter_heap::{Charge, OutOfMemory};

use crate::code::cells::{Cells, SharedCells};
use crate::code::closure_shapes::Shapes;
use crate::code::translate::Translator;
use crate::exec::dispatch::{self, Engine};
use crate::exec::regs::zero_cells;
use crate::fallible;
use crate::inspect::backtrace::DebugInfo;
use crate::prim::table::PrimTable;

/// Identifies a unit among all that a machine ever loaded. Never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct UnitId(pub u64);

/// Memory that a unit uses outside the heap, in bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct UnitBytes {
    /// Cells, code words and method caches.
    pub code: usize,
    /// Debug events, if they have been read.
    pub debug: usize,
}

/// What the loader knows about a unit. The machine does not need it, but later users of the unit do.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct UnitFacts {
    /// The slot that holds the unit's module, if it defines a module of its own name.
    pub module: Option<usize>,
    /// The digest of its own interface against which it was compiled.
    pub interface: Option<[u8; 16]>,
    /// Bytes that its literals take in the heap, headers included.
    pub constant_bytes: usize,
}

/// The argument of [`Unit::on_unload`] callbacks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unloaded {
    /// The unit's number.
    pub id: UnitId,
    /// The module's name.
    pub name: String,
    /// The memory that was freed.
    pub bytes: UnitBytes,
}

pub(crate) type UnloadCallback = Box<dyn FnOnce(&Unloaded) + Send>;

/// A piece of code and everything attached to it: the program, or a loaded unit. It is freed as a whole.
pub struct Unit {
    /// Its number.
    pub id: UnitId,
    /// The module's name, or for code without a module, what loaded it.
    pub name: String,
    /// A cell for each code word; then a loaded unit's words themselves, two to a cell; then the method caches.
    pub(crate) cells: Cells,
    /// The number of code words.
    len: usize,
    /// A program's words.
    words: Option<Arc<Vec<i32>>>,
    /// The position of the next method cache.
    next_cache: Cell<usize>,
    /// The method caches, if the code is translated lazily.
    more_caches: RefCell<Vec<Rc<Cell<u64>>>>,
    digest: OnceCell<[u8; 16]>,
    /// The instructions that it may contain, including those that the patcher writes.
    pub(crate) opcodes: OpcodeSet,
    /// The shapes of closures that its code makes, computed on first use.
    shapes: OnceCell<Shapes>,
    pub(crate) debug: RefCell<DebugInfo>,
    /// The heap block that owns a loaded unit. `None` for the program, which is never freed.
    pub(crate) object: Option<WeakId>,
    /// Counts the memory of a loaded unit's code towards the heap.
    _charge: Option<Charge>,
    facts: Cell<UnitFacts>,
    revoked: Cell<bool>,
    /// Whether the code object has been freed.
    pub(super) dead: Cell<bool>,
    pub(super) on_unload: RefCell<Vec<UnloadCallback>>,
}

/// The words of code.
pub(crate) enum Words {
    /// Those of a loaded unit, which is translated at once.
    Unit(Vec<i32>),
    /// A program's, which it keeps.
    Program(Arc<Vec<i32>>),
}

impl Deref for Words {
    type Target = [i32];

    fn deref(&self) -> &[i32] {
        match self {
            Words::Unit(words) => words,
            Words::Program(words) => words,
        }
    }
}

impl Words {
    /// Those that a unit keeps beside its cells.
    fn kept(&self) -> Option<Arc<Vec<i32>>> {
        match self {
            Words::Unit(_) => None,
            Words::Program(words) => Some(Arc::clone(words)),
        }
    }
}

/// When code is translated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Translated {
    /// A program's functions when they are first called, where the engine can do that.
    OnDemand,
    /// As a whole, when it is loaded.
    AtOnce,
}

/// The parts from which a unit is made.
pub(crate) struct UnitCode<'a> {
    pub(crate) id: UnitId,
    pub(crate) name: String,
    pub(crate) words: Words,
    /// The digest by which `Marshal` identifies the code. If `None`, the digest of the words.
    pub(crate) digest: Option<[u8; 16]>,
    /// The instructions that files of its version may contain.
    pub(crate) opcodes: OpcodeSet,
    /// The addresses to which slot numbers refer.
    pub(crate) slots: &'a [u64],
    pub(crate) debug: DebugInfo,
    pub(crate) object: Option<WeakId>,
    pub(crate) charge: Option<Charge>,
}

/// The value of an empty method cache: entries 0 to 2 of a method table contain no tag.
const EMPTY_CACHE: u64 = 3;

/// Two code words in a cell.
fn pair(words: &[i32]) -> u64 {
    words.iter().rev().fold(0, |pair, word| pair << 32 | u64::from(*word as u32))
}

impl Unit {
    /// Translates code for an engine; a program's code only in part.
    ///
    /// # Errors
    /// When the words are not valid instructions.
    pub(crate) fn translate(
        source: UnitCode<'_>,
        how: Translated,
        translator: &Translator,
        prims: &PrimTable,
    ) -> Result<Unit, spelter_bytecode::Error> {
        let (words, slots) = (&source.words, source.slots);
        let (len, opcodes) = (words.len(), source.opcodes.with_internal());
        let is_program = matches!(words, Words::Program(_));
        let little_by_little = is_program && translator.is_lazy() && how == Translated::OnDemand;
        let packed = if is_program { 0 } else { len.div_ceil(2) };
        let caches = if little_by_little { 0 } else { Translator::method_caches(words, opcodes)? };
        let cells =
            zero_cells(len + packed + caches).map_err(|_| spelter_bytecode::Error::out_of_memory())?;
        for (cell, words) in cells[len..len + packed].iter().zip(words.chunks(2)) {
            cell.set(pair(words));
        }
        for cache in &cells[len + packed..] {
            cache.set(EMPTY_CACHE);
        }
        let (unit, words) = Unit::with_cells(source, Cells::Own(cells), len + packed);
        if !little_by_little {
            translator.all(&unit, &words, slots, prims)?;
        }
        Ok(unit)
    }

    /// The program that another machine has translated.
    pub(crate) fn of_shared(source: UnitCode<'_>, cells: Arc<SharedCells>) -> Unit {
        let next_cache = cells.len();
        Unit::with_cells(source, Cells::Shared(cells), next_cache).0
    }

    /// A unit with these cells, whose next method cache is at that position, and its words.
    fn with_cells(source: UnitCode<'_>, cells: Cells, next_cache: usize) -> (Unit, Words) {
        let UnitCode { id, name, words, digest, opcodes, slots: _, debug, object, charge } = source;
        let unit = Unit {
            id,
            name,
            cells,
            len: words.len(),
            words: words.kept(),
            next_cache: Cell::new(next_cache),
            more_caches: RefCell::default(),
            digest: digest.map_or_else(OnceCell::new, OnceCell::from),
            opcodes: opcodes.with_internal(),
            shapes: OnceCell::new(),
            debug: RefCell::new(debug),
            object,
            _charge: charge,
            facts: Cell::default(),
            revoked: Cell::new(false),
            dead: Cell::new(false),
            on_unload: RefCell::default(),
        };
        (unit, words)
    }

    /// Lets other machines share its cells.
    pub(crate) fn share(&mut self) -> Arc<SharedCells> {
        let cells = match std::mem::replace(&mut self.cells, Cells::Own(Box::default())) {
            Cells::Own(cells) => Arc::new(SharedCells::new(cells)),
            Cells::Shared(cells) => cells,
        };
        self.cells = Cells::Shared(Arc::clone(&cells));
        cells
    }

    /// The address of the method cache of the next instruction that has one.
    pub(crate) fn next_cache(&self) -> *const Cell<u64> {
        let next = self.next_cache.get();
        if let Some(cache) = self.cells.get(next) {
            self.next_cache.set(next + 1);
            return cache;
        }
        let cache = Rc::new(Cell::new(EMPTY_CACHE));
        self.more_caches.borrow_mut().push(Rc::clone(&cache));
        Rc::as_ptr(&cache)
    }

    /// Replaces every instruction by one that raises, so that all control transfers into this code raise. Operands
    /// stay: control never transfers to one, and the instruction in progress may still read its own. `words` are the
    /// unit's.
    pub(crate) fn poison(&self, engine: Engine, words: &[i32]) {
        assert!(self.is_loaded(), "only loaded units are revoked");
        let revoked = dispatch::cell(engine, Opcode::REVOKED);
        for instr in Unit::instructions(words, self.opcodes) {
            self.cells[instr.pos].set(revoked);
        }
        self.revoked.set(true);
        self.debug.replace(DebugInfo::None);
    }

    /// Whether the unit has been revoked: calls into it raise.
    pub fn is_revoked(&self) -> bool {
        self.revoked.get()
    }

    /// Whether the collector has freed the code object: the code can no longer run.
    pub(crate) fn is_dead(&self) -> bool {
        self.dead.get()
    }

    /// What its loader recorded about it.
    pub fn facts(&self) -> UnitFacts {
        self.facts.get()
    }

    /// Records more about the unit. Its loader calls this once.
    pub fn set_facts(&self, facts: UnitFacts) {
        self.facts.set(facts);
    }

    /// Registers `f` to be called once the collector has freed the unit, at the machine's next safe point, not during
    /// the collection. It is not called when the unit is dropped together with its machine.
    pub fn on_unload(&self, f: impl FnOnce(&Unloaded) + Send + 'static) {
        self.on_unload.borrow_mut().push(Box::new(f));
    }

    /// Where the code starts.
    pub(crate) fn start(&self) -> *const u64 {
        self.cells.as_ptr().cast()
    }

    /// The position of a code address, in words.
    pub(crate) fn position(&self, address: usize) -> usize {
        (address - self.start() as usize) / size_of::<u64>()
    }

    /// The position of a code address that may belong to another unit.
    pub(crate) fn find_position(&self, address: *const u64) -> Option<usize> {
        self.code().as_ptr_range().contains(&address.cast()).then(|| self.position(address as usize))
    }

    /// The code address of a position in words, if it is within the code.
    pub(crate) fn address(&self, position: usize) -> Option<*const u64> {
        self.code().get(position).map(|cell| std::ptr::from_ref(cell).cast())
    }

    /// The instruction word at a position.
    pub(crate) fn word(&self, position: usize) -> Option<i32> {
        if let Some(words) = &self.words {
            return words.get(position).copied();
        }
        (position < self.len).then(|| {
            let pair = self.cells[self.len + position / 2].get();
            (pair >> (32 * (position % 2))) as i32
        })
    }

    /// The cells of the code.
    pub(crate) fn code(&self) -> &[Cell<u64>] {
        &self.cells[..self.len]
    }

    /// The code words as they were installed.
    ///
    /// # Errors
    /// When there is no memory for a copy.
    pub(crate) fn words(&self) -> Result<Cow<'_, [i32]>, OutOfMemory> {
        Ok(match &self.words {
            Some(words) => Cow::Borrowed(words),
            None => {
                let mut words = fallible::with_capacity(self.len)?;
                words.extend((0..self.len).filter_map(|position| self.word(position)));
                Cow::Owned(words)
            }
        })
    }

    /// The shapes of closures that its own instructions make.
    ///
    /// # Errors
    /// When there is no memory to compute them.
    pub(crate) fn shapes(&self) -> Result<&Shapes, OutOfMemory> {
        match self.shapes.get() {
            Some(shapes) => Ok(shapes),
            None => {
                let shapes = Shapes::of_code(&self.words()?, self.opcodes)?;
                Ok(self.shapes.get_or_init(|| shapes))
            }
        }
    }

    /// The number of bytes that the cells of `words` code words take, including the words themselves.
    pub(crate) fn code_bytes(words: usize) -> usize {
        size_of::<u64>() * (words + words.div_ceil(2))
    }

    /// The number of code words.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The cell at a position.
    pub(crate) fn cell(&self, position: usize) -> u64 {
        self.code()[position].get()
    }

    /// Replaces the cell of the instruction at a position, and returns the old one.
    pub(crate) fn exchange(&self, position: usize, cell: u64) -> u64 {
        assert!(matches!(self.cells, Cells::Own(_)), "shared code is not changed");
        self.code()[position].replace(cell)
    }

    pub(crate) fn instructions(words: &[i32], opcodes: OpcodeSet) -> impl Iterator<Item = Instr<'_>> {
        Instructions::new(words, opcodes).flatten()
    }

    /// The digest that identifies this code in marshalled closures.
    pub fn digest(&self) -> [u8; 16] {
        *self.digest.get_or_init(|| {
            let mut md5 = Md5::new();
            (0..self.len)
                .filter_map(|position| self.word(position))
                .for_each(|word| md5.update(word.to_le_bytes()));
            md5.finalize().into()
        })
    }

    /// The memory that the unit uses outside the heap.
    pub fn bytes(&self) -> UnitBytes {
        let words = self.words.as_ref().map_or(0, |words| size_of_val(&***words));
        UnitBytes { code: size_of_val(&*self.cells) + words, debug: self.debug.borrow().bytes() }
    }

    /// Whether this unit was loaded at run time and can be freed.
    pub fn is_loaded(&self) -> bool {
        self.object.is_some()
    }
}
