//! How code runs: the registers, one function for each instruction, and dispatch from one to the next.

pub(crate) mod activation;
pub(crate) mod dispatch;
pub(crate) mod exit;
pub(crate) mod fault;
pub(crate) mod handlers;
pub(crate) mod pausable;
pub(crate) mod profile;
pub(crate) mod regs;
