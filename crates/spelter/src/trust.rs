//! The facade's only unsafe code, for what types cannot express.

use std::marker::PhantomData;
use std::ops::Range;
use std::rc::Rc;

use spelter_interp::{Engine, ErrandSender, HostFn, Machine, Raise, Res, Slot, UnitId};

use crate::context::{Context, Local};
use crate::host::{Element, HOST, Host, Lending};
use crate::vm::{Vm, VmBuilder};
use crate::wrong_type::WrongType;

/// Converts a host function to the machine's form. The types of its context and locals enforce the machine's
/// contract.
fn host_fn<F>(f: F) -> impl for<'m> Fn(&'m mut Machine, &[Slot]) -> Res<'m>
where
    F: for<'c> Fn(&mut Context<'c>, &[Local<'c>]) -> Result<Local<'c>, Raise>,
{
    move |m, args| {
        let result = match args {
            // The usual numbers of arguments need no memory.
            [] => f(&mut Context::new(m), &[]),
            [a] => f(&mut Context::new(m), &[Local::new(*a)]),
            [a, b] => f(&mut Context::new(m), &[*a, *b].map(Local::new)),
            [a, b, c] => f(&mut Context::new(m), &[*a, *b, *c].map(Local::new)),
            [a, b, c, d] => f(&mut Context::new(m), &[*a, *b, *c, *d].map(Local::new)),
            _ => f(&mut Context::new(m), &args.iter().map(|arg| Local::new(*arg)).collect::<Vec<_>>()),
        };
        let result = result?.slot;
        Ok(m.val(result))
    }
}

/// Registers a primitive of the host.
pub(crate) fn add_primitive<F>(m: &mut Machine, name: &str, arity: usize, f: F)
where
    F: for<'c> Fn(&mut Context<'c>, &[Local<'c>]) -> Result<Local<'c>, Raise> + Send + 'static,
{
    let f: HostFn = Rc::new(host_fn(f));
    // SAFETY: `f` accesses the machine only through a context, whose lifetime it cannot choose. So it cannot swap the
    // machine, and it reaches no slots except its arguments and those that it pushed, which it releases in the order
    // of scopes.
    unsafe { m.add_host_primitive(name, arity, f) };
}

impl<'c> Context<'c> {
    /// The value of the host's that an OCaml value is: see [`Host`].
    ///
    /// # Errors
    /// When it is something else, or a value of another type.
    pub fn host<T: Send + 'static>(&self, v: Local<'c>) -> Result<&'c Host<T>, WrongType> {
        let found = self.m.val(v.slot);
        let Ok(host) = found.external::<Host<T>>() else { return Err(no_host::<T>(self, v)) };
        // SAFETY: the slot keeps the block, and the block its box, which does not move. The slot is a local's, so it holds
        // this value until the context of its brand is left, and nothing of that brand outlives that.
        Ok(unsafe { &*std::ptr::from_ref(host) })
    }
}

#[cold]
fn no_host<'c, T>(cx: &Context<'c>, v: Local<'c>) -> WrongType {
    let other = cx.m.val(v.slot).custom_ops().is_ok_and(|ops| std::ptr::eq(ops, &HOST));
    let expected = format!("a value of the host's type {}", std::any::type_name::<T>());
    cx.wrong(v, if other { format!("{expected}, not of another one") } else { expected })
}

/// The elements of a big array that a host function has among its arguments.
#[derive(Debug)]
pub struct View<'c, T> {
    start: *mut T,
    len: usize,
    brand: PhantomData<&'c ()>,
}

impl<'c, T: Element> View<'c, T> {
    pub(crate) fn of(cx: &mut Context<'c>, v: Local<'c>) -> Result<Self, WrongType> {
        let elements = cx.elements_mut::<T>(v)?;
        Ok(View { start: elements.as_mut_ptr(), len: elements.len(), brand: PhantomData })
    }

    /// The addresses of the elements.
    pub(crate) fn range(&self) -> Range<usize> {
        let start = self.start.addr();
        start..start + self.len * size_of::<T>()
    }

