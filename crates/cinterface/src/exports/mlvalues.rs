//! `caml/mlvalues.h` and what belongs to it: strings, variants, names.

use std::ffi::{c_char, c_int};

use spelter_heap::raw::Value;

use super::text;
use crate::call::reading;
use crate::roots;

/// The length of a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_string_length(s: Value) -> usize {
    // SAFETY: a string of the program.
    unsafe { s.string_len() }
}

/// Whether it has no NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_string_is_c_safe(s: Value) -> c_int {
    // SAFETY: a string of the program.
    c_int::from(!unsafe { s.bytes() }.contains(&0))
}

/// The integer of a polymorphic variant.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_hash_variant(tag: *const c_char) -> Value {
    // SAFETY: C's string.
    let hash = unsafe { text(tag) }
        .iter()
        .fold(0i64, |hash, byte| hash.wrapping_mul(223).wrapping_add(i64::from(*byte)));
    // 31 bits, of which the highest is the sign.
    Value::int(hash << 33 >> 33)
}

/// The flags of a list of constant constructors: `flags` has one for each constructor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_convert_flag_list(mut list: Value, flags: *const c_int) -> c_int {
    let mut all = 0;
    // SAFETY: a list of the program; C's table has as many entries as the type has constructors.
    unsafe {
        while list.is_block() {
            all |= *flags.add(list.field(0).as_int() as usize);
            list = list.field(1);
        }
    }
    all
}

/// The variable that holds the value registered under a name; null if there is none. Its address never changes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_named_value(name: *const c_char) -> *const Value {
    // SAFETY: C's string.
    let name = unsafe { text(name) };
    reading(|m| roots::named(name, || m.named_raw(name)))
}

/// The method of an object with this label; null if it has none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_get_public_method(object: Value, label: Value) -> Value {
    // SAFETY: an object of the program: its first field is the table {count, mask, method, label, …}, sorted by label.
    unsafe {
        let table = object.field(0);
        let count = table.field(0).as_int() as usize;
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = (low + high) / 2;
            let at = table.field(3 + 2 * middle);
            if at == label {
                return table.field(2 + 2 * middle);
            }
            if (at.bits() as i64) < label.bits() as i64 {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
    }
    Value::from_bits(0)
}
