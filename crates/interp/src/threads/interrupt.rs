//! Interrupts: how another thread stops a call of the host.
//!
//! Calls have numbers, and a handle has the number of its call. So a late interrupt has no effect, and none needs to be
//! undone: a call must stop if its number is the last one for which an interrupt was requested. That remains true until
//! the call ends, even if the code in between ignores the request.
//!
//! Only the host's thread stops. The program's other threads wait until the call has ended.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Machine;
use crate::prim::Raise;
use crate::prim::fallible::{Lender, replace_lender};
use crate::threads::errands::Queue;

/// Ends a thread's wait, so that it checks for interrupts.
pub trait Wake: Send + Sync {
    /// Ends the wait, or makes the next one end at once. May be called without a reason.
    fn wake(&self);
}

/// The calls of a machine.
pub(crate) struct Calls {
    /// Odd while a call is in progress: that call's number. The next call has the next odd number. Never 0.
    number: AtomicU64,
    /// The latest call for which an interrupt was requested.
    wanted: AtomicU64,
    /// The latest call for which a handle exists.
    handled: AtomicU64,
    /// The latest call that exceeded a limit, and which: see [`Calls::note`]. 0 for none.
    exceeded: AtomicU64,
    /// What each call may write, and what it has written.
    output: Mutex<Output>,
    /// Makes the machine check at the next safe point.
    action: Arc<AtomicBool>,
    /// What other threads ask the machine to do.
    pub(super) errands: Queue,
    /// What wakes the host's thread from its current wait.
    waiting: Mutex<Option<Arc<dyn Wake>>>,
    /// The host is dropping the machine.
    closing: AtomicBool,
    /// What wakes the program's other threads from their waits.
    others: Mutex<Others>,
}

/// What wakes threads other than the host's, by the numbers of their waits.
#[derive(Default)]
struct Others {
    waits: BTreeMap<u64, Arc<dyn Wake>>,
    begun: u64,
}

impl Calls {
    pub(crate) fn new(action: Arc<AtomicBool>) -> Self {
        Calls {
            number: AtomicU64::new(2),
            wanted: AtomicU64::new(0),
            handled: AtomicU64::new(0),
            exceeded: AtomicU64::new(0),
            output: Mutex::default(),
            action,
            errands: Queue::default(),
            waiting: Mutex::new(None),
            closing: AtomicBool::new(false),
            others: Mutex::default(),
        }
    }

    fn others(&self) -> MutexGuard<'_, Others> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the waits of the threads other than the host's, now and from now on.
    pub(super) fn end_waits(&self) {
        self.closing.store(true, Ordering::SeqCst);
        let all: Vec<_> = self.others().waits.values().cloned().collect();
        all.iter().for_each(|waker| waker.wake());
    }

    fn waiting(&self) -> MutexGuard<'_, Option<Arc<dyn Wake>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the current call must stop.
    pub(crate) fn is_stopping(&self) -> bool {
        self.wanted.load(Ordering::Acquire) == self.number.load(Ordering::Relaxed)
    }

    /// Whether there is a handle for the current call.
    fn is_handled(&self) -> bool {
        self.handled.load(Ordering::Relaxed) == self.number.load(Ordering::Relaxed)
    }

    /// Stops the call in progress, if there is one.
    pub(super) fn stop(&self) {
        let number = self.number.load(Ordering::Relaxed);
        if !number.is_multiple_of(2) {
            self.request(number);
        }
    }

    /// Notes that the call of this number exceeded a limit. The first one counts.
    fn note(&self, number: u64, limit: Limit) {
        let noted = number << LIMIT_BITS | limit as u64;
        let is_first = |old: u64| (old >> LIMIT_BITS < noted >> LIMIT_BITS).then_some(noted);
        let _ = self.exceeded.fetch_update(Ordering::SeqCst, Ordering::SeqCst, is_first);
    }

    /// Stops the call in progress, if there is one, because it exceeds a limit.
    pub(crate) fn exceed(&self, limit: Limit) {
        self.note(self.number.load(Ordering::Relaxed), limit);
        self.stop();
    }

