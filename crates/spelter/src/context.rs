//! Host code's access to a machine: a [`Context`], and [`Local`]s, the values in it.
//!
//! A context is branded by its lifetime, which is invariant and cannot be chosen, because contexts are only lent to
//! closures that must accept any lifetime. So a local can be used only with the context that it came from, and does
//! not outlive it:
//!
//! - a primitive's context lasts as long as the call, and those of [`Vm::with`](crate::Vm::with) and
//!   [`Context::scope`] as long as their closures;
//! - during that time, the collector knows a local's value, and updates the local when the value moves.
//!
//! This is gc-arena's idea of a branded lifetime, applied to a stack of slots.

use std::marker::PhantomData;

use spelter_dynlink::explain::{self, WhyAlive};
use spelter_interp::{Machine, Raise, Slot, Val};

use crate::convert::{FromOcaml, ToOcaml, Value};
use crate::unit::{Unit, UnitInfo};
use crate::wrong_type::WrongType;

/// An invariant lifetime.
type Brand<'c> = PhantomData<fn(&'c ()) -> &'c ()>;

/// An OCaml value in a [`Context`], which keeps it alive.
#[derive(Clone, Copy)]
pub struct Local<'c> {
    pub(crate) slot: Slot,
    brand: Brand<'c>,
}

impl Local<'_> {
    pub(crate) fn new(slot: Slot) -> Self {
        Local { slot, brand: PhantomData }
    }
}

impl std::fmt::Debug for Local<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Local")
    }
}

/// Access to a machine while host code works with its values.
///
/// ```
/// use spelter::{Raise, Vm};
///
/// let mut vm = Vm::builder().build();
/// let sum = vm.with(|cx| {
///     let pair = [cx.int(40), cx.int(2)];
///     let pair = cx.block(0, &pair)?;
///     let (a, b): (i64, i64) = cx.read(pair)?;
///     Ok(a + b)
/// })?;
/// assert_eq!(sum, 42);
/// # Ok::<(), spelter::Error>(())
/// ```
///
/// It cannot be swapped with another machine's context, and its locals cannot leave it:
///
/// ```compile_fail
/// # let mut vm = spelter::Vm::builder().build();
/// let escaped = vm.with(|cx| Ok(cx.int(1)));
/// ```
///
/// While a machine is lent, no other thread can use it:
///
/// ```compile_fail,E0277
/// # let mut vm = spelter::Vm::builder().build();
/// vm.with(|cx| {
///     std::thread::scope(|s| s.spawn(|| cx.int(1)).join().unwrap());
///     Ok(())
/// })?;
/// # Ok::<(), spelter::Error>(())
/// ```
pub struct Context<'c> {
    pub(crate) m: &'c mut Machine,
    /// How many values of recursive types contain each other here.
    depth: u32,
    /// The address of the native stack at the outermost of them.
    outermost: usize,
    brand: Brand<'c>,
}

/// How deep values of recursive types may be nested that become Rust values, or are made of them, if each conversion
/// uses little of the native stack: running out of that cannot be caught.
const DEEPEST: u32 = 200;
/// What they may use of it together. How much one uses depends on the type, and on how the host was optimised.
const MOST_BYTES: usize = 512 << 10;

