//! What the runtime and its built-in libraries offer to foreign libraries, beyond primitives: the functions behind those
//! that C finds in `caml/io.h`, `caml/unixsupport.h`, `caml/socketaddr.h` and `caml/threads.h`.

use spelter_interp::{Machine, Raise, Res, Slot};

use crate::io::channels::{self, Handle, Locked};
use crate::libs::unix::{addresses, errors, sockets};
use crate::marshal::intern;

pub use crate::io::channels::Handle as Channel;
pub use crate::libs::threads::thread::register_guest;

/// The system's numbers of `Unix.socket_domain`'s constructors.
pub const SOCKET_DOMAINS: [i32; 3] = sockets::DOMAINS;
/// The system's numbers of `Unix.socket_type`'s constructors.
pub const SOCKET_TYPES: [i32; 4] = sockets::TYPES;

/// The exception `Unix_error` for an error's number, a function's name, and an argument (`""` without one).
pub fn unix_error(m: &mut Machine, number: i32, call: &[u8], arg: Option<Slot>) -> Raise {
    errors::unix_error_of(m, number, call, arg)
}

/// The `Unix.error` for an error's number.
///
/// # Errors
/// When there is no memory.
pub fn error_of_number(m: &mut Machine, number: i32) -> Res<'_> {
    errors::new_error_of(m, number)
}

/// The number of a `Unix.error`.
///
/// # Errors
/// When the value is none.
pub fn number_of_error(m: &Machine, error: Slot) -> Result<i32, Raise> {
    errors::error_number(m, error)
}

/// A `Unix.sockaddr` in the system's format.
///
/// # Errors
/// `Unix_error` for a path that cannot be one.
pub fn encode_address(m: &mut Machine, address: Slot) -> Result<Vec<u8>, Raise> {
    addresses::encode(m, address)
}

/// The `Unix.sockaddr` for an address in the system's format.
///
/// # Errors
/// `Unix_error` for a family that OCaml does not know.
pub fn decode_address<'m>(m: &'m mut Machine, bytes: &[u8]) -> Res<'m> {
    addresses::new_address(m, bytes)
}

/// Locks a channel, and calls `f` with it.
fn with_channel<T>(
    m: &mut Machine,
    channel: &Handle,
    f: impl FnOnce(&mut Machine, &Locked) -> Result<T, Raise>,
) -> Result<T, Raise> {
    let locked = channel.lock(m)?;
    f(m, &locked)
}

/// Writes what a channel has buffered, in one step if `partial`. Returns whether nothing is left.
///
/// # Errors
/// `Sys_error`, or what a signal handler raised.
pub fn flush(m: &mut Machine, channel: &Handle, partial: bool) -> Result<bool, Raise> {
    with_channel(m, channel, |m, channel| match partial {
        true => channels::flush_partial(m, channel),
        false => channels::flush_all(m, channel).map(|()| true),
    })
}

/// Writes bytes to a channel.
///
/// # Errors
/// As [`flush`].
pub fn put(m: &mut Machine, channel: &Handle, bytes: &[u8]) -> Result<(), Raise> {
    with_channel(m, channel, |m, channel| channels::put_all(m, channel, bytes))
}

/// Reads bytes from a channel: as many as there is room for, or fewer if `some` will do, or if the file ends.
///
/// # Errors
/// As [`flush`].
pub fn get(m: &mut Machine, channel: &Handle, into: &mut [u8], some: bool) -> Result<usize, Raise> {
    with_channel(m, channel, |m, channel| {
        let ready = if some && !into.is_empty() { channels::fill(m, channel)? } else { into.len() };
        let len = into.len().min(ready);
        channels::get_all(m, channel, &mut into[..len])
    })
}

/// The system's text for an error's number.
pub fn error_text(number: i32) -> String {
    crate::io::errors::error_text(number)
}

/// Reads a value from the marshalled bytes at the start of C's. `reader` is the function's name in messages.
///
/// # Errors
/// `Failure`.
pub fn value_of_block<'m>(m: &'m mut Machine, bytes: &[u8], reader: &'static str) -> Res<'m> {
    intern::input_value_from_block(m, bytes, reader)
}

/// The number of marshalled bytes, with the header. `first` returns as many of them as it is asked for; `reader` is the
/// function's name in messages.
///
/// # Errors
/// `Failure`.
pub fn marshalled_len<'a>(
    m: &Machine,
    first: impl Fn(usize) -> &'a [u8],
    reader: &str,
) -> Result<usize, Raise> {
    intern::marshalled_len(m, first, reader)
}

/// Pushes the block of a channel, for primitives on channels.
///
/// # Errors
/// When there is no memory.
pub fn push_channel(m: &mut Machine, channel: &Handle) -> Result<Slot, Raise> {
    m.push(|m| channels::another(m, channel))
}
