//! What a machine's guests can reach outside of it: what their host has granted.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use spelter_interp::Machine;

use self::files::Directory;
use crate::handover;
use crate::io::channels::Io;
use crate::io::fds::Fds;
use crate::io::memory::Memory;

mod files;
pub mod grants;
mod memory_dir;
mod refused;
mod substitutes;
pub(crate) mod unix;

pub use crate::io::memory::Captured;
pub use grants::Grant;
pub use memory_dir::MemoryDir;

/// What a guest may do in a directory that it is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Read files, and list directories.
    ReadOnly,
    /// Also write, create, rename and remove them.
    ReadWrite,
}

/// A clock.
pub(crate) struct Now(Arc<dyn Fn() -> SystemTime + Send + Sync>);

/// What a machine has been given.
#[derive(Default)]
pub(crate) struct Given {
    tree: files::Tree,
    variables: BTreeMap<Vec<u8>, Vec<u8>>,
    clock: Option<Now>,
    /// When the guest first asked for the time that it has used.
    first_asked: Option<SystemTime>,
    seed: Option<u64>,
}

/// What the guests of a machine can reach: nothing but what is granted here, unless it is [`World::process`].
///
/// ```
/// use spelter_primitives::world::{Captured, World};
///
/// let said = Captured::default();
/// let world = World::nothing()
///     .stdin("one line\n")
///     .stdout(said.clone())
///     .file("etc/cfg", "depth = 3")
///     .env("LANG", "C")
///     .seed(42);
/// # let mut m = spelter_interp::Machine::new(Default::default());
/// # spelter_primitives::install(&mut m);
/// # world.enter(&mut m);
/// ```
///
/// A primitive that needs what is not granted raises an exception, whose text names the primitive and the grant:
/// `Unix_error (EPERM, …)` if it is one of `unix`, else `Sys_error`. What a program can test for is absent instead: an
/// environment variable is not set (`Not_found`), a file does not exist, standard input is at its end. Handlers of
/// signals can be set, but no signal arrives. Computation, threads, `exit` (which ends the call, not the process) and
/// waiting (`Unix.sleep`) need no grant.
pub struct World(
    /// None is no screen at all: the rights of the process.
    Option<Box<Granted>>,
);

struct Granted {
    grants: u32,
    given: Given,
    standard: [Arc<Memory>; 3],
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let granted = if self.is_process() { "everything" } else { "some" };
        f.debug_struct("World").field("granted", &granted).finish_non_exhaustive()
    }
}

impl World {
    /// Nothing outside the machine. Standard input is empty; writing to standard output and standard error raises
    /// `Sys_error`.
    pub fn nothing() -> World {
        let standard = [
            Memory::input(Arc::default(), 0),
            Memory::refused("World::stdout"),
            Memory::refused("World::stderr"),
        ];
        World(Some(Box::new(Granted { grants: 0, given: Given::default(), standard })))
    }

    /// Everything that the process can reach, with its rights: its files and its standard streams, its environment, its
    /// network. More grants change nothing. Operations that change or end the whole process are still refused, unless
    /// the machine owns it.
    pub fn process() -> World {
        World(None)
    }

    /// Whether this is [`World::process`].
    pub fn is_process(&self) -> bool {
        self.0.is_none()
    }

    /// Changes what is granted, unless that is everything.
    fn with(mut self, f: impl FnOnce(&mut Granted)) -> World {
        self.0.as_deref_mut().map(f);
        self
    }

    /// These bytes as standard input.
    pub fn stdin(self, bytes: impl Into<Vec<u8>>) -> World {
        self.with(|granted| granted.standard[0] = Memory::input(bytes.into().into(), 0))
    }

    /// `source` as standard input. An interrupt of the guest waits until the source has answered.
    pub fn stdin_from(self, source: impl Read + Send + 'static) -> World {
        self.with(|granted| granted.standard[0] = Memory::source(Box::new(source)))
    }

    /// `sink` as standard output. It is called, and flushed, whenever a channel is flushed, possibly in another thread
    /// of the guest. Its errors are the guest's; if it panics, that is an error, too (`EIO`).
    pub fn stdout(self, sink: impl Write + Send + 'static) -> World {
        self.with(|granted| granted.standard[1] = Memory::output(sink))
    }

    /// `sink` as standard error, which also gets the runtime's own messages.
    pub fn stderr(self, sink: impl Write + Send + 'static) -> World {
        self.with(|granted| granted.standard[2] = Memory::output(sink))
    }

    /// A file that can be read. Names are absolute, also if they do not begin with a slash: `cfg` and `/cfg` are in the
    /// guest's root, which is its current directory at first. Directories on the way exist.
    pub fn file(self, name: impl AsRef<[u8]>, bytes: impl Into<Vec<u8>>) -> World {
        self.with(|granted| granted.given.tree.add_file(name.as_ref(), bytes.into().into()))
    }

    /// The directory at `path`, with all that is in it, under a name in the guest's root. Neither `..` nor symbolic
    /// links lead out of it; the guest cannot make links. It stays the same directory if it is renamed.
    ///
    /// # Errors
    /// When the directory cannot be opened.
    pub fn dir(self, name: impl AsRef<[u8]>, path: impl AsRef<Path>, access: Access) -> io::Result<World> {
        let dir = Dir::open_ambient_dir(path, ambient_authority())?;
        Ok(self.with(|granted| {
            granted.given.tree.add_dir(name.as_ref(), Directory::System(Arc::new(dir)), access)
        }))
    }

    /// A directory in memory, with all that is in it, under a name in the guest's root.
    ///
    /// ```
    /// use spelter_primitives::world::{Access, MemoryDir, World};
    ///
    /// let work = MemoryDir::new(1 << 20);
    /// work.write("in", "what the guest reads")?;
    /// let world = World::nothing().memory("work", &work, Access::ReadWrite);
    /// // Later: what the guest has written.
    /// let written = work.read("out");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn memory(self, name: impl AsRef<[u8]>, dir: &MemoryDir, access: Access) -> World {
        self.with(|granted| granted.given.tree.add_dir(name.as_ref(), Directory::Memory(dir.clone()), access))
    }

    /// An environment variable.
    pub fn env(self, name: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> World {
        self.with(|granted| _ = granted.given.variables.insert(name.into(), value.into()))
    }

    /// A clock, for `Unix.time` and `Unix.gettimeofday`; `Sys.time` is the time since its first call. For the system's
    /// clock: `SystemTime::now`.
    pub fn clock(self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> World {
        self.with(|granted| granted.given.clock = Some(Now(Arc::new(now))))
    }

    /// A seed for `Random.self_init`: the same in each run with the same seed.
    pub fn seed(self, seed: u64) -> World {
        self.with(|granted| granted.given.seed = Some(seed))
    }

    /// All of a kind, with all rights that the process has there.
    pub fn allow(self, grant: Grant) -> World {
        self.with(|granted| granted.grants |= grant.bit())
    }

    /// Makes this the world of a machine, which has the built-in primitives and has not loaded any code.
    pub fn enter(self, m: &mut Machine) {
        let Some(granted) = self.0 else { return };
        let Granted { grants, given, standard } = *granted;
        let [_, _, stderr] = &standard;
        standard.iter().for_each(|file| file.limit(m));
        let io = m.ext::<Io>();
        io.stderr.set(Arc::clone(stderr));
        io.fds = Fds::none();
        io.fds.most = Some(files::MOST_DESCRIPTORS);
        for (number, file) in (0..).zip(standard) {
            io.fds.set_memory(number, file);
        }
        *m.ext::<Given>() = given;
        handover::screen(m, grants::screen(grants));
    }
}
