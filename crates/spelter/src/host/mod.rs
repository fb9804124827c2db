//! What a host gives its guests: functions, and what these take, return and raise.

mod argument;
mod exception;
mod function;
mod numbers;
mod object;
mod reply;

pub(crate) use self::argument::Lending;
pub use self::argument::{Argument, ContextArgument};
pub use self::function::{HostFunction, HostFunctionMut, InContext};
pub use self::numbers::{BigArray, Element, Elements, ElementsMut};
pub(crate) use self::object::HOST;
pub use self::object::Host;
pub use self::reply::Reply;
