//! The guests: the same three functions in each language, behind one trait.

mod lua;
mod piccolo;
mod rhai;
mod spelter;
mod wasm;

use anyhow::Result;

pub(crate) use lua::Lua;
pub(crate) use piccolo::Piccolo;
pub(crate) use rhai::Rhai;
pub(crate) use spelter::Spelter;
pub(crate) use wasm::Wasm;

/// A guest in an instance of its own: what one guest does to its global state, another cannot see.
pub(crate) trait Guest: Sized + 'static {
    /// The runtime and its version.
    const NAME: &'static str;

    /// What instances of one guest can have in common: as much as the runtime offers.
    type Shared: 'static;

    /// Prepares that, from the guest's source or compiled file.
    fn share() -> Result<Self::Shared>;

    /// Makes an instance that can be called, with one function of the host.
    fn instance(shared: &Self::Shared) -> Result<Self>;

    /// Calls `add`.
    fn add(&mut self, a: i64, b: i64) -> Result<i64>;

    /// Calls `fib`.
    fn fib(&mut self, n: i64) -> Result<i64>;

    /// Calls `rounds`, which calls the host so often.
    fn rounds(&mut self, n: i64) -> Result<i64>;
}

/// The function of the host.
fn next(n: i64) -> i64 {
    n + 1
}
