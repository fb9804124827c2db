//! The machine that has libraries: one at a time, and the same one once a library is open.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use spelter_interp::prim::foreign::Loader;
use spelter_interp::{Grade, Machine};

use crate::{Refusal, exports, guests, library, roots, search, stack, state};

/// The functions with which the machine uses this crate.
static LOADER: Loader = Loader {
    folders: search::folders,
    locate: search::locate,
    open: library::open,
    find: library::find,
    show: roots::show,
    holder: roots::holder,
    held: roots::held,
    stack_end: stack::end,
    registered: roots::registered,
    forked: guests::open,
    nursery_moved: state::nursery_moved,
    show_backtrace: state::show_backtrace,
    take_backtrace: state::take_backtrace,
};

/// Whether a machine of the process has the libraries.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Belongs to the machine that has the libraries.
#[derive(Default)]
struct Owner(bool);

impl Drop for Owner {
    /// Static variables of a library may refer to the machine's values for ever, so no other machine gets the libraries
    /// once one is open.
    fn drop(&mut self) {
        if self.0 && !library::is_any_open() {
            TAKEN.store(false, Ordering::Release);
        }
    }
}

/// See [`crate::install`].
pub(crate) unsafe fn install(m: &mut Machine, folders: Vec<PathBuf>) -> Result<(), Refusal> {
    if m.engine().grade() != Grade::Trusted {
        return Err(Refusal::Checked);
    }
    if m.is_limited() {
        return Err(Refusal::Limited);
    }
    if TAKEN.swap(true, Ordering::AcqRel) {
        return Err(Refusal::Taken);
    }
    *m.ext::<Owner>() = Owner(true);
    *m.ext::<search::Search>() = search::Search::of_environment(folders);
    guests::open(m.entrance());
    // SAFETY: the functions keep the contracts of the seam.
    unsafe { m.set_loader(&LOADER) };
    Ok(())
}

/// Prepares the machine, whose version is known, for its first library.
pub(crate) fn prepare(m: &mut Machine) {
    state::adopt(m);
    exports::set_atoms(m.heap());
    exports::bigarray::register(m);
    // OCaml 5 has no naked pointers, except in closures: see `exports::alloc::expect_code`.
    if m.behaviour().sees_outside {
        // SAFETY: allowing them changes nothing but the collector's care.
        unsafe { m.heap_and_roots() }.0.allow_naked_pointers();
    }
}
