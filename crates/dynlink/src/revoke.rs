//! Taking a unit out of service.

use spelter_interp::{Machine, Raise};

use crate::handle::LoadedUnit;
use crate::linker::Linker;

/// Takes away every name that leads to the unit, in whatever namespace; it dies when nothing else reaches it. Gives
/// how many names went.
///
/// # Panics
/// When the unit is another machine's.
pub fn withdraw_unit(m: &mut Machine, unit: &LoadedUnit) -> usize {
    Linker::of(m).redirect(unit, None)
}

/// Revokes a unit: its names go, and every call into its code from now on raises `Spelter.Revoked`, with the unit's name.
/// Frames that run it unwind when control comes back to them; what the unit made and others hold keeps working as data.
/// Once no frame runs it, nothing but this machine's handles keeps it alive, whoever holds its closures. Units that
/// were linked with it keep its module, and so the data there, not its code. False when it was revoked before.
///
/// Finalisers, signal handlers and `at_exit` functions that the unit installed raise too, where they are called.
///
/// It takes as long as a full major collection.
///
/// # Errors
/// `Out_of_memory`; only the names have changed then.
///
/// # Panics
/// When the unit is another machine's.
pub fn revoke(m: &mut Machine, unit: &LoadedUnit) -> Result<bool, Raise> {
    withdraw_unit(m, unit);
    let mark = m.mark();
    let object = unit.push_object(m);
    let revoked = m.revoke_unit(object);
    m.release(mark);
    revoked
}
