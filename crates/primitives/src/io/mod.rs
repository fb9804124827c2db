//! Channels and descriptors, and waiting for the system.

pub(crate) mod channel;
pub(crate) mod channels;
pub(crate) mod errors;
pub(crate) mod fds;
pub(crate) mod memory;
pub(crate) mod primitives;
pub(crate) mod stored;
pub(crate) mod wait;