    pub(crate) fn shared(&self, _: Lending) -> &[T] {
        // SAFETY: the argument's slot keeps the array, and the array its memory. Views are lent only to functions that
        // cannot reach the machine, after a test that none which writes overlaps another.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }

    pub(crate) fn exclusive(&mut self, _: Lending) -> &mut [T] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

/// Bytes as elements, if they are aligned.
pub(crate) fn elements<T: Element>(bytes: &[u8]) -> Option<&[T]> {
    // SAFETY: any bits are a number.
    let (before, elements, after) = unsafe { bytes.align_to::<T>() };
    (before.is_empty() && after.is_empty()).then_some(elements)
}

/// The same, for writing.
pub(crate) fn elements_mut<T: Element>(bytes: &mut [u8]) -> Option<&mut [T]> {
    // SAFETY: any bits are a number, and any byte is part of one.
    let (before, elements, after) = unsafe { bytes.align_to_mut::<T>() };
    (before.is_empty() && after.is_empty()).then_some(elements)
}

/// A vector as the bytes of its elements.
pub(crate) struct Bytes<T>(pub(crate) Vec<T>);

impl<T: Element> AsMut<[u8]> for Bytes<T> {
    fn as_mut(&mut self) -> &mut [u8] {
        let len = size_of_val(self.0.as_slice());
        // SAFETY: numbers have no padding, and any bytes are numbers.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), len) }
    }
}

/// Calls `handler` after the host's signal has arrived.
pub(crate) fn on_signal(
    m: &mut Machine,
    name: &str,
    handler: impl Fn(&mut Context<'_>) + Send + Sync + 'static,
) -> std::io::Result<()> {
    let handler = move |m: &mut Machine| {
        let mark = m.mark();
        handler(&mut Context::new(m));
        m.release(mark);
    };
    // SAFETY: `handler` accesses the machine only through a context, as in `add_primitive`.
    unsafe { spelter_primitives::handle_for_host(m, name, std::sync::Arc::new(handler)) }
}

/// Makes a machine revoke a unit that is alive then.
pub(crate) fn revoke_later(machine: &ErrandSender, unit: UnitId) {
    let revoke = move |m: &mut Machine| {
        let mark = m.mark();
        let outcome = match spelter_dynlink::find_unit(m, unit) {
            Some(unit) => spelter_dynlink::revoke(m, &unit).map(drop),
            None => Ok(()),
        };
        m.release(mark);
        outcome
    };
    // SAFETY: revoking is what primitives do, too; it releases its slots.
    unsafe { machine.send(revoke) }
}

impl Vm {
    /// The machine, for a loader of shared libraries (the crate `spelter-cinterface`).
    ///
    /// # Safety
    /// Only the loader's `install` uses it, whose conditions hold; among them, that the machine stays in this thread.
    pub unsafe fn machine_for_loader(&mut self) -> &mut Machine {
        &mut self.m
    }
}

impl VmBuilder {
    /// Trusts all code, as `ocamlrun` does: nothing is verified, and only OCaml's own run-time checks remain. This
    /// saves a few percent of time ([docs/performance.md]).
    ///
    /// [docs/performance.md]: https://github.com/spelter/spelter/blob/main/docs/performance.md
    ///
    /// # Safety
    /// All code that the machine will ever load must come unchanged from an OCaml compiler: the program, units, code
    /// that the program loads by itself, and closures that it unmarshals. All values that it gets must have the types
    /// that it was compiled for: arguments of the host's calls, results of host functions, values that are written
    /// into its blocks.
    pub unsafe fn trusted(mut self) -> Self {
        let dispatch = self.settings.engine.dispatch;
        // SAFETY: the caller guarantees it.
        self.settings.engine = unsafe { Engine::trusted(dispatch) };
        self
    }
}

// SAFETY: A machine is only used through `&mut Vm` or `&Vm`, by the thread that has the `Vm`, and does not ask which one
// that is: what is reference counted or in cells inside of it is used by one thread at a time. What leaves it are numbers
// with an `Arc` (values, units, namespaces, functions), `Arc`s of atomics and locks (interrupts, captured output), and
// copies. What hosts put into it (functions, sinks, clocks, handlers) is `Send` by the signatures of this crate's safe
// functions, and by contract of the others. The program's own threads already take turns with the machine.
unsafe impl Send for Vm {}

impl Vm {
    /// The underlying machine, for tools and tests that work with slots directly.
    ///
    /// # Safety
    /// The caller must keep the contract of [`spelter_interp::Prim`]: do not swap or replace the machine, and do not
    /// use or release any slots except those that were pushed since. Whatever is put into the machine can be sent to
    /// another thread, and the caller keeps nothing that shares its reference counts.
    pub unsafe fn machine(&mut self) -> &mut Machine {
        self.raw()
    }
}
