//! `cargo xtask bench`: measures Spelter's speed compared with `ocamlrun`'s, on the same bytecode files.
//!
//! Times are ratios within one run: the two runtimes alternate (A B B A), so that other load on the machine affects
//! both. Counts of machine instructions are exact and detect regressions: see `counts`.

use std::fs;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use xtask::ocaml::{Named, Tools, Version};
use xtask::process::{self, Invocation, Outcome};
use xtask::{diff, workspace};

mod chains;
mod counts;
mod dynlinked;
mod layout;
pub(crate) mod measure;
mod page;
mod peers;
mod plot;
mod programs;

use measure::{Cost, median, timed};
use programs::{Job, Kind, built, built_of_5};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only programs whose name contains this
    #[arg(default_value = "", hide_default_value = true)]
    filter: String,
    /// The version of OCaml: 4.13, the system's, by default; others as `cargo xtask ocaml` makes them. It compiles the
    /// programs, and its ocamlrun is the one to compare with. With --chains, the programs for OCaml 5 are added
    #[arg(long, value_name = "VERSION", default_value = "4.13", hide_default_value = true,
          conflicts_with_all = ["counts", "layout", "check_layout"])]
    ocaml: Named,
    /// Count machine instructions (callgrind) on smaller inputs and compare with the committed figures
    #[arg(long)]
    counts: bool,
    /// Record which of the command's functions most programs run, for the linker: see crates/cli/layout.ld
    #[arg(long, conflicts_with_all = ["filter", "flags", "against", "counts"])]
    layout: bool,
    /// Check how much of crates/cli/layout.ld matches the command's functions
    #[arg(long, conflicts_with_all = ["filter", "flags", "against", "counts", "layout"])]
    check_layout: bool,
    /// Evaluate the chains (crates/interp/src/exec/dispatch/chains.txt): how many jumps each row saves, and where
    #[arg(long, conflicts_with_all = ["filter", "flags", "against", "counts", "layout"])]
    chains: bool,
    /// Compare with other languages that Rust programs embed, in one process: see benches/peers
    #[arg(long, conflicts_with_all = ["filter", "flags", "against", "counts", "layout", "check_layout", "chains"])]
    peers: bool,
    /// Write the results and their plot into docs/performance.md; counts become the new reference
    #[arg(long, conflicts_with_all = ["filter", "flags", "against"])]
    record: bool,
    /// Pairs of runs for each program
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,
    /// Compare the shortest times, instead of each pair's: steadier while other work loads the machine
    #[arg(long)]
    best: bool,
    /// The flags of `spelter run`, for instance --checked
    #[arg(long, allow_hyphen_values = true, value_delimiter = ',')]
    flags: Vec<String>,
    /// Compare with another spelter binary instead of ocamlrun, to measure the effect of `--flags` or of a change
    #[arg(long, value_name = "PATH")]
    against: Option<PathBuf>,
    /// The spelter binary; else $SPELTER_BIN, else a release build of this tree
    #[arg(long, value_name = "PATH")]
    bin: Option<PathBuf>,
}

/// One line of the table.
pub(crate) struct Row {
    name: &'static str,
    kind: Kind,
    theirs: Cost,
    ours: Cost,
    /// The median of the pairs' ratios, or the ratio of the shortest times.
    ratio: f64,
    native: Option<f64>,
}

pub(crate) fn run(options: &Options) -> Result<bool> {
    if options.peers {
        return peers::run(options.record);
    }
    let spelter = workspace::spelter(options.bin.as_deref(), "release")?;
    if options.check_layout {
        return layout::check(&spelter);
    }
    let version = options.ocaml.0;
    let tools = Tools::find(version)?;
    if options.chains {
        let mut programs = built(&Tools::find(Version::of_system())?, "")?;
        programs.extend(built_of_5(&tools, "")?);
        return chains::run(&programs, &spelter);
    }
    let programs = built(&tools, &options.filter)?;
    ensure!(!programs.is_empty(), "no program has '{}' in its name", options.filter);
    if options.counts {
        let good = counts::run(&programs, &runtime(&spelter, "ours", &[])?, &spelter, options.record)?;
        return Ok(dynlinked::run()? && good);
    }
    let ours = runtime(&spelter, "ours", &options.flags)?;
    if options.layout {
        return layout::run(&programs, &ours);
    }
    let theirs = match &options.against {
        Some(path) => runtime(&path.canonicalize()?, "theirs", &[])?,
        None => vec![tools.ocamlrun()],
    };
    let mut rows = Vec::new();
    println!("{HEADING}");
    for job in &programs {
        let row = compare(job, &theirs, &ours, options)?;
        println!("{}", line(&row));
        stdout().flush()?;
        rows.push(row);
    }
    println!("{}", summary(&rows));
    if options.record {
        let part = match version == Version::of_system() {
            true => "times".to_owned(),
            false => format!("times-{}", version.name),
        };
        page::record(&part, &table(&rows, options), &plot::svg("time", &bars(&rows)))?;
    }
    Ok(true)
}

