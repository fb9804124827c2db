//! The built-in shared libraries of C primitives, under the names that executables use for them.

pub(crate) mod runtime_events;
pub(crate) mod str;
pub(crate) mod threads;
pub(crate) mod unix;

use spelter_interp::{Library, Release, Versions};

/// Libraries that exist for native code, too, have a suffix since 5.1.
const PLAIN: Versions = Versions::before(Release::V5_1);
const WITH_SUFFIX: Versions = Versions::since(Release::V5_1);

/// All of them, with their primitives, which are not in [`crate::PRIMITIVES`].
pub const LIBRARIES: &[Library] = &[
    Library {
        name: "dllcamlruntime_events",
        versions: Versions::between(Release::V5_0, Release::V5_1),
        primitives: &runtime_events::PRIMITIVES,
    },
    Library {
        name: "dllcamlruntime_eventsbyt",
        versions: WITH_SUFFIX,
        primitives: &runtime_events::PRIMITIVES,
    },
    Library { name: "dllcamlstr", versions: PLAIN, primitives: &str::PRIMITIVES },
    Library { name: "dllcamlstrbyt", versions: WITH_SUFFIX, primitives: &str::PRIMITIVES },
    Library { name: "dllthreads", versions: Versions::ALL, primitives: &threads::PRIMITIVES },
    Library { name: "dllunix", versions: PLAIN, primitives: &unix::PRIMITIVES },
    Library { name: "dllunixbyt", versions: WITH_SUFFIX, primitives: &unix::PRIMITIVES },
];
