//! How the runtime behaves for each version of OCaml: one row per version.
//!
//! [`Dialect`] says how a version's files are laid out; a row of this table says what its runtime does differently from
//! that of the version before. Code asks for a fact by its name, never for a version. Primitives that only some versions
//! have say so in their family's table ([`prims!`](crate::prims!)).

use spelter_bytecode::Dialect;
use spelter_bytecode::dialect::Release;

/// The facts about one version's runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behaviour {
    /// The initial maximum size of a stack, in words (`OCAMLRUNPARAM=l`).
    pub stack_limit_words: usize,
    /// Words of the stack that are free at every function entry (`Stack_threshold`): the compiler requests room for
    /// functions with larger frames.
    pub stack_slack_words: usize,
    /// Whether `Gc` has the settings of the allocator of OCaml 4: increment, policy, window and limit of overhead.
    pub allocator_settings: bool,
    /// The largest custom block allocated in the nursery, in bytes (`OCAMLRUNPARAM=n`).
    pub custom_minor_max_bytes: i64,
    /// Whether `RESUME` and `RESUMETERM` have the last fiber of the chain as their third operand on the stack.
    pub resume_takes_last: bool,
    /// The number of fields of a continuation: the fiber that performed, and since 5.2 the last one of the chain.
    pub continuation_words: usize,
    /// Fields of `Printexc`'s slots with a known location.
    pub location_fields: usize,

    // ---- loading code ----
    /// Whether `caml_reify_bytecode` gets the code as a big array, without its last instruction; otherwise as an array
    /// of strings.
    pub code_is_bigarray: bool,
    /// Whether `Dynlink` hides the names of a private load only when all units of the file have run.
    pub hides_names_late: bool,
    /// Whether the file names of shared libraries may name the system, too.
    pub libraries_name_system: bool,

    // ---- unix and str ----
    /// Whether `Unix.gmtime`, `localtime`, `mktime`, `getlogin` and look-ups of users and groups report the system's
    /// error; otherwise each has one answer to every failure.
    pub unix_reports_errno: bool,
    /// Whether `Unix.map_file` refuses sizes that overflow with texts of its own, and takes dimensions of size 0.
    pub map_file_tests_sizes: bool,
    /// Whether `Str` reports a group that would end before it starts as unmatched.
    pub str_drops_reversed_groups: bool,

    // ---- the system
    /// How many signals have numbers of OCaml's own, which are negative.
    pub named_signals: usize,
    /// Whether `Sys.signal` refuses number 0 as it does other numbers that are no signal's.
    pub signal_0_is_refused: bool,
}

const V4_13: Behaviour = Behaviour {
    stack_limit_words: 1024 * 1024,
    stack_slack_words: 256,
    allocator_settings: true,
    custom_minor_max_bytes: 8192,
    resume_takes_last: false,
    continuation_words: 1,
    location_fields: 7,

    code_is_bigarray: false,
    hides_names_late: false,
    libraries_name_system: false,

    unix_reports_errno: false,
    map_file_tests_sizes: false,
    str_drops_reversed_groups: false,

    named_signals: 28,
    signal_0_is_refused: false,
};
const V4_14: Behaviour = Behaviour { ..V4_13 };
const V5_0: Behaviour = Behaviour {
    stack_limit_words: 128 * 1024 * 1024,
    stack_slack_words: 32,
    allocator_settings: false,
    custom_minor_max_bytes: 70000,

    signal_0_is_refused: true,
    ..V4_14
};
const V5_1: Behaviour = Behaviour { ..V5_0 };
const V5_2: Behaviour = Behaviour {
    resume_takes_last: true,
    continuation_words: 2,
    location_fields: 9,
    code_is_bigarray: true,
    ..V5_1
};
const V5_3: Behaviour = Behaviour { ..V5_2 };
const V5_4: Behaviour = Behaviour { named_signals: 30, hides_names_late: true, ..V5_3 };
const V5_5: Behaviour = Behaviour {
    libraries_name_system: true,
    unix_reports_errno: true,
    map_file_tests_sizes: true,
    str_drops_reversed_groups: true,
    ..V5_4
};

impl Behaviour {
    /// The row for programs of this version.
    pub fn of(dialect: &Dialect) -> &'static Behaviour {
        match dialect.release {
            Release::V4_13 => &V4_13,
            Release::V4_14 => &V4_14,
            Release::V5_0 => &V5_0,
            Release::V5_1 => &V5_1,
            Release::V5_2 => &V5_2,
            Release::V5_3 => &V5_3,
            Release::V5_4 => &V5_4,
            Release::V5_5 => &V5_5,
        }
    }
}
