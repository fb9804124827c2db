//! The master lock: holds the machine while no thread of the program uses it. A thread that takes the machine runs.
//!
//! The machine itself is passed between threads, by value. So a waiting thread holds no part of it, and changes by
//! another thread go through that thread's own variable for it.
//!
//! Waking a thread takes the system longer than what programs often do between two waits. So threads wait in a queue,
//! and only the one that can have the machine is woken: when another one gives up the machine, not already when what
//! the thread waits for happens ([`Call`]).

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crate::Machine;
use crate::threads::interrupt::{Calls, Interruption, Wake};

/// A machine that is being passed to another thread.
struct Moved(Machine);

// SAFETY: everything that a machine shares without a lock of its own (`Rc`s), it shares with itself, with the frames of
// the program's threads, and with its host. A thread uses these only while it holds the machine: code that runs without
// it (`Machine::blocking`) must be `Send`, and so has none. The host's thread holds the machine whenever it runs the
// host's code; other threads may not call the host's functions, and callbacks wait for the host's thread.
unsafe impl Send for Moved {}

/// A thread that waits for the machine.
struct Sleeper {
    thread: Thread,
    /// Whether it is the host's.
    home: bool,
    /// Whether its last turn brought it no further.
    idles: bool,
}

impl Sleeper {
    /// The running thread.
    fn new(home: bool, idles: bool) -> Arc<Sleeper> {
        Arc::new(Sleeper { thread: std::thread::current(), home, idles })
    }
}

/// How long a thread may have the machine while another waits for it.
pub(crate) struct Turns {
    pub(crate) usual: Duration,
    /// If its last turn brought it no further.
    pub(crate) idle: Duration,
}

#[derive(Default)]
struct State {
    machine: Option<Moved>,
    /// The threads that wait for the machine, longest first.
    queue: VecDeque<Arc<Sleeper>>,
    /// How many times the machine has been taken.
    turns: u64,
    /// Whether the last turn of the thread that has it brought that thread no further.
    idles: bool,
    /// The number of threads that have ended.
    ends: u64,
    /// A thread keeps the time of turns ([`MasterLock::keep_time`]).
    timed: bool,
    /// That thread waits until another one waits for the machine.
    untimed: bool,
    /// The host is dropping the machine, and waits for the other threads to come for it.
    closing: bool,
    /// The machine no longer exists.
    closed: bool,
}

impl State {
    fn host(&self) -> Option<&Arc<Sleeper>> {
        self.queue.iter().find(|sleeper| sleeper.home)
    }

    /// The thread to wake, now that the machine is here. The state is locked, so an interrupt that comes too late to be
    /// seen here wakes the host's thread itself.
    fn next(&self, calls: &Calls) -> Option<Thread> {
        let next = if calls.is_stopping() { self.host() } else { self.queue.front() };
        next.map(|sleeper| sleeper.thread.clone())
    }
}

/// Holds the machine while no thread uses it.
#[derive(Default)]
pub(crate) struct MasterLock {
    state: Mutex<State>,
    /// Signalled when a thread has ended; and when one begins to wait for a machine that is being dropped.
    ended: Condvar,
    /// Signalled when a thread begins to wait for the machine and none did before, if turns are timed.
    contended: Condvar,
    /// The number of threads that wait for the machine.
    waiting: AtomicUsize,
}

/// A thread that wants to take the machine.
pub(crate) struct Taker {
    pub(crate) calls: Arc<Calls>,
    /// Whether it is the host's thread; the others must wait while the host's call is being stopped.
    pub(crate) home: bool,
    /// The interruption that applies to the thread.
    pub(crate) interruption: Interruption,
}

impl Taker {
    fn must_wait(&self) -> bool {
        !self.home && self.calls.is_stopping()
    }

    fn must_stop(&self) -> bool {
        self.home && self.calls.is_stopping()
    }
}

/// Wakes the host's thread, which then takes the machine.
impl Wake for MasterLock {
    fn wake(&self) {
        // Locking the state waits for a thread that has checked the condition but does not wait for the signal yet.
        let host = self.state().host().map(Arc::clone);
        if let Some(host) = host {
            host.thread.unpark();
        }
        self.ended.notify_all();
    }
}

/// What ends a thread's wait for something that other threads of the program do: it continues when it gets the machine.
pub struct Call {
    lock: Arc<MasterLock>,
    sleeper: Arc<Sleeper>,
    called: AtomicBool,
}

impl Call {
    /// For the running thread.
    pub(super) fn new(lock: &Arc<MasterLock>, home: bool) -> Arc<Call> {
        Arc::new(Call {
            lock: Arc::clone(lock),
            sleeper: Sleeper::new(home, false),
            called: AtomicBool::new(false),
        })
    }

    /// Ends the thread's wait.
    pub fn call(&self) {
        let mut state = self.lock.state();
        self.called.store(true, Ordering::Release);
        self.lock.enqueue(&mut state, &self.sleeper);
        let free = state.machine.is_some();
        drop(state);
        if free {
            self.sleeper.thread.unpark();
        }
    }