/// Spelter under the name `ocamlrun`, in a separate folder; with flags, under its own name. It is a copy, like an
/// installed binary, because the page cache holds a file that a linker has just written in smaller pieces.
fn runtime(spelter: &Path, place: &str, flags: &[String]) -> Result<Vec<String>> {
    if !flags.is_empty() {
        return Ok([&[process::path_text(spelter)?, "run".to_owned()], flags].concat());
    }
    let place = workspace::root().join(folder()).join(place);
    fs::create_dir_all(&place)?;
    let copy = place.join("ocamlrun");
    if copy.exists() {
        fs::remove_file(&copy)?;
    }
    fs::copy(spelter, &copy)?;
    Ok(vec![process::path_text(&copy)?])
}

const HEADING: &str = "program          ocamlrun   spelter   ratio   ocamlopt      memory, kB          ratio";

fn line(row: &Row) -> String {
    let native = row.native.map_or_else(|| "-".to_owned(), |s| format!("{s:.3}"));
    let memory = row.ours.memory as f64 / row.theirs.memory as f64;
    format!(
        "{:<15} {:>8.3} s {:>7.3} s {:>7.3} {native:>8} s {:>9} {:>9} {memory:>9.2}",
        row.name, row.theirs.seconds, row.ours.seconds, row.ratio, row.theirs.memory, row.ours.memory
    )
}

/// The table in Markdown, and its summary. Without ocamlopt's times if there are none.
fn table(rows: &[Row], options: &Options) -> String {
    let has_native = rows.iter().any(|row| row.native.is_some());
    let (heading, line) = if has_native { (" ocamlopt, s |", "---:|") } else { ("", "") };
    let mut text = format!(
        "| program | ocamlrun, s | Spelter, s | ratio |{heading} ocamlrun, kB | Spelter, kB | ratio |\n\
         |---|---:|---:|---:|{line}---:|---:|---:|\n"
    );
    for Row { name, theirs, ours, ratio, native, .. } in rows {
        let native = match native {
            Some(seconds) => format!(" {seconds:.3} |"),
            None if has_native => " - |".to_owned(),
            None => String::new(),
        };
        let memory = ours.memory as f64 / theirs.memory as f64;
        let [a, b] = [theirs.memory, ours.memory].map(page::grouped);
        text += &format!(
            "| {name} | {:.4} | {:.4} | {ratio:.2} |{native} {a} | {b} | {memory:.2} |\n",
            theirs.seconds, ours.seconds
        );
    }
    let how = match options.best {
        true => format!("The best of {} alternating runs each", options.pairs),
        false => "In one run".to_owned(),
    };
    format!("{text}\n{how}: {}.\n", summary(rows))
}

fn bars(rows: &[Row]) -> Vec<plot::Bar<'_>> {
    rows.iter()
        .map(|row| plot::Bar {
            name: row.name,
            ratio: row.ratio,
            native: row.native.map(|native| native / row.theirs.seconds),
        })
        .collect()
}

/// Geometric means and the worst row. Start-up rows count by themselves, and so do those that call C.
fn summary(rows: &[Row]) -> String {
    let only_c = rows.iter().all(|row| row.kind == Kind::Foreign);
    let running =
        || rows.iter().filter(move |row| row.kind != Kind::Start && (only_c || row.kind != Kind::Foreign));
    let mean = |values: &mut dyn Iterator<Item = f64>| {
        let values: Vec<f64> = values.map(f64::ln).collect();
        (values.iter().sum::<f64>() / values.len().max(1) as f64).exp()
    };
    let time = mean(&mut running().map(|row| row.ratio));
    let memory = mean(&mut running().map(|row| row.ours.memory as f64 / row.theirs.memory as f64));
    let worst = running().max_by(|a, b| a.ratio.total_cmp(&b.ratio));
    let worst = worst.map_or_else(|| "-".to_owned(), |row| format!("{:.3} ({})", row.ratio, row.name));
    let mut groups = String::new();
    for (kind, name) in [(Kind::Allocation, "allocation"), (Kind::Effects, "effects and domains")] {
        if running().any(|row| row.kind == kind) {
            let mean = mean(&mut running().filter(|row| row.kind == kind).map(|row| row.ratio));
            groups += &format!("; {name} {mean:.3}");
        }
    }
    let foreign = || rows.iter().filter(|row| row.kind == Kind::Foreign);
    if !only_c && foreign().next().is_some() {
        groups += &format!("; calls of C, apart {:.3}", mean(&mut foreign().map(|row| row.ratio)));
    }
    format!("time: geometric mean {time:.3}, worst {worst}{groups}; memory {memory:.3}")
}

