//! Interrupts: how another thread stops a call of the host's.
//!
//! Calls have numbers, and a handle has the number of its call. So what comes late concerns nobody, and nothing has to be
//! taken back: a call is to stop if its number is the one that was last asked for. That stays so until it ends, whatever
//! the code between does with the news.
//!
//! The thread of the host's is the one that stops. Others of the program wait until the call has ended.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Machine;
use crate::prim::Raise;

/// What ends a thread's waiting, so that it looks around.
pub trait Wake: Send + Sync {
    /// Ends it, or has the next waiting end at once. May come without a reason.
    fn wake(&self);
}

/// The calls of a machine.
pub(crate) struct Calls {
    /// Odd while a call is under way, whose number it is; the next one's is the next odd number. Never 0.
    number: AtomicU64,
    /// The latest call that is to stop.
    wanted: AtomicU64,
    /// The latest call that there is a handle to.
    handled: AtomicU64,
    /// Makes the machine look.
    action: Arc<AtomicBool>,
    /// What the host's thread is waiting in.
    waiting: Mutex<Option<Arc<dyn Wake>>>,
}

impl Calls {
    pub(crate) fn new(action: Arc<AtomicBool>) -> Self {
        Calls {
            number: AtomicU64::new(2),
            wanted: AtomicU64::new(0),
            handled: AtomicU64::new(0),
            action,
            waiting: Mutex::new(None),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Option<Arc<dyn Wake>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the call under way is to stop.
    pub(crate) fn is_stopping(&self) -> bool {
        self.wanted.load(Ordering::Acquire) == self.number.load(Ordering::Relaxed)
    }

    /// Whether there is a handle to the call under way.
    fn is_handled(&self) -> bool {
        self.handled.load(Ordering::Relaxed) == self.number.load(Ordering::Relaxed)
    }

    /// No call will come any more.
    pub(crate) fn close(&self) {
        self.number.store(u64::MAX - 1, Ordering::SeqCst);
    }
}

/// A call of the host's, until this is dropped. See [`Machine::begin_call`].
#[must_use]
pub struct CallScope {
    calls: Arc<Calls>,
    number: u64,
}

impl Drop for CallScope {
    fn drop(&mut self) {
        self.calls.number.store(self.number + 1, Ordering::SeqCst);
    }
}

/// Stops a call from another thread.
///
/// It belongs to one call of the host's into the machine: the one that is under way when the handle is made, or else the
/// next. A program that is run, a unit that is loaded, a function that is called, a collection: each is a call, and what
/// it calls in turn is a part of it. A handle to a call that has ended does nothing.
///
/// A call that is interrupted ends with [`Raise::Interrupted`] (the facade's `Error::Interrupted`), whatever it is in the
/// midst of: OCaml code at its next call or loop (in trusted code, a loop that the compiler made), a wait for a
/// descriptor, a time, a signal, a process, another thread, a mutex or a condition, or a primitive that takes long. The
/// program cannot catch it, and no code of the program's runs on the way out: no handler, no `Fun.protect`. It leaves the
/// program's data as they are; mutexes that it has locked stay locked (but for the one that `Condition.wait` has given
/// back), what is in its channels' buffers stays there, and a write may have been done in part. The machine can be called
/// again. What the host's own functions and callbacks do is theirs to end.
///
/// The program's other threads go on with the host's next call, as they do after any; one that is in the midst of
/// marshalling, of parsing, or of matching a regular expression cannot be held up there, and is ended.
///
/// What cannot be woken ends as it would, and the call stops after that: files on a disk or server that does not answer
/// (also when they are opened, locked by the server, or closed), a terminal that is read with a `VMIN` of 0, a descriptor
/// or a listening socket that another thread or process takes the last data or connection from in between, a debugger's
/// socket, `Unix.tcdrain`, the part of a compaction that moves blocks, the emptying of a nursery that the host made very
/// large, a path of hundreds of megabytes. A name that is looked up, a program that `Sys.command` runs, a named pipe that is
/// being opened, and a number of megabytes that `float_of_string` reads are left to themselves.
#[derive(Clone)]
pub struct InterruptHandle {
    calls: Arc<Calls>,
    number: u64,
}

impl InterruptHandle {
    /// Stops the call as soon as can be; if it has not begun yet, when it does. False when it has ended: then it does
    /// nothing. A call may still end by itself before it finds out that it is to stop.
    pub fn interrupt(&self) -> bool {
        let calls = &*self.calls;
        calls.wanted.fetch_max(self.number, Ordering::SeqCst);
        if calls.number.load(Ordering::SeqCst) > self.number {
            return false;
        }
        calls.action.store(true, Ordering::Release);
        let waiting = calls.waiting().clone();
        if let Some(waiting) = waiting {
            waiting.wake();
        }
        true
    }
}

impl fmt::Debug for InterruptHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InterruptHandle({})", self.number)
    }
}

/// What somebody who waits without the machine was stopped by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interrupted;

/// What a blocking section asks whether it is to stop. Of the threads of a program, only the host's is stopped.
#[derive(Clone)]
pub struct Interruption(Option<Arc<Calls>>);

