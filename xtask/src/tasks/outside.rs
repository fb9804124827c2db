//! `cargo xtask outside`: tests our crates as dependencies of another workspace, where our profiles do not apply.
//!
//! It creates crates in a temporary folder that depend on ours by path, and builds and runs them: one that depends on
//! all of ours, at each optimisation level; and one for each of our crates and each of its features alone, in a
//! development build. They run the examples of the front pages. One more is a host with a library in C, where there is a
//! C compiler; it exports the runtime's names, and no other does. Another is the project that `spelter new plugin`
//! writes. Versions are those of our `Cargo.lock`, and nothing is downloaded.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use cargo_metadata::{MetadataCommand, Package};
use xtask::{cc, frontpage, workspace};

/// The main function of the crate that depends on all of ours.
const EVERYTHING: &str = include_str!("../../outside/everything.rs");

/// The main function of a host with a library in C, and the library.
const WITH_LIBRARIES: &str = include_str!("../../outside/libraries.rs");
const LIBRARY: &str = include_str!("../../outside/calls.c");

/// The build script of such a host: it exports the names that libraries need.
const EXPORTING: &str = r#"fn main() {
    let list = std::env::var("DEP_SPELTER_CINTERFACE_EXPORTS").unwrap();
    println!("cargo::rustc-link-arg-bins=-Wl,--dynamic-list={list}");
}
"#;

/// The project that `spelter new plugin` writes: its build script compiles a plug-in.
const PLUGIN: &str = include_str!("../../../crates/cli/assets/plugin/src/main.rs");
const PLUGIN_BUILD: &str = include_str!("../../../crates/cli/assets/plugin/build.rs");
const PLUGIN_FILES: [(&str, &str); 2] = [
    ("ocaml/rule.ml", include_str!("../../../crates/cli/assets/plugin/ocaml/rule.ml")),
    ("ocaml/rule.mli", include_str!("../../../crates/cli/assets/plugin/ocaml/rule.mli")),
];

/// Profiles that are not built into cargo, with the profiles that they inherit.
const LEVELS: [(&str, &str, &str); 3] =
    [("level-1", "dev", "1"), ("level-s", "release", "\"s\""), ("level-z", "release", "\"z\"")];

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only crates whose name contains this; `everything` is the one that depends on all of ours
    #[arg(default_value = "", hide_default_value = true)]
    filter: String,
}

/// A library crate of ours.
struct Library {
    name: String,
    folder: PathBuf,
    features: Vec<String>,
}

/// A crate outside.
struct Outside<'a> {
    name: String,
    /// Its dependencies, and the text after each path.
    needs: Vec<(&'a Library, String)>,
    main: String,
    /// Its build script, and the script's dependencies.
    build: Option<&'a str>,
    build_needs: Vec<&'a Library>,
    /// Whether it exports the runtime's names.
    exports: bool,
    files: &'a [(&'a str, &'a str)],
    profiles: Vec<&'a str>,
}

pub(crate) fn run(options: &Options) -> Result<bool> {
    let libraries = libraries()?;
    let temp = tempfile::tempdir()?;
    let mut outsiders = vec![everything(&libraries)?];
    for library in &libraries {
        outsiders.extend(alone(library, &libraries)?);
    }
    let stubs = temp.path().join("stubs");
    if compile_library(&stubs)? {
        outsiders.push(with_libraries(&libraries));
    }
    outsiders.push(with_plugin(&libraries));
    let mut good = true;
    for outside in outsiders.iter().filter(|outside| outside.name.contains(&options.filter)) {
        let folder = outside.write(temp.path())?;
        for profile in &outside.profiles {
            good &= outside.check(&folder, profile, &stubs)?;
        }
    }
    let features = libraries.iter().map(|library| library.features.len()).sum::<usize>();
    println!("outside: {} crates, which have {features} features", libraries.len());
    Ok(good)
}

/// The libraries that others may depend on.
fn libraries() -> Result<Vec<Library>> {
    let metadata = MetadataCommand::new().current_dir(workspace::root()).no_deps().exec()?;
    let ours = workspace::root().join("crates");
    let library = |package: &Package| {
        let folder = PathBuf::from(package.manifest_path.parent()?);
        let is_library = package.targets.iter().any(|target| target.is_lib());
        (is_library && folder.starts_with(&ours)).then(|| Library {
            name: package.name.to_string(),
            folder,
            features: package.features.keys().cloned().collect(),
        })
    };
    let libraries: Vec<_> = metadata.packages.iter().filter_map(library).collect();
    ensure!(!libraries.is_empty(), "no library was found");
    Ok(libraries)
}