/// Compares the outputs, then the times.
fn compare(job: &Job, theirs: &[String], ours: &[String], options: &Options) -> Result<Row> {
    let command = |runtime: &[String]| [runtime, &job.bytecode, &job.args].concat();
    let (theirs, ours) = (command(theirs), command(ours));
    let (expected, got) = (answer(job, &theirs)?, answer(job, &ours)?);
    if let Some(difference) = diff::answers(&expected, &got) {
        anyhow::bail!("{} answers differently:\n{difference}", job.name);
    }
    let (mut a, mut b) = (Vec::new(), Vec::new());
    // Run the short start-up programs more often.
    let pairs = if job.kind == Kind::Start { 5 * options.pairs } else { options.pairs };
    for pair in 0..pairs {
        if pair % 2 == 0 {
            a.push(timed(&theirs, job)?);
            b.push(timed(&ours, job)?);
        } else {
            b.push(timed(&ours, job)?);
            a.push(timed(&theirs, job)?);
        }
    }
    let (theirs, ours, ratio) = match options.best {
        true => {
            let (a, b) = (Cost::best(&a), Cost::best(&b));
            (a, b, b.seconds / a.seconds)
        }
        false => {
            let ratios = a.iter().zip(&b).map(|(a, b)| b.seconds / a.seconds).collect();
            (Cost::median(&a), Cost::median(&b), median(ratios))
        }
    };
    let native = match &job.native {
        Some(native) => {
            let command = [native.as_slice(), &job.args].concat();
            let runs: Result<Vec<f64>> = (0..3).map(|_| Ok(timed(&command, job)?.seconds)).collect();
            Some(median(runs?))
        }
        None => None,
    };
    Ok(Row { name: job.name, kind: job.kind, theirs, ours, ratio, native })
}

/// The program's output, and the file that it writes, if any.
fn answer(job: &Job, command: &[String]) -> Result<process::Answer> {
    let stdin = job.stdin.as_ref().map(fs::read).transpose()?.unwrap_or_default();
    let invocation = Invocation {
        command: command.to_vec(),
        folder: &job.folder,
        env: &job.env,
        stdin: &stdin,
        limit: std::time::Duration::from_secs(300),
    };
    match invocation.run()? {
        Outcome::Answered(mut answer) => {
            ensure!(answer.exit == 0, "{} fails: {}", job.name, String::from_utf8_lossy(&answer.stderr));
            if let Some(product) = &job.product {
                answer.stdout.extend(fs::read(product)?);
                fs::remove_file(product)?;
            }
            Ok(answer)
        }
        Outcome::TimedOut(limit) => {
            anyhow::bail!("{} gave no answer after {} s", job.name, limit.as_secs())
        }
    }
}

/// The folder for all products of the bench.
fn folder() -> PathBuf {
    Path::new("target/bench").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_knows_the_worst_and_leaves_starts_out() {
        let row = |name, kind, ratio| {
            let cost = Cost { seconds: 1.0, memory: 100 };
            Row { name, kind, theirs: cost, ours: cost, ratio, native: None }
        };
        let rows =
            [row("a", Kind::Running, 0.5), row("b", Kind::Allocation, 2.0), row("hello", Kind::Start, 9.0)];
        assert_eq!(
            summary(&rows),
            "time: geometric mean 1.000, worst 2.000 (b); allocation 2.000; memory 1.000"
        );
        assert_eq!(
            summary(&[row("c", Kind::Effects, 0.25)]),
            "time: geometric mean 0.250, worst 0.250 (c); effects and domains 0.250; memory 1.000"
        );
    }
}
