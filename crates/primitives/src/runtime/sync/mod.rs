//! Mutexes and condition variables (`sync.c`), which OCaml 4 has in its library `threads`: objects that threads wait
//! for, in custom blocks.

pub(crate) mod condition;
pub(crate) mod lock;
pub(crate) mod mutex;
mod waiter;

use nix::errno::Errno;
use spelter_heap::raw::CustomOps;
use spelter_interp::prim::custom::Behaviour;
use spelter_interp::{Charge, Machine, Raise, Res, Slot, Val, WrongType, prims};

use crate::io::errors::strerror;

/// A system error, as these libraries report it (`caml_check_error`).
pub(crate) fn check<T>(result: Result<T, Errno>, what: &str) -> Result<T, Raise> {
    match result {
        Ok(v) => Ok(v),
        Err(Errno::ENOMEM) => Err(Raise::OutOfMemory),
        Err(e) => Err(Raise::Sys(format!("{what}: {}", strerror(e)).into())),
    }
}

/// An object that threads wait for, in a custom block. Ordered and hashed by age; OCaml uses the address.
struct Shared<T> {
    age: u64,
    object: T,
    _charge: Charge,
}

/// What such an object takes besides its block: itself, and this.
const BYTES: usize = 128;

/// The number of objects made.
#[derive(Default)]
struct Ages(u64);

pub(crate) fn new_shared<'m, T: Default + 'static>(m: &'m mut Machine, ops: &'static CustomOps) -> Res<'m> {
    let charge = m.charge(BYTES)?;
    let ages = m.ext::<Ages>();
    ages.0 += 1;
    let shared = Shared::<T> { age: ages.0, object: Default::default(), _charge: charge };
    m.new_external(ops, Box::new(shared), 0)
}

/// The object in a slot.
#[inline]
pub(crate) fn shared<'m, T: 'static>(
    m: &'m Machine,
    s: Slot,
    expected: &'static str,
) -> Result<&'m T, Raise> {
    let shared = m.val(s).external::<Shared<T>>().map_err(|_| WrongType { expected })?;
    Ok(&shared.object)
}

fn age<T: 'static>(v: Val<'_>) -> u64 {
    v.external::<Shared<T>>().map_or(0, |shared| shared.age)
}

/// The behaviour of such blocks; only thread statuses have no hash.
pub(crate) const fn behaviour<T: 'static>() -> Behaviour {
    Behaviour {
        compare: Some(|_, a, b| Ok(age::<T>(a).cmp(&age::<T>(b)).into())),
        compare_ext: None,
        hash: Some(|_, v| Ok(age::<T>(v) as i64)),
        serialize: None,
        deserialize: None,
        size: None,
        fixed_length: None,
    }
}

prims! {
    "caml_ml_condition_broadcast" P1 condition::broadcast => since(V5_0),
    "caml_ml_condition_new" P1 condition::new => since(V5_0),
    "caml_ml_condition_signal" P1 condition::signal => since(V5_0),
    "caml_ml_condition_wait" P2 condition::wait => since(V5_0),
    "caml_ml_mutex_lock" P1 mutex::lock => since(V5_0),
    "caml_ml_mutex_new" P1 mutex::new => since(V5_0),
    "caml_ml_mutex_try_lock" P1 mutex::try_lock => since(V5_0),
    "caml_ml_mutex_unlock" P1 mutex::unlock => since(V5_0),
}
