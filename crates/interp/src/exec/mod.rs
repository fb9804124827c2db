//! How code runs: the registers, a function for each instruction, and how one leads to the next.

pub(crate) mod activation;
pub(crate) mod dispatch;
pub(crate) mod exit;
pub(crate) mod fault;
pub(crate) mod handlers;
pub(crate) mod profile;
pub(crate) mod regs;
