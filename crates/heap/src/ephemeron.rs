//! Ephemerons, and weak arrays, which are ephemerons without data.
//!
//! ```text
//! Block(ABSTRACT; link, data, key 0, key 1, …)
//! ```
//!
//! The collector does not scan them, but keeps a table of all of them. The data counts as reached when the ephemeron
//! and all its keys are. Keys and data that die are *unset*: replaced by a sentinel that no client ever sees. `link` is
//! a field of OCaml's layout; here it records whether the ephemeron is in the table of those that may refer to young
//! blocks. Ephemerons are always old.

use crate::heap::{Heap, OutOfMemory};
use crate::roots::Roots;
use crate::value::{Value, tag};

/// The fields before the first key.
pub(crate) const LINK: usize = 0;
pub(crate) const DATA: usize = 1;
/// The words of an ephemeron before its first key.
pub const FIRST_KEY: usize = 2;

/// The number of keys written between two checks for an interruption.
const STEP_KEYS: usize = 1 << 17;

#[derive(Default)]
pub(crate) struct Ephemerons {
    pub(crate) all: Vec<Value>,
    /// Those whose keys or data may be young.
    pub(crate) remembered: Vec<Value>,
}

impl Ephemerons {
    pub(crate) fn bytes(&self) -> usize {
        (self.all.capacity() + self.remembered.capacity()) * size_of::<Value>()
    }
}

/// # Safety
///
/// All methods: `e` is an ephemeron of this heap, key indices are below its number of keys, values
/// stored are valid values of this heap.
#[allow(clippy::missing_safety_doc, reason = "the contract is shared and stated on the block")]
impl Heap {
    /// The content of an unset key or data field: the atom of tag ABSTRACT, which clients never see.
    fn unset(&self) -> Value {
        self.atom(tag::ABSTRACT)
    }

    /// Makes an ephemeron with `keys` keys. The keys and the data are unset. May collect.
    pub unsafe fn ephe_create(&mut self, roots: &mut dyn Roots, keys: usize) -> Result<Value, OutOfMemory> {
        // SAFETY: the caller's roots.
        unsafe {
            self.before_large(roots);
            let all = self.ephemerons.all.len() + 1;
            if self.ephemerons.all.len() == self.ephemerons.all.capacity() {
                self.take_for_tables(2 * all * size_of::<Value>())?;
            }
            let Ephemerons { all: table, remembered } = &mut self.ephemerons;
            // Each ephemeron may have to be remembered later.
            let room = table.try_reserve(1).and_then(|()| remembered.try_reserve(all - remembered.len()));
            room.map_err(|_| OutOfMemory { words: all })?;
            let e = self.alloc_major_or_collect(roots, FIRST_KEY.saturating_add(keys), tag::ABSTRACT)?;
            e.set_word(LINK, Value::FALSE.bits());
            for i in DATA..FIRST_KEY + keys {
                *e.field_ptr(i) = self.unset();
                // Nothing refers to it yet, so it can be abandoned.
                if i % STEP_KEYS == 0 && roots.cannot_wait() {
                    return Err(OutOfMemory { words: FIRST_KEY + keys });
                }
            }
            self.ephemerons.all.push(e);
            Ok(e)
        }
    }

    /// The number of keys.
    pub unsafe fn ephe_keys(&self, e: Value) -> usize {
        // SAFETY: an ephemeron.
        unsafe { e.wosize() - FIRST_KEY }
    }

