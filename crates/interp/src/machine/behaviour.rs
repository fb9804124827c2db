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

    // ---- the system
    /// How many signals have numbers of OCaml's own, which are negative.
    pub named_signals: usize,
    /// Whether `Sys.signal` refuses number 0 as it does other numbers that are no signal's.
    pub signal_0_is_refused: bool,

    // ---- values
    /// Whether primitives tell blocks outside the heap, and empty ones, from others: `Obj.tag`, `compare`,
    /// `Obj.reachable_words`, `Gc.finalise`.
    pub sees_outside: bool,
    /// Whether the tags 244 and 245 stand for suspensions being forced and continuations, not for constructors.
    pub forcing_and_continuations: bool,
    /// The number of kinds of big arrays; the last one of 14 is `Float16`.
    pub bigarray_kinds: usize,
    /// Whether the headers of marshalled blocks have the colour of static data, instead of none.
    pub marshals_static_headers: bool,
    /// Whether continuations cannot be marshalled.
    pub refuses_continuations: bool,
    /// The number of `Marshal.extern_flags`; the fourth one asks for compression.
    pub marshal_flags: i64,
    /// The bytes of a marshalled value that suffice to know its size (`Marshal.header_size`).
    pub marshal_header_size: usize,
    /// Whether the code of custom blocks without their sizes, of OCaml before 4.08, is still read.
    pub reads_unsized_customs: bool,
    /// Whether messages about marshalled data name the entry point, and the unknown kind of a custom block.
    pub marshal_errors_name_function: bool,
    /// Whether marshalled data that end too early, and custom blocks written as another kind of custom block, have messages
    /// of their own.
    pub marshal_validates: bool,
}

const V4_13: Behaviour = Behaviour {
    stack_limit_words: 1024 * 1024,
    stack_slack_words: 256,
    allocator_settings: true,
    custom_minor_max_bytes: 8192,
    resume_takes_last: false,
    continuation_words: 1,
    location_fields: 7,

    named_signals: 28,
    signal_0_is_refused: false,

    sees_outside: true,
    forcing_and_continuations: false,
    bigarray_kinds: 13,
    marshals_static_headers: false,
    refuses_continuations: false,
    marshal_flags: 3,
    marshal_header_size: 20,
    reads_unsized_customs: true,
    marshal_errors_name_function: false,
    marshal_validates: false,
};
const V4_14: Behaviour = Behaviour { ..V4_13 };
const V5_0: Behaviour = Behaviour {
    stack_limit_words: 128 * 1024 * 1024,
    stack_slack_words: 32,
    allocator_settings: false,
    custom_minor_max_bytes: 70000,

    signal_0_is_refused: true,

    sees_outside: false,
    forcing_and_continuations: true,
    marshals_static_headers: true,
    reads_unsized_customs: false,
    ..V4_14
};
const V5_1: Behaviour =
    Behaviour { refuses_continuations: true, marshal_flags: 4, marshal_header_size: 16, ..V5_0 };
const V5_2: Behaviour = Behaviour {
    resume_takes_last: true,
    continuation_words: 2,
    location_fields: 9,

    bigarray_kinds: 14,
    marshal_errors_name_function: true,
    ..V5_1
};
const V5_3: Behaviour = Behaviour { ..V5_2 };
const V5_4: Behaviour = Behaviour { named_signals: 30, marshal_validates: true, ..V5_3 };
const V5_5: Behaviour = Behaviour { ..V5_4 };

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
