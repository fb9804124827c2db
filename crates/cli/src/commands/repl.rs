//! `spelter repl`: OCaml's own toplevel, with line editing and history on a terminal.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use clap::Args;
use spelter::{Behaviour, Grant, HeapConfig, Params, Vm, World};
use spelter_compiler::Installation;

use super::run;
use crate::editor::Editor;
use crate::launch;
use crate::runparam::RunParam;
use crate::trust;

const HELP: &str = "\
Examples:
  spelter repl
  spelter repl -- -I +unix unix.cma      arguments of ocaml
  spelter repl < phrases.ml              not on a terminal: what `ocaml < phrases.ml` does

A phrase ends with ;; and may have several lines: Enter continues it. Ctrl-C drops the input or stops the phrase that runs,
Ctrl-D ends. The toplevel is that of the installed OCaml (OCAMLLIB chooses one), and can do all that it can under ocamlrun;
loaded code is garbage collected. NO_COLOR disables colours.";

/// Run OCaml's own toplevel, with line editing and history
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(crate) struct Repl {
    /// Neither read nor write a history file
    #[arg(long)]
    no_history: bool,
    /// Arguments of `ocaml`
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<OsString>,
}

/// All that a process can do, apart from its standard input.
const GRANTS: [Grant; 10] = [
    Grant::Files,
    Grant::Environment,
    Grant::Clock,
    Grant::Random,
    Grant::Processes,
    Grant::Network,
    Grant::Signals,
    Grant::Terminals,
    Grant::Events,
    Grant::Libraries,
];

impl Repl {
    /// Runs the toplevel, and ends the process with its exit code.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let installation = Installation::find()?;
        let path = installation.toplevel_path()?;
        let Ok((found, version)) = launch::find(path.as_os_str()) else {
            anyhow::bail!("{}: not a bytecode executable of OCaml 4.13 to 5.5", path.display())
        };
        let mut command: Vec<OsString> = vec!["ocaml".into()];
        if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
            command.extend(self.args);
            run::execute(found, version, command, run::Settings::default())
        }
        // The editor prompts, and colours are decided here: the toplevel does not see the terminal.
        let colours = std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
        command.extend(["-noprompt", "-color", if colours { "always" } else { "never" }].map(OsString::from));
        command.extend(self.args);
        let history = if self.no_history { None } else { history() };
        let world = World::nothing()
            .stdin_from(Editor::new(history)?)
            .stdout(std::io::stdout())
            .stderr(std::io::stderr());
        let world = GRANTS.into_iter().fold(world, World::allow);
        let params = Params {
            executable_name: found.clone().into_vec(),
            argv: command.into_iter().map(OsString::into_vec).collect(),
            ..Params::default()
        };
        let builder = trust::trusted(Vm::builder()).world(world);
        let runparam = RunParam::of_environment(Behaviour::of(version));
        let mut vm = runparam.apply(HeapConfig::default(), params, builder).build();
        trust::with_libraries(&mut vm, Vec::new());
        let outcome = vm.run_main(PathBuf::from(found));
        let _ = std::io::stdout().flush();
        std::process::exit(outcome?)
    }
}

/// Where the history is kept: in the folder for programs' state.
fn history() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").filter(|set| !set.is_empty()).map(PathBuf::from);
    let state = state.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")))?;
    Some(state.join("spelter/repl-history"))
}
