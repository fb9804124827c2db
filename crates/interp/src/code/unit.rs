//! Code in the form that runs: one 64-bit cell per code word, so that a word's position is its cell's, and
//! the map back to original offsets is the identity.
//!
//! A cell holds, for an instruction, what the dispatch backend jumps by; for an operand, its value sign
//! extended. Two kinds of operand are resolved to addresses: a unit's slots, and method caches.
//!
//! A unit's cells, original words and method caches are one allocation, so that freeing many units costs little.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use md5::{Digest, Md5};
use spelter_bytecode::code::bytes_of_words;
use spelter_bytecode::opcode::OpcodeSet;
use spelter_bytecode::{Instr, Instructions, Opcode};
use spelter_heap::raw::WeakId;

use crate::code::closure_shapes::Shapes;
use crate::code::translate::Translator;
use crate::exec::dispatch::{self, Engine};
use crate::exec::regs::zero_cells;
use crate::inspect::backtrace::DebugInfo;
use crate::prim::table::PrimTable;

/// Names a unit among all that a machine ever loaded; never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct UnitId(pub u64);

/// Sizes of what a unit holds outside the heap, in bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct UnitBytes {
    /// Cells, code words and method caches.
    pub code: usize,
    /// Debug events, as far as they have been read.
    pub debug: usize,
}

/// What the loader knows about a unit that the machine does not need, but whoever handles the unit later does.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct UnitFacts {
    /// The slot that holds the unit's module, if it defines one by its own name.
    pub module: Option<usize>,
    /// The digest of the interface that it was compiled against as its own.
    pub interface: Option<[u8; 16]>,
    /// Bytes that its literals take in the heap, headers included.
    pub constant_bytes: usize,
}

/// What [`Unit::on_unload`] is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unloaded {
    /// The unit's number.
    pub id: UnitId,
    /// The module's name.
    pub name: String,
    /// What has been freed.
    pub bytes: UnitBytes,
}

pub(crate) type UnloadCallback = Box<dyn FnOnce(&Unloaded)>;

/// A piece of code and all that is keyed by it: the program, or a loaded unit. It dies as a whole.
pub struct Unit {
    /// Its number.
    pub id: UnitId,
    /// The module's name; what loaded it where the code has none.
    pub name: String,
    /// A cell for each code word; then the words themselves, two to a cell, unless they are in `words`; then the method
    /// caches.
    pub(crate) cells: Box<[Cell<u64>]>,
    /// How many code words there are.
    len: usize,
    /// The words of code that is translated little by little.
    words: Option<Box<[i32]>>,
    /// Where the next method cache is.
    next_cache: Cell<usize>,
    /// The method caches of code that is translated little by little.
    more_caches: RefCell<Vec<Rc<Cell<u64>>>>,
    digest: OnceCell<[u8; 16]>,
    /// The instructions that it may hold, those that the patcher writes included.
    pub(crate) opcodes: OpcodeSet,
    /// What closures its code makes, for those who have asked.
    shapes: OnceCell<Shapes>,
    pub(crate) debug: RefCell<DebugInfo>,
    /// The heap block that owns a loaded unit; none for the program, which is never freed.
    pub(crate) object: Option<WeakId>,
    facts: Cell<UnitFacts>,
    revoked: Cell<bool>,
    /// The code object has been freed.
    pub(super) dead: Cell<bool>,
    pub(super) on_unload: RefCell<Vec<UnloadCallback>>,
}

/// What a unit is made of.
pub(crate) struct UnitCode<'a> {
    pub(crate) id: UnitId,
    pub(crate) name: String,
    pub(crate) words: Vec<i32>,
    /// The digest under which `Marshal` names the code; that of the words if none.
    pub(crate) digest: Option<[u8; 16]>,
    /// The instructions that files of its version may hold.
    pub(crate) opcodes: OpcodeSet,
    /// The addresses behind slot numbers.
    pub(crate) slots: &'a [u64],
    pub(crate) debug: DebugInfo,
    pub(crate) object: Option<WeakId>,
}

/// A method cache that is surely empty: entries 0 to 2 of a method table hold no tag.
const EMPTY_CACHE: u64 = 3;

/// Two code words in a cell.
fn pair(words: &[i32]) -> u64 {
    words.iter().rev().fold(0, |pair, word| pair << 32 | u64::from(*word as u32))
}

