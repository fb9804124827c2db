//! The safe interface: roots that own their registration, and the operations that need no contract.

use crate::custom::CustomOps;
use crate::heap::{Heap, OutOfMemory};
use crate::roots::{NoRoots, Slots};
use crate::val::{Val, WrongType};
use crate::value::{MAX_YOUNG_WOSIZE, Value, tag};
use std::any::Any;
use std::cell::RefCell;
use std::rc::Rc;

/// The slots behind a heap's [`Root`]s.
pub(crate) type RootTable = RefCell<Slots>;

/// A value that the heap keeps alive as long as this root exists.
pub struct Root {
    slot: u32,
    table: Rc<RootTable>,
}

impl Clone for Root {
    fn clone(&self) -> Root {
        let value = self.table.borrow().get(self.slot);
        Root::new(&self.table, value)
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        self.table.borrow_mut().remove(self.slot);
    }
}

impl Root {
    fn new(table: &Rc<RootTable>, value: Value) -> Root {
        Root { slot: table.borrow_mut().insert(value), table: Rc::clone(table) }
    }

    /// Its number: no other root of this heap that exists has it.
    pub fn number(&self) -> u32 {
        self.slot
    }
}

/// The content of a new block's field: a rooted value or an integer.
#[derive(Clone, Copy)]
pub enum Arg<'a> {
    /// The value of a root.
    Root(&'a Root),
    /// An integer; wraps to 63 bits.
    Int(i64),
}

impl<'a> From<&'a Root> for Arg<'a> {
    fn from(root: &'a Root) -> Self {
        Arg::Root(root)
    }
}
impl From<i64> for Arg<'_> {
    fn from(n: i64) -> Self {
        Arg::Int(n)
    }
}

/// The kind of the externals that [`Heap::external`] makes.
pub(crate) static EXTERNAL: CustomOps = CustomOps::new(c"_external", &()).owning().counting();

/// The safe interface. All methods panic when given a [`Root`] of another heap.
impl Heap {
    pub(crate) fn value(&self, root: &Root) -> Value {
        assert!(Rc::ptr_eq(&root.table, &self.safe_roots), "this root belongs to another heap");
        root.table.borrow().get(root.slot)
    }
    fn arg(&self, arg: Arg<'_>) -> Value {
        match arg {
            Arg::Root(root) => self.value(root),
            Arg::Int(n) => Value::int(n),
        }
    }
    fn root(&self, value: Value) -> Root {
        Root::new(&self.safe_roots, value)
    }

    /// A root of a value.
    ///
    /// # Safety
    /// The contract of [`raw`](crate::raw). If the root is used in a [scope](crate::scope), all blocks with the tag
    /// [`ABSTRACT`](crate::raw::tag::ABSTRACT) that can be reached from it are ephemerons.
    pub unsafe fn keep(&self, value: Value) -> Root {
        self.root(value)
    }

    /// Makes room for more roots: making one, or cloning one, cannot say that there is no memory.
    ///
    /// # Errors
    /// When there is none.
    pub fn reserve_roots(&self, more: usize) -> Result<(), OutOfMemory> {
        self.safe_roots.borrow_mut().reserve(more)
    }

    /// How many [`Root`]s exist.
    pub fn owned_root_count(&self) -> usize {
        self.safe_roots.borrow().len()
    }

    /// The value of a root.
    pub fn get(&self, root: &Root) -> Val<'_> {
        // SAFETY: rooted, hence valid; `&self` rules out collections and writes while it is in use.
        unsafe { Val::from_raw(self.value(root)) }
    }

    /// A root that holds this integer.
    pub fn int(&self, n: i64) -> Root {
        self.root(Value::int(n))
    }

    /// A block with these fields, or the atom if `fields` is empty. May collect.
    ///
    /// # Panics
    /// If `tag` is not below [`tag::NO_SCAN`](crate::raw::tag::NO_SCAN), or is the tag of infix headers.
    pub fn block(&mut self, tag: u8, fields: &[Arg<'_>]) -> Result<Root, OutOfMemory> {
        assert!(tag < tag::NO_SCAN && tag != tag::INFIX, "tag {tag} is not for blocks of values");
        // SAFETY: the safe interface keeps its values in roots, which the heap scans itself; the
        // values are read after the allocation.
        unsafe {
            let block = self.alloc(&mut NoRoots, fields.len(), tag)?;
            for (i, &field) in fields.iter().enumerate() {
                let v = self.arg(field);
                self.initialize(block, i, v);
            }
            Ok(self.root(block))
        }
    }

    /// A string of these bytes. May collect.
    pub fn string(&mut self, bytes: &[u8]) -> Result<Root, OutOfMemory> {
        // SAFETY: as in `block`; `bytes` cannot lie in the heap, which is borrowed mutably.
        unsafe {
            let v = self.alloc_string(&mut NoRoots, bytes.len())?;
            v.bytes_mut().copy_from_slice(bytes);
            Ok(self.root(v))
        }
    }

    /// A boxed float. May collect.
    ///
    /// # Panics
    /// If the system has no memory left.
    pub fn float(&mut self, f: f64) -> Root {
        // SAFETY: as in `block`.
        unsafe {
            let v = self.alloc_double(&mut NoRoots, f).expect("memory for a float");
            self.root(v)
        }
    }

    /// A block that owns a Rust value and drops it when the block dies. `outside_bytes` is the memory that the value
    /// holds. May collect.
    pub fn external(&mut self, data: Box<dyn Any>, outside_bytes: usize) -> Result<Root, OutOfMemory> {
        // SAFETY: as in `block`.
        unsafe {
            let v = self.alloc_external(&mut NoRoots, &EXTERNAL, data, outside_bytes)?;
            Ok(self.root(v))
        }
    }

    /// Field `i` of a block, as a new root.
    pub fn field(&self, block: &Root, i: usize) -> Result<Root, WrongType> {
        self.get(block).field(i).map(|v| self.root(v.raw()))
    }

    /// Writes field `i` of a block of values.
    pub fn set<'a>(&mut self, block: &Root, i: usize, v: impl Into<Arg<'a>>) -> Result<(), WrongType> {
        self.get(block).field(i)?;
        let v = self.arg(v.into());
        // SAFETY: a valid block of values with a field `i`, since that could be read.
        unsafe { self.modify(self.value(block), i, v) };
        Ok(())
    }

    /// Makes `to` hold the value of `from`.
    pub fn assign<'a>(&self, to: &Root, from: impl Into<Arg<'a>>) {
        let v = self.arg(from.into());
        self.value(to);
        to.table.borrow_mut().set(to.slot, v);
    }

    /// Collects everything that is not reachable from a root.
    ///
    /// # Panics
    /// When dropping the data of an external panicked, in this collection or since the last one. The collection is
    /// complete all the same.
    pub fn collect(&mut self) {
        // SAFETY: as in `block`.
        unsafe { self.full_major(&mut NoRoots) }
        self.resume_panic();
    }
}

const _: () = assert!(MAX_YOUNG_WOSIZE < crate::pages::MAX_CELL, "every young block must fit into a cell");
