//! `Thread`. A descriptor is {number, function to start with, event of its end}.

use std::io::Write;

use nix::errno::Errno;
use spelter_heap::raw::CustomOps;
use spelter_interp::prim::custom::Behaviour;
use spelter_interp::{Machine, Raise, Res, Slot, prims};

use super::event::Event;
use super::tick::Tick;
use crate::UNIT;
use crate::runtime::printexc;
use crate::runtime::sync::{behaviour, check, new_shared, shared};

const START: usize = 1;
const TERMINATED: usize = 2;

static STATUS: CustomOps =
    CustomOps::new("_threadstatus", &Behaviour { hash: None, ..behaviour::<Event>() }).owning();

fn new_descriptor<'m>(m: &'m mut Machine, id: u64, start: Slot) -> Res<'m> {
    let terminated = m.push(|m| new_shared::<Event>(m, &STATUS))?;
    let id = m.push_int(id as i64);
    m.new_block(0, &[id, start, terminated])
}

fn initialize(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    if m.thread_count() == 0 {
        let id = m.new_thread_id();
        let none = m.push_int(0);
        let descriptor = m.push(|m| new_descriptor(m, id, none))?;
        m.register_first_thread(id, descriptor);
    }
    Ok(UNIT)
}

fn cleanup(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    m.ext::<Tick>().stop();
    Ok(UNIT)
}

fn new(m: &mut Machine, [start]: [Slot; 1]) -> Res<'_> {
    if m.thread_count() == 0 {
        return Err(Raise::invalid("Thread.create: not initialized"));
    }
    let id = m.new_thread_id();
    let descriptor = m.push(|m| new_descriptor(m, id, start))?;
    let started = m.start_thread(id, descriptor, body).and_then(|()| Tick::start(m));
    check(started.map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EAGAIN))), "Thread.create")?;
    Ok(m.val(descriptor))
}

/// The body of a thread, whose function catches all exceptions.
fn body(m: &mut Machine, descriptor: Slot) -> Result<(), Raise> {
    let start = m.push_field(descriptor, START)?;
    m.set_field_int(descriptor, START, 0)?;
    let unit = m.push_int(0);
    let outcome = m.call(start, &[unit]).map(drop);
    if !matches!(outcome, Err(Raise::Exit(_) | Raise::Fatal(_))) {
        terminate(m, descriptor)?;
    }
    outcome
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

fn status(m: &mut Machine, descriptor: Slot) -> Result<std::sync::Arc<Event>, Raise> {
    let status = m.push_field(descriptor, TERMINATED)?;
    shared::<Event>(m, status, "a thread")
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
    let _ = std::io::stderr().write_all(&message);
    Ok(UNIT)
}

prims! {
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
