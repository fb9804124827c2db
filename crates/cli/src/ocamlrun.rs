//! The command line of `ocamlrun` 4.13, used when the command is called by that name.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use spelter::Vm;

use crate::commands::run::{Settings, execute};
use crate::launch::{self, MAGIC, StartError};

/// The version of OCaml whose runtime this replaces.
pub(crate) const VERSION: &str = "4.13.1";

const HELP: &str = "\
Usage: ocamlrun [options] [--] executable [arguments]
  -b           record backtraces, as OCAMLRUNPARAM=b does
  -config      print this runtime's configuration
  -I dir       accepted and ignored: primitives are built in
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
}

/// Executes the command line (without the program's name), and ends the process.
pub(crate) fn main(args: Vec<OsString>) -> ! {
    let mut options = Options::default();
    let command = match parse(&args, &mut options) {
        Ok(command) => command,
        Err(e) => e.exit(),
    };
    if options.print_config {
        print_and_exit(config().as_bytes());
    }
    let Some(file) = command.first() else { StartError::NoFile.exit() };
    if options.print_magic {
        match launch::magic(file) {
            Ok(magic) => print_and_exit(&[magic.as_slice(), b"\n"].concat()),
            Err(e) => e.exit(),
        }
    }
    let mut settings = Settings::default();
    settings.runparam.backtrace |= options.backtrace;
    if options.verbose {
        settings.runparam.verbose_gc = 0x3d;
    }
    match launch::find(file) {
        Ok(found) => execute(found, command.to_vec(), settings),
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
                Some((_, after)) => rest = after,
                None => return Err(StartError::NeedsArgument("-I")),
            },
            b"-m" => options.print_magic = true,
            b"-M" => print_and_exit(&[MAGIC.as_slice(), b"\n"].concat()),
            b"-p" => print_and_exit(primitives().as_bytes()),
            b"-t" => {}
            b"-v" => options.verbose = true,
            b"-version" => {
                print_and_exit(format!("The OCaml runtime, version {VERSION}\n").as_bytes());
            }
            b"-vnum" => print_and_exit(format!("{VERSION}\n").as_bytes()),
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
    let vm = Vm::builder().build();
    vm.primitive_names().iter().map(|name| format!("{name}\n")).collect()
}

/// The labels are those of OCaml 4.13, where the first two sizes are swapped.
fn config() -> String {
    let stdlib = ["OCAMLLIB", "CAMLLIB"].iter().find_map(|name| std::env::var(name).ok());
    let default = "/usr/local/lib/ocaml";
    let magic = String::from_utf8_lossy(MAGIC);
    let rows = [
        ("version", VERSION),
        ("standard_library_default", default),
        ("standard_library", stdlib.as_deref().unwrap_or(default)),
        ("int_size", "64"),
        ("word_size", "63"),
        ("os_type", "Unix"),
        ("host", &format!("{}-unknown-{}", std::env::consts::ARCH, std::env::consts::OS)),
        ("flat_float_array", "true"),
        ("supports_afl", "false"),
        ("windows_unicode", "false"),
        ("supports_shared_libraries", "false"),
        ("no_naked_pointers", "false"),
        ("profinfo", "false"),
        ("profinfo_width", "0"),
        ("exec_magic_number", &magic),
    ];
    let mut text: String = rows.iter().map(|(label, value)| format!("{label}: {value}\n")).collect();
    text.push_str("shared_libs_path:\n");
    text
}
