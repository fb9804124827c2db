//! The files that OCaml 4.13.1, and later versions, compiled from the sources in `tests/fixtures`.

pub(crate) const SHAPES_CMO: &[u8] = include_bytes!("../fixtures/shapes.cmo");
pub(crate) const TINY_CMO: &[u8] = include_bytes!("../fixtures/tiny.cmo");
pub(crate) const LIB_CMA: &[u8] = include_bytes!("../fixtures/lib.cma");
pub(crate) const TINY_BYTE: &[u8] = include_bytes!("../fixtures/tiny.byte");

/// Every fixture of 4.13.
pub(crate) const ALL: &[&[u8]] = &[SHAPES_CMO, TINY_CMO, LIB_CMA, TINY_BYTE];

macro_rules! later {
    ($($version:literal: $($file:literal)*;)*) => {
        /// The fixtures of later versions: version, name, bytes. Those of 5.3 have compressed debug data.
        pub(crate) const LATER: &[(&str, &str, &[u8])] =
            &[$($(($version, $file, include_bytes!(concat!("../fixtures/", $version, "/", $file)))),*),*];
    };
}

later! {
    "4.14": "tiny.byte" "lib.cma";
    "5.1": "tiny.byte" "lib.cma" "shapes.cmo" "effects.cmo";
    "5.3": "tiny.byte" "lib.cma" "shapes.cmo" "effects.cmo" "handlers.cmo";
    "5.4": "tiny.byte" "lib.cma" "effects.cmo";
    "5.5": "tiny.byte" "lib.cma" "shapes.cmo" "effects.cmo" "handlers.cmo";
}

/// One of them.
pub(crate) fn later(version: &str, name: &str) -> &'static [u8] {
    let found = LATER.iter().find(|(of, file, _)| (*of, *file) == (version, name));
    found.expect("a fixture").2
}
