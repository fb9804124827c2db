//! For build scripts: compiles units of OCaml while a Rust program is built. The program needs no OCaml when it runs.
//!
//! A build script, with `spelter-compiler` among the build dependencies:
//!
//! ```no_run
//! spelter_compiler::build::host(); // the standard library, as host.byte
//! spelter_compiler::build::unit("ocaml/rule.ml"); // rule.cmo and rule.cmi
//! ```
//!
//! and the program, with `spelter` among the dependencies:
//!
//! ```text
//! let mut vm = spelter::Vm::builder().build();
//! vm.run_bytes("host", include_bytes!(concat!(env!("OUT_DIR"), "/host.byte")))?;
//! vm.load_bytes("rule", include_bytes!(concat!(env!("OUT_DIR"), "/rule.cmo")))?;
//! ```

use std::path::{Path, PathBuf};
use std::{env, fs};

use crate::compiler::{Compiled, Compiler, Source};
use crate::error::Error;
use crate::installation::Installation;

/// Compiles a unit: `ocaml/rule.ml`, with the interface `ocaml/rule.mli` if it exists, to `rule.cmo` and `rule.cmi` in
/// `OUT_DIR`. Cargo runs the build script again when they change, and shows the compiler's warnings.
///
/// When it cannot be compiled, the compiler's messages are printed and the build script ends; see [`try_units`].
pub fn unit(path: impl AsRef<Path>) {
    units([path]);
}

/// The same for several units, each of which may use those before it.
pub fn units<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) {
    let out = out_dir();
    or_end(try_units(paths, out));
}

/// Writes `host.byte` to `OUT_DIR`: a program with the whole standard library, for machines that load units
/// ([`Compiler::host`]).
///
/// When it cannot be linked, the error is printed and the build script ends.
pub fn host() {
    let write = || {
        let mut compiler = found()?;
        let path = out_dir().join("host.byte");
        write(&path, compiler.host()?)
    };
    or_end(write());
}

/// As [`units`], to any folder.
///
/// # Errors
/// When no OCaml is found, a file cannot be read or written, or the compiler refuses a source.
pub fn try_units<P: AsRef<Path>>(
    paths: impl IntoIterator<Item = P>,
    out: impl AsRef<Path>,
) -> Result<Vec<Compiled>, Error> {
    let compiler = found()?;
    let mut done: Vec<Compiled> = Vec::new();
    for path in paths {
        let path = path.as_ref();
        let unit = compiler.compile_source(&source(path, &done)?)?;
        for warning in &unit.warnings {
            for line in warning.text.lines() {
                println!("cargo::warning={line}");
            }
        }
        write(&out.as_ref().join(format!("{}.cmo", unit.name)), &unit.cmo)?;
        write(&out.as_ref().join(format!("{}.cmi", unit.name)), &unit.cmi)?;
        done.push(unit);
    }
    Ok(done)
}

fn found() -> Result<Compiler, Error> {
    println!("cargo::rerun-if-env-changed=OCAMLLIB");
    Compiler::new(Installation::find()?)
}

/// A unit's source, which may use others.
fn source(path: &Path, others: &[Compiled]) -> Result<Source, Error> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let mut source = Source::new(name, read(path)?);
    let interface = path.with_extension("mli");
    // Cargo also notices when a file appears.
    println!("cargo::rerun-if-changed={}", interface.display());
    if interface.exists() {
        source = source.interface(read(&interface)?);
    }
    Ok(others.iter().fold(source, Source::uses))
}

fn read(path: &Path) -> Result<String, Error> {
    println!("cargo::rerun-if-changed={}", path.display());
    fs::read_to_string(path).map_err(|error| Error::Io { path: path.display().to_string(), error })
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    fs::write(path, bytes).map_err(|error| Error::Io { path: path.display().to_string(), error })
}

fn out_dir() -> PathBuf {
    match env::var_os("OUT_DIR") {
        Some(folder) => folder.into(),
        None => end("OUT_DIR is not set: only cargo's build scripts have it"),
    }
}

fn or_end<T>(outcome: Result<T, Error>) -> T {
    outcome.unwrap_or_else(|e| end(&e.to_string()))
}

/// Ends a build script: cargo shows what it has printed.
fn end(message: &str) -> ! {
    eprintln!("{message}");
    std::process::exit(1)
}
