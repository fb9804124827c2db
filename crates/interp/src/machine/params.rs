//! What a program may ask about how it was started.

/// Start parameters: the command line, and `OCAMLRUNPARAM`'s letters as far as they concern the machine.
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
    /// The stack's limit in words to begin with (`l`). The program may raise it, as far as the host lets it
    /// ([`Settings::stack_limit_words`](crate::Settings::stack_limit_words)).
    pub stack_limit_words: Option<usize>,
    /// Runtime warnings are on (`W`).
    pub warnings: bool,
}
