//! `caml/unixsupport.h`, `caml/socketaddr.h` and `cst2constr.h`: what the library `unix`, which is built in, exports to
//! other libraries. OCaml 5 has other names for the same functions.

use std::ffi::{c_char, c_int};

use spelter_heap::raw::Value;
use spelter_interp::{Machine, Raise, Release, Slot};
use spelter_primitives::foreign;

use super::{errno, items, new_string, rooted, text};
use crate::arch::may_raise;
use crate::call::{Answer, UNIT, answer, with_machine};

may_raise! {
    /// Raises `Unix_error` for an error's number, with a function's name and an argument (0 without one).
    unix_error(number: c_int, call: *const c_char, argument: Value) = raise_error;
    /// The same in OCaml 5.
    caml_unix_error(number: c_int, call: *const c_char, argument: Value) = raise_error;
    /// Raises `Unix_error` for `errno`.
    uerror(call: *const c_char, argument: Value) = raise_errno;
    /// The same in OCaml 5.
    caml_uerror(call: *const c_char, argument: Value) = raise_errno;
    /// The `Unix.error` for an error's number.
    unix_error_of_code(number: c_int) = error_of_code;
    /// The same in OCaml 5.
    caml_unix_error_of_code(number: c_int) = error_of_code;
    /// Raises `Unix_error` if a path contains a NUL.
    caml_unix_check_path(path: Value, call: *const c_char) = check_path;
    /// Marks a descriptor to be closed when the process runs another program.
    unix_set_cloexec(fd: c_int, call: *const c_char, argument: Value) = set_cloexec;
    /// The same in OCaml 5.
    caml_unix_set_cloexec(fd: c_int, call: *const c_char, argument: Value) = set_cloexec;
    /// Ends that.
    unix_clear_cloexec(fd: c_int, call: *const c_char, argument: Value) = clear_cloexec;
    /// The same in OCaml 5.
    caml_unix_clear_cloexec(fd: c_int, call: *const c_char, argument: Value) = clear_cloexec;
    /// Stores a `Unix.sockaddr` in the system's format, and its length.
    get_sockaddr(address: Value, into: *mut u8, len: *mut libc::socklen_t) = get_address;
    /// The same in OCaml 5.
    caml_unix_get_sockaddr(address: Value, into: *mut u8, len: *mut libc::socklen_t) = get_address;
    /// The `Unix.sockaddr` for an address in the system's format. If there is none, a descriptor is closed (-1: none).
    alloc_sockaddr(address: *const u8, len: libc::socklen_t, close: c_int) = alloc_address;
    /// The same in OCaml 5.
    caml_unix_alloc_sockaddr(address: *const u8, len: libc::socklen_t, close: c_int) = alloc_address;
    /// The `Unix.inet_addr` for four bytes.
    alloc_inet_addr(address: *const [u8; 4]) = alloc_inet;
    /// The same in OCaml 5.
    caml_unix_alloc_inet_addr(address: *const [u8; 4]) = alloc_inet;
    /// The `Unix.inet_addr` for sixteen bytes.
    alloc_inet6_addr(address: *const [u8; 16]) = alloc_inet6;
    /// The same in OCaml 5.
    caml_unix_alloc_inet6_addr(address: *const [u8; 16]) = alloc_inet6;
}

/// `Unix_error` with the argument that C gives, if it gives one.
unsafe fn error_with(m: &mut Machine, number: c_int, call: *const c_char, argument: Value) -> Raise {
    // SAFETY: C's string.
    let call = unsafe { text(call) };
    if argument.bits() == 0 {
        return foreign::unix_error(m, number, call, None);
    }
    let raise = |m: &mut Machine, s: Slot| Ok(foreign::unix_error(m, number, call, Some(s)));
    rooted(m, argument, raise).unwrap_or_else(|raise| raise)
}

unsafe extern "C" fn raise_error(number: c_int, call: *const c_char, argument: Value) -> Answer {
    // SAFETY: C's arguments.
    answer(|m| Err(unsafe { error_with(m, number, call, argument) }))
}

unsafe extern "C" fn raise_errno(call: *const c_char, argument: Value) -> Answer {
    // SAFETY: C's arguments.
    unsafe { raise_error(errno(), call, argument) }
}

extern "C" fn error_of_code(number: c_int) -> Answer {
    answer(|m| Ok(foreign::error_of_number(m, number)?.raw()))
}

unsafe extern "C" fn check_path(path: Value, call: *const c_char) -> Answer {
    // SAFETY: a string of the program.
    match unsafe { path.bytes() }.contains(&0) {
        // SAFETY: C's arguments.
        true => unsafe { raise_error(libc::ENOENT, call, path) },
        false => UNIT,
    }
}

/// Changes the flags of a descriptor.
unsafe fn change_flags(
    fd: c_int,
    call: *const c_char,
    argument: Value,
    change: impl FnOnce(c_int) -> c_int,
) -> Answer {
    // SAFETY: numbers; C's arguments.
    unsafe {
        let flags = libc::fcntl(fd, libc::F_GETFD);
        match flags == -1 || libc::fcntl(fd, libc::F_SETFD, change(flags)) == -1 {
            true => raise_errno(call, argument),
            false => UNIT,
        }
    }
}

