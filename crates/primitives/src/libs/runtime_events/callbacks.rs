//! Calls the program's functions for events.

use spelter_interp::{Machine, Raise, Slot};

use super::file::Corrupt;
use crate::runtime::runtime_events::layout::{EventHeader, FIXED_WORDS, WORD, runtime, user, user_type};
use crate::runtime::runtime_events::resolve;

/// Fields of `Runtime_events.Callbacks.t`.
const RUNTIME_BEGIN: usize = 0;
const RUNTIME_END: usize = 1;
const RUNTIME_COUNTER: usize = 2;
const ALLOC: usize = 3;
const LIFECYCLE: usize = 4;
const LOST_EVENTS: usize = 5;
const USER_EVENTS: usize = 6;

/// Fields of a cursor: the file, the bytes given to decoders, and the program's events by the numbers that the file has for
/// them.
pub(super) const FILE: usize = 0;
const BUFFER: usize = 1;
const KNOWN: usize = 2;

/// The sizes counted by an event about allocations.
const ALLOC_BUCKETS: usize = 20;
/// The bytes given to decoders.
const BUFFER_BYTES: usize = 1 << 10;
/// The number of events known at first.
const FEW_EVENTS: usize = 256;

/// Why reading stops.
pub(super) enum Stop {
    Corrupt,
    Raise(Raise),
}

impl From<Raise> for Stop {
    fn from(raise: Raise) -> Self {
        Stop::Raise(raise)
    }
}

impl From<spelter_interp::WrongType> for Stop {
    fn from(e: spelter_interp::WrongType) -> Self {
        Stop::Raise(e.into())
    }
}

impl From<Corrupt> for Stop {
    fn from(_: Corrupt) -> Self {
        Stop::Corrupt
    }
}

/// Pushes an optional field's content into a new slot.
fn optional(m: &mut Machine, record: Slot, field: usize) -> Result<Option<Slot>, Raise> {
    let option = m.push_field(record, field)?;
    if m.val(option).is_block() { m.push_field(option, 0).map(Some) } else { Ok(None) }
}

/// Calls an optional function for an event of a domain at a time, with what else it gets.
fn call(
    m: &mut Machine,
    callbacks: Slot,
    field: usize,
    (domain, time): (usize, u64),
    rest: impl FnOnce(&mut Machine) -> Result<Vec<Slot>, Raise>,
) -> Result<(), Raise> {
    let Some(function) = optional(m, callbacks, field)? else { return Ok(()) };
    let mut args = vec![m.push_int(domain as i64), m.push(|m| m.new_int64(time as i64))?];
    args.extend(rest(m)?);
    m.call(function, &args).map(drop)
}

/// Reports words that have been overwritten.
pub(super) fn lost(m: &mut Machine, callbacks: Slot, domain: usize, words: u64) -> Result<(), Raise> {
    let Some(function) = optional(m, callbacks, LOST_EVENTS)? else { return Ok(()) };
    let args = [m.push_int(domain as i64), m.push_int((words as i32).into())];
    m.call(function, &args).map(drop)
}

/// An event of the runtime, with header and time.
pub(super) fn of_runtime(
    m: &mut Machine,
    callbacks: Slot,
    domain: usize,
    header: EventHeader,
    words: &[u64],
) -> Result<(), Stop> {
    let at = (domain, words.get(1).copied().unwrap_or_default());
    let content = words.get(FIXED_WORDS..).unwrap_or_default();
    let id = header.id as i64;
    match header.kind {
        runtime::BEGIN => call(m, callbacks, RUNTIME_BEGIN, at, |m| Ok(vec![m.push_int(id)]))?,
        runtime::END => call(m, callbacks, RUNTIME_END, at, |m| Ok(vec![m.push_int(id)]))?,
        runtime::COUNTER => {
            let n = *content.first().ok_or(Stop::Corrupt)?;
            call(m, callbacks, RUNTIME_COUNTER, at, |m| Ok(vec![m.push_int(id), m.push_int(n as i64)]))?;
        }
        runtime::ALLOC => {
            let counts = content.get(..ALLOC_BUCKETS).ok_or(Stop::Corrupt)?;
            call(m, callbacks, ALLOC, at, |m| {
                let counts: Vec<Slot> = counts.iter().map(|n| m.push_int(*n as i64)).collect();
                Ok(vec![m.push(|m| m.new_block(0, &counts))?])
            })?;
        }
        runtime::LIFECYCLE => {
            // The end of the ring has no data.
            let data = content.first().copied().unwrap_or_default();
            call(m, callbacks, LIFECYCLE, at, |m| {
                let id = m.push_int(id);
                let number = m.push_int(data as i64);
                Ok(vec![id, if data == 0 { m.push_int(0) } else { m.push(|m| m.new_some(number))? }])
            })?;
        }
        _ => {}
    }
    Ok(())
}

