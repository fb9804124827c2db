//! Translates a header to plans: each path down its tree becomes a list of steps, or a reason to leave it out.
//!
//! Steps that use the installed `ocamlc` run once; compared steps run under both runtimes. On a path that runs no
//! program, the compiler is tested, and `ocamlc.byte` is the program.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::actions::{self, Kind};
use super::header::{Header, Node, Setting};
use super::variables::{Libraries, Variables};
use crate::ocaml::Tools;

/// Why a path down a header's tree is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// `native`, `ocamlopt`, …
    NativeCode,
    /// C stubs, and no C compiler.
    CCode,
    /// It links a runtime with its own C code, which cannot be in a shared library.
    CustomRuntime,
    /// It makes a C program, or an object for one, of OCaml code.
    Embedded,
    /// Another system, processor or configuration.
    OtherSystem,
    /// Skipped by its own header or script.
    Skipped,
    /// Programs that exist only where OCaml was built.
    BuildTree,
    /// A tool that this build of OCaml lacks.
    NoTool,
    /// It runs no bytecode.
    NoBytecode,
    /// The installed compiler does not build it as its header says.
    NotBuilt,
    /// ocamlrun answers differently each time.
    Changing,
    /// ocamlrun exceeded its time limit.
    TooLong,
    /// It only repeats an earlier path of the same file.
    Repeated,
}

/// A step in the folder of a case.
#[derive(Clone, Debug)]
pub enum Step {
    /// Creates a folder, and copies files and whole folders into it.
    Furnish {
        /// The new folder.
        folder: PathBuf,
        /// Each source with its destination.
        copies: Vec<(PathBuf, PathBuf)>,
    },
    /// Runs a command.
    Run(Command),
}

/// A command to run.
#[derive(Clone, Debug)]
pub struct Command {
    /// The runtime under which it runs.
    pub kind: Kind,
    /// The command and its arguments; the compiler's arguments alone.
    pub words: Vec<String>,
    /// Its standard input.
    pub input: Input,
    /// Its environment.
    pub env: BTreeMap<String, String>,
    /// Its working directory.
    pub folder: PathBuf,
    /// The exit code that the header expects. It is checked only for build steps.
    pub exit: i32,
}

/// A standard input.
#[derive(Clone, Debug)]
pub enum Input {
    /// Nothing.
    Empty,
    /// A file.
    File(PathBuf),
    /// The phrases of a test of the toplevel's answers, without the answers.
    Phrases(PathBuf),
}

/// A path down a header's tree.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The source's name below the suite's `tests`; if it is not the first path, followed by `@` and its position in
    /// the tree.
    pub name: String,
    /// The folder in which everything happens.
    pub folder: PathBuf,
    /// The steps, or the reason to leave it out.
    pub steps: Result<Vec<Step>, Reason>,
}

/// The folders of the suite and of its cases.
#[derive(Clone, Debug)]
pub struct Places {
    /// The version's programs.
    pub tools: Tools,
    /// Its `ocamlc.byte`, as a program to be tested.
    pub compiler: PathBuf,
    /// OCaml's sources.
    pub sources: PathBuf,
    /// The suite's own libraries, compiled.
    pub helpers: PathBuf,
    /// The folder that has a folder for each case.
    pub runs: PathBuf,
    /// Whether there is a C compiler.
    pub compiles_c: bool,
}

/// Plans every path down the header of `file`, which is relative to the suite's `tests`.
///
/// # Errors
///
/// If the header uses an unknown word.
pub fn plans(places: &Places, file: &str, header: &Header) -> Result<Vec<Plan>> {
    let node = |name: &str| Node { name: name.to_owned(), settings: Vec::new(), then: Vec::new() };
    // A header without actions means these two.
    let default = [node("bytecode"), node("native")];
    let tests = if header.tests.is_empty() { &default[..] } else { &header.tests };
    let mut plans = Vec::new();
    let mut tree = Tree { places, file, root: &header.settings, plans: &mut plans };
    tree.walk(tests, &mut Vec::new(), &mut Vec::new()).with_context(|| file.to_owned())?;
    leave_out_repeated(&mut plans);
    Ok(plans)
}

