//! Files by their names (`unlink.c`, `rename.c`, `link.c`, `symlink.c`, `readlink.c`, `realpath.c`, `mkdir.c`,
//! `rmdir.c`, `chdir.c`, `getcwd.c`, `chroot.c`, `mkfifo.c`, `chmod.c`, `chown.c`, `access.c`, `utimes.c`, `umask.c`).

use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, readlink, renameat};
use nix::libc;
use nix::sys::stat::{FchmodatFlags, Mode, UtimensatFlags, fchmodat, umask, utimensat, utimes};
use nix::sys::time::{TimeSpec, TimeVal};
use nix::unistd::{self, AccessFlags, Gid, Uid};
use spelter_interp::{Machine, Raise, Res, Slot, Val, prims};

use super::args::{flags, int, option_bool, path};
use super::errors::{block, check};
use crate::UNIT;
use crate::boolean;

/// A system call on the path in a slot.
fn on_path<T>(
    m: &mut Machine,
    call: &str,
    s: Slot,
    f: impl FnOnce(&CStr) -> Result<T, Errno> + Send,
) -> Result<T, Raise> {
    let p = path(m, s, call)?;
    block(m, call, Some(s), || f(&p))
}

fn mode(m: &Machine, perm: Slot) -> Result<Mode, Raise> {
    Ok(Mode::from_bits_retain(int(m, perm)? as libc::mode_t))
}

fn unlink(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    on_path(m, "unlink", name, unistd::unlink)?;
    Ok(UNIT)
}

fn rename(m: &mut Machine, [old, new]: [Slot; 2]) -> Res<'_> {
    let (p1, p2) = (path(m, old, "rename")?, path(m, new, "rename")?);
    block(m, "rename", Some(old), || renameat(AT_FDCWD, p1.as_c_str(), AT_FDCWD, p2.as_c_str()))?;
    Ok(UNIT)
}

fn link(m: &mut Machine, [follow, old, new]: [Slot; 3]) -> Res<'_> {
    let (p1, p2) = (path(m, old, "link")?, path(m, new, "link")?);
    let flags = match option_bool(m, follow)? {
        Some(true) => AtFlags::AT_SYMLINK_FOLLOW,
        _ => AtFlags::empty(),
    };
    block(m, "link", Some(new), || unistd::linkat(AT_FDCWD, p1.as_c_str(), AT_FDCWD, p2.as_c_str(), flags))?;
    Ok(UNIT)
}

fn symlink(m: &mut Machine, [_to_dir, target, new]: [Slot; 3]) -> Res<'_> {
    let (p1, p2) = (path(m, target, "symlink")?, path(m, new, "symlink")?);
    block(m, "symlink", Some(new), || unistd::symlinkat(p1.as_c_str(), AT_FDCWD, p2.as_c_str()))?;
    Ok(UNIT)
}

fn has_symlink(_: &mut Machine, [_]: [Slot; 1]) -> Res<'_> {
    Ok(boolean(true))
}

fn unix_readlink(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    let target = on_path(m, "readlink", name, readlink)?;
    m.new_string(target.as_bytes())
}

fn realpath(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    let p = path(m, name, "realpath")?;
    let found = Path::new(OsStr::from_bytes(p.as_bytes())).canonicalize();
    let found = found.map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EINVAL)));
    let found = check(m, "realpath", Some(name), found)?;
    m.new_string(found.as_os_str().as_bytes())
}

fn mkdir(m: &mut Machine, [name, perm]: [Slot; 2]) -> Res<'_> {
    let mode = mode(m, perm)?;
    on_path(m, "mkdir", name, |p| unistd::mkdir(p, mode))?;
    Ok(UNIT)
}

fn rmdir(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    on_path(m, "rmdir", name, |p| unistd::unlinkat(AT_FDCWD, p, unistd::UnlinkatFlags::RemoveDir))?;
    Ok(UNIT)
}

fn chdir(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    on_path(m, "chdir", name, unistd::chdir)?;
    Ok(UNIT)
}

