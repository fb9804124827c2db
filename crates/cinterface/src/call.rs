//! Calls of C's functions, and how they end.
//!
//! An *activation* is one call of C by the machine. Activations nest: C calls back, and the code that it calls may call
//! C. Those of several threads exist at once, but C runs in one of them only, the [`RUNNING`] one, whose thread has the
//! machine. Whoever enters C, or returns to it, sets that variable.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use spelter_heap::raw::Value;
use spelter_interp::prim::foreign::Absence;
use spelter_interp::{Machine, Panicked, Raise, Res, Slot};

use crate::arch::call_c;
use crate::exports::io;
use crate::misuse::misused;
use crate::roots::Block;
use crate::state;

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

/// The activation entered last, of those that have not ended.
static mut NEWEST: *mut Activation = ptr::null_mut();

thread_local! {
    /// The thread's activation that has put down the machine.
    static WAITING: std::cell::Cell<*mut Activation> = const { std::cell::Cell::new(ptr::null_mut()) };
}

/// Calls the primitive of C at `entry`.
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
    // SAFETY: the program's code says how many arguments the function takes, as under OCaml's own runtime. It returns a
    // value.
    unsafe {
        let v = run(Activation::new(m, false, &raw mut *many), entry, &words);
        if state::backtrace_is_cleared() && !m.backtrace().is_empty() {
            m.set_backtrace(Vec::new());
        }
        Ok(m.value(v?))
    }
}

/// Calls a function of C for a kind of custom block, which may raise, but neither allocate nor run code. Returns its
/// result's bits.
///
/// # Safety
/// There is a function at `entry`, which takes these arguments.
pub(crate) unsafe fn call_reading(m: &Machine, entry: usize, words: &[Value; 5]) -> Result<u64, Raise> {
    let machine = ptr::from_ref(m).cast_mut();
    // SAFETY: by contract. Nothing writes to the machine, since the activation says so.
    unsafe { run(Activation::new(machine, true, no_arguments()), entry, words).map(Value::bits) }
}

/// Calls a function of C that reads the content of a custom block, which may raise. Returns its result's bits.
///
/// # Safety
/// There is a function at `entry`, which takes these arguments.
pub(crate) unsafe fn call_with_machine(
    m: &mut Machine,
    entry: usize,
    words: &[Value; 5],
) -> Result<u64, Raise> {
    // SAFETY: by contract.
    unsafe { run(Activation::new(m, false, no_arguments()), entry, words).map(Value::bits) }
}

/// For functions whose arguments are in registers only.
pub(crate) fn no_arguments() -> *mut [Value] {
    ptr::slice_from_raw_parts_mut(ptr::dangling_mut(), 0)
}

/// Runs a function of C, and tells how it ended.
///
/// # Safety
/// There is a function at `entry`, which takes these arguments.
#[inline(always)]
unsafe fn run(mut activation: Activation, entry: usize, words: &[Value; 5]) -> Result<Value, Raise> {
    let place = &raw mut activation;
    // SAFETY: this thread has the machine. The activation is in the list as long as it lives. C may run already, in an
    // exported function that calls C again.
    let outcome = unsafe {
        let outer = pause();
        (*place).link();
        enter(place);
        let outcome = call_c(place, entry, words.as_ptr());
        (*place).unlink();
        resume(outer);
        outcome
    };
    match outcome.left {
        0 => Ok(outcome.value),
        _ => {
            if !activation.locked.is_null() {
                // SAFETY: C has locked it, and been left since.
                unsafe { io::unlock_left(activation.locked) };
            }
            Err(activation.take_raise())
        }
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
        }
        RUNNING = ptr::null_mut();
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
    pub(crate) fn new(machine: *mut Machine, reads: bool, arguments: *mut [Value]) -> Activation {
        Activation {
            saved: 0,
            machine,
            reads,
            local_roots: ptr::null_mut(),
            arguments,
            next: ptr::null_mut(),
            previous: ptr::null_mut(),
            raise: None,
            absence: None,
            locked: ptr::null_mut(),
        }
    }

    /// Why C is left.
    pub(crate) fn take_raise(&mut self) -> Raise {
        self.raise.take().unwrap_or_else(|| Raise::Fatal("C was left without a reason".to_owned()))
    }

    pub(crate) unsafe fn link(&mut self) {
        // SAFETY: this thread has the machine; the neighbours are alive.
        unsafe {
            self.next = NEWEST;
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
pub(crate) fn running() -> *mut Activation {
    // SAFETY: reading a word.
    let running = unsafe { RUNNING };
    if running.is_null() {
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
fn active() -> *mut Activation {
    let running = running();
    // SAFETY: the activation is alive while C runs in it.
    if unsafe { (*running).reads } {
        misused(
            "was called by an operation of a custom block, which may neither allocate nor run OCaml code",
        );
    }
    running
}

/// Runs the Rust part of an exported function, which has the machine.
pub(crate) fn with_machine<T>(f: impl FnOnce(&mut Machine) -> T) -> T {
    // SAFETY: C runs in this activation, so nobody else uses the machine.
    let m = unsafe { &mut *(*active()).machine };
    caught(|| f(m))
}

/// The same, of a function that only reads the machine.
pub(crate) fn reading<T>(f: impl FnOnce(&Machine) -> T) -> T {
    // SAFETY: nobody writes to the machine meanwhile.
    let m = unsafe { &*(*running()).machine };
    caught(|| f(m))
}

/// A panic must not unwind into C.
fn caught<T>(f: impl FnOnce() -> T) -> T {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(result) => result,
        Err(panic) => misused(&format!("cannot continue: {}", Panicked::of(&*panic).message)),
    }
}

/// The same, of a function that may raise.
pub(crate) fn answer(f: impl FnOnce(&mut Machine) -> Result<Value, Raise>) -> Answer {
    let activation = active();
    // SAFETY: as above.
    let m = unsafe { &mut *(*activation).machine };
    answer_of(activation, || f(m))
}

/// The answer of a function that raises, and only reads the machine.
pub(crate) fn raising(f: impl FnOnce(&Machine) -> Raise) -> Answer {
    let activation = running();
    // SAFETY: as above.
    let m = unsafe { &*(*activation).machine };
    answer_of(activation, || Err(f(m)))
}

fn answer_of(activation: *mut Activation, f: impl FnOnce() -> Result<Value, Raise>) -> Answer {
    let outcome = catch_unwind(AssertUnwindSafe(f))
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

/// The same, of a function that may run the program: C does not run meanwhile.
pub(crate) fn answer_outside(f: impl FnOnce(&mut Machine) -> Result<Value, Raise>) -> Answer {
    let activation = active();
    answer_of(activation, || {
        // SAFETY: C runs in this activation; afterwards it does so again. A panic of `f` comes to `resume`, too.
        unsafe {
            let outer = pause();
            let outcome = catch_unwind(AssertUnwindSafe(|| f(&mut *(*activation).machine)));
            resume(outer);
            outcome.unwrap_or_else(|panic| Err(Raise::Panic(Box::new(Panicked::of(&*panic)))))
        }
    })
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
    !WAITING.get().is_null() || is_on_this_stack(running.addr())
}

/// Whether an address is on the running thread's stack.
fn is_on_this_stack(address: usize) -> bool {
    let (mut low, mut bytes) = (ptr::null_mut(), 0);
    // SAFETY: the attributes are initialised by the first function, and freed.
    unsafe {
        let mut attributes = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            return false;
        }
        libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut low, &raw mut bytes);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
    }
    address.wrapping_sub(low.addr()) < bytes
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
