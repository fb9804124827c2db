//! The primitives that act on what a host has given to a machine, instead of on the system. Without a gift, each raises
//! an error that names the grant, except where a program expects to find nothing: there is no such variable, no such
//! signal arrives.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use spelter_interp::{Machine, Prim, Raise, Res, Slot, Val, fallible};

use super::files;
use super::refused::{refuse, refused};
use super::unix;
use super::{Given, Now};
use crate::UNIT;
use crate::runtime::signals::record_signal_handler;

/// The substitute for a mediated primitive, by its name without `caml_`.
pub(super) fn of(name: &str) -> Prim {
    match name {
        "sys_open" => Prim::P3(files::open),
        "sys_file_exists" => Prim::P1(files::file_exists),
        "sys_is_directory" => Prim::P1(files::is_directory),
        "sys_is_regular_file" => Prim::P1(files::is_regular_file),
        "sys_remove" => Prim::P1(files::remove),
        "sys_rename" => Prim::P2(files::rename),
        "sys_chdir" => Prim::P1(files::chdir),
        "sys_mkdir" => Prim::P2(files::mkdir),
        "sys_rmdir" => Prim::P1(files::rmdir),
        "sys_getcwd" => Prim::P1(files::getcwd),
        "sys_read_directory" => Prim::P1(files::read_directory),
        "unix_open" => Prim::P3(unix::open),
        "unix_opendir" => Prim::P1(unix::opendir),
        "unix_stat" => Prim::P1(unix::stat),
        "unix_stat_64" => Prim::P1(unix::stat_64),
        "unix_lstat" => Prim::P1(unix::lstat),
        "unix_lstat_64" => Prim::P1(unix::lstat_64),
        "unix_access" => Prim::P2(unix::access),
        "unix_readlink" => Prim::P1(unix::readlink),
        "unix_realpath" => Prim::P1(unix::realpath),
        "unix_unlink" => Prim::P1(unix::unlink),
        "unix_rename" => Prim::P2(unix::rename),
        "unix_mkdir" => Prim::P2(unix::mkdir),
        "unix_rmdir" => Prim::P1(unix::rmdir),
        "unix_chmod" => Prim::P2(unix::chmod),
        "unix_utimes" => Prim::P3(unix::utimes),
        "unix_truncate" => Prim::P2(unix::truncate),
        "unix_truncate_64" => Prim::P2(unix::truncate_64),
        "unix_link" => Prim::P3(unix::link),
        "unix_symlink" => Prim::P3(unix::symlink),
        "unix_has_symlink" => Prim::P1(unix::has_symlink),
        "unix_chdir" => Prim::P1(unix::chdir),
        "unix_getcwd" => Prim::P1(files::getcwd),
        "sys_getenv" | "sys_unsafe_getenv" => Prim::P1(getenv),
        "sys_getenv_opt" => Prim::P1(getenv_opt),
        "unix_environment" | "unix_environment_unsafe" => Prim::P1(environment),
        "sys_time" | "sys_time_include_children" => Prim::P1(elapsed),
        "unix_time" => Prim::P1(whole_seconds),
        "unix_gettimeofday" => Prim::P1(time_of_day),
        "sys_random_seed" => Prim::P1(random_seed),
        "install_signal_handler" => Prim::P2(record_signal_handler),
        "recommended_domain_count" => Prim::P1(one_domain),
        "set_current_thread_name" => Prim::P1(name_no_thread),
        "sys_proc_self_exe" => Prim::P1(no_executable),
        "dynlink_parse_ld_conf" => Prim::P1(no_directories),
        "sys_get_stdlib_dirs" => Prim::P1(stdlib_dirs),
        _ => Prim::Pn(refused),
    }
}

// ---- the environment -------------------------------------------------------------------------------

fn getenv(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    let name = fallible::to_vec(m.bytes(name)?)?;
    let value = m.ext::<Given>().variables.get(&name).cloned().ok_or(Raise::NotFound)?;
    m.new_string(&value)
}

fn getenv_opt(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    match m.push(|m| getenv(m, [name])) {
        Ok(value) => m.new_some(value),
        Err(Raise::NotFound) => Ok(Val::from_int(0)),
        Err(raise) => Err(raise),
    }
}

fn environment(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    let variables = m.ext::<Given>().variables.iter();
    let variables = variables.map(|(name, value)| [name, b"=".as_slice(), value].concat());
    let variables: Vec<Vec<u8>> = variables.collect();
    m.new_array(variables, |m, variable| m.new_string(&variable))
}

// ---- time and chance -------------------------------------------------------------------------------

fn now(m: &mut Machine) -> Result<SystemTime, Raise> {
    match &m.ext::<Given>().clock {
        Some(Now(clock)) => Ok(clock()),
        None => Err(refuse(m, "World::clock")),
    }
}

fn since_1970(m: &mut Machine) -> Result<Duration, Raise> {
    Ok(now(m)?.duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Processor time is not a guest's own: it gets the time since it first asked.
fn elapsed(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    let now = now(m)?;
    let first = *m.ext::<Given>().first_asked.get_or_insert(now);
    m.new_float(now.duration_since(first).unwrap_or_default().as_secs_f64())
}

fn whole_seconds(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    let now = since_1970(m)?;
    m.new_float(now.as_secs() as f64)
}

fn time_of_day(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    let now = since_1970(m)?;
    m.new_float(now.as_secs() as f64 + f64::from(now.subsec_micros()) / 1e6)
}

/// Twelve numbers of a byte, as of the system's source: SplitMix64 from the host's seed.
fn random_seed(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    let Some(state) = &mut m.ext::<Given>().seed else { return Err(refuse(m, "World::seed")) };
    let bytes: [u8; 12] = std::array::from_fn(|_| {
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)).to_be_bytes()[0]
    });
    m.new_array(bytes.to_vec(), |_, byte| Ok(Val::from_int(byte.into())))
}

// ---- what a guest does not have --------------------------------------------------------------------

/// Domains take turns; the number of processors is the system's.
fn one_domain(_: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    Ok(Val::from_int(1))
}

fn name_no_thread(_: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    Ok(UNIT)
}

fn no_executable(_: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    Ok(Val::from_int(0))
}

fn no_directories(_: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    Ok(Val::from_int(0))
}

/// The directory as it is given, wherever that is.
fn stdlib_dirs(m: &mut Machine, [default]: [Slot; 1]) -> Res<'_> {
    let none = m.push_int(0);
    m.new_block(0, &[default, none])
}
