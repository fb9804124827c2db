//! The values that only C holds: local variables, global roots, values that it looked up by name.

use std::collections::{BTreeSet, HashMap};
use std::ptr;
use std::sync::{Mutex, PoisonError};

use spelter_heap::raw::Value;
use spelter_interp::prim::foreign::{Holder, Show};

use crate::activation::each_activation;
use crate::exports::roots as hook;
use crate::{library, state};

/// A block of local roots, on C's stack (`struct caml__roots_block` in `runtime/caml/memory.h`).
#[repr(C)]
pub(crate) struct Block {
    next: *mut Block,
    tables: isize,
    items: isize,
    table: [*mut Value; 5],
}

impl Block {
    /// A block that names one table, in front of `next`.
    pub(crate) fn new(next: *mut Block, table: *mut Value, items: usize) -> Block {
        let none = ptr::null_mut();
        Block { next, tables: 1, items: items as isize, table: [table, none, none, none, none] }
    }

    /// The block behind it.
    pub(crate) fn next(&self) -> *mut Block {
        self.next
    }
}

/// The process's roots.
#[derive(Default)]
struct Roots {
    /// The addresses of variables that C has registered.
    global: BTreeSet<usize>,
    /// Values registered by name that C has asked for. C keeps the addresses.
    named: HashMap<Vec<u8>, &'static mut Value>,
}

/// Lets Rust check that it is used by one thread at a time: the one that has the machine.
static ROOTS: Mutex<Option<Roots>> = Mutex::new(None);

fn with_roots<T>(f: impl FnOnce(&mut Roots) -> T) -> T {
    let mut roots = ROOTS.lock().unwrap_or_else(PoisonError::into_inner);
    f(roots.get_or_insert_default())
}

/// Registers a variable of C.
pub(crate) fn register(variable: *mut Value) {
    with_roots(|roots| roots.global.insert(variable as usize));
}

/// Removes it.
pub(crate) fn remove(variable: *mut Value) {
    with_roots(|roots| roots.global.remove(&(variable as usize)));
}

/// The variable that follows the value registered under a name. `find` finds the value.
pub(crate) fn named(name: &[u8], find: impl FnOnce() -> Option<Value>) -> *const Value {
    with_roots(|roots| {
        if let Some(known) = roots.named.get(name) {
            return ptr::from_ref::<Value>(known);
        }
        let Some(v) = find() else { return ptr::null() };
        // C keeps the address for ever.
        let variable = Box::leak(Box::new(v));
        let address = ptr::from_ref::<Value>(variable);
        roots.named.insert(name.to_owned(), variable);
        address
    })
}

/// A value has been registered under a name, perhaps again.
pub(crate) fn registered(name: &[u8], v: Value) {
    with_roots(|roots| {
        if let Some(variable) = roots.named.get_mut(name) {
            **variable = v;
        }
    });
}

/// What a variable that [`show`] has shown is.
pub(crate) fn holder(variable: usize) -> Holder {
    with_roots(|roots| {
        if roots.global.contains(&variable) {
            return Holder::Global(library::file_of(variable));
        }
        let is_it = |v: &Value| ptr::from_ref(v) as usize == variable;
        let named = roots.named.iter().find(|(_, v)| is_it(v));
        named.map_or(Holder::Local, |(name, _)| Holder::Named(String::from_utf8_lossy(name).into_owned()))
    })
}

/// How many there are outside functions.
pub(crate) fn held() -> usize {
    with_roots(|roots| roots.global.len() + roots.named.len())
}

/// Shows all of them to the collector, which may change them.
pub(crate) fn show(show: Show<'_>) {
    each_activation(|mut block| {
        // SAFETY: the blocks are in frames of C that have not returned; the tables name variables there.
        unsafe {
            while let Some(b) = block.as_ref() {
                for table in &b.table[..b.tables.clamp(0, 5) as usize] {
                    show(std::slice::from_raw_parts_mut(*table, b.items.max(0) as usize));
                }
                block = b.next;
            }
        }
    });
    // SAFETY: a word of the state, which holds a value.
    show(unsafe { std::slice::from_raw_parts_mut(state::last_exception(), 1) });
    hook::scan(show);
    with_roots(|roots| {
        for variable in &roots.global {
            // SAFETY: C guarantees that the variable exists until it removes it.
            show(unsafe { std::slice::from_raw_parts_mut(*variable as *mut Value, 1) });
        }
        for variable in roots.named.values_mut() {
            show(std::slice::from_mut(*variable));
        }
    });
}
