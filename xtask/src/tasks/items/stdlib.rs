//! The compiler's own compiler test: `/usr/bin/ocamlc.byte` compiles OCaml's standard library under both runtimes,
//! and each file it writes must be the same, byte for byte.
//!
//! Sources come from Debian's `ocaml-source`, unpacked into a temporary folder. Which file needs which, and which flags
//! each wants, is read from the sources' own `.depend` and `Compflags`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use xtask::engine::Engine;

/// The stock compiler, a bytecode executable.
const COMPILER: &str = "/usr/bin/ocamlc.byte";

/// The flags that the standard library's makefile gives to every file.
const FLAGS: &str = "-strict-sequence -absname -w +a-4-9-41-42-44-45-48-70 -g -warn-error +A -bin-annot \
     -nostdlib -principal -safe-string -strict-formats";

/// One file to be made.
struct Step {
    target: String,
    source: String,
    needs: Vec<String>,
}

/// What one whole compilation made, and the user time it took in seconds.
struct Made {
    files: BTreeMap<String, Vec<u8>>,
    seconds: f64,
}

/// Compiles under ocamlrun, then on each engine, and prints differences and times.
pub(super) fn compare(engines: &[Engine], spelter: &Path) -> Result<bool> {
    if engines.is_empty() {
        return Ok(true);
    }
    let temp = tempfile::tempdir()?;
    let folder = unpack(temp.path())?;
    let steps = read_steps(&folder)?;
    let steps = in_order(&steps)?;
    let expected = compile(&folder, &steps, &super::runtime(None, spelter)?).context("under ocamlrun")?;
    println!("stdlib: ocamlrun made {} files, {:.2} s of user time", expected.files.len(), expected.seconds);
    let mut good = true;
    for engine in engines {
        let start = Instant::now();
        let got = match compile(&folder, &steps, &super::runtime(Some(engine), spelter)?) {
            Ok(got) => got,
            Err(error) => {
                println!("stdlib: {}: {error:#}", engine.name);
                good = false;
                continue;
            }
        };
        let different = differences(&expected, &got);
        good &= different.is_empty();
        println!(
            "stdlib: {} made {} files in {:.2} s of user time ({:.1} s in all), {:.2} of ocamlrun's; {}",
            engine.name,
            got.files.len(),
            got.seconds,
            start.elapsed().as_secs_f64(),
            got.seconds / expected.seconds,
            if different.is_empty() {
                "all identical".to_owned()
            } else {
                format!("{} differ", different.len())
            }
        );
        for line in different.iter().take(10) {
            println!("  {line}");
        }
    }
    Ok(good)
}

/// Unpacks the standard library's sources and returns their folder.
fn unpack(temp: &Path) -> Result<PathBuf> {
    let outer = format!("/usr/src/ocaml-source-{}.tar", xtask::workspace::OCAML_VERSION);
    ensure!(Path::new(&outer).exists(), "{outer} is missing (Debian: apt-get install ocaml-source)");
    let script = format!(
        "tar -xf {outer} --wildcards '*.orig.tar.gz' && tar -xzf */*.orig.tar.gz --wildcards '*/stdlib/*' '*/VERSION'"
    );
    let unpacked = Command::new("sh").args(["-c", &script]).current_dir(temp).status()?;
    ensure!(unpacked.success(), "cannot unpack {outer}");
    for entry in fs::read_dir(temp)? {
        let sources = entry?.path();
        let stdlib = sources.join("stdlib");
        if stdlib.join(".depend").exists() {
            // The makefile writes the version into sys.ml; it is the first line of VERSION.
            let version = fs::read_to_string(sources.join("VERSION"))?;
            let version = version.lines().next().context("VERSION is empty")?;
            let template = fs::read_to_string(stdlib.join("sys.mlp"))?;
            fs::write(stdlib.join("sys.ml"), template.replace("%%VERSION%%", version))?;
            return Ok(stdlib);
        }
    }
    bail!("{outer} holds no stdlib/.depend")
}

