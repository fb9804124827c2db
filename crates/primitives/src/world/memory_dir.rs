//! Directories in memory, which a host shares with its guests.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::files::{Parts, access, parts};
use crate::io::stored::{Open, Room, Stored, error};

/// What a name costs beyond its length, so that empty files are not free.
const NAME: usize = 128;

/// A directory in memory. The host and the machines to which it gives the directory ([`World::memory`](super::World::memory))
/// see the same files, while they run and afterwards; nothing is written to the system.
///
/// ```
/// use spelter_primitives::world::MemoryDir;
///
/// let dir = MemoryDir::new(1 << 20);
/// dir.write("in/cfg", "depth = 3")?;
/// assert_eq!(dir.read("in/cfg").as_deref(), Some(b"depth = 3".as_slice()));
/// assert_eq!(dir.names(), [b"in/cfg"]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct MemoryDir {
    entries: Arc<Mutex<Entries>>,
    room: Arc<Room>,
}

#[derive(Default)]
struct Entries {
    files: BTreeMap<Parts, Arc<Stored>>,
    /// Directories that were made; those in which there is something exist as well.
    dirs: BTreeSet<Parts>,
}

/// What there is under a name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
}

fn cost(name: &[Vec<u8>]) -> usize {
    name.iter().map(|part| part.len() + NAME).sum()
}

impl Entries {
    fn kind(&self, name: &Parts) -> Option<Kind> {
        if self.files.contains_key(name) {
            return Some(Kind::File);
        }
        let below = |first: Option<&Parts>| first.is_some_and(|first| first.starts_with(name));
        let exists = name.is_empty()
            || below(self.files.range(name.clone()..).next().map(|(first, _)| first))
            || below(self.dirs.range(name.clone()..).next());
        exists.then_some(Kind::Directory)
    }

    /// Why nothing has this name: a file is no directory on the way to it.
    fn missing(&self, name: &[Vec<u8>]) -> Errno {
        match (1..name.len()).any(|len| self.files.contains_key(&name[..len])) {
            true => Errno::ENOTDIR,
            false => Errno::ENOENT,
        }
    }

    fn is_empty(&self, dir: &Parts) -> bool {
        self.below(dir).is_empty()
    }

    /// The names in a directory.
    fn below(&self, dir: &Parts) -> BTreeSet<Vec<u8>> {
        let files =
            self.files.range(dir.clone()..).map(|(name, _)| name).take_while(|name| name.starts_with(dir));
        let dirs = self.dirs.range(dir.clone()..).take_while(|name| name.starts_with(dir));
        files.chain(dirs).filter_map(|name| name.get(dir.len()).cloned()).collect()
    }

    /// Whether something new can have this name: there is nothing, in a directory.
    fn check_new(&self, name: &Parts) -> Result<(), Errno> {
        match (self.kind(name), name.split_last()) {
            (Some(_), _) | (None, None) => Err(Errno::EEXIST),
            (None, Some((_, dir))) => match self.kind(&dir.to_vec()) {
                Some(Kind::Directory) => Ok(()),
                Some(Kind::File) => Err(Errno::ENOTDIR),
                None => Err(self.missing(name)),
            },
        }
    }
}

