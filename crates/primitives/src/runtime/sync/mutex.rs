//! `Mutex`: error-checking, as in OCaml since 4.12.

use std::sync::Arc;

use spelter_heap::raw::CustomOps;
use spelter_interp::{Machine, Raise, Res, Slot};

use super::lock::Lock;
use super::{behaviour, check, new_shared, shared};
use crate::UNIT;
use crate::boolean;

static MUTEX: CustomOps = CustomOps::new("_mutex", &behaviour::<Lock>()).owning();

pub(super) const EXPECTED: &str = "a mutex";

/// The lock in a slot.
pub(crate) fn lock_of(m: &Machine, mutex: Slot) -> Result<Arc<Lock>, Raise> {
    shared(m, mutex, EXPECTED)
}

pub(crate) fn new(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    new_shared::<Lock>(m, &MUTEX)
}

pub(crate) fn lock(m: &mut Machine, [mutex]: [Slot; 1]) -> Res<'_> {
    let lock = shared::<Lock>(m, mutex, EXPECTED)?;
    let me = m.current_thread();
    // Takes it without waiting, hence without processing signals, if possible.
    if !lock.try_lock(me) {
        let taken = m.blocking_on(&lock, |interruption| lock.lock(me, interruption))?;
        check(taken, "Mutex.lock")?;
    }
    Ok(UNIT)
}

pub(crate) fn try_lock(m: &mut Machine, [mutex]: [Slot; 1]) -> Res<'_> {
    let lock = shared::<Lock>(m, mutex, EXPECTED)?;
    Ok(boolean(lock.try_lock(m.current_thread())))
}

pub(crate) fn unlock(m: &mut Machine, [mutex]: [Slot; 1]) -> Res<'_> {
    let lock = shared::<Lock>(m, mutex, EXPECTED)?;
    check(lock.unlock(m.current_thread()), "Mutex.unlock")?;
    Ok(UNIT)
}
