//! Calls of C's functions, and how they end.
//!
//! An *activation* is one call of C by the machine. Activations nest: C calls back, and the code that it calls may call
//! C. Those of several threads exist at once, but C runs in one of them only, the [`RUNNING`] one, whose thread has the
//! machine. Whoever enters C, or returns to it, sets that variable.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use spelter_heap::raw::Value;
use spelter_interp::prim::foreign::Absence;
use spelter_interp::{Machine, Panicked, Raise, Res, Slot};

use crate::arch::call_c;
use crate::roots::Block;
use crate::state;

/// One call of C.
#[repr(C)]
pub struct Activation {
    /// Where the registers are saved. `arch` knows that it comes first.
    saved: usize,
    /// Where the thread keeps the machine.
    machine: *mut Machine,
    /// Its local roots, while it is not running.
    pub(crate) local_roots: *mut Block,
    /// Arguments of a function that takes them as an array.
    pub(crate) arguments: *mut [Value],
    /// The neighbours in the list of all activations.
    next: *mut Activation,
    previous: *mut Activation,
    /// Why it is left.
    raise: Option<Raise>,
    /// While its thread is without the machine.
    absence: Option<Absence>,
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

/// The activation in which C runs. Null while none does.
pub static mut RUNNING: *mut Activation = ptr::null_mut();

/// The activation entered last, of those that have not ended.
static mut NEWEST: *mut Activation = ptr::null_mut();

thread_local! {
    /// The thread's activation that has put down the machine.
    static WAITING: std::cell::Cell<*mut Activation> = const { std::cell::Cell::new(ptr::null_mut()) };
}

/// Calls the function of C at `entry`.
pub(crate) fn call<'m>(m: &'m mut Machine, entry: usize, args: &[Slot]) -> Res<'m> {
    let mut words = [Value::UNIT; 5];
    let mut many: Vec<Value> = Vec::new();
    if args.len() <= words.len() {
        for (word, arg) in words.iter_mut().zip(args) {
            *word = m.val(*arg).raw();
        }
    } else {
        // A callback may move the stack, so C gets a copy.
        many.try_reserve_exact(args.len())?;
        many.extend(args.iter().map(|arg| m.val(*arg).raw()));
        words[0] = Value::from_ptr(many.as_mut_ptr().cast());
        words[1] = Value::from_bits(args.len() as u64);
    }
    let mut activation = Activation {
        saved: 0,
        machine: m,
        local_roots: ptr::null_mut(),
        arguments: &raw mut *many,
        next: ptr::null_mut(),
        previous: ptr::null_mut(),
        raise: None,
        absence: None,
    };
    let place = &raw mut activation;
    // SAFETY: this thread has the machine. The activation is in the list as long as it lives. The program's code says
    // how many arguments the function takes, as under OCaml's own runtime.
    let outcome = unsafe {
        (*place).link();
        enter(place);
        let outcome = call_c(place, entry, words.as_ptr());
        RUNNING = ptr::null_mut();
        (*place).unlink();
        outcome
    };
    match outcome.left {
        0 => {
            // SAFETY: C returns a value.
            Ok(unsafe { m.value(outcome.value) })
        }
        _ => Err(activation
            .raise
            .take()
            .unwrap_or_else(|| Raise::Fatal("C was left without a reason".to_owned()))),
    }
}

/// Continues in C.
///
/// # Safety
/// The thread has the machine, and the activation is the thread's innermost one.
unsafe fn enter(activation: *mut Activation) {
    // SAFETY: by contract.
    unsafe {
        RUNNING = activation;
        state::set_local_roots((*activation).local_roots);
        state::enter_thread(&*(*activation).machine);
    }
}

impl Activation {
    unsafe fn link(&mut self) {
        // SAFETY: this thread has the machine; the neighbours are alive.
        unsafe {
            self.next = NEWEST;
            if let Some(next) = self.next.as_mut() {
                next.previous = self;
            }
            NEWEST = self;
        }
    }

