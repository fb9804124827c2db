//! The built-in shared libraries of C primitives, under the names that executables use for them.

pub(crate) mod str;
pub(crate) mod threads;
pub(crate) mod unix;

use spelter_interp::Library;

/// All of them, with their primitives, which are not in [`crate::PRIMITIVES`].
pub const LIBRARIES: &[Library] = &[
    Library { name: "dllcamlstr", primitives: &str::PRIMITIVES },
    Library { name: "dllthreads", primitives: &threads::PRIMITIVES },
    Library { name: "dllunix", primitives: &unix::PRIMITIVES },
];
