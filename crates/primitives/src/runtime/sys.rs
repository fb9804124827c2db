//! Basic system calls (`sys.c`).

use std::ffi::{CString, OsStr};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::stat::Mode;
use nix::sys::time::TimeVal;
use spelter_interp::inspect::debugger::Stop;
use spelter_interp::{Kept, MAX_WOSIZE, Machine, Raise, Res, Slot, Val, fallible, prims};

use crate::UNIT;
use crate::boolean;

use crate::ffi;
use crate::io::channel::BUFFER_SIZE;
use crate::io::channels::Io;
use crate::io::errors::{strerror, sys_error};
use crate::io::primitives::is_terminal;
use crate::io::wait;

// ---- errors and paths ------------------------------------------------------------------------------

fn errno(e: &io::Error) -> Errno {
    Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO))
}

/// `Sys_error "name: message"`
pub(crate) fn named_error(name: &[u8], e: Errno) -> Raise {
    Raise::Sys([name, b": ", strerror(e).as_bytes()].concat())
}

/// A string that can be passed to C.
pub(crate) fn c_string(m: &Machine, s: Slot, otherwise: Errno) -> Result<CString, Raise> {
    let bytes = m.bytes(s)?;
    // The memory for copies: for C, for Rust, for the error.
    fallible::afford(bytes.len().saturating_mul(4))?;
    CString::new(bytes).map_err(|_| named_error(bytes, otherwise))
}

/// A string that can be a path.
pub(crate) fn path(m: &Machine, s: Slot) -> Result<CString, Raise> {
    c_string(m, s, Errno::ENOENT)
}

fn path_buf(p: &CString) -> PathBuf {
    OsStr::from_bytes(p.as_bytes()).into()
}

/// A system call on the path in a slot, with errors that name it.
fn on_path<T>(m: &mut Machine, s: Slot, f: impl FnOnce(PathBuf) -> io::Result<T> + Send) -> Result<T, Raise> {
    let p = path(m, s)?;
    let p_buf = path_buf(&p);
    m.blocking(|| f(p_buf))?.map_err(|e| named_error(p.as_bytes(), errno(&e)))
}

// ---- files -----------------------------------------------------------------------------------------

/// In the order of `open_flag`'s constructors in stdlib.ml. (Binary and text mode are the same.)
pub(crate) const OPEN_FLAGS: [OFlag; 9] = [
    OFlag::O_RDONLY,
    OFlag::O_WRONLY,
    OFlag::O_APPEND.union(OFlag::O_WRONLY),
    OFlag::O_CREAT,
    OFlag::O_TRUNC,
    OFlag::O_EXCL,
    OFlag::empty(),
    OFlag::empty(),
    OFlag::O_NONBLOCK,
];

fn sys_open(m: &mut Machine, [name, flags, perm]: [Slot; 3]) -> Res<'_> {
    let p = path(m, name)?;
    m.list_len(flags)?;
    let mut wanted = OFlag::O_CLOEXEC;
    let mut list = m.val(flags);
    while list.is_block() {
        let flag = list.field(0)?.int()?;
        wanted |= *OPEN_FLAGS.get(flag as usize).ok_or_else(Raise::bounds)?;
        list = list.field(1)?;
    }
    let mode = Mode::from_bits_truncate(m.int(perm)? as libc::mode_t);
    let fd: Result<OwnedFd, Errno> = wait::open(m, p.clone(), wanted, mode)?;
    let fd = fd.map_err(|e| named_error(p.as_bytes(), e))?;
    let number = m.ext::<Io>().fds.insert(fd);
    Ok(Val::from_int(number.into()))
}

fn sys_close(m: &mut Machine, [fd]: [Slot; 1]) -> Res<'_> {
    let fd = m.int(fd)? as i32;
    m.process_pending_actions()?;
    let taken = m.ext::<Io>().fds.take(fd);
    match taken.and_then(|taken| m.blocking_no_pending(|| taken.close())) {
        Err(e) if m.behaviour().close_reports_errors => Err(sys_error(e)),
        _ => Ok(UNIT),
    }
}

fn sys_file_exists(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    let Ok(p) = path(m, name) else { return Ok(boolean(false)) };
    let exists = m.blocking(|| std::fs::metadata(path_buf(&p)).is_ok())?;
    Ok(boolean(exists))
}

fn sys_is_directory(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    Ok(boolean(on_path(m, name, std::fs::metadata)?.is_dir()))
}

fn sys_is_regular_file(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    Ok(boolean(on_path(m, name, std::fs::metadata)?.is_file()))
}

fn sys_remove(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    on_path(m, name, std::fs::remove_file)?;
    Ok(UNIT)
}

fn sys_rename(m: &mut Machine, [old, new]: [Slot; 2]) -> Res<'_> {
    let (old, new) = (path(m, old)?, path(m, new)?);
    m.blocking(|| std::fs::rename(path_buf(&old), path_buf(&new)))?.map_err(|e| sys_error(errno(&e)))?;
    Ok(UNIT)
}

