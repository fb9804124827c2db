//! Custom blocks: payloads that the collector does not look into, with operations that the client
//! names. And *externals*: custom blocks that own a Rust value.
//!
//! ```text
//! word 0    : the address of the kind's CustomOps, behind its header
//! words 1.. : the payload; for an external the two words of a Box<dyn Any>
//! last word : the bytes held outside the heap, for kinds that count them
//! ```
//!
//! Word 0 points to what C calls a `struct custom_operations` ([`COperations`]), because C's libraries read it. A kind
//! of the client has its own data behind that, and a header in front. A kind of a C library has only what C defines; the
//! client describes it to [`foreign_kind`], which remembers the description by the address.
//!
//! Programs read word 0, since it tells kinds apart, and may store it wherever they store values. So a kind's
//! operations have a header in front of them, with a colour that no block has ([`Header::OUTSIDE`]): the collector sees
//! it as marked and skips it, and [`Val::is_outside`](crate::Val::is_outside) reports that it is not a block of any
//! heap. What C's libraries define has no such header; programs see the header of its description instead
//! ([`Val::custom_kind`](crate::Val::custom_kind)).

use crate::value::{Header, Value};
use std::any::Any;
use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{LazyLock, OnceLock, PoisonError, RwLock};

/// C's `struct custom_operations` (`runtime/caml/custom.h`). Each field may be null, except for the identifier.
#[repr(C)]
#[allow(missing_docs, reason = "named as in OCaml's header")]
pub struct COperations {
    pub identifier: *const c_char,
    pub finalize: Option<unsafe extern "C" fn(Value)>,
    pub compare: Option<unsafe extern "C" fn(Value, Value) -> c_int>,
    pub hash: Option<unsafe extern "C" fn(Value) -> isize>,
    pub serialize: Option<unsafe extern "C" fn(Value, *mut usize, *mut usize)>,
    pub deserialize: Option<unsafe extern "C" fn(*mut c_void) -> usize>,
    pub compare_ext: Option<unsafe extern "C" fn(Value, Value) -> c_int>,
    /// Sizes in bytes on 32-bit and on 64-bit machines.
    pub fixed_length: *const [isize; 2],
}

/// What the heap and its client know about one kind of custom block.
#[repr(C)]
pub struct CustomOps {
    /// The header in front of the address that word 0 holds.
    header: Header,
    /// What C sees: a name, and [`is_ours`] in place of a finaliser.
    c: COperations,
    /// The word 0 of its blocks.
    word: Word,
    /// The name of the kind; unique among a client's kinds, as it identifies them in files.
    pub name: &'static str,
    /// What else the client knows about the kind (how to compare, hash, write …).
    pub behaviour: &'static (dyn Any + Send + Sync),
    pub(crate) finalize: Option<fn(payload: &mut [u64])>,
    pub(crate) retire: Option<Retire>,
    /// By what the client recognises kinds whose payload it trusts; 0 for others.
    seal: u8,
    /// The payload is a `Box<dyn Any>`.
    pub(crate) owns: bool,
    /// The last word counts bytes outside the heap.
    pub(crate) counts: bool,
    /// The owned Rust value holds values of the heap.
    pub(crate) traced: bool,
}

// SAFETY: it never changes, and what its pointers refer to neither.
unsafe impl Sync for CustomOps {}
// SAFETY: as above.
unsafe impl Send for CustomOps {}

/// Finalises a block: gets its payload, and may return something that is dropped when the collection is over.
pub type Retire = fn(payload: &mut [u64]) -> Option<Box<dyn Any>>;

/// Where word 0 of a kind's blocks points to.
#[derive(Clone, Copy)]
enum Word {
    /// Into the kind's own data, behind its header.
    Own,
    /// To the operations of a C library.
    Foreign(u64),
}

/// The distance from the start of the operations to the address in word 0.
const TO_WORD: usize = size_of::<Header>();

/// Tells operations of ours from those of a C library: no such library knows its address. It does nothing, should C
/// call it all the same.
#[inline(never)] // Copies of it would have other addresses.
unsafe extern "C" fn is_ours(_: Value) {}

