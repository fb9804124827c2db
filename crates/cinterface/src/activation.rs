//! Activations: calls of C by the machine.
//!
//! Activations nest: C calls back, and the code that it calls may call C. Those of several threads exist at once, but C
//! runs in one of them only, the [`RUNNING`] one, whose thread has the machine.
//!
//! Each thread keeps its activations for later calls, from the outermost to the innermost, and its part of the machine
//! names the one that the next call takes ([`Machine::next_call`]): a call has to set two words of it. What else an
//! activation says is as [`Activation::new`] says it, unless C runs in it or has paused in it.

use std::cell::Cell;
use std::ffi::c_void;
use std::mem::offset_of;
use std::{ptr, thread};

use spelter_interp::Machine;
use spelter_interp::prim::foreign::Absence;

use crate::misuse::{misused, no_lock_held};
use crate::roots::Block;
use crate::state;

/// One call of C, or the time of a thread that C has made.
#[repr(C)]
pub struct Activation {
    /// Where the registers are saved; 0 if there is no call to leave.
    saved: usize,
    /// Where the thread keeps the machine.
    machine: *mut Machine,
    /// The thread's next activation, if there is one.
    inner: *mut Activation,
    /// Its local roots, while C is paused in it.
    local_roots: *mut Block,
    /// The channel that C has locked, if there is one.
    locked: *mut c_void,
    /// C may read the machine and raise, but not allocate or run code: it was called for a kind of custom block, by a
    /// primitive that only reads.
    reads: bool,
    /// While its thread is without the machine.
    absence: Option<Absence>,
    /// The neighbours in the list of all.
    next: *mut Activation,
    previous: *mut Activation,
}

/// Where the words are that `arch` uses.
pub(crate) const SAVED: usize = offset_of!(Activation, saved);
pub(crate) const MACHINE: usize = offset_of!(Activation, machine);

/// The activation in which C runs. Null while none does.
pub static mut RUNNING: *mut Activation = ptr::null_mut();

/// All activations.
static mut FIRST: *mut Activation = ptr::null_mut();

thread_local! {
    /// How many activations the thread has.
    static OWN: Cell<usize> = const { Cell::new(0) };
    /// The one that has put down the machine.
    static WAITING: Cell<*mut Activation> = const { Cell::new(ptr::null_mut()) };
}

/// A thread's activations, from the outermost to the innermost.
struct OfThread {
    activations: Vec<*mut Activation>,
    thread: thread::ThreadId,
}

// SAFETY: they are used and dropped by whoever has the machine.
unsafe impl Send for OfThread {}

impl Drop for OfThread {
    fn drop(&mut self) {
        if self.thread == thread::current().id() {
            OWN.set(OWN.get() - self.activations.len());
        }
        for activation in &self.activations {
            // SAFETY: from a box. The thread has ended, so nothing runs in it.
            unsafe {
                (**activation).unlink();
                drop(Box::from_raw(*activation));
            }
        }
    }
}

/// The activation that the running thread's next call of C takes.
#[inline(always)]
pub(crate) fn next(m: &Machine) -> *mut Activation {
    match m.next_call() {
        none if none.is_null() => add(m),
        next => next.cast(),
    }
}

/// Adds an activation to those of the running thread, for its next call.
#[cold]
pub extern "C" fn add(m: &Machine) -> *mut Activation {
    let kept = m.kept_for_thread().take().and_then(|any| any.downcast::<OfThread>().ok());
    let mut of_thread = kept.unwrap_or_else(|| {
        state::enter_thread();
        Box::new(OfThread { activations: Vec::new(), thread: thread::current().id() })
    });
    let added = Box::into_raw(Box::new(Activation::new()));
    // SAFETY: this thread has the machine, and so the list; its other activations are alive.
    unsafe {
        (*added).link();
        if let Some(outer) = of_thread.activations.last() {
            (**outer).inner = added;
        }
    }
    of_thread.activations.push(added);
    OWN.set(OWN.get() + 1);
    m.kept_for_thread().set(Some(of_thread));
    m.set_next_call(added.cast());
    added
}

/// Whether this thread is one of the program's. While it does not run C, or wait in a blocking section, it does not call
/// C.
pub(crate) fn is_known_thread() -> bool {
    OWN.get() > 0
}

impl Activation {
    /// One in which C does not run.
    fn new() -> Activation {
        Activation {
            saved: 0,
            machine: ptr::null_mut(),
            inner: ptr::null_mut(),
            local_roots: ptr::null_mut(),
            locked: ptr::null_mut(),
            reads: false,
            absence: None,
            next: ptr::null_mut(),
            previous: ptr::null_mut(),
        }
    }

    /// Where the thread keeps the machine.
    pub(crate) fn machine(&self) -> *mut Machine {
        self.machine
    }

    /// Sets whether C may only read the machine.
    pub(crate) fn set_reads(&mut self, reads: bool) {
        self.reads = reads;
    }

