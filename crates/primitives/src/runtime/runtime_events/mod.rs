//! Runtime events (`runtime_events.c`): a file `<process>.events`, into which the runtime and the program write what happens,
//! and which other processes read meanwhile. The reader is the library `runtime_events`.
//!
//! Only a machine that is the whole process writes one, as the file is the process's. In other machines, starting it has no
//! effect.
//!
//! The collector's own phases and counters are those for which this collector does the work, or determines the number, that
//! OCaml's would: see `names.rs`.

pub(crate) mod layout;
pub(crate) mod names;
mod ring;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use spelter_interp::{Kept, Machine, Raise, Res, Slot, Val, fallible, prims};

use self::layout::{MOST_USER_EVENTS, NAME_BYTES, WORD, user, user_type};
use self::names::{Counter, Lifecycle, Phase};
use self::ring::{NoRing, Plan, Recorder, Rings};
use crate::UNIT;
use crate::boolean;
use crate::ffi;
use crate::io::channels::Io;

pub(crate) use self::ring::now;

/// The exponent of a ring's words, unless `OCAMLRUNPARAM=e` says otherwise.
const DEFAULT_LOG_WORDS: u64 = 16;
/// Fields of `Runtime_events.User.t`.
const ID: usize = 0;
const TYPE: usize = 2;
/// The bytes that an event of a type of its own may have, where the runtime provides them.
const BUFFER_BYTES: usize = 1 << 10;

/// What a machine's program has to do with events.
#[derive(Default)]
struct Events {
    rings: Option<Rc<Rings>>,
    /// The folder of the file, as of the start of the process.
    directory: Option<OsString>,
    /// Whether the file remains at exit.
    preserve: bool,
    /// The events that the program has defined, with their names.
    defined: Vec<Defined>,
    /// How many numbers have been given out.
    numbers: i64,
    /// The bytes that events of types of their own are encoded in, where the runtime provides them.
    buffer: Option<Kept>,
}

struct Defined {
    name: Vec<u8>,
    index: usize,
    event: Kept,
}

// ---- the file --------------------------------------------------------------------------------------

/// Reads the environment, and starts if it says so (`caml_runtime_events_init`).
///
/// # Errors
/// [`Raise::Fatal`] when the file cannot be made.
pub fn init(m: &mut Machine) -> Result<(), Raise> {
    if m.behaviour().event_names.phases == 0 || ffi::process::is_privileged() {
        return Ok(());
    }
    let variable = |name: &str| std::env::var_os(format!("OCAML_RUNTIME_EVENTS_{name}"));
    let events = m.ext::<Events>();
    events.directory = variable("DIR");
    events.preserve = variable("PRESERVE").is_some();
    if variable("START").is_some() { create(m) } else { Ok(()) }
}

fn create(m: &mut Machine) -> Result<(), Raise> {
    if !m.ext::<Io>().fds.owns_process || m.ext::<Events>().rings.is_some() {
        return Ok(());
    }
    let log = m.params().collector.events_log_words.unwrap_or(DEFAULT_LOG_WORDS);
    let behaviour = m.behaviour();
    let plan = Plan {
        domains: m.domain_limit(),
        ring_words: u32::try_from(log).ok().and_then(|log| 1usize.checked_shl(log)).unwrap_or(usize::MAX),
        has_names: behaviour.user_events,
        names: behaviour.event_names,
    };
    let process = std::process::id();
    let file = PathBuf::from(format!("{process}.events"));
    let events = m.ext::<Events>();
    let path = events.directory.as_ref().map_or(file.clone(), |directory| Path::new(directory).join(&file));
    let rings = Rings::create(&path, plan).map_err(|e| {
        Raise::Fatal(match e {
            NoRing::Open => format!("Couldn't open ring buffer loc: {}", path.display()),
            NoRing::Resize => "Can't resize ring buffer".into(),
            NoRing::Map => "Unable to mmap ring buffer".into(),
        })
    })?;
    let rings = Rc::new(rings);
    for defined in &events.defined {
        rings.set_name(defined.index, &defined.name);
    }
    events.rings = Some(Rc::clone(&rings));
    m.observe_collections(Some(Box::new(Recorder(Rc::clone(&rings)))));
    rings.lifecycle(Lifecycle::RingStart, process.into());
    Ok(())
}

/// Lets go of the file; it remains.
fn leave(m: &mut Machine) -> Option<Rc<Rings>> {
    m.observe_collections(None);
    m.ext::<Events>().rings.take()
}

