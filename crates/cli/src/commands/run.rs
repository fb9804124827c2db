//! `spelter run`: runs a bytecode executable as `ocamlrun` does.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use spelter::{
    Behaviour, Context, Dispatch, Error, HeapConfig, HeapMode, ModuleSlots, Params, Stats, Strategy, Vm,
    WhyAlive, World,
};
use spelter_bytecode::Dialect;

use crate::launch;
use crate::limits::{self, Limits};
use crate::report::Report;
use crate::runparam::RunParam;
use crate::sandbox::{Gift, Sandbox, SandboxArgs};
use crate::trust;

const HELP: &str = "\
Examples:
  spelter run prog.byte a b             do what `ocamlrun prog.byte a b` does
  spelter run --stats prog.byte         print statistics on stderr at the end
  spelter run --checked untrusted.byte  verify the code first, and check it at run time
  spelter run --sandbox --grant=stdout --grant=dir=data:rw untrusted.byte
                                        the same, and let it reach nothing but stdout and files in data
  spelter run --sandbox --grant=stdout --fuel=1000000 --time-limit=5s --memory-limit=64M untrusted.byte
                                        the same, and use no more than that
  spelter run --why-alive host.byte     list the code still loaded at the end, and what keeps it
  spelter run --why-alive-on=USR2 host.byte
                                        the same whenever `kill -USR2` is sent to the process
  spelter run --code-report=r.html host.byte
  OCAMLRUNPARAM=b,l=8M spelter run prog.byte

Everything after FILE belongs to the program. OCAMLRUNPARAM (or CAMLRUNPARAM) is read: the letters are
those of the program's version of OCaml. The exit code is the program's: 2 after an uncaught exception, 124 when it
exceeds a limit, 127 when there is no program.";

