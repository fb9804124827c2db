//! Evaluates which chains are worth their cost: how many jumps each of them saves, and in which programs.
//!
//! The programs run under `--dispatch=runs`, which counts their straight runs of instructions. The effect of a table
//! of chains on a run can be computed without another execution: dispatch takes the longest chain each time, from the
//! beginning. So each row is evaluated by leaving it out. The table is read from `chains.txt`, so that a change to it
//! can be evaluated before it is built.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, anyhow};
use xtask::corpus::Corpus;
use xtask::engine::Engine;
use xtask::matrix::{self, Subject};
use xtask::process::{Outcome, path_text};
use xtask::workspace;

use self::patterns::{Pattern, Row};
use super::counts::{in_parallel, stderr_of};
use super::programs::Job;

#[path = "../../../../crates/interp/build/patterns.rs"]
mod patterns;

/// The patterns, from the root.
const FILE: &str = "crates/interp/src/exec/dispatch/chains.txt";
/// A row is worth its cost if some program would take at least this many more jumps without it, in percent of its
/// instructions.
const LEAST: f64 = 0.02;
/// How many candidates for new chains are shown.
const SHOWN: usize = 30;
/// The name of the corpus among the programs.
const CORPUS: &str = "the corpus";

/// A straight run of instructions, by their numbers here, and how often it ran in 100 instructions of its program.
type Run = (Vec<u16>, f64);

/// A program's runs.
struct Program {
    name: String,
    runs: Vec<Run>,
}

/// What a row saves.
#[derive(Clone, Copy, Default)]
struct Gain {
    /// The largest saving in a program, in percent of its instructions.
    most: f64,
    /// The number of that program.
    program: usize,
    /// The average saving over all programs, with equal weights.
    mean: f64,
}

/// The table of chains.
struct Table {
    rows: Vec<Vec<u16>>,
    /// The rows that begin with these two, longest first.
    by_two: HashMap<(u16, u16), Vec<usize>>,
}

impl Table {
    fn new(rows: Vec<Vec<u16>>) -> Table {
        let mut by_two: HashMap<(u16, u16), Vec<usize>> = HashMap::new();
        for (i, row) in rows.iter().enumerate() {
            by_two.entry((row[0], row[1])).or_default().push(i);
        }
        for places in by_two.values_mut() {
            places.sort_by_key(|i| std::cmp::Reverse(rows[*i].len()));
        }
        Table { rows, by_two }
    }

    /// The longest row that the code begins with, excluding row `without`.
    fn find(&self, code: &[u16], without: Option<usize>) -> Option<usize> {
        let [first, second, ..] = code else { return None };
        let places = self.by_two.get(&(*first, *second))?;
        places.iter().copied().find(|i| Some(*i) != without && code.starts_with(&self.rows[*i]))
    }

    /// The sequence of jump targets in a run: the number of instructions of each, and the row if it is a chain.
    fn jumps(&self, run: &[u16], without: Option<usize>) -> Vec<(usize, Option<usize>)> {
        let (mut jumps, mut at) = (Vec::new(), 0);
        while at < run.len() {
            let row = self.find(&run[at..], without);
            let len = row.map_or(1, |i| self.rows[i].len());
            jumps.push((len, row));
            at += len;
        }
        jumps
    }

    /// The saving of each row.
    fn gains(&self, programs: &[Program]) -> Vec<Gain> {
        let mut gains = vec![Gain::default(); self.rows.len()];
        for (number, program) in programs.iter().enumerate() {
            let mut saved = vec![0.0; self.rows.len()];
            for (run, weight) in &program.runs {
                let jumps = self.jumps(run, None);
                let mut rows: Vec<usize> = jumps.iter().filter_map(|(_, row)| *row).collect();
                rows.sort_unstable();
                rows.dedup();
                for row in rows {
                    saved[row] += weight * (self.jumps(run, Some(row)).len() as f64 - jumps.len() as f64);
                }
            }
            for (gain, saved) in gains.iter_mut().zip(saved) {
                gain.mean += saved / programs.len() as f64;
                if saved > gain.most {
                    (gain.most, gain.program) = (saved, number);
                }
            }
        }
        gains
    }

    /// Jumps per 100 instructions.
    fn density(&self, program: &Program) -> f64 {
        program.runs.iter().map(|(run, weight)| weight * self.jumps(run, None).len() as f64).sum()
    }

