//! Information about files (`stat.c`).

use std::ffi::CStr;

use nix::errno::Errno;
use nix::libc;
use nix::sys::stat::{FileStat, fstat, lstat, stat};
use spelter_interp::{Machine, Raise, Res, Slot, prims};

use super::args::{file, path};
use super::errors::{block, in_memory, unix_error};
use super::files::MAX_INT;
use crate::io::fds::File;

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

/// What is known of a file.
#[derive(Clone, Copy, Default)]
pub(crate) struct Stats {
    pub(crate) dev: u64,
    pub(crate) ino: u64,
    pub(crate) mode: u32,
    pub(crate) nlink: u64,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) rdev: u64,
    pub(crate) size: i64,
    /// The times of the last access, modification and change: seconds and nanoseconds.
    pub(crate) times: [(i64, i64); 3],
}

impl From<FileStat> for Stats {
    fn from(st: FileStat) -> Stats {
        Stats {
            dev: st.st_dev,
            ino: st.st_ino,
            mode: st.st_mode,
            nlink: st.st_nlink,
            uid: st.st_uid,
            gid: st.st_gid,
            rdev: st.st_rdev,
            size: st.st_size,
            times: [
                (st.st_atime, st.st_atime_nsec),
                (st.st_mtime, st.st_mtime_nsec),
                (st.st_ctime, st.st_ctime_nsec),
            ],
        }
    }
}

/// The record, with the size as an `int` or, if `wide`, as an `int64`.
fn new_stats(m: &mut Machine, st: Stats, wide: bool) -> Res<'_> {
    let [atime, mtime, ctime] =
        st.times.map(|(seconds, nanoseconds)| m.push(|m| m.new_float(timestamp(seconds, nanoseconds))));
    let size = match wide {
        true => m.push(|m| m.new_int64(st.size))?,
        false => m.push_int(st.size),
    };
    let kind = KINDS.iter().position(|kind| *kind == st.mode & libc::S_IFMT).unwrap_or(0);
    let ints = [
        st.dev as i64,
        st.ino as i64,
        kind as i64,
        i64::from(st.mode & 0o7777),
        st.nlink as i64,
        st.uid.into(),
        st.gid.into(),
        st.rdev as i64,
    ];
    let [dev, ino, kind, perm, nlink, uid, gid, rdev] = ints.map(|i| m.push_int(i));
    m.new_block(0, &[dev, ino, kind, perm, nlink, uid, gid, rdev, size, atime?, mtime?, ctime?])
}

/// For regular files, a size that does not fit into an `int` is an error.
pub(crate) fn narrow<'m>(m: &'m mut Machine, st: Stats, call: &str, arg: Option<Slot>) -> Res<'m> {
    if st.size > MAX_INT && st.mode & libc::S_IFMT == libc::S_IFREG {
        return Err(unix_error(m, Errno::EOVERFLOW, call, arg));
    }
    new_stats(m, st, false)
}

/// The record with the size as an `int64`.
pub(crate) fn wide(m: &mut Machine, st: Stats) -> Res<'_> {
    new_stats(m, st, true)
}

fn of_path(
    m: &mut Machine,
    name: Slot,
    call: &str,
    f: fn(&CStr) -> Result<FileStat, Errno>,
) -> Result<Stats, Raise> {
    let p = path(m, name, call)?;
    block(m, call, Some(name), || f(&p)).map(Stats::from)
}

fn of_fd(m: &mut Machine, f: Slot) -> Result<Stats, Raise> {
    match file(m, f, "fstat")? {
        File::System(fd) => block(m, "fstat", None, || fstat(fd)).map(Stats::from),
        File::Memory(memory) => in_memory(m, "fstat", || memory.stats()),
    }
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
    wide(m, st)
}

fn lstat_64(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    let st = of_path(m, name, "lstat", lstat)?;
    wide(m, st)
}

fn fstat_64(m: &mut Machine, [f]: [Slot; 1]) -> Res<'_> {
    let st = of_fd(m, f)?;
    wide(m, st)
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
