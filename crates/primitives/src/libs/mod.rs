//! The shared libraries of C primitives that the runtime has built in, by the names that executables have for them.

pub(crate) mod str;
pub(crate) mod threads;
pub(crate) mod unix;

use spelter_interp::Library;

/// All of them, and what each is made of. Its primitives are not among those of [`crate::PRIMITIVES`].
pub const LIBRARIES: &[Library] = &[
    Library { name: "dllcamlstr", primitives: &str::PRIMITIVES },
    Library { name: "dllthreads", primitives: &threads::PRIMITIVES },
    Library { name: "dllunix", primitives: &unix::PRIMITIVES },
];
