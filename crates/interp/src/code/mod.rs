//! Code and its life cycle: loading, translation, freeing and revoking.

mod cells;
mod closure_shapes;
mod closure_view;
pub(crate) mod history;
pub(crate) mod install;
pub(crate) mod object;
pub(crate) mod point;
pub(crate) mod program;
pub(crate) mod registry;
pub(crate) mod revoke;
pub(crate) mod translate;
pub(crate) mod unit;

pub use closure_view::ClosureView;
use md5::{Digest, Md5};
pub use registry::{Registry, UnitCounts};
pub use unit::{Unit, UnitBytes, UnitFacts, UnitId, Unloaded};

/// The MD5 digest of some bytes: marshalled closures identify code by it.
pub fn md5(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}
