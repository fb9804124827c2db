//! `cargo xtask soak`: loads, runs and drops units repeatedly, and checks that memory stays flat.
//!
//! Three processes, one after the other: a Rust host (`crates/spelter/examples/soak.rs`), one whose units handle effects
//! (`soak_fibers.rs` there), and a host of OCaml's stock `Dynlink` from the corpus under `spelter run`. Each samples its
//! own resident memory after compactions; the samples are plotted.

use std::io::{BufRead, BufReader, Write, stdout};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use xtask::process::path_text;
use xtask::workspace;

/// The cycle with whose memory the end is compared: by then caches are warm and free lists are filled.
const WARM: u64 = 10_000;
/// How much more memory the end may take.
const TOLERANCE_PERCENT: f64 = 1.0;
/// The plot, in characters.
const ROWS: usize = 8;
const COLUMNS: usize = 60;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How many units to load in each process
    #[arg(long, default_value_t = 100_000)]
    cycles: u64,
    /// The spelter binary; else $SPELTER_BIN, else a release build of this tree
    #[arg(long)]
    bin: Option<PathBuf>,
}

/// Cycles so far, and resident memory in kB.
type Sample = (u64, u64);

pub(crate) fn run(options: &Options) -> Result<bool> {
    ensure!(options.cycles > WARM, "fewer than {WARM} cycles show nothing");
    // Take several samples before the relevant one: the first one makes the code resident that takes and prints
    // samples.
    let step = if options.cycles >= 100 * WARM { WARM / 5 } else { WARM / 10 };
    let spelter = workspace::spelter(options.bin.as_deref(), "release")?;
    let hosts = [
        ("Rust host", workspace::example("spelter", "soak")?),
        ("Fibers", workspace::example("spelter", "soak_fibers")?),
    ];
    let start = Instant::now();
    let mut good = true;
    for (title, example) in hosts {
        let host =
            Command::new(&example).args([options.cycles.to_string(), step.to_string()]).spawn_piped()?;
        good &= report(title, &samples_of_host(host)?);
    }
    let dynlink = dynlink_host(&spelter, options.cycles, step)?.spawn_piped()?;
    good &= report("OCaml's Dynlink", &samples_of_dynlink(dynlink, step)?);
    let took = start.elapsed();
    println!("{} cycles each way in {:.1} s", options.cycles, took.as_secs_f64());
    Ok(good)
}

trait SpawnPiped {
    fn spawn_piped(&mut self) -> Result<Child>;
}

impl SpawnPiped for Command {
    fn spawn_piped(&mut self) -> Result<Child> {
        let program = self.get_program().to_owned();
        // The caches of glibc's `malloc` fill for some hundred thousand loads, a tenth of a megabyte in all.
        self.env("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0");
        let child = self.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        child.with_context(|| format!("cannot start {}", program.display()))
    }
}

/// Runs a Rust host, which reports its own memory.
fn samples_of_host(mut child: Child) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for line in BufReader::new(child.stdout.take().context("no pipe")?).lines() {
        let line = line?;
        let (cycles, kb) = line.split_once(' ').with_context(|| format!("not a sample: {line}"))?;
        samples.push((cycles.parse()?, kb.parse()?));
    }
    ensure!(child.wait()?.success(), "the host failed; see above");
    Ok(samples)
}

/// The corpus's host of `Dynlink`, told to load one unit publicly and then others privately: small ones, one that
/// imports the public one, one with objects, and a large one with debug data. The public one stays, as in stock OCaml;
/// to load it again is refused.
fn dynlink_host(spelter: &Path, cycles: u64, step: u64) -> Result<Command> {
    let corpus = workspace::fixtures().join("dynlink");
    let own = workspace::root().join("crates/spelter/tests/fixtures");
    let mut command = Command::new(spelter);
    command.arg("run").arg(corpus.join("host.byte")).current_dir(&corpus);
    let load = |how: &str, times: Option<u64>, file: PathBuf| -> Result<String> {
        let times = times.map_or_else(String::new, |times| format!("{times}:"));
        Ok(format!("{how}:{times}{}", path_text(&file)?))
    };
    command.arg(load("public", None, corpus.join("simple.cmo"))?);
    let repeat = |times: u64, file: PathBuf| load("repeat", Some(times), file);
    for _ in 0..cycles / step {
        let tenth = step / 10;
        command.arg(repeat(4 * tenth, corpus.join("retained.cmo"))?);
        command.args(["forget:retained", "drop"]);
        command.arg(repeat(2 * tenth, corpus.join("needs_simple.cmo"))?);
        command.arg(repeat(tenth, corpus.join("objects.cmo"))?);
        command.arg(repeat(3 * tenth - step / 100, own.join("liveness/double.cmo"))?);
        command.arg(repeat(step / 100, own.join("soak/large.cmo"))?);
        command.arg(load("public", None, corpus.join("simple.cmo"))?);
        command.args(["gc", "resident"]);
    }
    Ok(command)
}

