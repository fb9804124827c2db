//! Code in the form that runs: one 64-bit cell per code word, so that a word's position is its cell's, and
//! the map back to original offsets is the identity.
//!
//! A cell holds, for an instruction, what the dispatch backend jumps by; for an operand, its value sign
//! extended. Two kinds of operand are resolved to addresses: a unit's slots, and method caches.
//!
//! A unit's cells, original words and method caches are one allocation, so that freeing many units costs little.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use md5::{Digest, Md5};
use rustc_hash::FxHashMap;
use spelter_bytecode::opcode::OpcodeSet;
use spelter_bytecode::{Instr, Instructions, Opcode};
use spelter_heap::raw::WeakId;
use spelter_heap::{Charge, OutOfMemory};

use crate::backtrace::DebugInfo;
use crate::dispatch::{self, Engine};
use crate::fallible;
use crate::history::{CodeEventKind, CodeEvents};
use crate::prim::PrimTable;
use crate::regs::zero_cells;
use crate::shapes::Shapes;
use crate::translate::Translator;

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

type UnloadCallback = Box<dyn FnOnce(&Unloaded)>;

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
    /// What closures its code makes, for those who have asked.
    shapes: OnceCell<Shapes>,
    pub(crate) debug: RefCell<DebugInfo>,
    /// The heap block that owns a loaded unit; none for the program, which is never freed.
    pub(crate) object: Option<WeakId>,
    /// What the code of a loaded unit takes is counted with the heap's words.
    _charge: Option<Charge>,
    facts: Cell<UnitFacts>,
    revoked: Cell<bool>,
    /// The code object has been freed.
    dead: Cell<bool>,
    on_unload: RefCell<Vec<UnloadCallback>>,
}

