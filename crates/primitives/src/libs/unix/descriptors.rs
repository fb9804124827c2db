//! Descriptors themselves (`dup.c`, `dup2.c`, `fcntl.c`, `pipe.c`, `lockf.c`, `isatty.c`, `fchmod.c`, `fchown.c`), and channels
//! on them (`channels.c`).

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::libc;
use nix::sys::stat::{Mode, fchmod as sys_fchmod, fstat};
use nix::unistd;
use spelter_interp::{Machine, Raise, Res, Slot, Val, prims};

use super::args::{cloexec, fd, file, find_fd, int, option_bool};
use super::errors::{block, check, unix_error};
use super::names::owners;
use crate::UNIT;
use crate::boolean;
use crate::ffi;
use crate::io::channels::Io;
use crate::io::fds::{Fd, File};
use crate::io::primitives;
use crate::io::wait;

fn dup(m: &mut Machine, [keep, f]: [Slot; 2]) -> Res<'_> {
    let (from, cloexec) = (int(m, f)?, cloexec(m, keep)?);
    let outcome = m.ext::<Io>().fds.dup(from, cloexec);
    let number = check(m, "dup", None, outcome)?;
    Ok(Val::from_int(number.into()))
}

fn dup2(m: &mut Machine, [keep, from, to]: [Slot; 3]) -> Res<'_> {
    let wanted = option_bool(m, keep)?;
    let (old, new) = (int(m, from)?, int(m, to)?);
    if old != new {
        let outcome = m.ext::<Io>().fds.dup_onto(old, new, wanted.unwrap_or(false));
        check(m, "dup2", None, outcome)?;
    } else if let Some(wanted) = wanted {
        set_flag(m, to, wanted, "dup2")?;
    }
    Ok(UNIT)
}

fn set_flag(m: &mut Machine, f: Slot, cloexec: bool, call: &str) -> Result<(), Raise> {
    let fd = match file(m, f, call)? {
        File::System(fd) => fd,
        // No other program gets it.
        File::Memory(_) if cloexec => return Ok(()),
        File::Memory(_) => return Err(unix_error(m, Errno::EINVAL, call, None)),
    };
    let outcome = fcntl(&fd, FcntlArg::F_GETFD).and_then(|flags| {
        let mut flags = FdFlag::from_bits_retain(flags);
        flags.set(FdFlag::FD_CLOEXEC, cloexec);
        fcntl(&fd, FcntlArg::F_SETFD(flags))
    });
    check(m, call, None, outcome).map(drop)
}

fn set_close_on_exec(m: &mut Machine, [f]: [Slot; 1]) -> Res<'_> {
    set_flag(m, f, true, "set_close_on_exec")?;
    Ok(UNIT)
}

/// Errors name the other function, as in OCaml.
fn clear_close_on_exec(m: &mut Machine, [f]: [Slot; 1]) -> Res<'_> {
    set_flag(m, f, false, "set_close_on_exec")?;
    Ok(UNIT)
}

fn set_mode(m: &mut Machine, f: Slot, nonblock: bool, call: &str) -> Result<(), Raise> {
    // What the system does not know does not wait.
    let File::System(fd) = file(m, f, call)? else { return Ok(()) };
    let outcome = fcntl(&fd, FcntlArg::F_GETFL).and_then(|flags| {
        let mut flags = OFlag::from_bits_retain(flags);
        flags.set(OFlag::O_NONBLOCK, nonblock);
        fcntl(&fd, FcntlArg::F_SETFL(flags))
    });
    check(m, call, None, outcome).map(drop)
}

fn set_nonblock(m: &mut Machine, [f]: [Slot; 1]) -> Res<'_> {
    set_mode(m, f, true, "set_nonblock")?;
    Ok(UNIT)
}

fn clear_nonblock(m: &mut Machine, [f]: [Slot; 1]) -> Res<'_> {
    set_mode(m, f, false, "clear_nonblock")?;
    Ok(UNIT)
}

