//! The calls of `unix` on files by their names, on what the host has given: the same rules as for `Sys`, with the errors
//! of `unix`. What was not given does not exist.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cap_std::fs::{Dir, DirBuilder, DirBuilderExt, Metadata, MetadataExt, OpenOptions, OpenOptionsExt};
use cap_std::fs::{Permissions, PermissionsExt};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::stat::futimens;
use nix::sys::time::TimeSpec;
use nix::unistd::{getegid, geteuid};
use spelter_interp::{Machine, Raise, Res, Slot, Val};

use super::files::{self, PERMISSIONS, Place, ino, lead};
use super::memory_dir::{Kind, MemoryDir};
use super::refused::refuse;
use super::{Access, Given};
use crate::io::memory::errno;
use crate::io::wait;
use crate::libs::unix::args::{self, flags, int};
use crate::libs::unix::dirs;
use crate::libs::unix::errors::{check, unix_error};
use crate::libs::unix::files::OPEN_FLAGS;
use crate::libs::unix::names::ACCESS;
use crate::libs::unix::stat::{Stats, narrow, wide};
use crate::{UNIT, boolean};

/// The string in a slot as C takes it. With nothing given, a call says what would grant it.
fn text(m: &mut Machine, name: Slot, call: &str) -> Result<Vec<u8>, Raise> {
    if m.ext::<Given>().tree.is_empty() {
        return Err(refuse(m, "World::file, World::dir"));
    }
    Ok(args::path(m, name, call)?.into_bytes())
}

/// The path in a slot.
fn path(m: &mut Machine, name: Slot, call: &str) -> Result<Vec<u8>, Raise> {
    let path = text(m, name, call)?;
    check(m, call, Some(name), files::check(&path))?;
    Ok(path)
}

/// The path in a slot, and where it leads.
fn place(m: &mut Machine, name: Slot, call: &str) -> Result<(Vec<u8>, Place), Raise> {
    let path = path(m, name, call)?;
    let place = lead(m, &path)?;
    Ok((path, place))
}

/// A call on a path in a directory of the system.
fn under<T: Send + 'static>(
    m: &mut Machine,
    call: &str,
    name: Slot,
    f: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Raise> {
    let outcome = wait::elsewhere(m, f)?.map_err(|e| errno(&e));
    check(m, call, Some(name), outcome)
}

/// A call that changes the directory, which is `stored` in one in memory.
fn change<'m>(
    m: &'m mut Machine,
    name: Slot,
    call: &str,
    f: impl FnOnce(&Dir, &Path) -> io::Result<()> + Send + 'static,
    stored: impl FnOnce(&MemoryDir, &files::Parts) -> Result<(), Errno>,
) -> Res<'m> {
    let e = match place(m, name, call)?.1 {
        Place::Under(dir, rest, Access::ReadWrite) => {
            under(m, call, name, move || f(&dir, &rest))?;
            return Ok(UNIT);
        }
        Place::Stored(dir, rest, Access::ReadWrite) => match stored(&dir, &rest) {
            Ok(()) => return Ok(UNIT),
            Err(e) => e,
        },
        Place::Nothing => Errno::ENOENT,
        _ => Errno::EROFS,
    };
    Err(unix_error(m, e, call, Some(name)))
}

// ---- opening -------------------------------------------------------------------------------------------

/// `unix_open`
pub(super) fn open(m: &mut Machine, [name, how, perm]: [Slot; 3]) -> Res<'_> {
    let (path, place) = place(m, name, "open")?;
    let wanted = OFlag::from_bits_retain(flags(m, how, &OPEN_FLAGS)?);
    let mode = int(m, perm)? as u32;
    let outcome = files::open_place(m, &path, place, wanted, mode)?;
    let number = check(m, "open", Some(name), outcome)?;
    Ok(Val::from_int(number.into()))
}

/// `unix_opendir`: the names that are there now.
pub(super) fn opendir(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    let path = path(m, name, "opendir")?;
    // Relative to the directory that is the current one now.
    let current = m.ext::<Given>().tree.absolute(&path);
    let listed = list(m, &current)?;
    let names = check(m, "opendir", Some(name), listed)?;
    dirs::new_given(m, names, current)
}

