//! Signals: which have arrived, and the functions with which the program handles them.
//!
//! The system-level handler of a signal only sets flags: that of the signal, then the machine's. At its next safe
//! point, the machine takes the signals that have arrived ([`Signals::take_pending`]) and calls their handlers, each
//! with its signal blocked.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use spelter_heap::Heap;
use spelter_heap::raw::{RootId, Value};

use crate::Machine;
use crate::fallible;
use crate::prim::{Raise, Slot};

/// One more than the largest signal number.
pub const NSIG: usize = 65;

/// The system's numbers of the signals that OCaml numbers -1, -2 … (`runtime/signals.c`). Older versions know only the
/// first ones ([`Behaviour::named_signals`](crate::Behaviour::named_signals)).
const POSIX: [i32; 30] = [
    6, 14, 8, 1, 4, 2, 9, 13, 3, 11, 15, 10, 12, 17, 18, 19, 20, 21, 22, 26, 27, 7, 29, 31, 5, 23, 24, 25,
    29, 28,
];

/// How to block signals in the running thread, which is up to the system (system's numbers).
#[derive(Clone, Copy)]
pub struct Mask {
    /// Blocks a signal. Dropping the result restores the previous mask.
    pub block: fn(i32) -> Box<dyn Any>,
    /// Whether a signal is blocked.
    pub is_blocked: fn(i32) -> bool,
}

/// A function of the host that runs when a signal has arrived.
pub type HostHandler = Arc<dyn Fn(&mut Machine) + Send + Sync>;

/// Signals that have arrived, and the functions with which the program handles them.
pub struct Signals {
    /// The host's own signal (the system's number), and the function to call if the program does not handle it.
    host: Option<(i32, HostHandler)>,
    /// How signals are blocked. If `None`, they are not.
    mask: Option<Mask>,
    action: Arc<AtomicBool>,
    /// The flags of the signals that somebody watches, by the system's numbers: most machines watch none.
    watched: RefCell<BTreeMap<i32, Arc<AtomicBool>>>,
    /// The functions by the system's numbers; none before the first one is set.
    handlers: Vec<RootId>,
}

impl Signals {
    /// No signals, no handlers. `action` makes the machine check at the next safe point.
    pub(crate) fn new(action: Arc<AtomicBool>) -> Self {
        Signals { host: None, mask: None, action, watched: RefCell::default(), handlers: Vec::new() }
    }

    /// The flags to set, in this order, when signal `number` (the system's) arrives.
    ///
    /// # Panics
    /// When there is no such signal.
    pub fn flags(&self, number: i32) -> [Arc<AtomicBool>; 2] {
        assert!((0..NSIG as i32).contains(&number), "there is no signal {number}");
        let mut watched = self.watched.borrow_mut();
        let flag = watched.entry(number).or_default();
        [Arc::clone(flag), Arc::clone(&self.action)]
    }

    /// Takes a signal that has arrived and is not blocked, the smallest number first (the system's).
    pub fn take_pending(&mut self) -> Option<i32> {
        let blocked = |n: i32| self.mask.is_some_and(|mask| (mask.is_blocked)(n));
        let watched = self.watched.get_mut();
        let mut come = watched.iter().filter(|(n, flag)| flag.load(Ordering::Relaxed) && !blocked(**n));
        let (n, flag) = come.next()?;
        if come.next().is_some() {
            // If this signal's handler raises, the machine must check again.
            self.action.store(true, Ordering::Relaxed);
        }
        flag.store(false, Ordering::Relaxed);
        Some(*n)
    }

    /// The signals (the system's numbers) that have arrived and have not been taken.
    pub fn pending(&self) -> Vec<i32> {
        let watched = self.watched.borrow();
        watched.iter().filter(|(_, flag)| flag.load(Ordering::Relaxed)).map(|(n, _)| *n).collect()
    }

    /// Blocks a signal while its handler runs.
    fn block(&self, n: i32) -> Option<Box<dyn Any>> {
        self.mask.map(|mask| (mask.block)(n))
    }

    /// The function that handles a signal (the system's number).
    pub(crate) fn handler(&self, signal: i32, heap: &Heap) -> Option<Value> {
        let id = self.handlers.get(usize::try_from(signal).ok()?)?;
        Some(heap.root_get(*id)).filter(|v| v.is_block())
    }
}