    /// Which limit the call of this number exceeded.
    fn exceeded_by(&self, number: u64) -> Option<Limit> {
        let noted = self.exceeded.load(Ordering::SeqCst);
        let limit = noted & ((1 << LIMIT_BITS) - 1);
        let same = noted != 0 && noted >> LIMIT_BITS == number << LIMIT_BITS >> LIMIT_BITS;
        Limit::ALL.into_iter().find(|it| same && *it as u64 == limit)
    }

    /// Stops the call of this number, which has not ended.
    fn request(&self, number: u64) {
        self.wanted.fetch_max(number, Ordering::SeqCst);
        self.announce();
        let waiting = self.waiting().clone();
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }

    /// Makes the machine check at its next safe point.
    pub(super) fn announce(&self) {
        self.action.store(true, Ordering::Release);
    }

    /// There will be no further calls.
    pub(crate) fn close(&self) {
        self.number.store(u64::MAX - 1, Ordering::SeqCst);
    }
}

/// A call of the host, which ends when this is dropped. See [`Machine::begin_call`].
#[must_use]
pub struct CallScope {
    /// Always there, until the end.
    calls: Option<Arc<Calls>>,
    number: u64,
    /// Who lent memory to this thread before.
    lender: Lender,
}

impl CallScope {
    /// Who looks at the number just now may still see the call: it then stops one that has ended, which does nothing.
    #[inline]
    fn end(&mut self) -> Option<Arc<Calls>> {
        let calls = self.calls.take()?;
        calls.number.store(self.number + 1, Ordering::Release);
        replace_lender(self.lender.take());
        Some(calls)
    }
}

impl Drop for CallScope {
    #[inline]
    fn drop(&mut self) {
        self.end();
    }
}

/// Lets another thread stop a call of the host.
///
/// It belongs to one call from the host into the machine: the one in progress when the handle is made, or else the
/// next. Running a program, loading a unit, calling a function and a collection are calls; what they call in turn is a
/// part of the same call. A handle to a call that has ended does nothing.
///
/// An interrupted call ends with [`Raise::Interrupted`] (the facade's `Error::Interrupted`), whatever it is doing:
/// running OCaml code (it stops at the next call or loop; in trusted code, at a loop generated by the compiler),
/// waiting for a descriptor, a time, a signal, a process, another thread, a mutex or a condition, or running a long
/// primitive. The program cannot catch it, and none of its code runs on the way out: no handler, no `Fun.protect`. The
/// program's data is left as it is. Mutexes that it has locked stay locked (except the one that `Condition.wait` has
/// released), buffered data of its channels stay in the buffers, and a write may have been done in part. The machine
/// can be called again. The host's own functions and callbacks are not stopped.
///
/// The program's other threads continue with the host's next call, as they do after any call. A thread that is
/// marshalling, parsing or matching a regular expression cannot be suspended there, and is ended.
///
/// Some operations cannot be woken. They complete, and the call stops after them: access to files on a disk or server
/// that does not respond (including opening, locking on the server, and closing them), a terminal that is read with a
/// `VMIN` of 0, a descriptor or a listening socket from which another thread or process takes the last data or
/// connection in between, a debugger's socket, `Unix.tcdrain`, the part of a compaction that moves blocks, emptying a
/// nursery that the host made very large, a path of hundreds of megabytes. Name lookups, programs that `Sys.command`
/// runs, opening a named pipe, and `float_of_string` on a number of megabytes are abandoned: the call stops, and they
/// continue on their own.
#[derive(Clone)]
pub struct InterruptHandle {
    calls: Arc<Calls>,
    number: u64,
}

impl InterruptHandle {
    /// Stops the call as soon as possible; if it has not begun yet, as soon as it does. Does nothing and returns false
    /// if the call has ended. A call may still end normally before it detects the interrupt.
    pub fn interrupt(&self) -> bool {
        let calls = &*self.calls;
        calls.wanted.fetch_max(self.number, Ordering::SeqCst);
        if calls.number.load(Ordering::SeqCst) > self.number {
            return false;
        }
        calls.request(self.number);
        true
    }
}