impl Unit {
    /// Translates code for an engine; that of a program, in part.
    ///
    /// # Errors
    /// When the words are no instructions.
    pub(crate) fn translate(
        source: UnitCode<'_>,
        translator: &Translator,
        prims: &PrimTable,
    ) -> Result<Unit, spelter_bytecode::Error> {
        let UnitCode { id, name, words, digest, opcodes, slots, debug, object } = source;
        let opcodes = opcodes.with_internal();
        let len = words.len();
        let little_by_little = object.is_none() && translator.is_lazy();
        let (packed, caches) = if little_by_little {
            (0, 0)
        } else {
            (len.div_ceil(2), Translator::method_caches(&words, opcodes)?)
        };
        let cells = zero_cells(len + packed + caches);
        for (cell, words) in cells[len..len + packed].iter().zip(words.chunks(2)) {
            cell.set(pair(words));
        }
        for cache in &cells[len + packed..] {
            cache.set(EMPTY_CACHE);
        }
        let mut unit = Unit {
            id,
            name,
            cells,
            len,
            words: None,
            next_cache: Cell::new(len + packed),
            more_caches: RefCell::default(),
            digest: digest.map_or_else(OnceCell::new, OnceCell::from),
            opcodes,
            shapes: OnceCell::new(),
            debug: RefCell::new(debug),
            object,
            facts: Cell::default(),
            revoked: Cell::new(false),
            dead: Cell::new(false),
            on_unload: RefCell::default(),
        };
        if little_by_little {
            unit.words = Some(words.into_boxed_slice());
        } else {
            translator.all(&unit, &words, slots, prims)?;
        }
        Ok(unit)
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

    /// Makes every instruction one that raises, so that whatever leads into this code raises there. Operands stay:
    /// nothing leads to one, and the instruction that is under way may still read its own.
    pub(crate) fn poison(&self, engine: Engine) {
        let revoked = dispatch::cell(engine, Opcode::REVOKED);
        for instr in Unit::instructions(&self.words(), self.opcodes) {
            self.cells[instr.pos].set(revoked);
        }
        self.revoked.set(true);
        self.debug.replace(DebugInfo::None);
    }

    /// Whether the unit has been revoked: calls into it raise.
    pub fn is_revoked(&self) -> bool {
        self.revoked.get()
    }

    /// Whether the collector has freed the code object: nothing can run the code any more.
    pub(crate) fn is_dead(&self) -> bool {
        self.dead.get()
    }

    /// What its loader said about it.
    pub fn facts(&self) -> UnitFacts {
        self.facts.get()
    }

    /// Says more about the unit: its loader does, once.
    pub fn set_facts(&self, facts: UnitFacts) {
        self.facts.set(facts);
    }

    /// Has `f` called once the collector has freed the unit: at the machine's next safe point, not while it collects.
    /// A unit that goes with its machine is not reported.
    pub fn on_unload(&self, f: impl FnOnce(&Unloaded) + 'static) {
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

    /// The position of a code address that may be another unit's.
    pub(crate) fn find_position(&self, address: *const u64) -> Option<usize> {
        self.code().as_ptr_range().contains(&address.cast()).then(|| self.position(address as usize))
    }

    /// The code address of a position in words, if the code is that long.
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

    /// The code as it was installed.
    pub(crate) fn words(&self) -> Cow<'_, [i32]> {
        match &self.words {
            Some(words) => Cow::Borrowed(words),
            None => (0..self.len).filter_map(|position| self.word(position)).collect(),
        }
    }

    /// Which closures its own instructions make.
    pub(crate) fn shapes(&self) -> &Shapes {
        self.shapes.get_or_init(|| Shapes::of_code(&self.words(), self.opcodes))
    }

    /// How many words its code has.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The cell at a position.
    pub(crate) fn cell(&self, position: usize) -> u64 {
        self.code()[position].get()
    }

    /// Writes the cell of the instruction at a position; gives what it held.
    pub(crate) fn exchange(&self, position: usize, cell: u64) -> u64 {
        self.code()[position].replace(cell)
    }

    pub(crate) fn instructions(words: &[i32], opcodes: OpcodeSet) -> impl Iterator<Item = Instr<'_>> {
        Instructions::new(words, opcodes).flatten()
    }

    /// The digest that stands for this code in marshalled closures.
    pub fn digest(&self) -> [u8; 16] {
        *self.digest.get_or_init(|| Md5::digest(bytes_of_words(&self.words())).into())
    }

    /// What the unit holds outside the heap.
    pub fn bytes(&self) -> UnitBytes {
        let words = self.words.as_ref().map_or(0, |words| size_of_val(&**words));
        UnitBytes { code: size_of_val(&*self.cells) + words, debug: self.debug.borrow().bytes() }
    }

    /// Whether this unit was loaded at run time and can be freed.
    pub fn is_loaded(&self) -> bool {
        self.object.is_some()
    }
}
