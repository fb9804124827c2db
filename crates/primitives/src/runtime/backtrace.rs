//! Backtraces as programs see them (`backtrace.c`, `backtrace_byt.c`). The machine records them.
//!
//! A raw backtrace is an array of integers, one for each place in code ([`CodePoint`]; OCaml's runtime uses halved code
//! addresses); a slot is the same number.

use spelter_interp::inspect::backtrace::{CodePoint, Located};
use spelter_interp::{Machine, Raise, Res, Slot, Val, fallible, prims};

use crate::UNIT;
use crate::boolean;

fn record_backtrace(m: &mut Machine, [on]: [Slot; 1]) -> Res<'_> {
    let on = m.bool(on);
    if on != m.backtrace_active() {
        m.set_backtrace_active(on);
        let no_exn = m.push_int(0);
        m.restore_backtrace(no_exn, Vec::new());
    }
    Ok(UNIT)
}

fn backtrace_status(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    Ok(boolean(m.backtrace_active()))
}

fn get_exception_raw_backtrace(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    let points = m.recorded_points()?;
    m.new_raw_backtrace(&points)
}

fn points(m: &Machine, backtrace: Slot) -> Result<Vec<CodePoint>, Raise> {
    let v = m.val(backtrace);
    let mut points = fallible::with_capacity(v.wosize()?)?;
    for i in 0..v.wosize()? {
        points.push(CodePoint::from_int(v.field(i)?.int()?));
    }
    Ok(points)
}

fn restore_raw_backtrace(m: &mut Machine, [exn, backtrace]: [Slot; 2]) -> Res<'_> {
    let points = points(m, backtrace)?;
    m.restore_backtrace(exn, points);
    Ok(UNIT)
}

/// `Printexc.backtrace_slot`
fn convert(m: &mut Machine, point: CodePoint) -> Res<'_> {
    let Located { is_raise, place } = m.locate(point)?;
    let is_raise = m.push_int(is_raise.into());
    let Some(place) = place else { return m.new_block(1, &[is_raise]) };
    let file = m.push(|m| m.new_string(place.file.as_bytes()))?;
    let definition = m.push(|m| m.new_string(place.definition.as_bytes()))?;
    let [line, start, end] = [place.line, place.start, place.end].map(|n| m.push_int(n));
    let [end_line, end_in_line, is_inlined] = [place.end_line, place.end_in_line, 0].map(|n| m.push_int(n));
    match m.behaviour().location_fields {
        7 => m.new_block(0, &[is_raise, file, line, start, end, is_inlined, definition]),
        _ => {
            m.new_block(0, &[is_raise, file, line, start, end, end_line, end_in_line, is_inlined, definition])
        }
    }
}

fn convert_raw_backtrace_slot(m: &mut Machine, [slot]: [Slot; 1]) -> Res<'_> {
    let point = CodePoint::from_int(m.int(slot)?);
    convert(m, point)
}

fn convert_all(m: &mut Machine, points: Vec<CodePoint>) -> Res<'_> {
    m.new_array(points, convert)
}

fn convert_raw_backtrace(m: &mut Machine, [backtrace]: [Slot; 1]) -> Res<'_> {
    let points = points(m, backtrace)?;
    convert_all(m, points)
}

fn raw_backtrace_length(m: &mut Machine, [backtrace]: [Slot; 1]) -> Res<'_> {
    Ok(Val::from_int(m.val(backtrace).wosize()? as i64))
}

fn raw_backtrace_slot(m: &mut Machine, [backtrace, i]: [Slot; 2]) -> Res<'_> {
    if m.is_sealed(backtrace) {
        return Err(Raise::invalid("Printexc.get_raw_backtrace_slot: not a backtrace"));
    }
    let (i, v) = (m.index(i)?, m.val(backtrace));
    if i >= v.wosize()? {
        return Err(Raise::invalid("Printexc.get_raw_backtrace_slot: index out of bounds"));
    }
    Ok(v.field(i)?)
}

/// Further slots would be for inlined calls, which bytecode does not have.
fn raw_backtrace_next_slot(_: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    Ok(Val::from_int(0))
}

fn get_exception_backtrace(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    let points = m.recorded_points()?;
    let array = m.push(|m| convert_all(m, points))?;
    m.new_some(array)
}

fn get_current_callstack(m: &mut Machine, [max]: [Slot; 1]) -> Res<'_> {
    let max = usize::try_from(m.int(max)?).unwrap_or(0);
    let points = m.current_callstack(max)?;
    m.new_raw_backtrace(&points)
}

/// A negative number is the reason why the debug data could not be read.
fn ml_debug_info_status(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    Ok(Val::from_int(m.debug_fault().map_or(0, |fault| fault as i64)))
}

prims! {
    "caml_record_backtrace" P1 record_backtrace,
    "caml_backtrace_status" P1 backtrace_status,
    "caml_get_exception_raw_backtrace" P1 get_exception_raw_backtrace,
    "caml_restore_raw_backtrace" P2 restore_raw_backtrace,
    "caml_convert_raw_backtrace_slot" P1 convert_raw_backtrace_slot,
    "caml_convert_raw_backtrace" P1 convert_raw_backtrace,
    "caml_raw_backtrace_length" P1 raw_backtrace_length,
    "caml_raw_backtrace_slot" P2 raw_backtrace_slot,
    "caml_raw_backtrace_next_slot" P1 raw_backtrace_next_slot,
    "caml_get_exception_backtrace" P1 get_exception_backtrace,
    "caml_get_current_callstack" P1 get_current_callstack,
    "caml_ml_debug_info_status" P1 ml_debug_info_status,
}
