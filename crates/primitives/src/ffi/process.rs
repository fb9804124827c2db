//! Processes, signals and timers, where std and nix are unsafe, too restrictive or have no function.

use std::ffi::{CStr, OsStr};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;

/// `fork`: the child's number in the parent, 0 in the child.
pub(crate) fn fork() -> Result<i32, Errno> {
    // SAFETY: the child is a copy of this thread alone. The calling machine is the whole process (its primitive ensures
    // that), and its other threads can only be inside system calls: none of our locks is held.
    Errno::result(unsafe { libc::fork() })
}

/// `waitpid`: the child's number, 0 for none yet, and its status.
pub(crate) fn waitpid(pid: i32, flags: i32) -> Result<(i32, i32), Errno> {
    let mut status = 0;
    // SAFETY: a local variable of the required type.
    let pid = Errno::result(unsafe { libc::waitpid(pid, &mut status, flags) })?;
    // The status has no meaning if it returns 0.
    Ok((pid, if pid == 0 { 0 } else { status }))
}

/// `_exit`: no buffer is flushed, nothing is cleaned up.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// `kill`, with any signal number.
pub(crate) fn kill(pid: i32, signal: i32) -> Result<(), Errno> {
    // SAFETY: numbers only.
    Errno::result(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// `nice`: the new niceness, which may be -1.
pub(crate) fn nice(by: i32) -> Result<i32, Errno> {
    Errno::clear();
    // SAFETY: a number only.
    let niceness = unsafe { libc::nice(by) };
    match Errno::last_raw() {
        e if niceness == -1 && e != 0 => Err(Errno::from_raw(e)),
        _ => Ok(niceness),
    }
}

/// Sets a variable of the environment. The name is not empty and has no `=`.
pub(crate) fn set_variable(name: &OsStr, value: &OsStr) {
    // SAFETY: the calling machine is the whole process (its primitive ensures that), and among its threads only the one
    // that has the machine accesses the environment.
    unsafe { std::env::set_var(name, value) }
}

pub(crate) fn remove_variable(name: &OsStr) {
    // SAFETY: as in `set_variable`.
    unsafe { std::env::remove_var(name) }
}

/// Whether the process has privileges that its starter does not have, so that its environment cannot be trusted.
pub(crate) fn is_privileged() -> bool {
    // SAFETY: a number only.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

// SAFETY: POSIX's declaration, in <unistd.h>.
unsafe extern "C" {
    fn getlogin_r(into: *mut libc::c_char, len: usize) -> i32;
}

/// The login name of the terminal's user.
pub(crate) fn login_name() -> Result<Vec<u8>, Errno> {
    let mut name = [0u8; 256];
    // SAFETY: a buffer and its length.
    match unsafe { getlogin_r(name.as_mut_ptr().cast(), name.len()) } {
        0 => {
            let name = CStr::from_bytes_until_nul(&name).map_err(|_| Errno::ERANGE)?;
            Ok(name.to_bytes().to_vec())
        }
        e => Err(Errno::from_raw(e)),
    }
}

// ---- sets of signals -------------------------------------------------------------------------------

fn set_of(signals: &[i32]) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the first call fills the set; the others change it, or nothing if there is no such signal.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        set.assume_init()
    }
}

/// The signals in a set, in ascending order.
fn signals_in(set: &libc::sigset_t) -> Vec<i32> {
    // SAFETY: a set, which is only read.
    (1..=64).filter(|signal| unsafe { libc::sigismember(set, *signal) } == 1).collect()
}

/// Changes the set of blocked signals, as `how` says; returns the signals that were blocked.
pub(crate) fn set_mask(how: i32, signals: &[i32]) -> Result<Vec<i32>, Errno> {
    let (set, mut old) = (set_of(signals), set_of(&[]));
    // SAFETY: two sets.
    match unsafe { libc::pthread_sigmask(how, &set, &mut old) } {
        0 => Ok(signals_in(&old)),
        e => Err(Errno::from_raw(e)),
    }
}

/// The signals that are pending and blocked.
pub(crate) fn held_back() -> Result<Vec<i32>, Errno> {
    let mut set = set_of(&[]);
    // SAFETY: a set, which is written.
    Errno::result(unsafe { libc::sigpending(&mut set) })?;
    Ok(signals_in(&set))
}

/// Waits for one of these signals, which this thread blocks, and takes it.
pub(crate) fn wait_for(signals: &[i32]) -> Result<i32, Errno> {
    let (set, mut signal) = (set_of(signals), 0);
    // SAFETY: a set, and a local variable for the number.
    match unsafe { libc::sigwait(&set, &mut signal) } {
        0 => Ok(signal),
        e => Err(Errno::from_raw(e)),
    }
}

/// As [`wait_for`], for a limited time; `None` if no signal has come.
pub(crate) fn wait_for_while(signals: &[i32], time: Duration) -> Result<Option<i32>, Errno> {
    let set = set_of(signals);
    let time = libc::timespec { tv_sec: time.as_secs() as _, tv_nsec: time.subsec_nanos().into() };
    // SAFETY: a set and a time, which are only read; further information is not requested.
    match Errno::result(unsafe { libc::sigtimedwait(&set, std::ptr::null_mut(), &time) }) {
        Ok(signal) => Ok(Some(signal)),
        // `sigwait` does not report other signals.
        Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Waits, with the given signals blocked, for a signal or until there is something to read from a descriptor.
pub(crate) fn suspend_until(fd: BorrowedFd<'_>, signals: &[i32]) -> Result<(), Errno> {
    let set = set_of(signals);
    let mut fds = [libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 }];
    // SAFETY: an array of one, which is written, no time limit, and a set, which is only read.
    Errno::result(unsafe { libc::ppoll(fds.as_mut_ptr(), 1, std::ptr::null(), &set) }).map(drop)
}

/// Waits for a signal, with the given signals blocked.
pub(crate) fn suspend(signals: &[i32]) -> Errno {
    let set = set_of(signals);
    // SAFETY: a set, which is only read.
    unsafe { libc::sigsuspend(&set) };
    Errno::last()
}

// ---- time ------------------------------------------------------------------------------------------

/// Sleeps. If a signal interrupts that, `left` is the remaining time.
pub(crate) fn sleep(left: &mut libc::timespec) -> Result<(), Errno> {
    let wanted = *left;
    // SAFETY: two times, the second of which is written.
    Errno::result(unsafe { libc::nanosleep(&wanted, left) }).map(drop)
}

/// An interval timer: its interval, then the time until it next expires; each in seconds and microseconds.
pub(crate) type Timer = [(i64, i64); 2];

fn timer_of(t: libc::itimerval) -> Timer {
    [t.it_interval, t.it_value].map(|t| (t.tv_sec, t.tv_usec))
}

/// Sets an interval timer; returns its previous setting.
pub(crate) fn set_timer(which: i32, timer: Timer) -> Result<Timer, Errno> {
    let [it_interval, it_value] = timer.map(|(tv_sec, tv_usec)| libc::timeval { tv_sec, tv_usec });
    let (new, mut old) =
        (libc::itimerval { it_interval, it_value }, libc::itimerval { it_interval, it_value });
    // SAFETY: two timers, the second of which is written.
    Errno::result(unsafe { libc::setitimer(which as _, &new, &mut old) })?;
    Ok(timer_of(old))
}

/// The current setting of an interval timer.
pub(crate) fn timer(which: i32) -> Result<Timer, Errno> {
    let zero = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let mut timer = libc::itimerval { it_interval: zero, it_value: zero };
    // SAFETY: a timer, which is written.
    Errno::result(unsafe { libc::getitimer(which as _, &mut timer) })?;
    Ok(timer_of(timer))
}

/// A date and time of day: seconds, minutes, hours, day, month, year, day of the week and of the year, and whether it
/// is daylight saving time, as in C's `struct tm`.
pub(crate) type Date = [i32; 9];

fn date_of(tm: &libc::tm) -> Date {
    let libc::tm { tm_sec, tm_min, tm_hour, tm_mday, tm_mon, tm_year, tm_wday, tm_yday, tm_isdst, .. } = *tm;
    [tm_sec, tm_min, tm_hour, tm_mday, tm_mon, tm_year, tm_wday, tm_yday, tm_isdst]
}

fn empty_tm() -> libc::tm {
    // SAFETY: numbers, and a pointer that may be null.
    unsafe { MaybeUninit::<libc::tm>::zeroed().assume_init() }
}

/// The date of a time, in UTC; `None` if the year is too large.
pub(crate) fn utc_date(time: i64) -> Result<Date, Errno> {
    let mut tm = empty_tm();
    // SAFETY: two local variables of the required types.
    let done = unsafe { !libc::gmtime_r(&time, &mut tm).is_null() };
    if done { Ok(date_of(&tm)) } else { Err(Errno::last()) }
}

// SAFETY: POSIX's declaration, in <time.h>.
unsafe extern "C" {
    fn tzset();
}

/// The date of a time, in the local time zone. Unlike C's `localtime`, `localtime_r` may not read `TZ` again.
pub(crate) fn local_date(time: i64, reads_zone: bool) -> Result<Date, Errno> {
    let mut tm = empty_tm();
    // SAFETY: two local variables of the required types.
    let done = unsafe {
        if reads_zone {
            tzset();
        }
        !libc::localtime_r(&time, &mut tm).is_null()
    };
    if done { Ok(date_of(&tm)) } else { Err(Errno::last()) }
}

/// The time of a local date, whose last three numbers are ignored, and the same date with all numbers corrected.
pub(crate) fn time_of_date(date: Date) -> Result<(i64, Date), Errno> {
    let mut tm = empty_tm();
    [tm.tm_sec, tm.tm_min, tm.tm_hour, tm.tm_mday, tm.tm_mon, tm.tm_year, ..] = date;
    tm.tm_isdst = -1;
    tm.tm_wday = -1;
    // SAFETY: a local variable of the required type.
    let time = unsafe { libc::mktime(&mut tm) };
    // Only a day of the week tells the second before 1970 from a failure.
    if time == -1 && tm.tm_wday == -1 { Err(Errno::last()) } else { Ok((time, date_of(&tm))) }
}