/// The names in a directory, with `.` and `..`.
fn list(m: &mut Machine, path: &[u8]) -> Result<Result<Vec<Vec<u8>>, Errno>, Raise> {
    let place = lead(m, path)?;
    Ok(files::list_place(m, place)?.map(|mut names| {
        names.splice(0..0, [b".".to_vec(), b"..".to_vec()]);
        names
    }))
}

/// The same for a directory that is read from its beginning again; it is empty if it is no longer there.
pub(crate) fn list_again(m: &mut Machine, path: &[u8]) -> Result<Vec<Vec<u8>>, Raise> {
    Ok(list(m, path)?.unwrap_or_default())
}

// ---- information ---------------------------------------------------------------------------------------

fn stats_of(found: &Metadata) -> Stats {
    Stats {
        dev: found.dev(),
        ino: found.ino(),
        mode: found.mode(),
        nlink: found.nlink(),
        uid: found.uid(),
        gid: found.gid(),
        rdev: found.rdev(),
        size: found.size() as i64,
        times: [
            (found.atime(), found.atime_nsec()),
            (found.mtime(), found.mtime_nsec()),
            (found.ctime(), found.ctime_nsec()),
        ],
    }
}

/// What is known of a file; of a link itself, unless it is followed.
fn stats(m: &mut Machine, name: Slot, call: &str, follows: bool) -> Result<Stats, Raise> {
    let (path, place) = place(m, name, call)?;
    let ino = ino(m, &path);
    let of =
        |kind: libc::mode_t, mode, size| Stats { ino, mode: kind | mode, nlink: 1, size, ..Stats::default() };
    let writes = |access| if access == Access::ReadWrite { 0o200 } else { 0 };
    Ok(match place {
        Place::Under(dir, rest, _) => {
            let found = under(m, call, name, move || match follows {
                true => dir.metadata(rest),
                false => dir.symlink_metadata(rest),
            })?;
            stats_of(&found)
        }
        Place::Stored(dir, rest, access) => match (dir.find(&rest), dir.size(&rest)) {
            (Ok(Kind::File), Some(size)) => of(libc::S_IFREG, 0o444 | writes(access), size as i64),
            (Ok(Kind::Directory), _) => of(libc::S_IFDIR, 0o555 | writes(access), 0),
            (found, _) => {
                return Err(unix_error(m, found.err().unwrap_or(Errno::ENOENT), call, Some(name)));
            }
        },
        Place::File(bytes) => of(libc::S_IFREG, 0o444, bytes.len() as i64),
        Place::Above(_) => of(libc::S_IFDIR, 0o555, 0),
        Place::Nothing => return Err(unix_error(m, Errno::ENOENT, call, Some(name))),
    })
}

/// `unix_stat`
pub(super) fn stat(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    let stats = stats(m, name, "stat", true)?;
    narrow(m, stats, "stat", Some(name))
}

/// `unix_lstat`
pub(super) fn lstat(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    let stats = stats(m, name, "lstat", false)?;
    narrow(m, stats, "lstat", Some(name))
}

/// `unix_stat_64`
pub(super) fn stat_64(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    let stats = stats(m, name, "stat", true)?;
    wide(m, stats)
}

/// `unix_lstat_64`
pub(super) fn lstat_64(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    let stats = stats(m, name, "lstat", false)?;
    wide(m, stats)
}

/// Whether the process may do this to a file, as the file's mode says.
fn permits(found: &Stats, wanted: u32) -> bool {
    let is_directory = found.mode & libc::S_IFMT == libc::S_IFDIR;
    if geteuid().is_root() {
        return wanted & 1 == 0 || is_directory || found.mode & 0o111 != 0;
    }
    let class = match (found.uid == geteuid().as_raw(), found.gid == getegid().as_raw()) {
        (true, _) => found.mode >> 6,
        (_, true) => found.mode >> 3,
        _ => found.mode,
    };
    class & wanted == wanted
}

