//! Finds the program to run, as `ocamlrun` 4.13 does, with the same error messages.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use spelter_bytecode::dialect::{Dialect, FileKind};

/// The magic number of the executables that this runtime runs.
pub(crate) const MAGIC: &[u8; 12] = b"Caml1999X030";
/// The number of sections and the magic number, at the end of an executable.
const TRAILER_LEN: usize = 4 + MAGIC.len();

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
                [b"the file '", file, why, MAGIC, b", got ", found].concat()
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

/// Whether programs with this magic number run here.
fn is_known(magic: &[u8]) -> bool {
    Dialect::KNOWN.iter().any(|dialect| dialect.magic(FileKind::Executable) == magic)
}

/// The magic number that an open file ends with, if it is long enough for one.
fn magic_of(file: &mut File) -> Option<[u8; MAGIC.len()]> {
    file.seek(SeekFrom::End(-(TRAILER_LEN as i64))).ok()?;
    let mut trailer = [0; TRAILER_LEN];
    file.read_exact(&mut trailer).ok()?;
    trailer.last_chunk().copied()
}

/// Opens a program and reads its magic number: the name under which it was found, and the number.
fn open(name: &OsStr) -> Result<(OsString, [u8; MAGIC.len()]), StartError> {
    let found = search_path(name);
    let Ok(mut file) = File::open(&found) else { return Err(StartError::NotFound(name.to_owned())) };
    match magic_of(&mut file) {
        Some(magic) => Ok((found, magic)),
        None => Err(StartError::NotBytecode(name.to_owned())),
    }
}

/// Finds the program called `name`, and returns the name under which it was found (`Sys.executable_name`). The
/// program may be a script whose `#!` line names the runtime.
///
/// # Errors
/// When it does not exist, or is not a bytecode executable of this version.
pub(crate) fn find(name: &OsStr) -> Result<OsString, StartError> {
    let (found, magic) = open(name)?;
    if !is_known(&magic) {
        return Err(StartError::WrongMagic { file: name.to_owned(), found: magic.to_vec() });
    }
    Ok(found)
}

/// The magic number of the file called `name`, whatever its value.
///
/// # Errors
/// When it does not exist, or is too short.
pub(crate) fn magic(name: &OsStr) -> Result<[u8; MAGIC.len()], StartError> {
    open(name).map(|(_, magic)| magic)
}

/// The command's own executable file, if a program has been appended to it.
pub(crate) fn appended() -> Option<OsString> {
    let name = std::env::current_exe().ok()?.into_os_string();
    let magic = magic_of(&mut File::open(&name).ok()?)?;
    is_known(&magic).then_some(name)
}
