//! Time (`time.c`, `gettimeofday.c`, `gmtime.c`, `times.c`, `sleep.c`, `alarm.c`, `itimer.c`).

use std::time::{SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::alarm as sys_alarm;
use spelter_interp::{Machine, Raise, Res, Slot, Val, prims};

use super::args::choice;
use super::errors::{check, unix_error};
use crate::UNIT;
use crate::ffi;
use crate::ffi::process::{Date, Timer};
use crate::io::wait;

fn now() -> (u64, u32) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (now.as_secs(), now.subsec_micros())
}

fn time(m: &mut Machine, [_]: [Slot; 1]) -> Res<'_> {
    m.new_float(now().0 as f64)
}

fn gettimeofday(m: &mut Machine, [_]: [Slot; 1]) -> Res<'_> {
    let (seconds, micros) = now();
    m.new_float(seconds as f64 + f64::from(micros) / 1e6)
}

// ---- dates -----------------------------------------------------------------------------------------

fn new_date(m: &mut Machine, date: Date) -> Res<'_> {
    let [rest @ .., daylight_saving] = date;
    let all = rest.into_iter().chain([i32::from(daylight_saving != 0)]);
    m.new_array(all, |_, i| Ok(Val::from_int(i.into())))
}

/// The outcome of a conversion. Some versions report every failure as the same error.
fn converted<T>(m: &mut Machine, call: &str, outcome: Result<T, Errno>, usual: Errno) -> Result<T, Raise> {
    let usual = (!m.behaviour().unix_reports_errno).then_some(usual);
    check(m, call, None, outcome.map_err(|e| usual.unwrap_or(e)))
}

fn gmtime(m: &mut Machine, [t]: [Slot; 1]) -> Res<'_> {
    let date = ffi::process::utc_date(m.float(t)? as i64);
    let date = converted(m, "gmtime", date, Errno::EINVAL)?;
    new_date(m, date)
}

fn localtime(m: &mut Machine, [t]: [Slot; 1]) -> Res<'_> {
    let date = ffi::process::local_date(m.float(t)? as i64, m.behaviour().localtime_reads_zone);
    let date = converted(m, "localtime", date, Errno::EINVAL)?;
    new_date(m, date)
}

fn mktime(m: &mut Machine, [tm]: [Slot; 1]) -> Res<'_> {
    let mut date = [0; 9];
    for (i, part) in date.iter_mut().take(8).enumerate() {
        *part = m.val(tm).field(i)?.int()? as i32;
    }
    let outcome = match ffi::process::time_of_date(date) {
        // The second before 1970 was an error before failures could be told from it.
        Ok((-1, _)) if !m.behaviour().unix_reports_errno => Err(Errno::ERANGE),
        outcome => outcome,
    };
    let (time, date) = converted(m, "mktime", outcome, Errno::ERANGE)?;
    let time = m.push(|m| m.new_float(time as f64))?;
    let date = m.push(|m| new_date(m, date))?;
    m.new_block(0, &[time, date])
}

// ---- processor time --------------------------------------------------------------------------------

fn new_floats<'m>(m: &'m mut Machine, floats: &[f64]) -> Res<'m> {
    let array = m.push(|m| m.new_float_array(floats.len()))?;
    for (i, f) in floats.iter().enumerate() {
        m.set_float_field(array, i, *f)?;
    }
    Ok(m.val(array))
}

fn times(m: &mut Machine, [_]: [Slot; 1]) -> Res<'_> {
    let seconds = |t: TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
    let of = |who| {
        let usage = getrusage(who).ok();
        let zero = TimeVal::zero();
        usage.map_or([zero, zero], |u| [u.user_time(), u.system_time()]).map(seconds)
    };
    let [user, system] = of(UsageWho::RUSAGE_SELF);
    let [children_user, children_system] = of(UsageWho::RUSAGE_CHILDREN);
    new_floats(m, &[user, system, children_user, children_system])
}

// ---- sleeping and alarms ---------------------------------------------------------------------------

fn sleep(m: &mut Machine, [duration]: [Slot; 1]) -> Res<'_> {
    let d = m.float(duration)?;
    if d < 0.0 {
        return Ok(UNIT);
    }
    let whole = d as i64;
    let mut left = libc::timespec { tv_sec: whole, tv_nsec: ((d - whole as f64) * 1e9) as i64 };
    loop {
        // Handlers of signals that interrupt it run at once, not at the end of the sleep.
        match wait::blocking(m, |waiter| waiter.sleep(&mut left))? {
            Ok(()) => break,
            Err(Errno::EINTR) => {}
            Err(e) => return Err(unix_error(m, e, "sleep", None)),
        }
    }
    Ok(UNIT)
}

fn alarm(m: &mut Machine, [seconds]: [Slot; 1]) -> Res<'_> {
    let left = match m.int(seconds)? as u32 {
        0 => sys_alarm::cancel(),
        seconds => sys_alarm::set(seconds),
    };
    Ok(Val::from_int(left.unwrap_or(0).into()))
}

/// In the order of `Unix.interval_timer`'s constructors.
const TIMERS: [i32; 3] = [libc::ITIMER_REAL, libc::ITIMER_VIRTUAL, libc::ITIMER_PROF];

/// Seconds and microseconds, rounded up, so that nonzero stays nonzero.
fn split(d: f64) -> (i64, i64) {
    let (seconds, micros) = (d.trunc() as i64, (1e6 * d.fract()).ceil() as i64);
    if micros >= 1_000_000 { (seconds + 1, 0) } else { (seconds, micros) }
}

fn new_timer(m: &mut Machine, timer: Timer) -> Res<'_> {
    new_floats(m, &timer.map(|(seconds, micros)| seconds as f64 + micros as f64 / 1e6))
}

fn setitimer(m: &mut Machine, [which, new]: [Slot; 2]) -> Res<'_> {
    let which = choice(m, which, &TIMERS)?;
    let part = |i| -> Result<_, Raise> { Ok(split(m.val(new).float_field(i)?)) };
    let outcome = ffi::process::set_timer(which, [part(0)?, part(1)?]);
    let old = check(m, "setitimer", None, outcome)?;
    new_timer(m, old)
}

fn getitimer(m: &mut Machine, [which]: [Slot; 1]) -> Res<'_> {
    let outcome = ffi::process::timer(choice(m, which, &TIMERS)?);
    let timer = check(m, "getitimer", None, outcome)?;
    new_timer(m, timer)
}

prims! {
    since(V5_0) with "caml_" {
        "unix_time" P1 time,
        "unix_gettimeofday" P1 gettimeofday,
        "unix_gmtime" P1 gmtime,
        "unix_localtime" P1 localtime,
        "unix_mktime" P1 mktime,
        "unix_times" P1 times,
        "unix_sleep" P1 sleep,
        "unix_alarm" P1 alarm,
        "unix_setitimer" P2 setitimer,
        "unix_getitimer" P1 getitimer,
    }
}
