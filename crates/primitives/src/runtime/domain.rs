//! `Domain` (`domain.c`).

use nix::errno::Errno;
use spelter_interp::{Machine, Raise, Res, Slot, SpawnError, Val, prims};

use super::runtime_events;
use super::runtime_events::names::Lifecycle;
use super::sync::lock::Lock;
use super::sync::{check, mutex};
use super::tick;
use crate::UNIT;
use crate::boolean;
use crate::libs::threads::thread;

/// Fields of `Domain`'s `term_sync`, since 5.2.
const STATE: usize = 0;
const MUTEX: usize = 1;
const CONDITION: usize = 2;

/// Starts a domain that runs a function. `sync` tells those who join it of its end: it is a mutex, or a block of the
/// result, a mutex and a condition.
fn domain_spawn(m: &mut Machine, [function, sync]: [Slot; 2]) -> Res<'_> {
    if m.has_debugger() {
        return Err(Raise::Fatal("ocamldebug does not support spawning multiple domains".into()));
    }
    m.register_home();
    let number = m.new_thread_id();
    let none = m.push_int(0);
    let descriptor = match m.push_current_thread() {
        Some(_) => m.push(|m| thread::new_descriptor(m, number, none))?,
        None => none,
    };
    tick::keep_turns(m).map_err(|e| no_thread(m, &e))?;
    let behaviour = m.behaviour();
    let backtraces =
        if behaviour.inherits_backtrace_flag { m.backtrace_active() } else { m.params().backtrace };
    match m.spawn_domain(number, descriptor, &[function, sync], body, backtraces) {
        Ok(id) => Ok(Val::from_int(id as i64)),
        Err(SpawnError::TooMany) => Err(Raise::failure(behaviour.too_many_domains)),
        Err(SpawnError::Thread(e)) => Err(no_thread(m, &e)),
    }
}

fn no_thread(m: &Machine, e: &std::io::Error) -> Raise {
    let Some(what) = m.behaviour().no_domain_thread else {
        return Raise::failure("failed to create domain thread");
    };
    let errno = Errno::from_raw(e.raw_os_error().unwrap_or(libc::EAGAIN));
    match check::<()>(Err(errno), what) {
        Err(raise) => raise,
        Ok(()) => Raise::OutOfMemory,
    }
}

/// What a domain's first thread runs (`domain_thread_func`).
fn body(m: &mut Machine, args: &[Slot]) -> Result<(), Raise> {
    let [function, sync] = [args[0], args[1]];
    let process = i64::from(std::process::id());
    runtime_events::lifecycle(m, Lifecycle::DomainSpawn, process);
    let unit = m.push_int(0);
    let outcome = m.push(|m| m.call(function, &[unit]));
    let lock = if m.behaviour().stores_domain_result {
        let result = finished(m, outcome)?;
        let mutex = m.push_field(sync, MUTEX)?;
        let lock = mutex::lock_of(m, mutex)?;
        lock_for_result(m, &lock)?;
        m.set_field(sync, STATE, result)?;
        let condition = m.push_field(sync, CONDITION)?;
        super::sync::condition::broadcast(m, [condition])?;
        lock
    } else {
        // The function stores the result itself, and has locked the mutex.
        outcome?;
        mutex::lock_of(m, sync)?
    };
    thread::end_domain(m)?;
    runtime_events::lifecycle(m, Lifecycle::DomainTerminate, process);
    // Those who wait for the domain continue when nothing is left of it.
    let me = m.current_thread();
    m.at_thread_end(Box::new(move || {
        let _ = lock.unlock(me);
    }));
    Ok(())
}

/// Pushes `Finished (Ok v)` or `Finished (Error e)` into a new slot; since 5.5, an error has a backtrace.
fn finished(m: &mut Machine, outcome: Result<Slot, Raise>) -> Result<Slot, Raise> {
    let result = match outcome {
        Ok(v) => m.push(|m| m.new_block(0, &[v]))?,
        Err(raise) if !raise.is_exception() => return Err(raise),
        Err(raise) => {
            let exn = m.push_exception(raise);
            let error = if m.behaviour().domain_result_backtrace {
                let points = m.recorded_points()?;
                let backtrace = m.push(|m| m.new_raw_backtrace(&points))?;
                m.push(|m| m.new_block(0, &[exn, backtrace]))?
            } else {
                exn
            };
            m.push(|m| m.new_block(1, &[error]))?
        }
    };
    m.push(|m| m.new_block(0, &[result]))
}

/// Locks the mutex for the result, whatever signal handlers raise meanwhile.
fn lock_for_result(m: &mut Machine, lock: &Lock) -> Result<(), Raise> {
    let me = m.current_thread();
    while !lock.try_lock(me) {
        match m.process_pending_signals() {
            Ok(()) => return lock.lock(m).map(drop),
            Err(raise) if !raise.is_exception() => return Err(raise),
            Err(_) => {}
        }
    }
    Ok(())
}

fn ml_domain_id(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    Ok(Val::from_int(m.domain_id() as i64))
}

fn ml_domain_index(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    Ok(Val::from_int(m.domain_index() as i64))
}

fn ml_domain_cpu_relax(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    m.relax();
    Ok(UNIT)
}

fn domain_dls_get(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    Ok(m.domain_storage())
}

fn domain_dls_set(m: &mut Machine, [storage]: [Slot; 1]) -> Res<'_> {
    m.set_domain_storage(storage);
    Ok(UNIT)
}

fn domain_dls_compare_and_set(m: &mut Machine, [old, new]: [Slot; 2]) -> Res<'_> {
    Ok(boolean(m.replace_domain_storage(old, new)))
}

/// The processors on which the process may run.
fn recommended_domain_count(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Val::from_int(processors.min(m.domain_limit()) as i64))
}

/// OCaml has no use for it any more.
fn ml_domain_unique_token(_: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    Ok(UNIT)
}

fn domain_count(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    Ok(Val::from_int(m.domain_count() as i64))
}

prims! {
    "caml_domain_count" P1 domain_count => since(V5_5),
    "caml_domain_dls_compare_and_set" P2 domain_dls_compare_and_set => since(V5_2),
    "caml_domain_dls_get" P1 domain_dls_get => since(V5_0),
    "caml_domain_dls_set" P1 domain_dls_set => since(V5_0),
    "caml_domain_spawn" P2 domain_spawn => since(V5_0),
    "caml_ml_domain_cpu_relax" P1 ml_domain_cpu_relax => since(V5_0),
    "caml_ml_domain_id" P1 ml_domain_id => since(V5_0),
    "caml_ml_domain_index" P1 ml_domain_index => since(V5_3),
    "caml_ml_domain_unique_token" P1 ml_domain_unique_token => between(V5_0, V5_2),
    "caml_recommended_domain_count" P1 recommended_domain_count => since(V5_0),
}