/// The kinds of C libraries, by the addresses of their operations. Like these, they live as long as the process.
static FOREIGN: LazyLock<RwLock<HashMap<u64, &'static CustomOps>>> = LazyLock::new(RwLock::default);

/// Describes the kind of a block whose word 0 a library has written itself.
static DESCRIBE: OnceLock<fn(*const COperations) -> &'static CustomOps> = OnceLock::new();

/// Lets `f` describe kinds that [`foreign_kind`] does not know: a library may write word 0 of a block itself. Only the
/// first call has an effect.
///
/// # Safety
/// `f` calls [`foreign_kind`], keeping its contract if libraries keep C's, and does not reach any heap.
pub unsafe fn describe_foreign_kinds(f: fn(*const COperations) -> &'static CustomOps) {
    let _ = DESCRIBE.set(f);
}

/// Describes a kind whose operations a C library defines, at `operations`: `kind` says how the client treats its blocks.
/// Returns the description, or the earlier one if there is one. It is never freed.
///
/// # Panics
/// If blocks of `kind` own Rust values, or count bytes outside the heap: those words are not C's. Blocks of a sealed
/// kind may count bytes, since only the client makes them.
///
/// # Safety
/// `operations` is the address of a valid `struct custom_operations`, and remains so for as long as the process runs.
pub unsafe fn foreign_kind(operations: *const COperations, kind: CustomOps) -> &'static CustomOps {
    let is_own = kind.seal != 0 || !kind.counts;
    assert!(!kind.owns && is_own, "the payload of a foreign kind is the library's own");
    let mut known = FOREIGN.write().unwrap_or_else(PoisonError::into_inner);
    known
        .entry(operations as u64)
        .or_insert_with(|| Box::leak(Box::new(CustomOps { word: Word::Foreign(operations as u64), ..kind })))
}

/// Kinds of C libraries that were found before, by some bits of their addresses. Programs use few.
static FOUND: [AtomicPtr<CustomOps>; 64] = [const { AtomicPtr::new(std::ptr::null_mut()) }; 64];

/// The description of a kind of a C library, if [`foreign_kind`] knows it.
#[inline]
pub fn find_foreign_kind(operations: *const COperations) -> Option<&'static CustomOps> {
    let place = &FOUND[(operations as usize >> 6) % FOUND.len()];
    // SAFETY: kinds live as long as the process, and never change.
    match unsafe { place.load(Ordering::Acquire).as_ref() } {
        Some(kind) if matches!(kind.word, Word::Foreign(word) if word == operations as u64) => Some(kind),
        _ => look_up(operations, place),
    }
}

#[cold]
#[inline(never)]
fn look_up(operations: *const COperations, place: &AtomicPtr<CustomOps>) -> Option<&'static CustomOps> {
    let known = FOREIGN.read().unwrap_or_else(PoisonError::into_inner);
    let kind: &'static CustomOps = known.get(&(operations as u64))?;
    place.store(std::ptr::from_ref(kind).cast_mut(), Ordering::Release);
    Some(kind)
}

/// The words a `Box<dyn Any>` takes in a payload.
pub(crate) const BOX_WORDS: usize = 2;
const _: () = assert!(size_of::<Box<dyn Any>>() == 8 * BOX_WORDS);

impl COperations {
    /// Operations with a name only. The name lives as long as they do.
    pub const fn named(identifier: *const c_char) -> COperations {
        COperations {
            identifier,
            finalize: None,
            compare: None,
            hash: None,
            serialize: None,
            deserialize: None,
            compare_ext: None,
            fixed_length: std::ptr::null(),
        }
    }
}

