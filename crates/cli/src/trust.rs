//! The decision to trust a program.

use spelter::{Vm, VmBuilder};

/// Makes the machine trust its code, as `ocamlrun` does: the user who runs a program vouches for it.
pub(crate) fn trusted(builder: VmBuilder) -> VmBuilder {
    // SAFETY: this cannot be verified here. The command documents that it trusts the program unless `--checked` is
    // given, as `ocamlrun` does.
    unsafe { builder.trusted() }
}

/// Lets a trusted program use shared libraries with C primitives, as `ocamlrun` does.
pub(crate) fn with_libraries(vm: &mut Vm) {
    // SAFETY: the process has one machine, which trusts its code, and so does the user who runs the program.
    unsafe { spelter_cinterface::install(vm.machine_for_loader()) };
}