/// Reads `.depend`: lines `target : source needs…`, continued with backslashes. Native code is left out.
fn read_steps(folder: &Path) -> Result<Vec<Step>> {
    let text = fs::read_to_string(folder.join(".depend"))?.replace("\\\n", " ");
    let mut steps = Vec::new();
    for line in text.lines() {
        let (target, rest) =
            line.split_once(" :").with_context(|| format!(".depend: no colon in '{line}'"))?;
        if target.ends_with(".cmx") {
            continue;
        }
        let (mut needs, sources): (Vec<String>, Vec<String>) =
            rest.split_whitespace().map(str::to_owned).partition(|file| file.ends_with(".cmi"));
        let stem = target.rsplit_once('.').map_or(target, |(stem, _)| stem);
        let interface = target.ends_with(".cmi");
        let source = sources
            .into_iter()
            .next()
            .unwrap_or_else(|| format!("{stem}.{}", if interface { "mli" } else { "ml" }));
        // What opens Stdlib by itself needs it, although no `open` says so.
        if !["camlinternalFormatBasics", "camlinternalAtomic", "stdlib"].contains(&stem) {
            needs.push("stdlib.cmi".to_owned());
        }
        steps.push(Step { target: target.to_owned(), source, needs });
    }
    Ok(steps)
}

/// Sorts so that each file comes after all that it needs.
fn in_order(steps: &[Step]) -> Result<Vec<&Step>> {
    let mut ordered: Vec<&Step> = Vec::new();
    let mut waiting: Vec<&Step> = steps.iter().collect();
    while !waiting.is_empty() {
        let (ready, rest): (Vec<_>, Vec<_>) = waiting.iter().partition(|step| {
            step.needs.iter().all(|need| {
                !steps.iter().any(|other| other.target == *need)
                    || ordered.iter().any(|done| done.target == *need)
            })
        });
        ensure!(!ready.is_empty(), "the standard library's .depend goes round in circles");
        ordered.extend(ready);
        waiting = rest;
    }
    Ok(ordered)
}

/// Compiles everything with the given runtime, then takes the results away, so that the next run starts afresh.
fn compile(folder: &Path, steps: &[&Step], runtime: &[String]) -> Result<Made> {
    let before = children_seconds()?;
    let mut failed = None;
    for step in steps {
        let flags = Command::new("sh").args(["./Compflags", &step.target]).current_dir(folder).output()?;
        let flags = String::from_utf8(flags.stdout).context("Compflags")?;
        // Compflags is written for a shell to read: it quotes, and refers to $AWK.
        let script =
            format!("exec \"$@\" {COMPILER} {FLAGS} {} -o {} -c {}", flags.trim(), step.target, step.source);
        let mut shell = Command::new("sh");
        shell.args(["-c", &script, "sh"]).args(runtime).env("AWK", "awk").env_remove("OCAMLPARAM");
        let done = shell.current_dir(folder).output()?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr);
            failed = Some(format!("compiling {} failed ({}):\n{said}", step.source, done.status));
            break;
        }
    }
    let seconds = children_seconds()? - before;
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let kind = path.extension().and_then(|kind| kind.to_str()).unwrap_or_default();
        if ["cmo", "cmi", "cmt", "cmti"].contains(&kind) {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            files.insert(name, fs::read(&path)?);
            fs::remove_file(&path)?;
        }
    }
    match failed {
        Some(text) => bail!(text),
        None => Ok(Made { files, seconds }),
    }
}

/// User time of all children that have ended, in seconds.
fn children_seconds() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    Ok(usage.user_time().num_microseconds() as f64 / 1e6)
}

fn differences(expected: &Made, got: &Made) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, bytes) in &expected.files {
        match got.files.get(name) {
            None => lines.push(format!("{name} was not made")),
            Some(other) if other != bytes => {
                let offset = bytes.iter().zip(other).take_while(|(a, b)| a == b).count();
                lines.push(format!(
                    "{name} differs from byte {offset} on ({} and {} bytes)",
                    bytes.len(),
                    other.len()
                ));
            }
            Some(_) => {}
        }
    }
    lines.extend(
        got.files.keys().filter(|name| !expected.files.contains_key(*name)).map(|n| format!("{n} is extra")),
    );
    lines
}