fn sys_chdir(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    on_path(m, name, std::env::set_current_dir)?;
    Ok(UNIT)
}

fn sys_mkdir(m: &mut Machine, [name, perm]: [Slot; 2]) -> Res<'_> {
    let mode = m.int(perm)? as u32;
    on_path(m, name, |p| std::fs::DirBuilder::new().mode(mode).create(p))?;
    Ok(UNIT)
}

fn sys_rmdir(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    on_path(m, name, std::fs::remove_dir)?;
    Ok(UNIT)
}

fn sys_getcwd(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    let cwd = std::env::current_dir().map_err(|e| sys_error(errno(&e)))?;
    m.new_string(cwd.as_os_str().as_bytes())
}

fn sys_read_directory(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    let names = on_path(m, name, |p| {
        // An error midway ends the list, as in C's `readdir` loop.
        let names = std::fs::read_dir(p)?.map_while(|e| Some(e.ok()?.file_name()));
        Ok(fallible::collect(names.map(|name| fallible::afford(name.len()).map(|()| name))))
    })?;
    let names = names?.into_iter().collect::<Result<Vec<_>, _>>()?;
    m.new_array(names, |m, name| m.new_string(name.as_bytes()))
}

fn sys_isatty(m: &mut Machine, [chan]: [Slot; 1]) -> Res<'_> {
    Ok(boolean(is_terminal(m, chan)?))
}

// ---- the process -----------------------------------------------------------------------------------

fn sys_exit(m: &mut Machine, [code]: [Slot; 1]) -> Res<'_> {
    let code = m.int(code)? as i32;
    crate::runtime::gc_ctrl::report_at_exit(m);
    crate::runtime::runtime_events::destroy(m);
    m.debug_stop(Stop::Exit)?;
    Err(Raise::Exit(code))
}

fn sys_getenv(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    let name = m.bytes(name)?;
    fallible::afford(name.len().saturating_mul(2))?;
    let value = std::env::var_os(OsStr::from_bytes(name)).ok_or(Raise::NotFound)?;
    m.new_string(&value.into_vec())
}

/// Unlike [`sys_getenv`], it need not raise for a variable that is not set.
fn sys_getenv_opt(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    match m.push(|m| sys_getenv(m, [name])) {
        Ok(value) => m.new_some(value),
        Err(Raise::NotFound) => Ok(Val::from_int(0)),
        Err(raise) => Err(raise),
    }
}

/// `Sys.argv`: one array, until the program replaces it.
#[derive(Default)]
struct Argv(Option<Kept>);

fn argv<'m>(m: &'m mut Machine) -> Res<'m> {
    let slot = match m.ext::<Argv>().0.take() {
        Some(kept) => {
            let slot = m.push_kept(&kept);
            m.ext::<Argv>().0 = Some(kept);
            slot
        }
        None => {
            m.reserve_kept(1)?;
            let args = m.params().argv.clone();
            let slot = m.push(|m| m.new_array(args, |m, arg| m.new_string(&arg)))?;
            let kept = m.keep(slot);
            m.ext::<Argv>().0 = Some(kept);
            slot
        }
    };
    Ok(m.val(slot))
}

fn sys_argv(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    argv(m)
}

fn sys_modify_argv(m: &mut Machine, [new]: [Slot; 1]) -> Res<'_> {
    m.reserve_kept(1)?;
    let kept = m.keep(new);
    m.ext::<Argv>().0 = Some(kept);
    Ok(UNIT)
}

fn sys_executable_name(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    let name = m.params().executable_name.clone();
    m.new_string(&name)
}

/// The runtime's own executable file, `Sys.runtime_executable`. A guest's runtime is part of its host, which is none.
fn sys_proc_self_exe(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    if !m.ext::<Io>().fds.owns_process {
        return Ok(Val::from_int(0));
    }
    let Ok(path) = std::env::current_exe() else { return Ok(Val::from_int(0)) };
    let path = m.push(|m| m.new_string(path.as_os_str().as_bytes()))?;
    m.new_some(path)
}

fn sys_get_argv(m: &mut Machine, unit: [Slot; 1]) -> Res<'_> {
    let name = m.push(|m| sys_executable_name(m, unit))?;
    let args = m.push(argv)?;
    m.new_block(0, &[name, args])
}

fn sys_system_command(m: &mut Machine, [command]: [Slot; 1]) -> Res<'_> {
    let command = c_string(m, command, Errno::EINVAL)?;
    let text = command.clone();
    let status = wait::elsewhere(m, move || ffi::sys::system(&text))?;
    let status = status.map_err(|e| named_error(command.as_bytes(), e))?;
    let code = if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 255 };
    Ok(Val::from_int(code.into()))
}

fn seconds(t: TimeVal) -> f64 {
    t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6
}