    /// Pairs of consecutive jumps, which would be one jump if they were a chain, with their largest saving in a
    /// program.
    fn missing(&self, programs: &[Program]) -> Vec<(Vec<u16>, Gain)> {
        let mut gains: HashMap<Vec<u16>, Gain> = HashMap::new();
        for (number, program) in programs.iter().enumerate() {
            let mut saved: HashMap<&[u16], f64> = HashMap::new();
            for (run, weight) in &program.runs {
                let mut at = 0;
                for pair in self.jumps(run, None).windows(2) {
                    *saved.entry(&run[at..at + pair[0].0 + pair[1].0]).or_default() += weight;
                    at += pair[0].0;
                }
            }
            for (code, saved) in saved {
                let gain = gains.entry(code.to_vec()).or_default();
                gain.mean += saved / programs.len() as f64;
                if saved > gain.most {
                    (gain.most, gain.program) = (saved, number);
                }
            }
        }
        let mut gains: Vec<_> = gains.into_iter().collect();
        gains.sort_by(|(_, a), (_, b)| b.mean.total_cmp(&a.mean));
        gains
    }
}

/// Numbers for names.
#[derive(Default)]
struct Names {
    numbers: HashMap<String, u16>,
    names: Vec<String>,
}

impl Names {
    fn number(&mut self, name: &str) -> u16 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.names.len() as u16;
        self.numbers.insert(name.to_owned(), number);
        self.names.push(name.to_owned());
        number
    }

    fn numbers(&mut self, row: &Row) -> Vec<u16> {
        row.iter().map(|name| self.number(name)).collect()
    }

    fn text(&self, code: &[u16]) -> String {
        let names: Vec<&str> = code.iter().map(|number| self.names[usize::from(*number)].as_str()).collect();
        names.join(" ")
    }
}

/// Evaluates the rows of `chains.txt` on the programs and the corpus, and reports those that are not worth their
/// cost.
pub(super) fn run(jobs: &[Job], spelter: &Path) -> Result<bool> {
    let text = fs::read_to_string(workspace::root().join(FILE)).context(FILE)?;
    let patterns = patterns::read(&text).map_err(|error| anyhow!("{FILE}: {error}"))?;
    let mut names = Names::default();
    let programs = programs(jobs, spelter, &mut names)?;
    let table = Table::new(patterns.iter().flat_map(|p| &p.rows).map(|row| names.numbers(row)).collect());
    let gains = table.gains(&programs);
    println!("jumps per 100 instructions, and how many of them a row saves");
    for program in &programs {
        println!("{:<15} {:>6.2}", program.name, table.density(program));
    }
    println!("\n   mean    most  in               line: pattern, rows");
    let mut idle = Vec::new();
    let mut first = 0;
    for pattern in &patterns {
        let gains = &gains[first..first + pattern.rows.len()];
        first += pattern.rows.len();
        println!("{}", line(pattern, gains, &programs));
        idle.extend(pattern.rows.iter().zip(gains).filter(|(_, gain)| gain.most < LEAST));
    }
    println!("\ncandidates for new chains (two consecutive jumps):");
    for (code, gain) in table.missing(&programs).iter().take(SHOWN) {
        println!(
            "{:>7.3} {:>7.3}  {:<15} {}",
            gain.mean,
            gain.most,
            programs[gain.program].name,
            names.text(code)
        );
    }
    println!(
        "\n{} patterns, {} rows; below {LEAST} % in all programs: {}",
        patterns.len(),
        gains.len(),
        idle.len()
    );
    for (row, gain) in &idle {
        println!("{:>7.3} %  {}", gain.most, row.join(" "));
    }
    Ok(idle.is_empty())
}

/// A pattern, with the savings of its rows.
fn line(pattern: &Pattern, gains: &[Gain], programs: &[Program]) -> String {
    let most = gains.iter().max_by(|a, b| a.most.total_cmp(&b.most)).copied().unwrap_or_default();
    let mean: f64 = gains.iter().map(|gain| gain.mean).sum();
    let name = &programs[most.program].name;
    format!(
        "{mean:>7.3} {:>7.3}  {name:<15} {:>3}: {}, {}",
        most.most,
        pattern.line,
        pattern.text,
        gains.len()
    )
}

/// The runs of the programs on their small inputs, and of the corpus as if it were one program.
fn programs(jobs: &[Job], spelter: &Path, names: &mut Names) -> Result<Vec<Program>> {
    let command = path_text(spelter)?;
    let said = in_parallel(jobs, |job| {
        let folder = tempfile::tempdir()?;
        let mut command = Command::new(&command);
        stderr_of(command.args(["run", "--dispatch=runs"]), job, folder.path())
    })?;
    let mut programs = Vec::new();
    for (job, said) in jobs.iter().zip(said) {
        programs.push(Program { name: job.name.to_owned(), runs: runs(&said, names) });
    }
    let corpus = Corpus::load()?;
    let mut cases = corpus.cases("");
    cases.retain(|case| case.program.ocaml.is_none());
    let engine = Engine { name: "runs".to_owned(), flags: vec!["--dispatch=runs".to_owned()] };
    let said = matrix::in_parallel("run", &cases, 2, |case| match case.run_on(&engine, spelter)? {
        Outcome::Answered(answer) => Ok(String::from_utf8_lossy(&answer.stderr).into_owned()),
        Outcome::TimedOut(_) => Err(anyhow!("{} gave no answer", case.name())),
    })?;
    let mut all: BTreeMap<Vec<u16>, f64> = BTreeMap::new();
    for said in said {
        for (run, weight) in runs(&said, names) {
            *all.entry(run).or_default() += weight / cases.len() as f64;
        }
    }
    programs.push(Program { name: CORPUS.to_owned(), runs: all.into_iter().collect() });
    Ok(programs)
}

