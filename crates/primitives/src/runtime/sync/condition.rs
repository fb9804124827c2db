//! `Condition`. Waiting threads are woken in the order in which they started to wait.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use nix::errno::Errno;
use spelter_heap::raw::CustomOps;
use spelter_interp::{Machine, Raise, Res, Slot};

use super::lock::Lock;
use super::waiter::Waiter;
use super::{behaviour, check, mutex, new_shared, shared};
use crate::UNIT;
use crate::runtime::runtime_events::in_phase;
use crate::runtime::runtime_events::names::Phase;

/// The threads that wait for a condition, longest first, each with its lock. Only the thread that has the machine uses
/// it.
#[derive(Default)]
struct Condition {
    waiting: RefCell<VecDeque<(Rc<Waiter>, Rc<Lock>)>>,
}

impl Condition {
    /// Releases the lock, which the running thread holds, waits to be called, and takes the lock again.
    fn wait(&self, m: &mut Machine, lock: &Rc<Lock>) -> Result<Result<(), Errno>, Raise> {
        m.process_pending_signals()?;
        let me = m.current_thread();
        if let Err(e) = lock.unlock(me) {
            return Ok(Err(e));
        }
        let waiter = Waiter::new(m, me, false);
        self.waiting.borrow_mut().push_back((Rc::clone(&waiter), Rc::clone(lock)));
        if let Err(raise) = waiter.wait(m) {
            self.withdraw(&waiter, lock);
            return Err(raise);
        }
        lock.lock(m)
    }

    /// A thread no longer waits, so it must not be called.
    fn withdraw(&self, waiter: &Rc<Waiter>, lock: &Lock) {
        let at = self.waiting.borrow().iter().position(|(other, _)| Rc::ptr_eq(other, waiter));
        match at {
            Some(at) => drop(self.waiting.borrow_mut().remove(at)),
            None => lock.withdraw(waiter),
        }
    }

    fn call(&self, count: usize) {
        for _ in 0..count {
            let Some((waiter, lock)) = self.waiting.borrow_mut().pop_front() else { break };
            // It could not continue before the lock is free.
            if lock.is_held() { lock.enqueue(&waiter) } else { waiter.call() }
        }
    }
}

static CONDITION: CustomOps = CustomOps::new(c"_condition", &behaviour::<Rc<Condition>>()).owning();

const EXPECTED: &str = "a condition variable";

pub(crate) fn new(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    new_shared::<Rc<Condition>>(m, &CONDITION)
}

pub(crate) fn wait(m: &mut Machine, [condition, mutex]: [Slot; 2]) -> Res<'_> {
    let condition = Rc::clone(shared::<Rc<Condition>>(m, condition, EXPECTED)?);
    let lock = mutex::lock_of(m, mutex)?;
    let waited = in_phase(m, Phase::DomainConditionWait, |m| condition.wait(m, &lock))?;
    check(waited, "Condition.wait")?;
    Ok(UNIT)
}

pub(crate) fn signal(m: &mut Machine, [condition]: [Slot; 1]) -> Res<'_> {
    shared::<Rc<Condition>>(m, condition, EXPECTED)?.call(1);
    Ok(UNIT)
}

pub(crate) fn broadcast(m: &mut Machine, [condition]: [Slot; 1]) -> Res<'_> {
    shared::<Rc<Condition>>(m, condition, EXPECTED)?.call(usize::MAX);
    Ok(UNIT)
}