/// At the end of the process: writes that, and removes the file unless the environment says otherwise.
pub fn destroy(m: &mut Machine) {
    let Some(rings) = leave(m) else { return };
    rings.stop();
    if !m.ext::<Events>().preserve {
        // Somebody else may have removed it.
        let _ = std::fs::remove_file(rings.path());
    }
}

/// In the child after `fork`: the file is the parent's, and the child has one of its own.
pub(crate) fn after_fork_in_child(m: &mut Machine) -> Result<(), Raise> {
    if leave(m).is_some() {
        create(m)?;
        lifecycle(m, Lifecycle::ForkChild, 0);
    }
    Ok(())
}

/// The file of this process, if there is one.
pub(crate) fn current_path(m: &mut Machine) -> Option<PathBuf> {
    m.ext::<Events>().rings.as_ref().map(|rings| rings.path().to_owned())
}

/// The rings, if events are to be written.
fn active(m: &mut Machine) -> Option<Rc<Rings>> {
    m.ext::<Events>().rings.clone().filter(|rings| !rings.paused.get())
}

// ---- what happens ----------------------------------------------------------------------------------

/// Writes that something happens to the process or to the running domain.
pub(crate) fn lifecycle(m: &mut Machine, event: Lifecycle, data: i64) {
    if let Some(rings) = &m.ext::<Events>().rings {
        rings.lifecycle(event, data);
    }
}

/// Writes a counter.
pub(crate) fn counter(m: &mut Machine, counter: Counter, n: u64) {
    if let Some(rings) = &m.ext::<Events>().rings {
        rings.counter(counter, n);
    }
}

/// Does something, and writes when it begins and ends.
pub(crate) fn in_phase<T>(m: &mut Machine, phase: Phase, work: impl FnOnce(&mut Machine) -> T) -> T {
    if let Some(rings) = &m.ext::<Events>().rings {
        rings.phase_begins(phase);
    }
    let done = work(m);
    if let Some(rings) = &m.ext::<Events>().rings {
        rings.phase_ends(phase);
    }
    done
}

fn start(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    create(m)?;
    Ok(UNIT)
}

fn pause(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    if let Some(rings) = &m.ext::<Events>().rings
        && !rings.paused.replace(true)
    {
        // As OCaml does: it is paused already when it would write that it is.
        rings.lifecycle(Lifecycle::RingPause, 0);
    }
    Ok(UNIT)
}

fn resume(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    if let Some(rings) = &m.ext::<Events>().rings
        && rings.paused.replace(false)
    {
        rings.lifecycle(Lifecycle::RingResume, 0);
    }
    Ok(UNIT)
}

fn are_active(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    Ok(boolean(active(m).is_some()))
}

fn path(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    use std::os::unix::ffi::OsStrExt;
    let Some(path) = current_path(m) else { return Ok(Val::from_int(0)) };
    let path = m.push(|m| m.new_string(path.as_os_str().as_bytes()))?;
    m.new_some(path)
}

// ---- events that programs define -------------------------------------------------------------------

/// Defines an event, and returns it.
fn define<'m>(m: &'m mut Machine, name: Slot, tag: Slot, kind: Slot) -> Res<'m> {
    let refuse = |why| Err(Raise::invalid(format!("Runtime_events.User.register: {why}")));
    let events = m.ext::<Events>();
    let number = events.numbers;
    events.numbers += 1;
    if number > MOST_USER_EVENTS as i64 {
        return refuse("maximum number of custom events exceeded");
    }
    let text = m.bytes(name)?;
    if text.len() > NAME_BYTES - 1 {
        return refuse("maximum length for event name exceeded");
    }
    if text.contains(&0) {
        return refuse("event name has null characters");
    }
    let text = text.to_vec();
    let id = m.push_int(number);
    let event = m.push(|m| m.new_block(0, &[id, name, kind, tag]))?;
    m.reserve_kept(1)?;
    fallible::reserve(&mut m.ext::<Events>().defined, 1)?;
    let kept = m.keep(event);
    let events = m.ext::<Events>();
    if let Some(rings) = &events.rings {
        rings.set_name(number as usize, &text);
    }
    events.defined.push(Defined { name: text, index: number as usize, event: kept });
    Ok(m.val(event))
}

fn user_register(m: &mut Machine, [name, tag, kind]: [Slot; 3]) -> Res<'_> {
    define(m, name, tag, kind)
}

