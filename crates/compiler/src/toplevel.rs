//! OCaml's own toplevel, phrase by phrase.

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use spelter::{Access, Bytes, Captured, HostFunction, InterruptHandle, MemoryDir, Vm, VmBuilder, World};
use spelter_bytecode::Executable;
use spelter_bytecode::exe::ExecutableBuilder;

use crate::compiler::included;
use crate::diagnostics::{Diagnostic, read};
use crate::error::Error;
use crate::installation::Installation;

/// The script that prepares the toplevel.
const SCRIPT: &str = include_str!("toplevel.ml");

/// The file of phrases, in the toplevel's directory. (The script reads it under a name that is unlike any other.)
const FILE: &str = "phrases";

/// How the toplevel begins a message about lines of a file, and how it begins one about lines that a user has typed.
const TYPED: [(&str, &str); 2] =
    [("File \"//spelter/phrases\", line ", "Line "), ("File \"//spelter/phrases\", lines ", "Lines ")];

/// The directory of the script, and of that file.
const DIRECTORY: &str = "spelter";

/// As much may phrases take, and the toplevel's own file.
const WORK: usize = 64 << 20;

/// What a toplevel's phrases are to get.
#[derive(Default)]
pub struct ToplevelBuilder {
    vm: VmBuilder,
    primitives: Vec<String>,
    world: Option<World>,
    includes: Vec<PathBuf>,
    flags: Vec<String>,
    fuel: Option<u64>,
    time_limit: Option<Duration>,
}

impl ToplevelBuilder {
    /// Changes settings of the toplevel's machine, such as the limits of its heap.
    pub fn vm(mut self, change: impl FnOnce(VmBuilder) -> VmBuilder) -> Self {
        self.vm = change(self.vm);
        self
    }

    /// Registers a Rust function that phrases can call: they declare it as `external f : int -> int = "name"`.
    pub fn primitive<A, F: HostFunction<A> + Send + 'static>(mut self, name: &str, f: F) -> Self {
        self.primitives.push(name.to_owned());
        self.vm = self.vm.primitive(name, f);
        self
    }

    /// What phrases can reach, in addition to OCaml's library. Standard output and standard error are those of the
    /// answers.
    pub fn world(mut self, world: World) -> Self {
        self.world = Some(world);
        self
    }

    /// A folder in which phrases find units and libraries (`-I`): a path, or as `+unix` one in OCaml's library directory.
    pub fn include(mut self, folder: impl AsRef<Path>) -> Self {
        self.includes.push(folder.as_ref().to_owned());
        self
    }

    /// An option of `ocaml`: `-principal`; those with arguments are two, `-w` and `+a`.
    pub fn flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// Lets each evaluation burn as much fuel, including what its compilation burns: see
    /// [`VmBuilder::fuel`](spelter::VmBuilder::fuel).
    pub fn fuel(mut self, units: u64) -> Self {
        self.fuel = Some(units);
        self
    }

    /// Limits the time of each evaluation.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = Some(limit);
        self
    }

    /// Starts the toplevel.
    ///
    /// # Errors
    /// When a file of the installation is missing, or the toplevel cannot start.
    pub fn start(self, installation: &Installation) -> Result<Toplevel, Error> {
        if !installation.has("compiler-libs/toploop.cmi") {
            return Err(Error::Missing {
                file: "compiler-libs/toploop.cmi".to_owned(),
                place: format!("in {}", installation.library()),
                help: "install the compiler's interfaces (Debian: apt-get install ocaml-compiler-libs)",
            });
        }
        let program = with_primitives(&installation.toplevel()?, &self.primitives)?;
        let [stdout, stderr] = <[Captured; 2]>::default();
        let files = MemoryDir::new(WORK);
        let io = |error| Error::Io { path: FILE.to_owned(), error };
        files.write("start.ml", SCRIPT).map_err(io)?;

        // The toplevel asks for the time, and does not depend on it, unless phrases do.
        let world = self.world.unwrap_or_else(|| World::nothing().seed(0).clock(|| UNIX_EPOCH));
        let world =
            world.stdout(stdout.clone()).stderr(stderr.clone()).memory(DIRECTORY, &files, Access::ReadOnly);
        let mut world = installation.grant(world)?;
        let mut command = vec!["ocaml".to_owned(), "-noinit".to_owned(), "-no-version".to_owned()];
        for (number, folder) in self.includes.iter().enumerate() {
            let (name, granted) = included(world, number, folder)?;
            world = granted;
            command.extend(["-I".to_owned(), name]);
        }
        command.extend(self.flags);
        command.extend(["-I", "+compiler-libs", "/spelter/start.ml"].map(str::to_owned));
        // It reads its own file.
        files.write("ocaml", program.clone()).map_err(io)?;
        let mut vm = self.vm.args(command).executable_name(format!("/{DIRECTORY}/ocaml")).world(world);
        if self.fuel.is_some() {
            vm = vm.fuel(u64::MAX);
        }
        let mut vm = vm.build();
        vm.run_bytes("ocaml", &program)?;
        vm.set_time_limit(self.time_limit);
        let mut toplevel = Toplevel { vm, fuel: self.fuel, files, stdout, stderr };
        // What does not belong to phrases is removed.
        toplevel.eval("").map_err(|e| toplevel.failed(e))?;
        Ok(toplevel)
    }
}

