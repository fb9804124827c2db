//! The seam for libraries that are not Rust (C's `dll*.so`): what a loader of them needs from the machine.
//!
//! Such a library belongs to the process, not to a machine, so a loader consists of functions. It finds primitives by
//! name, and shows the collector the values that only its libraries hold. Everything here is unsafe: the library sees
//! raw values, and moves between the machine and its own code in ways that no lifetime describes.

use std::any::Any;
use std::cell::Cell;
use std::ffi::c_void;
use std::mem::offset_of;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::ptr;

use spelter_bytecode::exe::SharedLibrary;
use spelter_heap::raw::{Roots, Value};
use spelter_heap::{Heap, Val};

use crate::Machine;
use crate::machine::roots::MachineRoots;
use crate::prim::{NO_PRIMITIVE, Prim, Raise, Res, Slot};
pub use crate::threads::guests::Entrance;
pub use crate::threads::master_lock::Absence;
use crate::threads::state::ThreadState;

/// Calls a primitive, whose arguments are the `count` values at `args`, on the stack: they may move in the call. A
/// loader may write it in assembly.
pub type Call = unsafe extern "C" fn(*mut Machine, entry: usize, args: *const Value, count: usize) -> Outcome;

/// How a call ended.
#[repr(C)]
pub struct Outcome {
    /// The result.
    pub value: Value,
    /// Not 0 if there is none, because the call raised what [`Machine::set_raised`] has recorded.
    pub left: u64,
}

/// What a loader keeps for a thread of the program.
pub(crate) struct OfThread {
    /// What the thread's next call needs; null at first.
    next_call: Cell<*mut c_void>,
    /// Dropped when the thread has ended.
    owner: Cell<Option<Box<dyn Any + Send>>>,
}

impl Default for OfThread {
    fn default() -> Self {
        OfThread { next_call: Cell::new(ptr::null_mut()), owner: Cell::new(None) }
    }
}

/// A primitive of a loader: its functions, and the word by which they know the primitive.
#[derive(Clone, Copy)]
pub struct Foreign {
    /// Call it with one argument, two, up to five; the last one with more.
    pub calls: &'static [Call; 6],
    /// What the functions need to know: the address of C's function.
    pub entry: usize,
}

/// Folders in which libraries are looked up, or why these are not known.
pub type Folders = Result<Vec<PathBuf>, String>;

/// What is done with values that a loader shows.
pub type Show<'a> = &'a mut dyn FnMut(&mut [Value]);

/// Where a library is.
pub struct Located {
    /// Its whole name, as messages have it.
    pub name: String,
    /// The file in which it is looked for.
    pub file: PathBuf,
}

/// What holds a value on behalf of a library.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Holder {
    /// A local variable, or an argument, of a function that has not returned.
    Local,
    /// A variable that was registered as a global root; with the file of the library, unless it is elsewhere in memory.
    Global(Option<String>),
    /// What the library has got for a name under which a value is registered.
    Named(String),
}

/// A loader of libraries.
#[allow(clippy::type_complexity, reason = "each field says what its function takes and returns")]
pub struct Loader {
    /// The folders in which a machine's libraries are looked up, those that its program names among them; or why that
    /// cannot be found out. If no library is looked up, those of an installation may be left out.
    pub folders: fn(&mut Machine, of_program: &[&str], looked_up: bool) -> Folders,
    /// The file of a library with this name.
    pub locate: fn(&Machine, folders: &[PathBuf], name: &SharedLibrary<&str>) -> Located,
    /// Opens the library in a file for a machine, and returns its handle, or why it cannot be opened.
    pub open: fn(&mut Machine, file: &Path) -> Result<usize, String>,
    /// Finds a primitive of an open library; of any of them, the first one opened first, if there is no handle.
    pub find: fn(library: Option<usize>, name: &str) -> Option<Foreign>,
    /// Shows the values that only the libraries hold.
    pub show: fn(Show<'_>),
    /// What the variable at an address that `show` has shown is.
    pub holder: fn(variable: usize) -> Holder,
    /// How many variables outside functions hold values: roots, and what was got for names.
    pub held: fn() -> usize,
    /// The lowest address of the running thread's stack.
    pub stack_end: fn() -> usize,
    /// Called when a value is registered under a name.
    pub registered: fn(name: &[u8], v: Value),
    /// Called in the child after `fork`: threads come in by another entrance.
    pub forked: fn(Entrance),
    /// Called when the nursery has moved.
    pub nursery_moved: fn(Range<*mut u64>),
    /// Called before a primitive if there is a backtrace.
    pub show_backtrace: fn(&Machine),
    /// Called after a primitive if there is a backtrace, which the library may have cleared.
    pub take_backtrace: fn(&mut Machine),
}

#[allow(clippy::missing_safety_doc, reason = "the contract is stated on `Machine::set_loader`")]
impl Machine {
    /// Makes the primitives of a loader's libraries available.
    ///
    /// # Safety
    /// The machine runs trusted code, and no other machine of the process has a loader. What the loader does with the
    /// other functions here keeps the contracts of [`Prim`] and of [`spelter_heap::raw`]: when anything is
    /// called that may allocate or run code, each value that is still needed is in a slot, or shown by
    /// [`Loader::show`].
    pub unsafe fn set_loader(&mut self, loader: &'static Loader) {
        self.prims.loader = Some(loader);
        self.roots.loader = Some(loader);
    }

