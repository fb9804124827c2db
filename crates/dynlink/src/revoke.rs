//! Withdrawing and revoking units.

use spelter_interp::{Machine, Raise};

use crate::handle::LoadedUnit;
use crate::linker::Linker;

/// Removes every name of the unit, in all namespaces; it dies when nothing else reaches it. Returns how many names
/// there were.
///
/// # Panics
/// When the unit belongs to another machine.
pub fn withdraw_unit(m: &mut Machine, unit: &LoadedUnit) -> usize {
    Linker::of(m).redirect(unit, None)
}

/// Revokes a unit: removes its names, and makes every later call into its code raise `Spelter.Revoked` with the unit's
/// name. Frames that run its code unwind when control returns to them; data that the unit made remains usable. Once no
/// frame runs it, only this machine's handles keep it alive, even if others hold its closures. Units that were linked
/// with it keep its module, and so the data in it, but not its code. Returns false when it was already revoked.
///
/// Finalisers, signal handlers and `at_exit` functions that the unit installed raise too, where they are called.
///
/// It takes as long as a full major collection.
///
/// # Errors
/// `Out_of_memory`; then only the names have been removed.
///
/// # Panics
/// When the unit belongs to another machine.
pub fn revoke(m: &mut Machine, unit: &LoadedUnit) -> Result<bool, Raise> {
    withdraw_unit(m, unit);
    let mark = m.mark();
    let object = unit.push_object(m);
    let revoked = m.revoke_unit(object);
    m.release(mark);
    revoked
}