/// `unix_access`
pub(super) fn access(m: &mut Machine, [name, perms]: [Slot; 2]) -> Res<'_> {
    let (_, place) = place(m, name, "access")?;
    let wanted = flags(m, perms, &ACCESS)? as u32;
    let writes = wanted & libc::W_OK as u32 != 0;
    let is_of_the_system = matches!(place, Place::Under(..));
    let read_only = match place {
        Place::Under(_, _, access) | Place::Stored(_, _, access) => access == Access::ReadOnly,
        _ => true,
    };
    let found = stats(m, name, "access", true)?;
    let is_directory = found.mode & libc::S_IFMT == libc::S_IFDIR;
    let outcome = match is_of_the_system {
        _ if writes && read_only => Err(Errno::EROFS),
        true if !permits(&found, wanted) => Err(Errno::EACCES),
        // Files of the host's memory are no programs.
        false if wanted & libc::X_OK as u32 != 0 && !is_directory => Err(Errno::EACCES),
        _ => Ok(()),
    };
    check(m, "access", Some(name), outcome)?;
    Ok(UNIT)
}

/// `unix_readlink`
pub(super) fn readlink(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    let (_, place) = place(m, name, "readlink")?;
    if let Place::Under(dir, rest, _) = place {
        let target = under(m, "readlink", name, move || dir.read_link(rest))?;
        return m.new_string(target.as_os_str().as_bytes());
    }
    // Where there are no links.
    stats(m, name, "readlink", false)?;
    Err(unix_error(m, Errno::EINVAL, "readlink", Some(name)))
}

/// `unix_realpath`: the guest's own name of the file.
pub(super) fn realpath(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    let (path, place) = place(m, name, "realpath")?;
    let mut parts = m.ext::<Given>().tree.resolved(&path);
    if let Place::Under(dir, rest, _) = place {
        let given = m.ext::<Given>().tree.given_part(&parts).unwrap_or(0);
        let real: PathBuf = under(m, "realpath", name, move || dir.canonicalize(rest))?;
        parts.truncate(given);
        let below = real.components().map(|part| part.as_os_str().as_bytes().to_vec());
        parts.extend(below.filter(|part| part != b"."));
    } else {
        stats(m, name, "realpath", true)?;
    }
    let real = [b"/", parts.join(&b'/').as_slice()].concat();
    m.new_string(&real)
}

// ---- changes -------------------------------------------------------------------------------------------

/// `unix_unlink`
pub(super) fn unlink(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    change(m, name, "unlink", |dir, path| dir.remove_file(path), MemoryDir::remove)
}

/// `unix_rename`
pub(super) fn rename(m: &mut Machine, [old, new]: [Slot; 2]) -> Res<'_> {
    let call = "rename";
    // Both paths are looked at first, as C does; errors of the system name the first.
    let (from, to) = (text(m, old, call)?, text(m, new, call)?);
    check(m, call, Some(old), files::check(&from).and(files::check(&to)))?;
    let (from, to) = (lead(m, &from)?, lead(m, &to)?);
    let outcome = match (from, to) {
        (Place::Nothing, _) | (_, Place::Nothing) => Err(Errno::ENOENT),
        (Place::Under(dir, from, Access::ReadWrite), Place::Under(to_dir, to, Access::ReadWrite)) => {
            under(m, call, old, move || dir.rename(from, &to_dir, to))?;
            Ok(())
        }
        (Place::Stored(dir, from, Access::ReadWrite), Place::Stored(to_dir, to, Access::ReadWrite)) => {
            if dir.is_same(&to_dir) { dir.rename(&from, &to) } else { Err(Errno::EXDEV) }
        }
        (Place::Under(_, _, Access::ReadWrite), Place::Stored(_, _, Access::ReadWrite))
        | (Place::Stored(_, _, Access::ReadWrite), Place::Under(_, _, Access::ReadWrite)) => {
            Err(Errno::EXDEV)
        }
        _ => Err(Errno::EROFS),
    };
    check(m, call, Some(old), outcome)?;
    Ok(UNIT)
}

/// `unix_mkdir`
pub(super) fn mkdir(m: &mut Machine, [name, perm]: [Slot; 2]) -> Res<'_> {
    path(m, name, "mkdir")?;
    let mode = int(m, perm)? as u32 & PERMISSIONS;
    let make = move |dir: &Dir, path: &Path| {
        let mut builder = DirBuilder::new();
        builder.mode(mode);
        dir.create_dir_with(path, &builder)
    };
    change(m, name, "mkdir", make, MemoryDir::make_dir)
}

/// `unix_rmdir`
pub(super) fn rmdir(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    change(m, name, "rmdir", |dir, path| dir.remove_dir(path), MemoryDir::remove_dir)
}

