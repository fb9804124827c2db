//! Inspecting a machine from outside: debuggers, backtraces, samples of allocations, and why something is alive.

pub mod backtrace;
pub mod debugger;
pub(crate) mod memprof;
pub mod reachability;
