//! Information about files (`stat.c`).

use std::ffi::CStr;

use nix::errno::Errno;
use nix::libc;
use nix::sys::stat::{FileStat, fstat, lstat, stat};
use spelter_interp::{Machine, Raise, Res, Slot, prims};

use super::args::{fd, path};
use super::errors::{block, unix_error};
use super::files::MAX_INT;

/// In the order of `Unix.file_kind`'s constructors.
const KINDS: [libc::mode_t; 7] = [
    libc::S_IFREG,
    libc::S_IFDIR,
    libc::S_IFCHR,
    libc::S_IFBLK,
    libc::S_IFLNK,
    libc::S_IFIFO,
    libc::S_IFSOCK,
];

/// A time in seconds, never rounded up to the next whole one.
fn timestamp(seconds: i64, nanoseconds: i64) -> f64 {
    let s = seconds as f64;
    let t = s + nanoseconds as f64 / 1e9;
    if t == s + 1.0 { t.next_down() } else { t }
}

/// The record, with the size as an `int` or, if `wide`, as an `int64`.
fn new_stats(m: &mut Machine, st: FileStat, wide: bool) -> Res<'_> {
    let times = [
        timestamp(st.st_atime, st.st_atime_nsec),
        timestamp(st.st_mtime, st.st_mtime_nsec),
        timestamp(st.st_ctime, st.st_ctime_nsec),
    ];
    let [atime, mtime, ctime] = times.map(|t| m.push(|m| m.new_float(t)));
    let size = match wide {
        true => m.push(|m| m.new_int64(st.st_size))?,
        false => m.push_int(st.st_size),
    };
    let kind = KINDS.iter().position(|kind| *kind == st.st_mode & libc::S_IFMT).unwrap_or(0);
    let ints = [
        st.st_dev as i64,
        st.st_ino as i64,
        kind as i64,
        i64::from(st.st_mode & 0o7777),
        st.st_nlink as i64,
        st.st_uid.into(),
        st.st_gid.into(),
        st.st_rdev as i64,
    ];
    let [dev, ino, kind, perm, nlink, uid, gid, rdev] = ints.map(|i| m.push_int(i));
    m.new_block(0, &[dev, ino, kind, perm, nlink, uid, gid, rdev, size, atime?, mtime?, ctime?])
}

/// For regular files, a size that does not fit into an `int` is an error.
fn narrow<'m>(m: &'m mut Machine, st: FileStat, call: &str, arg: Option<Slot>) -> Res<'m> {
    if st.st_size > MAX_INT && st.st_mode & libc::S_IFMT == libc::S_IFREG {
        return Err(unix_error(m, Errno::EOVERFLOW, call, arg));
    }
    new_stats(m, st, false)
}

fn of_path(
    m: &mut Machine,
    name: Slot,
    call: &str,
    f: fn(&CStr) -> Result<FileStat, Errno>,
) -> Result<FileStat, Raise> {
    let p = path(m, name, call)?;
    block(m, call, Some(name), || f(&p))
}

fn of_fd(m: &mut Machine, f: Slot) -> Result<FileStat, Raise> {
    let fd = fd(m, f, "fstat")?;
    block(m, "fstat", None, || fstat(fd))
}

fn unix_stat(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    let st = of_path(m, name, "stat", stat)?;
    narrow(m, st, "stat", Some(name))
}

fn unix_lstat(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    let st = of_path(m, name, "lstat", lstat)?;
    narrow(m, st, "lstat", Some(name))
}

fn unix_fstat(m: &mut Machine, [f]: [Slot; 1]) -> Res<'_> {
    let st = of_fd(m, f)?;
    narrow(m, st, "fstat", None)
}

fn stat_64(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    let st = of_path(m, name, "stat", stat)?;
    new_stats(m, st, true)
}

fn lstat_64(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    let st = of_path(m, name, "lstat", lstat)?;
    new_stats(m, st, true)
}

fn fstat_64(m: &mut Machine, [f]: [Slot; 1]) -> Res<'_> {
    let st = of_fd(m, f)?;
    new_stats(m, st, true)
}

prims! {
    since(V5_0) with "caml_" {
        "unix_stat" P1 unix_stat,
        "unix_lstat" P1 unix_lstat,
        "unix_fstat" P1 unix_fstat,
        "unix_stat_64" P1 stat_64,
        "unix_lstat_64" P1 lstat_64,
        "unix_fstat_64" P1 fstat_64,
    }
}