unsafe extern "C" fn set_cloexec(fd: c_int, call: *const c_char, argument: Value) -> Answer {
    // SAFETY: C's arguments.
    unsafe { change_flags(fd, call, argument, |flags| flags | libc::FD_CLOEXEC) }
}

unsafe extern "C" fn clear_cloexec(fd: c_int, call: *const c_char, argument: Value) -> Answer {
    // SAFETY: C's arguments.
    unsafe { change_flags(fd, call, argument, |flags| flags & !libc::FD_CLOEXEC) }
}

unsafe extern "C" fn get_address(address: Value, into: *mut u8, len: *mut libc::socklen_t) -> Answer {
    answer(|m| {
        let mut bytes = rooted(m, address, foreign::encode_address)?;
        let mut used = bytes.len();
        let family = bytes.first_chunk().map(|family| c_int::from(u16::from_ne_bytes(*family)));
        if family == Some(libc::AF_UNIX) {
            // C always writes a NUL, and counts it since 5.5 if the socket has a path.
            used +=
                usize::from(m.dialect().release >= Release::V5_5 && bytes.get(2).is_some_and(|b| *b != 0));
            bytes.push(0);
        }
        // SAFETY: C's places, of which the first one has room for any address.
        unsafe {
            into.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            *len = used as libc::socklen_t;
        }
        Ok(Value::UNIT)
    })
}

unsafe extern "C" fn alloc_address(address: *const u8, len: libc::socklen_t, close: c_int) -> Answer {
    answer(|m| {
        // SAFETY: C's address, of `len` bytes.
        let bytes = unsafe { items(address, len as usize) };
        let made = foreign::decode_address(m, bytes).map(|v| v.raw());
        if made.is_err() && close != -1 {
            // SAFETY: C gives the descriptor away.
            unsafe { libc::close(close) };
        }
        made
    })
}

unsafe extern "C" fn alloc_inet(address: *const [u8; 4]) -> Answer {
    // SAFETY: C's bytes.
    answer(|m| new_string(m, unsafe { &*address }))
}

unsafe extern "C" fn alloc_inet6(address: *const [u8; 16]) -> Answer {
    // SAFETY: C's bytes.
    answer(|m| new_string(m, unsafe { &*address }))
}

macro_rules! twice {
    ($($(#[$attribute:meta])* $name:ident $new_name:ident($($arg:ident: $of:ty),*) -> $to:ty $body:block)*) => { $(
        $(#[$attribute])*
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($arg: $of),*) -> $to $body

        /// The same in OCaml 5.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $new_name($($arg: $of),*) -> $to {
            // SAFETY: the same contract.
            unsafe { $name($($arg),*) }
        }
    )* };
}

twice! {
    /// The number of a `Unix.error`.
    code_of_unix_error caml_unix_code_of_unix_error(error: Value) -> c_int {
        with_machine(|m| rooted(m, error, |m, s| foreign::number_of_error(m, s)).unwrap_or(0))
    }

    /// The constant constructor with the index of `n` in C's table; the default if it is not there. Needs no runtime.
    cst_to_constr caml_unix_cst_to_constr(n: c_int, table: *const c_int, len: c_int, default: c_int) -> Value {
        // SAFETY: C's table.
        let table = unsafe { items(table, len.max(0) as usize) };
        let index = table.iter().position(|number| *number == n);
        Value::int(index.map_or(default.into(), |index| index as i64))
    }

    /// Whether an argument `?cloexec` says so, or the default does if it is not given.
    unix_cloexec_p caml_unix_cloexec_p(cloexec: Value) -> c_int {
        match cloexec.is_block() {
            // SAFETY: an option of the program.
            true => c_int::from(unsafe { cloexec.field(0) } != Value::int(0)),
            false => 0,
        }
    }
}

/// Whether descriptors are closed by default when the process runs another program: no.
#[unsafe(no_mangle)]
pub static unix_cloexec_default: c_int = 0;

/// The same in OCaml 5.
#[unsafe(no_mangle)]
pub static caml_unix_cloexec_default: c_int = 0;

/// The system's numbers of `Unix.socket_domain`'s constructors.
#[unsafe(no_mangle)]
pub static socket_domain_table: [c_int; 3] = foreign::SOCKET_DOMAINS;

/// The same in OCaml 5.
#[unsafe(no_mangle)]
pub static caml_unix_socket_domain_table: [c_int; 3] = foreign::SOCKET_DOMAINS;

/// The system's numbers of `Unix.socket_type`'s constructors.
#[unsafe(no_mangle)]
pub static socket_type_table: [c_int; 4] = foreign::SOCKET_TYPES;

/// The same in OCaml 5.
#[unsafe(no_mangle)]
pub static caml_unix_socket_type_table: [c_int; 4] = foreign::SOCKET_TYPES;
