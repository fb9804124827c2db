//! Calls of C's functions, and how they end; what exported functions answer.

use std::panic::{AssertUnwindSafe, catch_unwind};

use spelter_heap::raw::Value;
use spelter_interp::prim::foreign::{Call, Outcome};
use spelter_interp::{Machine, Panicked, Raise};

use crate::activation::{self, Activation, active, pause, resume, running};
use crate::arch::{call_c_with_array, call_c1, call_c2, call_c3, call_c4, call_c5};
use crate::exports::io;
use crate::misuse::misused;
use crate::sanitizer;

/// How the machine calls primitives of C, by the number of their arguments.
///
/// Each calls the function of C at `entry`, with arguments from `args`. The registers that a callee keeps are saved on
/// the stack, and their place in the activation, for [`leave`](crate::arch::leave).
///
/// # Safety
/// The program's code says how many arguments a function takes, as under OCaml's own runtime. It returns a value.
pub(crate) static CALLS: [Call; 6] = [call_c1, call_c2, call_c3, call_c4, call_c5, call_c_with_array];

/// What the Rust part of an exported function answers: a value, or that C must be left.
pub(crate) type Answer = Outcome;

/// `()`
pub(crate) const UNIT: Answer = Outcome { value: Value::UNIT, left: 0 };

/// What [`Outcome::left`] says if the value is an exception that is returned to C (OCaml 5's `caml_result`).
pub(crate) const RETURNED: u64 = 2;

/// OCaml 5's `caml_result`.
#[repr(C)]
pub struct CamlResult {
    is_exception: u64,
    data: Value,
}

/// C has been left by an exception.
pub extern "C" fn has_left(activation: &mut Activation) {
    let locked = activation.take_locked();
    if !locked.is_null() {
        // SAFETY: C has locked the channel.
        unsafe { io::unlock_left(locked) };
    }
}

/// Calls a function of C for a kind of custom block, which may raise, but neither allocate nor run code. Returns its
/// result's bits.
///
/// # Safety
/// There is a function at `entry`, which takes these arguments.
pub(crate) unsafe fn call_reading(m: &Machine, entry: usize, words: &[Value; 3]) -> Result<u64, Raise> {
    // SAFETY: by contract. Nothing writes to the machine, since the activation says so.
    unsafe { call_operation(std::ptr::from_ref(m).cast_mut(), entry, words, true) }
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
    // SAFETY: by contract.
    unsafe { call_operation(m, entry, words, false) }
}

/// C may run already, in an exported function that calls C again.
unsafe fn call_operation(
    m: *mut Machine,
    entry: usize,
    words: &[Value; 3],
    reads: bool,
) -> Result<u64, Raise> {
    // SAFETY: by contract; the activation lives as long as the thread.
    unsafe {
        let outer = pause();
        let activation = activation::next(&*m);
        (*activation).set_reads(reads);
        let outcome = call_c3(m, entry, words.as_ptr(), words.len());
        (*activation).set_reads(false);
        resume(outer);
        match outcome.left {
            0 => Ok(outcome.value.bits()),
            _ => Err(take_raise(&*m)),
        }
    }
}

/// Why C has been left.
pub(crate) fn take_raise(m: &Machine) -> Raise {
    m.take_raised().unwrap_or_else(|| Raise::Fatal("C was left without a reason".to_owned()))
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

/// Runs `f` on an activation's machine. A panic does not reach C.
fn guarded<T>(activation: *mut Activation, f: impl FnOnce(&mut Machine) -> T) -> Result<T, Panicked> {
    // SAFETY: C runs in this activation, so nobody else uses the machine.
    let m = unsafe { &mut *(*activation).machine() };
    catch_unwind(AssertUnwindSafe(|| f(m))).map_err(|panic| Panicked::of(&*panic))
}

/// The same with a machine that is only read.
fn guarded_reading<T>(activation: *mut Activation, f: impl FnOnce(&Machine) -> T) -> Result<T, Panicked> {
    // SAFETY: nobody writes to the machine meanwhile.
    let m = unsafe { &*(*activation).machine() };
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
    f(unsafe { &mut *(*active()).machine() })
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
    // SAFETY: C runs in this activation, so nobody else uses the machine.
    answer_of(unsafe { &mut *(*active()).machine() }, f)
}

/// The answer of a function that raises, and only reads the machine.
#[inline(always)]
pub(crate) fn raising(f: impl FnOnce(&Machine) -> Raise) -> Answer {
    // SAFETY: nobody writes to the machine meanwhile.
    let m = unsafe { &*(*running()).machine() };
    m.set_raised(f(m));
    sanitizer::leave_frames();
    Outcome { value: Value::UNIT, left: 1 }
}

/// The answer of a function that may run the program: C does not run meanwhile.
pub(crate) fn answer_outside(f: impl FnOnce(&mut Machine) -> Result<Value, Raise>) -> Answer {
    let activation = active();
    // SAFETY: C runs in this activation; afterwards it does so again.
    unsafe {
        pause();
        let answer = answer_of(&mut *(*activation).machine(), f);
        resume(activation);
        answer
    }
}

/// The same of a function that leaves the stack as it was, and panics only if the heap is damaged: then the process ends.
#[inline(always)]
pub(crate) fn answer_called(f: impl FnOnce(&mut Machine) -> Result<Value, Raise>) -> Answer {
    let activation = active();
    // SAFETY: as above.
    unsafe {
        pause();
        let m = &mut *(*activation).machine();
        let outcome = f(m);
        resume(activation);
        settle(m, outcome)
    }
}

/// Returns a value to C, or notes why C must be left.
#[inline(always)]
fn settle(m: &Machine, outcome: Result<Value, Raise>) -> Answer {
    match outcome {
        Ok(value) => Outcome { value, left: 0 },
        Err(raise) => leaving(m, raise),
    }
}

#[cold]
fn leaving(m: &Machine, raise: Raise) -> Answer {
    m.set_raised(raise);
    sanitizer::leave_frames();
    Outcome { value: Value::UNIT, left: 1 }
}

/// The same, of `f`'s result. A panic does not reach C.
#[inline(always)]
fn answer_of(m: &mut Machine, f: impl FnOnce(&mut Machine) -> Result<Value, Raise>) -> Answer {
    let depth = m.mark();
    // Settled inside: a result is too large to be handed from place to place.
    let settled = catch_unwind(AssertUnwindSafe(|| {
        let outcome = f(m);
        settle(m, outcome)
    }));
    let answer = settled.unwrap_or_else(|panic| leaving(m, Raise::Panic(Box::new(Panicked::of(&*panic)))));
    m.release(depth);
    answer
}

/// The exception value that a function which raises has left in its answer.
pub(crate) fn value_raised(_: Answer) -> Answer {
    answer(|m| {
        let raise = take_raise(m);
        // SAFETY: nothing is allocated before C has the value.
        unsafe { m.exception_value(raise) }
    })
}
