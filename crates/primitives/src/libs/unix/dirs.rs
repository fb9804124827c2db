//! Reading directories (`opendir.c`, `readdir.c`, `rewinddir.c`, `closedir.c`).

use std::any::Any;
use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use nix::errno::Errno;
use spelter_interp::prim::custom::Behaviour;
use spelter_interp::{Charge, CustomOps, Machine, Raise, Res, Slot, WrongType, prims};

use super::args::path;
use super::errors::{block, unix_error};
use crate::UNIT;
use crate::ffi::dir::DirStream;
use crate::io::channels::Io;
use crate::world::unix;

type Stream = Arc<Mutex<DirStream>>;

/// The data of a `dir_handle`; `None` once it is closed.
struct Handle(RefCell<Option<Open>>);

/// A directory that is being read.
#[derive(Clone)]
enum Open {
    System(Stream),
    Given(Given),
}

/// One that the host has given: the names that it had, and where it is.
#[derive(Clone)]
struct Given {
    names: Arc<Mutex<Names>>,
    path: Arc<[u8]>,
}

struct Names {
    all: Vec<Vec<u8>>,
    /// The next one.
    at: usize,
    /// What they take.
    _charge: Charge,
}

static DIR: CustomOps = CustomOps::new(c"_dir", &Behaviour::OPAQUE).owning();

fn handle(m: &Machine, dir: Slot) -> Result<&Handle, Raise> {
    Ok(m.val(dir).external().map_err(|_| WrongType { expected: "a directory" })?)
}

fn opened(m: &mut Machine, dir: Slot, call: &str) -> Result<Open, Raise> {
    let open = handle(m, dir)?.0.borrow().clone();
    open.ok_or_else(|| unix_error(m, Errno::EBADF, call, None))
}

fn opendir(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    let p = path(m, name, "opendir")?;
    let stream = block(m, "opendir", Some(name), || DirStream::open(&p))?;
    let number = stream.number();
    let stream = Arc::new(Mutex::new(stream));
    let user: Weak<Mutex<DirStream>> = Arc::downgrade(&stream);
    m.ext::<Io>().fds.hide(number, user);
    let handle: Box<dyn Any> = Box::new(Handle(RefCell::new(Some(Open::System(stream)))));
    m.new_external(&DIR, handle, 0)
}

/// A `dir_handle` for a directory that the host has given, which has these names now.
pub(crate) fn new_given(m: &mut Machine, names: Vec<Vec<u8>>, path: Vec<u8>) -> Res<'_> {
    let names = Arc::new(Mutex::new(Names::new(m, names, &path)?));
    let given = Open::Given(Given { names, path: path.into() });
    let handle: Box<dyn Any> = Box::new(Handle(RefCell::new(Some(given))));
    m.new_external(&DIR, handle, 0)
}

impl Names {
    /// The names in the directory of this path, charged to the machine with the path.
    fn new(m: &mut Machine, all: Vec<Vec<u8>>, path: &[u8]) -> Result<Names, Raise> {
        let bytes: usize = all.iter().map(|name| name.capacity() + 2 * size_of::<Vec<u8>>()).sum();
        Ok(Names { all, at: 0, _charge: m.charge(bytes + path.len())? })
    }
}

fn readdir(m: &mut Machine, [dir]: [Slot; 1]) -> Res<'_> {
    let name = match opened(m, dir, "readdir")? {
        Open::System(stream) => {
            m.blocking(|| stream.lock().unwrap_or_else(PoisonError::into_inner).read())?
        }
        Open::Given(given) => {
            let mut names = given.names.lock().unwrap_or_else(PoisonError::into_inner);
            names.at += 1;
            names.all.get(names.at - 1).cloned()
        }
    };
    m.new_string(&name.ok_or(Raise::EndOfFile)?)
}

fn rewinddir(m: &mut Machine, [dir]: [Slot; 1]) -> Res<'_> {
    match opened(m, dir, "rewinddir")? {
        Open::System(stream) => stream.lock().unwrap_or_else(PoisonError::into_inner).rewind(),
        Open::Given(given) => {
            let all = unix::list_again(m, &given.path)?;
            let again = Names::new(m, all, &given.path)?;
            *given.names.lock().unwrap_or_else(PoisonError::into_inner) = again;
        }
    }
    Ok(UNIT)
}

fn closedir(m: &mut Machine, [dir]: [Slot; 1]) -> Res<'_> {
    let open = opened(m, dir, "closedir")?;
    m.process_pending_actions()?;
    handle(m, dir)?.0.take();
    m.blocking_no_pending(|| drop(open));
    Ok(UNIT)
}

prims! {
    since(V5_0) with "caml_" {
        "unix_opendir" P1 opendir,
        "unix_readdir" P1 readdir,
        "unix_rewinddir" P1 rewinddir,
        "unix_closedir" P1 closedir,
    }
}
