//! The files of a guest: those that its host has given, under names that the host chose. The guest's root and current
//! directory are its own, and have nothing to do with those of the process.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::fs::{Dir, DirBuilder, DirBuilderExt, Metadata, OpenOptions, OpenOptionsExt};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use spelter_interp::{Machine, Raise, Res, Slot, Val, fallible};

use super::memory_dir::{Kind, MemoryDir};
use super::{Access, Given};
use crate::io::channels::Io;
use crate::io::memory::{Memory, errno};
use crate::io::{stored as errors, wait};
use crate::runtime::sys::{OPEN_FLAGS, c_string, named_error};
use crate::{UNIT, boolean};

/// As many descriptors can a guest have open.
pub(super) const MOST_DESCRIPTORS: usize = 256;

/// The bits of a new file's mode that a guest can set: nobody is to run its files under another name.
pub(super) const PERMISSIONS: u32 = 0o777;

const HELP: &str = "not granted (World::file, World::dir)";

/// The components of an absolute path, without `.`, `..` and empty ones.
pub(super) type Parts = Vec<Vec<u8>>;

/// A guest's files.
#[derive(Default)]
pub(super) struct Tree {
    files: BTreeMap<Parts, Arc<[u8]>>,
    dirs: BTreeMap<Parts, (Directory, Access)>,
    current: Parts,
}

/// A directory that was given.
#[derive(Clone)]
pub(super) enum Directory {
    System(Arc<Dir>),
    Memory(MemoryDir),
}

/// What a path leads to.
pub(super) enum Place {
    /// A directory that exists only because something in it was given; the names in it.
    Above(BTreeSet<Vec<u8>>),
    File(Arc<[u8]>),
    /// A path in a directory of the system.
    Under(Arc<Dir>, PathBuf, Access),
    /// A path in a directory in memory.
    Stored(MemoryDir, Parts, Access),
    Nothing,
}

/// The components of a path from `from`. `..` in the root is the root; elsewhere it removes the component before it,
/// whatever links there are.
pub(super) fn parts(from: &Parts, path: &[u8]) -> Parts {
    let mut parts = if path.first() == Some(&b'/') { Parts::new() } else { from.clone() };
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part.to_vec()),
        }
    }
    parts
}

impl Tree {
    /// Whether nothing was given.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.dirs.is_empty()
    }

    /// The components of a path from the current directory.
    pub(super) fn resolved(&self, path: &[u8]) -> Parts {
        parts(&self.current, path)
    }

    /// An absolute path that leads where this one leads now.
    pub(super) fn absolute(&self, path: &[u8]) -> Vec<u8> {
        [b"/", self.resolved(path).join(&b'/').as_slice()].concat()
    }

    /// Makes a directory the current one.
    pub(super) fn enter(&mut self, path: &[u8]) {
        self.current = self.resolved(path);
    }

    /// Of these components, as many lead to the innermost directory that was given.
    pub(super) fn given_part(&self, parts: &Parts) -> Option<usize> {
        (0..=parts.len()).rev().find(|len| self.dirs.contains_key(&parts[..*len]))
    }

    pub(super) fn add_file(&mut self, name: &[u8], bytes: Arc<[u8]>) {
        self.files.insert(parts(&Parts::new(), name), bytes);
    }

    pub(super) fn add_dir(&mut self, name: &[u8], dir: Directory, access: Access) {
        self.dirs.insert(parts(&Parts::new(), name), (dir, access));
    }

    fn place(&self, path: &[u8]) -> Place {
        let parts = parts(&self.current, path);
        if let Some(bytes) = self.files.get(&parts) {
            return Place::File(Arc::clone(bytes));
        }
        if let Some(len) = self.given_part(&parts)
            && let Some((dir, access)) = self.dirs.get(&parts[..len])
        {
            let rest = &parts[len..];
            return match dir {
                Directory::System(dir) => Place::Under(Arc::clone(dir), system_path(rest), *access),
                Directory::Memory(dir) => Place::Stored(dir.clone(), rest.to_vec(), *access),
            };
        }
        let given = self.files.keys().chain(self.dirs.keys());
        let inside: BTreeSet<Vec<u8>> = given
            .filter(|name| name.starts_with(&parts))
            .filter_map(|name| name.get(parts.len()).cloned())
            .collect();
        if inside.is_empty() && !parts.is_empty() { Place::Nothing } else { Place::Above(inside) }
    }
}