fn pipe(m: &mut Machine, [keep, _]: [Slot; 2]) -> Res<'_> {
    let flags = if cloexec(m, keep)? { OFlag::O_CLOEXEC } else { OFlag::empty() };
    let (r, w) = check(m, "pipe", None, unistd::pipe2(flags))?;
    new_pair(m, [r, w])
}

/// Two new descriptors, as a pair of numbers.
pub(super) fn new_pair(m: &mut Machine, ends: [std::os::fd::OwnedFd; 2]) -> Res<'_> {
    let [one, two] = ends.map(|fd| m.ext::<Io>().fds.insert(fd));
    let pair = [one, two].map(|number| m.push_int(number.into()));
    m.new_block(0, &pair)
}

fn isatty(m: &mut Machine, [f]: [Slot; 1]) -> Res<'_> {
    let terminal = find_fd(m, f)?.is_ok_and(|fd| unistd::isatty(fd).unwrap_or(false));
    Ok(boolean(terminal))
}

fn fchmod(m: &mut Machine, [f, perm]: [Slot; 2]) -> Res<'_> {
    let fd = fd(m, f, "fchmod")?;
    let mode = Mode::from_bits_retain(int(m, perm)? as libc::mode_t);
    block(m, "fchmod", None, || sys_fchmod(fd, mode))?;
    Ok(UNIT)
}

fn fchown(m: &mut Machine, [f, uid, gid]: [Slot; 3]) -> Res<'_> {
    let fd = fd(m, f, "fchown")?;
    let (uid, gid) = owners(m, uid, gid)?;
    block(m, "fchown", None, || unistd::fchown(fd, uid, gid))?;
    Ok(UNIT)
}

// ---- locks -----------------------------------------------------------------------------------------

/// The lock of this kind on `span` bytes from the current position, or before it if negative.
fn lock(kind: i32, span: i64) -> libc::flock {
    let (start, len) = if span < 0 { (span, span.wrapping_neg()) } else { (0, span) };
    libc::flock { l_type: kind as i16, l_whence: libc::SEEK_CUR as i16, l_start: start, l_len: len, l_pid: 0 }
}

/// Checks whether a lock of another process conflicts with this one.
fn test_lock(fd: Fd, mut wanted: libc::flock) -> Result<i32, Errno> {
    fcntl(fd, FcntlArg::F_GETLK(&mut wanted))?;
    if i32::from(wanted.l_type) == libc::F_UNLCK { Ok(0) } else { Err(Errno::EACCES) }
}

/// Waits for a lock. If the wait can be interrupted, deadlocks are not detected.
fn take_lock(m: &mut Machine, fd: Fd, wanted: libc::flock) -> Result<Result<i32, Errno>, Raise> {
    let outcome = wait::blocking(m, |waiter| {
        let attempt = || match fcntl(&fd, FcntlArg::F_SETLK(&wanted)) {
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(None),
            outcome => outcome.map(Some),
        };
        waiter.try_until(attempt, || fcntl(&fd, FcntlArg::F_SETLKW(&wanted)))
    })?;
    if outcome == Err(Errno::EINTR) {
        m.check_interrupt()?;
    }
    Ok(outcome)
}

fn lockf(m: &mut Machine, [f, command, span]: [Slot; 3]) -> Res<'_> {
    let span = m.int(span)?;
    let (write, read) = (lock(libc::F_WRLCK, span), lock(libc::F_RDLCK, span));
    let command = int(m, command)?;
    let fd = fd(m, f, "lockf")?;
    let outcome = match command {
        0 => fcntl(fd, FcntlArg::F_SETLK(&lock(libc::F_UNLCK, span))),
        1 => take_lock(m, fd, write)?,
        2 => fcntl(fd, FcntlArg::F_SETLK(&write)),
        3 => test_lock(fd, write),
        4 => take_lock(m, fd, read)?,
        5 => fcntl(fd, FcntlArg::F_SETLK(&read)),
        _ => Err(Errno::EINVAL),
    };
    check(m, "lockf", None, outcome)?;
    Ok(UNIT)
}