    unsafe fn unlink(&mut self) {
        // SAFETY: as above.
        unsafe {
            match self.previous.as_mut() {
                Some(previous) => previous.next = self.next,
                None => NEWEST = self.next,
            }
            if let Some(next) = self.next.as_mut() {
                next.previous = self.previous;
            }
        }
    }
}

/// Calls `f` with each activation that has not ended, and its local roots.
pub(crate) fn each_activation(mut f: impl FnMut(&Activation, *mut Block)) {
    // SAFETY: this thread has the machine, and activations in the list are alive.
    unsafe {
        let mut at = NEWEST;
        while let Some(activation) = at.as_ref() {
            let roots = if ptr::eq(at, RUNNING) { state::local_roots() } else { activation.local_roots };
            f(activation, roots);
            at = activation.next;
        }
    }
}

/// The running activation.
fn running() -> *mut Activation {
    // SAFETY: reading a word.
    let running = unsafe { RUNNING };
    if running.is_null() {
        misused("a function of OCaml's runtime was called by a thread that does not hold the runtime");
    }
    running
}

/// Ends the process: a library has broken the rules of OCaml's C interface.
#[cold]
pub(crate) fn misused(what: &str) -> ! {
    eprintln!("Fatal error: {what}");
    std::process::abort()
}

/// Runs the Rust part of an exported function, which has the machine.
pub(crate) fn with_machine<T>(f: impl FnOnce(&mut Machine) -> T) -> T {
    // SAFETY: C runs in this activation, so nobody else uses the machine.
    let m = unsafe { &mut *(*running()).machine };
    match catch_unwind(AssertUnwindSafe(|| f(m))) {
        Ok(result) => result,
        Err(panic) => misused(&Panicked::of(&*panic).message),
    }
}

/// The same, of a function that may raise.
pub(crate) fn answer(f: impl FnOnce(&mut Machine) -> Result<Value, Raise>) -> Answer {
    let activation = running();
    // SAFETY: as above.
    let m = unsafe { &mut *(*activation).machine };
    let outcome = catch_unwind(AssertUnwindSafe(|| f(m)))
        .unwrap_or_else(|panic| Err(Raise::Panic(Box::new(Panicked::of(&*panic)))));
    match outcome {
        Ok(value) => Outcome { value, left: 0 },
        Err(raise) => {
            // SAFETY: the activation is alive while C runs in it.
            unsafe { (*activation).raise = Some(raise) };
            Outcome { value: Value::UNIT, left: 1 }
        }
    }
}

/// Runs code that may run the program: C does not run meanwhile.
pub(crate) fn outside_c<T>(f: impl FnOnce(&mut Machine) -> T) -> T {
    let activation = running();
    // SAFETY: C runs in this activation; afterwards it does so again.
    unsafe {
        (*activation).local_roots = state::local_roots();
        RUNNING = ptr::null_mut();
        let result = f(&mut *(*activation).machine);
        enter(activation);
        result
    }
}

/// Puts the machine down (`caml_enter_blocking_section`).
pub(crate) fn leave_machine() {
    let activation = running();
    // SAFETY: C runs in this activation, and touches no values until it takes the machine again.
    unsafe {
        (*activation).local_roots = state::local_roots();
        RUNNING = ptr::null_mut();
        WAITING.set(activation);
        (*activation).absence = Machine::go_away((*activation).machine);
    }
}

/// Takes it again (`caml_leave_blocking_section`).
pub(crate) fn take_machine() {
    let activation = WAITING.replace(ptr::null_mut());
    if activation.is_null() {
        misused("caml_leave_blocking_section was called by a thread that is not in a blocking section");
    }
    // SAFETY: the activation has put the machine down.
    unsafe {
        let absence = (*activation).absence.take();
        Machine::come_back((*activation).machine, absence);
        enter(activation);
    }
}
