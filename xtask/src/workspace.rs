//! Where things are: the repository, the corpus, the `spelter` binary, the OCaml installation.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// The environment variable that names a `spelter` binary to be tested instead of a freshly built one.
pub const BIN_VARIABLE: &str = "SPELTER_BIN";

/// The version of OCaml whose bytecode the corpus holds.
pub const OCAML_VERSION: &str = "4.13.1";

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

/// The folder that holds the corpus.
pub fn fixtures() -> PathBuf {
    root().join("xtask/fixtures")
}

/// The cargo that runs us, or the one on the path.
pub fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// The `spelter` binary: the one named, else the one in `SPELTER_BIN`, else one built here in `profile`
/// (`"dev"` or `"release"`).
///
/// # Errors
///
/// If the named file does not exist, or the build fails.
pub fn spelter(named: Option<&Path>, profile: &str) -> Result<PathBuf> {
    if let Some(path) = named.map(Path::to_path_buf).or_else(|| env::var_os(BIN_VARIABLE).map(PathBuf::from))
    {
        return path.canonicalize().with_context(|| format!("no spelter binary at {}", path.display()));
    }
    let built =
        cargo().args(["build", "--quiet", "--package", "spelter-cli", "--profile", profile]).status()?;
    ensure!(built.success(), "cargo could not build spelter; see above");
    let folder = if profile == "dev" { "debug" } else { profile };
    let path = target()?.join(folder).join("spelter");
    ensure!(path.exists(), "cargo built spelter, but {} is not there", path.display());
    Ok(path)
}

/// An example of a package, in a release build.
///
/// # Errors
///
/// If the build fails.
pub fn example(package: &str, name: &str) -> Result<PathBuf> {
    let args = ["build", "--quiet", "--release", "--package", package, "--example", name];
    ensure!(cargo().args(args).status()?.success(), "cargo could not build the example {name}");
    Ok(target()?.join("release/examples").join(name))
}

/// Where cargo puts what it builds.
///
/// # Errors
///
/// If cargo does not tell.
pub fn target() -> Result<PathBuf> {
    let metadata = cargo_metadata::MetadataCommand::new()
        .current_dir(root())
        .no_deps()
        .exec()
        .context("cargo metadata")?;
    Ok(metadata.target_directory.into())
}

/// Whether the OCaml version that made the corpus is installed.
pub fn has_ocaml() -> bool {
    let version = Command::new("ocamlc").arg("-version").stderr(Stdio::null()).output();
    let runtime =
        Command::new("ocamlrun").arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|out| out.stdout.trim_ascii() == OCAML_VERSION.as_bytes()) && runtime.is_ok()
}

/// Complains if the OCaml version that made the corpus is not installed.
///
/// # Errors
///
/// If `ocamlc` or `ocamlrun` is missing or of another version.
pub fn need_ocaml() -> Result<()> {
    ensure!(
        has_ocaml(),
        "this needs ocamlc and ocamlrun {OCAML_VERSION} (Debian: apt-get install ocaml-nox ocaml-source)"
    );
    Ok(())
}