/// The event of this program with a name. If there is none, it is defined, unless its type is not one of OCaml's own.
pub(crate) fn resolve(m: &mut Machine, name: &[u8], kind: Option<i64>) -> Result<Option<Slot>, Raise> {
    let defined = m.ext::<Events>().defined.iter().rev().find(|defined| defined.name == name);
    if let Some(event) = defined.map(|defined| defined.event.clone()) {
        return m.try_push_kept(&event).map(Some);
    }
    let Some(kind) = kind else { return Ok(None) };
    let name = m.push(|m| m.new_string(name))?;
    let (none, kind) = (m.push_int(0), m.push_int(kind));
    m.push(|m| define(m, name, none, kind)).map(Some)
}

/// OCaml's function of this name takes a C string and a C number, and is not meant to be called by programs.
fn user_resolve(m: &mut Machine, [name, kind]: [Slot; 2]) -> Res<'_> {
    let name = m.bytes(name)?.split(|c| *c == 0).next().unwrap_or_default();
    let name = fallible::to_vec(&name[..name.len().min(NAME_BYTES)])?;
    let kind = m.int(kind)?;
    match resolve(m, &name, (0..=user_type::SPAN).contains(&kind).then_some(kind))? {
        Some(event) => Ok(m.val(event)),
        None => Ok(Val::from_int(0)),
    }
}

/// Writes an event, unless paused. Since 5.2 the program provides the bytes that hold an event of a type of its own.
fn write_event(m: &mut Machine, buffer: Option<Slot>, event: Slot, content: Slot) -> Result<(), Raise> {
    let Some(rings) = active(m) else { return Ok(()) };
    let id = m.val(event).field(ID)?.int()? as u64;
    let kind = m.push_field(event, TYPE)?;
    if !m.val(kind).is_block() {
        let content = m.int(content)?;
        match m.int(kind)? {
            user_type::UNIT => rings.write(true, user::UNIT, id, &[]),
            user_type::INT => rings.write(true, user::INT, id, &[content as i32 as i64 as u64]),
            user_type::SPAN if content == 0 => rings.write(true, user::SPAN_BEGIN, id, &[]),
            user_type::SPAN => rings.write(true, user::SPAN_END, id, &[]),
            _ => {}
        }
        return Ok(());
    }
    let custom = m.push_field(kind, 0)?;
    let encode = m.push_field(custom, 0)?;
    let buffer = match buffer {
        Some(buffer) => buffer,
        None => own_buffer(m)?,
    };
    let len = m.push(|m| m.call(encode, &[buffer, content]))?;
    // The program may have ended it meanwhile.
    let Some(rings) = active(m) else { return Ok(()) };
    let words = encoded(m, buffer, len)?;
    if m.behaviour().refuses_large_events && 2 * (words.len() + layout::FIXED_WORDS) > rings.ring_words() {
        return Err(too_large(m, words.len() + layout::FIXED_WORDS, rings.ring_words()));
    }
    rings.write(true, user::CUSTOM, id, &words);
    Ok(())
}

/// Words with the first `len` bytes of a buffer; the last byte tells how many of the last word's are none of them.
fn encoded(m: &Machine, buffer: Slot, len: Slot) -> Result<Vec<u64>, Raise> {
    let bytes = m.bytes(buffer)?.get(..m.index(len)?).ok_or_else(Raise::bounds)?;
    let words = bytes.len() / WORD + 1;
    if words + layout::FIXED_WORDS > layout::MOST_EVENT_WORDS {
        return Err(Raise::bounds());
    }
    let mut padded = fallible::filled(0, words * WORD)?;
    padded[..bytes.len()].copy_from_slice(bytes);
    padded[words * WORD - 1] = (words * WORD - 1 - bytes.len()) as u8;
    Ok(fallible::collect(padded.as_chunks::<WORD>().0.iter().map(|word| u64::from_ne_bytes(*word)))?)
}

fn too_large(m: &Machine, words: usize, ring_words: usize) -> Raise {
    let log = m.params().collector.events_log_words.unwrap_or(DEFAULT_LOG_WORDS);
    let enough = (2 * words).next_power_of_two().ilog2();
    Raise::Fatal(format!(
        "runtime_events: event of {words} words does not fit in the ring buffer ({ring_words} words, from \
         OCAMLRUNPARAM=e={log}). Use OCAMLRUNPARAM=e={enough} or higher."
    ))
}

/// The bytes that the runtime provides, one buffer for all events.
fn own_buffer(m: &mut Machine) -> Result<Slot, Raise> {
    if let Some(kept) = m.ext::<Events>().buffer.clone() {
        return m.try_push_kept(&kept);
    }
    let buffer = m.push(|m| m.new_bytes(BUFFER_BYTES))?;
    m.reserve_kept(1)?;
    let kept = m.keep(buffer);
    m.ext::<Events>().buffer = Some(kept);
    Ok(buffer)
}

