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
    /// Whether call stacks list exception handlers, except each stack's innermost one (a bug that programs can see).
    pub callstacks_list_handlers: bool,

    // ---- the system
    /// How many signals have numbers of OCaml's own, which are negative.
    pub named_signals: usize,
    /// Whether `Sys.signal` refuses number 0 as it does other numbers that are no signal's.
    pub signal_0_is_refused: bool,
    /// Whether closing a descriptor reports errors.
    pub close_reports_errors: bool,

    // ---- channels
    /// What the positions of a closed channel say.
    pub closed_channel: ClosedChannel,
    /// Whether a list of all output channels begins with the one opened last.
    pub newest_channel_first: bool,
    /// Whether a channel that cannot be written any more loses what it had buffered, so that it can be closed.
    pub lost_output_is_dropped: bool,
    /// Whether the error of moving to position -1 is noticed.
    pub seeks_before_start_fail: bool,

    // ---- collections, statistics and profiles
    /// Fields of `Gc.stat`.
    pub gc_stat_fields: usize,
    /// Whether a compaction can be requested, and `Gc.stat` counts them.
    pub compacts: bool,
    /// How many collections `Gc.full_major` does.
    pub full_major_cycles: usize,
    /// What `Sys.runtime_parameters` lists.
    pub runtime_parameters: RuntimeParameters,
    /// Whether the statistics at exit (`OCAMLRUNPARAM=v=0x400`) end with the mean space overhead.
    pub reports_mean_overhead: bool,
    /// How `Gc.Memprof` works.
    pub memprof: MemprofKind,

    // ---- parameters at start
    /// The largest number of domains that `OCAMLRUNPARAM=d` may allow, where it can.
    pub most_domains: Option<u64>,
    /// Whether `OCAMLRUNPARAM=X` sets what `Gc.Tweak` shows.
    pub tweaks: bool,
    /// The name of the runtime's configuration: this one's, which reads no compressed code.
    pub runtime_id: Option<&'static str>,
}

/// What `Sys.runtime_parameters` lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuntimeParameters {
    /// The parameters of OCaml 4.
    OfAllocator,
    /// Nothing: the text says so.
    Missing,
    /// The parameters of OCaml 5.
    OfDomains,
}

/// How `Gc.Memprof` works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemprofKind {
    /// One profile, without a name.
    Unnamed,
    /// It always fails: the messages of `start`, `stop` and `discard`.
    Missing([&'static str; 3]),
    /// Profiles are values, and are discarded explicitly.
    Values {
        /// Whether a new one may begin while another one runs.
        replaces: bool,
    },
}

/// What the positions of a closed channel say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClosedChannel {
    /// As if its buffer were full, or consumed.
    KeepsBuffer,
    /// The same, and that its buffer ends at position 0.
    KeepsBufferAtStart,
    /// It has no buffer any more: an output channel is always full.
    HasNone,
}

const V4_13: Behaviour = Behaviour {
    stack_limit_words: 1024 * 1024,
    stack_slack_words: 256,
    allocator_settings: true,
    custom_minor_max_bytes: 8192,
    resume_takes_last: false,
    continuation_words: 1,
    location_fields: 7,
    callstacks_list_handlers: false,

    named_signals: 28,
    signal_0_is_refused: false,
    close_reports_errors: false,

    closed_channel: ClosedChannel::KeepsBuffer,
    newest_channel_first: false,
    lost_output_is_dropped: false,
    seeks_before_start_fail: false,

    gc_stat_fields: 17,
    compacts: true,
    full_major_cycles: 2,
    runtime_parameters: RuntimeParameters::OfAllocator,
    reports_mean_overhead: false,
    memprof: MemprofKind::Unnamed,

    most_domains: None,
    tweaks: false,
    runtime_id: None,
};
const V4_14: Behaviour = Behaviour { ..V4_13 };
const V5_0: Behaviour = Behaviour {
    stack_limit_words: 128 * 1024 * 1024,
    stack_slack_words: 32,
    allocator_settings: false,
    custom_minor_max_bytes: 70000,
    callstacks_list_handlers: true,

    signal_0_is_refused: true,

    newest_channel_first: true,

    compacts: false,
    full_major_cycles: 3,
    runtime_parameters: RuntimeParameters::Missing,
    reports_mean_overhead: true,
    memprof: MemprofKind::Missing([
        "Gc.memprof.start: not implemented in multicore",
        "Gc.memprof.stop: not implemented in multicore",
        "Gc.memprof.discard: not implemented in multicore",
    ]),
    ..V4_14
};
const V5_1: Behaviour = Behaviour { closed_channel: ClosedChannel::KeepsBufferAtStart, ..V5_0 };
const V5_2: Behaviour = Behaviour {
    resume_takes_last: true,
    continuation_words: 2,
    location_fields: 9,

    closed_channel: ClosedChannel::HasNone,
    lost_output_is_dropped: true,
    seeks_before_start_fail: true,

    compacts: true,
    memprof: MemprofKind::Missing([
        "Gc.Memprof.start: not implemented in multicore",
        "Gc.Memprof.stop: not implemented in multicore",
        "Gc.Memprof.discard: not implemented in multicore",
    ]),
    ..V5_1
};
const V5_3: Behaviour = Behaviour {
    runtime_parameters: RuntimeParameters::OfDomains,
    reports_mean_overhead: false,
    memprof: MemprofKind::Values { replaces: false },

    most_domains: Some(4096),
    ..V5_2
};
const V5_4: Behaviour = Behaviour { named_signals: 30, ..V5_3 };
const V5_5: Behaviour = Behaviour {
    close_reports_errors: true,

    gc_stat_fields: 18,
    memprof: MemprofKind::Values { replaces: true },

    tweaks: true,
    runtime_id: Some("a104"),
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