impl MemoryDir {
    /// A directory for this many bytes: of files, and some for each name.
    pub fn new(bytes: usize) -> MemoryDir {
        MemoryDir { entries: Arc::default(), room: Room::new(bytes) }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a file with these bytes, in place of what had this name. Directories on the way exist.
    ///
    /// # Errors
    /// When there is no room for it, or the name is a directory's.
    pub fn write(&self, name: impl AsRef<[u8]>, bytes: impl Into<Vec<u8>>) -> io::Result<()> {
        let name = parts(&Parts::new(), name.as_ref());
        let mut entries = self.lock();
        match entries.kind(&name) {
            Some(Kind::Directory) => return Err(error(Errno::EISDIR)),
            Some(Kind::File) => {}
            None if entries.missing(&name) == Errno::ENOTDIR => return Err(error(Errno::ENOTDIR)),
            None => {}
        }
        let file = Stored::new(bytes.into(), &self.room).map_err(error)?;
        if !entries.files.contains_key(&name) {
            self.room.take(cost(&name)).map_err(error)?;
        }
        entries.files.insert(name, Arc::new(file));
        Ok(())
    }

    /// The bytes of a file, if there is one of this name.
    pub fn read(&self, name: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        let file = self.lock().files.get(&parts(&Parts::new(), name.as_ref())).cloned()?;
        let bytes = file.lock().clone();
        Some(bytes)
    }

    /// Removes all files and directories; what is open stays until it is closed.
    pub fn clear(&self) {
        let entries = std::mem::take(&mut *self.lock());
        let names = entries.files.keys().chain(&entries.dirs);
        self.room.give(names.map(|name| cost(name)).sum());
    }

    /// The sorted names of all files.
    pub fn names(&self) -> Vec<Vec<u8>> {
        self.lock().files.keys().map(|name| name.join(&b'/')).collect()
    }

    pub(super) fn is_same(&self, other: &MemoryDir) -> bool {
        Arc::ptr_eq(&self.entries, &other.entries)
    }

    pub(super) fn kind(&self, name: &Parts) -> Option<Kind> {
        self.lock().kind(name)
    }

    /// What has this name.
    ///
    /// # Errors
    /// `ENOENT` or `ENOTDIR` when there is nothing.
    pub(super) fn find(&self, name: &Parts) -> Result<Kind, Errno> {
        let entries = self.lock();
        entries.kind(name).ok_or_else(|| entries.missing(name))
    }

    /// Opens a file with flags of `open`.
    pub(super) fn open(&self, name: &Parts, flags: OFlag) -> Result<Open, Errno> {
        let (reads, writes) = access(flags)?;
        let mut entries = self.lock();
        let file = match entries.kind(name) {
            Some(_) if flags.contains(OFlag::O_CREAT | OFlag::O_EXCL) => return Err(Errno::EEXIST),
            Some(Kind::Directory) => return Err(Errno::EISDIR),
            None if flags.contains(OFlag::O_CREAT) => {
                entries.check_new(name)?;
                self.room.take(cost(name))?;
                let file = Arc::new(Stored::empty(&self.room));
                entries.files.insert(name.clone(), Arc::clone(&file));
                file
            }
            _ => Arc::clone(entries.files.get(name).ok_or_else(|| entries.missing(name))?),
        };
        if flags.contains(OFlag::O_TRUNC) {
            file.clear();
        }
        Ok(Open { file, at: 0, reads, writes, appends: flags.contains(OFlag::O_APPEND) })
    }

    /// The size of a file.
    pub(super) fn size(&self, name: &Parts) -> Option<usize> {
        let file = self.lock().files.get(name).cloned()?;
        let size = file.lock().len();
        Some(size)
    }

    /// Changes the size of a file.
    pub(super) fn set_size(&self, name: &Parts, len: usize) -> Result<(), Errno> {
        let entries = self.lock();
        match entries.kind(name) {
            Some(Kind::Directory) => Err(Errno::EISDIR),
            _ => entries.files.get(name).ok_or_else(|| entries.missing(name))?.set_size(len),
        }
    }

    pub(super) fn remove(&self, name: &Parts) -> Result<(), Errno> {
        let mut entries = self.lock();
        match entries.kind(name) {
            Some(Kind::Directory) => Err(Errno::EISDIR),
            Some(Kind::File) => {
                entries.files.remove(name);
                self.removed(&mut entries, name);
                Ok(())
            }
            None => Err(entries.missing(name)),
        }
    }

    /// Gives back the room of a name that is no longer there. The directory stays, also if there is nothing else in it:
    /// its own name takes less.
    fn removed(&self, entries: &mut Entries, name: &[Vec<u8>]) {
        let dir = &name[..name.len() - 1];
        let is_new = !dir.is_empty() && entries.dirs.insert(dir.to_vec());
        self.room.give(cost(name) - if is_new { cost(dir) } else { 0 });
    }

    /// Renames a file; one that has the new name is replaced.
    pub(super) fn rename(&self, from: &Parts, to: &Parts) -> Result<(), Errno> {
        let mut entries = self.lock();
        match (entries.kind(from), entries.kind(to)) {
            (None, _) => return Err(entries.missing(from)),
            // Directories keep their names.
            (Some(Kind::Directory), _) => return Err(Errno::EPERM),
            (Some(Kind::File), Some(Kind::Directory)) => return Err(Errno::EISDIR),
            (Some(Kind::File), Some(Kind::File)) if from == to => return Ok(()),
            (Some(Kind::File), Some(Kind::File)) => {}
            (Some(Kind::File), None) => {
                entries.check_new(to)?;
                self.room.take(cost(to))?;
            }
        }
        if let Some(file) = entries.files.remove(from) {
            entries.files.insert(to.clone(), file);
        }
        self.removed(&mut entries, from);
        Ok(())
    }

    pub(super) fn make_dir(&self, name: &Parts) -> Result<(), Errno> {
        let mut entries = self.lock();
        entries.check_new(name)?;
        self.room.take(cost(name))?;
        entries.dirs.insert(name.clone());
        Ok(())
    }

    pub(super) fn remove_dir(&self, name: &Parts) -> Result<(), Errno> {
        let mut entries = self.lock();
        match entries.kind(name) {
            None => Err(entries.missing(name)),
            Some(Kind::File) => Err(Errno::ENOTDIR),
            Some(Kind::Directory) if name.is_empty() => Err(Errno::EBUSY),
            Some(Kind::Directory) if !entries.is_empty(name) => Err(Errno::ENOTEMPTY),
            Some(Kind::Directory) => {
                // One in which there is nothing exists because it was made, or kept.
                entries.dirs.remove(name);
                self.removed(&mut entries, name);
                Ok(())
            }
        }
    }

    /// The names in a directory.
    pub(super) fn list(&self, name: &Parts) -> Result<Vec<Vec<u8>>, Errno> {
        let entries = self.lock();
        match entries.kind(name) {
            None => Err(entries.missing(name)),
            Some(Kind::File) => Err(Errno::ENOTDIR),
            Some(Kind::Directory) => Ok(entries.below(name).into_iter().collect()),
        }
    }
}

impl fmt::Debug for MemoryDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDir").field("files", &self.lock().files.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Parts {
        parts(&Parts::new(), text.as_bytes())
    }

    fn left(dir: &MemoryDir) -> usize {
        (0..).find(|n| dir.room.take(n + 1).map(|()| dir.room.give(n + 1)).is_err()).expect("a limit")
    }

    const CREATE: OFlag = OFlag::O_WRONLY.union(OFlag::O_CREAT).union(OFlag::O_TRUNC);

    #[test]
    fn what_is_written_takes_room_until_it_is_removed() {
        let dir = MemoryDir::new(1000);
        let mut open = dir.open(&name("a"), CREATE).unwrap();
        assert_eq!(left(&dir), 1000 - NAME - 1);
        assert_eq!(open.write(&[7; 500]), Ok(500));
        assert_eq!(open.write(&[7; 500]), Err(Errno::ENOSPC));
        open.at = usize::MAX - 3;
        assert_eq!(open.write(&[7; 500]), Err(Errno::EFBIG));
        open.at = 2;
        assert_eq!(open.write(b"xy"), Ok(2));
        assert_eq!(&dir.read("a").unwrap()[..5], b"\x07\x07xy\x07");
        dir.remove(&name("a")).unwrap();
        assert_eq!(left(&dir), 1000 - 500, "the file is still open");
        drop(open);
        assert_eq!(left(&dir), 1000);
        let full: io::Result<()> = (0..).try_for_each(|n| dir.write(n.to_string(), ""));
        assert_eq!(full.unwrap_err().raw_os_error(), Some(Errno::ENOSPC as i32));
        assert!(dir.names().len() < 8);
        dir.clear();
        assert_eq!(left(&dir), 1000);
    }

    #[test]
    fn what_is_removed_gives_back_its_room_and_leaves_its_directory() {
        let dir = MemoryDir::new(2 * NAME + 2);
        dir.write("a/b", "").unwrap();
        assert_eq!(left(&dir), 0);
        assert_eq!(dir.rename(&name("a/b"), &name("a/c")), Err(Errno::ENOSPC));
        assert_eq!(dir.remove(&name("a/b")), Ok(()), "also when there is no room");
        assert_eq!(left(&dir), NAME + 1);
        assert_eq!(dir.remove_dir(&name("a")), Ok(()));
        assert_eq!(left(&dir), 2 * NAME + 2);
        let dir = MemoryDir::new(10_000);
        dir.write("a/b/c", "").unwrap();
        dir.remove(&name("a/b/c")).unwrap();
        assert_eq!(dir.remove_dir(&name("a/b")), Ok(()));
        assert!(dir.kind(&name("a")) == Some(Kind::Directory));
        assert_eq!(dir.remove_dir(&name("a")), Ok(()));
        assert_eq!((left(&dir), dir.find(&name("a")).err()), (10_000, Some(Errno::ENOENT)));
    }

    #[test]
    fn flags_are_looked_at_before_a_file_is_made() {
        let dir = MemoryDir::new(1000);
        let neither = OFlag::O_CREAT | OFlag::O_WRONLY | OFlag::O_RDWR;
        assert_eq!(dir.open(&name("a"), neither).err(), Some(Errno::EINVAL));
        assert_eq!(dir.names(), [b""; 0]);
        dir.write("d/a", "").unwrap();
        assert_eq!(dir.open(&name("d"), CREATE | OFlag::O_EXCL).err(), Some(Errno::EEXIST));
        assert_eq!(dir.open(&name("d/a/b"), OFlag::O_RDONLY).err(), Some(Errno::ENOTDIR));
    }

    #[test]
    fn names_are_moved_and_kept() {
        let dir = MemoryDir::new(10_000);
        dir.write("a/b", "1").unwrap();
        dir.write("c", "22").unwrap();
        let before = left(&dir);
        assert_eq!(dir.rename(&name("a/b"), &name("x/b")), Err(Errno::ENOENT));
        assert_eq!(dir.rename(&name("a/b"), &name("c/b")), Err(Errno::ENOTDIR));
        assert_eq!(dir.rename(&name("a/b"), &name("c")), Ok(()));
        assert_eq!((dir.names(), dir.read("c")), (vec![b"c".to_vec()], Some(b"1".to_vec())));
        assert!(dir.kind(&name("a")) == Some(Kind::Directory), "a directory stays when it becomes empty");
        assert_eq!(dir.remove_dir(&name("a")), Ok(()));
        // The name a/b, and two bytes of the file that was replaced.
        assert_eq!(left(&dir), before + 2 * NAME + 2 + 2);
        assert_eq!(dir.write("c/d", "").unwrap_err().raw_os_error(), Some(Errno::ENOTDIR as i32));
    }
}
