//! The shared libraries of C primitives that the runtime has built in, by the names that executables have for them.

use spelter_interp::Library;

use crate::{strstubs, threads, unix};

/// All of them, and what each is made of. Its primitives are not among those of [`crate::PRIMITIVES`].
pub const LIBRARIES: &[Library] = &[
    Library { name: "dllcamlstr", primitives: &strstubs::PRIMITIVES },
    Library { name: "dllthreads", primitives: &threads::PRIMITIVES },
    Library { name: "dllunix", primitives: &unix::PRIMITIVES },
];