impl CustomOps {
    /// A kind whose name may be any bytes, of a library.
    pub fn named(name: &'static CStr, behaviour: &'static (dyn Any + Send + Sync)) -> CustomOps {
        let text: &'static str = match name.to_str() {
            Ok(text) => text,
            Err(_) => Box::leak(name.to_string_lossy().into_owned().into_boxed_str()),
        };
        CustomOps { name: text, ..CustomOps::new(c"", behaviour) }
    }

    /// A kind whose payload the heap does not interpret.
    ///
    /// # Panics
    /// If the name is not UTF-8.
    pub const fn new(name: &'static CStr, behaviour: &'static (dyn Any + Send + Sync)) -> CustomOps {
        let Ok(text) = name.to_str() else { panic!("the name of a kind is UTF-8") };
        CustomOps {
            header: Header::OUTSIDE,
            c: COperations { finalize: Some(is_ours), ..COperations::named(name.as_ptr()) },
            word: Word::Own,
            name: text,
            behaviour,
            finalize: None,
            retire: None,
            seal: 0,
            owns: false,
            counts: false,
            traced: false,
        }
    }

    /// Calls `f` once with the payload when a block of the kind has died, or when the heap is dropped. `f` must not
    /// panic, cannot reach the heap, and must not drop roots of it.
    pub const fn finalized_by(self, f: fn(payload: &mut [u64])) -> CustomOps {
        CustomOps { finalize: Some(f), ..self }
    }

    /// As [`CustomOps::finalized_by`]; what `f` returns is dropped when the collection is over, and may reach the heap
    /// and panic.
    pub const fn retired_by(self, f: Retire) -> CustomOps {
        CustomOps { retire: Some(f), ..self }
    }

    /// Makes it a kind whose payload the client trusts: the client makes its blocks only where it knows what they hold,
    /// and recognises the kind by a number of its own choice, which is not 0.
    pub const fn sealed(self, seal: u8) -> CustomOps {
        CustomOps { seal, ..self }
    }

    /// The number by which the client recognises a sealed kind. 0 for all others.
    #[inline(always)]
    pub const fn seal(&self) -> u8 {
        self.seal
    }

    /// Makes it a kind of externals: blocks that own a Rust value, and drop it when they die.
    pub const fn owning(self) -> CustomOps {
        CustomOps { owns: true, ..self }
    }

    /// Makes it a kind of externals whose Rust values hold values of the heap: the collector asks the client for these
    /// ([`Roots::trace`](crate::raw::Roots::trace)). The client shows those of old blocks that it has written since the
    /// last minor collection among its roots, because nothing else remembers them.
    pub const fn traced(self) -> CustomOps {
        CustomOps { owns: true, traced: true, ..self }
    }

    /// Makes it a kind of blocks that hold bytes outside the heap.
    pub const fn counting(self) -> CustomOps {
        CustomOps { counts: true, ..self }
    }

    /// Whether the heap has something to do when a block of this kind dies.
    pub const fn is_mourned(&self) -> bool {
        self.finalize.is_some() || self.retire.is_some() || self.owns || self.counts
    }

    /// Word 0 of a block of this kind that the client allocates itself. Only for kinds that are not
    /// [mourned](CustomOps::is_mourned): others must come from [`Heap::alloc_custom`](crate::Heap::alloc_custom), which
    /// registers them.
    #[inline(always)]
    pub fn word(&'static self) -> u64 {
        match self.word {
            Word::Own => self.own_word(),
            Word::Foreign(operations) => operations,
        }
    }

    /// The address of the function of C that compares blocks of this kind; 0 if there is none, or the kind is not C's.
    #[inline]
    pub fn foreign_compare(&self) -> usize {
        match self.word {
            Word::Own => 0,
            // SAFETY: the operations of a library live as long as the process.
            Word::Foreign(operations) => unsafe {
                (*(operations as *const COperations)).compare.map_or(0, |f| f as usize)
            },
        }
    }

    /// The address behind its own header, by which programs know the kind.
    #[inline(always)]
    pub(crate) fn own_word(&'static self) -> u64 {
        std::ptr::from_ref(self).wrapping_byte_add(TO_WORD) as u64
    }
}

/// # Safety
/// `word` is word 0 of a custom block.
#[inline(always)]
pub(crate) unsafe fn ops_of(word: u64) -> &'static CustomOps {
    // SAFETY: it is the address of C's operations. Those of ours lie within a &'static CustomOps.
    unsafe {
        if is_foreign(word) {
            foreign_ops_of(word)
        } else {
            &*(word as *const CustomOps).wrapping_byte_sub(TO_WORD)
        }
    }
}

