//! The shared libraries of C primitives that the runtime has built in, by the names that executables have for them.

use spelter_interp::Library;

use crate::{strstubs, threads, unix};

/// All of them, and what each is made of. Its primitives are not among those of [`crate::families`].
pub const LIBRARIES: &[Library] = &[
    Library { name: "dllcamlstr", families: &[strstubs::TABLE] },
    Library { name: "dllthreads", families: threads::FAMILIES },
    Library { name: "dllunix", families: unix::FAMILIES },
];
