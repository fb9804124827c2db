//! Users and groups (`getuid.c` and similar, `getgroups.c`, `setgroups.c`, `initgroups.c`, `getpw.c`, `getgr.c`,
//! `getlogin.c`).

use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::unistd::{self, Gid, Group, Uid, User};
use spelter_interp::{Machine, Raise, Res, Slot, Val, fallible, prims};

use super::args::{c_string, int};
use super::errors::{check, unix_error};
use crate::UNIT;
use crate::ffi;

fn getuid(_: &mut Machine, [_]: [Slot; 1]) -> Res<'_> {
    Ok(Val::from_int(unistd::getuid().as_raw().into()))
}

fn geteuid(_: &mut Machine, [_]: [Slot; 1]) -> Res<'_> {
    Ok(Val::from_int(unistd::geteuid().as_raw().into()))
}

fn getgid(_: &mut Machine, [_]: [Slot; 1]) -> Res<'_> {
    Ok(Val::from_int(unistd::getgid().as_raw().into()))
}

fn getegid(_: &mut Machine, [_]: [Slot; 1]) -> Res<'_> {
    Ok(Val::from_int(unistd::getegid().as_raw().into()))
}

fn setuid(m: &mut Machine, [uid]: [Slot; 1]) -> Res<'_> {
    let uid = Uid::from_raw(int(m, uid)? as u32);
    check(m, "setuid", None, unistd::setuid(uid))?;
    Ok(UNIT)
}

fn setgid(m: &mut Machine, [gid]: [Slot; 1]) -> Res<'_> {
    let gid = Gid::from_raw(int(m, gid)? as u32);
    check(m, "setgid", None, unistd::setgid(gid))?;
    Ok(UNIT)
}

fn getgroups(m: &mut Machine, [_]: [Slot; 1]) -> Res<'_> {
    let groups = check(m, "getgroups", None, unistd::getgroups())?;
    m.new_array(groups, |_, gid| Ok(Val::from_int(gid.as_raw().into())))
}

fn setgroups(m: &mut Machine, [groups]: [Slot; 1]) -> Res<'_> {
    let groups = m.val(groups);
    let gid = |i| Ok(Gid::from_raw(groups.field(i)?.int()? as u32));
    let groups = fallible::collect((0..groups.wosize()?).map(gid))?;
    let groups: Vec<Gid> = groups.into_iter().collect::<Result<_, Raise>>()?;
    check(m, "setgroups", None, unistd::setgroups(&groups))?;
    Ok(UNIT)
}

fn initgroups(m: &mut Machine, [user, group]: [Slot; 2]) -> Res<'_> {
    let user = c_string(m, user, Errno::EINVAL, "initgroups")?;
    let group = Gid::from_raw(int(m, group)? as u32);
    check(m, "initgroups", None, unistd::initgroups(&user, group))?;
    Ok(UNIT)
}

fn getlogin(m: &mut Machine, [_]: [Slot; 1]) -> Res<'_> {
    match ffi::process::login_name() {
        Ok(name) => m.new_string(&name),
        Err(e) => {
            let e = if m.behaviour().unix_reports_errno { e } else { Errno::ENOENT };
            Err(unix_error(m, e, "getlogin", None))
        }
    }
}

// ---- the data bases --------------------------------------------------------------------------------

/// The entry found. Some versions raise `Not_found` for every failure except an interruption by a signal.
fn found<T>(m: &mut Machine, call: &str, outcome: Result<Option<T>, Errno>) -> Result<T, Raise> {
    match outcome {
        Err(e) if e == Errno::EINTR || m.behaviour().unix_reports_errno => Err(unix_error(m, e, call, None)),
        outcome => outcome.ok().flatten().ok_or(Raise::NotFound),
    }
}

/// A name to look up. One that is not UTF-8, or contains a NUL, raises `Not_found`.
fn name(m: &Machine, s: Slot) -> Result<String, Raise> {
    let bytes = m.bytes(s)?;
    let name = std::str::from_utf8(bytes).ok().filter(|name| !name.contains('\0'));
    name.map(str::to_owned).ok_or(Raise::NotFound)
}

fn new_user(m: &mut Machine, user: User) -> Res<'_> {
    let name = m.push(|m| m.new_string(user.name.as_bytes()))?;
    let password = m.push(|m| m.new_string(user.passwd.as_bytes()))?;
    let ids = [user.uid.as_raw(), user.gid.as_raw()];
    let [uid, gid] = ids.map(|id| m.push_int(id.into()));
    let gecos = m.push(|m| m.new_string(user.gecos.as_bytes()))?;
    let dir = m.push(|m| m.new_string(user.dir.as_os_str().as_bytes()))?;
    let shell = m.push(|m| m.new_string(user.shell.as_os_str().as_bytes()))?;
    m.new_block(0, &[name, password, uid, gid, gecos, dir, shell])
}

fn getpwnam(m: &mut Machine, [s]: [Slot; 1]) -> Res<'_> {
    let outcome = User::from_name(&name(m, s)?);
    let user = found(m, "getpwnam", outcome)?;
    new_user(m, user)
}

fn getpwuid(m: &mut Machine, [uid]: [Slot; 1]) -> Res<'_> {
    let outcome = User::from_uid(Uid::from_raw(int(m, uid)? as u32));
    let user = found(m, "getpwuid", outcome)?;
    new_user(m, user)
}

fn new_group(m: &mut Machine, group: Group) -> Res<'_> {
    let name = m.push(|m| m.new_string(group.name.as_bytes()))?;
    let password = m.push(|m| m.new_string(group.passwd.as_bytes()))?;
    let gid = m.push_int(group.gid.as_raw().into());
    let members = m.push(|m| m.new_array(group.mem, |m, name| m.new_string(name.as_bytes())))?;
    m.new_block(0, &[name, password, gid, members])
}

fn getgrnam(m: &mut Machine, [s]: [Slot; 1]) -> Res<'_> {
    let outcome = Group::from_name(&name(m, s)?);
    let group = found(m, "getgrnam", outcome)?;
    new_group(m, group)
}

fn getgrgid(m: &mut Machine, [gid]: [Slot; 1]) -> Res<'_> {
    let outcome = Group::from_gid(Gid::from_raw(int(m, gid)? as u32));
    let group = found(m, "getgrgid", outcome)?;
    new_group(m, group)
}

prims! {
    since(V5_0) with "caml_" {
        "unix_getuid" P1 getuid,
        "unix_geteuid" P1 geteuid,
        "unix_getgid" P1 getgid,
        "unix_getegid" P1 getegid,
        "unix_setuid" P1 setuid,
        "unix_setgid" P1 setgid,
        "unix_getgroups" P1 getgroups,
        "unix_setgroups" P1 setgroups,
        "unix_initgroups" P2 initgroups,
        "unix_getlogin" P1 getlogin,
        "unix_getpwnam" P1 getpwnam,
        "unix_getpwuid" P1 getpwuid,
        "unix_getgrnam" P1 getgrnam,
        "unix_getgrgid" P1 getgrgid,
    }
}
