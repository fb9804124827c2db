//! Calls of C's functions, and how they end.
//!
//! An *activation* is one call of C by the machine. Activations nest: C calls back, and the code that it calls may call
//! C. Those of several threads exist at once, but C runs in one of them only, the [`RUNNING`] one, whose thread has the
//! machine. Whoever enters C, or returns to it, sets that variable. The others are paused, and in a list.

use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use spelter_heap::raw::Value;
use spelter_interp::prim::foreign::{Absence, Call};
use spelter_interp::{Machine, Panicked, Raise};

use crate::arch::{CallC, call_c1, call_c2, call_c3, call_c4, call_c5};
use crate::exports::io;
use crate::misuse::{misused, no_lock_held};
use crate::roots::Block;
use crate::{stack, state};

/// One call of C, or the time of a thread that C has made.
#[repr(C)]
pub struct Activation {
    /// Where the registers are saved. `arch` knows that it comes first. 0 if there is no call to leave.
    saved: usize,
    /// Where the thread keeps the machine.
    pub(crate) machine: *mut Machine,
    /// C may read the machine and raise, but not allocate or run code: it was called for a kind of custom block, by a
    /// primitive that only reads.
    reads: bool,
    /// It is in the list of those that do not run.
    linked: bool,
    /// Its local roots, while it is not running.
    pub(crate) local_roots: *mut Block,
    /// Arguments of a function that takes them as an array.
    pub(crate) arguments: *mut [Value],
    /// The neighbours in the list.
    next: *mut Activation,
    previous: *mut Activation,
    /// While its thread is without the machine.
    absence: Option<Absence>,
    /// The channel that C has locked, if there is one.
    locked: *mut c_void,
}

/// How a call of C ended.
#[repr(C)]
pub struct Outcome {
    pub(crate) value: Value,
    /// C did not return: the activation says why.
    pub(crate) left: u64,
}

/// What the Rust part of an exported function answers: a value, or that C must be left.
pub(crate) type Answer = Outcome;

impl Answer {
    /// `()`
    pub(crate) const UNIT: Answer = Outcome { value: Value::UNIT, left: 0 };

    /// The same answer, after `f` if it is a value.
    pub(crate) fn and_then(self, f: impl FnOnce()) -> Answer {
        if self.left == 0 {
            f();
        }
        self
    }
}

/// What [`Outcome::left`] says if the value is an exception that is returned to C (OCaml 5's `caml_result`).
pub(crate) const RETURNED: u64 = 2;

/// OCaml 5's `caml_result`.
#[repr(C)]
pub struct CamlResult {
    is_exception: u64,
    data: Value,
}

/// The activation in which C runs. Null while none does.
pub static mut RUNNING: *mut Activation = ptr::null_mut();

/// The activations that have been paused and have not ended, the newest first. The running one is among them only if it
/// has been paused before: most calls of C end without that.
static mut NEWEST: *mut Activation = ptr::null_mut();

thread_local! {
    /// The thread's activation that has put down the machine.
    static WAITING: std::cell::Cell<*mut Activation> = const { std::cell::Cell::new(ptr::null_mut()) };
}

/// How many arguments are copied without an allocation.
const FEW: usize = 16;

/// How the machine calls primitives of C, by the number of their arguments.
///
/// # Safety
/// The program's code says how many arguments a function takes, as under OCaml's own runtime. It returns a value.
#[allow(clippy::undocumented_unsafe_blocks, reason = "each has the contract above")]
pub(crate) static CALLS: [Call; 6] = [
    |m, entry, args, _| unsafe { call(m, entry, args, call_c1) },
    |m, entry, args, _| unsafe { call(m, entry, args, call_c2) },
    |m, entry, args, _| unsafe { call(m, entry, args, call_c3) },
    |m, entry, args, _| unsafe { call(m, entry, args, call_c4) },
    |m, entry, args, _| unsafe { call(m, entry, args, call_c5) },
    call_with_array,
];

/// Calls the function of C at `entry`, for the machine, so C does not run yet.
#[inline(always)]
unsafe fn call(m: &mut Machine, entry: usize, args: *const Value, how: CallC) -> Option<Value> {
    // SAFETY: by contract.
    unsafe { run_primitive(m, no_arguments(), entry, args, how) }
}

