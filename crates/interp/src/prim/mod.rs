//! Primitives: their arguments and results, and the table of their names.
//!
//! A primitive is a safe Rust function from stack slots to a value:
//!
//! ```
//! use spelter_interp::{Machine, Res, Slot, Val};
//!
//! fn int_compare(m: &mut Machine, [a, b]: [Slot; 2]) -> Res<'_> {
//!     let (a, b) = (m.int(a)?, m.int(b)?);
//!     Ok(Val::from_int((a > b) as i64 - (a < b) as i64))
//! }
//! ```
//!
//! Its arguments stay on the machine's stack, where the collector sees and updates them, so a slot is valid whatever
//! the primitive allocates. A value that it reads through [`Machine::val`] borrows the machine and cannot outlive the
//! next allocation. A primitive that only reads its arguments (`V2`, `V4`) receives values.

pub mod bigarray;
pub mod custom;
pub mod ephemeron;
pub mod fallible;
pub(crate) mod families;
pub mod foreign;
mod obj;
mod refusal;
pub mod screen;
pub(crate) mod slots;
pub(crate) mod table;
pub mod unmarshal;

use std::any::Any;
use std::borrow::Cow;
use std::collections::TryReserveError;
use std::fmt;
use std::rc::Rc;

use spelter_heap::raw::Value;
use spelter_heap::{OutOfMemory, Val, WrongType};

use crate::Machine;
use crate::exec::fault::Stopped;
use crate::prim::families::{Families, Versions};

/// A value's place on the machine's stack, counted in words from the stack's base, so that it stays valid when the
/// stack grows. Valid until the primitive that received or pushed it returns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot(pub(crate) usize);

/// The result of a primitive: a value, or what to raise.
pub type Res<'m> = Result<Val<'m>, Raise>;

/// The result of a primitive that only reads its arguments, small enough for registers.
pub type ReadRes<'m> = Result<Val<'m>, Box<Raise>>;

/// What a primitive asks the machine to raise, or to do instead of returning.
///
/// OCaml exceptions are values; these are the built-in ones that primitives raise, in the form that is
/// easiest to return. The machine makes the exception value.
#[derive(Clone, Debug, PartialEq)]
pub enum Raise {
    /// The exception value that [`Machine::set_exn`] recorded, or that a callback raised.
    Exn,
    /// `Invalid_argument`
    Invalid(Cow<'static, str>),
    /// `Failure`
    Failure(Cow<'static, str>),
    /// `Sys_error`; a message may name a file, whose name may be any bytes.
    Sys(Vec<u8>),
    /// `Not_found`
    NotFound,
    /// `End_of_file`
    EndOfFile,
    /// `Division_by_zero`
    DivisionByZero,
    /// `Sys_blocked_io`
    BlockedIo,
    /// `Out_of_memory`
    OutOfMemory,
    /// `Stack_overflow`
    StackOverflow,
    /// Not an exception: leave the machine, with this exit code (`caml_sys_exit`).
    Exit(i32),
    /// Not an exception: leave the thread that runs (`caml_thread_exit`).
    EndThread,
    /// Not an exception: the machine cannot continue.
    Fatal(String),
    /// Not an exception: checked code tried what it may not do.
    Fault(Box<Stopped>),
    /// Not an exception: a primitive, or other Rust code, panicked.
    Panic(Box<Panicked>),
    /// Not an exception: the host asked for its call to stop ([`InterruptHandle`](crate::InterruptHandle)).
    Interrupted,
    /// Not an exception: the call pauses until the host answers for the primitive, which is one of the host's. Where
    /// [`Machine::can_pause`] denies it, and from anything else, it is as [`Raise::Fatal`]. Hosts of `spelter` return its
    /// `Async` instead.
    Pause,
}

/// A panic that unwound to the call into the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panicked {
    /// The primitive that was running, if any.
    pub primitive: Option<String>,
    /// The panic's message, if it was text.
    pub message: String,
}

impl Panicked {
    /// A panic outside any primitive, from the payload of its unwinding.
    pub fn of(payload: &(dyn Any + Send)) -> Panicked {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Panicked { primitive: None, message: text.unwrap_or("a panic that says nothing").to_owned() }
    }
}

impl Raise {
    /// `Invalid_argument msg`
    pub fn invalid(msg: impl Into<Cow<'static, str>>) -> Self {
        Raise::Invalid(msg.into())
    }

    /// `Failure msg`
    pub fn failure(msg: impl Into<Cow<'static, str>>) -> Self {
        Raise::Failure(msg.into())
    }