/// What translation must know besides the words.
pub(crate) struct Source<'a> {
    pub(crate) id: UnitId,
    pub(crate) name: String,
    pub(crate) words: Vec<i32>,
    /// The digest under which `Marshal` names the code; that of the words if none.
    pub(crate) digest: Option<[u8; 16]>,
    /// The addresses behind slot numbers.
    pub(crate) slots: &'a [u64],
    pub(crate) debug: DebugInfo,
    pub(crate) object: Option<WeakId>,
    pub(crate) charge: Option<Charge>,
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
        source: Source<'_>,
        translator: &Translator,
        prims: &PrimTable,
    ) -> Result<Unit, spelter_bytecode::Error> {
        let Source { id, name, words, digest, slots, debug, object, charge } = source;
        let len = words.len();
        let little_by_little = object.is_none() && translator.is_lazy();
        let (packed, caches) =
            if little_by_little { (0, 0) } else { (len.div_ceil(2), Translator::method_caches(&words)?) };
        let cells =
            zero_cells(len + packed + caches).map_err(|_| spelter_bytecode::Error::out_of_memory())?;
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
            shapes: OnceCell::new(),
            debug: RefCell::new(debug),
            object,
            _charge: charge,
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
    /// nothing leads to one, and the instruction that is under way may still read its own. The words are the unit's.
    pub(crate) fn poison(&self, engine: Engine, words: &[i32]) {
        let revoked = dispatch::cell(engine, Opcode::REVOKED);
        for instr in Unit::instructions(words) {
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

    /// Which closures its own instructions make.
    ///
    /// # Errors
    /// When there is no memory to find out.
    pub(crate) fn shapes(&self) -> Result<&Shapes, OutOfMemory> {
        match self.shapes.get() {
            Some(shapes) => Ok(shapes),
            None => {
                let shapes = Shapes::of_code(&self.words()?)?;
                Ok(self.shapes.get_or_init(|| shapes))
            }
        }
    }

    /// How many bytes the cells of so many code words take, with the words themselves.
    pub(crate) fn code_bytes(words: usize) -> usize {
        size_of::<u64>() * (words + words.div_ceil(2))
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

    pub(crate) fn instructions(words: &[i32]) -> impl Iterator<Item = Instr<'_>> {
        Instructions::new(words, OpcodeSet::V4.with_internal()).flatten()
    }

    /// The digest that stands for this code in marshalled closures.
    pub fn digest(&self) -> [u8; 16] {
        *self.digest.get_or_init(|| {
            let mut md5 = Md5::new();
            (0..self.len)
                .filter_map(|position| self.word(position))
                .for_each(|word| md5.update(word.to_le_bytes()));
            md5.finalize().into()
        })
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

/// What has been loaded and freed so far.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct UnitCounts {
    /// Units loaded at run time.
    pub loaded: u64,
    /// Of these, freed.
    pub freed: u64,
    /// Code bytes of all loaded ones.
    pub loaded_bytes: u64,
    /// Code bytes of the freed ones.
    pub freed_bytes: u64,
}

impl UnitCounts {
    /// Units alive now.
    pub fn alive(&self) -> u64 {
        self.loaded - self.freed
    }

    /// Code bytes of the units alive now.
    pub fn alive_bytes(&self) -> u64 {
        self.loaded_bytes - self.freed_bytes
    }
}

/// All code of a machine, by address.
#[derive(Default)]
pub struct Registry {
    by_start: BTreeMap<usize, Rc<Unit>>,
    by_id: FxHashMap<UnitId, Rc<Unit>>,
    /// Digests, with the addresses of the units that have them: made when first asked for, as most programs never
    /// read a marshalled closure.
    by_digest: Option<BTreeSet<([u8; 16], usize)>>,
    /// Loads and frees so far.
    pub counts: UnitCounts,
    /// What has happened, when somebody wants to know.
    pub(crate) recording: Option<Box<CodeEvents>>,
    /// Units whose code objects have been freed, and that are still in the tables.
    dead: Vec<Rc<Unit>>,
    /// Who wants to be told about units that have died.
    pub(crate) unloaded: Vec<(Unloaded, Vec<UnloadCallback>)>,
}

/// A table with room for more than this gives room back when it is mostly empty.
const ROOMY: usize = 256;

/// The registry is shared with the owners of units, which strike them out when they die.
pub(crate) type SharedRegistry = Rc<RefCell<Registry>>;

impl Registry {
    /// Makes room for one unit more in the tables, but for single nodes of trees, and for the time when it has died.
    pub(crate) fn reserve(&mut self) -> Result<(), OutOfMemory> {
        self.by_id.try_reserve(1).map_err(|_| OutOfMemory { words: self.by_id.len() })?;
        fallible::reserve(&mut self.dead, self.by_id.len() + 1)
    }

    pub(crate) fn add(&mut self, unit: Rc<Unit>) {
        if unit.is_loaded() {
            self.counts.loaded += 1;
            self.counts.loaded_bytes += unit.bytes().code as u64;
            self.note(CodeEventKind::Loaded, &unit);
        }
        if let Some(by_digest) = &mut self.by_digest {
            by_digest.insert((unit.digest(), unit.start() as usize));
        }
        self.by_id.insert(unit.id, Rc::clone(&unit));
        self.by_start.insert(unit.start() as usize, unit);
    }

    /// Takes some units whose code objects have been freed out of all tables: `most` of them. The caller, who has the
    /// heap at hand, drops their weak references.
    pub(crate) fn take_dead(&mut self, most: usize) -> Vec<Rc<Unit>> {
        let most = most.min(self.dead.len());
        // Those that there is no memory for wait, as the others do.
        let Ok(mut dead) = fallible::with_capacity(most) else { return Vec::new() };
        dead.extend(self.dead.drain(self.dead.len() - most..));
        // Of many, it is cheaper to look at all that stay than to look for each that goes.
        let (all, node) = (self.by_start.len(), 4 * size_of::<(usize, Rc<Unit>)>());
        if dead.len() > all / 8 && fallible::afford(node * all).is_ok() {
            self.by_start =
                std::mem::take(&mut self.by_start).into_iter().filter(|(_, unit)| !unit.is_dead()).collect();
            self.by_id.retain(|_, unit| !unit.is_dead());
        } else {
            for unit in &dead {
                self.by_start.remove(&(unit.start() as usize));
                self.by_id.remove(&unit.id);
            }
        }
        if self.by_id.capacity() > ROOMY && self.by_id.len() < self.by_id.capacity() / 8 {
            self.by_id.shrink_to(self.by_id.len() * 2);
        }
        for unit in &dead {
            if let Some(by_digest) = &mut self.by_digest {
                by_digest.remove(&(unit.digest(), unit.start() as usize));
            }
            self.counts.freed += 1;
            self.counts.freed_bytes += unit.bytes().code as u64;
            self.note(CodeEventKind::Freed, unit);
            let callbacks = unit.on_unload.take();
            if !callbacks.is_empty() {
                let unloaded = Unloaded { id: unit.id, name: unit.name.clone(), bytes: unit.bytes() };
                self.unloaded.push((unloaded, callbacks));
            }
        }
        dead
    }

    /// Whether there are units for [`Registry::take_dead`].
    pub(crate) fn has_dead(&self) -> bool {
        !self.dead.is_empty()
    }

    /// The unit whose code holds this address.
    pub fn find(&self, address: usize) -> Option<&Rc<Unit>> {
        let (_, unit) = self.by_start.range(..=address).next_back()?;
        (unit.position(address) < unit.len).then_some(unit)
    }

    /// The units of this digest, by address; not those that have been revoked.
    ///
    /// # Errors
    /// When there is no memory for a table of digests.
    pub(crate) fn find_digest(
        &mut self,
        digest: &[u8; 16],
    ) -> Result<impl Iterator<Item = &Rc<Unit>>, OutOfMemory> {
        if self.by_digest.is_none() {
            // A tree is made by sorting a vector; both have these.
            fallible::afford(4 * size_of::<([u8; 16], usize)>() * self.by_start.len())?;
        }
        let all = || self.by_start.iter().map(|(start, unit)| (unit.digest(), *start)).collect();
        let starts = self.by_digest.get_or_insert_with(all).range((*digest, 0)..=(*digest, usize::MAX));
        let units = starts.filter_map(|(_, start)| self.by_start.get(start));
        Ok(units.filter(|unit| !unit.is_revoked()))
    }

    /// The unit of that number, if it is alive.
    pub fn get(&self, id: UnitId) -> Option<&Rc<Unit>> {
        self.by_id.get(&id).filter(|unit| !unit.is_dead())
    }

    /// How many digests of loaded units are known: none while nobody has asked for any.
    pub fn digest_count(&self) -> usize {
        let by_digest = self.by_digest.iter().flatten();
        by_digest.filter(|(_, start)| self.by_start.get(start).is_none_or(|unit| unit.is_loaded())).count()
    }

    /// How many numbers of units are known: as many as there are units.
    pub fn number_count(&self) -> usize {
        self.by_id.len()
    }

    /// All units, by address.
    pub fn iter(&self) -> impl Iterator<Item = &Rc<Unit>> {
        self.by_start.values()
    }
}

/// Owns a loaded unit on behalf of its code object: when that dies, the unit goes, at the machine's next safe point. The
/// collector itself does as little as can be, so that it is not held up when many go at once.
pub(crate) struct UnitOwner {
    pub(crate) unit: Rc<Unit>,
    pub(crate) registry: SharedRegistry,
}

impl Drop for UnitOwner {
    fn drop(&mut self) {
        self.unit.dead.set(true);
        self.registry.borrow_mut().dead.push(Rc::clone(&self.unit));
    }
}

/// The MD5 of some bytes: by it marshalled closures name code.
pub fn md5(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}