impl Machine {
    /// The signals that have numbers of OCaml's own.
    fn named_signals(&self) -> &'static [i32] {
        &POSIX[..self.behaviour().named_signals]
    }

    /// The system's number for an OCaml signal number. Positive ones already are the system's.
    pub fn system_signal(&self, number: i64) -> i64 {
        let index = number.checked_neg().and_then(|n| usize::try_from(n).ok()?.checked_sub(1));
        let known = index.and_then(|i| self.named_signals().get(i));
        known.map_or(number, |s| i64::from(*s))
    }

    /// OCaml's number for a system's signal number, if it has one.
    pub fn ocaml_signal(&self, number: i32) -> i64 {
        match self.named_signals().iter().position(|s| *s == number) {
            Some(i) => -1 - i as i64,
            None => number.into(),
        }
    }

    /// Sets how signals are blocked in the running thread.
    pub fn set_signal_mask(&mut self, mask: Mask) {
        self.signals.mask = Some(mask);
    }

    /// Sets the function to call when the host's own signal (the system's number) arrives and the program does not
    /// handle it.
    ///
    /// # Safety
    /// The handler obeys the contract of [`Prim`](crate::Prim).
    pub unsafe fn set_host_signal(&mut self, signal: i32, handler: HostHandler) {
        self.signals.host = Some((signal, handler));
    }

    /// Pushes the function that handles a signal (the system's number) into a new slot.
    pub fn signal_handler(&mut self, number: i32) -> Option<Slot> {
        let v = self.signals.handler(number, &self.heap)?;
        Some(self.push_raw(v))
    }

    /// Makes room for the functions that handle signals.
    ///
    /// # Errors
    /// When there is not enough memory.
    pub fn reserve_signal_handlers(&mut self) -> Result<(), Raise> {
        let more = NSIG - self.signals.handlers.len();
        fallible::reserve(&mut self.signals.handlers, more)?;
        while self.signals.handlers.len() < NSIG {
            // SAFETY: an integer is a valid value.
            self.signals.handlers.push(unsafe { self.heap.root_new(Value::UNIT) }?);
        }
        Ok(())
    }

    /// Makes the function in a slot handle a signal (the system's number). There must be [room](Self::reserve_signal_handlers)
    /// for it.
    ///
    /// # Panics
    /// When there is no such signal, or no room.
    pub fn set_signal_handler(&mut self, number: i32, function: Slot) {
        let v = self.raw(function);
        // SAFETY: `v` was just read from a root; the handlers' roots live as long as the machine.
        unsafe { self.heap.root_set(self.signals.handlers[number as usize], v) };
    }

    /// Calls the handlers of the signals that have arrived.
    pub(crate) fn run_signals(&mut self) -> Result<(), Raise> {
        while let Some(signal) = self.signals.take_pending() {
            let mark = self.mark();
            let Some(handler) = self.signal_handler(signal) else {
                self.run_host_handler(signal);
                continue;
            };
            let number = self.push_int(self.ocaml_signal(signal));
            let blocked = self.signals.block(signal);
            let outcome = self.call(handler, &[number]).map(drop);
            drop(blocked);
            self.release(mark);
            if outcome.is_err() {
                self.request_action();
                return outcome;
            }
        }
        Ok(())
    }

    fn run_host_handler(&mut self, signal: i32) {
        if let Some((_, handler)) = self.signals.host.clone().filter(|(host, _)| *host == signal) {
            let mark = self.mark();
            handler(self);
            self.release(mark);
        }
    }

    /// Handles the signals that have arrived, and leaves other pending actions for the next safe point
    /// (`caml_process_pending_signals`).
    ///
    /// # Errors
    /// What a handler raised, or that this thread must end.
    pub fn process_pending_signals(&mut self) -> Result<(), Raise> {
        if !self.action_due() {
            return Ok(());
        }
        self.stop_or_wait()?;
        self.check_ending()?;
        self.run_signals()
    }

    /// Runs pending actions, as [`Machine::run_pending`] does. If there are none, this is a cheap test.
    ///
    /// # Errors
    /// What a handler or finaliser raised.
    #[inline]
    pub fn process_pending_actions(&mut self) -> Result<(), Raise> {
        if self.action_due() { self.run_pending() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use spelter_bytecode::Dialect;

    use super::*;
    use crate::Settings;

    #[test]
    fn numbers_as_ocaml_has_them() {
        let mut m = Machine::new(Settings::default());
        assert_eq!(m.system_signal(-6), 2);
        assert_eq!(m.system_signal(-28), 25);
        assert_eq!(m.system_signal(-29), -29);
        assert_eq!(m.system_signal(10), 10);
        assert_eq!(m.system_signal(i64::MIN), i64::MIN);
        for n in -28..0 {
            assert_eq!(m.ocaml_signal(m.system_signal(n) as i32), n);
        }
        assert_eq!(m.ocaml_signal(64), 64);
        assert_eq!(m.ocaml_signal(28), 28);
        m.adopt(Dialect::V5_4);
        assert_eq!([-29, -30, -31].map(|n| m.system_signal(n)), [29, 28, -31]);
        assert_eq!((m.ocaml_signal(29), m.ocaml_signal(28)), (-23, -30));
    }

    #[test]
    fn smallest_first() {
        let action = Arc::new(AtomicBool::new(false));
        let mut s = Signals::new(Arc::clone(&action));
        for n in [15, 2] {
            for flag in s.flags(n) {
                flag.store(true, Ordering::Relaxed);
            }
        }
        action.store(false, Ordering::Relaxed);
        assert_eq!(s.take_pending(), Some(2));
        assert!(action.load(Ordering::Relaxed));
        assert_eq!(s.take_pending(), Some(15));
        assert_eq!(s.take_pending(), None);
        assert!(s.handler(2, &Heap::default()).is_none());
    }

    #[test]
    fn blocked_ones_wait() {
        let mut s = Signals::new(Arc::new(AtomicBool::new(false)));
        for n in [2, 15] {
            s.flags(n)[0].store(true, Ordering::Relaxed);
        }
        s.mask = Some(Mask { block: |_| Box::new(()), is_blocked: |n| n == 2 });
        assert_eq!(s.take_pending(), Some(15));
        assert_eq!(s.take_pending(), None);
        s.mask = None;
        assert_eq!(s.take_pending(), Some(2));
    }
}
