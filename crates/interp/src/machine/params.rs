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
}