fn getcwd(m: &mut Machine, [_]: [Slot; 1]) -> Res<'_> {
    let dir = check(m, "getcwd", None, unistd::getcwd())?;
    m.new_string(dir.as_os_str().as_bytes())
}

fn chroot(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    on_path(m, "chroot", name, unistd::chroot)?;
    Ok(UNIT)
}

fn mkfifo(m: &mut Machine, [name, perm]: [Slot; 2]) -> Res<'_> {
    let mode = mode(m, perm)?;
    on_path(m, "mkfifo", name, |p| unistd::mkfifo(p, mode))?;
    Ok(UNIT)
}

fn chmod(m: &mut Machine, [name, perm]: [Slot; 2]) -> Res<'_> {
    let mode = mode(m, perm)?;
    on_path(m, "chmod", name, |p| fchmodat(AT_FDCWD, p, mode, FchmodatFlags::FollowSymlink))?;
    Ok(UNIT)
}

/// An owner and a group; -1 means unchanged.
pub(super) fn owners(m: &Machine, uid: Slot, gid: Slot) -> Result<(Option<Uid>, Option<Gid>), Raise> {
    let (uid, gid) = (Uid::from_raw(int(m, uid)? as u32), Gid::from_raw(int(m, gid)? as u32));
    Ok((Some(uid), Some(gid)))
}

fn chown(m: &mut Machine, [name, uid, gid]: [Slot; 3]) -> Res<'_> {
    let (uid, gid) = owners(m, uid, gid)?;
    on_path(m, "chown", name, |p| unistd::chown(p, uid, gid))?;
    Ok(UNIT)
}

/// In the order of `Unix.access_permission`'s constructors.
pub(crate) const ACCESS: [i32; 4] = [libc::R_OK, libc::W_OK, libc::X_OK, libc::F_OK];

fn access(m: &mut Machine, [name, perms]: [Slot; 2]) -> Res<'_> {
    // The path is checked first.
    let p = path(m, name, "access")?;
    let wanted = AccessFlags::from_bits_retain(flags(m, perms, &ACCESS)?);
    block(m, "access", Some(name), || unistd::access(p.as_c_str(), wanted))?;
    Ok(UNIT)
}

/// Seconds as C splits them.
fn time_val(t: f64) -> TimeVal {
    let seconds = t as i64;
    TimeVal::new(seconds, ((t - seconds as f64) * 1e6) as i64)
}

fn unix_utimes(m: &mut Machine, [name, atime, mtime]: [Slot; 3]) -> Res<'_> {
    let (atime, mtime) = (m.float(atime)?, m.float(mtime)?);
    on_path(m, "utimes", name, |p| {
        if atime == 0.0 && mtime == 0.0 {
            let now = TimeSpec::UTIME_NOW;
            utimensat(AT_FDCWD, p, &now, &now, UtimensatFlags::FollowSymlink)
        } else {
            utimes(p, &time_val(atime), &time_val(mtime))
        }
    })?;
    Ok(UNIT)
}

fn unix_umask(m: &mut Machine, [perm]: [Slot; 1]) -> Res<'_> {
    let old = umask(mode(m, perm)?);
    Ok(Val::from_int(old.bits().into()))
}

prims! {
    since(V5_0) with "caml_" {
        "unix_unlink" P1 unlink,
        "unix_rename" P2 rename,
        "unix_link" P3 link,
        "unix_symlink" P3 symlink,
        "unix_has_symlink" P1 has_symlink,
        "unix_readlink" P1 unix_readlink,
        "unix_realpath" P1 realpath,
        "unix_mkdir" P2 mkdir,
        "unix_rmdir" P1 rmdir,
        "unix_chdir" P1 chdir,
        "unix_getcwd" P1 getcwd,
        "unix_chroot" P1 chroot,
        "unix_mkfifo" P2 mkfifo,
        "unix_chmod" P2 chmod,
        "unix_chown" P3 chown,
        "unix_access" P2 access,
        "unix_utimes" P3 unix_utimes,
        "unix_umask" P1 unix_umask,
    }
}
