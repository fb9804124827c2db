//! `caml/intext.h`: what the functions of C's kinds of custom blocks call while a block is marshalled.
//!
//! All numbers but doubles are big-endian. C calls these only inside its `serialize` and `deserialize`, which run in
//! [`with_output`] and [`with_input`].

use std::ffi::{c_char, c_void};
use std::ptr;

use spelter_interp::Raise;

use super::{fail, text};
use crate::arch::may_raise;
use crate::call::Answer;
use crate::misuse::misused;

/// Where `serialize` writes.
static mut OUTPUT: *mut Vec<u8> = ptr::null_mut();

/// What `deserialize` reads.
static mut INPUT: *mut &'static [u8] = ptr::null_mut();

/// Runs `f` while C's functions write to these bytes.
pub(super) fn with_output<T>(out: &mut Vec<u8>, f: impl FnOnce() -> T) -> T {
    // SAFETY: the thread has the machine; the variable is reset before the borrow ends.
    unsafe {
        let outer = ptr::replace(&raw mut OUTPUT, out);
        let result = f();
        OUTPUT = outer;
        result
    }
}

/// Runs `f` while C's functions read from these bytes, and returns how many are left.
pub(super) fn with_input<T>(mut from: &[u8], f: impl FnOnce() -> T) -> (T, usize) {
    // SAFETY: as above; the lifetime ends with the call.
    unsafe {
        let place: *mut &[u8] = &raw mut from;
        let outer = ptr::replace(&raw mut INPUT, place.cast());
        let result = f();
        INPUT = outer;
        (result, from.len())
    }
}

pub(super) fn put(bytes: &[u8]) {
    // SAFETY: set by `with_output`, for the thread that has the machine.
    match unsafe { OUTPUT.as_mut() } {
        Some(out) => out.extend_from_slice(bytes),
        None => {
            misused("was called while nothing is marshalled: only a custom block's serialize may call it")
        }
    }
}

/// What has not been read, while a block is unmarshalled.
pub(super) fn rest<'a>() -> Option<&'a mut &'static [u8]> {
    // SAFETY: set by `with_input`, for the thread that has the machine.
    unsafe { INPUT.as_mut() }
}

fn take<const N: usize>() -> [u8; N] {
    let Some(from) = rest() else {
        misused("was called while nothing is unmarshalled: only a custom block's deserialize may call it")
    };
    match from.split_first_chunk::<N>() {
        Some((head, rest)) => {
            *from = rest;
            *head
        }
        // As in OCaml, what lies behind a truncated message is undefined; here it is zeros.
        None => [0; N],
    }
}

macro_rules! writers {
    ($($name:ident: $of:ty;)*) => { $(
        /// Writes a number.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(n: $of) {
            put(&n.to_be_bytes());
        }
    )* };
}

writers! {
    caml_serialize_int_4: i32;
    caml_serialize_int_8: i64;
    caml_serialize_float_4: f32;
}

/// Writes the low byte of a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_serialize_int_1(n: i32) {
    put(&[n as u8]);
}

/// Writes the low two bytes of a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_serialize_int_2(n: i32) {
    put(&(n as u16).to_be_bytes());
}

macro_rules! readers {
    ($($name:ident: $of:ty => $to:ty;)*) => { $(
        /// Reads a number.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name() -> $to {
            <$of>::from_be_bytes(take()) as $to
        }
    )* };
}

readers! {
    caml_deserialize_uint_1: u8 => i32;
    caml_deserialize_sint_1: i8 => i32;
    caml_deserialize_uint_2: u16 => i32;
    caml_deserialize_sint_2: i16 => i32;
    caml_deserialize_uint_4: u32 => u32;
    caml_deserialize_sint_4: i32 => i32;
    caml_deserialize_uint_8: u64 => u64;
    caml_deserialize_sint_8: i64 => i64;
    caml_deserialize_float_4: f32 => f32;
}

/// Writes a float, whose bytes stay in the machine's order.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_serialize_float_8(f: f64) {
    put(&f.to_le_bytes());
}

/// Reads a float.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_deserialize_float_8() -> f64 {
    f64::from_le_bytes(take())
}

macro_rules! blocks {
    ($($write:ident $read:ident: $n:literal;)*) => { $(
        /// Writes an array of numbers of this many bytes.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $write(data: *const c_void, count: isize) {
            for i in 0..count {
                // SAFETY: C's array.
                let mut bytes = unsafe { *data.cast::<[u8; $n]>().offset(i) };
                bytes.reverse();
                put(&bytes);
            }
        }

        /// Reads an array of numbers of this many bytes.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $read(data: *mut c_void, count: isize) {
            for i in 0..count {
                let mut bytes = take::<$n>();
                bytes.reverse();
                // SAFETY: C's array.
                unsafe { *data.cast::<[u8; $n]>().offset(i) = bytes };
            }
        }
    )* };
}

blocks! {
    caml_serialize_block_1 caml_deserialize_block_1: 1;
    caml_serialize_block_2 caml_deserialize_block_2: 2;
    caml_serialize_block_4 caml_deserialize_block_4: 4;
    caml_serialize_block_8 caml_deserialize_block_8: 8;
}

/// Writes an array of floats, whose bytes stay in the machine's order.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_serialize_block_float_8(data: *const c_void, count: isize) {
    for i in 0..count {
        // SAFETY: C's array.
        put(unsafe { &*data.cast::<[u8; 8]>().offset(i) });
    }
}

/// Reads an array of floats.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_deserialize_block_float_8(data: *mut c_void, count: isize) {
    for i in 0..count {
        // SAFETY: C's array.
        unsafe { *data.cast::<[u8; 8]>().offset(i) = take() };
    }
}

may_raise! {
    /// Raises `Failure`, which ends the unmarshalling.
    caml_deserialize_error(message: *const c_char) = deserialize_error;
}

unsafe extern "C" fn deserialize_error(message: *const c_char) -> Answer {
    // SAFETY: C's string.
    fail::with_message(unsafe { text(message) }, Raise::failure)
}