/// Whether a block's operations are those of a C library.
///
/// # Safety
/// `word` is word 0 of a custom block.
#[inline(always)]
pub(crate) unsafe fn is_foreign(word: u64) -> bool {
    // SAFETY: it is the address of C's operations.
    let finalize = unsafe { (*(word as *const COperations)).finalize };
    finalize.is_none_or(|f| f as usize != is_ours as *const () as usize)
}

/// The kind of a block whose operations are those of a C library.
#[cold]
#[inline(never)]
fn foreign_ops_of(word: u64) -> &'static CustomOps {
    let operations = word as *const COperations;
    let known = find_foreign_kind(operations).or_else(|| DESCRIBE.get().map(|describe| describe(operations)));
    known.expect("the kind of a custom block is known")
}

/// Whether the owner of a block with these operations holds values.
///
/// # Safety
/// `v` is a custom block.
#[inline(always)]
pub(crate) unsafe fn is_traced(v: Value) -> bool {
    // SAFETY: word 0 of a custom block points to its operations.
    unsafe { ops_of(v.word(0)).traced }
}

/// The words of the payload that the client sees.
///
/// # Safety
/// `v` is a custom block.
pub(crate) unsafe fn payload_len(v: Value) -> usize {
    // SAFETY: word 0 of a custom block points to its operations, which determine the layout.
    unsafe {
        let ops = ops_of(v.word(0));
        if ops.owns { 0 } else { v.wosize() - 1 - usize::from(ops.counts) }
    }
}

/// # Safety
/// `v` is a custom block, alive and unshared for `'a`.
pub(crate) unsafe fn payload<'a>(v: Value) -> &'a mut [u64] {
    // SAFETY: the payload lies after word 0.
    unsafe { std::slice::from_raw_parts_mut(v.as_ptr().add(1), payload_len(v)) }
}

/// # Safety
/// `v` is a custom block whose words are all initialised.
unsafe fn boxed(v: Value) -> Option<*mut dyn Any> {
    // SAFETY: blocks of such kinds come from `alloc_external`, which wrote these two words.
    unsafe {
        ops_of(v.word(0))
            .owns
            .then(|| std::mem::transmute::<[u64; BOX_WORDS], *mut dyn Any>([v.word(1), v.word(2)]))
    }
}

/// # Safety
/// As for [`payload`], but may be shared.
pub(crate) unsafe fn external<'a>(v: Value) -> Option<&'a dyn Any> {
    // SAFETY: the block owns the box and lives for 'a.
    unsafe { boxed(v).map(|p| &*p) }
}

/// # Safety
/// As for [`external`], and the data is of this type.
#[inline(always)]
pub(crate) unsafe fn external_of_type<'a, T: Any>(v: Value) -> &'a T {
    // SAFETY: the block owns the box and lives for 'a; the caller knows the type.
    unsafe { &*std::mem::transmute::<[u64; BOX_WORDS], *mut dyn Any>([v.word(1), v.word(2)]).cast::<T>() }
}

/// # Safety
/// As for [`payload`].
pub(crate) unsafe fn external_mut<'a>(v: Value) -> Option<&'a mut dyn Any> {
    // SAFETY: the block owns the box, lives for 'a and is unshared.
    unsafe { boxed(v).map(|p| &mut *p) }
}

/// Fills the payload of an external.
///
/// # Safety
/// `v` is a fresh custom block of at least three words whose word 0 is that of an external.
pub(crate) unsafe fn store_box(v: Value, data: Box<dyn Any>) {
    // SAFETY: a raw fat pointer is two initialised words.
    unsafe {
        let words = std::mem::transmute::<*mut dyn Any, [u64; BOX_WORDS]>(Box::into_raw(data));
        v.set_word(1, words[0]);
        v.set_word(2, words[1]);
    }
}