    /// The channel that C has locked, which is then forgotten.
    pub(crate) fn take_locked(&mut self) -> *mut c_void {
        std::mem::replace(&mut self.locked, ptr::null_mut())
    }

    unsafe fn link(&mut self) {
        // SAFETY: this thread has the machine; the neighbours are alive.
        unsafe {
            (self.next, self.previous) = (FIRST, ptr::null_mut());
            if let Some(next) = self.next.as_mut() {
                next.previous = self;
            }
            FIRST = self;
        }
    }

    unsafe fn unlink(&mut self) {
        // SAFETY: as above.
        unsafe {
            match self.previous.as_mut() {
                Some(previous) => previous.next = self.next,
                None => FIRST = self.next,
            }
            if let Some(next) = self.next.as_mut() {
                next.previous = self.previous;
            }
        }
    }
}

/// Pauses the running activation, if there is one, while something else than C runs. Returns it.
#[inline(always)]
pub(crate) unsafe fn pause() -> *mut Activation {
    // SAFETY: the running activation is alive, and its thread has the machine.
    unsafe {
        let running = RUNNING;
        if let Some(activation) = running.as_mut() {
            activation.local_roots = state::take_local_roots();
            (*activation.machine).set_next_call(activation.inner.cast());
            RUNNING = ptr::null_mut();
        }
        running
    }
}

/// Continues in it.
///
/// # Safety
/// It is what `pause` has returned, and its thread has the machine.
#[inline(always)]
pub(crate) unsafe fn resume(activation: *mut Activation) {
    // SAFETY: by contract.
    unsafe {
        if let Some(paused) = activation.as_mut() {
            state::set_local_roots(std::mem::replace(&mut paused.local_roots, ptr::null_mut()));
            let m = &*paused.machine;
            m.set_next_call(activation.cast());
            state::show_backtrace(m);
        }
        RUNNING = activation;
    }
}

/// Calls `f` with the local roots of each activation that has not ended.
pub(crate) fn each_activation(mut f: impl FnMut(*mut Block)) {
    f(state::local_roots());
    // SAFETY: this thread has the machine, and activations are alive.
    unsafe {
        let mut at = FIRST;
        while let Some(activation) = at.as_ref() {
            f(activation.local_roots);
            at = activation.next;
        }
    }
}

/// The running activation.
#[inline(always)]
pub(crate) fn running() -> *mut Activation {
    // SAFETY: reading a word.
    let running = unsafe { RUNNING };
    if running.is_null() {
        not_running();
    }
    running
}

#[cold]
fn not_running() -> ! {
    if state::has_threads() {
        no_lock_held();
    }
    misused(
        "was called by a thread that does not hold OCaml's runtime: it must be called from a primitive, \
         or after caml_leave_blocking_section",
    )
}

/// The running activation, which may use the machine as it likes.
#[inline(always)]
pub(crate) fn active() -> *mut Activation {
    let running = running();
    // SAFETY: the activation is alive while C runs in it.
    if unsafe { (*running).reads } {
        misused(
            "was called by an operation of a custom block, which must neither allocate nor run OCaml code",
        );
    }
    running
}

/// The machine, if C runs in it.
pub(crate) fn running_machine<'a>() -> Option<&'a Machine> {
    // SAFETY: C runs in this activation, so nobody else uses the machine.
    unsafe { Some(&*RUNNING.as_ref()?.machine) }
}

/// Notes which channel the running primitive has locked; null if none.
pub(crate) fn set_locked(channel: *mut c_void) {
    // SAFETY: C runs in this activation.
    unsafe { (*running()).locked = channel }
}

/// Begins the activation of a thread that C has made: C runs in it from now on, and there is no call to leave.
///
/// # Safety
/// The thread has the machine, at `place`.
pub(crate) unsafe fn begin_guest(place: *mut Machine) {
    // SAFETY: by contract.
    unsafe {
        let activation = next(&*place);
        (*activation).machine = place;
        resume(activation);
    }
}

/// Ends the activation of a thread that C has made, in which C runs.
pub(crate) fn end_guest() {
    // SAFETY: C runs in it.
    unsafe { pause() };
    state::leave_thread();
}

/// Puts the machine down (`caml_enter_blocking_section`).
pub(crate) fn leave_machine() {
    let activation = active();
    // SAFETY: C runs in this activation, and touches no values until it takes the machine again.
    unsafe {
        pause();
        WAITING.set(activation);
        state::leave_thread();
        (*activation).absence = Machine::go_away((*activation).machine);
    }
}

/// Takes it again (`caml_leave_blocking_section`).
pub(crate) fn take_machine() {
    let activation = WAITING.replace(ptr::null_mut());
    if activation.is_null() {
        misused(
            "was called by a thread that is not in a blocking section: threads that C has made must call \
             caml_c_thread_register first",
        );
    }
    // SAFETY: the activation has put the machine down.
    unsafe {
        let absence = (*activation).absence.take();
        Machine::come_back((*activation).machine, absence);
        state::enter_thread();
        resume(activation);
    }
}
