//! `spelter demo`: a host replaces its plug-in thousands of times, and a chart shows how the code is freed.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use anyhow::{Context, ensure};
use clap::Args;
use spelter::{Stats, Vm};
use spelter_bytecode::code::bytes_of_words;
use spelter_bytecode::obj::{Constant, Literals};
use spelter_bytecode::{CompilationUnit, Instructions, Opcode};

use super::print;
use crate::chart::{Chart, Line};

const HOST: &[u8] = include_bytes!("../../assets/host.byte");
const PLUGIN: &[u8] = include_bytes!("../../assets/plugin.cmo");
/// The constant and the literal of `plugin.ml` that differ between versions.
const RATE: i32 = 123_456_789;
const NAME: &[u8] = b"version 0";

/// The time between updates of the chart on a terminal.
const FRAME: Duration = Duration::from_millis(40);

const HELP: &str = "\
Examples:
  spelter demo
  spelter demo --versions 100000
  spelter demo | cat              not on a terminal: print one chart at the end

OCaml is not needed: the host and the plug-in are compiled into this command. On a terminal the chart is
updated continuously; NO_COLOR disables colours.";

/// Replace a plug-in thousands of times, and show how its code is freed.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(crate) struct Demo {
    /// How many versions of the plug-in are loaded, one after another
    #[arg(long, default_value_t = 20_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    versions: u32,
}

/// The history so far, from version to version.
#[derive(Default)]
struct History {
    loaded: Vec<f64>,
    alive: Vec<f64>,
    peak: u64,
}

impl History {
    fn record(&mut self, stats: &Stats) {
        self.loaded.push(stats.code_bytes_loaded as f64);
        self.alive.push(stats.code_bytes_alive as f64);
        self.peak = self.peak.max(stats.code_bytes_alive);
    }
}

impl Demo {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let plugin = CompilationUnit::read(PLUGIN).context("the plug-in")?;
        let mut screen = Screen::new();
        print(&format!(
            "A host loads {} versions of its plug-in, one after another. Each is called once, and its answer\n\
             checked; then the next one replaces it, and the old one becomes unreachable.\n\n",
            self.versions
        ))?;
        let mut vm = Vm::builder().build();
        vm.run_bytes("host.byte", HOST)?;
        let mut history = History::default();
        history.record(&vm.stats());
        let start = Instant::now();
        for version in 1..=self.versions {
            let unit = version_of(&plugin, version)?.write();
            drop(vm.load_bytes("plugin.cmo", &unit)?);
            check_answer(&mut vm, version)?;
            history.record(&vm.stats());
            if screen.frame_is_due() {
                screen.show(&history, self.versions)?;
            }
        }
        let time = start.elapsed();
        vm.collect()?;
        history.record(&vm.stats());
        screen.show(&history, self.versions)?;
        print(&figures(&vm.stats(), &history, time))
    }
}

/// Creates a version of the plug-in, with its own name and rate.
fn version_of(plugin: &CompilationUnit, version: u32) -> anyhow::Result<CompilationUnit> {
    let mut unit = plugin.clone();
    let mut words = unit.words()?;
    let rates: Vec<usize> = Instructions::new(&unit.words()?, unit.dialect.opcodes)
        .filter_map(Result::ok)
        .filter(|instr| matches!(instr.op, Opcode::CONSTINT | Opcode::PUSHCONSTINT))
        .filter(|instr| instr.operands == [RATE])
        .map(|instr| instr.pos + 1)
        .collect();
    for rate in rates {
        words[rate] = i32::try_from(version)?;
    }
    unit.code = bytes_of_words(&words);
    unit.literals = Literals::default();
    for literal in plugin.literals.all() {
        unit.literals.add(match literal {
            Constant::String(bytes) if bytes == NAME => Constant::String(name(version).into_bytes()),
            literal => literal.clone(),
        });
    }
    Ok(unit)
}

fn name(version: u32) -> String {
    format!("version {version}")
}

/// Asks the plug-in for a price, which is computed from the version's rate and its discount of 2 percent.
fn check_answer(vm: &mut Vm, version: u32) -> anyhow::Result<()> {
    let answer: (String, i64) = vm.call("price", (12i64,))?;
    let expected = (name(version), 12 * i64::from(version) * 98);
    ensure!(answer == expected, "version {version} answered {answer:?} instead of {expected:?}");
    Ok(())
}