/// The crate that depends on all, in all profiles.
fn everything(libraries: &[Library]) -> Result<Outside<'_>> {
    let (mut pages, mut calls) = (String::new(), String::new());
    for library in libraries {
        let module = format!("page_of_{}", library.name.replace('-', "_"));
        pages += &format!("mod {module} {{\n{}}}\n", library.front_page()?);
        calls += &format!("    {module}::run().expect(\"the front page of {}\");\n", library.name);
    }
    let pages = format!("{pages}\nfn front_pages() {{\n{calls}}}\n");
    Ok(Outside {
        name: "everything".to_owned(),
        needs: libraries.iter().map(|library| (library, String::new())).collect(),
        main: EVERYTHING.replace("// front pages\n", &pages),
        build: None,
        build_needs: Vec::new(),
        exports: false,
        files: &[],
        profiles: ["dev", "release"].into_iter().chain(LEVELS.map(|(name, ..)| name)).collect(),
    })
}

/// Crates that depend on this one and on what its front page uses: with default features, without them, and with each
/// feature.
fn alone<'a>(library: &'a Library, libraries: &'a [Library]) -> Result<Vec<Outside<'a>>> {
    let main =
        format!("{}\nfn main() {{\n    run().expect(\"the front page\");\n}}\n", library.front_page()?);
    let is_used = |other: &&Library| main.contains(&format!("use {}::", other.name.replace('-', "_")));
    let others = libraries.iter().filter(|other| other.name != library.name).filter(is_used);
    let others: Vec<_> = others.map(|other| (other, String::new())).collect();
    let mut ways = vec![(String::new(), String::new())];
    for feature in &library.features {
        ways.push(match feature.as_str() {
            "default" => ("-bare".to_owned(), ", default-features = false".to_owned()),
            _ => (format!("-{feature}"), format!(", features = [\"{feature}\"]")),
        });
    }
    let outside = |(suffix, words): (String, String)| Outside {
        name: format!("only-{}{suffix}", library.name),
        needs: [(library, words)].into_iter().chain(others.iter().cloned()).collect(),
        main: main.clone(),
        build: None,
        build_needs: Vec::new(),
        exports: false,
        files: &[],
        profiles: vec!["dev"],
    };
    Ok(ways.into_iter().map(outside).collect())
}

/// A host that depends on the crate for libraries in C.
fn with_libraries(libraries: &[Library]) -> Outside<'_> {
    let needed =
        libraries.iter().filter(|library| ["spelter", "spelter-cinterface"].contains(&&*library.name));
    Outside {
        name: "with-libraries".to_owned(),
        needs: needed.map(|library| (library, String::new())).collect(),
        main: WITH_LIBRARIES.to_owned(),
        build: Some(EXPORTING),
        build_needs: Vec::new(),
        exports: true,
        files: &[],
        profiles: vec!["dev", "release"],
    }
}

/// A host whose plug-in is compiled by its build script.
fn with_plugin(libraries: &[Library]) -> Outside<'_> {
    let named = |name: &'static str| libraries.iter().filter(move |library| library.name == name);
    Outside {
        name: "with-plugin".to_owned(),
        needs: named("spelter").map(|library| (library, String::new())).collect(),
        main: PLUGIN.to_owned(),
        build: Some(PLUGIN_BUILD),
        build_needs: named("spelter-compiler").collect(),
        exports: false,
        files: &PLUGIN_FILES,
        profiles: vec!["dev"],
    }
}

/// Compiles the library of the host that needs one. Returns false where there is no C compiler, or no such library can
/// be loaded.
fn compile_library(folder: &Path) -> Result<bool> {
    if !cc::is_here() {
        println!("outside: no C compiler here, so no host loads a library in C");
        return Ok(false);
    }
    fs::create_dir_all(folder)?;
    fs::write(folder.join("calls.c"), LIBRARY)?;
    let line = ["-shared", "-fPIC", "-O1", "-o", "dllcalls.so", "calls.c"];
    let status = Command::new("gcc").args(line).current_dir(folder).status().context("gcc")?;
    ensure!(status.success(), "the library in C cannot be compiled");
    Ok(true)
}