fn processor_time(who: UsageWho) -> f64 {
    getrusage(who).map_or(0.0, |u| seconds(u.user_time()) + seconds(u.system_time()))
}

fn sys_time(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    m.new_float(processor_time(UsageWho::RUSAGE_SELF))
}

fn sys_time_include_children(m: &mut Machine, [children]: [Slot; 1]) -> Res<'_> {
    let mut time = processor_time(UsageWho::RUSAGE_SELF);
    if m.bool(children) {
        time += processor_time(UsageWho::RUSAGE_CHILDREN);
    }
    m.new_float(time)
}

fn sys_random_seed(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    let mut bytes = [0; 12];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    let seed: Vec<i64> = match read {
        Ok(()) => bytes.iter().rev().map(|b| i64::from(*b)).collect(),
        // Not very random, but this is OCaml's fallback.
        Err(_) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let ids = [nix::unistd::getpid(), nix::unistd::getppid()].map(|p| i64::from(p.as_raw()));
            vec![now.subsec_micros().into(), now.as_secs() as i64, ids[0], ids[1]]
        }
    };
    m.new_array(seed, |_, i| Ok(Val::from_int(i)))
}

// ---- constants -------------------------------------------------------------------------------------

fn const_false(_: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    Ok(boolean(false))
}

fn const_true(_: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    Ok(boolean(true))
}

fn const_word_size(_: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    Ok(Val::from_int(64))
}

fn const_int_size(_: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    Ok(Val::from_int(63))
}

fn const_max_wosize(_: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    Ok(Val::from_int(MAX_WOSIZE as i64))
}

fn sys_io_buffer_size(_: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    Ok(Val::from_int(BUFFER_SIZE as i64))
}

/// Only Windows has a default directory for temporary files; elsewhere `Filename` looks at the environment.
fn sys_temp_dir_name(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    m.new_string(b"")
}

/// Only Windows has default directories for configurations.
fn xdg_defaults(_: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    Ok(Val::from_int(0))
}

/// `Sys.Bytecode`
fn const_backend_type(_: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    Ok(Val::from_int(1))
}

fn sys_get_config(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    let os_type = m.push(|m| m.new_string(b"Unix"))?;
    let word_size = m.push_int(64);
    let big_endian = m.push_int(0);
    m.new_block(0, &[os_type, word_size, big_endian])
}

prims! {
    "caml_sys_open" P3 sys_open,
    "caml_sys_close" P1 sys_close,
    "caml_sys_file_exists" P1 sys_file_exists,
    "caml_sys_is_directory" P1 sys_is_directory,
    "caml_sys_is_regular_file" P1 sys_is_regular_file => since(V5_1),
    "caml_sys_remove" P1 sys_remove,
    "caml_sys_rename" P2 sys_rename,
    "caml_sys_chdir" P1 sys_chdir,
    "caml_sys_mkdir" P2 sys_mkdir,
    "caml_sys_rmdir" P1 sys_rmdir,
    "caml_sys_getcwd" P1 sys_getcwd,
    "caml_sys_read_directory" P1 sys_read_directory,
    "caml_sys_isatty" P1 sys_isatty,
    "caml_sys_exit" P1 sys_exit,
    "caml_sys_getenv" P1 sys_getenv,
    "caml_sys_unsafe_getenv" P1 sys_getenv,
    "caml_sys_getenv_opt" P1 sys_getenv_opt => since(V5_4),
    "caml_sys_argv" P1 sys_argv,
    "caml_sys_get_argv" P1 sys_get_argv,
    "caml_sys_modify_argv" P1 sys_modify_argv,
    "caml_sys_executable_name" P1 sys_executable_name,
    "caml_sys_proc_self_exe" P1 sys_proc_self_exe => since(V5_5),
    "caml_sys_system_command" P1 sys_system_command,
    "caml_sys_time" P1 sys_time,
    "caml_sys_time_include_children" P1 sys_time_include_children,
    "caml_sys_random_seed" P1 sys_random_seed,
    "caml_sys_const_big_endian" P1 const_false,
    "caml_sys_const_word_size" P1 const_word_size,
    "caml_sys_const_int_size" P1 const_int_size,
    "caml_sys_const_max_wosize" P1 const_max_wosize,
    "caml_sys_const_ostype_unix" P1 const_true,
    "caml_sys_const_ostype_win32" P1 const_false,
    "caml_sys_const_ostype_cygwin" P1 const_false,
    "caml_sys_const_backend_type" P1 const_backend_type,
    "caml_sys_const_naked_pointers_checked" P1 const_false => before(V5_0),
    "caml_sys_io_buffer_size" P1 sys_io_buffer_size => since(V5_4),
    "caml_sys_temp_dir_name" P1 sys_temp_dir_name => since(V5_4),
    "caml_xdg_defaults" P1 xdg_defaults => since(V5_2),
    "caml_sys_get_config" P1 sys_get_config,
}
