//! Processes (`fork.c`, `execv.c`, `execve.c`, `execvp.c`, `spawn.c`, `wait.c`, `exit.c`, `nice.c`, `setsid.c`,
//! `getpid.c`, `getppid.c`).

use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use nix::errno::Errno;
use nix::libc;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, posix_spawn, posix_spawnp};
use nix::unistd::{self, Pid};
use spelter_interp::{Machine, Raise, Res, Slot, Val, prims};

use super::args::{c_strings, flags, int, need_process, path};
use super::environment::variables;
use super::errors::{check, unix_error, wait as wait_for};
use crate::ffi;
use crate::io::channels::Io;
use crate::io::fds::Fd;
use crate::libs::threads;
use crate::runtime::runtime_events;
use crate::runtime::runtime_events::names::Lifecycle;

fn fork(m: &mut Machine, [_]: [Slot; 1]) -> Res<'_> {
    need_process(m, "fork", None)?;
    if m.domains_ever_spawned() {
        return Err(Raise::failure(m.behaviour().no_fork));
    }
    let child = check(m, "fork", None, ffi::process::fork())?;
    if child == 0 {
        threads::after_fork(m);
        runtime_events::after_fork_in_child(m)?;
    } else {
        runtime_events::lifecycle(m, Lifecycle::ForkParent, child.into());
    }
    m.debugger_after_fork(child == 0);
    Ok(Val::from_int(child.into()))
}

// ---- running programs ------------------------------------------------------------------------------

/// `execve`, or a variant: a path, arguments, an environment.
type Exec = fn(&CString, &[CString], &[CString]) -> Result<Infallible, Errno>;

/// Replaces this program with another; returns only on error.
fn exec<'m>(
    m: &'m mut Machine,
    call: &str,
    [program, args]: [Slot; 2],
    env: Option<Slot>,
    f: Exec,
) -> Res<'m> {
    need_process(m, call, Some(program))?;
    let p = path(m, program, call)?;
    let args = c_strings(m, args, call)?;
    let env = env.map(|env| c_strings(m, env, call)).transpose()?.unwrap_or_default();
    let Err(e) = f(&p, &args, &env);
    Err(unix_error(m, e, call, Some(program)))
}

fn execv(m: &mut Machine, [program, args]: [Slot; 2]) -> Res<'_> {
    exec(m, "execv", [program, args], None, |p, args, _| unistd::execv(p, args))
}

fn execve(m: &mut Machine, [program, args, env]: [Slot; 3]) -> Res<'_> {
    exec(m, "execve", [program, args], Some(env), |p, args, env| unistd::execve(p, args, env))
}

fn execvp(m: &mut Machine, [program, args]: [Slot; 2]) -> Res<'_> {
    exec(m, "execvp", [program, args], None, |p, args, _| unistd::execvp(p, args))
}

fn execvpe(m: &mut Machine, [program, args, env]: [Slot; 3]) -> Res<'_> {
    exec(m, "execvpe", [program, args], Some(env), |p, args, env| unistd::execvpe(p, args, env))
}

/// The first actions of a new process: `sources` become its descriptors 0, 1 and 2, and are closed after their last
/// use.
fn redirections(sources: [RawFd; 3]) -> Result<PosixSpawnFileActions, Errno> {
    let mut actions = PosixSpawnFileActions::init()?;
    for (to, from) in (0..).zip(sources) {
        if from != to {
            actions.add_dup2(from, to)?;
            if !sources[to as usize + 1..].contains(&from) {
                actions.add_close(from)?;
            }
        }
    }
    Ok(actions)
}

fn spawn(m: &mut Machine, [program, args, env, in_path, redirect]: [Slot; 5]) -> Res<'_> {
    const CALL: &str = "create_process";
    let p = path(m, program, CALL)?;
    let args = c_strings(m, args, CALL)?;
    let env = match m.val(env).is_block() {
        true => {
            let env = m.push_field(env, 0)?;
            c_strings(m, env, CALL)?
        }
        false => variables().filter_map(|variable| CString::new(variable).ok()).collect(),
    };
    let in_path = m.bool(in_path);
    let mut sources = [0; 3];
    for (i, source) in sources.iter_mut().enumerate() {
        *source = m.val(redirect).field(i)?.int()? as i32;
    }
    let fds = sources.map(|number| m.ext::<Io>().fds.get(number));
    let spawn = || {
        let [r, w, e] = fds;
        let fds: [Fd; 3] = [r?, w?, e?];
        let actions = redirections([&fds[0], &fds[1], &fds[2]].map(|fd| fd.as_fd().as_raw_fd()))?;
        let attributes = PosixSpawnAttr::init()?;
        match in_path {
            true => posix_spawnp(&p, &actions, &attributes, &args, &env),
            false => posix_spawn(p.as_c_str(), &actions, &attributes, &args, &env),
        }
    };
    let child: Pid = check(m, CALL, Some(program), spawn())?;
    Ok(Val::from_int(child.as_raw().into()))
}

