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
    /// Whether a continuation has a second field, besides the fiber that performed: the last fiber of the chain.
    pub continuations_name_last: bool,
    /// Fields of `Printexc`'s slots with a known location.
    pub location_fields: usize,
    /// Whether call stacks list exception handlers, except each stack's innermost one (a bug that programs can see).
    pub callstacks_list_handlers: bool,
    /// Whether the backtrace of `Stack_overflow` begins with the function for which there was no room.
    pub overflow_has_place: bool,

    // ---- unix and str
    /// Whether `Unix.gmtime`, `localtime`, `mktime`, `getlogin` and look-ups of users and groups report the system's
    /// error; otherwise each has one answer to every failure.
    pub unix_reports_errno: bool,
    /// Whether `Unix.localtime` looks whether the program has changed `TZ`.
    pub localtime_reads_zone: bool,
    /// Whether `Unix.map_file` refuses sizes that overflow with texts of its own, and takes dimensions of size 0.
    pub map_file_tests_sizes: bool,
    /// Whether `Str` reports a group that would end before it starts as unmatched.
    pub str_drops_reversed_groups: bool,

    // ---- the system
    /// How many signals have numbers of OCaml's own, which are negative.
    pub named_signals: usize,
    /// Whether `Sys.signal` refuses number 0 as it does other numbers that are no signal's.
    pub signal_0_is_refused: bool,
    /// Whether closing a descriptor reports errors.
    pub close_reports_errors: bool,

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
    /// Whether marshalled data may be compressed.
    pub reads_compressed: bool,
    /// Whether they are decompressed only for programs that have asked for it, as the compiler does.
    pub decompresses_on_request: bool,
    /// The bytes of a marshalled value that suffice to know its size (`Marshal.header_size`).
    pub marshal_header_size: usize,
    /// Whether the code of custom blocks without their sizes, of OCaml before 4.08, is still read.
    pub reads_unsized_customs: bool,
    /// Whether objects of marshalled data that do not fit into the nursery are allocated one by one, whatever size their
    /// header announces.
    pub marshal_grows: bool,
    /// Whether messages about marshalled data name the entry point, and the unknown kind of a custom block.
    pub marshal_errors_name_function: bool,
    /// Whether every step of reading marshalled data is tested, with messages of its own.
    pub marshal_validates: bool,
    /// The same for marshalled closures, the places of code pointers and the tags of empty blocks.
    pub marshal_checks_closures: bool,
    /// Whether empty parts and concatenations of float arrays have the tag of float arrays.
    pub empty_float_parts_have_tag: bool,

    // ---- channels
    /// What the positions of a closed channel say.
    pub closed_channel: ClosedChannel,
    /// Whether a list of all output channels begins with the one opened last.
    pub newest_channel_first: bool,
    /// Whether a channel that cannot be written any more loses what it had buffered, so that it can be closed.
    pub lost_output_is_dropped: bool,
    /// Whether the error of moving to position -1 is noticed.
    pub seeks_before_start_fail: bool,
    /// Whether `flush` ends without an error if a signal handler closes the channel meanwhile.
    pub flush_ends_at_close: bool,

    // ---- threads and domains
    /// Whether threads take turns by a signal, which the library `threads` handles.
    pub turns_by_signal: bool,
    /// Whether the runtime stores a domain's result, not the function that it runs.
    pub stores_domain_result: bool,
    /// Whether a domain's result has the backtrace of its exception.
    pub domain_result_backtrace: bool,
    /// Whether a new domain records backtraces if its parent does, not if the process did at its start.
    pub inherits_backtrace_flag: bool,
    /// Whether `OCAMLRUNPARAM=d` sets the maximum number of domains.
    pub sets_domain_limit: bool,
    /// `Failure` when there are too many domains.
    pub too_many_domains: &'static str,
    /// The beginning of `Sys_error` when the system allows no thread for a domain. If `None`, it is a `Failure`.
    pub no_domain_thread: Option<&'static str>,
    /// `Failure` of `Unix.fork` when a domain has ever been spawned.
    pub no_fork: &'static str,

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
    /// Whether `Gc.Memprof` also samples the bytes of mapped files.
    pub memprof_sees_maps: bool,
    /// Whether a collection begins as soon as the one before it has ended. It then does not see what the program drops
    /// later, nor that a finaliser has run that is due after the one before it.
    pub collections_follow: bool,
    /// Whether the first one begins with the program, then.
    pub collects_from_start: bool,
    /// Whether a minor collection finds young values dead that only weak pointers and ephemerons refer to.
    pub minor_clears_weak: bool,
    /// Whether marking replaces references to forced suspensions by what was computed. Minor collections always do.
    pub marking_cuts_lazy: bool,

    // ---- loading code
    /// Whether `caml_reify_bytecode` gets the code as a big array, without its last instruction; otherwise as an array
    /// of strings.
    pub code_is_bigarray: bool,
    /// Whether `Dynlink` hides the names of a private load only when all units of the file have run.
    pub hides_names_late: bool,
    /// Whether the file names of shared libraries may name the system, too.
    pub libraries_name_system: bool,
    /// Whether the folders of shared libraries are those that all loader configurations list: of `$OCAMLLIB`, of
    /// `$CAMLLIB`, and of the runtime's own library folder. Otherwise only the first of these folders counts.
    pub loader_configurations_add_up: bool,

    // ---- debuggers
    /// Whether a debugger finds frames on the parents of the running fiber, too, and its barrier stops effects.
    pub debugs_fibers: bool,
    /// The number of the program's code. The runtime's own code has lower numbers; otherwise it gets one when first used.
    pub program_fragment: usize,
    /// In the code by which the runtime calls closures, the bytes before the return address.
    pub callback_return: usize,
    /// Whether programs under a debugger cannot create threads.
    pub debugs_one_thread: bool,
    /// How the debugger's address is written.
    pub debugger_address: DebuggerAddress,

    // ---- parameters at start
    /// Whether `OCAMLRUNPARAM=X` sets what `Gc.Tweak` shows.
    pub tweaks: bool,
    /// The name of the runtime's configuration: this one's, which reads no compressed code.
    pub runtime_id: Option<&'static str>,
    /// Whether the configuration that the runtime prints says if it reads compressed data.
    pub config_tells_compression: bool,
    /// Whether it lists the folders of shared libraries that the environment names, too.
    pub config_lists_environment: bool,

    // ---- runtime events
    /// How many phases and counters the runtime's events have names for; none if it writes no events.
    pub event_names: EventNames,
    /// Whether programs can define events, whose names the file of events contains.
    pub user_events: bool,
    /// Whether the program provides the bytes into which an event of a type of its own is encoded.
    pub events_bring_buffer: bool,
    /// Whether an event that does not fit into half a ring ends the program.
    pub refuses_large_events: bool,
    /// Whether a reader of events refuses those whose types are not those that the program has for them.
    pub checks_event_types: bool,
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

