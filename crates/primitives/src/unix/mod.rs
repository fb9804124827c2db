//! OCaml's `unix` library (`otherlibs/unix`), one file per subject.
//!
//! What may block runs in a blocking section, and takes along all that it needs: descriptors stay open while they are in use
//! ([`crate::fds::Fd`]), buffers are copied in and out, as OCaml copies them. Operations that change or replace the
//! whole process fail with `EPERM` in a machine that is not the whole process.

use spelter_interp::Table;

mod addresses;
pub(crate) mod args;
mod descriptors;
mod dirs;
mod environment;
mod errors;
mod files;
mod maps;
mod names;
mod netdb;
mod options;
mod processes;
mod select;
pub(crate) mod signals;
mod sockets;
mod stat;
mod terminals;
mod time;
mod users;

/// All tables.
pub(crate) const FAMILIES: &[Table] = &[
    addresses::TABLE,
    descriptors::TABLE,
    dirs::TABLE,
    environment::TABLE,
    errors::TABLE,
    files::TABLE,
    maps::TABLE,
    names::TABLE,
    netdb::TABLE,
    options::TABLE,
    processes::TABLE,
    select::TABLE,
    signals::TABLE,
    sockets::TABLE,
    stat::TABLE,
    terminals::TABLE,
    time::TABLE,
    users::TABLE,
];
