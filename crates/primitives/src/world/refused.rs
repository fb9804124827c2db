//! What a guest gets when it calls for what it has not been granted.

use nix::errno::Errno;
use spelter_interp::{Machine, Raise, Res, Slot};

use super::grants::reach;
use crate::libs::unix::errors::unix_error_of;

/// The primitive instead of one that is not granted. The error names it, and what would grant it.
pub(super) fn refused<'m>(m: &'m mut Machine, _: &[Slot]) -> Res<'m> {
    let name = m.running_primitive().unwrap_or("a primitive").to_owned();
    let help = reach(&name).map_or("World::process", |reach| reach.help);
    Err(refusal(m, &name, help))
}

/// The same for the primitive that runs, from its substitute.
pub(super) fn refuse(m: &mut Machine, help: &str) -> Raise {
    let name = m.running_primitive().unwrap_or("a primitive").to_owned();
    refusal(m, &name, help)
}

/// `Unix_error (EPERM, call, "not granted (help)")` for primitives of `unix`, `Sys_error "name: not granted (help)"` for
/// others.
fn refusal(m: &mut Machine, name: &str, help: &str) -> Raise {
    let why = format!("not granted ({help})");
    let call = name.strip_prefix("caml_").unwrap_or(name).strip_prefix("unix_");
    match call {
        Some(call) if m.named_value("Unix.Unix_error").is_some() => {
            match m.push(|m| m.new_string(why.as_bytes())) {
                Ok(arg) => unix_error_of(m, Errno::EPERM as i32, call.as_bytes(), Some(arg)),
                Err(raise) => raise,
            }
        }
        _ => Raise::Sys(format!("{name}: {why}").into_bytes()),
    }
}
