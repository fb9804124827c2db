//! `Condition`. Waiting threads are woken in the order in which they started to wait.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use spelter_heap::raw::CustomOps;
use spelter_interp::{Interrupted, Interruption, Machine, Res, Slot, Wake};

use super::lock::Lock;
use super::{behaviour, check, mutex, new_shared, shared};
use crate::UNIT;
use crate::runtime::runtime_events::in_phase;
use crate::runtime::runtime_events::names::Phase;

/// Tickets: a waiting thread draws the next one, and continues when its ticket has been called.
#[derive(Default)]
struct Tickets {
    drawn: u64,
    /// Tickets that have been neither called nor returned.
    waiting: BTreeSet<u64>,
}

#[derive(Default)]
struct Condition {
    tickets: Mutex<Tickets>,
    changed: Condvar,
}

/// What a thread waits for: first to be called, then for the lock.
struct Wait {
    condition: Arc<Condition>,
    lock: Arc<Lock>,
}

impl Wake for Wait {
    fn wake(&self) {
        // Taking the lock ensures that no thread is between its check and its wait.
        drop(self.condition.tickets());
        self.condition.changed.notify_all();
        self.lock.wake();
    }
}

impl Condition {
    fn tickets(&self) -> MutexGuard<'_, Tickets> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Releases the lock, which `me` holds, waits to be called, and takes the lock again.
    fn wait(
        &self,
        lock: &Lock,
        me: u64,
        interruption: &Interruption,
    ) -> Result<Result<(), Errno>, Interrupted> {
        let mut tickets = self.tickets();
        if let Err(e) = lock.unlock(me) {
            return Ok(Err(e));
        }
        tickets.drawn += 1;
        let mine = tickets.drawn;
        tickets.waiting.insert(mine);
        while tickets.waiting.contains(&mine) {
            if interruption.is_due() {
                // A thread that no longer waits must not be called.
                tickets.waiting.remove(&mine);
                return Err(Interrupted);
            }
            tickets = self.changed.wait(tickets).unwrap_or_else(PoisonError::into_inner);
        }
        drop(tickets);
        lock.lock(me, interruption)
    }

    fn call(&self, count: usize) {
        let mut tickets = self.tickets();
        for _ in 0..count {
            if tickets.waiting.pop_first().is_none() {
                break;
            }
        }
        drop(tickets);
        self.changed.notify_all();
    }
}

static CONDITION: CustomOps = CustomOps::new("_condition", &behaviour::<Condition>()).owning();

const EXPECTED: &str = "a condition variable";

pub(crate) fn new(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    new_shared::<Condition>(m, &CONDITION)
}

pub(crate) fn wait(m: &mut Machine, [condition, mutex]: [Slot; 2]) -> Res<'_> {
    let condition = shared::<Condition>(m, condition, EXPECTED)?;
    let lock = shared::<Lock>(m, mutex, mutex::EXPECTED)?;
    let me = m.current_thread();
    let wait = Arc::new(Wait { condition, lock });
    let waited = in_phase(m, Phase::DomainConditionWait, |m| {
        m.blocking_on(&wait, |interruption| wait.condition.wait(&wait.lock, me, interruption))
    })?;
    check(waited, "Condition.wait")?;
    Ok(UNIT)
}

pub(crate) fn signal(m: &mut Machine, [condition]: [Slot; 1]) -> Res<'_> {
    shared::<Condition>(m, condition, EXPECTED)?.call(1);
    Ok(UNIT)
}

pub(crate) fn broadcast(m: &mut Machine, [condition]: [Slot; 1]) -> Res<'_> {
    shared::<Condition>(m, condition, EXPECTED)?.call(usize::MAX);
    Ok(UNIT)
}
