//! The master lock: holds the machine while no thread of the program uses it. A thread that takes the machine runs.
//!
//! The machine itself is passed between threads, by value. So a waiting thread holds no part of it, and changes by
//! another thread go through that thread's own variable for it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::Machine;
use crate::threads::interrupt::{Calls, Interruption, Wake};

/// A machine that is being passed to another thread.
struct Moved(Machine);

// SAFETY: everything that a machine shares without a lock of its own (`Rc`s), it shares with itself, with the frames of
// the program's threads, and with its host. A thread uses these only while it holds the machine: code that runs without
// it (`Machine::blocking`) must be `Send`, and so has none. The host's thread holds the machine whenever it runs the
// host's code; other threads may not call the host's functions, and callbacks wait for the host's thread.
unsafe impl Send for Moved {}

#[derive(Default)]
struct State {
    machine: Option<Moved>,
    /// How many times the machine has been taken.
    turns: u64,
    /// The number of threads that have ended.
    ends: u64,
    /// A thread keeps the time of turns ([`MasterLock::keep_time`]).
    timed: bool,
    /// The machine no longer exists.
    closed: bool,
}

/// Holds the machine while no thread uses it.
#[derive(Default)]
pub(crate) struct MasterLock {
    state: Mutex<State>,
    /// Signalled when the machine is here.
    free: Condvar,
    /// Signalled when a thread has ended.
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
        drop(self.state());
        self.free.notify_all();
        self.ended.notify_all();
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
        self.notify(&calls);
    }

    /// Signals that the machine is here. The state is locked, so an interrupt that comes too late to be seen here wakes
    /// all threads itself.
    fn notify(&self, calls: &Calls) {
        // Some of the waiting threads may not take it.
        if calls.is_stopping() { self.free.notify_all() } else { self.free.notify_one() }
    }

    /// Waits for the machine, and takes it. If it no longer exists, waits forever, because this thread's frames rely on
    /// it.
    pub(crate) fn take(self: &Arc<Self>, taker: &Taker) -> Machine {
        taker.interruption.woken(self, || self.take_when(self.state(), |_| !taker.must_wait()))
    }

    /// Lends the machine to another thread that waits for it, if there is one, and takes it again afterwards.
    fn lend(self: &Arc<Self>, machine: Machine, taker: &Taker) -> Machine {
        taker.interruption.woken(self, || {
            let mut state = self.state();
            if !self.wanted() {
                return machine;
            }
            state.machine = Some(Moved(machine));
            let turns = state.turns;
            self.notify(&taker.calls);
            let my_turn = |state: &State| state.turns != turns && !taker.must_wait() || taker.must_stop();
            self.take_when(state, my_turn)
        })
    }

    fn take_when(&self, mut state: MutexGuard<'_, State>, my_turn: impl Fn(&State) -> bool) -> Machine {
        if self.waiting.fetch_add(1, Ordering::Relaxed) == 0 && state.timed {
            self.contended.notify_one();
        }
        let machine = loop {
            if my_turn(&state)
                && let Some(Moved(machine)) = state.machine.take()
            {
                break machine;
            }
            if state.closed {
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                drop(state);
                loop {
                    std::thread::park();
                }
            }
            state = self.free.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        state.turns += 1;
        machine
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

    /// Calls `over` each time when a thread has had the machine for `turn` while another waits for it, until the
    /// machine no longer exists. Does nothing while none waits, or if another thread keeps the time.
    pub(crate) fn keep_time(&self, turn: Duration, over: impl Fn()) {
        let mut state = self.state();
        if std::mem::replace(&mut state.timed, true) {
            return;
        }
        while !state.closed {
            if !self.wanted() {
                state = self.contended.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let turns = state.turns;
            drop(state);
            std::thread::sleep(turn);
            state = self.state();
            if state.turns == turns && self.wanted() {
                over();
            }
        }
    }

    /// The machine no longer exists.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.free.notify_all();
        self.contended.notify_all();
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

/// Lends the machine to another thread that waits for it, for a while.
pub(crate) fn give_way(m: &mut Machine, lock: &Arc<MasterLock>, taker: &Taker) {
    let place: *mut Machine = m;
    // SAFETY: as in `without`.
    unsafe { place.write(lock.lend(place.read(), taker)) };
}
