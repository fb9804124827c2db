//! What a program can query about how it was started.

/// Start parameters: the command line, and the letters of `OCAMLRUNPARAM` that concern the machine.
#[derive(Clone, Debug, Default)]
pub struct Params {
    /// `Sys.executable_name`.
    pub executable_name: Vec<u8>,
    /// `Sys.argv`.
    pub argv: Vec<Vec<u8>>,
    /// Backtraces are recorded from the start (`b`).
    pub backtrace: bool,
    /// Debug data is read at the start (`b=2`), not when a backtrace is printed.
    pub early_debug_info: bool,
    /// Flush and clean up at exit (`c`).
    pub cleanup_at_exit: bool,
    /// Parser automata trace their steps (`p`).
    pub parser_trace: bool,
    /// Messages of the collector, a mask (`v`); 0x400 prints statistics at exit.
    pub verbose_gc: u64,
    /// The stack's initial limit in words (`l`). The program may raise it up to the host's limit
    /// ([`Settings::stack_limit_words`](crate::Settings::stack_limit_words)).
    pub stack_limit_words: Option<usize>,
    /// The maximum number of domains (`d`), in versions where that can be set.
    pub max_domains: Option<u64>,
    /// Runtime warnings are on (`W`).
    pub warnings: bool,
    /// Settings that the program can only query, or change by `Gc.set`.
    pub collector: CollectorParams,
    /// The default directory of the standard library that the program was linked with, or the runtime's own.
    pub standard_library: Vec<u8>,
}

/// Parameters of OCaml's collector that this machine's does not use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CollectorParams {
    /// The increment of the heap (`i`).
    pub increment: Option<u64>,
    /// The allocator's policy (`a`).
    pub policy: Option<u64>,
    /// The window of the collector's pace (`w`).
    pub window: Option<u64>,
    /// How soon memory outside the heap makes the collector work (`M`).
    pub custom_major_ratio: Option<u64>,
    /// The same for the nursery (`m`).
    pub custom_minor_ratio: Option<u64>,
    /// The largest custom block in the nursery, in bytes (`n`).
    pub custom_minor_max_bytes: Option<u64>,
    /// The size of the ring of runtime events, as a power of two, in words (`e`).
    pub events_log_words: Option<u64>,
    /// The level of traces (`t`).
    pub trace_level: u64,
    /// Whether the heap is checked (`V`).
    pub verify_heap: u64,
    /// Experimental settings by name (`X`).
    pub tweaks: Vec<(String, u64)>,
}
