//! Conversion of values to bytes and back: `Marshal`, and the data of executables.

pub(crate) mod r#extern;
pub(crate) mod intern;
