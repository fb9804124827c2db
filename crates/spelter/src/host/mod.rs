//! What a host gives its guests: functions, and what these take, return and raise.

mod argument;
mod exception;
mod function;
mod reply;

pub use self::argument::Argument;
pub use self::function::{HostFunction, HostFunctionMut, InContext};
pub use self::reply::Reply;