struct Tree<'a> {
    places: &'a Places,
    file: &'a str,
    root: &'a [Setting],
    plans: &'a mut Vec<Plan>,
}

/// A step down a tree: the action, and its earlier siblings.
type Turn<'a> = (&'a [Node], &'a Node);

impl<'a> Tree<'a> {
    fn walk(&mut self, nodes: &'a [Node], place: &mut Vec<usize>, way: &mut Vec<Turn<'a>>) -> Result<()> {
        for (index, node) in nodes.iter().enumerate() {
            place.push(index + 1);
            way.push((&nodes[..index], node));
            self.walk(&node.then, place, way)?;
            if node.then.is_empty() {
                let plan = self.plan(place, way)?;
                self.plans.push(plan);
            }
            way.pop();
            place.pop();
        }
        Ok(())
    }

    fn plan(&self, place: &[usize], way: &[Turn<'_>]) -> Result<Plan> {
        let mut name = self.file.to_owned();
        if place.iter().any(|&index| index != 1) {
            let place: Vec<String> = place.iter().map(usize::to_string).collect();
            name = format!("{name}@{}", place.join("."));
        }
        let folder = self.places.runs.join(&name);
        let mut state = State::new(self.places, self.file, &folder, self.root)?;
        for (before, node) in way {
            if !state.steps.is_empty() {
                before.iter().for_each(|node| state.take_for_granted(node));
            }
            if let Err(stop) = state.perform(node) {
                let steps = Err(stop.downcast::<Reason>()?);
                return Ok(Plan { name, folder, steps });
            }
        }
        Ok(Plan { name, folder, steps: state.done() })
    }
}

/// The state on the way down.
#[derive(Debug)]
pub struct State {
    /// The variables.
    pub variables: Variables,
    /// What is to be done.
    pub steps: Vec<Step>,
    /// Where.
    pub current: PathBuf,
    /// The folder of the case.
    pub folder: PathBuf,
    /// The folder of the source.
    pub source: PathBuf,
    /// The version's programs.
    pub tools: Tools,
    compiler: PathBuf,
    libraries: Libraries,
    /// Whether there is a C compiler.
    pub(super) compiles_c: bool,
}

impl State {
    fn new(places: &Places, file: &str, folder: &Path, root: &[Setting]) -> Result<Self> {
        let path = places.sources.join("testsuite/tests").join(file);
        let source = path.parent().context("a test is in a folder")?.to_path_buf();
        let mut variables = Variables::default();
        variables.set("test_file", path.file_name().unwrap_or_default().to_string_lossy());
        variables.set("test_source_directory", source.to_string_lossy());
        variables.set("test_build_directory_prefix", folder.to_string_lossy());
        variables.set("ocamlsrcdir", places.sources.to_string_lossy());
        let fixed = [
            ("MAKE", "make"),
            ("TERM", "dumb"),
            ("TEST_PASS", "0"),
            ("TEST_FAIL", "1"),
            ("TEST_SKIP", "125"),
            ("arch", "amd64"),
            ("cc", "gcc"),
            ("libext", "a"),
            ("objext", "o"),
            ("os_type", "Unix"),
            ("sharedobjext", "so"),
        ];
        for (name, value) in fixed {
            variables.set(name, value);
        }
        if file.ends_with(".ml.c") {
            // OCaml code for the preprocessor, which has had two names.
            ["c_preprocessor", "cpp"].into_iter().for_each(|name| variables.set(name, "gcc -E -P"));
        }
        variables.set("ocamlc_byte", places.compiler.to_string_lossy());
        variables.set("ocamlrun", places.tools.ocamlrun());
        let libraries = Libraries {
            helpers: places.helpers.to_string_lossy().into_owned(),
            have_folders: places.tools.version.library_folders,
        };
        variables.apply(root, &libraries)?;
        let mut sources: Vec<String> =
            ["plugins", "modules", "test_file"].iter().flat_map(|name| variables.words(name)).collect();
        for index in (0..sources.len()).rev() {
            let interface = sources[index].strip_suffix(".ml").map(|stem| format!("{stem}.mli"));
            if let Some(interface) = interface.filter(|interface| source.join(interface).exists()) {
                sources.insert(index, interface);
            }
        }
        variables.set("all_modules", sources.join(" "));
        Ok(Self {
            variables,
            steps: Vec::new(),
            current: folder.to_path_buf(),
            folder: folder.to_path_buf(),
            source,
            tools: places.tools.clone(),
            compiler: places.compiler.clone(),
            libraries,
            compiles_c: places.compiles_c,
        })
    }

