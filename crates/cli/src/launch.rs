//! Finds the program to run, as `ocamlrun` does, with the same error messages.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use spelter_bytecode::dialect::{Dialect, FileKind};

/// The length of a magic number.
const MAGIC_LEN: usize = 12;
/// The number of sections and the magic number, at the end of an executable.
const TRAILER_LEN: usize = 4 + MAGIC_LEN;

/// The version of OCaml whose runtime the command says it is: that in `SPELTER_OCAML`, such as `5.4`, else the newest.
pub(crate) fn answers_for() -> &'static Dialect {
    let newest = *Dialect::KNOWN.last().expect("there are versions");
    let Some(wanted) = std::env::var_os("SPELTER_OCAML").filter(|wanted| !wanted.is_empty()) else {
        return newest;
    };
    let wanted = wanted.to_string_lossy();
    let is_wanted = |dialect: &Dialect| {
        let rest = wanted.strip_prefix(dialect.version);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    match Dialect::KNOWN.iter().find(|dialect| is_wanted(dialect)) {
        Some(dialect) => dialect,
        None => {
            let known: Vec<&str> = Dialect::KNOWN.iter().map(|dialect| dialect.version).collect();
            // Errors of stderr cannot be reported.
            let _ = writeln!(
                std::io::stderr(),
                "SPELTER_OCAML={wanted}: no such version; there are {}",
                known.join(", ")
            );
            std::process::exit(StartError::EXIT_CODE)
        }
    }
}

/// The magic number of the executables of a version.
pub(crate) fn magic_of_version(version: &Dialect) -> [u8; MAGIC_LEN] {
    version.magic(FileKind::Executable)
}

/// The reason why no program can be run. The exit code is then [`StartError::EXIT_CODE`].
#[derive(Debug)]
pub(crate) enum StartError {
    NoFile,
    NotFound(OsString),
    NotBytecode(OsString),
    WrongMagic { file: OsString, found: Vec<u8> },
    NeedsArgument(&'static str),
    UnknownOption(OsString),
}

impl StartError {
    pub(crate) const EXIT_CODE: i32 = 127;

    /// The message; names in it may contain any bytes.
    fn message(&self) -> Vec<u8> {
        match self {
            StartError::NoFile => b"no bytecode file specified".to_vec(),
            StartError::NotFound(file) => [b"cannot find file '", file.as_bytes(), b"'"].concat(),
            StartError::NotBytecode(file) => {
                [b"the file '", file.as_bytes(), b"' is not a bytecode executable file"].concat()
            }
            StartError::WrongMagic { file, found } => {
                let file = file.as_bytes();
                let why = b"' has not the right magic number: expected ".as_slice();
                // A C string ends at its first zero byte.
                let found = found.split(|byte| *byte == 0).next().unwrap_or_default();
                [b"the file '", file, why, &magic_of_version(answers_for()), b", got ", found].concat()
            }
            StartError::NeedsArgument(option) => format!("option '{option}' needs an argument.").into_bytes(),
            StartError::UnknownOption(option) => [b"unknown option ", option.as_bytes()].concat(),
        }
    }

    /// Prints the message and ends the process.
    pub(crate) fn exit(&self) -> ! {
        let mut message = self.message();
        message.push(b'\n');
        // Errors of stderr cannot be reported.
        let _ = std::io::stderr().write_all(&message);
        std::process::exit(StartError::EXIT_CODE)
    }
}

/// Looks a name up in `PATH`, unless it has a slash. Returns the name itself if it is not found.
fn search_path(name: &OsStr) -> OsString {
    let dirs = match std::env::var_os("PATH") {
        Some(path) if !name.as_bytes().contains(&b'/') => path,
        _ => return name.to_owned(),
    };
    for dir in dirs.as_bytes().split(|byte| *byte == b':') {
        let dir = if dir.is_empty() { b".".as_slice() } else { dir };
        let full = OsString::from_vec([dir, b"/", name.as_bytes()].concat());
        if Path::new(&full).is_file() {
            return full;
        }
    }
    name.to_owned()
}

/// The version of programs with this magic number, if they run here.
fn version_of(magic: &[u8; MAGIC_LEN]) -> Option<&'static Dialect> {
    Dialect::KNOWN.iter().find(|dialect| magic_of_version(dialect) == *magic).copied()
}

/// The magic number that an open file ends with, if it is long enough for one.
fn magic_of(file: &mut File) -> Option<[u8; MAGIC_LEN]> {
    file.seek(SeekFrom::End(-(TRAILER_LEN as i64))).ok()?;
    let mut trailer = [0; TRAILER_LEN];
    file.read_exact(&mut trailer).ok()?;
    trailer.last_chunk().copied()
}

/// Opens a program and reads its magic number: the name under which it was found, and the number.
fn open(name: &OsStr) -> Result<(OsString, [u8; MAGIC_LEN]), StartError> {
    let found = search_path(name);
    let Ok(mut file) = File::open(&found) else { return Err(StartError::NotFound(name.to_owned())) };
    match magic_of(&mut file) {
        Some(magic) => Ok((found, magic)),
        None => Err(StartError::NotBytecode(name.to_owned())),
    }
}

/// Finds the program called `name`, and returns the name under which it was found (`Sys.executable_name`) and its
/// version. The program may be a script whose `#!` line names the runtime.
///
/// # Errors
/// When it does not exist, or is not a bytecode executable of a known version.
pub(crate) fn find(name: &OsStr) -> Result<(OsString, &'static Dialect), StartError> {
    let (found, magic) = open(name)?;
    match version_of(&magic) {
        Some(version) => Ok((found, version)),
        None => Err(StartError::WrongMagic { file: name.to_owned(), found: magic.to_vec() }),
    }
}

/// The magic number of the file called `name`, whatever its value.
///
/// # Errors
/// When it does not exist, or is too short.
pub(crate) fn magic(name: &OsStr) -> Result<[u8; MAGIC_LEN], StartError> {
    open(name).map(|(_, magic)| magic)
}

/// The command's own executable file, if a program has been appended to it.
pub(crate) fn appended() -> Option<(OsString, &'static Dialect)> {
    let name = std::env::current_exe().ok()?.into_os_string();
    let magic = magic_of(&mut File::open(&name).ok()?)?;
    Some((name, version_of(&magic)?))
}
