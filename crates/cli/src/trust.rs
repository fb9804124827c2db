//! The decision to trust a program.

use std::path::PathBuf;

use spelter::{Vm, VmBuilder};
use spelter_cinterface::Refusal;

/// Makes the machine trust its code, as `ocamlrun` does: the user who runs a program vouches for it.
pub(crate) fn trusted(builder: VmBuilder) -> VmBuilder {
    // SAFETY: this cannot be verified here. The command documents that it trusts the program unless `--checked` is
    // given, as `ocamlrun` does.
    unsafe { builder.trusted() }
}

/// Lets a trusted program use shared libraries with C primitives, as `ocamlrun` does. They are looked up in `folders`
/// first.
pub(crate) fn with_libraries(vm: &mut Vm, folders: Vec<PathBuf>) {
    // SAFETY: the process has one machine, which trusts its code, and so does the user who runs the program. It lasts as
    // long as the process.
    let installed = unsafe { spelter_cinterface::install(vm.machine_for_loader(), folders) };
    // Where there are no libraries in C, a program that needs one is refused when it is loaded.
    debug_assert!(matches!(installed, Ok(()) | Err(Refusal::System)), "{installed:?}");
}
