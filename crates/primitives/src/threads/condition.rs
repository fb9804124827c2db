//! `Condition`. Those who wait are woken in the order in which they came.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use spelter_heap::raw::CustomOps;
use spelter_interp::{Machine, Res, Slot, prims};

use super::lock::Lock;
use super::{behaviour, check, mutex, new_shared, shared};
use crate::UNIT;

/// Tickets: who waits draws the next one, and goes on when it has been called.
#[derive(Default)]
struct Tickets {
    drawn: u64,
    called: u64,
}

#[derive(Default)]
struct Condition {
    tickets: Mutex<Tickets>,
    changed: Condvar,
}

impl Condition {
    fn tickets(&self) -> MutexGuard<'_, Tickets> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives back the lock, which `me` has, waits to be called, and takes the lock again.
    fn wait(&self, lock: &Lock, me: u64) -> Result<(), Errno> {
        let mut tickets = self.tickets();
        lock.unlock(me)?;
        tickets.drawn += 1;
        let mine = tickets.drawn;
        while tickets.called < mine {
            tickets = self.changed.wait(tickets).unwrap_or_else(PoisonError::into_inner);
        }
        drop(tickets);
        lock.lock(me)
    }

    fn call(&self, count: u64) {
        let mut tickets = self.tickets();
        tickets.called = tickets.drawn.min(tickets.called.saturating_add(count));
        drop(tickets);
        self.changed.notify_all();
    }
}

static CONDITION: CustomOps = CustomOps::new("_condition", &behaviour::<Condition>()).owning();

const EXPECTED: &str = "a condition variable";

fn condition_new(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    new_shared::<Condition>(m, &CONDITION)
}

fn condition_wait(m: &mut Machine, [condition, mutex]: [Slot; 2]) -> Res<'_> {
    let condition = shared::<Condition>(m, condition, EXPECTED)?;
    let lock = shared::<Lock>(m, mutex, mutex::EXPECTED)?;
    let me = m.current_thread();
    check(m.blocking(|| condition.wait(&lock, me))?, "Condition.wait")?;
    Ok(UNIT)
}

fn condition_signal(m: &mut Machine, [condition]: [Slot; 1]) -> Res<'_> {
    shared::<Condition>(m, condition, EXPECTED)?.call(1);
    Ok(UNIT)
}

fn condition_broadcast(m: &mut Machine, [condition]: [Slot; 1]) -> Res<'_> {
    shared::<Condition>(m, condition, EXPECTED)?.call(u64::MAX);
    Ok(UNIT)
}

prims! {
    "caml_condition_new" P1 condition_new,
    "caml_condition_wait" P2 condition_wait,
    "caml_condition_signal" P1 condition_signal,
    "caml_condition_broadcast" P1 condition_broadcast,
}