/// Runs the host of `Dynlink`, which reports its memory after each step.
fn samples_of_dynlink(mut child: Child, step: u64) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for line in BufReader::new(child.stdout.take().context("no pipe")?).lines() {
        if let Some(kb) = line?.strip_prefix("resident ") {
            samples.push((step * (samples.len() as u64 + 1), kb.parse()?));
        }
    }
    ensure!(child.wait()?.success(), "the host of Dynlink failed; see above");
    Ok(samples)
}

/// Plots the samples, and checks that they do not grow: the largest of the last fifth must be within the tolerance of
/// the first one after warm-up. A leak of one byte per load is visible after a hundred thousand loads.
fn report(title: &str, samples: &[Sample]) -> bool {
    let warm: Vec<Sample> = samples.iter().copied().filter(|(cycles, _)| *cycles >= WARM).collect();
    let (Some(first), Some(last)) = (warm.first(), warm.last()) else {
        println!("{title}: no samples");
        return false;
    };
    let fifth = warm.len().div_ceil(5);
    let end = warm[warm.len() - fifth..].iter().map(|(_, kb)| *kb).max().unwrap_or(0);
    let percent = |kb: u64| 100.0 * (kb as f64 / first.1 as f64 - 1.0);
    let good = percent(end) <= TOLERANCE_PERCENT;
    println!("{title}: resident memory, kB");
    // Errors of stdout are ignored.
    let _ = stdout().write_all(plot(samples).as_bytes());
    println!(
        "  {} kB after {} cycles, {} kB after {}: {:+.2} %; in the last fifth {end} kB at most, {:+.2} %: {}\n",
        first.1,
        first.0,
        last.1,
        last.0,
        percent(last.1),
        percent(end),
        if good { "flat" } else { "IT GROWS" }
    );
    good
}

/// The samples as columns of eighths of characters, from 0 to the largest.
fn plot(samples: &[Sample]) -> String {
    const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let largest = samples.iter().map(|(_, kb)| *kb).max().unwrap_or(0).max(1);
    let columns = COLUMNS.min(samples.len());
    let heights: Vec<usize> = (0..columns)
        .map(|c| {
            let (_, kb) = samples[c * samples.len() / columns];
            (kb as usize * ROWS * 8).div_ceil(largest as usize)
        })
        .collect();
    let mut text = String::new();
    for row in (0..ROWS).rev() {
        let label = if row + 1 == ROWS { largest.to_string() } else { String::new() };
        text += &format!("{label:>9} │");
        text.extend(heights.iter().map(|height| EIGHTHS[height.saturating_sub(8 * row).min(8)]));
        text.push('\n');
    }
    let last = samples.last().map_or(0, |(cycles, _)| *cycles);
    text + &format!("{:>9} └{}\n{:>11}{:>columns$}\n", 0, "─".repeat(columns), "", format!("{last} cycles"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_seen() {
        let flat: Vec<Sample> = (1..=100).map(|i| (1000 * i, 7000 + i % 3)).collect();
        assert!(report("flat", &flat));
        let warming: Vec<Sample> = (1..=100).map(|i| (1000 * i, 7000 - 500 / i)).collect();
        assert!(report("warming", &warming));
        let step: Vec<Sample> = (1..=100).map(|i| (1000 * i, 7000 + 80 * (i / 85))).collect();
        assert!(!report("step", &step));
        let leak: Vec<Sample> = (1..=100).map(|i| (1000 * i, 7000 + i)).collect();
        assert!(!report("leak", &leak));
        assert!(!report("none", &[]));
    }

    #[test]
    fn a_plot_is_as_high_as_its_largest_sample() {
        let text = plot(&[(1, 50), (2, 100)]);
        assert_eq!(text.lines().next(), Some("      100 │ █"), "{text}");
        assert_eq!(text.lines().count(), ROWS + 2);
    }
}