/// The program with more names of primitives: the toplevel knows only those that its file names.
fn with_primitives(program: &[u8], names: &[String]) -> Result<Vec<u8>, Error> {
    let bad = |e: spelter_bytecode::Error| Error::BadFile { file: "ocaml".to_owned(), reason: e.to_string() };
    let program = Executable::read(program).map_err(bad)?;
    let mut builder = ExecutableBuilder::new(program.dialect());
    for section in program.sections() {
        let mut data = section.data.clone();
        if &section.name == b"PRIM" {
            data.extend(names.iter().flat_map(|name| name.bytes().chain([0])));
        }
        builder = builder.section(section.name, data);
    }
    Ok(builder.finish().map_err(bad)?.write())
}

/// OCaml's own toplevel (`ocaml`) in a machine: it evaluates phrases, and what they define is there for the next ones.
///
/// ```
/// use spelter_compiler::{Installation, Toplevel};
///
/// let mut toplevel = Toplevel::new(&Installation::find()?)?;
/// toplevel.eval("let square x = x * x")?;
/// let answer = toplevel.eval("print_string \"hello\"; List.map square [1; 2; 3]")?;
/// assert_eq!(answer.text, "- : int list = [1; 4; 9]\n");
/// assert_eq!(answer.printed, "hello");
///
/// let answer = toplevel.eval("square \"two\"")?;
/// assert!(!answer.good);
/// assert!(answer.diagnostics[0].message.starts_with("This"));
/// # Ok::<(), spelter_compiler::Error>(())
/// ```
pub struct Toplevel {
    vm: Vm,
    fuel: Option<u64>,
    files: MemoryDir,
    stdout: Captured,
    stderr: Captured,
}

/// What a toplevel answers to phrases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Whether all phrases were evaluated. Otherwise one has a type error or raised an exception, which `text` tells; those
    /// before it were evaluated, and those after it not.
    pub good: bool,
    /// What the toplevel prints: warnings, then names, types and values (`val x : int = 3`), then the error.
    pub text: String,
    /// Errors and warnings, taken apart. Exceptions are not among them.
    pub diagnostics: Vec<Diagnostic>,
    /// What the phrases themselves wrote to standard output.
    pub printed: String,
    /// What they wrote to standard error.
    pub error_output: String,
}

impl Toplevel {
    /// A toplevel whose phrases reach nothing outside it, without limits.
    ///
    /// # Errors
    /// As [`ToplevelBuilder::start`].
    pub fn new(installation: &Installation) -> Result<Toplevel, Error> {
        ToplevelBuilder::default().start(installation)
    }

    /// Settings for a toplevel.
    pub fn builder() -> ToplevelBuilder {
        ToplevelBuilder::default()
    }

    /// Evaluates phrases. All are read before the first is evaluated, so a syntax error in any of them evaluates none. The
    /// last `;;` may be absent.
    ///
    /// # Errors
    /// [`Error::Machine`] when a limit is exceeded, the call is interrupted, or a phrase calls `exit`. What earlier phrases
    /// have defined remains, and the toplevel can be used again. [`Toplevel::rest`] has what was printed
    /// until then, or else the next answer.
    pub fn eval(&mut self, phrases: &str) -> Result<Answer, Error> {
        if let Some(units) = self.fuel {
            self.vm.set_fuel(units)?;
        }
        self.files.write(FILE, phrases).map_err(|error| Error::Io { path: FILE.to_owned(), error })?;
        let (good, warnings, answers): (bool, Bytes, Bytes) = self.vm.call("spelter.eval", ((),))?;
        let (printed, error_output) = self.taken();
        let text = |bytes: &Bytes| typed(&String::from_utf8_lossy(&bytes.0));
        let (warnings, answers) = (text(&warnings), text(&answers));
        // After a message, the toplevel begins the next answer with an empty line.
        let answers = answers.trim_start_matches('\n');
        let mut diagnostics = read(&warnings);
        diagnostics.extend(read(answers));
        Ok(Answer { good, text: warnings + answers, diagnostics, printed, error_output })
    }

    /// What was printed by an evaluation that has ended with an error: the rest of the answer is empty.
    pub fn rest(&mut self) -> Answer {
        let (printed, error_output) = self.taken();
        Answer { printed, error_output, ..Answer::default() }
    }

    /// A handle with which another thread can stop the next evaluation, or the current one.
    pub fn interrupt_handle(&self) -> InterruptHandle {
        self.vm.interrupt_handle()
    }

    /// Sets the fuel of each later evaluation, if the toplevel was started with some.
    pub fn set_fuel(&mut self, units: u64) {
        self.fuel = self.fuel.map(|_| units);
    }

    /// Sets or removes the limit of the time of each later evaluation.
    pub fn set_time_limit(&mut self, limit: Option<Duration>) {
        self.vm.set_time_limit(limit);
    }

    /// The machine, to call what phrases have registered with `Callback.register`.
    pub fn vm(&mut self) -> &mut Vm {
        &mut self.vm
    }

    /// What was written since the last time.
    fn taken(&mut self) -> (String, String) {
        self.vm.output(); // flushes channels
        let text = |captured: &Captured| String::from_utf8_lossy(&captured.take()).into_owned();
        (text(&self.stdout), text(&self.stderr))
    }

    /// Why the toplevel has not started: what it printed says more than that a function is missing.
    fn failed(&mut self, e: Error) -> Error {
        let (_, told) = self.taken();
        match told.trim() {
            "" => e,
            told => Error::BadFile { file: "ocaml".to_owned(), reason: told.to_owned() },
        }
    }
}

/// What a toplevel says about phrases that are typed.
fn typed(text: &str) -> String {
    let line = |line: &str| {
        let found = TYPED.iter().find_map(|(from, to)| Some([to, line.strip_prefix(from)?].concat()));
        found.unwrap_or_else(|| line.to_owned())
    };
    text.split_inclusive('\n').map(line).collect()
}
