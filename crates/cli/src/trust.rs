//! The decision to trust a program.

use spelter::VmBuilder;

/// Makes the machine trust its code, as `ocamlrun` does: the user who runs a program vouches for it.
pub(crate) fn trusted(builder: VmBuilder) -> VmBuilder {
    // SAFETY: this cannot be verified here. The command documents that it trusts the program unless `--checked` is
    // given, as `ocamlrun` does.
    unsafe { builder.trusted() }
}