/// How the address of a debugger is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DebuggerAddress {
    /// A path, or a host, a colon and a port. The host's address is one of version 4.
    UpToFirstColon,
    /// The same, with any address of a host; one with colons is in brackets. A path with colons says that it is one.
    UpToLastColon,
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

/// How many events of the runtime have names. Later versions add names at the end, except the phases of `Gc.Memprof`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventNames {
    /// Phases.
    pub phases: usize,
    /// Whether phases of `Gc.Memprof` are among them.
    pub memprof: bool,
    /// Counters.
    pub counters: usize,
}

const V4_13: Behaviour = Behaviour {
    stack_limit_words: 1024 * 1024,
    stack_slack_words: 256,
    allocator_settings: true,
    custom_minor_max_bytes: 8192,
    resume_takes_last: false,
    continuations_name_last: false,
    location_fields: 7,
    callstacks_list_handlers: false,
    overflow_has_place: false,
    unix_reports_errno: false,
    localtime_reads_zone: true,
    map_file_tests_sizes: false,
    str_drops_reversed_groups: false,
    named_signals: 28,
    signal_0_is_refused: false,
    close_reports_errors: false,
    sees_outside: true,
    forcing_and_continuations: false,
    bigarray_kinds: 13,
    marshals_static_headers: false,
    refuses_continuations: false,
    marshal_flags: 3,
    reads_compressed: false,
    decompresses_on_request: false,
    marshal_header_size: 20,
    reads_unsized_customs: true,
    marshal_grows: false,
    marshal_errors_name_function: false,
    marshal_validates: false,
    marshal_checks_closures: false,
    empty_float_parts_have_tag: false,
    closed_channel: ClosedChannel::KeepsBuffer,
    newest_channel_first: false,
    lost_output_is_dropped: false,
    seeks_before_start_fail: false,
    flush_ends_at_close: false,
    turns_by_signal: true,
    stores_domain_result: false,
    domain_result_backtrace: false,
    inherits_backtrace_flag: false,
    sets_domain_limit: false,
    too_many_domains: "failed to allocate domain",
    no_domain_thread: None,
    no_fork: "Unix.fork may not be called while other domains were created",
    gc_stat_fields: 17,
    compacts: true,
    full_major_cycles: 2,
    runtime_parameters: RuntimeParameters::OfAllocator,
    reports_mean_overhead: false,
    memprof: MemprofKind::Unnamed,
    memprof_sees_maps: false,
    collections_follow: true,
    collects_from_start: false,
    minor_clears_weak: true,
    marking_cuts_lazy: true,
    code_is_bigarray: false,
    hides_names_late: false,
    libraries_name_system: false,
    loader_configurations_add_up: false,
    debugs_fibers: false,
    program_fragment: 0,
    callback_return: 16,
    debugs_one_thread: false,
    debugger_address: DebuggerAddress::UpToFirstColon,
    tweaks: false,
    runtime_id: None,
    config_tells_compression: false,
    config_lists_environment: false,
    event_names: EventNames { phases: 0, memprof: false, counters: 0 },
    user_events: false,
    events_bring_buffer: false,
    refuses_large_events: false,
    checks_event_types: false,
};