fn user_write(m: &mut Machine, [buffer, event, content]: [Slot; 3]) -> Res<'_> {
    write_event(m, Some(buffer), event, content)?;
    Ok(UNIT)
}

/// Up to 5.1.
fn user_write_unbuffered(m: &mut Machine, [event, content]: [Slot; 2]) -> Res<'_> {
    write_event(m, None, event, content)?;
    Ok(UNIT)
}

prims! {
    "caml_ml_runtime_events_are_active" P1 are_active => since(V5_2),
    "caml_ml_runtime_events_path" P1 path => since(V5_3),
    "caml_ml_runtime_events_pause" P1 pause => since(V5_2),
    "caml_ml_runtime_events_resume" P1 resume => since(V5_2),
    "caml_ml_runtime_events_start" P1 start => since(V5_2),
    "caml_runtime_events_pause" P1 pause => between(V5_0, V5_2),
    "caml_runtime_events_resume" P1 resume => between(V5_0, V5_2),
    "caml_runtime_events_start" P1 start => between(V5_0, V5_2),
    "caml_runtime_events_user_register" P3 user_register => since(V5_1),
    "caml_runtime_events_user_resolve" P2 user_resolve => between(V5_1, V5_2),
    "caml_runtime_events_user_write" P2 user_write_unbuffered => between(V5_1, V5_2),
    "caml_runtime_events_user_write" P3 user_write => since(V5_2),
}

#[cfg(test)]
mod tests {
    use spelter_bytecode::Dialect;
    use spelter_interp::Settings;

    use super::*;

    /// A guest of OCaml 5.4.
    fn machine() -> Machine {
        let mut m = Machine::new(Settings::default());
        crate::install(&mut m);
        m.adopt(Dialect::V5_4);
        m
    }

    fn name(m: &mut Machine, text: &[u8]) -> Slot {
        m.push(|m| m.new_string(text)).unwrap()
    }

    #[test]
    fn a_guest_has_no_file() {
        let mut m = machine();
        let unit = m.push_int(0);
        init(&mut m).unwrap();
        start(&mut m, [unit]).unwrap();
        assert_eq!(are_active(&mut m, [unit]).unwrap().int(), Ok(0));
        assert_eq!(path(&mut m, [unit]).unwrap().int(), Ok(0));
        assert_eq!(current_path(&mut m), None);
        assert!(!Path::new(&format!("{}.events", std::process::id())).exists());
    }

    #[test]
    fn events_have_names_and_numbers_up_to_a_limit() {
        let mut m = machine();
        let none = m.push_int(0);
        for text in [&b"a\0b"[..], &[b'a'; NAME_BYTES]] {
            let text = name(&mut m, text);
            assert!(matches!(user_register(&mut m, [text, none, none]), Err(Raise::Invalid(_))));
        }
        let text = name(&mut m, &[b'a'; NAME_BYTES - 1]);
        // OCaml counts what it refuses, and one more than it has room for.
        let registered = (0..2 * MOST_USER_EVENTS)
            .take_while(|_| user_register(&mut m, [text, none, none]).is_ok())
            .count();
        assert_eq!(registered, MOST_USER_EVENTS + 1 - 2);
        let last = resolve(&mut m, &[b'a'; NAME_BYTES - 1], None).unwrap().expect("an event");
        assert_eq!(m.val(last).field(ID).unwrap().int(), Ok(MOST_USER_EVENTS as i64));
        assert!(resolve(&mut m, b"other", None).unwrap().is_none());
        assert!(resolve(&mut m, b"other", Some(user_type::INT)).is_err(), "no number is left for it");
    }

    #[test]
    fn the_last_byte_of_an_event_tells_its_length() {
        let mut m = machine();
        let buffer = name(&mut m, b"0123456789abcdef");
        for (len, words, last) in [(0, 1, 7), (7, 1, 0), (8, 2, 7), (16, 3, 7)] {
            let len = m.push_int(len);
            let event = encoded(&m, buffer, len).unwrap();
            assert_eq!((event.len(), event[words - 1].to_ne_bytes()[WORD - 1]), (words, last));
        }
        for len in [-1, 17, i64::MAX >> 1] {
            let len = m.push_int(len);
            assert!(encoded(&m, buffer, len).is_err());
        }
    }
}
