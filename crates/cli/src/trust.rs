//! Where it is decided to trust a program.

use spelter::VmBuilder;

/// Makes the machine trust its code, as `ocamlrun` does: the user who runs a program vouches for it.
pub(crate) fn trusted(builder: VmBuilder) -> VmBuilder {
    // SAFETY: nobody can know that. It is what the command says that it does without `--checked`, as `ocamlrun` does.
    unsafe { builder.trusted() }
}