/// The same for functions that take their arguments as an array. A callback may move the stack, so C gets a copy.
#[inline(never)]
unsafe fn call_with_array(m: &mut Machine, entry: usize, args: *const Value, count: usize) -> Option<Value> {
    let mut few = [Value::UNIT; FEW];
    let mut many = Vec::new();
    let copy = match few.get_mut(..count) {
        Some(few) => few,
        None => {
            if many.try_reserve_exact(count).is_err() {
                m.set_raised(Raise::OutOfMemory);
                return None;
            }
            many.resize(count, Value::UNIT);
            many.as_mut_slice()
        }
    };
    // SAFETY: by contract.
    unsafe {
        for (i, word) in copy.iter_mut().enumerate() {
            *word = *args.add(i);
        }
        let words = [Value::from_ptr(copy.as_mut_ptr().cast()), Value::from_bits(count as u64)];
        run_primitive(m, copy, entry, words.as_ptr(), call_c2)
    }
}

/// Runs a primitive of C, which has its arguments in `args`, or in `array`.
#[inline(always)]
unsafe fn run_primitive(
    m: &mut Machine,
    array: *mut [Value],
    entry: usize,
    args: *const Value,
    how: CallC,
) -> Option<Value> {
    // What it holds is taken out before it ends, so that there is nothing to drop.
    let mut activation = ManuallyDrop::new(Activation::new(m, array));
    // SAFETY: by contract.
    unsafe {
        debug_assert!(RUNNING.is_null());
        let outcome = run(&raw mut *activation, entry, args, how);
        RUNNING = ptr::null_mut();
        if state::backtrace_is_cleared() {
            clear_backtrace(m);
        }
        if outcome.left == 0 {
            return Some(outcome.value);
        }
        if !activation.locked.is_null() {
            unlock(activation.locked);
        }
        None
    }
}

/// Calls a function of C for a kind of custom block, which may raise, but neither allocate nor run code. Returns its
/// result's bits.
///
/// # Safety
/// There is a function at `entry`, which takes these arguments.
pub(crate) unsafe fn call_reading(m: &Machine, entry: usize, words: &[Value; 3]) -> Result<u64, Raise> {
    let machine = ptr::from_ref(m).cast_mut();
    let activation = Activation { reads: true, ..Activation::new(machine, no_arguments()) };
    // SAFETY: by contract. Nothing writes to the machine, since the activation says so.
    unsafe { outcome_of(activation, entry, words.as_ptr(), call_c3).map(Value::bits) }
}

/// Calls a function of C that reads the content of a custom block, which may raise. Returns its result's bits.
///
/// # Safety
/// There is a function at `entry`, which takes these arguments.
pub(crate) unsafe fn call_with_machine(
    m: &mut Machine,
    entry: usize,
    words: &[Value; 3],
) -> Result<u64, Raise> {
    let activation = Activation::new(m, no_arguments());
    // SAFETY: by contract.
    unsafe { outcome_of(activation, entry, words.as_ptr(), call_c3).map(Value::bits) }
}

/// Runs a function of C, and tells its result, or why it was left.
unsafe fn outcome_of(
    activation: Activation,
    entry: usize,
    words: *const Value,
    how: CallC,
) -> Result<Value, Raise> {
    let mut activation = ManuallyDrop::new(activation);
    // SAFETY: by contract. C may run already, in an exported function that calls C again.
    let outcome = unsafe {
        let outer = pause();
        let outcome = run(&raw mut *activation, entry, words, how);
        resume(outer);
        outcome
    };
    match outcome.left {
        0 => Ok(outcome.value),
        _ => Err(activation.take_raise()),
    }
}

/// For functions whose arguments are in registers only.
pub(crate) fn no_arguments() -> *mut [Value] {
    ptr::slice_from_raw_parts_mut(ptr::dangling_mut(), 0)
}

/// Runs a function of C, and tells how it ended. Whoever calls this says what runs afterwards.
///
/// # Safety
/// There is a function at `entry`, which takes as many arguments as `how` passes, from `words`. This thread has the
/// machine, and C does not run.
#[inline(always)]
unsafe fn run(place: *mut Activation, entry: usize, words: *const Value, how: CallC) -> Outcome {
    // SAFETY: by contract. The activation is in the list, if it is, as long as it lives.
    unsafe {
        enter(place);
        let outcome = how(place, entry, words);
        if (*place).linked {
            (*place).unlink();
        }
        outcome
    }
}

/// Unlocks the channel that C has locked, since it has been left.
#[cold]
#[inline(never)]
fn unlock(channel: *mut c_void) {
    // SAFETY: C has locked it.
    unsafe { io::unlock_left(channel) };
}

/// C has cleared the backtrace, or there was none.
#[inline(always)]
fn clear_backtrace(m: &mut Machine) {
    if !m.backtrace().is_empty() {
        m.set_backtrace(Vec::new());
    }
}