fn figures(stats: &Stats, history: &History, time: Duration) -> String {
    let rows = [
        ("versions loaded", stats.units_loaded.to_string()),
        ("  freed", stats.units_freed.to_string()),
        ("  alive", stats.units_alive.to_string()),
        ("code loaded", bytes(stats.code_bytes_loaded)),
        ("  freed", bytes(stats.code_bytes_freed)),
        ("  alive", bytes(stats.code_bytes_alive)),
        ("  at its peak", bytes(history.peak)),
        ("major collections", stats.major_collections.to_string()),
        ("time", format!("{:.2} s", time.as_secs_f64())),
    ];
    let rows = rows.iter().map(|(what, value)| format!("  {what:<18} {value:>12}\n"));
    std::iter::once("\n".to_owned()).chain(rows).collect()
}

fn bytes(n: u64) -> String {
    match n {
        0..10_000 => format!("{n} B"),
        10_000..10_000_000 => format!("{:.1} kB", n as f64 / 1e3),
        _ => format!("{:.1} MB", n as f64 / 1e6),
    }
}

/// Standard output: a terminal, on which the chart is updated, or another output, which gets it once.
struct Screen {
    /// Its size in columns and rows, if it is a terminal.
    terminal: Option<(usize, usize)>,
    colours: bool,
    /// The number of lines of the last chart.
    shown: usize,
    last: Instant,
}

impl Screen {
    fn new() -> Screen {
        let stdout = std::io::stdout();
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let size = terminal_size::terminal_size_of(&stdout)
            .map_or((80, 24), |(columns, rows)| (columns.0.into(), rows.0.into()));
        // If lines wrap or scroll, they cannot be overwritten.
        let moves = stdout.is_terminal() && !dumb && size.0 >= 60 && size.1 >= 15;
        Screen {
            terminal: moves.then_some(size),
            colours: AutoStream::choice(&stdout) != ColorChoice::Never,
            shown: 0,
            last: Instant::now(),
        }
    }

    fn frame_is_due(&mut self) -> bool {
        self.terminal.is_some() && self.last.elapsed() >= FRAME
    }

    /// Shows the chart, in place of the last one.
    fn show(&mut self, history: &History, versions: u32) -> anyhow::Result<()> {
        let (columns, rows) = self.terminal.unwrap_or((80, 30));
        let lines = self.chart(history, versions, columns, rows);
        let mut text = match self.shown {
            0 => String::new(),
            shown => format!("\x1b[{shown}A"),
        };
        for line in &lines {
            text += line;
            text += if self.terminal.is_some() { "\x1b[K\n" } else { "\n" };
        }
        self.shown = lines.len();
        self.last = Instant::now();
        print(&text)
    }

    fn chart(&self, history: &History, versions: u32, columns: usize, rows: usize) -> Vec<String> {
        let colour = |colour: AnsiColor| match self.colours {
            true => colour.on_default(),
            false => Style::new(),
        };
        let (unfreed, alive) = (colour(AnsiColor::Red), colour(AnsiColor::Green));
        let last = |points: &[f64]| points.last().map_or(0, |bytes| *bytes as u64);
        // Use the final scale from the start, so that lines grow without changing shape.
        let seen = history.loaded.len().saturating_sub(1).clamp(1, versions as usize);
        let max_y = last(&history.loaded) as f64 / seen as f64 * f64::from(versions);
        let label = |n: u64| format!("{:>9} ", bytes(n));
        let chart = Chart {
            columns: columns.saturating_sub(label(0).len() + 2).clamp(10, 120),
            rows: rows.saturating_sub(18).clamp(4, 20),
            max_x: versions as usize,
            max_y: max_y.max(1.0),
        };
        let mut drawn = chart.draw(&[
            Line { points: &history.loaded, filled: false, style: unfreed },
            Line { points: &history.alive, filled: true, style: alive },
        ]);
        let (floor, top) = (drawn.len() - 1, label(max_y as u64));
        for (i, row) in drawn.iter_mut().enumerate() {
            let label = match i {
                0 => top.clone(),
                i if i == floor => label(0),
                _ => " ".repeat(top.len()),
            };
            *row = format!("{label}│{row}");
        }
        let indent = " ".repeat(top.len());
        drawn.push(format!("{indent}└{}", "─".repeat(chart.columns)));
        drawn.push(format!("{indent} {seen} versions"));
        let legend = |style: Style, what, points| {
            format!("{indent} {style}{what}{style:#}{:>12}", bytes(last(points)))
        };
        drawn.push(legend(unfreed, "⠒⠒ code if nothing were freed ", &history.loaded));
        drawn.push(legend(alive, "⣿⣿ live code                  ", &history.alive));
        drawn
    }
}
