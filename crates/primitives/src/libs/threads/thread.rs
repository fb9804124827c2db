//! `Thread`. A descriptor is {number, function to start with, event of its end}.

use std::ffi::CString;
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::prctl;
use spelter_heap::raw::CustomOps;
use spelter_interp::prim::custom::Behaviour;
use spelter_interp::{Machine, Raise, Res, Slot, prims};

use super::event::Event;
use crate::UNIT;
use crate::io::channels::Io;
use crate::io::errors::{complain, strerror};
use crate::runtime::printexc;
use crate::runtime::sync::{behaviour, check, new_shared, shared};
use crate::runtime::tick::Tick;

/// The length of the names of the system's threads.
const NAME_LENGTH: usize = 15;

const START: usize = 1;
const TERMINATED: usize = 2;

static STATUS: CustomOps =
    CustomOps::new(c"_threadstatus", &Behaviour { hash: None, ..behaviour::<Arc<Event>>() }).owning();

/// A new `Thread.t`.
pub(crate) fn new_descriptor<'m>(m: &'m mut Machine, id: u64, start: Slot) -> Res<'m> {
    let terminated = m.push(|m| new_shared::<Arc<Event>>(m, &STATUS))?;
    let id = m.push_int(id as i64);
    m.new_block(0, &[id, start, terminated])
}

fn initialize(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    if m.push_current_thread().is_some() {
        return Ok(UNIT);
    }
    if m.domain_count() > 1 {
        return Err(Raise::failure(
            "caml_thread_initialize: cannot initialize Thread while several domains are running.",
        ));
    }
    m.register_home();
    let id = m.current_thread();
    let none = m.push_int(0);
    let descriptor = m.push(|m| new_descriptor(m, id, none))?;
    m.register_first_thread(id, descriptor);
    Ok(UNIT)
}

/// Registers the running thread, a guest with this number (`caml_c_thread_register`).
///
/// # Errors
/// When there is no memory, or the system has no more threads.
pub fn register_guest(m: &mut Machine, id: u64) -> Result<(), Raise> {
    let none = m.push_int(0);
    let descriptor = m.push(|m| new_descriptor(m, id, none))?;
    m.register_first_thread(id, descriptor);
    Tick::start(m).map_err(|_| Raise::OutOfMemory)
}

fn cleanup(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    m.ext::<Tick>().stop();
    Ok(UNIT)
}

fn new(m: &mut Machine, [start]: [Slot; 1]) -> Res<'_> {
    if m.behaviour().debugs_one_thread && m.has_debugger() {
        return Err(Raise::Fatal("ocamldebug does not support multithreaded programs".to_owned()));
    }
    current(m, "Thread.create")?;
    let id = m.new_thread_id();
    let descriptor = m.push(|m| new_descriptor(m, id, start))?;
    let started = m.start_thread(id, descriptor, body).and_then(|()| Tick::start(m));
    check(started.map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EAGAIN))), "Thread.create")?;
    Ok(m.val(descriptor))
}

/// The body of a thread, whose function catches all exceptions.
fn body(m: &mut Machine, args: &[Slot]) -> Result<(), Raise> {
    let descriptor = args[0];
    let start = m.push_field(descriptor, START)?;
    m.set_field_int(descriptor, START, 0)?;
    let unit = m.push_int(0);
    let outcome = m.call(start, &[unit]).map(drop);
    if !matches!(outcome, Err(Raise::Exit(_) | Raise::Fatal(_) | Raise::Fault(_))) {
        terminate(m, descriptor)?;
    }
    outcome
}

/// Waits for the other threads of the running one's domain, which is about to end
/// (`caml_thread_domain_stop_hook`).
pub(crate) fn end_domain(m: &mut Machine) -> Result<(), Raise> {
    let mark = m.mark();
    while let Some(companion) = m.push_companion() {
        let ended = status(m, companion)?;
        m.release(mark);
        m.blocking_on(&ended, |interruption| ended.wait(interruption))?;
    }
    match m.push_current_thread() {
        Some(descriptor) => terminate(m, descriptor),
        None => Ok(()),
    }
}

/// Tells threads that wait for this thread that it has ended.
fn terminate(m: &mut Machine, descriptor: Slot) -> Result<(), Raise> {
    status(m, descriptor)?.trigger();
    // This is the last thread: there are no others to switch to.
    if m.thread_count() == 1 {
        m.ext::<Tick>().stop();
    }
    Ok(())
}

fn status(m: &mut Machine, descriptor: Slot) -> Result<Arc<Event>, Raise> {
    let status = m.push_field(descriptor, TERMINATED)?;
    shared::<Arc<Event>>(m, status, "a thread").map(Arc::clone)
}

fn current(m: &mut Machine, name: &str) -> Result<Slot, Raise> {
    m.push_current_thread().ok_or_else(|| Raise::invalid(format!("{name}: not initialized")))
}

fn self_(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    let current = current(m, "Thread.self")?;
    Ok(m.val(current))
}

fn id(m: &mut Machine, [thread]: [Slot; 1]) -> Res<'_> {
    Ok(m.val(thread).field(0)?)
}

fn exit(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    let current = current(m, "Thread.exit")?;
    if m.is_home() {
        terminate(m, current)?;
    }
    Err(Raise::EndThread)
}

fn yield_(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    m.yield_thread()?;
    Ok(UNIT)
}

fn join(m: &mut Machine, [thread]: [Slot; 1]) -> Res<'_> {
    let status = status(m, thread)?;
    m.blocking_on(&status, |interruption| status.wait(interruption))?;
    Ok(UNIT)
}

fn uncaught_exception(m: &mut Machine, [exn]: [Slot; 1]) -> Res<'_> {
    let mut message = format!("Thread {} killed on uncaught exception ", m.current_thread()).into_bytes();
    message.extend(printexc::format_exception(m, exn));
    message.push(b'\n');
    if m.backtrace_active() {
        message.extend(printexc::format_backtrace(m).into_bytes());
    }
    // If stderr cannot be written, there is nowhere to report it.
    m.ext::<Io>().stderr.print(&message);
    Ok(UNIT)
}

/// Names the system's thread. Not that of a host: it is the host's own.
fn set_current_thread_name(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    if m.is_home() && !m.ext::<Io>().fds.owns_process {
        return Ok(UNIT);
    }
    let bytes = m.bytes(name)?;
    // The system only reads a few characters.
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = CString::new(&text[..text.len().min(NAME_LENGTH)]).unwrap_or_default();
    if let Err(e) = prctl::set_name(&text)
        && m.params().warnings
    {
        complain(m, format_args!("[ocaml] error while setting thread name: {}", strerror(e)));
    }
    Ok(UNIT)
}

prims! {
    "caml_set_current_thread_name" P1 set_current_thread_name => since(V5_4),
    "caml_thread_initialize" P1 initialize,
    "caml_thread_cleanup" P1 cleanup,
    "caml_thread_new" P1 new,
    "caml_thread_self" P1 self_,
    "caml_thread_id" P1 id,
    "caml_thread_exit" P1 exit => before(V5_0),
    "caml_thread_yield" P1 yield_,
    "caml_thread_join" P1 join,
    "caml_thread_uncaught_exception" P1 uncaught_exception,
}