/// Run a bytecode executable, as ocamlrun does.
#[derive(Args, Debug)]
#[command(after_help = HELP, override_usage = "spelter run [OPTIONS] FILE [ARGS]...")]
pub(crate) struct Run {
    /// How instructions are dispatched; `tail` needs an optimised build and otherwise means `loop`. `profile` counts
    /// instructions and prints the most frequent pairs on stderr at the end; `runs` prints the straight runs,
    /// sequences without jumps
    #[arg(long, value_enum, default_value_t, require_equals = true, value_name = "HOW")]
    dispatch: DispatchArg,
    /// How closures of loaded units refer to their code
    #[arg(long = "dyn", value_enum, default_value_t, require_equals = true, value_name = "HOW")]
    strategy: DynArg,
    /// Which modules loaded by OCaml's Dynlink are never freed: all (strict), those that have a name (auto), or none
    /// (eager)
    #[arg(long, value_enum, default_value_t, require_equals = true, value_name = "HOW")]
    dynlink_slots: SlotsArg,
    /// When the heap collects: when due (plain), at every allocation (torture), or never (null)
    #[arg(long, value_enum, default_value_t, require_equals = true, value_name = "MODE")]
    heap: HeapArg,
    /// Verify the code first, and check at run time what the verifier cannot prove
    #[arg(long)]
    checked: bool,
    /// Look for shared libraries of C primitives in this folder first; may be repeated
    #[arg(short = 'I', value_name = "DIR")]
    include: Vec<PathBuf>,
    #[command(flatten)]
    sandbox: SandboxArgs,
    #[command(flatten)]
    limits: Limits,
    /// Print statistics on stderr when the program ends
    #[arg(long, value_enum, require_equals = true, num_args = 0..=1, default_missing_value = "text", value_name = "FORMAT")]
    stats: Option<StatsArg>,
    /// When the program has ended, explain on stderr why the loaded units of that name, or all units, are alive
    #[arg(long, require_equals = true, num_args = 0..=1, default_missing_value = "", value_name = "UNIT")]
    why_alive: Option<String>,
    /// Also print that explanation whenever this signal arrives, and continue; not if the program handles or ignores
    /// the signal itself
    #[arg(long, require_equals = true, value_name = "SIGNAL")]
    why_alive_on: Option<String>,
    /// Write a page about the loaded units: when they were loaded and freed, and why the remaining ones are alive
    #[arg(long, require_equals = true, value_name = "FILE.html")]
    code_report: Option<PathBuf>,
    /// The program, looked up in PATH if its name has no slash; then its arguments
    #[arg(required = true, trailing_var_arg = true, value_names = ["FILE", "ARGS"], hide_possible_values = true)]
    command: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum DispatchArg {
    Loop,
    #[default]
    Tail,
    Profile,
    Runs,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum DynArg {
    Stub,
    #[default]
    Carry,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum SlotsArg {
    Strict,
    #[default]
    Auto,
    Eager,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum HeapArg {
    #[default]
    Plain,
    Torture,
    Null,
}

/// The format of the statistics.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum StatsArg {
    Text,
    Json,
}

/// How a program is to be run.
#[derive(Debug)]
pub(crate) struct Settings {
    dispatch: Dispatch,
    /// Print the straight runs, not the pairs.
    runs: bool,
    strategy: Strategy,
    slots: ModuleSlots,
    heap: HeapMode,
    checked: bool,
    stats: Option<StatsArg>,
    /// The name of the units to explain; all if empty.
    why_alive: Option<String>,
    /// The signal at which to explain them.
    why_alive_on: Option<String>,
    /// Where to write the report about loaded code.
    code_report: Option<PathBuf>,
    /// Record backtraces, whatever `OCAMLRUNPARAM` says.
    pub(crate) backtrace: bool,
    /// `OCAMLRUNPARAM=v`, if the command line sets it.
    pub(crate) verbose_gc: Option<u64>,
    /// The folders in which shared libraries are looked up first.
    pub(crate) folders: Vec<PathBuf>,
    /// What the program gets if it runs in a sandbox.
    sandbox: Option<Vec<Gift>>,
    /// What it may use.
    limits: Limits,
}

impl Default for Settings {
    /// The settings of `ocamlrun`: nothing checked, nothing printed.
    fn default() -> Settings {
        Settings {
            dispatch: Dispatch::default(),
            runs: false,
            strategy: Strategy::default(),
            slots: ModuleSlots::default(),
            heap: HeapMode::default(),
            checked: false,
            stats: None,
            why_alive: None,
            why_alive_on: None,
            code_report: None,
            backtrace: false,
            verbose_gc: None,
            folders: Vec::new(),
            sandbox: None,
            limits: Limits::default(),
        }
    }
}

impl Run {
    /// Runs the program and ends the process with its exit code.
    pub(crate) fn run(self) -> ! {
        let settings = Settings {
            dispatch: match self.dispatch {
                DispatchArg::Loop => Dispatch::Loop,
                DispatchArg::Tail => Dispatch::Tail,
                DispatchArg::Profile | DispatchArg::Runs => Dispatch::Profile,
            },
            runs: matches!(self.dispatch, DispatchArg::Runs),
            strategy: match self.strategy {
                DynArg::Stub => Strategy::Stub,
                DynArg::Carry => Strategy::Carry,
            },
            slots: match self.dynlink_slots {
                SlotsArg::Strict => ModuleSlots::Strict,
                SlotsArg::Auto => ModuleSlots::Auto,
                SlotsArg::Eager => ModuleSlots::Eager,
            },
            heap: match self.heap {
                HeapArg::Plain => HeapMode::Plain,
                HeapArg::Torture => HeapMode::Torture,
                HeapArg::Null => HeapMode::Never,
            },
            checked: self.checked || self.sandbox.0.is_some(),
            stats: self.stats,
            why_alive: self.why_alive,
            why_alive_on: self.why_alive_on,
            code_report: self.code_report,
            backtrace: false,
            verbose_gc: None,
            folders: self.include,
            sandbox: self.sandbox.0,
            limits: self.limits,
        };
        match launch::find(&self.command[0]) {
            Ok((found, version)) => execute(found, version, self.command, settings),
            Err(e) => e.exit(),
        }
    }
}

/// Runs a program with these arguments, its name first, and ends the process with its exit code.
pub(crate) fn execute(
    name: OsString,
    version: &'static Dialect,
    argv: Vec<OsString>,
    settings: Settings,
) -> ! {
    let mut runparam = RunParam::of_environment(Behaviour::of(version));
    runparam.backtrace |= settings.backtrace;
    runparam.verbose_gc = settings.verbose_gc.unwrap_or(runparam.verbose_gc);
    let file = PathBuf::from(&name);
    let params = Params {
        executable_name: name.into_vec(),
        argv: argv.into_iter().map(OsString::into_vec).collect(),
        ..Params::default()
    };
    let heap = HeapConfig { mode: settings.heap, ..HeapConfig::default() };
    let builder = Vm::builder().dispatch(settings.dispatch).strategy(settings.strategy);
    let mut builder = builder.module_slots(settings.slots);
    if !settings.checked {
        builder = trust::trusted(builder);
    }
    if let Some(message) = settings.limits.refusal(settings.checked, settings.sandbox.is_some()) {
        // Errors of stderr cannot be reported.
        let _ = writeln!(std::io::stderr(), "spelter: {message}");
        std::process::exit(2)
    }
    let builder = settings.limits.apply(builder);
    let (world, sandbox) = match settings.sandbox.as_deref().map(Sandbox::new).transpose() {
        Ok(sandbox) => sandbox.unzip(),
        Err(message) => {
            // Errors of stderr cannot be reported.
            let _ = writeln!(std::io::stderr(), "spelter: {message}");
            std::process::exit(2)
        }
    };
    let owns_process = sandbox.is_none();
    let builder = builder.world(world.unwrap_or_else(World::process));
    let mut vm = runparam.apply(heap, params, builder).build();
    if owns_process {
        vm.own_process();
    }
    if !settings.checked {
        trust::with_libraries(&mut vm, settings.folders.clone());
    }
    if settings.code_report.is_some() {
        vm.record_code_events();
    }
    if let Some(signal) = &settings.why_alive_on {
        explain_at(&mut vm, signal, settings.why_alive.clone().unwrap_or_default());
    }
    let ending = Arc::new(Ending { file, settings, sandbox });
    let elsewhere = Arc::clone(&ending);
    vm.on_end_elsewhere(move |vm, outcome| finish(vm, &elsewhere, outcome));
    let attached = if owns_process { vm.attach_debugger(version) } else { Ok(()) };
    let outcome = attached.and_then(|()| vm.run_main(&ending.file));
    finish(&mut vm, &ending, outcome)
}

/// What is needed when a program has ended.
struct Ending {
    file: PathBuf,
    settings: Settings,
    sandbox: Option<Sandbox>,
}

/// Prints the requested reports about a program that has ended, and ends the process with its exit code.
fn finish(vm: &mut Vm, ending: &Ending, outcome: Result<i32, Error>) -> ! {
    let Ending { file, settings, sandbox } = ending;
    let outcome = match (outcome, sandbox) {
        (Ok(code), Some(sandbox)) => Ok(sandbox.report(code)),
        (outcome, _) => outcome,
    };
    if let Some(format) = settings.stats {
        print_stats(&vm.stats(), format);
    }
    explain(vm, file, settings);
    if settings.dispatch == Dispatch::Profile {
        // Errors of stderr cannot be reported.
        let _ = write!(std::io::stderr(), "{}", profile(vm, settings.runs));
    }
    match outcome {
        Ok(code) => std::process::exit(code),
        Err(Error::Limit(limit)) => {
            // Errors of stderr cannot be reported.
            let _ = writeln!(std::io::stderr(), "spelter: {}", settings.limits.message(limit));
            std::process::exit(limits::EXIT_CODE)
        }
        Err(e) => abort(&e, settings.checked),
    }
}

/// The most frequent pairs, or all straight runs: their counts and instructions.
fn profile(vm: &Vm, runs: bool) -> String {
    if !runs {
        return vm.profile().to_string();
    }
    let lines =
        vm.profile().runs().into_iter().map(|(names, count)| format!("{count} {}\n", names.join(" ")));
    lines.collect()
}

/// Explains why loaded code is alive whenever a signal arrives. This does not collect: units that are already
/// unreachable are reported as such.
fn explain_at(vm: &mut Vm, signal: &str, name: String) {
    let explain = move |cx: &mut Context<'_>| say_why(&cx.why_all_alive(), &name);
    if let Err(e) = vm.on_signal(signal, explain) {
        // Errors of stderr cannot be reported.
        let _ = writeln!(std::io::stderr(), "spelter: --why-alive-on={signal}: {e}");
        std::process::exit(2)
    }
}

/// Explains on stderr why the units of a name are alive; all units if it is empty.
fn say_why(why: &[WhyAlive], name: &str) {
    let named = why.iter().filter(|why| name.is_empty() || why.name == name);
    let mut text: String = named.map(|why| format!("{why}\n")).collect();
    if text.is_empty() {
        text = match name {
            "" => "no loaded unit is alive\n".to_owned(),
            name => format!("no loaded unit {name} is alive\n"),
        };
    }
    // Errors of stderr cannot be reported.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Explains, if requested, why loaded code is still alive after a collection. That collection runs no finalisers,
/// because the program has ended.
fn explain(vm: &mut Vm, program: &Path, settings: &Settings) {
    if settings.why_alive.is_none() && settings.code_report.is_none() {
        return;
    }
    vm.collect_once().expect("the collection does not panic");
    let why = vm.why_all_alive();
    if let Some(name) = &settings.why_alive {
        say_why(&why, name);
    }
    if let (Some(path), Some(recording)) = (&settings.code_report, vm.code_events()) {
        let program = program.display().to_string();
        let report = Report { program: &program, recording: &recording, units: &vm.units(), why: &why };
        if let Err(e) = std::fs::write(path, report.html()) {
            // Keep the program's exit code; errors of stderr cannot be reported.
            let _ = writeln!(std::io::stderr(), "spelter: {}: {e}", path.display());
        }
    }
}

/// Ends the process as `ocamlrun` does after a fatal error.
fn abort(error: &Error, checked: bool) -> ! {
    let message = match error {
        Error::MissingPrimitive { name, .. } => format!("unknown C primitive `{name}'"),
        Error::MissingLibrary { .. } if checked && spelter_cinterface::AVAILABLE => {
            format!("{error}; run it without --checked, which refuses libraries in C")
        }
        error => error.to_string(),
    };
    // Errors of stderr cannot be reported.
    let _ = writeln!(std::io::stderr(), "Fatal error: {message}");
    std::process::abort()
}

fn print_stats(stats: &Stats, format: StatsArg) {
    let text = match format {
        StatsArg::Text => stats.to_string(),
        StatsArg::Json => {
            let rows = stats.rows().into_iter().map(|(name, value)| (name.to_owned(), value.into()));
            let object: serde_json::Map<_, _> = rows.collect();
            format!("{}\n", serde_json::Value::Object(object))
        }
    };
    // Errors of stderr cannot be reported.
    let _ = std::io::stderr().write_all(text.as_bytes());
}