    fn perform(&mut self, node: &Node) -> Result<()> {
        self.variables.apply(&node.settings, &self.libraries)?;
        actions::actions_of(&node.name).into_iter().try_for_each(|action| actions::perform(action, self))
    }

    /// Executes earlier siblings, which leave files for this path but no settings, and are compared separately.
    fn take_for_granted(&mut self, node: &Node) {
        let variables = self.variables.clone();
        let old = self.steps.len();
        if self.perform(node).is_ok() {
            node.then.iter().for_each(|node| self.take_for_granted(node));
        }
        self.variables = variables;
        let new = self.steps.split_off(old).into_iter().filter(|step| !step.is_compared());
        let compiler = self.tools.program("ocamlc");
        self.steps.extend(new.map(|step| step.granted(&compiler)));
    }

    /// Adds a step that runs something here.
    pub fn run(&mut self, kind: Kind, words: Vec<String>, input: Input, exit: i32) {
        let env = self.tools.with_env(&self.variables.exported());
        self.steps.push(Step::Run(Command { kind, words, input, env, folder: self.current.clone(), exit }));
    }

    /// The steps. If nothing else is compared, the compiler is.
    fn done(mut self) -> Result<Vec<Step>, Reason> {
        if self.steps.iter().any(Step::is_compared) {
            return Ok(self.steps);
        }
        for step in &mut self.steps {
            if let Step::Run(command @ Command { kind: Kind::Compiler, .. }) = step {
                command.kind = Kind::Program;
                command.words.insert(0, self.compiler.to_string_lossy().into_owned());
            }
        }
        if self.steps.iter().any(Step::is_compared) { Ok(self.steps) } else { Err(Reason::NoBytecode) }
    }
}

impl Step {
    /// Whether it runs under the tested runtime.
    pub fn is_compared(&self) -> bool {
        matches!(self, Self::Run(command) if command.kind.is_compared())
    }

    /// Converts it to a step that is executed regardless of the steps after it.
    fn granted(mut self, compiler: &str) -> Self {
        if let Self::Run(command @ Command { kind: Kind::Compiler, .. }) = &mut self {
            command.kind = Kind::Tool;
            command.words.insert(0, compiler.to_owned());
        }
        self
    }
}

/// A key that is equal for paths that differ only after their last compared step.
fn leave_out_repeated(plans: &mut [Plan]) {
    let told = |plan: &Plan| -> Option<String> {
        let steps = plan.steps.as_ref().ok()?;
        let last = steps.iter().rposition(Step::is_compared)?;
        Some(format!("{:?}", &steps[..=last]).replace(&*plan.folder.to_string_lossy(), ""))
    };
    let texts: Vec<Option<String>> = plans.iter().map(told).collect();
    for index in 1..plans.len() {
        if texts[index].is_some() && texts[..index].contains(&texts[index]) {
            plans[index].steps = Err(Reason::Repeated);
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NativeCode => "native code",
            Self::CCode => "has C code, and there is no C compiler here",
            Self::CustomRuntime => "links a runtime of its own, which Spelter replaces",
            Self::Embedded => "makes a C program, or an object for one",
            Self::OtherSystem => "for another system, processor or configuration of OCaml",
            Self::Skipped => "skipped by its own header or script",
            Self::BuildTree => "needs programs that exist only where OCaml was built",
            Self::NoTool => "needs a tool that this build of OCaml lacks",
            Self::NoBytecode => "runs no bytecode",
            Self::NotBuilt => "the installed compiler does not build it as its header says",
            Self::Changing => "answers differently each time under ocamlrun",
            Self::TooLong => "ocamlrun is not done within the limit",
            Self::Repeated => "repeats another case of the same file",
        })
    }
}