/// Files in memory have neither modes nor times.
fn has_none(dir: &MemoryDir, name: &files::Parts) -> Result<(), Errno> {
    dir.find(name).and(Err(Errno::EPERM))
}

/// `unix_chmod`
pub(super) fn chmod(m: &mut Machine, [name, perm]: [Slot; 2]) -> Res<'_> {
    path(m, name, "chmod")?;
    let mode = int(m, perm)? as u32 & PERMISSIONS;
    let set = move |dir: &Dir, path: &Path| dir.set_permissions(path, Permissions::from_mode(mode));
    change(m, name, "chmod", set, has_none)
}

/// A time in seconds, as C splits it.
fn time(t: f64) -> TimeSpec {
    let seconds = t as i64;
    TimeSpec::new(seconds, (((t - seconds as f64) * 1e6) as i64).saturating_mul(1000))
}

/// `unix_utimes`
pub(super) fn utimes(m: &mut Machine, [name, atime, mtime]: [Slot; 3]) -> Res<'_> {
    path(m, name, "utimes")?;
    let (atime, mtime) = (m.float(atime)?, m.float(mtime)?);
    let times = match (atime, mtime) {
        (0.0, 0.0) => [TimeSpec::UTIME_NOW; 2],
        times => [time(times.0), time(times.1)],
    };
    let set = move |dir: &Dir, path: &Path| {
        let mut options = OpenOptions::new();
        // It is not a pipe that has to wait for its other end.
        options.read(true).custom_flags(OFlag::O_NONBLOCK.bits());
        let file = dir.open_with(path, &options)?;
        Ok(futimens(file, &times[0], &times[1])?)
    };
    change(m, name, "utimes", set, has_none)
}

fn cut(m: &mut Machine, name: Slot, len: i64) -> Res<'_> {
    let size = u64::try_from(len).map_err(|_| Errno::EINVAL);
    let size = check(m, "truncate", Some(name), size)?;
    let set = move |dir: &Dir, path: &Path| {
        let mut options = OpenOptions::new();
        options.write(true).custom_flags(OFlag::O_NONBLOCK.bits());
        dir.open_with(path, &options)?.set_len(size)
    };
    let stored = move |dir: &MemoryDir, path: &files::Parts| {
        dir.set_size(path, usize::try_from(size).map_err(|_| Errno::EFBIG)?)
    };
    change(m, name, "truncate", set, stored)
}

/// `unix_truncate`
pub(super) fn truncate(m: &mut Machine, [name, len]: [Slot; 2]) -> Res<'_> {
    text(m, name, "truncate")?;
    let len = m.int(len)?;
    cut(m, name, len)
}

/// `unix_truncate_64`
pub(super) fn truncate_64(m: &mut Machine, [name, len]: [Slot; 2]) -> Res<'_> {
    text(m, name, "truncate")?;
    let len = m.int64(len)?;
    cut(m, name, len)
}

// ---- links, which guests cannot make ---------------------------------------------------------------------

/// As on file systems that have none: whoever else uses a directory that was given must not meet links that a guest made.
fn no_link<'m>(m: &'m mut Machine, new: Slot, call: &str) -> Res<'m> {
    path(m, new, call)?;
    Err(unix_error(m, Errno::EPERM, call, Some(new)))
}

/// `unix_link`
pub(super) fn link(m: &mut Machine, [_follow, _old, new]: [Slot; 3]) -> Res<'_> {
    no_link(m, new, "link")
}

/// `unix_symlink`
pub(super) fn symlink(m: &mut Machine, [_to_dir, _target, new]: [Slot; 3]) -> Res<'_> {
    no_link(m, new, "symlink")
}

/// `unix_has_symlink`
pub(super) fn has_symlink(_: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    Ok(boolean(false))
}

// ---- the current directory -------------------------------------------------------------------------------

/// `unix_chdir`
pub(super) fn chdir(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    let found = stats(m, name, "chdir", true)?;
    let is_directory = found.mode & libc::S_IFMT == libc::S_IFDIR;
    let outcome = if is_directory { Ok(()) } else { Err(Errno::ENOTDIR) };
    check(m, "chdir", Some(name), outcome)?;
    let path = path(m, name, "chdir")?;
    m.ext::<Given>().tree.enter(&path);
    Ok(UNIT)
}