fn system_path(parts: &[Vec<u8>]) -> PathBuf {
    if parts.is_empty() {
        return PathBuf::from(".");
    }
    parts.iter().map(|part| OsStr::from_bytes(part)).collect()
}

/// Whether the system would look at a path at all, which must be so for files that it does not know, too.
pub(super) fn check(path: &[u8]) -> Result<(), Errno> {
    let name_max = libc::NAME_MAX as usize;
    match path {
        [] => Err(Errno::ENOENT),
        _ if path.len() >= libc::PATH_MAX as usize => Err(Errno::ENAMETOOLONG),
        _ if path.split(|b| *b == b'/').any(|name| name.len() > name_max) => Err(Errno::ENAMETOOLONG),
        _ => Ok(()),
    }
}

// ---- from slots to places --------------------------------------------------------------------------

/// The path in a slot, and where it leads.
fn place(m: &mut Machine, name: Slot) -> Result<(Vec<u8>, Place), Raise> {
    let path = c_string(m, name, Errno::ENOENT)?.into_bytes();
    check(&path).map_err(|e| named_error(&path, e))?;
    let place = lead(m, &path)?;
    Ok((path, place))
}

/// Where a path leads: the only way from what a guest names to what it was given.
pub(super) fn lead(m: &mut Machine, path: &[u8]) -> Result<Place, Raise> {
    // The components, each allocated, and the path in a directory.
    fallible::afford(path.len().saturating_mul(64))?;
    Ok(m.ext::<Given>().tree.place(path))
}

/// A number for the file of this name, by which programs tell files apart.
pub(super) fn ino(m: &mut Machine, path: &[u8]) -> u64 {
    // FNV-1a, in as many bits as an `int` has without its sign.
    let parts = m.ext::<Given>().tree.resolved(path);
    let bytes = parts.iter().flat_map(|part| part.iter().chain(b"/"));
    let hash = bytes.fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3)
    });
    hash >> 3
}

/// `Sys_error "path: not granted (…)"`
fn not_granted(path: &[u8]) -> Raise {
    Raise::Sys([path, b": ", HELP.as_bytes()].concat())
}

/// A call on a path in a directory, with errors that name the whole path.
fn under<T: Send + 'static>(
    m: &mut Machine,
    path: &[u8],
    f: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Raise> {
    wait::elsewhere(m, f)?.map_err(|e| named_error(path, errno(&e)))
}

/// The same for a call that changes the directory, which is `stored` in one in memory.
fn change<'m>(
    m: &'m mut Machine,
    name: Slot,
    f: impl FnOnce(&Dir, &Path) -> io::Result<()> + Send + 'static,
    stored: impl FnOnce(&MemoryDir, &Parts) -> Result<(), Errno>,
) -> Res<'m> {
    match place(m, name)? {
        (path, Place::Under(dir, rest, Access::ReadWrite)) => under(m, &path, move || f(&dir, &rest))?,
        (path, Place::Stored(dir, rest, Access::ReadWrite)) => {
            stored(&dir, &rest).map_err(|e| named_error(&path, e))?;
        }
        (path, Place::Nothing) => return Err(not_granted(&path)),
        (path, _) => return Err(named_error(&path, Errno::EROFS)),
    }
    Ok(UNIT)
}

fn metadata(m: &mut Machine, path: &[u8], dir: Arc<Dir>, rest: PathBuf) -> Result<Metadata, Raise> {
    under(m, path, move || dir.metadata(rest))
}

// ---- the primitives --------------------------------------------------------------------------------

fn flags(m: &Machine, list: Slot) -> Result<OFlag, Raise> {
    m.list_len(list)?;
    let mut wanted = OFlag::empty();
    let mut list = m.val(list);
    while list.is_block() {
        wanted |= *OPEN_FLAGS.get(list.field(0)?.int()? as usize).ok_or_else(Raise::bounds)?;
        list = list.field(1)?;
    }
    Ok(wanted)
}

/// Whether flags of `open` ask for reading, and for writing.
///
/// # Errors
/// `EINVAL` if they ask for neither.
pub(super) fn access(flags: OFlag) -> Result<(bool, bool), Errno> {
    match flags & OFlag::O_ACCMODE {
        OFlag::O_RDONLY => Ok((true, false)),
        OFlag::O_WRONLY => Ok((false, true)),
        OFlag::O_RDWR => Ok((true, true)),
        _ => Err(Errno::EINVAL),
    }
}