impl InterruptHandle {
    /// Stops the call like [`InterruptHandle::interrupt`], because it exceeded a limit: see [`Machine::exceeded`].
    pub fn exceed(&self, limit: Limit) -> bool {
        if self.calls.number.load(Ordering::SeqCst) > self.number {
            return false;
        }
        self.calls.note(self.number, limit);
        self.interrupt()
    }
}

/// How many bits below a call's number tell a limit.
const LIMIT_BITS: u32 = 4;

/// What a host limits in a call. A call that exceeds it stops like an interrupted one: see [`InterruptHandle`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
#[non_exhaustive]
pub enum Limit {
    /// The units of fuel: see [`Machine::set_fuel`].
    Fuel = 0,
    /// The time that it takes.
    Time = 1,
    /// The memory that the machine holds: see [`Config::max_bytes`](spelter_heap::Config::max_bytes).
    Memory = 2,
    /// The bytes that it writes to what the host has granted for output: see [`Machine::set_output_limit`].
    Output = 3,
}

impl Limit {
    const ALL: [Limit; 4] = [Limit::Fuel, Limit::Time, Limit::Memory, Limit::Output];
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Limit::Fuel => "its fuel is used up",
            Limit::Time => "its time is used up",
            Limit::Memory => "its memory is used up",
            Limit::Output => "it wrote more than it may",
        })
    }
}

impl fmt::Debug for InterruptHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InterruptHandle({})", self.number)
    }
}

/// The output of the host's calls.
#[derive(Default)]
struct Output {
    /// The bytes that a call may write, if that is limited.
    limit: Option<u64>,
    /// The call that wrote last, and its bytes.
    written: (u64, u64),
}

/// Counts what the host's calls write, for [`Limit::Output`].
#[derive(Clone)]
pub struct OutputMeter(Arc<Calls>);

impl OutputMeter {
    /// Counts `bytes` that the call is about to write. If it may not, it is stopped, and the result is false. Between two
    /// calls, what is written counts for the next one.
    pub fn spend(&self, bytes: usize) -> bool {
        let calls = &*self.0;
        let mut output = calls.output.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(limit) = output.limit else { return true };
        let number = calls.number.load(Ordering::Relaxed) | 1;
        let before = if output.written.0 == number { output.written.1 } else { 0 };
        let all = before.saturating_add(bytes as u64);
        if all > limit {
            calls.exceed(Limit::Output);
            return false;
        }
        output.written = (number, all);
        true
    }
}

/// Why a wait without the machine ended: it was interrupted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interrupted;

/// Tells a blocking section whether it must stop: in the host's thread, because its call must; in others, because the
/// host is dropping the machine.
#[derive(Clone)]
pub struct Interruption(Why);

#[derive(Clone)]
enum Why {
    Never,
    Call(Arc<Calls>),
    Close(Arc<Calls>),
}

impl Interruption {
    /// For sections that cannot be interrupted.
    pub fn never() -> Self {
        Interruption(Why::Never)
    }

    /// Whether the section must stop.
    pub fn is_due(&self) -> bool {
        match &self.0 {
            Why::Never => false,
            Why::Call(calls) => calls.is_stopping(),
            Why::Close(calls) => calls.closing.load(Ordering::SeqCst),
        }
    }

    /// Whether there is anything to process, for example a signal.
    pub fn is_called(&self) -> bool {
        match &self.0 {
            Why::Never => false,
            Why::Call(calls) | Why::Close(calls) => calls.action.load(Ordering::Acquire) || self.is_due(),
        }
    }

    /// While `f` runs, makes an interrupt wake `waker`.
    pub fn woken<T>(&self, waker: &Arc<impl Wake + 'static>, f: impl FnOnce() -> T) -> T {
        let own = || Arc::clone(waker) as Arc<dyn Wake>;
        match &self.0 {
            Why::Never => f(),
            Why::Call(calls) => {
                *calls.waiting() = Some(own());
                let result = f();
                *calls.waiting() = None;
                result
            }
            Why::Close(calls) => {
                let mut others = calls.others();
                others.begun += 1;
                let number = others.begun;
                others.waits.insert(number, own());
                drop(others);
                let result = f();
                calls.others().waits.remove(&number);
                result
            }
        }
    }
}

impl Machine {
    /// Stops the call in progress because it exceeds a limit.
    pub(crate) fn exceed(&self, limit: Limit) {
        self.calls.exceed(limit);
    }

