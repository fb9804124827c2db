//! The command line of `ocamlrun`, used when the command is called by that name. Its answers about itself are those of one
//! version of OCaml ([`launch::answers_for`]).

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use spelter::{Behaviour, Vm};
use spelter_bytecode::Dialect;
use spelter_bytecode::dialect::Release;
use spelter_cinterface::installation;

use crate::commands::run::{Settings, execute};
use crate::launch::{self, StartError, answers_for, magic_of_version};

/// The whole number of the version of OCaml that this runtime replaces: the release that its behaviour was compared with.
fn full_version(version: &Dialect) -> &'static str {
    match version.release {
        Release::V4_13 => "4.13.1",
        Release::V4_14 => "4.14.1",
        Release::V5_0 => "5.0.0",
        Release::V5_1 => "5.1.0",
        Release::V5_2 => "5.2.0",
        Release::V5_3 => "5.3.0",
        Release::V5_4 => "5.4.1",
        Release::V5_5 => "5.5.2",
    }
}

const HELP: &str = "\
Usage: ocamlrun [options] [--] executable [arguments]
  -b           record backtraces, as OCAMLRUNPARAM=b does
  -config      print this runtime's configuration
  -events      accepted and ignored, since OCaml 5: there is no instruction trace
  -I dir       look for shared libraries of C primitives in this directory first
  -m           print the magic number of the executable
  -M           print the magic number that this runtime expects
  -p           print the names of this runtime's primitives
  -t           accepted and ignored: there is no instruction trace
  -v           set OCAMLRUNPARAM's v to 61
  -version     print the runtime's name and version
  -vnum        print only the version of OCaml
  -help        print this help, like --help
";

/// The parsed options.
#[derive(Default)]
struct Options {
    backtrace: bool,
    verbose: bool,
    print_magic: bool,
    print_config: bool,
    folders: Vec<PathBuf>,
}

/// Executes the command line (without the program's name), and ends the process.
pub(crate) fn main(args: Vec<OsString>) -> ! {
    let mut options = Options::default();
    let command = match parse(&args, &mut options) {
        Ok(command) => command,
        Err(e) => e.exit(),
    };
    if options.print_config {
        print_and_exit(&config(options.folders));
    }
    let Some(file) = command.first() else { StartError::NoFile.exit() };
    if options.print_magic {
        match launch::magic(file) {
            Ok(magic) => print_and_exit(&[magic.as_slice(), b"\n"].concat()),
            Err(e) => e.exit(),
        }
    }
    let mut settings = Settings::default();
    settings.backtrace = options.backtrace;
    settings.verbose_gc = options.verbose.then_some(0x3d);
    settings.folders = options.folders;
    match launch::find(file) {
        Ok((found, version)) => execute(found, version, command.to_vec(), settings),
        Err(e) => e.exit(),
    }
}

/// Parses the options, and returns them and the rest: the program and its arguments.
fn parse<'a>(args: &'a [OsString], options: &mut Options) -> Result<&'a [OsString], StartError> {
    let mut rest = args;
    while let Some((arg, after)) = rest.split_first() {
        if !arg.as_bytes().starts_with(b"-") {
            break;
        }
        rest = after;
        match arg.as_bytes() {
            b"--" => break,
            b"-b" => options.backtrace = true,
            b"-config" => options.print_config = true,
            b"-I" => match after.split_first() {
                Some((folder, after)) => {
                    options.folders.push(folder.into());
                    rest = after;
                }
                None => return Err(StartError::NeedsArgument("-I")),
            },
            b"-m" => options.print_magic = true,
            b"-M" => print_and_exit(&[magic_of_version(answers_for()).as_slice(), b"\n"].concat()),
            b"-p" => print_and_exit(primitives().as_bytes()),
            b"-t" => {}
            b"-events" if !Behaviour::of(answers_for()).allocator_settings => {}
            b"-v" => options.verbose = true,
            b"-version" => {
                let version = full_version(answers_for());
                print_and_exit(format!("The OCaml runtime, version {version}\n").as_bytes());
            }
            b"-vnum" => print_and_exit(format!("{}\n", full_version(answers_for())).as_bytes()),
            b"-help" | b"--help" => print_and_exit(HELP.as_bytes()),
            _ => return Err(StartError::UnknownOption(arg.clone())),
        }
    }
    Ok(rest)
}

fn print_and_exit(text: &[u8]) -> ! {
    match std::io::stdout().write_all(text) {
        Ok(()) => std::process::exit(0),
        Err(e) => {
            eprintln!("standard output: {e}");
            std::process::exit(2)
        }
    }
}

fn primitives() -> String {
    Vm::primitives_of(answers_for()).iter().map(|name| format!("{name}\n")).collect()
}

/// The labels are OCaml's, which has the first two sizes swapped.
fn config(folders: Vec<PathBuf>) -> Vec<u8> {
    let version = answers_for();
    let is_ocaml_5 = !Behaviour::of(version).allocator_settings;
    let stdlib = ["OCAMLLIB", "CAMLLIB"].iter().find_map(|name| std::env::var(name).ok());
    let installed = installation::standard_library(version, None);
    let default = installed.unwrap_or_else(|| "/usr/local/lib/ocaml".into()).display().to_string();
    let default = default.as_str();
    let magic = String::from_utf8_lossy(&magic_of_version(version)).into_owned();
    let mut rows = vec![
        ("version", full_version(version)),
        ("standard_library_default", default),
        ("standard_library", stdlib.as_deref().unwrap_or(default)),
        ("int_size", "64"),
        ("word_size", "63"),
        ("os_type", "Unix"),
    ];
    let host = host();
    rows.push(("host", &host));
    rows.extend(Behaviour::of(version).runtime_id.map(|id| ("bytecode_runtime_id", id)));
    rows.extend([
        ("flat_float_array", "true"),
        ("supports_afl", "false"),
        ("windows_unicode", "false"),
        ("supports_shared_libraries", if spelter_cinterface::AVAILABLE { "true" } else { "false" }),
        ("no_naked_pointers", if is_ocaml_5 { "true" } else { "false" }),
    ]);
    if Behaviour::of(version).config_tells_compression {
        rows.push(("compression_supported", "false"));
    }
    match is_ocaml_5 {
        true => rows.push(("reserved header bits", "0")),
        false => rows.extend([("profinfo", "false"), ("profinfo_width", "0")]),
    }
    rows.push(("exec_magic_number", &magic));
    let text: String = rows.iter().map(|(label, value)| format!("{label}: {value}\n")).collect();
    let mut text = text.into_bytes();
    text.extend(b"shared_libs_path:\n");
    for folder in search_path(version, folders) {
        let folder = folder.as_os_str().as_bytes();
        let folder = if folder.is_empty() { b"." } else { folder };
        text.extend([b"  ", folder, b"\n"].concat());
    }
    text
}

/// The folders in which a program's libraries are looked up, apart from its own.
fn search_path(version: &'static Dialect, folders: Vec<PathBuf>) -> Vec<PathBuf> {
    match installation::search_path(version, folders) {
        Ok(path) => path,
        Err(message) => {
            // Errors of stderr cannot be reported.
            let _ = writeln!(std::io::stderr(), "Fatal error: {message}");
            std::process::abort()
        }
    }
}

/// The system, as OCaml's configuration names it.
fn host() -> String {
    match std::env::consts::OS {
        "linux" => installation::HOST.to_owned(),
        system => format!("{}-unknown-{system}", std::env::consts::ARCH),
    }
}
