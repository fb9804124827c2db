//! `caml/weak.h`: ephemerons. C's weak arrays are ephemerons whose data is never set.

use spelter_heap::raw::Value;
use spelter_interp::{Machine, Raise, Slot};
use spelter_primitives::weak::shallow_copy;

use super::rooted;
use crate::arch::may_raise;
use crate::call::{Answer, answer};

may_raise! {
    /// A new ephemeron with this many keys.
    caml_ephemeron_create(keys: usize) = create;
    /// How many keys it has, set or not.
    caml_ephemeron_num_keys(ephemeron: Value) = num_keys;
    /// Whether a key is set and alive.
    caml_ephemeron_key_is_set(ephemeron: Value, key: usize) = key_is_set;
    /// Sets a key.
    caml_ephemeron_set_key(ephemeron: Value, key: usize, v: Value) = set_key;
    /// Unsets it.
    caml_ephemeron_unset_key(ephemeron: Value, key: usize) = unset_key;
    /// Reads a key. The result says whether it is set and alive.
    caml_ephemeron_get_key(ephemeron: Value, key: usize, into: *mut Value) = get_key;
    /// The same, of a shallow copy.
    caml_ephemeron_get_key_copy(ephemeron: Value, key: usize, into: *mut Value) = get_key_copy;
    /// Copies keys, set or not.
    caml_ephemeron_blit_key(from: Value, i: usize, to: Value, j: usize, len: usize) = blit_key;
    /// Whether the data is set and alive.
    caml_ephemeron_data_is_set(ephemeron: Value) = data_is_set;
    /// Sets the data.
    caml_ephemeron_set_data(ephemeron: Value, v: Value) = set_data;
    /// Unsets it.
    caml_ephemeron_unset_data(ephemeron: Value) = unset_data;
    /// Reads the data. The result says whether it is set and alive.
    caml_ephemeron_get_data(ephemeron: Value, into: *mut Value) = get_data;
    /// The same, of a shallow copy.
    caml_ephemeron_get_data_copy(ephemeron: Value, into: *mut Value) = get_data_copy;
    /// Copies the data, set or not.
    caml_ephemeron_blit_data(from: Value, to: Value) = blit_data;
}

/// Runs `f` with an ephemeron in a slot.
fn with_ephemeron(e: Value, f: impl FnOnce(&mut Machine, Slot) -> Result<Value, Raise>) -> Answer {
    answer(|m| rooted(m, e, f))
}

/// C's truth value.
fn truth(is: bool) -> Value {
    Value::from_bits(is.into())
}

extern "C" fn create(keys: usize) -> Answer {
    answer(|m| Ok(m.new_ephemeron(keys)?.raw()))
}

extern "C" fn num_keys(ephemeron: Value) -> Answer {
    with_ephemeron(ephemeron, |m, e| Ok(Value::from_bits(m.ephemeron_keys(e)? as u64)))
}

extern "C" fn key_is_set(ephemeron: Value, key: usize) -> Answer {
    with_ephemeron(ephemeron, |m, e| Ok(truth(m.ephemeron_check(e, key)?)))
}

extern "C" fn set_key(ephemeron: Value, key: usize, v: Value) -> Answer {
    with_ephemeron(ephemeron, |m, e| {
        rooted(m, v, |m, v| m.ephemeron_set(e, key, Some(v)))?;
        Ok(Value::UNIT)
    })
}

extern "C" fn unset_key(ephemeron: Value, key: usize) -> Answer {
    with_ephemeron(ephemeron, |m, e| {
        m.ephemeron_set(e, key, None)?;
        Ok(Value::UNIT)
    })
}

extern "C" fn data_is_set(ephemeron: Value) -> Answer {
    with_ephemeron(ephemeron, |m, e| Ok(truth(m.ephemeron_check_data(e)?)))
}

extern "C" fn set_data(ephemeron: Value, v: Value) -> Answer {
    with_ephemeron(ephemeron, |m, e| {
        rooted(m, v, |m, v| m.ephemeron_set_data(e, Some(v)))?;
        Ok(Value::UNIT)
    })
}

extern "C" fn unset_data(ephemeron: Value) -> Answer {
    with_ephemeron(ephemeron, |m, e| {
        m.ephemeron_set_data(e, None)?;
        Ok(Value::UNIT)
    })
}

/// Gives C what has been read, if anything.
///
/// # Safety
/// `into` is a variable of C.
unsafe fn give(m: &Machine, found: Option<Slot>, into: *mut Value) -> Value {
    if let Some(found) = found {
        // SAFETY: by contract.
        unsafe { into.write(m.val(found).raw()) }
    }
    truth(found.is_some())
}

unsafe extern "C" fn get_key(ephemeron: Value, key: usize, into: *mut Value) -> Answer {
    with_ephemeron(ephemeron, |m, e| {
        let found = m.ephemeron_get(e, key)?;
        // SAFETY: C's variable.
        Ok(unsafe { give(m, found, into) })
    })
}

unsafe extern "C" fn get_key_copy(ephemeron: Value, key: usize, into: *mut Value) -> Answer {
    with_ephemeron(ephemeron, |m, e| {
        let found = m.ephemeron_get(e, key)?;
        let copied = found.map(|v| shallow_copy(m, v)).transpose()?;
        // SAFETY: C's variable.
        Ok(unsafe { give(m, copied, into) })
    })
}

unsafe extern "C" fn get_data(ephemeron: Value, into: *mut Value) -> Answer {
    with_ephemeron(ephemeron, |m, e| {
        let found = m.ephemeron_get_data(e)?;
        // SAFETY: C's variable.
        Ok(unsafe { give(m, found, into) })
    })
}

unsafe extern "C" fn get_data_copy(ephemeron: Value, into: *mut Value) -> Answer {
    with_ephemeron(ephemeron, |m, e| {
        let found = m.ephemeron_get_data(e)?;
        let copied = found.map(|v| shallow_copy(m, v)).transpose()?;
        // SAFETY: C's variable.
        Ok(unsafe { give(m, copied, into) })
    })
}

extern "C" fn blit_key(from: Value, i: usize, to: Value, j: usize, len: usize) -> Answer {
    with_ephemeron(from, |m, from| {
        rooted(m, to, |m, to| m.ephemeron_blit(from, i, to, j, len))?;
        Ok(Value::UNIT)
    })
}

extern "C" fn blit_data(from: Value, to: Value) -> Answer {
    with_ephemeron(from, |m, from| {
        rooted(m, to, |m, to| m.ephemeron_blit_data(from, to))?;
        Ok(Value::UNIT)
    })
}