    /// Sets how many bytes each of the host's calls may write to what the host has given the program for output. A call
    /// that writes more is stopped: see [`Limit::Output`]. What would exceed the limit is not written.
    pub fn set_output_limit(&self, bytes: Option<u64>) {
        self.calls.output.lock().unwrap_or_else(PoisonError::into_inner).limit = bytes;
    }

    /// What counts the output.
    pub fn output_meter(&self) -> OutputMeter {
        OutputMeter(Arc::clone(&self.calls))
    }

    /// Which limit the call in progress, or else the last one, exceeded, if it was stopped for that.
    pub fn exceeded(&self) -> Option<Limit> {
        // The number is even after the call's end, by one more.
        self.calls.exceeded_by((self.calls.number.load(Ordering::Relaxed) - 1) | 1)
    }

    /// A handle with which another thread can stop the call in progress, or else the next.
    pub fn interrupt_handle(&self) -> InterruptHandle {
        let number = self.calls.number.load(Ordering::Relaxed) | 1;
        self.calls.handled.fetch_max(number, Ordering::Relaxed);
        InterruptHandle { calls: Arc::clone(&self.calls), number }
    }

    /// Begins a call of the host, which ends when the result is dropped: everything that the host does with the machine
    /// until then is one call for interrupts. Returns `None` if a call is in progress already. Operations that run
    /// something for the host begin a call themselves.
    #[must_use]
    #[inline]
    pub fn begin_call(&self) -> Option<CallScope> {
        let number = self.calls.number.load(Ordering::Relaxed) + 1;
        if number.is_multiple_of(2) || !self.is_home() {
            return None;
        }
        // Counting the references takes as long as the rest of a short call: each call uses that of the last one.
        let calls = self.spare_calls.take().unwrap_or_else(|| Arc::clone(&self.calls));
        // Handles are made by the thread that has the machine. If there is none for this call yet, nobody can want it
        // stopped; and whoever gets one later gets it from this thread, which has stored the number before.
        if calls.handled.load(Ordering::Relaxed) == number {
            self.begin_handled(&calls, number);
        } else {
            calls.number.store(number, Ordering::Release);
        }
        let lender = replace_lender(self.lender());
        Some(CallScope { calls: Some(calls), number, lender })
    }

    /// Begins a call that may have been interrupted already: whoever does so stores the number as wanted before it looks
    /// whether the call has ended. The flag may have been cleared since.
    #[cold]
    fn begin_handled(&self, calls: &Calls, number: u64) {
        calls.number.store(number, Ordering::SeqCst);
        if calls.wanted.load(Ordering::SeqCst) == number {
            self.request_action();
        }
    }

    /// Who lends memory to the primitives of this machine.
    #[inline]
    pub(crate) fn lender(&self) -> Lender {
        let account = self.heap.account();
        if !account.is_limited() {
            return None;
        }
        account.settle();
        Some((Arc::clone(account), Arc::clone(&self.action)))
    }

    /// Ends a call of this machine. Dropping it does the same, but makes the next call slower.
    #[inline]
    pub fn end_call(&self, mut call: CallScope) {
        self.spare_calls.set(call.end());
    }

    /// Whether the running thread may be interrupted while it waits: through a handle, or because another thread ends the
    /// program.
    pub fn may_be_interrupted(&self) -> bool {
        self.is_home() && (self.calls.is_handled() || self.may_be_ended())
    }

    /// The interruption that applies to blocking sections of the running thread.
    pub fn interruption(&self) -> Interruption {
        Interruption(match self.may_be_interrupted() {
            true => Why::Call(Arc::clone(&self.calls)),
            false if self.is_home() => Why::Never,
            false => Why::Close(Arc::clone(&self.calls)),
        })
    }

    /// Checks whether the call, or this thread, must stop. For primitives that take long without running OCaml code,
    /// and cannot let another thread use the machine meanwhile.
    ///
    /// # Errors
    /// [`Raise::Interrupted`] if the call must stop, [`Raise::EndThread`] if the host is dropping the machine.
    #[inline]
    pub fn check_interrupt(&self) -> Result<(), Raise> {
        if self.action_due() { self.stop_if_due() } else { Ok(()) }
    }

