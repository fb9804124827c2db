//! What host functions return, and how their errors become exceptions.

use std::error::Error;

use spelter_interp::{Raise, WrongType as NoSuchPart};

use crate::context::{Context, Local};
use crate::convert::ToOcaml;
use crate::wrong_type::WrongType;

/// A type of results of host functions: a value that becomes an OCaml value, or a `Result` of one.
///
/// An error is raised in the guest:
///
/// | error | exception |
/// |---|---|
/// | [`Raise`] | what it says; [`Context::raise_named`] makes one for any exception that the guest has registered |
/// | [`WrongType`](crate::WrongType) | `Invalid_argument` with its text |
/// | any other error, `String`, `&str` | `Failure` with its text and those of its [sources](Error::source), separated by `: ` |
///
/// ```
/// use spelter::{Error, Raise, Vm};
///
/// // external halve : int -> int = "host_double"
/// let halve = |n: i64| if n % 2 == 0 { Ok(n / 2) } else { Err(Raise::NotFound) };
/// let parse = |text: &str| text.trim().parse::<i64>();
/// # let mut vm = Vm::builder()
/// #     .primitive("host_double", halve)
/// #     .primitive("host_join", |a: &str, b: &str| format!("{a}{b}"))
/// #     .primitive("host_fail", parse)
/// #     .build();
/// # vm.run_bytes("host.byte", include_bytes!("../../tests/fixtures/host.byte"))?;
/// # vm.load_bytes("calls.cmo", include_bytes!("../../tests/fixtures/calls.cmo"))?;
/// assert_eq!(vm.call::<i64>("double", (8i64,))?, 4);
/// let raised = vm.call::<i64>("double", (7i64,)).unwrap_err();
/// assert_eq!(raised.to_string(), "uncaught exception Not_found");
/// let raised = vm.call::<i64>("fail", ("7 of 9",)).unwrap_err();
/// assert_eq!(raised.to_string(), "uncaught exception Failure(\"invalid digit found in string\")");
/// # Ok::<(), Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a result of a host function",
    label = "it cannot become an OCaml value",
    note = "a result implements `spelter::ToOcaml`, which can be derived, or is a `Result` of such a value",
    note = "the error of a `Result` is a `spelter::Raise`, or converts to `Box<dyn Error + Send + Sync>`"
)]
pub trait Reply {
    /// Makes the OCaml value.
    ///
    /// # Errors
    /// What is to be raised in the guest.
    fn reply<'c>(self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise>;
}

impl<T: ToOcaml> Reply for T {
    #[inline]
    fn reply<'c>(self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
        self.to_ocaml(cx)
    }
}

impl<T: Reply, E: Into<Box<dyn Error + Send + Sync>>> Reply for Result<T, E> {
    #[inline]
    fn reply<'c>(self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
        match self {
            Ok(v) => v.reply(cx),
            Err(error) => Err(raise_of(error.into())),
        }
    }
}

/// What an error raises.
#[cold]
fn raise_of(error: Box<dyn Error + Send + Sync>) -> Raise {
    let error = match error.downcast::<Raise>() {
        Ok(raise) => return *raise,
        Err(error) => error,
    };
    match error.downcast_ref::<WrongType>() {
        Some(wrong) => Raise::invalid(wrong.to_string()),
        None if error.is::<NoSuchPart>() => Raise::invalid(error.to_string()),
        None => Raise::failure(chain(&*error)),
    }
}

/// The texts of an error and of what caused it. Some errors have the text of their cause at the end of their own.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = cause.source();
    }
    text
}
