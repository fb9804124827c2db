//! The files that OCaml 4.13.1 compiled from the sources in `tests/fixtures`.

pub(crate) const SHAPES_CMO: &[u8] = include_bytes!("../fixtures/shapes.cmo");
pub(crate) const TINY_CMO: &[u8] = include_bytes!("../fixtures/tiny.cmo");
pub(crate) const OTHER_VERSION_CMO: &[u8] = include_bytes!("../fixtures/other-version.cmo");
pub(crate) const LIB_CMA: &[u8] = include_bytes!("../fixtures/lib.cma");
pub(crate) const TINY_BYTE: &[u8] = include_bytes!("../fixtures/tiny.byte");

/// Every fixture that can be read.
pub(crate) const ALL: &[&[u8]] = &[SHAPES_CMO, TINY_CMO, LIB_CMA, TINY_BYTE];
