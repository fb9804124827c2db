//! Values on their way between Rust and OCaml.
//!
//! OCaml's types are not in its values: converting checks what can be seen (an integer, a string, a block of
//! two fields), and the host answers for the rest.

use std::fmt::Display;
use std::rc::Rc;

use spelter_interp::{HostFn, Kept, Machine, Raise, Res, Slot, WrongType};

/// A Rust value that can become an OCaml value.
pub trait ToOcaml {
    /// Makes the OCaml value, in a new slot.
    ///
    /// # Errors
    /// When memory is exhausted.
    fn to_ocaml(&self, m: &mut Machine) -> Result<Slot, Raise>;
}

/// A Rust value that can be read from an OCaml value.
pub trait FromOcaml: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// When the OCaml value has another form.
    fn from_ocaml(m: &mut Machine, s: Slot) -> Result<Self, WrongType>;
}

/// An OCaml value of any type, kept alive by the host.
#[derive(Debug)]
pub struct Value(pub(crate) Kept);

impl ToOcaml for Value {
    fn to_ocaml(&self, m: &mut Machine) -> Result<Slot, Raise> {
        Ok(m.push_kept(&self.0))
    }
}

impl FromOcaml for Value {
    fn from_ocaml(m: &mut Machine, s: Slot) -> Result<Self, WrongType> {
        Ok(Value(m.keep(s)))
    }
}

impl<T: ToOcaml + ?Sized> ToOcaml for &T {
    fn to_ocaml(&self, m: &mut Machine) -> Result<Slot, Raise> {
        (**self).to_ocaml(m)
    }
}

impl ToOcaml for () {
    fn to_ocaml(&self, m: &mut Machine) -> Result<Slot, Raise> {
        Ok(m.push_int(0))
    }
}

impl FromOcaml for () {
    fn from_ocaml(m: &mut Machine, s: Slot) -> Result<Self, WrongType> {
        m.val(s).int().map(drop)
    }
}

impl ToOcaml for i64 {
    fn to_ocaml(&self, m: &mut Machine) -> Result<Slot, Raise> {
        Ok(m.push_int(*self))
    }
}

impl FromOcaml for i64 {
    fn from_ocaml(m: &mut Machine, s: Slot) -> Result<Self, WrongType> {
        m.val(s).int()
    }
}

impl ToOcaml for bool {
    fn to_ocaml(&self, m: &mut Machine) -> Result<Slot, Raise> {
        Ok(m.push_int(i64::from(*self)))
    }
}

impl FromOcaml for bool {
    fn from_ocaml(m: &mut Machine, s: Slot) -> Result<Self, WrongType> {
        match m.val(s).int()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(WrongType { expected: "a boolean" }),
        }
    }
}

impl ToOcaml for f64 {
    fn to_ocaml(&self, m: &mut Machine) -> Result<Slot, Raise> {
        m.push(|m| m.new_float(*self))
    }
}

impl FromOcaml for f64 {
    fn from_ocaml(m: &mut Machine, s: Slot) -> Result<Self, WrongType> {
        m.val(s).float()
    }
}

impl ToOcaml for str {
    fn to_ocaml(&self, m: &mut Machine) -> Result<Slot, Raise> {
        self.as_bytes().to_ocaml(m)
    }
}

impl ToOcaml for String {
    fn to_ocaml(&self, m: &mut Machine) -> Result<Slot, Raise> {
        self.as_str().to_ocaml(m)
    }
}

impl FromOcaml for String {
    fn from_ocaml(m: &mut Machine, s: Slot) -> Result<Self, WrongType> {
        let bytes = m.val(s).bytes()?.to_owned();
        String::from_utf8(bytes).map_err(|_| WrongType { expected: "a string in UTF-8" })
    }
}

/// A string of any bytes.
impl ToOcaml for [u8] {
    fn to_ocaml(&self, m: &mut Machine) -> Result<Slot, Raise> {
        m.push(|m| m.new_string(self))
    }
}

impl<T: ToOcaml> ToOcaml for Option<T> {
    fn to_ocaml(&self, m: &mut Machine) -> Result<Slot, Raise> {
        let Some(v) = self else { return Ok(m.push_int(0)) };
        let v = v.to_ocaml(m)?;
        m.push(|m| m.new_some(v))
    }
}

impl<T: FromOcaml> FromOcaml for Option<T> {
    fn from_ocaml(m: &mut Machine, s: Slot) -> Result<Self, WrongType> {
        if m.val(s).is_int() {
            return Ok(None);
        }
        field(m, s, 0).map(Some)
    }
}

