//! The master lock: a place where the machine lies while no thread of the program uses it. Whoever takes it runs.
//!
//! The machine itself changes hands, by value. So a thread that waits holds nothing of it, and what another thread does
//! meanwhile goes through that thread's own place for it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::Machine;
use crate::threads::interrupt::{Calls, Interruption, Wake};

/// A machine on its way to another thread.
struct Moved(Machine);

// SAFETY: all that a machine shares without a lock of its own (`Rc`s) it shares with itself, with the frames of the
// program's threads, and with its host. A thread touches these only while it holds the machine: what runs without it
// (`Machine::blocking`) must be `Send`, and so has none. The host's thread holds the machine whenever it runs the
// host's code; the host's functions are refused to other threads, callbacks wait for its own.
unsafe impl Send for Moved {}

#[derive(Default)]
struct State {
    machine: Option<Moved>,
    /// How often it has been taken.
    turns: u64,
    /// How many threads have ended.
    ends: u64,
    /// The machine is no more.
    closed: bool,
}

/// Where the machine lies.
#[derive(Default)]
pub(crate) struct MasterLock {
    state: Mutex<State>,
    /// It lies here.
    free: Condvar,
    /// A thread has ended.
    ended: Condvar,
    /// How many threads wait for it.
    waiting: AtomicUsize,
}

/// Who wants the machine.
pub(crate) struct Taker {
    pub(crate) calls: Arc<Calls>,
    /// The host's thread; the others have to wait while its call is being stopped.
    pub(crate) home: bool,
    /// What the host's thread is stopped by.
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

/// The host's thread comes to take the machine.
impl Wake for MasterLock {
    fn wake(&self) {
        // Whoever is about to wait has looked before, or waits by then.
        drop(self.state());
        self.free.notify_all();
        self.ended.notify_all();
    }
}

impl MasterLock {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anybody waits for the machine.
    pub(crate) fn wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Puts the machine down.
    pub(crate) fn put(&self, machine: Machine) {
        let calls = Arc::clone(&machine.calls);
        let mut state = self.state();
        state.machine = Some(Moved(machine));
        self.notify(&calls);
    }

    /// Tells that the machine lies here. With the state locked: an interrupt that is not seen here wakes all by itself.
    fn notify(&self, calls: &Calls) {
        // Some of those who wait may not take it.
        if calls.is_stopping() { self.free.notify_all() } else { self.free.notify_one() }
    }

    /// Waits for the machine, and takes it. For ever, if there is none any more: this thread's frames believe in it.
    pub(crate) fn take(self: &Arc<Self>, taker: &Taker) -> Machine {
        taker.interruption.woken(self, || self.take_when(self.state(), |_| !taker.must_wait()))
    }

    /// Lets a thread that wants the machine have it, if one does, and takes it again afterwards.
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
        self.waiting.fetch_add(1, Ordering::Relaxed);
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

    /// A thread ends: it has put down the machine for good.
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

    /// There will be no machine any more.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.free.notify_all();
    }
}

/// Runs `f` while the machine is anybody's. A panic of its comes back as an error.
pub(crate) fn without<T>(
    m: &mut Machine,
    lock: &Arc<MasterLock>,
    taker: &Taker,
    f: impl FnOnce() -> T,
) -> std::thread::Result<T> {
    let place: *mut Machine = m;
    // SAFETY: the place is empty from here on, and is filled again before anybody can look: `m` is borrowed by this
    // function alone, which does not use it, and nothing in between unwinds.
    lock.put(unsafe { place.read() });
    let result = catch_unwind(AssertUnwindSafe(f));
    let machine = lock.take(taker);
    // SAFETY: as above.
    unsafe { place.write(machine) };
    result
}

/// Lets another thread that wants the machine have it for a while.
pub(crate) fn give_way(m: &mut Machine, lock: &Arc<MasterLock>, taker: &Taker) {
    let place: *mut Machine = m;
    // SAFETY: as in `without`.
    unsafe { place.write(lock.lend(place.read(), taker)) };
}
