//! The stubs of the library `threads` (`otherlibs/systhreads/st_stubs.c`, `st_posix.h`), one file per module of the
//! library.

mod event;
mod mask;
pub(crate) mod thread;

use spelter_interp::{Machine, families, prims};

use crate::runtime::sync::{condition, mutex};
use crate::runtime::tick::Tick;

families! {
    /// All primitives of the library.
    pub(crate) static PRIMITIVES = [TABLE, mask::TABLE, thread::TABLE];
}

/// After `fork`, in the child: the thread that called it is the only one.
pub(crate) fn after_fork(m: &mut Machine) {
    m.forget_other_threads();
    // The tick thread does not exist in the child; starting the next thread starts it again.
    m.ext::<Tick>().stop();
    crate::io::channels::free_all(m);
    crate::io::wait::after_fork(m);
}

prims! {
    "caml_condition_broadcast" P1 condition::broadcast => before(V5_0),
    "caml_condition_new" P1 condition::new => before(V5_0),
    "caml_condition_signal" P1 condition::signal => before(V5_0),
    "caml_condition_wait" P2 condition::wait => before(V5_0),
    "caml_mutex_lock" P1 mutex::lock => before(V5_0),
    "caml_mutex_new" P1 mutex::new => before(V5_0),
    "caml_mutex_try_lock" P1 mutex::try_lock => before(V5_0),
    "caml_mutex_unlock" P1 mutex::unlock => before(V5_0),
}
