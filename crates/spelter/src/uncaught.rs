//! What a host learns of an exception that the OCaml code did not handle.

use spelter_interp::inspect::reachability::tag;
use spelter_interp::{Machine, Raise, Slot, Val, WrongType};
use spelter_primitives::printexc;

use crate::error::Error;

/// An argument of an exception that reached the host, as far as its value shows what it is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ExceptionArgument {
    /// An integer; also a boolean, a character, `()`, or a constructor without arguments.
    Int(i64),
    /// A float.
    Float(f64),
    /// A string or bytes in UTF-8.
    Text(String),
    /// Other bytes.
    Bytes(Vec<u8>),
    /// Anything else, or a long string: read it in a host function that the handler calls.
    Other,
}

/// How many arguments are copied, and the longest string.
const MOST_ARGUMENTS: usize = 32;
const LONGEST: usize = 64 << 10;

/// The error for an exception.
pub(crate) fn error_of(m: &mut Machine, raise: Raise) -> Error {
    let mark = m.mark();
    let exn = m.push_exception(raise);
    let exception = String::from_utf8_lossy(&printexc::format_exception(m, exn)).into_owned();
    let (name, arguments) = parts(m, exn).unwrap_or_default();
    let backtrace = match m.backtrace_active() {
        true => printexc::format_backtrace(m),
        false => String::new(),
    };
    m.release(mark);
    Error::Uncaught { name, arguments, exception, backtrace }
}

/// The name and the arguments of an exception, if the value is one.
fn parts(m: &Machine, exn: Slot) -> Result<(String, Vec<ExceptionArgument>), WrongType> {
    let exn = m.val(exn);
    let is_constant = exn.tag()? == tag::OBJECT;
    let constructor = if is_constant { exn } else { exn.field(0)? };
    let name = constructor.field(0)?.bytes()?;
    let name = String::from_utf8_lossy(&name[..name.len().min(LONGEST)]).into_owned();
    let last = if is_constant { 1 } else { exn.wosize()?.min(1 + MOST_ARGUMENTS) };
    let arguments: Result<_, _> = (1..last).map(|i| exn.field(i).map(argument)).collect();
    Ok((name, arguments?))
}

fn argument(v: Val<'_>) -> ExceptionArgument {
    if let Ok(n) = v.int() {
        return ExceptionArgument::Int(n);
    }
    if let Ok(float) = v.float() {
        return ExceptionArgument::Float(float);
    }
    match v.bytes() {
        Ok(bytes) if bytes.len() <= LONGEST => match std::str::from_utf8(bytes) {
            Ok(text) => ExceptionArgument::Text(text.to_owned()),
            Err(_) => ExceptionArgument::Bytes(bytes.to_owned()),
        },
        _ => ExceptionArgument::Other,
    }
}