/// Extracts the runs from the command's output, which may contain the program's own: their counts and instructions.
fn runs(said: &str, names: &mut Names) -> Vec<Run> {
    let mut runs = Vec::new();
    for line in said.lines() {
        let mut words = line.split(' ');
        let Some(count) = words.next().and_then(|word| word.parse::<u64>().ok()) else { continue };
        let code: Vec<&str> = words.collect();
        let is_name =
            |word: &&str| word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        if !code.is_empty() && code.iter().all(is_name) {
            runs.push((code.into_iter().map(|name| names.number(name)).collect::<Vec<u16>>(), count as f64));
        }
    }
    let total: f64 = runs.iter().map(|(run, count)| count * run.len() as f64).sum();
    runs.iter_mut().for_each(|(_, count)| *count *= 100.0 / total);
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str, names: &mut Names) -> Table {
        let patterns = patterns::read(text).expect("patterns");
        Table::new(patterns.iter().flat_map(|p| &p.rows).map(|row| names.numbers(row)).collect())
    }

    #[test]
    fn patterns_are_products() {
        let rows = |text: &str| -> Vec<String> {
            let patterns = patterns::read(text).expect("patterns");
            patterns.iter().flat_map(|p| &p.rows).map(|row| row.join(" ")).collect()
        };
        assert_eq!(rows("# nothing\n\nEQ BRANCH{IF,IFNOT} # both"), ["EQ BRANCHIF", "EQ BRANCHIFNOT"]);
        assert_eq!(
            rows("{PUSH,}ACC{0..1} GETFIELD{0,}"),
            [
                "PUSHACC0 GETFIELD0",
                "PUSHACC0 GETFIELD",
                "PUSHACC1 GETFIELD0",
                "PUSHACC1 GETFIELD",
                "ACC0 GETFIELD0",
                "ACC0 GETFIELD",
                "ACC1 GETFIELD0",
                "ACC1 GETFIELD"
            ]
        );
    }

    #[test]
    fn malformed_patterns_are_refused_with_their_line() {
        let error = |text: &str| patterns::read(text).err().expect("an error");
        assert_eq!(error("EQ BRANCHIF\nEQ BRANCH{IF,IFNOT}"), "line 2: EQ BRANCHIF is already in line 1");
        assert_eq!(error("ACC{0,1} PUSH\nACC{0 PUSH"), "line 2: ACC{0 lacks a brace");
        assert_eq!(error("ACC{a..b} PUSH"), "line 1: a is not a number, in ACC{a..b}");
        assert_eq!(error("PUSH"), "line 1: PUSH is a single instruction, not a chain");
    }

    #[test]
    fn a_row_is_weighed_by_leaving_it_out() {
        let mut names = Names::default();
        let table = table("A B\nA B C\nC D\nX Y", &mut names);
        // Without `A B C`, `A B` and `C D` take its place; without `A B`, nothing changes.
        let programs = [Program {
            name: "p".to_owned(),
            runs: runs("25 A B C D\nno line\n7 words of it\n", &mut names),
        }];
        assert_eq!(programs[0].runs, [(vec![0, 1, 2, 3], 25.0)]);
        let saved: Vec<f64> = table.gains(&programs).iter().map(|gain| gain.most).collect();
        assert_eq!(saved, [0.0, 0.0, 0.0, 0.0]);
        assert_eq!(table.density(&programs[0]), 50.0);
        let programs = [Program { name: "p".to_owned(), runs: runs("10 A B C\n10 X Y\n", &mut names) }];
        let saved: Vec<f64> = table.gains(&programs).iter().map(|gain| gain.most).collect();
        assert_eq!(saved, [0.0, 20.0, 0.0, 20.0]);
    }

    #[test]
    fn two_jumps_in_a_row_are_a_chain_to_be() {
        let mut names = Names::default();
        let table = table("A B", &mut names);
        let programs = [Program { name: "p".to_owned(), runs: runs("1 A B C\n", &mut names) }];
        let missing = table.missing(&programs);
        assert_eq!(missing.len(), 1);
        assert_eq!(names.text(&missing[0].0), "A B C");
    }
}
