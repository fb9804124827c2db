//! Raising the guest's exceptions by their names, and calling the guest with Rust values.

use spelter_interp::inspect::reachability::tag;
use spelter_interp::{Raise, Slot};

use crate::context::{Context, Local};
use crate::convert::{Args, FromOcaml, Value};

impl<'c> Context<'c> {
    /// Applies an OCaml function that the host keeps: a function that a guest has passed, for example.
    ///
    /// ```
    /// use spelter::{Context, Error, Raise, Value, Vm};
    ///
    /// // external each : (int -> int) -> int -> int = "host_each"
    /// let each = |cx: &mut Context<'_>, f: Value, n: i64| -> Result<i64, Raise> {
    ///     let mut sum = 0;
    ///     for i in 0..n {
    ///         sum += cx.call_value::<i64>(&f, (i,))?;
    ///     }
    ///     Ok(sum)
    /// };
    /// let builder = Vm::builder().primitive("host_each", each);
    /// ```
    ///
    /// # Errors
    /// The exception that it raises; `Invalid_argument` when its result is not a `T`, or it is not a function.
    ///
    /// # Panics
    /// When another machine keeps it.
    pub fn call_value<T: FromOcaml>(&mut self, f: &Value, args: impl Args) -> Result<T, Raise> {
        self.scope([], |cx, []| {
            let f = cx.kept(f);
            if !cx.is_function(f) {
                return Err(cx.wrong(f, "a function").into());
            }
            let result = args.apply(cx, f)?;
            Ok(cx.read(result)?)
        })
    }

    /// Raises the exception of this name with these arguments: return the result as the error of a host function.
    ///
    /// It is an exception that the guest has registered, `Callback.register_exception "Bank.Short" (Short (0, ""))`, or
    /// one of OCaml's predefined ones. Exceptions do not carry the types of their arguments: these are the host's to know,
    /// as for all values that it makes.
    ///
    /// ```
    /// use spelter::{Context, Raise, Vm};
    ///
    /// let withdraw = |cx: &mut Context<'_>, cents: i64| -> Result<i64, Raise> {
    ///     match cents {
    ///         ..0 => Err(Raise::invalid("withdraw: a negative amount")),
    ///         0..=500 => Ok(500 - cents),
    ///         _ => Err(cx.raise_named("Bank.Short", (cents - 500, "EUR"))),
    ///     }
    /// };
    /// let builder = Vm::builder().primitive("bank_withdraw", withdraw);
    /// ```
    ///
    /// If there is no such exception, `Invalid_argument` is raised, which says so.
    pub fn raise_named(&mut self, name: &str, args: impl Args) -> Raise {
        match args.values(self).and_then(|args| self.exception_of(name, &args)) {
            Ok(exn) => self.raise(exn),
            Err(raise) => raise,
        }
    }

    /// Raises an exception without arguments: see [`Context::raise_named`].
    pub fn raise_constant(&mut self, name: &str) -> Raise {
        match self.exception_of(name, &[]) {
            Ok(exn) => self.raise(exn),
            Err(raise) => raise,
        }
    }

    fn exception_of(&mut self, name: &str, args: &[Local<'c>]) -> Result<Local<'c>, Raise> {
        let (constructor, carries_place) = self.constructor(name)?;
        let constructor = Local::new(constructor);
        match args {
            [] => Ok(constructor),
            // `Match_failure` and similar ones have a tuple as their only argument.
            [_, _, ..] if carries_place => {
                let place = self.block(0, args)?;
                self.block(0, &[constructor, place])
            }
            _ => {
                let fields: Vec<Local<'c>> =
                    std::iter::once(constructor).chain(args.iter().copied()).collect();
                self.block(0, &fields)
            }
        }
    }

    /// What stands for the exception in its values, and whether it is one that carries a place in a source.
    fn constructor(&mut self, name: &str) -> Result<(Slot, bool), Raise> {
        let mut predefined = self.m.dialect().predefined.iter().enumerate();
        if let Some((i, (exception, _))) = predefined.find(|(_, (exception, _))| exception.name() == name) {
            let constructor = self.m.push(|m| Ok(m.globals().field(i)?))?;
            return Ok((constructor, exception.carries_place()));
        }
        let known = self.m.named_value(name);
        let is_exception = |slot: &Slot| {
            let v = self.m.val(*slot);
            v.tag() == Ok(tag::OBJECT) && v.field(0).is_ok_and(|name| name.bytes().is_ok())
        };
        known.filter(is_exception).map(|constructor| (constructor, false)).ok_or_else(|| {
            Raise::invalid(format!(
                "the host raises {name:?}, but no exception is registered under that name; \
                 the OCaml code must call Callback.register_exception"
            ))
        })
    }
}