    /// Whether it is an exception, not a reason to leave the thread or the machine.
    pub fn is_exception(&self) -> bool {
        use Raise::{EndThread, Exit, Fatal, Fault, Interrupted, Panic, Pause};
        !matches!(self, Exit(_) | EndThread | Fatal(_) | Fault(_) | Panic(_) | Interrupted | Pause)
    }

    /// `Invalid_argument "index out of bounds"`
    pub fn bounds() -> Self {
        Raise::invalid("index out of bounds")
    }
}

/// So that it can be the error of functions whose errors are boxed.
impl std::error::Error for Raise {}

impl fmt::Display for Raise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Raise::Exn => f.write_str("an exception of the program"),
            Raise::Invalid(text) => write!(f, "Invalid_argument: {text}"),
            Raise::Failure(text) => write!(f, "Failure: {text}"),
            Raise::Sys(text) => write!(f, "Sys_error: {}", String::from_utf8_lossy(text)),
            Raise::NotFound => f.write_str("Not_found"),
            Raise::EndOfFile => f.write_str("End_of_file"),
            Raise::DivisionByZero => f.write_str("Division_by_zero"),
            Raise::BlockedIo => f.write_str("Sys_blocked_io"),
            Raise::OutOfMemory => f.write_str("Out_of_memory"),
            Raise::StackOverflow => f.write_str("Stack_overflow"),
            Raise::Exit(code) => write!(f, "exit {code}"),
            Raise::EndThread => f.write_str("the end of a thread"),
            Raise::Fatal(text) => f.write_str(text),
            Raise::Fault(stopped) => stopped.fmt(f),
            Raise::Panic(panicked) => write!(f, "a panic: {}", panicked.message),
            Raise::Interrupted => f.write_str("an interrupt by the host"),
            Raise::Pause => f.write_str("a pause"),
        }
    }
}

impl From<WrongType> for Raise {
    #[cold]
    fn from(e: WrongType) -> Self {
        Raise::Invalid(format!("primitive: {e}").into())
    }
}

impl From<WrongType> for Box<Raise> {
    #[cold]
    fn from(e: WrongType) -> Self {
        Box::new(e.into())
    }
}

impl From<TryReserveError> for Raise {
    #[cold]
    fn from(_: TryReserveError) -> Self {
        Raise::OutOfMemory
    }
}

impl From<indexmap::TryReserveError> for Raise {
    #[cold]
    fn from(_: indexmap::TryReserveError) -> Self {
        Raise::OutOfMemory
    }
}

/// Errors in a program's own files or code are raised as `Failure`.
impl From<spelter_bytecode::Error> for Raise {
    #[cold]
    fn from(e: spelter_bytecode::Error) -> Self {
        if e.is_out_of_memory() { Raise::OutOfMemory } else { Raise::failure(e.to_string()) }
    }
}

impl From<OutOfMemory> for Raise {
    #[cold]
    fn from(_: OutOfMemory) -> Self {
        Raise::OutOfMemory
    }
}

/// A primitive of the host: any closure.
pub type HostFn = Rc<dyn for<'m> Fn(&'m mut Machine, &[Slot]) -> Res<'m>>;

/// A primitive's code, by number of arguments.
///
/// # The contract of functions that access a running machine
///
/// A primitive accesses the machine while OCaml code is running, whose registers and frames are in it. So a function
/// becomes a primitive only through `unsafe` functions ([`Machine::add_families`] and similar), and must guarantee
///
/// - to leave the machine in place: it neither swaps nor replaces it;
/// - to use only slots of its own: its arguments until it returns, and those that it pushed until it
///   [releases](Machine::release) them; and to release no more than it pushed;
/// - to pass these obligations on to every function to which it lends the machine.
///
/// The facade's `Context` enforces this contract for its clients by types.
#[derive(Clone, Copy)]
pub enum Prim {
    /// One argument.
    P1(for<'m> fn(&'m mut Machine, [Slot; 1]) -> Res<'m>),
    /// Two arguments.
    P2(for<'m> fn(&'m mut Machine, [Slot; 2]) -> Res<'m>),
    /// Three arguments.
    P3(for<'m> fn(&'m mut Machine, [Slot; 3]) -> Res<'m>),
    /// Four arguments.
    P4(for<'m> fn(&'m mut Machine, [Slot; 4]) -> Res<'m>),
    /// Five arguments.
    P5(for<'m> fn(&'m mut Machine, [Slot; 5]) -> Res<'m>),
    /// Two arguments that are only read: nothing is allocated, so they need no slots.
    V2(for<'m> fn(&'m Machine, Val<'m>, Val<'m>) -> ReadRes<'m>),
    /// Four arguments that are only read.
    V4(for<'m> fn(&'m Machine, Val<'m>, Val<'m>, Val<'m>, Val<'m>) -> ReadRes<'m>),
    /// More than five arguments, or a number known at run time only.
    Pn(for<'m> fn(&'m mut Machine, &[Slot]) -> Res<'m>),
}