// ---- channels --------------------------------------------------------------------------------------

/// Checks that the descriptor is a stream of bytes, as channels require.
fn is_stream(fd: Fd) -> Result<(), Errno> {
    match fstat(&fd)?.st_mode & libc::S_IFMT {
        libc::S_IFREG | libc::S_IFCHR | libc::S_IFIFO => Ok(()),
        libc::S_IFSOCK => match ffi::net::option::<i32>(&fd, libc::SOL_SOCKET, libc::SO_TYPE)? {
            libc::SOCK_STREAM => Ok(()),
            _ => Err(Errno::EINVAL),
        },
        _ => Err(Errno::EINVAL),
    }
}

fn check_stream(m: &mut Machine, f: Slot, call: &str) -> Result<(), Raise> {
    let number = int(m, f)?;
    let found = m.ext::<Io>().fds.file(number);
    let outcome = m.blocking(|| match found? {
        File::System(fd) => is_stream(fd),
        File::Memory(_) => Ok(()),
    })?;
    outcome.map_err(|e| unix_error(m, e, call, None))
}

fn in_channel_of_descr(m: &mut Machine, [f]: [Slot; 1]) -> Res<'_> {
    check_stream(m, f, "in_channel_of_descr")?;
    primitives::open_descriptor_in(m, [f])
}

fn out_channel_of_descr(m: &mut Machine, [f]: [Slot; 1]) -> Res<'_> {
    check_stream(m, f, "out_channel_of_descr")?;
    primitives::open_descriptor_out(m, [f])
}

prims! {
    since(V5_0) with "caml_" {
        "unix_dup" P2 dup,
        "unix_dup2" P3 dup2,
        "unix_set_close_on_exec" P1 set_close_on_exec,
        "unix_clear_close_on_exec" P1 clear_close_on_exec,
        "unix_set_nonblock" P1 set_nonblock,
        "unix_clear_nonblock" P1 clear_nonblock,
        "unix_pipe" P2 pipe,
        "unix_isatty" P1 isatty,
        "unix_fchmod" P2 fchmod,
        "unix_fchown" P3 fchown,
        "unix_lockf" P3 lockf,
        "unix_inchannel_of_filedescr" P1 in_channel_of_descr,
        "unix_outchannel_of_filedescr" P1 out_channel_of_descr,
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs::File;
    use std::time::{Duration, Instant};

    use super::*;

    /// A lock of another owner on a file, for which the guest would wait forever.
    #[test]
    fn an_interrupt_ends_the_wait_for_a_lock() {
        let path = std::env::temp_dir().join(format!("spelter-lockf-{}", std::process::id()));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        // A lock of this kind belongs to the open file, and conflicts with the process's own locks.
        fcntl(&file, FcntlArg::F_OFD_SETLK(&lock(libc::F_WRLCK, 0))).unwrap();
        let mut m = Machine::new(spelter_interp::Settings::default());
        crate::install(&mut m);
        let own = File::options().read(true).write(true).open(&path).unwrap();
        let number = m.ext::<Io>().fds.insert(own.into());
        let (f, zero) = (m.push_int(number.into()), m.push_int(0));
        for command in [1, 4] {
            let command = m.push_int(command);
            let _call = m.begin_call();
            let handle = m.interrupt_handle();
            let began = Instant::now();
            let watchdog = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(30));
                assert!(handle.interrupt());
            });
            let outcome = lockf(&mut m, [f, command, zero]).map(drop);
            assert_eq!(outcome, Err(Raise::Interrupted));
            assert!(began.elapsed() >= Duration::from_millis(30), "it did not wait");
            watchdog.join().unwrap();
        }
        std::fs::remove_file(&path).unwrap();
    }
}
