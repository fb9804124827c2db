//! The stubs of the library `threads` (`otherlibs/systhreads/st_stubs.c`, `st_posix.h`), one file per module of the
//! library.

mod condition;
mod event;
pub(crate) mod lock;
mod mask;
mod mutex;
mod thread;
mod tick;

use nix::errno::Errno;
use spelter_heap::raw::CustomOps;
use spelter_interp::prim::custom::Behaviour;
use spelter_interp::{Machine, Raise, Slot, Val, WrongType, families};

use crate::io::errors::strerror;

families! {
    /// All primitives of the library.
    pub(crate) static PRIMITIVES = [condition::TABLE, mask::TABLE, mutex::TABLE, thread::TABLE];
}

/// After `fork`, in the child: the thread that called it is the only one.
pub(crate) fn after_fork(m: &mut Machine) {
    m.forget_other_threads();
    // The tick thread does not exist in the child; starting the next thread starts it again.
    m.ext::<tick::Tick>().stop();
    crate::io::channels::free_all(m);
    crate::io::wait::after_fork(m);
}

/// A system error, as the library reports it.
fn check<T>(result: Result<T, Errno>, what: &str) -> Result<T, Raise> {
    match result {
        Ok(v) => Ok(v),
        Err(Errno::ENOMEM) => Err(Raise::OutOfMemory),
        Err(e) => Err(Raise::Sys(format!("{what}: {}", strerror(e)).into())),
    }
}

/// An object that threads wait for, in a custom block. Ordered and hashed by age; OCaml uses the address.
struct Shared<T> {
    age: u64,
    object: std::sync::Arc<T>,
}

/// The number of objects made.
#[derive(Default)]
struct Ages(u64);

fn new_shared<'m, T: Default + 'static>(
    m: &'m mut Machine,
    ops: &'static CustomOps,
) -> spelter_interp::Res<'m> {
    let ages = m.ext::<Ages>();
    ages.0 += 1;
    let shared = Shared::<T> { age: ages.0, object: Default::default() };
    m.new_external(ops, Box::new(shared), 0)
}

/// The object in a slot, for use in a blocking section.
fn shared<T: 'static>(m: &Machine, s: Slot, expected: &'static str) -> Result<std::sync::Arc<T>, Raise> {
    let shared = m.val(s).external::<Shared<T>>().map_err(|_| WrongType { expected })?;
    Ok(std::sync::Arc::clone(&shared.object))
}

fn age<T: 'static>(v: Val<'_>) -> u64 {
    v.external::<Shared<T>>().map_or(0, |shared| shared.age)
}

/// The behaviour of such blocks; only thread statuses have no hash.
const fn behaviour<T: 'static>() -> Behaviour {
    Behaviour {
        compare: Some(|a, b| age::<T>(a).cmp(&age::<T>(b)).into()),
        compare_ext: None,
        hash: Some(|v| age::<T>(v) as i64),
        serialize: None,
        deserialize: None,
        fixed_length: None,
    }
}
