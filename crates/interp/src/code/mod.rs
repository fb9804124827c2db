//! Code and its life: what is loaded, how it comes to run, and how it goes.

mod closure_shapes;
mod closure_view;
pub(crate) mod history;
pub(crate) mod install;
pub(crate) mod object;
pub(crate) mod program;
pub(crate) mod registry;
pub(crate) mod revoke;
pub(crate) mod translate;
pub(crate) mod unit;

pub use closure_view::ClosureView;
use md5::{Digest, Md5};
pub use registry::{Registry, UnitCounts};
pub use unit::{Unit, UnitBytes, UnitFacts, UnitId, Unloaded};

/// The MD5 of some bytes: by it marshalled closures name code.
pub fn md5(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}