// ---- waiting ---------------------------------------------------------------------------------------

/// `(pid, status)`
fn new_status(m: &mut Machine, (pid, status): (i32, i32)) -> Res<'_> {
    const WEXITED: u8 = 0;
    const WSIGNALED: u8 = 1;
    const WSTOPPED: u8 = 2;
    let (tag, number) = if libc::WIFEXITED(status) {
        (WEXITED, libc::WEXITSTATUS(status).into())
    } else if libc::WIFSTOPPED(status) {
        (WSTOPPED, m.ocaml_signal(libc::WSTOPSIG(status)))
    } else {
        (WSIGNALED, m.ocaml_signal(libc::WTERMSIG(status)))
    };
    let pid = m.push_int(pid.into());
    let number = m.push_int(number);
    let status = m.push(|m| m.new_block(tag, &[number]))?;
    m.new_block(0, &[pid, status])
}

/// The number and the status of a child, from `waitpid`.
fn child(m: &mut Machine, call: &str, pid: i32, how: i32) -> Result<(i32, i32), Raise> {
    let there = |pid: i32, status: i32| (pid != 0 || how & libc::WNOHANG != 0).then_some((pid, status));
    wait_for(m, call, None, |waiter| {
        waiter.try_until(
            || ffi::process::waitpid(pid, how | libc::WNOHANG).map(|(pid, status)| there(pid, status)),
            || ffi::process::waitpid(pid, how),
        )
    })
}

fn wait(m: &mut Machine, [_]: [Slot; 1]) -> Res<'_> {
    let child = child(m, "wait", -1, 0)?;
    new_status(m, child)
}

/// In the order of `Unix.wait_flag`'s constructors.
const WAIT_FLAGS: [i32; 2] = [libc::WNOHANG, libc::WUNTRACED];

fn waitpid(m: &mut Machine, [how, pid]: [Slot; 2]) -> Res<'_> {
    let (how, pid) = (flags(m, how, &WAIT_FLAGS)?, int(m, pid)?);
    let child = child(m, "waitpid", pid, how)?;
    new_status(m, child)
}

// ---- this process ----------------------------------------------------------------------------------

fn exit(m: &mut Machine, [code]: [Slot; 1]) -> Res<'_> {
    need_process(m, "_exit", None)?;
    ffi::process::exit_now(int(m, code)?)
}

fn getpid(_: &mut Machine, [_]: [Slot; 1]) -> Res<'_> {
    Ok(Val::from_int(unistd::getpid().as_raw().into()))
}

fn getppid(_: &mut Machine, [_]: [Slot; 1]) -> Res<'_> {
    Ok(Val::from_int(unistd::getppid().as_raw().into()))
}

fn nice(m: &mut Machine, [by]: [Slot; 1]) -> Res<'_> {
    let outcome = ffi::process::nice(int(m, by)?);
    let niceness = check(m, "nice", None, outcome)?;
    Ok(Val::from_int(niceness.into()))
}

fn setsid(m: &mut Machine, [_]: [Slot; 1]) -> Res<'_> {
    let session = check(m, "setsid", None, unistd::setsid())?;
    Ok(Val::from_int(session.as_raw().into()))
}

prims! {
    since(V5_0) with "caml_" {
        "unix_fork" P1 fork,
        "unix_execv" P2 execv,
        "unix_execve" P3 execve,
        "unix_execvp" P2 execvp,
        "unix_execvpe" P3 execvpe,
        "unix_spawn" P5 spawn,
        "unix_wait" P1 wait,
        "unix_waitpid" P2 waitpid,
        "unix_exit" P1 exit,
        "unix_getpid" P1 getpid,
        "unix_getppid" P1 getppid,
        "unix_nice" P1 nice,
        "unix_setsid" P1 setsid,
    }
}
