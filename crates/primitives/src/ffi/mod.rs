//! Access to the C library and to the system: all the unsafe code of this crate except `handover`.

pub(crate) mod dir;
pub(crate) mod floats;
pub(crate) mod map;
pub(crate) mod net;
pub(crate) mod process;
pub(crate) mod sys;
pub(crate) mod terminal;
