//! The master lock: a place where the machine lies while no thread of the program uses it. Whoever takes it runs.
//!
//! The machine itself changes hands, by value. So a thread that waits holds nothing of it, and what another thread does
//! meanwhile goes through that thread's own place for it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::Machine;

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
pub(crate) struct Baton {
    state: Mutex<State>,
    /// It lies here.
    free: Condvar,
    /// Somebody has taken it, or a thread has ended.
    turned: Condvar,
    /// How many threads wait for it.
    waiting: AtomicUsize,
}

impl Baton {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anybody waits for the machine.
    pub(crate) fn wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Puts the machine down. How often it has been taken by now.
    pub(crate) fn put(&self, machine: Machine) -> u64 {
        let mut state = self.state();
        state.machine = Some(Moved(machine));
        let turns = state.turns;
        drop(state);
        self.free.notify_one();
        turns
    }

    /// Waits for the machine, and takes it. For ever, if there is none any more: this thread's frames believe in it.
    pub(crate) fn take(&self) -> Machine {
        let mut state = self.state();
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let machine = loop {
            match state.machine.take() {
                Some(Moved(machine)) => break machine,
                None => state = self.free.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
            if state.closed {
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                drop(state);
                loop {
                    std::thread::park();
                }
            }
        };
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        state.turns += 1;
        drop(state);
        self.turned.notify_all();
        machine
    }

    /// Waits until another thread has had the machine since `turns`, if one wants it.
    fn wait_for_turn(&self, turns: u64) {
        let mut state = self.state();
        while state.turns == turns && self.wanted() {
            state = self.turned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A thread ends: it has put down the machine for good.
    pub(crate) fn end(&self) {
        self.state().ends += 1;
        self.turned.notify_all();
    }

    /// How many threads have ended.
    pub(crate) fn ends(&self) -> u64 {
        self.state().ends
    }

    /// Waits until more than `ends` threads have ended.
    pub(crate) fn wait_for_end(&self, ends: u64) {
        let mut state = self.state();
        while state.ends == ends {
            state = self.turned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// There will be no machine any more.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.free.notify_all();
    }
}

/// Runs `f` while the machine is anybody's. It gets the number of turns up to now; a panic of its comes back as an error.
pub(crate) fn without<T>(m: &mut Machine, baton: &Baton, f: impl FnOnce(u64) -> T) -> std::thread::Result<T> {
    let place: *mut Machine = m;
    // SAFETY: the place is empty from here on, and is filled again before anybody can look: `m` is borrowed by this
    // function alone, which does not use it, and nothing in between unwinds.
    let turns = baton.put(unsafe { place.read() });
    let result = catch_unwind(AssertUnwindSafe(|| f(turns)));
    let machine = baton.take();
    // SAFETY: as above.
    unsafe { place.write(machine) };
    result
}

/// Lets another thread that wants the machine have it for a while.
pub(crate) fn give_way(m: &mut Machine, baton: &Baton) {
    let waited = without(m, baton, |turns| baton.wait_for_turn(turns));
    debug_assert!(waited.is_ok());
}