impl std::error::Error for Reason {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ocaml::Version;

    fn places(sources: PathBuf, helpers: PathBuf, runs: PathBuf) -> Places {
        let tools = Tools {
            version: Version::of_system(),
            programs: "/usr/bin".into(),
            library: "/usr/lib/ocaml".into(),
            env: BTreeMap::new(),
        };
        let compiler = tools.program("ocamlc.byte").into();
        Places { tools, compiler, sources, helpers, runs, compiles_c: true }
    }

    fn plans_of(source: &str) -> Vec<Plan> {
        let folder = |name: &str| PathBuf::from("/suite").join(name);
        let places = places(folder("s"), folder("h"), folder("r"));
        plans(&places, "area/test.ml", &Header::of_source(source).unwrap().unwrap()).unwrap()
    }

    fn lines(plan: &Plan) -> Vec<String> {
        let commands = plan.steps.iter().flatten().filter_map(|step| match step {
            Step::Run(command) => Some(format!("{:?} {}", command.kind, command.words.join(" "))),
            Step::Furnish { .. } => None,
        });
        commands.collect()
    }

    #[test]
    fn without_actions_a_program_is_built_and_run() {
        let plans = plans_of("(* TEST flags = \"-g\" arguments = \"x y\" include unix *)");
        assert_eq!(plans.len(), 2);
        let program = "/suite/r/area/test.ml/ocamlc.byte/test.byte";
        let expected =
            [format!("Compiler -g unix.cma -o {program} test.ml"), format!("Program {program} x y")];
        assert_eq!(lines(&plans[0]), expected);
        assert_eq!(
            (plans[1].name.as_str(), plans[1].steps.as_ref().err()),
            ("area/test.ml@2", Some(&Reason::NativeCode))
        );
    }

    #[test]
    fn the_compiler_is_compared_where_nothing_runs() {
        let plans = plans_of("(* TEST * setup-ocamlc.byte-build-env ** ocamlc.byte module = \"a.ml\" *)");
        assert_eq!(lines(&plans[0]), ["Program /usr/bin/ocamlc.byte -c a.ml"]);
    }

    #[test]
    fn what_comes_earlier_beside_the_way_is_done() {
        let header =
            "(* TEST * setup-ocamlc.byte-build-env ** ocamlc.byte module = \"a.ml\" ** ocamlc.byte ** run *)";
        let plans = plans_of(header);
        assert_eq!(plans.len(), 3);
        assert_eq!(lines(&plans[2])[0], "Tool /usr/bin/ocamlc -c a.ml");
        assert!(lines(&plans[2])[1].starts_with("Tool /usr/bin/ocamlc -o "), "{:?}", lines(&plans[2]));
        assert!(lines(&plans[2])[2].starts_with("Program /suite/"), "{:?}", lines(&plans[2]));
    }

    #[test]
    fn ways_that_part_too_late_are_one() {
        let plans = plans_of("(* TEST * bytecode ** check-program-output ** pass *)");
        assert!(plans[0].steps.is_ok());
        assert_eq!(plans[1].steps.as_ref().err(), Some(&Reason::Repeated));
    }

    #[test]
    fn an_unknown_action_is_no_reason() {
        let places = places("/s".into(), "/h".into(), "/r".into());
        let header = Header::of_source("(* TEST * fly *)").unwrap().unwrap();
        let error = plans(&places, "a/b.ml", &header).err().map(|error| format!("{error:#}"));
        assert!(error.as_deref().is_some_and(|why| why.contains("fly")), "{error:?}");
    }
}
