//! Errors between a host and its OCaml code.

use spelter_dynlink::LinkError;
use spelter_interp::{Limit, LoadError, Panicked, Stopped};

use crate::uncaught::ExceptionArgument;
use crate::wrong_type::WrongType;

/// An error of the library. Each prints as one line: what, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// The system's error.
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
    /// The program needs a shared library of C primitives that this runtime has not built in, and the machine may open
    /// none.
    #[error("{file}: cannot load shared library {}, which has the C primitives {}", libraries.join(", "), list(primitives))]
    MissingLibrary {
        /// The file.
        file: String,
        /// The libraries among those that the program was linked with.
        libraries: Vec<String>,
        /// The unknown primitives.
        primitives: Vec<String>,
    },
    /// A shared library of C primitives cannot be opened.
    #[error("cannot load shared library {library}\nReason: {reason}")]
    Library {
        /// The library.
        library: String,
        /// The system's reason.
        reason: String,
    },
    /// A machine runs only one program; load units into it, or create another machine.
    #[error("{file}: this machine already has a program; load units into it, or create another machine")]
    SecondProgram {
        /// The file.
        file: String,
    },
    /// A machine that was built with libraries runs no program.
    #[error("{file}: this machine has libraries in place of a program ({libraries}); build one without them")]
    LibrariesAndProgram {
        /// The file.
        file: String,
        /// The libraries.
        libraries: String,
    },
    /// OCaml's standard library was not found.
    #[error(
        "no stdlib.cma in {}; install OCaml, name the directory that `ocamlc -where` prints (OCAMLLIB), or give the bytes \
         (Library::new)", looked.join(", ")
    )]
    NoStdlib {
        /// The directories in which it was looked up.
        looked: Vec<String>,
    },
    /// A program comes before the units that are loaded into its machine.
    #[error(
        "{file}: units have been loaded into this machine; run its program first, or create another machine"
    )]
    LateProgram {
        /// The file.
        file: String,
    },
    /// OCaml code raised an exception that it did not handle.
    ///
    /// ```
    /// use spelter::{Error, ExceptionArgument, Vm};
    ///
    /// // exception Odd of int * string
    /// # let mut vm = Vm::builder().build();
    /// # vm.run_bytes("host.byte", include_bytes!("../tests/fixtures/host.byte"))?;
    /// # vm.load_bytes("raises.cmo", include_bytes!("../tests/fixtures/raises.cmo"))?;
    /// match vm.call::<i64>("odd", (0i64,)) {
    ///     Err(Error::Uncaught { name, arguments, exception, .. }) if name == "Raises.Odd" => {
    ///         assert_eq!(arguments, [ExceptionArgument::Int(3), ExceptionArgument::Text("three".to_owned())]);
    ///         assert_eq!(exception, "Raises.Odd(3, \"three\")");
    ///     }
    ///     other => panic!("{other:?}"),
    /// }
    /// # Ok::<(), Error>(())
    /// ```
    #[error("uncaught exception {exception}")]
    Uncaught {
        /// The exception's full name, as OCaml prints it: `Raises.Odd`, `Stdlib.Exit`, `Not_found`. Empty if the value that
        /// was raised is no exception.
        name: String,
        /// Its arguments. A string of more than 64 KiB is [`Other`](ExceptionArgument::Other), and at most 32 are shown.
        arguments: Vec<ExceptionArgument>,
        /// The exception as OCaml prints it.
        exception: String,
        /// The backtrace, if backtraces are recorded and debug data has been found; a line each.
        backtrace: String,
    },
    /// The OCaml code ended the thread that it runs in, which belongs to the host (`Thread.exit`).
    #[error("the OCaml code ended its thread, which belongs to the host")]
    EndThread,
    /// OCaml code called `exit` in a function that the host called.
    #[error("the OCaml code called exit {0}")]
    Exit(i32),
    /// Another thread of the host stopped the call ([`InterruptHandle`](crate::InterruptHandle)). The machine can be
    /// called again.
    #[error("interrupted by the host")]
    Interrupted,
    /// The call exceeded a limit that the host has set ([`VmBuilder::fuel`](crate::VmBuilder::fuel),
    /// [`VmBuilder::time_limit`](crate::VmBuilder::time_limit),
    /// [`VmBuilder::memory_limit`](crate::VmBuilder::memory_limit),
    /// [`VmBuilder::output_limit`](crate::VmBuilder::output_limit)). The machine can be called again.
    #[error("the call was stopped: {0}")]
    Limit(Limit),
    /// The machine's code does not burn fuel.
    #[error("this machine does not count fuel: build it with `VmBuilder::fuel`")]
    Unmetered,
    /// The machine cannot continue.
    #[error("{0}")]
    Fatal(String),
    /// Checked code tried what it may not do with a value, and was stopped: the value is not of the type that the code was
    /// compiled for. The machine can be called again.
    #[error("{text}")]
    Fault {
        /// The unit, if the code belongs to one.
        unit: Option<String>,
        /// The function, `Module.f`, if the unit has debug data (`ocamlc -g`).
        function: Option<String>,
        /// The line that had been reached, in the source that `file` names, if the unit has debug data.
        line: Option<i64>,
        /// The source.
        file: Option<String>,
        /// Where, what it tried, and what to check.
        text: String,
    },
    /// A host function, or other Rust code, panicked while OCaml code ran. The machine can be used again, unless a
    /// later call reports otherwise.
    #[error("{} panicked: {message}", primitive.as_deref().unwrap_or("the runtime, outside any primitive,"))]
    Panic {
        /// The primitive that ran, if one did.
        primitive: Option<String>,
        /// The panic message.
        message: String,
    },
    /// No value is registered under a name.
    #[error("no value is registered as {0:?}; the OCaml code must call Callback.register with that name")]
    NoSuchValue(String),
    /// An interface is not the one that a unit was compiled with, or is not the one of that name.
    #[error("unit {unit}: {reason}")]
    OtherInterface {
        /// The unit.
        unit: String,
        /// What is wrong.
        reason: String,
    },
    /// A unit's interface has no such value, or no module contains it.
    #[error("unit {unit} {reason}")]
    NoSuchComponent {
        /// The unit.
        unit: String,
        /// What is wrong.
        reason: String,
    },
    /// The host expects another type of a value than its interface states.
    #[error("{name} has type {ocaml}, the host expects {host}{}", detail.as_ref().map(|it| format!(": {it}")).unwrap_or_default())]
    OtherType {
        /// The value.
        name: String,
        /// Its type.
        ocaml: String,
        /// The type that the host expects, in OCaml's notation. `_` is any type.
        host: String,
        /// Where they differ, if the types do not show it.
        detail: Option<String>,
    },
    /// A value does not have the type that the host requested.
    #[error("an OCaml value is not what the host expects: {0}")]
    WrongType(#[from] WrongType),
}

impl Error {
    pub(crate) fn fault(stopped: Stopped) -> Error {
        let text = stopped.to_string();
        let (file, line) = stopped.line.unzip();
        Error::Fault { unit: stopped.unit, function: stopped.function, line, file, text }
    }

    pub(crate) fn panic(Panicked { primitive, message }: Panicked) -> Error {
        Error::Panic { primitive, message }
    }
}

/// Lists the first few names, and how many more there are.
pub(crate) fn list(names: &[String]) -> String {
    const MOST: usize = 5;
    match names.len().checked_sub(MOST) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..MOST].join(", ")),
    }
}
