//! Values as bytes: `Marshal`, and the data of executables.

pub(crate) mod r#extern;
pub(crate) mod intern;