/// Flags of `open` as options.
fn options(flags: OFlag, mode: u32) -> io::Result<OpenOptions> {
    let (reads, writes) = access(flags).map_err(errors::error)?;
    let mut options = OpenOptions::new();
    options.read(reads).write(writes).mode(mode);
    // Not `OpenOptions::append`, which is also a request to write.
    let mut others = OFlag::O_APPEND | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_SYNC | OFlag::O_DSYNC;
    if writes {
        options.truncate(flags.contains(OFlag::O_TRUNC)).create(flags.contains(OFlag::O_CREAT));
        options.create_new(flags.contains(OFlag::O_CREAT | OFlag::O_EXCL));
    } else {
        // `OpenOptions` refuses what the system does.
        others |= OFlag::O_TRUNC | OFlag::O_CREAT | OFlag::O_EXCL;
    }
    options.custom_flags((flags & others).bits());
    Ok(options)
}

/// Opens what a path leads to; returns the descriptor's number.
pub(super) fn open_place(
    m: &mut Machine,
    path: &[u8],
    place: Place,
    flags: OFlag,
    mode: u32,
) -> Result<Result<i32, Errno>, Raise> {
    let changes = flags.intersects(OFlag::O_ACCMODE | OFlag::O_CREAT | OFlag::O_TRUNC);
    if let Err(e) = m.ext::<Io>().fds.check_room() {
        return Ok(Err(e));
    }
    Ok(match place {
        Place::Nothing => Err(Errno::ENOENT),
        Place::File(_) | Place::Above(_) if changes => Err(Errno::EROFS),
        Place::Under(_, _, Access::ReadOnly) | Place::Stored(_, _, Access::ReadOnly) if changes => {
            Err(Errno::EROFS)
        }
        Place::Above(_) => Err(Errno::EISDIR),
        Place::File(bytes) => {
            let ino = ino(m, path);
            Ok(m.ext::<Io>().fds.insert_memory(Memory::input(bytes, ino)))
        }
        Place::Under(dir, rest, _) => {
            let mode = mode & PERMISSIONS;
            let opened = wait::elsewhere(m, move || dir.open_with(rest, &options(flags, mode)?))?;
            match opened {
                Ok(file) => Ok(m.ext::<Io>().fds.insert(OwnedFd::from(file.into_std()))),
                Err(e) => Err(errno(&e)),
            }
        }
        Place::Stored(dir, rest, _) => match dir.open(&rest, flags) {
            Ok(open) => {
                let ino = ino(m, path);
                Ok(m.ext::<Io>().fds.insert_memory(Memory::stored(open, ino)))
            }
            Err(e) => Err(e),
        },
    })
}

/// `caml_sys_open`
pub(super) fn open(m: &mut Machine, [name, list, perm]: [Slot; 3]) -> Res<'_> {
    let (path, place) = place(m, name)?;
    let (flags, mode) = (flags(m, list)?, m.int(perm)? as u32);
    if matches!(place, Place::Nothing) {
        return Err(not_granted(&path));
    }
    let number = open_place(m, &path, place, flags, mode)?.map_err(|e| named_error(&path, e))?;
    Ok(Val::from_int(number.into()))
}

/// `caml_sys_file_exists`. What is not granted does not exist.
pub(super) fn file_exists(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    let exists = match place(m, name) {
        Ok((path, Place::Under(dir, rest, _))) => match metadata(m, &path, dir, rest) {
            Err(raise) if !raise.is_exception() => return Err(raise),
            found => found.is_ok(),
        },
        Ok((_, Place::Stored(dir, rest, _))) => dir.kind(&rest).is_some(),
        Ok((_, place)) => !matches!(place, Place::Nothing),
        Err(_) => false,
    };
    Ok(boolean(exists))
}

fn is_kind<'m>(m: &'m mut Machine, name: Slot, directory: bool) -> Res<'m> {
    let is = match place(m, name)? {
        (path, Place::Under(dir, rest, _)) => {
            let found = metadata(m, &path, dir, rest)?;
            if directory { found.is_dir() } else { found.is_file() }
        }
        (path, Place::Stored(dir, rest, _)) => {
            let kind = dir.find(&rest).map_err(|e| named_error(&path, e))?;
            (kind == Kind::Directory) == directory
        }
        (_, Place::File(_)) => !directory,
        (_, Place::Above(_)) => directory,
        (path, Place::Nothing) => return Err(not_granted(&path)),
    };
    Ok(boolean(is))
}

