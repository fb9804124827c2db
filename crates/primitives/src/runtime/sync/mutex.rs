//! `Mutex`: error-checking, as in OCaml since 4.12.

use std::rc::Rc;

use spelter_heap::raw::CustomOps;
use spelter_interp::{Machine, Raise, Res, Slot};

use super::lock::Lock;
use super::{behaviour, check, new_shared, shared};
use crate::UNIT;
use crate::boolean;

static MUTEX: CustomOps = CustomOps::new(c"_mutex", &behaviour::<Rc<Lock>>()).owning();

const EXPECTED: &str = "a mutex";

/// The lock in a slot, for use while the thread waits.
pub(crate) fn lock_of(m: &Machine, mutex: Slot) -> Result<Rc<Lock>, Raise> {
    borrowed(m, mutex).map(Rc::clone)
}

#[inline]
fn borrowed(m: &Machine, mutex: Slot) -> Result<&Rc<Lock>, Raise> {
    shared::<Rc<Lock>>(m, mutex, EXPECTED)
}

pub(crate) fn new(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    new_shared::<Rc<Lock>>(m, &MUTEX)
}

pub(crate) fn lock(m: &mut Machine, [mutex]: [Slot; 1]) -> Res<'_> {
    // Takes it without waiting, hence without processing signals, if possible.
    if !borrowed(m, mutex)?.try_lock(m.current_thread()) {
        wait(m, mutex)?;
    }
    Ok(UNIT)
}

#[cold]
fn wait(m: &mut Machine, mutex: Slot) -> Result<(), Raise> {
    let lock = lock_of(m, mutex)?;
    m.process_pending_signals()?;
    let taken = lock.lock(m)?;
    check(taken, "Mutex.lock")
}

pub(crate) fn try_lock(m: &mut Machine, [mutex]: [Slot; 1]) -> Res<'_> {
    Ok(boolean(borrowed(m, mutex)?.try_lock(m.current_thread())))
}

pub(crate) fn unlock(m: &mut Machine, [mutex]: [Slot; 1]) -> Res<'_> {
    check(borrowed(m, mutex)?.unlock(m.current_thread()), "Mutex.unlock")?;
    Ok(UNIT)
}