/// A list.
impl<T: ToOcaml> ToOcaml for Vec<T> {
    fn to_ocaml(&self, m: &mut Machine) -> Result<Slot, Raise> {
        m.push(|m| {
            m.new_list(self, |m, v| {
                let v = v.to_ocaml(m)?;
                Ok(m.val(v))
            })
        })
    }
}

/// A list.
impl<T: FromOcaml> FromOcaml for Vec<T> {
    fn from_ocaml(m: &mut Machine, s: Slot) -> Result<Self, WrongType> {
        let mut items = Vec::new();
        let mark = m.mark();
        let rest = m.push_slot(s);
        while m.val(rest).is_block() {
            items.push(field(m, rest, 0)?);
            let tail = m.push_field(rest, 1).map_err(|_| WrongType { expected: "a list" })?;
            m.copy_slot(rest, tail);
        }
        m.release(mark);
        Ok(items)
    }
}

fn field<T: FromOcaml>(m: &mut Machine, s: Slot, i: usize) -> Result<T, WrongType> {
    m.val(s).field(i)?;
    let field = m.push_field(s, i).map_err(|_| WrongType { expected: "a block" })?;
    T::from_ocaml(m, field)
}

/// The outcome of a host's function that may fail: the error is raised, as `Failure` with its text.
impl<T: ToOcaml, E: Display> ToOcaml for Result<T, E> {
    fn to_ocaml(&self, m: &mut Machine) -> Result<Slot, Raise> {
        match self {
            Ok(v) => v.to_ocaml(m),
            Err(e) => Err(Raise::failure(e.to_string())),
        }
    }
}

/// What a function is applied to: a tuple with one element for each argument.
pub trait Args {
    /// Makes the OCaml values, in new slots.
    ///
    /// # Errors
    /// When memory is exhausted.
    fn to_slots(&self, m: &mut Machine) -> Result<Vec<Slot>, Raise>;
}

/// A Rust function that OCaml code can call as a primitive: a closure over OCaml-convertible arguments.
pub trait HostFunction<A> {
    /// How many arguments it takes.
    const ARITY: usize;
    /// The function in the machine's form.
    fn into_host_fn(self) -> HostFn;
}

macro_rules! tuples {
    ($($n:literal ($($t:ident $v:ident $i:tt),*);)*) => { $(
        impl<$($t: ToOcaml),*> ToOcaml for ($($t,)*) {
            fn to_ocaml(&self, m: &mut Machine) -> Result<Slot, Raise> {
                let fields = self.to_slots(m)?;
                m.push(|m| m.new_block(0, &fields))
            }
        }

        impl<$($t: FromOcaml),*> FromOcaml for ($($t,)*) {
            fn from_ocaml(m: &mut Machine, s: Slot) -> Result<Self, WrongType> {
                Ok(($(field::<$t>(m, s, $i)?,)*))
            }
        }

        impl<$($t: ToOcaml),*> Args for ($($t,)*) {
            fn to_slots(&self, m: &mut Machine) -> Result<Vec<Slot>, Raise> {
                Ok(vec![$(self.$i.to_ocaml(m)?),*])
            }
        }

        impl<Fun, Ret, $($t: FromOcaml + 'static),*> HostFunction<($($t,)*)> for Fun
        where
            Fun: Fn($($t),*) -> Ret + 'static,
            Ret: ToOcaml + 'static,
        {
            const ARITY: usize = $n;

            fn into_host_fn(self) -> HostFn {
                fn typed<Fun, Ret, $($t),*>(f: Fun) -> impl for<'m> Fn(&'m mut Machine, &[Slot]) -> Res<'m>
                where
                    Fun: Fn($($t),*) -> Ret,
                    Ret: ToOcaml,
                    $($t: FromOcaml,)*
                {
                    move |m, args| {
                        let result = f($($t::from_ocaml(m, args[$i])?),*).to_ocaml(m)?;
                        Ok(m.val(result))
                    }
                }
                Rc::new(typed::<Fun, Ret, $($t),*>(self))
            }
        }
    )* };
}
tuples! {
    1 (A a 0);
    2 (A a 0, B b 1);
    3 (A a 0, B b 1, C c 2);
    4 (A a 0, B b 1, C c 2, D d 3);
    5 (A a 0, B b 1, C c 2, D d 3, E e 4);
}

/// Reads a result while it is in a slot.
pub(crate) fn read<T: FromOcaml>(m: &mut Machine, v: Slot) -> Result<T, WrongType> {
    let mark = m.mark();
    let out = T::from_ocaml(m, v);
    m.release(mark);
    out
}
