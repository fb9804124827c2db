//! Primitives that use the machine: its collector, its start, its signals, its stack.

pub(crate) mod backtrace;
pub(crate) mod callback;
pub(crate) mod debugger;
pub(crate) mod domain;
pub(crate) mod dynlink;
pub(crate) mod eventlog;
pub(crate) mod fiber;
pub(crate) mod finalise;
pub(crate) mod gc_ctrl;
pub(crate) mod memprof;
pub(crate) mod obj;
pub mod printexc;
pub mod runtime_events;
pub(crate) mod signals;
pub(crate) mod stacks;
pub(crate) mod sync;
pub(crate) mod sys;
pub(crate) mod tick;
pub mod weak;