    /// Assigns the next number to a primitive of an open library, whatever else has its name. `None` if the library has
    /// no such primitive.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn append_foreign(&mut self, library: usize, name: &str) -> Result<Option<usize>, Raise> {
        let found = self.loader().and_then(|loader| (loader.find)(Some(library), name));
        Ok(found.map(|primitive| self.prims.append_foreign(name, primitive)).transpose()?)
    }

    /// The loader, if there is one.
    pub fn loader(&self) -> Option<&'static Loader> {
        self.prims.loader
    }

    /// Where a machine has [`Machine::next_call`], in bytes: for a loader's assembly.
    pub const NEXT_CALL: usize = offset_of!(Machine, roots)
        + offset_of!(MachineRoots, thread)
        + offset_of!(ThreadState, foreign.next_call);

    /// What the running thread's next call of a primitive needs, if the loader has set it.
    #[inline(always)]
    pub fn next_call(&self) -> *mut c_void {
        self.roots.thread.foreign.next_call.get()
    }

    /// Sets that.
    #[inline(always)]
    pub fn set_next_call(&self, data: *mut c_void) {
        self.roots.thread.foreign.next_call.set(data);
    }

    /// What is kept until the running thread has ended.
    pub fn kept_for_thread(&self) -> &Cell<Option<Box<dyn Any + Send>>> {
        &self.roots.thread.foreign.owner
    }

    /// Calls primitive number `p`, whose arguments are on the stack above the two words of its frame. `None` if it raised;
    /// the exception is then recorded in the machine.
    #[inline(always)]
    pub(crate) fn call_foreign(&mut self, foreign: Foreign, p: usize, count: usize) -> Option<Value> {
        let depth = self.mark();
        let t = &mut self.roots.thread;
        (t.running, t.floor) = (p, depth - 2 - count);
        let args = t.stack.sp.wrapping_add(2).cast_const();
        if !t.points.is_empty() {
            self.show_backtrace();
        }
        let call = foreign.calls[count.min(foreign.calls.len()) - 1];
        // SAFETY: as whoever has set the loader promises.
        let outcome = unsafe { call(self, foreign.entry, args, count) };
        self.roots.thread.running = NO_PRIMITIVE;
        if !self.roots.thread.points.is_empty() {
            self.take_backtrace();
        }
        if outcome.left != 0 {
            self.leave_foreign(count);
            return None;
        }
        debug_assert_eq!(self.mark(), depth, "a loader's functions release what they push");
        Some(outcome.value)
    }

    /// Records the exception that a primitive raised.
    #[inline(never)]
    fn leave_foreign(&mut self, count: usize) {
        self.release(self.roots.thread.floor + count + 2);
        if let Some(raise) = self.raised_by_foreign.take() {
            self.leave_exn(raise);
        }
    }

    #[cold]
    #[inline(never)]
    fn show_backtrace(&self) {
        if let Some(loader) = self.loader() {
            (loader.show_backtrace)(self);
        }
    }

    #[cold]
    #[inline(never)]
    fn take_backtrace(&mut self) {
        if let Some(loader) = self.loader() {
            (loader.take_backtrace)(self);
        }
    }

    /// Records what a primitive of the loader raises.
    pub fn set_raised(&self, raise: Raise) {
        self.raised_by_foreign.set(Some(raise));
    }

    /// What has been recorded, for a loader that does not raise it.
    pub fn take_raised(&self) -> Option<Raise> {
        self.raised_by_foreign.take()
    }

    /// Calls a closure with values that need not be in slots.
    ///
    /// # Errors
    /// As [`Machine::call`].
    pub unsafe fn call_closure(&mut self, closure: Value, args: &[Value]) -> Result<Value, Raise> {
        // SAFETY: values of the program.
        unsafe { self.call_values(closure, args) }
    }

    /// The heap, and the machine's roots.
    pub unsafe fn heap_and_roots(&mut self) -> (&mut Heap, &mut dyn Roots) {
        (&mut self.heap, &mut self.roots)
    }

    /// Whether a value is a pointer to something that is not a block of the heap: word 0 of a custom block, or what a
    /// library has made a value of ([`Heap::allow_naked_pointers`]).
    #[inline]
    pub fn is_outside(&self, v: Val<'_>) -> bool {
        // SAFETY: a value of the machine.
        unsafe { self.heap.is_outside(v.raw()) }
    }

    /// Pushes a value into a new slot.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub unsafe fn push_value(&mut self, v: Value) -> Result<Slot, Raise> {
        self.roots.thread.stack.try_push_temp(v)
    }

    /// A value, as the result of a primitive.
    pub unsafe fn value(&self, v: Value) -> Val<'_> {
        self.as_val(v)
    }

    /// The value registered under a name.
    pub fn named_raw(&self, name: &[u8]) -> Option<Value> {
        self.roots.named.get(name).copied()
    }

    /// The address of the word in a slot. Arguments of a primitive are in consecutive words.
    pub unsafe fn address_of_slot(&mut self, s: Slot) -> *mut Value {
        self.roots.thread.stack.at(s.0)
    }

    /// Lets other threads have the machine, which is no longer at `place` afterwards, until [`Machine::come_back`].
    pub unsafe fn go_away(place: *mut Machine) -> Option<Absence> {
        // SAFETY: the machine is at its place.
        unsafe {
            if (*place).is_alone() {
                return None;
            }
            Some(Machine::leave_machine(place))
        }
    }

    /// Waits for the machine, and puts it back at its place.
    pub unsafe fn come_back(place: *mut Machine, absence: Option<Absence>) {
        // SAFETY: the machine is not at its place if there is an absence.
        unsafe {
            if let Some(absence) = absence {
                Machine::retake_machine(place, absence);
            }
            (*place).notice_signals();
        }
    }

    /// Records an exception value, for [`Raise::Exn`]. Unlike [`Machine::set_exn`], it can do so for what only reads the
    /// machine.
    pub unsafe fn set_exn_value(&self, exception: Value) -> Raise {
        self.roots.thread.exn.set(exception);
        Raise::Exn
    }

    /// Calls a built-in primitive.
    ///
    /// # Errors
    /// What it raised.
    ///
    /// # Panics
    /// If the version has no such primitive, or it takes another number of arguments.
    pub unsafe fn call_built_in(&mut self, name: &str, args: &[Slot]) -> Res<'_> {
        let prim = self.prims.built_in(name).map(|row| row.prim);
        match (prim.unwrap_or_else(|| panic!("no primitive {name}")), args) {
            (Prim::P1(f), &[a]) => f(self, [a]),
            (Prim::P2(f), &[a, b]) => f(self, [a, b]),
            (Prim::P3(f), &[a, b, c]) => f(self, [a, b, c]),
            (Prim::P4(f), &[a, b, c, d]) => f(self, [a, b, c, d]),
            (Prim::P5(f), &[a, b, c, d, e]) => f(self, [a, b, c, d, e]),
            (Prim::V2(f), &[a, b]) => f(self, self.val(a), self.val(b)).map_err(|raise| *raise),
            (Prim::V4(f), &[a, b, c, d]) => {
                f(self, self.val(a), self.val(b), self.val(c), self.val(d)).map_err(|raise| *raise)
            }
            (Prim::Pn(f), args) => f(self, args),
            (_, args) => panic!("{name} does not take {} arguments", args.len()),
        }
    }

    /// The exception to which the running thread's backtrace belongs, and how many places that has.
    pub unsafe fn backtrace_of(&self) -> (Value, usize) {
        (self.roots.thread.backtrace_exn, self.roots.thread.points.len())
    }

    /// Whether actions are pending.
    pub fn has_pending_actions(&self) -> bool {
        self.action_due()
    }

    /// The exception value of what a primitive raised, if it is an exception.
    ///
    /// # Errors
    /// The reason to leave the machine, if it is none.
    pub unsafe fn exception_value(&mut self, raise: Raise) -> Result<Value, Raise> {
        if !raise.is_exception() {
            return Err(raise);
        }
        let s = self.push_exception(raise);
        let v = self.raw(s);
        self.release(s.0 - 1);
        Ok(v)
    }
}