    /// What a wait raises that was cut short: the host's call is interrupted, another thread ends.
    pub(super) fn cut_short(&self) -> Raise {
        self.request_action();
        if self.must_end() { Raise::EndThread } else { Raise::Interrupted }
    }

    #[cold]
    fn stop_if_due(&self) -> Result<(), Raise> {
        if self.must_end() {
            return Err(Raise::EndThread);
        }
        if !self.calls.is_stopping() {
            return Ok(());
        }
        // If the caller ignores the error, the next check reports it again.
        self.request_action();
        Err(Raise::Interrupted)
    }

    /// If the call must stop, stops it in the host's thread; in other threads, waits until it has ended. For primitives
    /// that take long, between steps after which everything that they work on is in slots.
    ///
    /// # Errors
    /// [`Raise::Interrupted`] in the host's thread.
    #[inline]
    pub fn heed_interrupt(&mut self) -> Result<(), Raise> {
        if self.action_due() { self.stop_or_wait() } else { Ok(()) }
    }

    #[cold]
    pub(crate) fn stop_or_wait(&mut self) -> Result<(), Raise> {
        if self.is_home() {
            return self.stop_if_due();
        }
        while self.calls.is_stopping() {
            // The host's thread must check, too. This thread will not get the machine again before the call has ended.
            self.request_action();
            self.without_machine(|| ());
            self.request_action();
        }
        Ok(())
    }
}

/// How much of a long operation is done between two checks: at most about a millisecond's work.
pub const PIECE_BYTES: usize = 1 << 20;

/// The number of blocks that are processed between two checks.
pub(crate) const BLOCKS_AT_ONCE: usize = 1 << 12;

/// [`PIECE_BYTES`] in words.
pub(crate) const PIECE_WORDS: usize = PIECE_BYTES / 8;

/// Divides an operation on `words` words into pieces.
pub(crate) fn pieces(words: usize) -> impl DoubleEndedIterator<Item = Range<usize>> {
    let start = |i: usize| i * PIECE_WORDS;
    (0..words.div_ceil(PIECE_WORDS)).map(move |i| start(i)..words.min(start(i + 1)))
}

/// Drops something that takes `bytes` of memory outside the heap: in another thread if returning so much to the system
/// takes a while.
pub(crate) fn drop_elsewhere(bytes: usize, what: impl Send + 'static) {
    const LARGE: usize = 8 * PIECE_BYTES;
    if bytes > LARGE {
        // If no thread could be started, it was dropped here.
        let _ = std::thread::Builder::new().name("spelter drop".to_owned()).spawn(move || drop(what));
    }
}

impl Machine {
    /// Like [`Machine::check_interrupt`], for an operation that is short enough to complete when another thread runs
    /// it.
    ///
    /// # Errors
    /// [`Raise::Interrupted`] in the host's thread.
    #[inline]
    pub fn check_own_interrupt(&self) -> Result<(), Raise> {
        if self.action_due() && self.is_home() { self.stop_if_due() } else { Ok(()) }
    }

    /// Drops something that takes `bytes` of memory outside the heap. Returning much memory to the system takes a
    /// while; in a call that may be interrupted, another thread does it.
    pub fn give_back(&self, bytes: usize, what: impl Send + 'static) {
        // Memory that is limited is free when it is said to be.
        if self.may_be_interrupted() && !self.heap.account().is_limited() {
            drop_elsewhere(bytes, what);
        }
    }

    /// Runs an operation of `len` steps, `piece` steps at a time, and checks in between whether the call must stop.
    /// Another thread may run then.
    ///
    /// # Errors
    /// What `f` raises, or [`Raise::Interrupted`].
    #[inline]
    pub fn in_pieces(
        &mut self,
        len: usize,
        piece: usize,
        mut f: impl FnMut(&mut Machine, Range<usize>) -> Result<(), Raise>,
    ) -> Result<(), Raise> {
        let mut at = 0;
        while len - at > piece {
            f(self, at..at + piece)?;
            at += piece;
            self.heed_interrupt()?;
        }
        f(self, at..len)
    }
}
