//! Reports of uncaught exceptions (`printexc.c`, and the printing part of `backtrace.c`).

use std::fmt::Write;

use spelter_heap::raw::tag;
use spelter_interp::inspect::backtrace::{DebugFault, Located, Place};
use spelter_interp::{Machine, Raise, Slot, Val, WrongType};

use crate::io::channels::Io;

/// Longer texts are truncated.
const MAX_TEXT: usize = 255;

/// The text of an exception if the program has no `Printexc`: integers and strings (in plain quotes) are shown,
/// everything else is `_`; 255 bytes at most.
pub fn format_exception(m: &Machine, exn: Slot) -> Vec<u8> {
    let mut out = Vec::new();
    // If this is not an exception, the text ends where that is found.
    let _ = format(m, m.val(exn), &mut out);
    out.truncate(MAX_TEXT);
    out
}

/// The bytes of a string that C would print.
fn c_bytes(v: Val<'_>) -> Result<&[u8], WrongType> {
    let bytes = v.bytes()?.split(|b| *b == 0).next().unwrap_or_default();
    Ok(&bytes[..bytes.len().min(MAX_TEXT)])
}

fn format(m: &Machine, exn: Val<'_>, out: &mut Vec<u8>) -> Result<(), WrongType> {
    if exn.tag()? != 0 {
        out.extend_from_slice(c_bytes(exn.field(0)?)?);
        return Ok(());
    }
    let constructor = exn.field(0)?;
    out.extend_from_slice(c_bytes(constructor.field(0)?)?);
    // `Match_failure` and similar exceptions carry a tuple, whose fields are shown as arguments.
    let carries_tuple = exn.wosize()? == 2 && exn.field(1)?.tag() == Ok(0) && is_special(m, constructor);
    let (arguments, first) = if carries_tuple { (exn.field(1)?, 0) } else { (exn, 1) };
    out.push(b'(');
    for i in first..arguments.wosize()? {
        if i > first {
            out.extend_from_slice(b", ");
        }
        let v = arguments.field(i)?;
        if let Ok(n) = v.int() {
            out.extend_from_slice(n.to_string().as_bytes());
        } else if v.tag() == Ok(tag::STRING) {
            out.push(b'"');
            out.extend_from_slice(c_bytes(v)?);
            out.push(b'"');
        } else {
            out.push(b'_');
        }
    }
    out.push(b')');
    Ok(())
}

fn is_special(m: &Machine, constructor: Val<'_>) -> bool {
    let globals = m.globals();
    let places =
        m.dialect().predefined.iter().enumerate().filter(|(_, (exception, _))| exception.carries_place());
    places.map(|(slot, _)| slot).any(|slot| globals.field(slot).is_ok_and(|known| known.same(constructor)))
}

/// The lines of the last exception's backtrace, as the runtime prints them.
pub fn format_backtrace(m: &Machine) -> String {
    let mut out = String::new();
    for (i, point) in m.backtrace().iter().enumerate() {
        // If there is no memory for the debug data, the place stays unknown.
        let located = m.locate(*point).unwrap_or(Located { is_raise: false, place: None });
        let how = match (located.is_raise, i) {
            (true, 0) => "Raised at",
            (true, _) => "Re-raised at",
            (false, 0) => "Raised by primitive operation at",
            (false, _) => "Called from",
        };
        let written = match located.place {
            Some(Place { file, line, start, end_line, end_in_line: end, definition, .. })
                if end_line != line && m.behaviour().location_fields > 7 =>
            {
                let lines = format_args!("lines {line}-{end_line}, characters {start}-{end}");
                writeln!(out, "{how} {definition} in file \"{file}\", {lines}")
            }
            Some(Place { file, line, start, end, definition, .. }) => {
                writeln!(out, "{how} {definition} in file \"{file}\", line {line}, characters {start}-{end}")
            }
            None if located.is_raise => Ok(()),
            None => writeln!(out, "{how} unknown location"),
        };
        debug_assert!(written.is_ok(), "writing to a string cannot fail");
    }
    if let Some(fault) = m.debug_fault() {
        out.push_str("(Cannot print locations:\n bytecode executable program file ");
        out.push_str(match fault {
            DebugFault::FileNotFound => "not found)\n",
            DebugFault::BadBytecode => "appears to be corrupt)\n",
            DebugFault::WrongMagic => "has wrong magic number)\n",
            DebugFault::NoDescriptors => {
                "cannot be opened;\n -- too many open files. Try running with OCAMLRUNPARAM=b=2)\n"
            }
        });
    }
    out
}

/// Reports an exception that left the program, on stderr: through `Printexc` where the program has it, otherwise as
/// the runtime does, after the program's `at_exit` functions. The exit code is then 2.
///
/// # Errors
/// When the program exits meanwhile, with another code, or the machine cannot continue.
pub fn report_uncaught(m: &mut Machine, exn: Slot) -> Result<(), Raise> {
    let is_over = |raise: Raise| match raise {
        Raise::Exit(_)
        | Raise::EndThread
        | Raise::Fatal(_)
        | Raise::Fault(_)
        | Raise::Interrupted
        | Raise::Pause => Err(raise),
        _ => Ok(()),
    };
    m.suspend_profile();
    if let Some(handler) = m.named_value("Printexc.handle_uncaught_exception") {
        let debugger_in_use = m.push_int(m.has_debugger().into());
        return m.call(handler, &[exn, debugger_in_use]).map(drop).or_else(is_over);
    }
    let text = format_exception(m, exn);
    // Exceptions that `at_exit` functions raise are ignored, and leave no trace.
    let active = m.set_backtrace_active(false);
    let points = m.backtrace().to_vec();
    if let Some(at_exit) = m.named_value("Pervasives.do_at_exit") {
        let unit = m.push_int(0);
        m.call(at_exit, &[unit]).map(drop).or_else(is_over)?;
    }
    m.set_backtrace_active(active);
    m.set_backtrace(points);
    let mut message = b"Fatal error: exception ".to_vec();
    message.extend_from_slice(&text);
    message.push(b'\n');
    if active && !m.has_debugger() {
        message.extend_from_slice(format_backtrace(m).as_bytes());
    }
    // If stderr cannot be written, there is nowhere to report it.
    m.ext::<Io>().stderr.print(&message);
    Ok(())
}
