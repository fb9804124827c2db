//! `caml/intext.h`: values, marshalled to C's memory and to channels. What is marshalled, and what is raised, is what
//! `Marshal`'s primitives do.

use std::ffi::{c_char, c_void};

use spelter_heap::raw::Value;
use spelter_interp::{Machine, Raise, Release};
use spelter_primitives::foreign;

use super::io::channel;
use super::{built_in, items, memory};
use crate::arch::may_raise;
use crate::call::{Answer, answer_outside};

may_raise! {
    /// Marshals a value, and stores where in C's memory the bytes are, and their number. `caml_stat_free` frees them.
    caml_output_value_to_malloc(v: Value, flags: Value, into: *mut *mut u8, len: *mut usize) = output_value_to_malloc;
    /// Marshals a value to memory of `room` bytes, and returns how many it has filled.
    caml_output_value_to_block(v: Value, flags: Value, into: *mut u8, room: isize) = output_value_to_block;
    /// Marshals a value to a channel (`struct channel *`).
    caml_output_val(channel: *mut c_void, v: Value, flags: Value) = output_val;
    /// Reads a value from `len` bytes of C's memory.
    caml_input_value_from_block(bytes: *const c_char, len: isize) = input_value_from_block;
    /// Reads a value from C's memory, `at` bytes behind its start, and frees that. From OCaml 5.4 on, C says how many
    /// bytes there are.
    caml_input_value_from_malloc(bytes: *mut u8, at: usize, len: usize) = input_value_from_malloc;
    /// Reads a value from the bytes of a string, starting at the untagged offset `at` (OCaml 4).
    caml_input_val_from_string(s: Value, at: isize) = input_val_from_string;
    /// The same (OCaml 5, and 4.13 on).
    caml_input_val_from_bytes(s: Value, at: isize) = input_val_from_string;
    /// Reads a value from a channel (`struct channel *`).
    caml_input_val(channel: *mut c_void) = input_val;
}

/// Marshals a value to a string, and calls `f` with that.
fn with_bytes(
    m: &mut Machine,
    v: Value,
    flags: Value,
    f: impl FnOnce(&[u8]) -> Result<Value, Raise>,
) -> Result<Value, Raise> {
    let s = built_in(m, "caml_output_value_to_bytes", &[v, flags])?;
    // SAFETY: the primitive's result; `f` allocates nothing in the heap.
    f(unsafe { s.bytes() })
}

unsafe extern "C" fn output_value_to_malloc(
    v: Value,
    flags: Value,
    into: *mut *mut u8,
    len: *mut usize,
) -> Answer {
    answer_outside(|m| {
        with_bytes(m, v, flags, |bytes| {
            let copy = memory::c_copy(bytes, false);
            if copy.is_null() {
                return Err(Raise::OutOfMemory);
            }
            // SAFETY: C's places for the results.
            unsafe {
                *into = copy;
                *len = bytes.len();
            }
            Ok(Value::UNIT)
        })
    })
}

unsafe extern "C" fn output_value_to_block(v: Value, flags: Value, into: *mut u8, room: isize) -> Answer {
    answer_outside(|m| {
        with_bytes(m, v, flags, |bytes| {
            if usize::try_from(room).is_ok_and(|room| bytes.len() <= room) {
                // SAFETY: C's memory, of `room` bytes.
                unsafe { into.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
                return Ok(Value::from_bits(bytes.len() as u64));
            }
            Err(Raise::failure("Marshal.to_buffer: buffer overflow"))
        })
    })
}

unsafe extern "C" fn output_val(to: *mut c_void, v: Value, flags: Value) -> Answer {
    answer_outside(|m| {
        let mark = m.mark();
        // SAFETY: values of the program, and its channel.
        let mut output = || unsafe {
            let (v, flags) = (m.push_value(v)?, m.push_value(flags)?);
            let to = foreign::push_channel(m, channel(to))?;
            m.call_built_in("caml_output_value", &[to, v, flags]).map(drop)
        };
        let outcome = output();
        m.release(mark);
        outcome.map(|()| Value::UNIT)
    })
}

unsafe extern "C" fn input_value_from_block(bytes: *const c_char, len: isize) -> Answer {
    const NAME: &str = "input_value_from_block";
    answer_outside(|m| {
        let Ok(len) = usize::try_from(len) else {
            return Err(Raise::failure("input_value_from_block: negative length"));
        };
        // SAFETY: C's memory, of `len` bytes.
        let bytes = unsafe { items(bytes.cast(), len) };
        Ok(foreign::value_of_block(m, bytes, NAME)?.raw())
    })
}

unsafe extern "C" fn input_value_from_malloc(bytes: *mut u8, at: usize, len: usize) -> Answer {
    const NAME: &str = "input_value_from_malloc";
    answer_outside(|m| {
        // SAFETY: C's memory holds as many bytes as C says, or else a header, and as many bytes as that says.
        let first = |len| unsafe { items(bytes.wrapping_add(at), len) };
        let len = match m.dialect().release >= Release::V5_4 {
            true => Ok(len),
            false => foreign::marshalled_len(m, first, NAME),
        };
        let read = len.and_then(|len| Ok(foreign::value_of_block(m, first(len), NAME)?.raw()));
        // SAFETY: C's memory, which this function is to free.
        unsafe { memory::caml_stat_free(bytes.cast()) };
        read
    })
}

extern "C" fn input_val_from_string(s: Value, at: isize) -> Answer {
    answer_outside(|m| built_in(m, "caml_input_value_from_bytes", &[s, Value::int(at as i64)]))
}

unsafe extern "C" fn input_val(from: *mut c_void) -> Answer {
    answer_outside(|m| {
        let mark = m.mark();
        // SAFETY: a channel of the program.
        let from = unsafe { foreign::push_channel(m, channel(from)) };
        // SAFETY: the primitive's argument is in a slot.
        let read = from.and_then(|from| unsafe { Ok(m.call_built_in("caml_input_value", &[from])?.raw()) });
        m.release(mark);
        read
    })
}