/// A shared library of C primitives (`dllunix`) that the runtime provides itself.
#[derive(Clone, Copy)]
pub struct Library {
    /// Its name as in executables: without folder and suffix.
    pub name: &'static str,
    /// The versions of OCaml that have it under this name.
    pub versions: Versions,
    /// Its primitives.
    pub primitives: &'static Families,
}

/// Declares a family's table, with one row for each primitive:
///
/// ```
/// # use spelter_interp::{Machine, Res, Slot, Val, prims};
/// # fn int_neg(m: &mut Machine, [a]: [Slot; 1]) -> Res<'_> { Ok(Val::from_int(-m.int(a)?)) }
/// prims! {
///     "my_int_neg" P1 int_neg,
/// }
/// assert_eq!(TABLE[0].name, "my_int_neg");
/// ```
///
/// A row may say which versions of OCaml have the primitive: `"caml_drop" P1 drop => between(V5_0, V5_3)`, also
/// `since(V5_0)` or `before(V5_0)`. Rows whose names got a prefix in some version stand before the others:
///
/// ```
/// # use spelter_interp::{Machine, Res, Slot, Val, families, prims};
/// # fn dup(m: &mut Machine, [a]: [Slot; 1]) -> Res<'_> { Ok(m.val(a)) }
/// # fn sigwait(m: &mut Machine, [a]: [Slot; 1]) -> Res<'_> { Ok(m.val(a)) }
/// prims! {
///     since(V5_0) with "caml_" {
///         "unix_dup" P1 dup,
///     }
///     "caml_unix_sigwait" P1 sigwait => since(V5_4),
/// }
/// families! {
///     static UNIX = [TABLE];
/// }
/// # use spelter_bytecode::dialect::Release::{V4_14, V5_0};
/// assert!(UNIX.find("unix_dup", V4_14).is_some() && UNIX.find("caml_unix_dup", V4_14).is_none());
/// assert!(UNIX.find("unix_dup", V5_0).is_none() && UNIX.find("caml_unix_dup", V5_0).is_some());
/// ```
#[macro_export]
macro_rules! prims {
    (
        since($renamed:ident) with $prefix:literal { $($short:literal $short_arity:ident $g:path),* $(,)? }
        $($name:literal $arity:ident $f:path $(=> $when:ident($($release:ident),*))?),* $(,)?
    ) => {
        /// This family's primitives.
        pub static TABLE: $crate::Table = &[
            $(
                $crate::Row {
                    name: $short,
                    prim: $crate::Prim::$short_arity($g),
                    versions: $crate::Versions::before($crate::Release::$renamed),
                },
                $crate::Row {
                    name: concat!($prefix, $short),
                    prim: $crate::Prim::$short_arity($g),
                    versions: $crate::Versions::since($crate::Release::$renamed),
                },
            )*
            $($crate::prims!(@row $name $arity $f $(=> $when($($release),*))?)),*
        ];
    };
    ($($name:literal $arity:ident $f:path $(=> $when:ident($($release:ident),*))?),* $(,)?) => {
        /// This family's primitives.
        pub static TABLE: $crate::Table =
            &[$($crate::prims!(@row $name $arity $f $(=> $when($($release),*))?)),*];
    };
    (@row $name:literal $arity:ident $f:path $(=> $when:ident($($release:ident),*))?) => {
        $crate::Row {
            name: $name,
            prim: $crate::Prim::$arity($f),
            versions: $crate::prims!(@versions $($when($($release),*))?),
        }
    };
    (@versions) => { $crate::Versions::ALL };
    (@versions $when:ident($($release:ident),*)) => {
        $crate::Versions::$when($($crate::Release::$release),*)
    };
}

/// Stands for no primitive.
pub(crate) const NO_PRIMITIVE: usize = usize::MAX;

/// The outcome of a call without a frame.
pub(crate) enum DirectCall {
    /// The result.
    Answer(Value),
    /// It raised; the machine has recorded the exception.
    Raised,
    /// The primitive does not only read its arguments: it has not been called.
    NotPossible,
}