    /// Whether the thread has been called.
    pub fn is_called(&self) -> bool {
        self.called.load(Ordering::Acquire)
    }

    /// Waits for the call or an interrupt, in the only thread.
    pub(super) fn wait_alone(self: &Arc<Self>, interruption: &Interruption) {
        interruption.woken(self, || {
            while !self.is_called() && !interruption.is_due() {
                std::thread::park();
            }
        });
    }
}

/// Wakes the thread, which then checks for interrupts.
impl Wake for Call {
    fn wake(&self) {
        self.sleeper.thread.unpark();
    }
}

impl MasterLock {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether any thread waits for the machine.
    pub(crate) fn wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Puts the machine here.
    pub(crate) fn put(&self, machine: Machine) {
        let calls = Arc::clone(&machine.calls);
        let mut state = self.state();
        state.machine = Some(Moved(machine));
        let next = state.next(&calls);
        drop(state);
        wake(next);
    }

    /// Waits for the machine, and takes it. If it no longer exists, waits forever, because this thread's frames rely on
    /// it.
    pub(crate) fn take(self: &Arc<Self>, taker: &Taker) -> Machine {
        taker.interruption.woken(self, || {
            let mut state = self.state();
            if !taker.must_wait()
                && let Some(machine) = state.machine.take()
            {
                state.turns += 1;
                state.idles = false;
                return machine.0;
            }
            let me = Sleeper::new(taker.home, false);
            self.enqueue(&mut state, &me);
            self.take_when(state, &me, |_| !taker.must_wait())
        })
    }

    /// The same for a thread that begins: returns `None` if the machine no longer exists.
    pub(crate) fn take_first(self: &Arc<Self>, taker: &Taker) -> Option<Machine> {
        let mut state = self.state();
        let me = Sleeper::new(taker.home, false);
        if !state.closed {
            self.enqueue(&mut state, &me);
        }
        while !state.closed {
            if !taker.must_wait()
                && let Some(Moved(machine)) = state.machine.take()
            {
                self.dequeue(&mut state, &me);
                return Some(machine);
            }
            drop(state);
            std::thread::park();
            state = self.state();
        }
        None
    }

    /// Waits to be called, and takes the machine. An interrupt ends the wait, too.
    fn take_when_called(self: &Arc<Self>, taker: &Taker, call: &Arc<Call>) -> Machine {
        taker.interruption.woken(call, || {
            let mut state = self.state();
            while !call.is_called() && !taker.must_stop() && !taker.interruption.is_due() {
                drop(state);
                std::thread::park();
                state = self.state();
            }
            self.enqueue(&mut state, &call.sleeper);
            self.take_when(state, &call.sleeper, |_| !taker.must_wait())
        })
    }

    /// Lends the machine to another thread that waits for it, if there is one, and takes it again afterwards.
    fn lend(self: &Arc<Self>, machine: Machine, taker: &Taker, idles: bool) -> Machine {
        taker.interruption.woken(self, || {
            let mut state = self.state();
            if state.queue.is_empty() {
                return machine;
            }
            let next = state.next(&taker.calls);
            state.machine = Some(Moved(machine));
            let turns = state.turns;
            let me = Sleeper::new(taker.home, idles);
            self.enqueue(&mut state, &me);
            drop(state);
            wake(next);
            let my_turn = |state: &State| state.turns != turns && !taker.must_wait() || taker.must_stop();
            self.take_when(self.state(), &me, my_turn)
        })
    }

    /// Makes a thread wait, unless it does already.
    fn enqueue(&self, state: &mut State, sleeper: &Arc<Sleeper>) {
        if state.queue.iter().any(|other| Arc::ptr_eq(other, sleeper)) {
            return;
        }
        state.queue.push_back(Arc::clone(sleeper));
        self.waiting.store(state.queue.len(), Ordering::Relaxed);
        if state.closing {
            self.ended.notify_all();
        }
        if state.untimed {
            state.untimed = false;
            self.contended.notify_one();
        }
    }

