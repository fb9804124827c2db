//! Rust values that OCaml code holds.

use std::ops::{Deref, DerefMut};

use spelter_interp::prim::custom::Behaviour;
use spelter_interp::{CustomOps, Raise};

use super::argument::{Argument, ContextArgument, Lending};
use super::reply::Reply;
use crate::context::{Context, Local};
use crate::wrong_type::WrongType;

/// A Rust value that OCaml code holds: an abstract type for the guest, which it can only pass on.
///
/// A host function that returns a `Host<T>` gives the value away; one that takes a `&Host<T>` borrows it while it runs.
/// The value is dropped when the collector finds that the guest no longer has it, or with the machine. A panic of its
/// `Drop` ends the call into the machine with [`Error::Panic`](crate::Error::Panic).
///
/// Guests can pass any value to any function, so the type is checked: another one raises `Invalid_argument`. Comparing it
/// (`compare`, `=`) and marshalling it raise `Invalid_argument`, and it contributes nothing to a hash, as for OCaml's own
/// abstract values; physical equality (`==`) works.
///
/// Since the guest may call back while a host function borrows the value, functions get a shared reference: what changes
/// is in a [`Cell`](std::cell::Cell), or in a [`RefCell`](std::cell::RefCell), whose `try_borrow_mut` fails with an error
/// that becomes an exception.
///
/// ```
/// use std::cell::Cell;
///
/// use spelter::{Error, Host, Value, Vm};
///
/// struct Counter { n: Cell<i64> }
///
/// // type counter
/// // external create : int -> counter = "counter_create"
/// // external add : counter -> int -> int = "counter_add"
/// let create = |n: i64| Host::new(Counter { n: Cell::new(n) });
/// let add = |counter: &Host<Counter>, by: i64| {
///     counter.n.set(counter.n.get() + by);
///     counter.n.get()
/// };
/// let mut vm = Vm::builder().primitive("counter_create", create).primitive("counter_add", add).build();
///
/// // The host makes such values, too, and looks into those that it keeps.
/// let counter: Value = vm.with(|cx| {
///     let counter = cx.new_host(Host::new(Counter { n: Cell::new(5) }))?;
///     Ok(cx.keep(counter))
/// })?;
/// let n = vm.with(|cx| {
///     let counter = cx.kept(&counter);
///     Ok(cx.host::<Counter>(counter)?.n.get())
/// })?;
/// assert_eq!(n, 5);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Host<T> {
    value: T,
    bytes: usize,
}

impl<T> Host<T> {
    /// The value, to be given to a guest.
    pub fn new(value: T) -> Self {
        Host { value, bytes: 0 }
    }

    /// Declares that the value owns this many bytes of memory. They make the collector run as often as bytes of its own
    /// heap that are allocated outside of it, but do not count towards the heap's limit.
    pub fn holding(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// The value itself.
    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<T> Deref for Host<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Host<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

/// The kind of the blocks. The Rust value has its own type.
pub(crate) static HOST: CustomOps = CustomOps::new(c"spelter.host", &Behaviour::OPAQUE).owning().counting();

impl<'c> Context<'c> {
    /// A value of the host's, which the guest may hold: see [`Host`].
    ///
    /// # Errors
    /// When memory is exhausted.
    pub fn new_host<T: Send + 'static>(&mut self, host: Host<T>) -> Result<Local<'c>, Raise> {
        let bytes = host.bytes;
        let slot = self.m.push(|m| m.new_external(&HOST, Box::new(host), bytes))?;
        Ok(Local::new(slot))
    }
}

impl<T: Send + 'static> Reply for Host<T> {
    fn reply<'c>(self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
        cx.new_host(self)
    }
}

impl<T: Send + 'static> Argument for &Host<T> {
    type Arg<'a> = &'a Host<T>;
    type Held<'c> = &'c Host<T>;

    #[inline]
    fn hold<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<&'c Host<T>, WrongType> {
        cx.host(v)
    }

    #[inline]
    fn lend<'a, 'c>(held: &'a mut &'c Host<T>, _: Lending) -> &'a Host<T> {
        held
    }
}

impl<T: Send + 'static> ContextArgument for &Host<T> {}
