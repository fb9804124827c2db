//! Hands a unit's code to the machine: verified, patched, then installed. This file has all the unsafe code of the
//! crate.

use std::collections::HashMap;

use spelter_interp::inspect::backtrace::DebugInfo;
use spelter_interp::{Installed, LoadError, Machine, Slot, SlotRef, UnitSource};

use crate::check::{Refused, check_code};
use crate::linker::Linker;
use crate::patch::patch;

/// Registers this crate's primitives with a machine.
pub fn install_primitives(m: &mut Machine) {
    // SAFETY: the functions of this crate do not move the machine, and use only the slots that they pushed or were
    // given.
    unsafe { m.add_families(&crate::PRIMITIVES) };
    m.set_names_settler(crate::primitives::settle);
}

/// A unit's words with all operands filled in, verified if the machine runs checked code.
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

/// What is recorded about a unit besides its words.
pub(crate) struct About {
    pub(crate) name: String,
    /// The digest of the original code.
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
    // SAFETY: the words of `Verified` have been verified against at most as many globals and primitives as there are
    // now; `patch` rewrites every instruction that makes a closure, and those operands that number slots.
    unsafe { m.install_unit(source, imports) }
}
