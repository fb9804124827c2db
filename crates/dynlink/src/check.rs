//! Code on its way into a machine that only checks what it runs is verified first.

use spelter_bytecode::verify::{Entry, Limits, verify};
use spelter_interp::{Grade, Machine, Raise};

/// Why code was refused.
pub(crate) enum Refused {
    /// It breaks the rules that the machine relies on.
    Code(spelter_bytecode::Error),
    /// Its frames are larger than the stack may grow.
    Frames,
}

impl From<Refused> for Raise {
    fn from(refused: Refused) -> Raise {
        match refused {
            Refused::Code(e) => Raise::failure(format!("reify_bytecode: {e}")),
            Refused::Frames => Raise::StackOverflow,
        }
    }
}

/// Verifies a unit's code, all of whose operands have been filled in but which has not been patched yet; where code is
/// trusted, does nothing.
pub(crate) fn check_code(m: &mut Machine, name: &str, words: &[i32]) -> Result<(), Refused> {
    if m.engine().grade() == Grade::Trusted {
        return Ok(());
    }
    let globals = m.globals().wosize().unwrap_or(0);
    let limits = Limits { globals, prims: m.prims().count(), slots: 0 };
    let verified = verify(words, m.dialect().opcodes, Entry::Unit, &limits)
        .map_err(|e| Refused::Code(e.in_section(&format!("unit {name}"))))?;
    m.reserve_frames(verified.max_height() as usize).map_err(|_| Refused::Frames)
}