/// Calls `f` with the slots of these locals; a few of them are copied to the stack.
fn with_slots<R>(locals: &[Local<'_>], f: impl FnOnce(&[Slot]) -> R) -> R {
    const FEW: usize = 8;
    match locals {
        [] => f(&[]),
        [first, ..] if locals.len() <= FEW => {
            let mut slots = [first.slot; FEW];
            for (slot, local) in slots.iter_mut().zip(locals) {
                *slot = local.slot;
            }
            f(&slots[..locals.len()])
        }
        _ => f(&locals.iter().map(|local| local.slot).collect::<Vec<_>>()),
    }
}

impl<'c> Context<'c> {
    pub(crate) fn new(m: &'c mut Machine) -> Self {
        Context { m, depth: 0, outermost: 0, brand: PhantomData }
    }

    fn local(&self, slot: Slot) -> Local<'c> {
        Local::new(slot)
    }

    fn push(
        &mut self,
        f: impl for<'m> FnOnce(&'m mut Machine) -> Result<Val<'m>, Raise>,
    ) -> Result<Local<'c>, Raise> {
        let slot = self.m.push(f)?;
        Ok(self.local(slot))
    }

    /// Runs `f` in a nested context, whose locals are released when `f` returns, so that locals created in loops do
    /// not accumulate. `outer` passes in the locals that `f` may use.
    pub fn scope<R, const N: usize>(
        &mut self,
        outer: [Local<'c>; N],
        f: impl for<'s> FnOnce(&mut Context<'s>, [Local<'s>; N]) -> R,
    ) -> R {
        let mark = self.m.mark();
        let (depth, outermost) = (self.depth, self.outermost);
        let mut inner = Context { m: self.m, depth, outermost, brand: PhantomData };
        let result = f(&mut inner, outer.map(|local| Local::new(local.slot)));
        self.m.release(mark);
        result
    }

    /// Runs `f` one level deeper in a value of a recursive type; `None` where that is too deep.
    pub(crate) fn deeper<R>(&mut self, f: impl FnOnce(&mut Context<'c>) -> R) -> Option<R> {
        let local = 0u8;
        let here = (&raw const local).addr();
        if self.depth == 0 {
            self.outermost = here;
        }
        if self.depth == DEEPEST || self.outermost.abs_diff(here) > MOST_BYTES {
            return None;
        }
        self.depth += 1;
        let result = f(self);
        self.depth -= 1;
        Some(result)
    }

    // ---- creating values ---------------------------------------------------------------------------

    /// `()`
    pub fn unit(&mut self) -> Local<'c> {
        self.int(0)
    }

    /// An integer; wraps to 63 bits.
    pub fn int(&mut self, n: i64) -> Local<'c> {
        let slot = self.m.push_int(n);
        self.local(slot)
    }

    /// A float.
    ///
    /// # Errors
    /// When memory is exhausted.
    pub fn float(&mut self, f: f64) -> Result<Local<'c>, Raise> {
        self.push(|m| m.new_float(f))
    }

    /// A string of these bytes.
    ///
    /// # Errors
    /// When memory is exhausted.
    pub fn string(&mut self, bytes: impl AsRef<[u8]>) -> Result<Local<'c>, Raise> {
        self.push(|m| m.new_string(bytes.as_ref()))
    }

    /// A block with these fields: a tuple, a record, a constructor. Without fields, the empty block of that tag.
    ///
    /// # Errors
    /// When memory is exhausted; `Invalid_argument` for tags that no constructor has.
    pub fn block(&mut self, tag: u8, fields: &[Local<'c>]) -> Result<Local<'c>, Raise> {
        with_slots(fields, |fields| self.push(|m| m.new_block(tag, fields)))
    }

    /// A list of these values.
    ///
    /// # Errors
    /// When memory is exhausted.
    pub fn list(&mut self, items: &[Local<'c>]) -> Result<Local<'c>, Raise> {
        self.push(|m| m.new_list(items.iter().map(|item| item.slot), |m, item| Ok(m.val(item))))
    }

    /// A flat array of floats.
    ///
    /// # Errors
    /// When memory is exhausted.
    pub fn float_array(&mut self, items: &[f64]) -> Result<Local<'c>, Raise> {
        let array = self.push(|m| m.new_float_array(items.len()))?;
        for (i, item) in items.iter().enumerate() {
            self.m.set_float_field(array.slot, i, *item)?;
        }
        Ok(array)
    }

    /// A flat array of so many zeros.
    pub(crate) fn floats(&mut self, len: usize) -> Result<Local<'c>, Raise> {
        self.push(|m| m.new_float_array(len))
    }

    pub(crate) fn set_float(&mut self, array: Local<'c>, i: usize, to: f64) -> Result<(), Raise> {
        self.m.set_float_field(array.slot, i, to)
    }

    /// A block of tag 0 with so many fields, all `()`.
    pub(crate) fn blank(&mut self, fields: usize) -> Result<Local<'c>, Raise> {
        self.push(|m| m.new_block_sized(0, fields))
    }

    /// Replaces the list in `list` by `head :: list`. `list` must not be shared.
    pub(crate) fn prepend(&mut self, list: Local<'c>, head: Local<'c>) -> Result<(), Raise> {
        self.m.assign(list.slot, |m| m.new_cons(head.slot, list.slot))
    }

    pub(crate) fn int32(&mut self, n: i32) -> Result<Local<'c>, Raise> {
        self.push(|m| m.new_int32(n))
    }

    pub(crate) fn int64(&mut self, n: i64) -> Result<Local<'c>, Raise> {
        self.push(|m| m.new_int64(n))
    }

    pub(crate) fn nativeint(&mut self, n: i64) -> Result<Local<'c>, Raise> {
        self.push(|m| m.new_nativeint(n))
    }

    /// A Rust value as an OCaml value.
    ///
    /// # Errors
    /// The exception that the conversion raises: usually only when memory is exhausted.
    pub fn make<T: ToOcaml + ?Sized>(&mut self, v: &T) -> Result<Local<'c>, Raise> {
        v.to_ocaml(self)
    }

    // ---- reading and writing -----------------------------------------------------------------------

    /// An OCaml value as a Rust value.
    ///
    /// # Errors
    /// When it has the wrong form.
    pub fn read<T: FromOcaml>(&mut self, v: Local<'c>) -> Result<T, WrongType> {
        T::from_ocaml(self, v)
    }

    /// Borrows a value to inspect it; the borrow ends before anything can change in the machine.
    pub fn get(&self, v: Local<'c>) -> Val<'_> {
        self.m.val(v.slot)
    }

    /// Field `i` of a block of values. Functions have no fields.
    ///
    /// # Errors
    /// When there is no such field.
    pub fn field(&mut self, v: Local<'c>, i: usize) -> Result<Local<'c>, WrongType> {
        let expected = || format!("a block with a field {i}");
        if self.is_function(v) || self.get(v).field(i).is_err() {
            return Err(self.wrong(v, expected()));
        }
        match self.m.push_field(v.slot, i) {
            Ok(slot) => Ok(self.local(slot)),
            Err(_) => Err(self.wrong(v, expected())),
        }
    }

    /// Element `i` of a flat array of floats, as a float.
    pub(crate) fn float_of(&mut self, v: Local<'c>, i: usize) -> Result<Local<'c>, WrongType> {
        let float = self.get(v).float_field(i).map_err(|_| self.wrong(v, "an array of floats"))?;
        self.float(float).map_err(|_| self.wrong(v, "a float for which there is memory"))
    }

    pub(crate) fn read_int32(&self, v: Local<'c>) -> Option<i32> {
        self.m.int32(v.slot).ok()
    }

    pub(crate) fn read_int64(&self, v: Local<'c>) -> Option<i64> {
        self.m.int64(v.slot).ok()
    }

    pub(crate) fn read_nativeint(&self, v: Local<'c>) -> Option<i64> {
        self.m.nativeint(v.slot).ok()
    }

    /// A second local for the same value.
    pub(crate) fn copy(&mut self, v: Local<'c>) -> Local<'c> {
        let slot = self.m.push_slot(v.slot);
        self.local(slot)
    }

    /// Replaces the value of `cursor` by its field `i`. `cursor` must be a [copy](Context::copy) that is not shared.
    pub(crate) fn advance(&mut self, cursor: Local<'c>, i: usize) -> Result<(), WrongType> {
        let mark = self.m.mark();
        let field = self.field(cursor, i)?;
        self.m.copy_slot(cursor.slot, field.slot);
        self.m.release(mark);
        Ok(())
    }

    /// Sets field `i` of a block of values to `to`.
    ///
    /// # Errors
    /// When there is no such field. Functions have none.
    pub fn set_field(&mut self, v: Local<'c>, i: usize, to: Local<'c>) -> Result<(), WrongType> {
        if self.is_function(v) || self.m.set_field(v.slot, i, to.slot).is_err() {
            return Err(self.wrong(v, format!("a block with a field {i}")));
        }
        Ok(())
    }

    /// Whether a value is a function: a closure.
    pub fn is_function(&self, v: Local<'c>) -> bool {
        use spelter_interp::inspect::reachability::tag::{CLOSURE, INFIX};
        matches!(self.get(v).tag(), Ok(CLOSURE | INFIX))
    }

    /// The error that `v` is not what was expected.
    pub fn wrong(&self, v: Local<'c>, expected: impl Into<String>) -> WrongType {
        WrongType::new(self.get(v), expected)
    }

    /// The length of a list.
    ///
    /// # Errors
    /// When the value is not a list, or is cyclic.
    pub fn list_len(&self, v: Local<'c>) -> Result<usize, WrongType> {
        self.m.list_len(v.slot).map_err(|_| self.wrong(v, "a list that ends"))
    }

    // ---- longer-lived values -----------------------------------------------------------------------

    /// Keeps a value beyond this context.
    pub fn keep(&mut self, v: Local<'c>) -> Value {
        Value(self.m.keep(v.slot))
    }

    /// A local for a value that the host keeps.
    ///
    /// # Panics
    /// When another machine keeps it.
    pub fn kept(&mut self, v: &Value) -> Local<'c> {
        let slot = self.m.push_kept(&v.0);
        self.local(slot)
    }

    /// The value that OCaml code registered under `name` with `Callback.register`.
    pub fn registered(&mut self, name: &str) -> Option<Local<'c>> {
        let slot = self.m.named_value(name)?;
        Some(self.local(slot))
    }

    /// The module that a unit defines.
    ///
    /// # Errors
    /// `Spelter.Revoked` when the unit has been revoked.
    ///
    /// # Panics
    /// When the unit belongs to another machine.
    pub fn module(&mut self, unit: &Unit) -> Result<Local<'c>, Raise> {
        let slot = unit.0.push_module(self.m)?;
        Ok(self.local(slot))
    }

    // ---- running -----------------------------------------------------------------------------------

    /// Applies an OCaml function.
    ///
    /// # Errors
    /// The exception that it raises; when it is not a function, or there are no arguments.
    pub fn call(&mut self, f: Local<'c>, args: &[Local<'c>]) -> Result<Local<'c>, Raise> {
        with_slots(args, |args| self.push(|m| m.call(f.slot, args)))
    }

    /// Raises this exception: return the result as the error of a primitive.
    pub fn raise(&mut self, exn: Local<'c>) -> Raise {
        self.m.set_exn(exn.slot)
    }

    /// The exception value of an error; `()` if it is not an exception ([`Raise::Exit`] and similar).
    pub fn exception(&mut self, raise: Raise) -> Local<'c> {
        let slot = self.m.push_exception(raise);
        self.local(slot)
    }

    /// [`Vm::revoke`](crate::Vm::revoke).
    ///
    /// # Errors
    /// `Out_of_memory`; only the names have changed then.
    ///
    /// # Panics
    /// When the unit belongs to another machine.
    pub fn revoke(&mut self, unit: Unit) -> Result<bool, Raise> {
        spelter_dynlink::revoke(self.m, &unit.0)
    }

    /// Runs a full major collection. Finalisers that are due run later.
    pub fn collect(&mut self) {
        self.m.collect_full();
    }

    /// The loaded units that are alive.
    pub fn units(&self) -> Vec<UnitInfo> {
        UnitInfo::all(self.m)
    }

    /// [`Vm::why_all_alive`](crate::Vm::why_all_alive).
    pub fn why_all_alive(&mut self) -> Vec<WhyAlive> {
        explain::why_all_alive(self.m)
    }
}