impl Library {
    fn front_page(&self) -> Result<String> {
        Ok(frontpage::function(&frontpage::of_crate(&self.folder)?, &self.folder))
    }
}

impl Outside<'_> {
    /// Writes the crate, and returns its folder.
    fn write(&self, temp: &Path) -> Result<PathBuf> {
        let folder = temp.join(&self.name);
        fs::create_dir_all(folder.join("src"))?;
        fs::write(folder.join("src/main.rs"), &self.main)?;
        fs::write(folder.join("Cargo.toml"), self.manifest())?;
        if let Some(build) = self.build {
            fs::write(folder.join("build.rs"), build)?;
        }
        for (name, text) in self.files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap_or(&folder))?;
            fs::write(path, text)?;
        }
        fs::copy(workspace::root().join("Cargo.lock"), folder.join("Cargo.lock"))?;
        Ok(folder)
    }

    fn manifest(&self) -> String {
        let mut text = format!(
            "[package]\nname = \"{}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n",
            self.name
        );
        for (library, words) in &self.needs {
            text += &format!("{} = {{ path = \"{}\"{words} }}\n", library.name, library.folder.display());
        }
        if !self.build_needs.is_empty() {
            text += "\n[build-dependencies]\n";
        }
        for library in &self.build_needs {
            text += &format!("{} = {{ path = \"{}\" }}\n", library.name, library.folder.display());
        }
        for (name, inherits, level) in LEVELS {
            text += &format!("\n[profile.{name}]\ninherits = \"{inherits}\"\nopt-level = {level}\n");
        }
        text
    }

    /// Builds and runs it.
    fn check(&self, folder: &Path, profile: &str, stubs: &Path) -> Result<bool> {
        let start = Instant::now();
        let target = workspace::target()?.join("outside");
        let tail_calls = profile == "release" && cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));
        let status = workspace::cargo()
            .current_dir(folder)
            .args(["run", "--quiet", "--offline", "--profile", profile, "--target-dir"])
            .arg(&target)
            .args(["--", if tail_calls { "tail" } else { "loop" }])
            .env("SPELTER_CRATES", workspace::root().join("crates"))
            .env("SPELTER_STUBS", stubs)
            .env_remove("RUSTFLAGS")
            .status()?;
        let foreign = added_packages(folder)?;
        for package in &foreign {
            println!("outside: {} takes {package}, which our Cargo.lock does not have", self.name);
        }
        let built = target.join(if profile == "dev" { "debug" } else { profile }).join(&self.name);
        let mut good = status.success() && foreign.is_empty();
        if status.success() {
            let exports = exported_names(&built)?;
            if (exports > 0) != self.exports {
                println!("outside: {} exports {exports} names of OCaml's runtime", self.name);
                good = false;
            }
        }
        let verdict = if good { "ok" } else { "FAILED" };
        println!(
            "outside: {:<24} {profile:<8} {:>6.1} s  {verdict}",
            self.name,
            start.elapsed().as_secs_f64()
        );
        Ok(good)
    }
}

/// How many names of OCaml's runtime an executable exports.
fn exported_names(executable: &Path) -> Result<usize> {
    let output = Command::new("nm").args(["-D", "--defined-only"]).arg(executable).output();
    let output = output.context("nm, which comes with the linker, is needed")?;
    ensure!(output.status.success(), "nm cannot read {}", executable.display());
    let text = String::from_utf8_lossy(&output.stdout);
    let names = text.lines().filter_map(|line| line.split_whitespace().last());
    Ok(names.filter(|name| name.to_ascii_lowercase().starts_with("caml_")).count())
}

/// Packages of registries that the crate's lock file has and ours does not.
fn added_packages(folder: &Path) -> Result<Vec<String>> {
    let ours = locked(&workspace::root())?;
    Ok(locked(folder)?.difference(&ours).cloned().collect())
}

fn locked(folder: &Path) -> Result<BTreeSet<String>> {
    let lock: toml::Table = fs::read_to_string(folder.join("Cargo.lock"))?.parse()?;
    let packages =
        lock.get("package").and_then(toml::Value::as_array).context("a lock file without packages")?;
    let text =
        |package: &toml::Value, key: &str| package.get(key).and_then(toml::Value::as_str).map(str::to_owned);
    let locked = |package: &toml::Value| {
        text(package, "source")?;
        Some(format!("{} {}", text(package, "name")?, text(package, "version")?))
    };
    Ok(packages.iter().filter_map(locked).collect())
}
