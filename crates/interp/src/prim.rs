//! Primitives: what they get, what they give back, and the table that names them.
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
//! Its arguments stay on the machine's stack, where the collector sees and updates them, so a slot is
//! valid whatever the primitive allocates; what it reads through [`Machine::val`] borrows the machine and
//! cannot outlive the next allocation. One that only looks at its arguments (`V2`, `V4`) gets values.

use std::any::Any;
use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::{HashMap, TryReserveError};
use std::rc::Rc;

use spelter_heap::raw::Value;
use spelter_heap::{OutOfMemory, Val, WrongType};

use crate::Machine;
use crate::dispatch::own::Inline;
use crate::fallible;
use crate::families::{Families, Row};

/// A value's place on the machine's stack, counted in words from the stack's base, so that it survives
/// the stack's growth. Valid until the primitive that got or pushed it returns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot(pub(crate) usize);

/// What a primitive returns: a value, or the wish to raise.
pub type Res<'m> = Result<Val<'m>, Raise>;

/// The same of a primitive that only looks at its arguments: what fits registers.
pub type Look<'m> = Result<Val<'m>, Box<Raise>>;

/// What a primitive asks the machine to raise, or to do instead of returning.
///
/// OCaml exceptions are values; these are the built-in ones that primitives raise, in the form that is
/// easiest to return. The machine makes the exception value.
#[derive(Clone, Debug, PartialEq)]
pub enum Raise {
    /// The exception value that [`Machine::set_exn`] left behind, also one that a callback raised.
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
    /// Not an exception: the machine cannot go on (a fatal error, or a fault of checked code).
    Fatal(String),
    /// Not an exception: a primitive, or something else of Rust's, panicked.
    Panic(Box<Panicked>),
    /// Not an exception: the host wants its call to stop ([`InterruptHandle`](crate::InterruptHandle)).
    Interrupted,
}

/// A panic that unwound to the call into the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panicked {
    /// The primitive that ran, if one did.
    pub primitive: Option<String>,
    /// What the panic said, if that was text.
    pub message: String,
}

impl Panicked {
    /// A panic outside any primitive, from what unwinding brought.
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

    /// `Invalid_argument "index out of bounds"`
    pub fn bounds() -> Self {
        Raise::invalid("index out of bounds")
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

/// A program's own file or code: what is wrong with it is its `Failure`.
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

/// A host's own primitive: a closure over whatever the host likes.
pub type HostFn = Rc<dyn for<'m> Fn(&'m mut Machine, &[Slot]) -> Res<'m>>;

/// A primitive's code, by number of arguments.
///
/// # The contract of functions that are given a running machine
///
/// A primitive gets the machine while OCaml code is under way, whose registers and frames lie in it. So a function becomes
/// a primitive through `unsafe` doors only ([`Machine::add_families`] and its siblings), and promises
///
/// - to leave the machine where it is: it neither swaps nor replaces it;
/// - to use slots only while they are its own: its arguments until it returns, those that it pushed until it
///   [releases](Machine::release) them, and no others; and to release no more than it pushed;
/// - to pass this promise on: so does what it lends the machine to.
///
/// The facade's `Context` keeps it for its clients, by types.
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
    /// Two arguments that are only looked at: as nothing is allocated, they need no slots.
    V2(for<'m> fn(&'m Machine, Val<'m>, Val<'m>) -> Look<'m>),
    /// Four arguments that are only looked at.
    V4(for<'m> fn(&'m Machine, Val<'m>, Val<'m>, Val<'m>, Val<'m>) -> Look<'m>),
    /// More than five arguments, or a number known at run time only.
    Pn(for<'m> fn(&'m mut Machine, &[Slot]) -> Res<'m>),
}

/// A shared library of C primitives (`dllunix`) that the runtime provides itself.
#[derive(Clone, Copy)]
pub struct Library {
    /// Its name as executables have it: without folder and suffix.
    pub name: &'static str,
    /// What it is made of.
    pub primitives: &'static Families,
}

/// Declares a family's table, a row a primitive:
///
/// ```
/// # use spelter_interp::{Machine, Res, Slot, Val, prims};
/// # fn int_neg(m: &mut Machine, [a]: [Slot; 1]) -> Res<'_> { Ok(Val::from_int(-m.int(a)?)) }
/// prims! {
///     "my_int_neg" P1 int_neg,
/// }
/// assert_eq!(TABLE[0].0, "my_int_neg");
/// ```
#[macro_export]
macro_rules! prims {
    ($($name:literal $arity:ident $f:path),* $(,)?) => {
        /// This family's primitives.
        pub static TABLE: $crate::Table = &[$(($name, $crate::Prim::$arity($f))),*];
    };
}

/// The number of no primitive.
pub(crate) const NO_PRIMITIVE: usize = usize::MAX;

/// What came of a call that is possible without a frame.
pub(crate) enum Looked {
    /// The answer.
    Answer(Value),
    /// It raised, and the machine keeps that.
    Raised,
    /// The primitive does not only look: it has not been called.
    Not,
}

/// What a number in the code leads to.
#[derive(Clone)]
pub(crate) enum Target {
    /// One of the families'.
    Static(Prim),
    /// One of the host's, with its number of arguments.
    Host(usize, HostFn),
    /// Named by the program, known to nobody: raises when called.
    Missing,
}

