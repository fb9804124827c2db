//! Reading directories (`opendir.c`, `readdir.c`, `rewinddir.c`, `closedir.c`).

use std::any::Any;
use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use nix::errno::Errno;
use spelter_interp::prim::custom::Behaviour;
use spelter_interp::{CustomOps, Machine, Raise, Res, Slot, WrongType, prims};

use super::args::path;
use super::errors::{block, unix_error};
use crate::UNIT;
use crate::ffi::dir::DirStream;
use crate::io::channels::Io;

type Stream = Arc<Mutex<DirStream>>;

/// The data of a `dir_handle`; `None` once it is closed.
struct Handle(RefCell<Option<Stream>>);

static DIR: CustomOps = CustomOps::new(c"_dir", &Behaviour::OPAQUE).owning();

fn handle(m: &Machine, dir: Slot) -> Result<&Handle, Raise> {
    Ok(m.val(dir).external().map_err(|_| WrongType { expected: "a directory" })?)
}

fn stream(m: &mut Machine, dir: Slot, call: &str) -> Result<Stream, Raise> {
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
    let handle: Box<dyn Any> = Box::new(Handle(RefCell::new(Some(stream))));
    m.new_external(&DIR, handle, 0)
}

fn readdir(m: &mut Machine, [dir]: [Slot; 1]) -> Res<'_> {
    let stream = stream(m, dir, "readdir")?;
    let name = m.blocking(|| stream.lock().unwrap_or_else(PoisonError::into_inner).read())?;
    m.new_string(&name.ok_or(Raise::EndOfFile)?)
}

fn rewinddir(m: &mut Machine, [dir]: [Slot; 1]) -> Res<'_> {
    let stream = stream(m, dir, "rewinddir")?;
    stream.lock().unwrap_or_else(PoisonError::into_inner).rewind();
    Ok(UNIT)
}

fn closedir(m: &mut Machine, [dir]: [Slot; 1]) -> Res<'_> {
    let stream = stream(m, dir, "closedir")?;
    m.process_pending_actions()?;
    handle(m, dir)?.0.take();
    m.blocking_no_pending(|| drop(stream));
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