impl Interruption {
    /// For what nobody can interrupt.
    pub fn never() -> Self {
        Interruption(None)
    }

    /// Whether the section is to stop.
    pub fn is_due(&self) -> bool {
        self.0.as_ref().is_some_and(|calls| calls.is_stopping())
    }

    /// Whether anything is to be looked at, a signal for example.
    pub fn is_called(&self) -> bool {
        self.0.as_ref().is_some_and(|calls| calls.action.load(Ordering::Acquire))
    }

    /// Has `waker` woken when the section is to stop, as long as `f` runs.
    pub fn woken<T>(&self, waker: &Arc<impl Wake + 'static>, f: impl FnOnce() -> T) -> T {
        let Some(calls) = &self.0 else { return f() };
        *calls.waiting() = Some(Arc::clone(waker) as Arc<dyn Wake>);
        let result = f();
        *calls.waiting() = None;
        result
    }
}

impl Machine {
    /// A handle by which another thread can stop the call that is under way, or else the next.
    pub fn interrupt_handle(&self) -> InterruptHandle {
        let number = self.calls.number.load(Ordering::Relaxed) | 1;
        self.calls.handled.fetch_max(number, Ordering::Relaxed);
        InterruptHandle { calls: Arc::clone(&self.calls), number }
    }

    /// Begins a call of the host's, which ends when what this gives is dropped: all that the host has the machine do
    /// meanwhile is one call for those who want to interrupt it. Nothing where one is under way already. What the
    /// machine runs for the host begins a call by itself.
    #[must_use]
    pub fn begin_call(&self) -> Option<CallScope> {
        let calls = &self.calls;
        let number = calls.number.load(Ordering::Relaxed) + 1;
        if number.is_multiple_of(2) || !self.is_home() {
            return None;
        }
        calls.number.store(number, Ordering::SeqCst);
        if calls.wanted.load(Ordering::SeqCst) == number {
            self.request_action();
        }
        Some(CallScope { calls: Arc::clone(calls), number })
    }

    /// Whether the running thread may be stopped in what it waits for.
    pub fn may_be_interrupted(&self) -> bool {
        self.calls.is_handled() && self.is_home()
    }

    /// What a blocking section of the running thread's asks.
    pub fn interruption(&self) -> Interruption {
        Interruption(self.may_be_interrupted().then(|| Arc::clone(&self.calls)))
    }

    /// Whether the call is to stop, or this thread: for primitives that take long without running OCaml code, and cannot let
    /// another thread have the machine meanwhile.
    ///
    /// # Errors
    /// [`Raise::Interrupted`] if so, [`Raise::EndThread`] where the host lets go of the machine.
    #[inline]
    pub fn check_interrupt(&self) -> Result<(), Raise> {
        if self.action_due() { self.stop_if_due() } else { Ok(()) }
    }

    #[cold]
    fn stop_if_due(&self) -> Result<(), Raise> {
        if self.must_end() {
            return Err(Raise::EndThread);
        }
        if !self.calls.is_stopping() {
            return Ok(());
        }
        // Whoever swallows it hears of it again.
        self.request_action();
        Err(Raise::Interrupted)
    }

    /// Where the call is to stop, stops it, or has a thread that is not the host's wait until it has. For primitives that take
    /// long, between steps after which all that they work on is in slots.
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
            // The host's thread is to look, too. This one will not have the machine again before the call has ended.
            self.request_action();
            self.without_machine(|| ());
            self.request_action();
        }
        Ok(())
    }
}

/// How much of a long job is done between two looks: what takes about a millisecond at most.
pub const PIECE_BYTES: usize = 1 << 20;

/// So many blocks are looked at between two looks.
pub(crate) const BLOCKS_AT_ONCE: usize = 1 << 12;

/// The same in words.
pub(crate) const PIECE_WORDS: usize = PIECE_BYTES / 8;

/// A job of so many words in pieces.
pub(crate) fn pieces(words: usize) -> impl DoubleEndedIterator<Item = Range<usize>> {
    let start = |i: usize| i * PIECE_WORDS;
    (0..words.div_ceil(PIECE_WORDS)).map(move |i| start(i)..words.min(start(i + 1)))
}

impl Machine {
    /// The same as [`Machine::check_interrupt`], for a job that ends soon enough if another thread does it.
    ///
    /// # Errors
    /// [`Raise::Interrupted`] in the host's thread.
    #[inline]
    pub fn check_own_interrupt(&self) -> Result<(), Raise> {
        if self.action_due() && self.is_home() { self.stop_if_due() } else { Ok(()) }
    }

    /// Drops what takes so much memory outside the heap. The system takes a while to get back what is large, which nobody
    /// need wait for who may be interrupted: another thread does.
    pub fn give_back(&self, bytes: usize, what: impl Send + 'static) {
        const LARGE: usize = 8 * PIECE_BYTES;
        if bytes > LARGE && self.may_be_interrupted() {
            // Where there is no thread for it, it has been dropped here.
            let _ = std::thread::Builder::new().spawn(move || drop(what));
        }
    }

    /// Does a job of `len` steps, `piece` at once, and looks in between whether the call is to stop. Another thread may run
    /// then.
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