impl Target {
    /// How many arguments it takes, where that is fixed.
    pub(crate) fn arity(&self) -> Option<usize> {
        match self {
            Target::Static(Prim::P1(_)) => Some(1),
            Target::Static(Prim::P2(_) | Prim::V2(_)) => Some(2),
            Target::Static(Prim::P3(_)) => Some(3),
            Target::Static(Prim::P4(_) | Prim::V4(_)) => Some(4),
            Target::Static(Prim::P5(_)) => Some(5),
            Target::Host(n, _) => Some(*n),
            Target::Static(Prim::Pn(_)) | Target::Missing => None,
        }
    }
}

/// A name once more.
#[allow(clippy::ptr_arg, reason = "a name that is borrowed stays so, which costs nothing")]
fn copy(name: &Cow<'static, str>) -> Result<Cow<'static, str>, OutOfMemory> {
    Ok(match name {
        Cow::Borrowed(name) => Cow::Borrowed(name),
        Cow::Owned(name) => fallible::to_string(name)?.into(),
    })
}

/// All primitives that a machine knows, and the numbers by which its program calls them.
#[derive(Default)]
pub struct PrimTable {
    families: Vec<&'static Families>,
    host: HashMap<String, (usize, HostFn)>,
    libraries: Vec<Library>,
    /// By number: the program's `PRIM` section, extended by loaded units.
    pub(crate) numbered: Vec<Target>,
    names: Vec<Cow<'static, str>>,
    /// Made when first asked for: only those who load units do.
    numbers: OnceCell<HashMap<Cow<'static, str>, usize>>,
}

impl PrimTable {
    /// Makes room for so many more numbers.
    pub(crate) fn reserve(&mut self, count: usize) -> Result<(), OutOfMemory> {
        fallible::reserve(&mut self.numbered, count)?;
        fallible::reserve(&mut self.names, count)
    }

    /// Makes families known.
    pub(crate) fn add_families(&mut self, families: &'static Families) {
        self.families.push(families);
    }

    /// Makes a library known. Its primitives are found by whoever names them, but are none of the runtime's own.
    pub(crate) fn add_library(&mut self, library: Library) {
        self.libraries.push(library);
    }

    /// The library of this name.
    pub fn library(&self, name: &str) -> Option<&Library> {
        self.libraries.iter().find(|library| library.name == name)
    }

    fn built_in(&self, name: &str) -> Option<&'static Row> {
        let own = self.families.iter().find_map(|families| families.find(name));
        own.or_else(|| self.libraries.iter().find_map(|library| library.primitives.find(name)))
    }

    /// Makes one primitive of the host's known; it wins over a built-in one of that name.
    pub(crate) fn add_host(&mut self, name: &str, arity: usize, f: HostFn) {
        self.host.insert(name.to_owned(), (arity, f));
    }

    /// Whether anybody knows this name.
    pub fn knows(&self, name: &str) -> bool {
        self.host.contains_key(name) || self.built_in(name).is_some()
    }

    /// The names of the runtime's own primitives and the host's, sorted.
    pub fn known_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.host.keys().map(String::as_str).collect();
        names.extend(self.families.iter().flat_map(|families| families.rows()).map(|(name, _)| *name));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// How many numbers are given out.
    pub fn count(&self) -> usize {
        self.numbered.len()
    }

    /// The name behind a number.
    pub fn name(&self, number: usize) -> Option<&str> {
        self.names.get(number).map(|name| &**name)
    }

    /// The numbers by name, if there is memory for them.
    fn numbers(&self) -> Option<&HashMap<Cow<'static, str>, usize>> {
        if self.numbers.get().is_none() {
            let mut numbers = HashMap::new();
            numbers.try_reserve(self.names.len()).ok()?;
            for (number, name) in self.names.iter().enumerate() {
                numbers.entry(copy(name).ok()?).or_insert(number);
            }
            let _ = self.numbers.set(numbers);
        }
        self.numbers.get()
    }

    /// The number of a name that has one already.
    pub fn find(&self, name: &str) -> Option<usize> {
        match self.numbers() {
            Some(numbers) => numbers.get(name).copied(),
            None => self.names.iter().position(|known| known == name),
        }
    }

    /// The instruction that stands in for a primitive. What a host puts in its place is the host's own business.
    pub(crate) fn inline(&self, number: usize) -> Option<Inline> {
        match self.numbered.get(number)? {
            Target::Static(_) => Inline::find(&self.names[number]),
            _ => None,
        }
    }

    /// Gives out the next number to `name`, whether it has one or not: numbers are positions in `PRIM`.
    ///
    /// # Errors
    /// When there is no memory for it; nothing has changed then.
    pub(crate) fn append(&mut self, name: &str) -> Result<usize, OutOfMemory> {
        let (name, target) = match (self.host.get(name), self.built_in(name)) {
            (Some((arity, f)), _) => (fallible::to_string(name)?.into(), Target::Host(*arity, f.clone())),
            (None, Some((name, prim))) => (Cow::Borrowed(*name), Target::Static(*prim)),
            (None, None) => (fallible::to_string(name)?.into(), Target::Missing),
        };
        self.reserve(1)?;
        let number = self.numbered.len();
        if let Some(numbers) = self.numbers.get_mut() {
            let key = copy(&name)?;
            numbers.try_reserve(1).map_err(|_| OutOfMemory { words: numbers.len() })?;
            numbers.entry(key).or_insert(number);
        }
        self.numbered.push(target);
        self.names.push(name);
        Ok(number)
    }

    /// Forgets the numbers from `count` on: a load that failed takes back what it appended.
    pub(crate) fn truncate(&mut self, count: usize) {
        for name in self.names.drain(count.min(self.names.len())..) {
            if let Some(numbers) = self.numbers.get_mut()
                && numbers.get(&name).is_some_and(|n| *n >= count)
            {
                numbers.remove(&name);
            }
        }
        self.numbered.truncate(count);
    }
}