    /// Key `i`, if it is set.
    pub unsafe fn ephe_get_key(&mut self, e: Value, i: usize) -> Option<Value> {
        // SAFETY: same contract.
        unsafe { self.ephe_get(e, FIRST_KEY + i) }
    }
    /// The data, if it is set.
    pub unsafe fn ephe_get_data(&mut self, e: Value) -> Option<Value> {
        // SAFETY: same contract.
        unsafe { self.ephe_get(e, DATA) }
    }
    /// All ephemerons that the last major collection left, and those made since.
    pub fn ephemerons(&self) -> &[Value] {
        &self.ephemerons.all
    }
    /// Key `i`, if it is set, for inspection only: the client must not keep it.
    pub unsafe fn ephe_peek_key(&self, e: Value, i: usize) -> Option<Value> {
        // SAFETY: same contract.
        Some(unsafe { e.field(FIRST_KEY + i) }).filter(|&v| v != self.unset())
    }
    /// The data, if it is set, for inspection only: the client must not keep it.
    pub unsafe fn ephe_peek_data(&self, e: Value) -> Option<Value> {
        // SAFETY: same contract.
        Some(unsafe { e.field(DATA) }).filter(|&v| v != self.unset())
    }
    /// Sets key `i`.
    pub unsafe fn ephe_set_key(&mut self, e: Value, i: usize, v: Value) {
        // SAFETY: same contract.
        unsafe { self.ephe_set(e, FIRST_KEY + i, v) }
    }
    /// Sets the data.
    pub unsafe fn ephe_set_data(&mut self, e: Value, v: Value) {
        // SAFETY: same contract.
        unsafe { self.ephe_set(e, DATA, v) }
    }
    /// Unsets key `i`.
    pub unsafe fn ephe_unset_key(&mut self, e: Value, i: usize) {
        // SAFETY: same contract.
        unsafe { *e.field_ptr(FIRST_KEY + i) = self.unset() }
    }
    /// Unsets the data.
    pub unsafe fn ephe_unset_data(&mut self, e: Value) {
        // SAFETY: same contract.
        unsafe { *e.field_ptr(DATA) = self.unset() }
    }
    /// Whether key `i` is set.
    pub unsafe fn ephe_check_key(&self, e: Value, i: usize) -> bool {
        // SAFETY: same contract.
        unsafe { e.field(FIRST_KEY + i) != self.unset() }
    }
    /// Whether the data is set.
    pub unsafe fn ephe_check_data(&self, e: Value) -> bool {
        // SAFETY: same contract.
        unsafe { e.field(DATA) != self.unset() }
    }

    /// Copies `len` keys, set or not, from `from` at `i` to `to` at `j`. They may be the same ephemeron, and the ranges
    /// may overlap. Keeps nothing alive.
    pub unsafe fn ephe_blit_key(&mut self, from: Value, i: usize, to: Value, j: usize, len: usize) {
        // SAFETY: same contract; both ranges lie within their blocks.
        unsafe {
            std::ptr::copy(from.field_ptr(FIRST_KEY + i), to.field_ptr(FIRST_KEY + j), len);
            self.ephe_remember(to);
        }
    }

    /// Copies the data, set or not. Keeps nothing alive by itself.
    pub unsafe fn ephe_blit_data(&mut self, from: Value, to: Value) {
        // SAFETY: same contract.
        unsafe {
            *to.field_ptr(DATA) = from.field(DATA);
            self.ephe_remember(to);
        }
    }

    unsafe fn ephe_get(&mut self, e: Value, field: usize) -> Option<Value> {
        // SAFETY: same contract.
        let v = unsafe { e.field(field) };
        if v == self.unset() {
            return None;
        }
        // SAFETY: set fields hold valid values.
        unsafe { self.read_weakly(v) };
        Some(v)
    }

    unsafe fn ephe_set(&mut self, e: Value, field: usize, v: Value) {
        // SAFETY: same contract.
        unsafe {
            *e.field_ptr(field) = v;
            if self.is_young_block(v) {
                self.ephe_remember(e);
            }
        }
    }

    unsafe fn ephe_remember(&mut self, e: Value) {
        // SAFETY: same contract.
        unsafe {
            if e.field(LINK) == Value::FALSE {
                e.set_word(LINK, Value::TRUE.bits());
                self.ephemerons.remembered.push(e);
            }
        }
    }
}
