//! Cursors, which read a file of events (`runtime_events_consumer.c`).

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Weak;

use spelter_heap::raw::CustomOps;
use spelter_interp::prim::custom::Behaviour;
use spelter_interp::{Machine, Raise, Res, Slot, Val, WrongType, fallible, prims};

use super::callbacks::{FILE, Stop, lost, of_runtime, of_user};
use super::file::{Events, Next};
use crate::UNIT;
use crate::io::channels::Io;
use crate::runtime::runtime_events::{current_path, now};

/// Bytes of a file name, at most.
const MOST_NAME_BYTES: usize = 511;

/// A file, until it is freed.
#[derive(Default)]
struct Cursor {
    events: RefCell<Option<Events>>,
    is_polled: Cell<bool>,
}

static CURSOR: CustomOps = CustomOps::new(c"runtime_events.cursor", &Behaviour::OPAQUE).owning();

fn cursor_of(m: &Machine, cursor: Slot) -> Result<&Cursor, Raise> {
    let wrong = WrongType { expected: "a cursor" };
    Ok(m.val(cursor).field(FILE)?.external().map_err(|_| wrong)?)
}

fn failure(what: &'static str) -> Raise {
    Raise::failure(format!("Runtime_events: {what}"))
}

/// The file of a process, or of this one if there is no folder, or the process's number is negative.
fn file_name(m: &mut Machine, option: Slot) -> Result<PathBuf, Raise> {
    if m.val(option).is_block() {
        let pair = m.push_field(option, 0)?;
        let process = m.val(pair).field(1)?.int()? as i32;
        if process >= 0 {
            let folder = m.push_field(pair, 0)?;
            let folder = m.bytes(folder)?.split(|c| *c == 0).next().unwrap_or_default();
            let mut name = fallible::to_vec(&folder[..folder.len().min(MOST_NAME_BYTES)])?;
            name.extend_from_slice(format!("/{process}.events").as_bytes());
            name.truncate(MOST_NAME_BYTES);
            return Ok(OsString::from_vec(name).into());
        }
    }
    current_path(m)
        .ok_or_else(|| failure("no ring for current process.          Was runtime_events started?"))
}

fn create_cursor(m: &mut Machine, [option]: [Slot; 1]) -> Res<'_> {
    let name = file_name(m, option)?;
    let events = m.blocking(|| File::open(name).map(Events::open))?;
    let events = events.map_err(|_| failure("could not create cursor for specified path."))?;
    let events = events.ok_or_else(|| failure("could not map underlying runtime_events."))?;
    let events = events.map_err(|_| failure("could not obtain cursor"))?;
    let (number, user) = events.descriptor();
    let user: Weak<File> = std::sync::Arc::downgrade(user);
    m.ext::<Io>().fds.hide(number, user);
    let cursor: Box<dyn Any> =
        Box::new(Cursor { events: RefCell::new(Some(events)), is_polled: Cell::new(false) });
    let cursor = m.push(|m| m.new_external(&CURSOR, cursor, 0))?;
    let none = m.push_int(0);
    m.new_block(0, &[cursor, none, none])
}

fn free_cursor(m: &mut Machine, [cursor]: [Slot; 1]) -> Res<'_> {
    cursor_of(m, cursor)?.events.take();
    Ok(UNIT)
}

/// Calls the program's functions for all events that have not been read, or for so many.
fn read_poll(m: &mut Machine, [cursor, callbacks, most]: [Slot; 3]) -> Res<'_> {
    let most = if m.val(most).is_block() { m.val(most).field(0)?.int()? as u64 } else { 0 };
    if cursor_of(m, cursor)?.events.borrow().is_none() {
        return Err(failure("invalid or closed cursor"));
    }
    if cursor_of(m, cursor)?.is_polled.replace(true) {
        return Err(failure("poll called concurrently or reentrant"));
    }
    let consumed = poll(m, cursor, callbacks, most);
    cursor_of(m, cursor)?.is_polled.set(false);
    match consumed {
        Ok(consumed) => Ok(Val::from_int(consumed as i64)),
        Err(Stop::Corrupt) => Err(failure("corrupt stream")),
        Err(Stop::Raise(raise)) => Err(raise),
    }
}

/// Does something with a cursor's file, which a function of the program may have freed.
fn with_file<T>(m: &Machine, cursor: Slot, f: impl FnOnce(&mut Events) -> T) -> Result<T, Raise> {
    let mut events = cursor_of(m, cursor)?.events.borrow_mut();
    events.as_mut().map(f).ok_or_else(|| failure("invalid or closed cursor"))
}

fn poll(m: &mut Machine, cursor: Slot, callbacks: Slot, most: u64) -> Result<u64, Stop> {
    let (first, domains) = with_file(m, cursor, |events| (events.next_domain, events.domains()))?;
    with_file(m, cursor, |events| events.check())??;
    let mut consumed = 0;
    for i in 0..domains {
        let domain = (first + i) % domains;
        let outcome = poll_domain(m, cursor, callbacks, domain, most, &mut consumed);
        if !matches!(outcome, Err(Stop::Corrupt)) {
            // The next poll goes on with the next domain, even if a function has raised.
            with_file(m, cursor, |events| events.next_domain = (domain + 1) % domains)?;
        }
        outcome?;
    }
    Ok(consumed)
}

fn poll_domain(
    m: &mut Machine,
    cursor: Slot,
    callbacks: Slot,
    domain: usize,
    most: u64,
    consumed: &mut u64,
) -> Result<(), Stop> {
    loop {
        m.check_interrupt()?;
        let mark = m.mark();
        let (next, tail) = with_file(m, cursor, |events| events.next(domain))??;
        let words = match next {
            Next::Nothing => return Ok(()),
            Next::Lost(words) => {
                lost(m, callbacks, domain, words)?;
                m.release(mark);
                with_file(m, cursor, |events| events.advance(domain, words))?;
                continue;
            }
            Next::Event(header) => {
                // It is put back, for its capacity.
                let words = with_file(m, cursor, |events| std::mem::take(&mut events.event))?;
                if header.is_user {
                    of_user(m, (cursor, callbacks), domain, header, &words, |m| {
                        Ok(with_file(m, cursor, |events| events.name(header.id))??)
                    })?;
                } else {
                    of_runtime(m, callbacks, domain, header, &words)?;
                }
                // OCaml does not count events of type unit, either.
                *consumed += u64::from(header.kind != 0);
                with_file(m, cursor, |events| events.event = words)?;
                header.words as u64
            }
        };
        m.release(mark);
        let position = with_file(m, cursor, |events| events.advance(domain, words))?;
        if position >= tail || most != 0 && *consumed >= most {
            return Ok(());
        }
    }
}

fn current_timestamp(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    m.new_int64(now() as i64)
}

prims! {
    "caml_ml_runtime_current_timestamp" P1 current_timestamp => since(V5_4),
    "caml_ml_runtime_events_create_cursor" P1 create_cursor,
    "caml_ml_runtime_events_free_cursor" P1 free_cursor,
    "caml_ml_runtime_events_read_poll" P3 read_poll,
}