const V4_14: Behaviour = Behaviour { debugs_one_thread: true, marking_cuts_lazy: false, ..V4_13 };

const V5_0: Behaviour = Behaviour {
    stack_limit_words: 128 * 1024 * 1024,
    stack_slack_words: 32,
    allocator_settings: false,
    callstacks_list_handlers: true,
    overflow_has_place: true,
    signal_0_is_refused: true,
    sees_outside: false,
    forcing_and_continuations: true,
    marshals_static_headers: true,
    reads_unsized_customs: false,
    marshal_grows: true,
    newest_channel_first: true,
    turns_by_signal: false,
    compacts: false,
    full_major_cycles: 3,
    runtime_parameters: RuntimeParameters::Missing,
    reports_mean_overhead: true,
    memprof: MemprofKind::Missing([
        "Gc.memprof.start: not implemented in multicore",
        "Gc.memprof.stop: not implemented in multicore",
        "Gc.memprof.discard: not implemented in multicore",
    ]),
    collects_from_start: true,
    minor_clears_weak: false,
    debugs_fibers: true,
    program_fragment: 3,
    event_names: EventNames { phases: 40, memprof: false, counters: 11 },
    ..V4_14
};

const V5_1: Behaviour = Behaviour {
    refuses_continuations: true,
    marshal_flags: 4,
    reads_compressed: true,
    marshal_header_size: 16,
    closed_channel: ClosedChannel::KeepsBufferAtStart,
    config_tells_compression: true,
    event_names: EventNames { phases: 40, memprof: false, counters: 17 },
    user_events: true,
    ..V5_0
};

const V5_2: Behaviour = Behaviour {
    custom_minor_max_bytes: 70000,
    resume_takes_last: true,
    continuations_name_last: true,
    location_fields: 9,
    bigarray_kinds: 14,
    decompresses_on_request: true,
    marshal_errors_name_function: true,
    closed_channel: ClosedChannel::HasNone,
    lost_output_is_dropped: true,
    seeks_before_start_fail: true,
    stores_domain_result: true,
    no_fork: "Unix.fork may not be called after any domain has been spawned",
    compacts: true,
    memprof: MemprofKind::Missing([
        "Gc.Memprof.start: not implemented in multicore",
        "Gc.Memprof.stop: not implemented in multicore",
        "Gc.Memprof.discard: not implemented in multicore",
    ]),
    code_is_bigarray: true,
    config_tells_compression: false,
    event_names: EventNames { phases: 44, memprof: false, counters: 17 },
    events_bring_buffer: true,
    ..V5_1
};

const V5_3: Behaviour = Behaviour {
    empty_float_parts_have_tag: true,
    sets_domain_limit: true,
    runtime_parameters: RuntimeParameters::OfDomains,
    reports_mean_overhead: false,
    memprof: MemprofKind::Values { replaces: false },
    callback_return: 0,
    debugger_address: DebuggerAddress::UpToLastColon,
    event_names: EventNames { phases: 48, memprof: true, counters: 26 },
    ..V5_2
};

const V5_4: Behaviour = Behaviour {
    named_signals: 30,
    marshal_validates: true,
    flush_ends_at_close: true,
    no_domain_thread: Some("failed to create domain thread: pthread_create"),
    minor_clears_weak: true,
    hides_names_late: true,
    config_lists_environment: true,
    memprof_sees_maps: true,
    event_names: EventNames { phases: 49, memprof: true, counters: 26 },
    ..V5_3
};

const V5_5: Behaviour = Behaviour {
    unix_reports_errno: true,
    localtime_reads_zone: false,
    map_file_tests_sizes: true,
    marshal_checks_closures: true,
    str_drops_reversed_groups: true,
    close_reports_errors: true,
    empty_float_parts_have_tag: false,
    domain_result_backtrace: true,
    inherits_backtrace_flag: true,
    too_many_domains: "failed to allocate domain: domain_create",
    no_domain_thread: Some("failed to create domain thread: caml_plat_thread_create"),
    gc_stat_fields: 18,
    memprof: MemprofKind::Values { replaces: true },
    collections_follow: false,
    libraries_name_system: true,
    loader_configurations_add_up: true,
    tweaks: true,
    runtime_id: Some("a104"),
    event_names: EventNames { phases: 50, memprof: true, counters: 28 },
    refuses_large_events: true,
    checks_event_types: true,
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
