//! The one door through which a unit's code gets into the machine: verified, patched, then installed.

use std::collections::HashMap;

use spelter_interp::inspect::backtrace::DebugInfo;
use spelter_interp::{Installed, LoadError, Machine, Slot, SlotRef, UnitSource};

use crate::check::{Refused, check_code};
use crate::linker::Linker;
use crate::patch::patch;

/// Makes this crate's primitives known to a machine.
pub fn install_primitives(m: &mut Machine) {
    // SAFETY: the functions of this crate leave the machine where it is, and use no slots but their own and those that
    // they were given.
    unsafe { m.add_families(&crate::PRIMITIVES) };
}

/// A unit's words with all their operands filled in, verified where the machine wants that.
pub(crate) struct Verified(Vec<i32>);

impl Verified {
    /// Verifies the words of the unit of that name.
    pub(crate) fn new(m: &mut Machine, name: &str, words: Vec<i32>) -> Result<Verified, Refused> {
        check_code(m, name, &words)?;
        Ok(Verified(words))
    }

    pub(crate) fn words(&self) -> &[i32] {
        &self.0
    }
}

/// What there is to say of a unit besides its words.
pub(crate) struct About {
    pub(crate) name: String,
    /// The digest of the code as it came.
    pub(crate) digest: [u8; 16],
    /// Positions of operands that name slots, with the slot operand.
    pub(crate) operands: HashMap<usize, i32>,
    /// What slot operands refer to.
    pub(crate) slots: Vec<SlotRef>,
    pub(crate) own_slots: usize,
    pub(crate) debug: DebugInfo,
}

/// Patches the words and installs the unit.
pub(crate) fn install(
    m: &mut Machine,
    words: Verified,
    about: About,
    imports: &[Slot],
) -> Result<Installed, LoadError> {
    let (Verified(mut words), About { name, digest, operands, slots, own_slots, debug }) = (words, about);
    let strategy = Linker::of(m).strategy;
    patch(&mut words, m.dialect().opcodes, strategy, &operands)?;
    let source = UnitSource { name, words, strategy, digest: Some(digest), own_slots, slots, debug };
    // SAFETY: the words of `Verified` have been verified with no more globals and primitives than there are now; `patch`
    // rewrites every instruction that makes a closure, and those operands that number slots.
    unsafe { m.install_unit(source, imports) }
}
