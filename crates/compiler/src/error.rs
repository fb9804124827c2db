//! Why something could not be compiled, evaluated or found.

use std::path::PathBuf;

use crate::diagnostics::Diagnostics;

/// An error of the library. Each but [`Error::Rejected`] prints as one line: what, where, and what would help.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The source has errors: what the compiler says about them.
    #[error("{0}")]
    Rejected(Diagnostics),
    /// No OCaml was found.
    #[error(
        "no OCaml from 4.13 to 5.5 was found (looked in {}): install it (Debian: apt-get install ocaml ocaml-compiler-libs), \
         or set OCAMLLIB to the directory that has its stdlib.cma",
        list(looked)
    )]
    NoInstallation {
        /// The places that were looked at.
        looked: Vec<PathBuf>,
    },
    /// A file of the installation is missing.
    #[error("OCaml's {file} is not {place}; {help}")]
    Missing {
        /// The file.
        file: String,
        /// Where it should be.
        place: String,
        /// What would help.
        help: &'static str,
    },
    /// A file of the installation cannot be used.
    #[error("{file}: {reason}")]
    BadFile {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A unit cannot have this name.
    #[error(
        "{name:?} cannot be the name of a unit: it must be a letter, then letters, digits and underscores, as in \"rule\""
    )]
    Name {
        /// The name.
        name: String,
    },
    /// The system refuses to read or write a file.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: String,
        /// The system's error.
        error: std::io::Error,
    },
    /// The machine in which the compiler runs stopped it: see [`spelter::Error`].
    #[error("the compiler's machine: {0}")]
    Machine(spelter::Error),
}

impl From<spelter::Error> for Error {
    fn from(e: spelter::Error) -> Error {
        Error::Machine(e)
    }
}

fn list(places: &[PathBuf]) -> String {
    let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
    if places.is_empty() { "PATH".to_owned() } else { places.join(", ") }
}
