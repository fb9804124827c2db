//! What stands between a program and the built-in primitives that reach outside its machine.
//!
//! A screen is asked once for each name, when it gets its number, so calls cost what they cost without one.

use crate::Machine;
use crate::prim::Prim;
use crate::prim::families::Row;

/// Replaces primitives according to a set of grants, which only it interprets.
#[derive(Clone, Copy)]
pub struct Screen {
    /// What is granted.
    pub grants: u32,
    /// The primitive that is called instead of a built-in one, if that is not to be called itself.
    pub substitute: fn(grants: u32, &'static Row) -> Option<Prim>,
    /// The grant without which a primitive with this name is refused, if it is refused.
    pub refused: fn(grants: u32, name: &str) -> Option<&'static str>,
}

impl Machine {
    /// The name of the primitive that the running thread is in.
    pub fn running_primitive(&self) -> Option<&str> {
        self.prims.name(self.roots.thread.running)
    }
}
