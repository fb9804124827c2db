//! Verification of code before it enters a machine that runs checked code.

use spelter_bytecode::verify::{Entry, Limits, verify};
use spelter_interp::{Grade, Machine, Raise};

/// Why code was refused.
pub(crate) enum Refused {
    /// It violates the rules that the machine relies on.
    Code(spelter_bytecode::Error),
    /// Its frames are larger than the stack limit.
    Frames,
    /// There is no memory for such frames.
    Memory,
}

impl From<Refused> for Raise {
    fn from(refused: Refused) -> Raise {
        match refused {
            Refused::Code(e) if e.is_out_of_memory() => Raise::OutOfMemory,
            Refused::Code(e) => Raise::failure(format!("reify_bytecode: {e}")),
            Refused::Memory => Raise::OutOfMemory,
            Refused::Frames => Raise::StackOverflow,
        }
    }
}

/// The verifier needs at most this much for each word, beside a constant.
const BYTES_PER_WORD: usize = 64;

/// Verifies the code of a unit whose operands have all been filled in, before it is patched. Does nothing when code is
/// trusted.
pub(crate) fn check_code(m: &mut Machine, name: &str, words: &[i32]) -> Result<(), Refused> {
    if m.engine().grade() == Grade::Trusted {
        return Ok(());
    }
    // What the verifier needs while it runs.
    let _charge = m.charge(words.len().saturating_mul(BYTES_PER_WORD)).map_err(|_| Refused::Memory)?;
    let globals = m.globals().wosize().unwrap_or(0);
    let limits = Limits { globals, prims: m.prims().count(), slots: 0 };
    let verified = verify(words, m.dialect().opcodes, Entry::Unit, &limits)
        .map_err(|e| Refused::Code(e.in_section(&format!("unit {name}"))))?;
    m.reserve_frames(verified.max_height() as usize).map_err(|raise| match raise {
        Raise::OutOfMemory => Refused::Memory,
        _ => Refused::Frames,
    })
}
