//! What can go wrong between a host and its OCaml code.

use spelter_dynlink::LinkError;
use spelter_interp::{LoadError, Panicked};

use crate::wrong_type::WrongType;

/// Why something did not work. Each prints as one line: what, where, and what would help.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file is damaged, of another kind, or of another version of OCaml.
    #[error("{file}: {source}")]
    Format {
        /// The file.
        file: String,
        /// What is wrong, and where.
        source: spelter_bytecode::Error,
    },
    /// A program cannot be loaded.
    #[error("{file}: {source}")]
    Load {
        /// The file.
        file: String,
        /// What is wrong.
        source: LoadError,
    },
    /// A unit cannot be linked.
    #[error("{file}: {source}")]
    Link {
        /// The file.
        file: String,
        /// What is wrong.
        source: LinkError,
    },
    /// The program needs a primitive that this runtime does not have.
    #[error("{file}: unknown C primitive `{name}'; register it before the program is loaded")]
    MissingPrimitive {
        /// The file.
        file: String,
        /// The primitive.
        name: String,
    },
    /// The program needs a shared library of C primitives that this runtime has not built in.
    #[error("{file}: cannot load shared library {}, which has the C primitives {}", libraries.join(", "), list(primitives))]
    MissingLibrary {
        /// The file.
        file: String,
        /// The libraries among those that the program was linked with.
        libraries: Vec<String>,
        /// The primitives that nobody knows.
        primitives: Vec<String>,
    },
    /// A machine runs one program; load units into it, or make another machine.
    #[error("{file}: this machine has a program already; units can be loaded into it")]
    SecondProgram {
        /// The file.
        file: String,
    },
    /// OCaml code raised an exception that it did not handle.
    #[error("uncaught exception {exception}")]
    Uncaught {
        /// The exception as OCaml prints it.
        exception: String,
        /// The backtrace, if backtraces are recorded and debug data has been found; a line each.
        backtrace: String,
    },
    /// The OCaml code ended the thread that runs it, which is the host's (`Thread.exit`).
    #[error("the OCaml code ended its thread, which is the host's")]
    EndThread,
    /// OCaml code called `exit` where the host called a function.
    #[error("the OCaml code called exit {0}")]
    Exit(i32),
    /// The host's other thread wanted the call to stop ([`InterruptHandle`](crate::InterruptHandle)). The machine can be
    /// called again.
    #[error("interrupted by the host")]
    Interrupted,
    /// The machine cannot go on.
    #[error("{0}")]
    Fatal(String),
    /// A function of the host's, or something else of Rust's, panicked while OCaml code ran. The machine can be used again,
    /// unless it says otherwise.
    #[error("{} panicked: {message}", primitive.as_deref().unwrap_or("the runtime, outside any primitive,"))]
    Panic {
        /// The primitive that ran, if one did.
        primitive: Option<String>,
        /// What the panic said.
        message: String,
    },
    /// No value is registered under a name.
    #[error("no value is registered as {0:?}; the OCaml code must call Callback.register with that name")]
    NoSuchValue(String),
    /// A value is not of the type that the host asked for.
    #[error("an OCaml value is not what the host expects: {0}")]
    WrongType(#[from] WrongType),
}

impl Error {
    pub(crate) fn panic(Panicked { primitive, message }: Panicked) -> Error {
        Error::Panic { primitive, message }
    }
}

/// The first of some names, and how many more there are.
fn list(names: &[String]) -> String {
    const MOST: usize = 5;
    match names.len().checked_sub(MOST) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..MOST].join(", ")),
    }
}