/// What remains to be done for custom blocks that have died.
#[derive(Default)]
pub(crate) struct Dead {
    /// Owned data, dropped when the collection is over, so that foreign code never runs during it.
    pub(crate) boxes: Vec<Box<dyn Any>>,
    /// Bytes outside the heap that died with their blocks.
    pub(crate) outside_bytes: usize,
    /// Bytes of the boxes that died.
    pub(crate) owned_bytes: usize,
    /// How many of them were of traced kinds.
    pub(crate) traced: usize,
    /// The first panic of the code called for them, until it is taken.
    pub(crate) panic: Option<Panic>,
}

/// What a value that a block owns takes: itself, and what the allocator needs for it.
pub(crate) fn owned_cost(data: &dyn Any) -> usize {
    size_of_val(data) + 16
}

/// The payload of a panic.
pub(crate) type Panic = Box<dyn Any + Send>;

impl Dead {
    /// Finalises a custom block. Its memory may be reused at once.
    ///
    /// # Safety
    /// `v` is an unreachable custom block that has not been finalised before.
    pub(crate) unsafe fn bury(&mut self, v: Value) {
        // SAFETY: nothing else refers to the block any more.
        unsafe {
            let ops = ops_of(v.word(0));
            if ops.counts {
                let bytes = v.word(v.wosize() - 1) as usize;
                self.outside_bytes = self.outside_bytes.saturating_add(bytes);
            }
            self.traced += usize::from(ops.traced);
            if let Some(p) = boxed(v) {
                let data = Box::from_raw(p);
                self.owned_bytes += owned_cost(&*data);
                self.boxes.push(data);
            } else if let Some(retire) = ops.retire {
                let mut left = None;
                self.call(|| left = retire(payload(v)));
                self.boxes.extend(left);
            } else if let Some(finalize) = ops.finalize {
                self.call(|| finalize(payload(v)));
            }
        }
    }

    /// Drops the data of dead externals.
    pub(crate) fn drop_boxes(&mut self) {
        let mut boxes = std::mem::take(&mut self.boxes);
        for data in boxes.drain(..) {
            self.call(|| drop(data));
        }
        self.boxes = boxes;
    }

    /// Calls foreign code; if it panics, the panic is kept until the collection is over.
    fn call(&mut self, f: impl FnOnce()) {
        let called = catch_unwind(AssertUnwindSafe(f));
        if let (Err(panic), None) = (called, &self.panic) {
            self.panic = Some(panic);
        }
    }
}

#[allow(clippy::missing_safety_doc, reason = "the contract is shared and stated on `value`'s methods")]
impl Value {
    /// The operations of a custom block.
    #[inline(always)]
    pub unsafe fn custom_ops(self) -> &'static CustomOps {
        // SAFETY: word 0 of a custom block points to its operations.
        unsafe { ops_of(self.word(0)) }
    }
    /// The payload of a custom block: its words after the operations. For an external it is empty. The caller chooses
    /// `'a`, as for [`Value::bytes_mut`].
    #[inline(always)]
    pub unsafe fn custom_payload<'a>(self) -> &'a mut [u64] {
        // SAFETY: a custom block, alive and unshared for 'a by contract.
        unsafe { payload(self) }
    }
    /// The data of an external, if it is one and of this type. `'a` as for [`Value::bytes`].
    pub unsafe fn external<'a, T: Any>(self) -> Option<&'a T> {
        // SAFETY: a custom block, alive for 'a by contract.
        unsafe { external(self) }?.downcast_ref()
    }
    /// The data of an external that is known to be of this type. `'a` as for [`Value::bytes`].
    #[inline(always)]
    pub unsafe fn external_of_type<'a, T: Any>(self) -> &'a T {
        // SAFETY: an external of that type, alive for 'a by contract.
        unsafe { external_of_type(self) }
    }
    /// The data of an external, for writing. As [`Value::external`], and nothing else may access it during `'a`.
    pub unsafe fn external_mut<'a, T: Any>(self) -> Option<&'a mut T> {
        // SAFETY: a custom block, alive and unshared for 'a by contract.
        unsafe { external_mut(self) }?.downcast_mut()
    }
}