/// Leaves the running activation, if there is one, for a while. Returns it.
#[inline(always)]
unsafe fn pause() -> *mut Activation {
    // SAFETY: the running activation is alive.
    unsafe {
        let running = RUNNING;
        if let Some(activation) = running.as_mut() {
            activation.local_roots = state::local_roots();
            if !activation.linked {
                activation.link();
            }
            RUNNING = ptr::null_mut();
        }
        running
    }
}

/// Continues in it.
#[inline(always)]
unsafe fn resume(activation: *mut Activation) {
    // SAFETY: it is what `pause` returned.
    unsafe {
        match activation.is_null() {
            true => RUNNING = activation,
            false => enter(activation),
        }
    }
}

/// Calls `f` while no exported function may be used that needs the machine, since a collection runs.
pub(crate) fn in_collection<T>(f: impl FnOnce() -> T) -> T {
    // SAFETY: this thread has the machine.
    unsafe {
        let outer = pause();
        let result = f();
        resume(outer);
        result
    }
}

/// Continues in C.
///
/// # Safety
/// The thread has the machine, and the activation is the thread's innermost one.
#[inline(always)]
pub(crate) unsafe fn enter(activation: *mut Activation) {
    // SAFETY: by contract.
    unsafe {
        RUNNING = activation;
        state::set_local_roots((*activation).local_roots);
        state::enter_thread(&*(*activation).machine);
    }
}

impl Activation {
    /// An activation that has not begun. Until C is called, nothing is saved, so C cannot be left.
    #[inline(always)]
    pub(crate) fn new(machine: *mut Machine, arguments: *mut [Value]) -> Activation {
        Activation {
            saved: 0,
            machine,
            reads: false,
            linked: false,
            local_roots: ptr::null_mut(),
            arguments,
            next: ptr::null_mut(),
            previous: ptr::null_mut(),
            absence: None,
            locked: ptr::null_mut(),
        }
    }

    /// Why C is left.
    pub(crate) fn take_raise(&mut self) -> Raise {
        // SAFETY: the machine is at its place, and only read.
        let raise = unsafe { (*self.machine).take_raised() };
        raise.unwrap_or_else(|| Raise::Fatal("C was left without a reason".to_owned()))
    }

    pub(crate) unsafe fn link(&mut self) {
        // SAFETY: this thread has the machine; the neighbours are alive.
        unsafe {
            self.linked = true;
            (self.next, self.previous) = (NEWEST, ptr::null_mut());
            if let Some(next) = self.next.as_mut() {
                next.previous = self;
            }
            NEWEST = self;
        }
    }

    pub(crate) unsafe fn unlink(&mut self) {
        // SAFETY: as above.
        unsafe {
            match self.previous.as_mut() {
                Some(previous) => previous.next = self.next,
                None => NEWEST = self.next,
            }
            self.linked = false;
            if let Some(next) = self.next.as_mut() {
                next.previous = self.previous;
            }
        }
    }
}

/// Calls `f` with each activation that has not ended, and its local roots.
pub(crate) fn each_activation(mut f: impl FnMut(&Activation, *mut Block)) {
    // SAFETY: this thread has the machine, and activations are alive.
    unsafe {
        if let Some(running) = RUNNING.as_ref()
            && !running.linked
        {
            f(running, state::local_roots());
        }
        let mut at = NEWEST;
        while let Some(activation) = at.as_ref() {
            let roots = if ptr::eq(at, RUNNING) { state::local_roots() } else { activation.local_roots };
            f(activation, roots);
            at = activation.next;
        }
    }
}

/// The running activation.
pub(crate) fn running() -> *mut Activation {
    // SAFETY: reading a word.
    let running = unsafe { RUNNING };
    if running.is_null() {
        if state::has_threads() {
            no_lock_held();
        }
        misused(
            "was called by a thread that does not hold OCaml's runtime: it must be called from a primitive, \
             or after caml_leave_blocking_section",
        );
    }
    running
}

/// Notes which channel the running primitive has locked; null if none.
pub(crate) fn set_locked(channel: *mut c_void) {
    // SAFETY: C runs in this activation.
    unsafe { (*running()).locked = channel }
}

/// The machine, if C runs in it.
pub(crate) fn running_machine<'a>() -> Option<&'a Machine> {
    // SAFETY: C runs in this activation, so nobody else uses the machine.
    unsafe { Some(&*RUNNING.as_ref()?.machine) }
}

/// The running activation, which may use the machine as it likes.
#[inline(always)]
fn active() -> *mut Activation {
    let running = running();
    // SAFETY: the activation is alive while C runs in it.
    if unsafe { (*running).reads } {
        misused(
            "was called by an operation of a custom block, which must neither allocate nor run OCaml code",
        );
    }
    running
}

