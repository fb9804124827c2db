//! Functions of a unit, found by name in its interface, whose types are compared once.

mod compare;
mod same;
mod standard;

use std::fmt;
use std::marker::PhantomData;

use spelter_bytecode::cmi::{Found, Item};

use self::compare::{Comparison, Difference};
use crate::convert::{Args, FromOcaml, Place, Placed, TypeOf, Value};
use crate::error::{Error, list};
use crate::interface::TypedUnit;
use crate::vm::Vm;

/// An OCaml function whose type has been compared with the Rust types `A`, the tuple of its arguments, and `R`, its
/// result. [`Vm::function`] makes it.
///
/// It is a handle on the function's closure, like a [`Value`], and keeps the unit alive whose code that is: drop it so
/// that the unit can be freed. After [`Vm::revoke`], calling it is an error.
pub struct Function<A, R> {
    closure: Value,
    types: PhantomData<fn() -> (A, R)>,
}

impl<A, R> Clone for Function<A, R> {
    fn clone(&self) -> Self {
        Function { closure: self.closure.clone(), types: PhantomData }
    }
}

impl<A, R> fmt::Debug for Function<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Function").field(&self.closure).finish()
    }
}

impl<A: Args, R: FromOcaml> Function<A, R> {
    /// Calls it.
    ///
    /// # Errors
    /// When it raises, or an argument does not fit its OCaml type (an integer of 64 bits). When its result is not an
    /// `R`: then the unit's code does not keep to its own interface.
    ///
    /// # Panics
    /// When it belongs to another machine.
    pub fn call(&self, vm: &mut Vm, args: A) -> Result<R, Error> {
        vm.call_value(&self.closure, args)
    }

    /// The function as a value of any type.
    pub fn value(&self) -> &Value {
        &self.closure
    }
}

impl Vm {
    /// Binds a function of a unit: finds it by its name, `decide` or `Sub.decide`, in the unit's interface, and compares
    /// its OCaml type with the Rust types of the arguments and the result. The unit need not register it.
    ///
    /// ```
    /// use spelter::{FromOcaml, Function, ToOcaml, Vm};
    ///
    /// #[derive(ToOcaml, FromOcaml, Debug, PartialEq)]
    /// struct Point { x: f64, y: f64 }
    ///
    /// // type point = { x : float; y : float }
    /// // val mirror : point -> point
    /// # let mut vm = Vm::builder().build();
    /// # vm.run_bytes("host.byte", include_bytes!("../tests/fixtures/typed/host.byte"))?;
    /// let unit = vm.load_bytes("rule.cmo", include_bytes!("../tests/fixtures/typed/rule.cmo"))?;
    /// let unit = unit.with_interface(include_bytes!("../tests/fixtures/typed/rule.cmi"))?;
    ///
    /// let mirror: Function<(Point,), Point> = vm.function(&unit, "mirror")?;
    /// assert_eq!(mirror.call(&mut vm, (Point { x: 1.0, y: 2.0 },))?, Point { x: 2.0, y: 1.0 });
    ///
    /// let other = vm.function::<(Point,), String>(&unit, "mirror").unwrap_err();
    /// assert_eq!(other.to_string(), "mirror has type point -> point, the host expects point -> string");
    /// # Ok::<(), spelter::Error>(())
    /// ```
    ///
    /// A record or variant is compared field by field and constructor by constructor: their names, order and types
    /// must be the same; the name of the type itself is free. Labels of arguments are ignored, so arguments are passed
    /// in order; an optional one is an `Option`. A polymorphic variant that the host makes may have fewer tags than the
    /// OCaml type, one that it reads may have more. A type variable may be any Rust type, the same one each time, and a
    /// [`Value`] stands for any OCaml type.
    ///
    /// # Errors
    /// When the interface has no such value, or it is a primitive (`external`); when the types differ
    /// ([`Error::OtherType`]); when the unit has been revoked.
    ///
    /// # Panics
    /// When the unit belongs to another machine.
    pub fn function<A: Args, R: FromOcaml>(
        &mut self,
        unit: &TypedUnit,
        name: &str,
    ) -> Result<Function<A, R>, Error> {
        let found = find(unit, name)?;
        let host = HostType { arguments: A::types(), result: R::ocaml_type };
        host.compare(unit, &found).map_err(|difference| other_type(name, &found, &host, difference))?;
        let closure = self.load_component(unit, &found)?;
        Ok(Function { closure, types: PhantomData })
    }

    /// Reads a value of a unit that is no function, `limit` or `Sub.limit`, after comparing its type as
    /// [`Vm::function`] does.
    ///
    /// # Errors
    /// As for [`Vm::function`].
    ///
    /// # Panics
    /// When the unit belongs to another machine.
    pub fn component<T: FromOcaml>(&mut self, unit: &TypedUnit, name: &str) -> Result<T, Error> {
        let found = find(unit, name)?;
        let host = HostType { arguments: Vec::new(), result: T::ocaml_type };
        host.compare(unit, &found).map_err(|difference| other_type(name, &found, &host, difference))?;
        self.load_component(unit, &found)
    }

    fn load_component<T: FromOcaml>(&mut self, unit: &TypedUnit, found: &Found<'_>) -> Result<T, Error> {
        let fields = found.fields.as_deref().unwrap_or_default();
        Ok(self.lend(|cx| {
            let mut value = cx.module(unit.unit())?;
            for field in fields {
                value = match cx.field(value, *field) {
                    Ok(value) => value,
                    Err(wrong) => return Ok(Err(wrong)),
                };
            }
            Ok(cx.read(value))
        })??)
    }
}

fn find<'i>(unit: &'i TypedUnit, name: &str) -> Result<Found<'i>, Error> {
    let refuse = |reason| Error::NoSuchComponent { unit: unit.unit().name().to_owned(), reason };
    let found = unit.interface().value(name).ok_or_else(|| {
        let values = unit.interface().signature.items.iter().filter(|item| matches!(item, Item::Value(_)));
        let names: Vec<String> = values.map(|item| item.name().to_owned()).collect();
        refuse(format!("has no value {name} in its interface, which has {}", list(&names)))
    })?;
    match found.fields {
        Some(_) => Ok(found),
        None => Err(refuse(format!("declares {name} as external: it is a primitive of the host"))),
    }
}

/// The type that the host expects of a value.
struct HostType {
    arguments: Vec<TypeOf>,
    result: TypeOf,
}

impl HostType {
    fn compare(&self, unit: &TypedUnit, found: &Found<'_>) -> Result<(), Difference> {
        Comparison::new(&|name| unit.find(name)).function(&found.ty, &self.arguments, self.result)
    }
}

impl fmt::Display for HostType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for argument in &self.arguments {
            write!(f, "{} -> ", Placed(*argument, Place::Any))?;
        }
        write!(f, "{}", Placed(self.result, Place::Any))
    }
}

fn other_type(name: &str, found: &Found<'_>, host: &HostType, difference: Difference) -> Error {
    Error::OtherType {
        name: name.to_owned(),
        ocaml: found.ty.to_string(),
        host: host.to_string(),
        detail: difference.detail(),
    }
}