/// `caml_sys_is_directory`
pub(super) fn is_directory(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    is_kind(m, name, true)
}

/// `caml_sys_is_regular_file`
pub(super) fn is_regular_file(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    is_kind(m, name, false)
}

/// `caml_sys_remove`
pub(super) fn remove(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    change(m, name, |dir, path| dir.remove_file(path), MemoryDir::remove)
}

/// `caml_sys_rename`
pub(super) fn rename(m: &mut Machine, [old, new]: [Slot; 2]) -> Res<'_> {
    let (target, to) = place(m, new)?;
    match to {
        Place::Under(to_dir, to, Access::ReadWrite) => {
            let elsewhere = |_: &MemoryDir, _: &Parts| Err(Errno::EXDEV);
            change(m, old, move |dir, from| dir.rename(from, &to_dir, to), elsewhere)
        }
        Place::Stored(to_dir, to, Access::ReadWrite) => {
            let elsewhere = |_: &Dir, _: &Path| Err(errors::error(Errno::EXDEV));
            change(m, old, elsewhere, move |dir, from| match dir.is_same(&to_dir) {
                true => dir.rename(from, &to),
                false => Err(Errno::EXDEV),
            })
        }
        Place::Nothing => Err(not_granted(&target)),
        _ => Err(named_error(&target, Errno::EROFS)),
    }
}

/// `caml_sys_mkdir`
pub(super) fn mkdir(m: &mut Machine, [name, perm]: [Slot; 2]) -> Res<'_> {
    let mode = m.int(perm)? as u32 & PERMISSIONS;
    let make = move |dir: &Dir, path: &Path| {
        let mut builder = DirBuilder::new();
        builder.mode(mode);
        dir.create_dir_with(path, &builder)
    };
    change(m, name, make, MemoryDir::make_dir)
}

/// `caml_sys_rmdir`
pub(super) fn rmdir(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    change(m, name, |dir, path| dir.remove_dir(path), MemoryDir::remove_dir)
}

/// `caml_sys_chdir`
pub(super) fn chdir(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    let (path, place) = place(m, name)?;
    let is_directory = match place {
        Place::Under(dir, rest, _) => metadata(m, &path, dir, rest)?.is_dir(),
        Place::Stored(dir, rest, _) => dir.find(&rest).map_err(|e| named_error(&path, e))? == Kind::Directory,
        Place::Above(_) => true,
        Place::File(_) => false,
        Place::Nothing => return Err(not_granted(&path)),
    };
    if !is_directory {
        return Err(named_error(&path, Errno::ENOTDIR));
    }
    m.ext::<Given>().tree.enter(&path);
    Ok(UNIT)
}

/// `caml_sys_getcwd`, `unix_getcwd`
pub(super) fn getcwd(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    let path = m.ext::<Given>().tree.absolute(b".");
    m.new_string(&path)
}

/// The names in a directory, without `.` and `..`.
pub(super) fn list_place(m: &mut Machine, place: Place) -> Result<Result<Vec<Vec<u8>>, Errno>, Raise> {
    Ok(match place {
        Place::Under(dir, rest, _) => {
            let listed = wait::elsewhere(m, move || {
                // An error midway ends the list, as in C's `readdir` loop.
                let entries = dir.read_dir(rest)?.map_while(Result::ok);
                let names = entries.map(|entry| entry.file_name().as_bytes().to_vec());
                Ok(fallible::collect(names))
            })?;
            match listed {
                Ok(names) => Ok(names?),
                Err(e) => Err(errno(&e)),
            }
        }
        Place::Stored(dir, rest, _) => dir.list(&rest),
        Place::Above(names) => Ok(names.into_iter().collect()),
        Place::File(_) => Err(Errno::ENOTDIR),
        Place::Nothing => Err(Errno::ENOENT),
    })
}

/// `caml_sys_read_directory`
pub(super) fn read_directory(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    let (path, place) = place(m, name)?;
    if matches!(place, Place::Nothing) {
        return Err(not_granted(&path));
    }
    let names = list_place(m, place)?.map_err(|e| named_error(&path, e))?;
    m.new_array(names, |m, name| m.new_string(&name))
}