/// Runs `f` on an activation's machine. A panic does not reach C.
fn guarded<T>(activation: *mut Activation, f: impl FnOnce(&mut Machine) -> T) -> Result<T, Panicked> {
    // SAFETY: C runs in this activation, so nobody else uses the machine.
    let m = unsafe { &mut *(*activation).machine };
    catch_unwind(AssertUnwindSafe(|| f(m))).map_err(|panic| Panicked::of(&*panic))
}

/// The same with a machine that is only read.
fn guarded_reading<T>(activation: *mut Activation, f: impl FnOnce(&Machine) -> T) -> Result<T, Panicked> {
    // SAFETY: nobody writes to the machine meanwhile.
    let m = unsafe { &*(*activation).machine };
    catch_unwind(AssertUnwindSafe(|| f(m))).map_err(|panic| Panicked::of(&*panic))
}

/// Runs the Rust part of an exported function, which has the machine.
pub(crate) fn with_machine<T>(f: impl FnOnce(&mut Machine) -> T) -> T {
    unguarded(guarded(active(), f))
}

/// The same, of a function that cannot panic.
#[inline(always)]
pub(crate) fn with_machine_at_once<T>(f: impl FnOnce(&mut Machine) -> T) -> T {
    // SAFETY: C runs in this activation, so nobody else uses the machine.
    f(unsafe { &mut *(*active()).machine })
}

/// The same, of a function that only reads the machine.
pub(crate) fn reading<T>(f: impl FnOnce(&Machine) -> T) -> T {
    unguarded(guarded_reading(running(), f))
}

fn unguarded<T>(result: Result<T, Panicked>) -> T {
    result.unwrap_or_else(|panic| misused(&format!("cannot continue: {}", panic.message)))
}

/// The same, of a function that may raise.
pub(crate) fn answer(f: impl FnOnce(&mut Machine) -> Result<Value, Raise>) -> Answer {
    let activation = active();
    // SAFETY: C runs in this activation, so nobody else uses the machine.
    answer_of(activation, || f(unsafe { &mut *(*activation).machine }))
}

/// The answer of a function that raises, and only reads the machine.
pub(crate) fn raising(f: impl FnOnce(&Machine) -> Raise) -> Answer {
    let activation = running();
    // SAFETY: nobody writes to the machine meanwhile.
    answer_of(activation, || Err(f(unsafe { &*(*activation).machine })))
}

/// The answer of a function that may run the program: C does not run meanwhile.
pub(crate) fn answer_outside(f: impl FnOnce(&mut Machine) -> Result<Value, Raise>) -> Answer {
    let activation = active();
    // SAFETY: C runs in this activation; afterwards it does so again.
    unsafe {
        pause();
        let answer = answer_of(activation, || f(&mut *(*activation).machine));
        enter(activation);
        answer
    }
}

/// Returns a value to C, or notes why C must be left. A panic does not reach C.
#[inline(always)]
fn answer_of(activation: *mut Activation, f: impl FnOnce() -> Result<Value, Raise>) -> Answer {
    let note = |raise| {
        // SAFETY: the machine is at its place, and only read.
        unsafe { (*(*activation).machine).set_raised(raise) };
        Outcome { value: Value::UNIT, left: 1 }
    };
    // Settled inside: a result is too large to be handed from place to place.
    let settled = || match f() {
        Ok(value) => Outcome { value, left: 0 },
        Err(raise) => note(raise),
    };
    catch_unwind(AssertUnwindSafe(settled))
        .unwrap_or_else(|panic| note(Raise::Panic(Box::new(Panicked::of(&*panic)))))
}

/// The exception value that a function which raises has left in its answer.
pub(crate) fn value_raised(_: Answer) -> Answer {
    answer(|m| {
        // SAFETY: C runs in this activation. Nothing is allocated before C has the value.
        unsafe {
            let raise = (*running()).take_raise();
            m.exception_value(raise)
        }
    })
}

/// Ends an activation that is no call.
///
/// # Safety
/// C runs in it, in this thread.
pub(crate) unsafe fn end(activation: *mut Activation) {
    // SAFETY: by contract.
    unsafe {
        state::leave_thread();
        RUNNING = ptr::null_mut();
        (*activation).unlink();
    }
}

/// Whether this thread is one of the program's: it runs C, or waits in a blocking section. While it is neither, it does
/// not call C.
pub(crate) fn is_known_thread() -> bool {
    // SAFETY: reading a word. Another thread may write it meanwhile, but only an address that is not on this stack.
    let running = unsafe { ptr::read_volatile(&raw const RUNNING) };
    !WAITING.get().is_null() || stack::bounds().contains(&running.addr())
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
        enter(activation);
    }
}