    /// Waits in the queue until it is this thread's turn and the machine is here.
    fn take_when<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        me: &Arc<Sleeper>,
        my_turn: impl Fn(&State) -> bool,
    ) -> Machine {
        let machine = loop {
            if my_turn(&state)
                && let Some(Moved(machine)) = state.machine.take()
            {
                break machine;
            }
            drop(state);
            std::thread::park();
            state = self.state();
        };
        self.dequeue(&mut state, me);
        machine
    }

    /// A thread that has waited has taken the machine.
    fn dequeue(&self, state: &mut State, me: &Arc<Sleeper>) {
        state.queue.retain(|other| !Arc::ptr_eq(other, me));
        self.waiting.store(state.queue.len(), Ordering::Relaxed);
        state.turns += 1;
        state.idles = me.idles;
    }

    /// Waits until a thread comes for the machine, which the host is dropping; or until the time, and returns false.
    pub(crate) fn await_thread(&self, until: Instant) -> bool {
        let mut state = self.state();
        state.closing = true;
        while state.queue.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.ended.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Records that a thread ends, which has put the machine here for the last time.
    pub(crate) fn end(&self) {
        self.state().ends += 1;
        self.ended.notify_all();
    }

    /// How many threads have ended.
    pub(crate) fn ends(&self) -> u64 {
        self.state().ends
    }

    /// Waits until more than `ends` threads have ended, or the host's call is to stop.
    pub(crate) fn wait_for_end(self: &Arc<Self>, ends: u64, interruption: &Interruption) {
        interruption.woken(self, || {
            let mut state = self.state();
            while state.ends == ends && !interruption.is_due() {
                state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        });
    }

    /// Whether a thread keeps the time of turns.
    pub(crate) fn is_timed(&self) -> bool {
        self.state().timed
    }

    /// Calls `over` each time when a thread has had the machine for its turn while another waits for it, until the
    /// machine no longer exists. Does nothing while none waits, or if another thread keeps the time.
    pub(crate) fn keep_time(&self, lengths: &Turns, over: impl Fn()) {
        let mut state = self.state();
        if std::mem::replace(&mut state.timed, true) {
            return;
        }
        let mut length = lengths.usual;
        // The number of the turn that is timed: after the end of one, it is the next one, which begins at once.
        let mut timed = state.turns;
        while !state.closed {
            if !self.wanted() {
                state.untimed = true;
                state = self.contended.wait(state).unwrap_or_else(PoisonError::into_inner);
                (length, timed) = (lengths.usual, state.turns);
                continue;
            }
            state.untimed = false;
            drop(state);
            std::thread::sleep(length);
            state = self.state();
            let idles = match state.queue.front() {
                _ if state.turns > timed => {
                    timed = state.turns;
                    state.idles
                }
                // The next thread is waking up.
                Some(next) if state.machine.is_some() => next.idles,
                Some(next) => {
                    over();
                    timed = state.turns + 1;
                    next.idles
                }
                None => false,
            };
            length = if idles { lengths.idle } else { lengths.usual };
        }
    }

    /// The machine no longer exists.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        // Threads that have only just begun end.
        state.queue.iter().for_each(|sleeper| sleeper.thread.unpark());
        // Usually no thread keeps the time, and notifying asks the system.
        if state.timed {
            self.contended.notify_all();
        }
    }
}

/// Wakes a thread. The state is not locked: the thread needs it at once.
fn wake(thread: Option<Thread>) {
    if let Some(thread) = thread {
        thread.unpark();
    }
}

/// Waits without the machine until another thread calls this one, or an interrupt ends the wait.
pub(crate) fn sleep(m: &mut Machine, lock: &Arc<MasterLock>, taker: &Taker, call: &Arc<Call>) {
    let place: *mut Machine = m;
    // SAFETY: as in `without`.
    unsafe {
        lock.put(place.read());
        place.write(lock.take_when_called(taker, call));
    }
}

/// Runs `f` while any thread may use the machine. A panic in `f` is returned as an error.
pub(crate) fn without<T>(
    m: &mut Machine,
    lock: &Arc<MasterLock>,
    taker: &Taker,
    f: impl FnOnce() -> T,
) -> std::thread::Result<T> {
    let place: *mut Machine = m;
    // SAFETY: the variable is empty from here on, and is filled again before any code can read it: `m` is borrowed only
    // by this function, which does not use it, and nothing in between unwinds.
    lock.put(unsafe { place.read() });
    let result = catch_unwind(AssertUnwindSafe(f));
    let machine = lock.take(taker);
    // SAFETY: the variable was emptied above.
    unsafe { place.write(machine) };
    result
}

/// A thread's time without the machine, where the machine is left and taken in different places.
pub struct Absence {
    pub(super) lock: Arc<MasterLock>,
    pub(super) taker: Taker,
    /// The thread's number.
    pub(super) id: u64,
}

impl Absence {
    /// Puts the machine down.
    ///
    /// # Safety
    /// The machine is at `place`; nothing uses that place before [`Absence::end`] has filled it again.
    pub(super) unsafe fn begin(self, place: *mut Machine) -> Absence {
        // SAFETY: the caller guarantees it.
        self.lock.put(unsafe { place.read() });
        self
    }

    /// Waits for the machine, and puts it at `place`. Returns the thread's number.
    ///
    /// # Safety
    /// The place is the one of [`Absence::begin`].
    pub(super) unsafe fn end(self, place: *mut Machine) -> u64 {
        // SAFETY: the place is empty.
        unsafe { place.write(self.lock.take(&self.taker)) };
        self.id
    }
}

/// Lends the machine to another thread that waits for it, for a while.
pub(crate) fn give_way(m: &mut Machine, lock: &Arc<MasterLock>, taker: &Taker, idles: bool) {
    let place: *mut Machine = m;
    // SAFETY: as in `without`.
    unsafe { place.write(lock.lend(place.read(), taker, idles)) };
}