/// An event of a program, with header and time, whose name is in the file.
pub(super) fn of_user(
    m: &mut Machine,
    (cursor, callbacks): (Slot, Slot),
    domain: usize,
    header: EventHeader,
    words: &[u64],
    name: impl FnOnce(&mut Machine) -> Result<Vec<u8>, Stop>,
) -> Result<(), Stop> {
    let own_type = match header.kind {
        user::UNIT => Some(user_type::UNIT),
        user::INT => Some(user_type::INT),
        user::SPAN_BEGIN | user::SPAN_END => Some(user_type::SPAN),
        _ => None,
    };
    let content = words.get(FIXED_WORDS..).unwrap_or_default();
    let Some(event) = known_event(m, cursor, header.id as usize, own_type, name)? else { return Ok(()) };
    let kind = m.push_field(event, 2)?;
    let custom = if m.val(kind).is_block() { Some(m.push_field(kind, 0)?) } else { None };
    // A hostile file may say that an event is of another type than it is for this program.
    let same = match (own_type, custom) {
        (Some(own), None) => m.int(kind)? == own,
        (None, Some(_)) => true,
        _ => false,
    };
    if !same && (m.behaviour().checks_event_types || own_type.is_none()) {
        return Err(Stop::Corrupt);
    }
    let index = match custom {
        Some(custom) => m.val(custom).field(2)?.int()?,
        None => m.int(kind)?,
    };
    let lists = m.push_field(callbacks, USER_EVENTS)?;
    let Some(index) = usize::try_from(index).ok().filter(|i| m.val(lists).wosize().is_ok_and(|n| *i < n))
    else {
        return Ok(());
    };
    let mut list = m.push_field(lists, index)?;
    if !m.val(list).is_block() {
        return Ok(());
    }
    let value = match (header.kind, custom) {
        (user::UNIT, _) => m.push_int(0),
        (user::INT, _) => m.push_int(*content.first().ok_or(Stop::Corrupt)? as i64),
        (user::SPAN_BEGIN, _) => m.push_int(0),
        (user::SPAN_END, _) => m.push_int(1),
        (_, Some(custom)) => decoded(m, cursor, custom, content)?,
        (_, None) => return Err(Stop::Corrupt),
    };
    let domain = m.push_int(domain as i64);
    let time = words.get(1).copied().unwrap_or_default();
    let time = m.push(|m| m.new_int64(time as i64))?;
    while m.val(list).is_block() {
        let mark = m.mark();
        let callback = m.push_field(list, 0)?;
        let callback = m.push_field(callback, 0)?;
        m.call(callback, &[domain, time, event, value]).map(drop)?;
        m.release(mark);
        list = m.push_field(list, 1)?;
    }
    Ok(())
}

/// This program's event for a number in the file.
fn known_event(
    m: &mut Machine,
    cursor: Slot,
    id: usize,
    own_type: Option<i64>,
    name: impl FnOnce(&mut Machine) -> Result<Vec<u8>, Stop>,
) -> Result<Option<Slot>, Stop> {
    let mut known = m.push_field(cursor, KNOWN)?;
    let len = if m.val(known).is_block() { m.val(known).wosize()? } else { 0 };
    if id < len {
        let event = m.push_field(known, id)?;
        if m.val(event).is_block() {
            return Ok(Some(event));
        }
    }
    let name = name(m)?;
    let Some(event) = resolve(m, &name, own_type)? else { return Ok(None) };
    if id >= len {
        let more = (id + 1).next_power_of_two().max(FEW_EVENTS);
        let none = m.push_int(0);
        let larger = m.push(|m| m.new_filled(0, more, none))?;
        if len > 0 {
            m.blit_fields(known, 0, larger, 0, len)?;
        }
        m.set_field(cursor, KNOWN, larger)?;
        known = larger;
    }
    m.set_field(known, id, event)?;
    Ok(Some(event))
}

/// What the program's function decodes from an event of a type of its own.
fn decoded(m: &mut Machine, cursor: Slot, custom: Slot, content: &[u64]) -> Result<Slot, Stop> {
    let bytes: Vec<u8> = content.iter().flat_map(|word| word.to_ne_bytes()).collect();
    debug_assert_eq!(bytes.len(), content.len() * WORD);
    // The last byte tells how many before it are not part of the value.
    let (unused, bytes) = bytes.split_last().ok_or(Stop::Corrupt)?;
    let len = bytes.len().checked_sub(usize::from(*unused)).filter(|len| *len <= BUFFER_BYTES);
    let len = len.ok_or(Stop::Corrupt)?;
    let decode = m.push_field(custom, 1)?;
    let mut buffer = m.push_field(cursor, BUFFER)?;
    if !m.val(buffer).is_block() {
        buffer = m.push(|m| m.new_bytes(BUFFER_BYTES))?;
        m.set_field(cursor, BUFFER, buffer)?;
    }
    m.bytes_mut(buffer)?.get_mut(..len).ok_or(Stop::Corrupt)?.copy_from_slice(&bytes[..len]);
    let len = m.push_int(len as i64);
    Ok(m.push(|m| m.call(decode, &[buffer, len]))?)
}
