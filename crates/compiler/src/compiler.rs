//! Compiling and linking: each time `ocamlc.byte` runs afresh in a machine of its own, on files in memory.

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use spelter::{Access, Captured, HeapConfig, MemoryDir, Outcome, Vm, World};

use crate::diagnostics::{Diagnostic, Diagnostics, Severity, read};
use crate::error::Error;
use crate::installation::Installation;

/// As much may the files of one compilation take.
const WORK: usize = 512 << 20;

/// The name of a linked program.
const PROGRAM: &str = "program.byte";

/// OCaml's own compiler, `ocamlc`. Each compilation runs it in a new machine, which sees OCaml's library, the folders
/// given to [`include`](Compiler::include), and files in memory: nothing is written to the system.
///
/// A compilation is as long as with `ocamlrun ocamlc.byte`, since the same program does it.
#[derive(Debug)]
pub struct Compiler {
    installation: Installation,
    program: Vec<u8>,
    includes: Vec<PathBuf>,
    flags: Vec<String>,
    debug: bool,
    limits: Limits,
    host: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Limits {
    time: Option<Duration>,
    fuel: Option<u64>,
    words: Option<usize>,
}

/// A compiled unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// Its file's name without extension: `rule`.
    pub name: String,
    /// The content of its `.cmo` file, for [`Vm::load_bytes`].
    pub cmo: Vec<u8>,
    /// The content of its `.cmi` file, for [`Unit::with_interface`](spelter::Unit::with_interface).
    pub cmi: Vec<u8>,
    /// The compiler's warnings.
    pub warnings: Vec<Diagnostic>,
}

/// The source of a unit, and what it sees of others.
#[derive(Clone, Debug)]
pub struct Source {
    name: String,
    implementation: String,
    interface: Option<String>,
    /// Interfaces of other units.
    others: Vec<(String, Vec<u8>)>,
}

impl Source {
    /// The unit whose implementation (`rule.ml`) is this text.
    pub fn new(name: impl Into<String>, implementation: impl Into<String>) -> Source {
        let (name, implementation) = (name.into(), implementation.into());
        Source { name, implementation, interface: None, others: Vec::new() }
    }

    /// With this interface (`rule.mli`). Without one, everything is visible.
    pub fn interface(mut self, text: impl Into<String>) -> Source {
        self.interface = Some(text.into());
        self
    }

    /// It may use this unit, which has been compiled before; and, of what that one uses, only what is named here, too.
    pub fn uses(self, unit: &Compiled) -> Source {
        self.uses_interface(&unit.name, unit.cmi.clone())
    }

    /// It may use a unit with this compiled interface (the content of its `.cmi` file).
    pub fn uses_interface(mut self, name: impl Into<String>, cmi: impl Into<Vec<u8>>) -> Source {
        self.others.push((name.into(), cmi.into()));
        self
    }
}

/// What a program is linked from, in this order: libraries, then units.
#[derive(Clone, Debug, Default)]
pub struct Link<'a> {
    libraries: Vec<String>,
    units: Vec<&'a Compiled>,
    all: bool,
}

impl<'a> Link<'a> {
    /// The standard library only, of which the parts are linked that the units need.
    pub fn new() -> Link<'a> {
        Link::default()
    }

    /// Adds a library of the installation or of an included folder: `str.cma`.
    pub fn library(mut self, name: impl Into<String>) -> Link<'a> {
        self.libraries.push(name.into());
        self
    }

    /// Adds a unit; its initialiser runs after those of the units before it.
    pub fn unit(mut self, unit: &'a Compiled) -> Link<'a> {
        self.units.push(unit);
        self
    }

    /// Links everything that is in the libraries, whether the units need it or not: for programs that load plug-ins.
    pub fn all(mut self) -> Link<'a> {
        self.all = true;
        self
    }
}

/// What a run of the compiler has left.
struct Run {
    work: MemoryDir,
    succeeded: bool,
    stdout: String,
    diagnostics: Vec<Diagnostic>,
}

impl Compiler {
    /// A compiler of this installation.
    ///
    /// # Errors
    /// When the installation has no `ocamlc.byte` of its library's version.
    pub fn new(installation: Installation) -> Result<Compiler, Error> {
        let program = installation.compiler()?;
        Ok(Compiler {
            installation,
            program,
            includes: Vec::new(),
            flags: Vec::new(),
            debug: true,
            limits: Limits::default(),
            host: None,
        })
    }

    /// The installation.
    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    /// Also looks up interfaces and libraries in this folder (`-I`). A name that begins with `+` is one in OCaml's library
    /// directory: `+unix`.
    pub fn include(mut self, folder: impl AsRef<Path>) -> Compiler {
        self.includes.push(folder.as_ref().to_owned());
        self
    }

    /// Passes an option to each compilation: `-principal`; those with arguments are two, `-w` and `+a`.
    pub fn flag(mut self, flag: impl Into<String>) -> Compiler {
        self.flags.push(flag.into());
        self
    }

    /// Whether units have debug data (`-g`), from which backtraces get their lines. They do by default.
    pub fn debug(mut self, debug: bool) -> Compiler {
        self.debug = debug;
        self
    }

    /// Limits the time of each compilation.
    pub fn time_limit(mut self, limit: Duration) -> Compiler {
        self.limits.time = Some(limit);
        self
    }

    /// Limits the fuel of each compilation: see [`VmBuilder::fuel`](spelter::VmBuilder::fuel). Starting the compiler burns
    /// some hundred thousand units.
    pub fn fuel(mut self, units: u64) -> Compiler {
        self.limits.fuel = Some(units);
        self
    }

    /// Limits the heap of each compilation, in bytes. The compiler needs some 20 MiB.
    pub fn memory_limit(mut self, bytes: usize) -> Compiler {
        self.limits.words = Some(bytes / size_of::<usize>());
        self
    }

    /// Compiles a unit that uses only the standard library and included folders; its file is `name.ml`.
    ///
    /// # Errors
    /// [`Error::Rejected`] with the compiler's messages; [`Error::Machine`] when a limit is exceeded.
    pub fn compile(&self, name: &str, source: &str) -> Result<Compiled, Error> {
        self.compile_source(&Source::new(name, source))
    }

    /// Compiles a unit.
    ///
    /// # Errors
    /// As [`Compiler::compile`].
    pub fn compile_source(&self, source: &Source) -> Result<Compiled, Error> {
        let name = source.name.as_str();
        let (work, mut files) = self.sources(source)?;
        put(&work, &format!("{name}.ml"), source.implementation.as_bytes())?;
        files.push(format!("{name}.ml"));
        let run = self.run(work, ["-c".to_owned()].into_iter().chain(files))?.accepted()?;
        let (cmo, cmi) = (run.take(&format!("{name}.cmo"))?, run.take(&format!("{name}.cmi"))?);
        Ok(Compiled { name: name.to_owned(), cmo, cmi, warnings: run.diagnostics })
    }

    /// Compiles an interface (`name.mli`) alone: the content of its `.cmi` file. Units that use it can be compiled, and
    /// their host provides the module when they are loaded.
    ///
    /// # Errors
    /// As [`Compiler::compile`].
    pub fn compile_interface(&self, name: &str, source: &str) -> Result<Vec<u8>, Error> {
        let (work, files) = self.sources(&Source::new(name, "").interface(source))?;
        let run = self.run(work, ["-c".to_owned()].into_iter().chain(files))?.accepted()?;
        run.take(&format!("{name}.cmi"))
    }

    /// The interface that a source would have without an `.mli` file, as `ocamlc -i` prints it.
    ///
    /// # Errors
    /// As [`Compiler::compile`].
    pub fn infer_interface(&self, name: &str, source: &str) -> Result<String, Error> {
        let (work, _) = self.sources(&Source::new(name, ""))?;
        put(&work, &format!("{name}.ml"), source.as_bytes())?;
        Ok(self.run(work, ["-i".to_owned(), format!("{name}.ml")])?.accepted()?.stdout)
    }

    /// Links units, in this order, with what they need of the standard library, to a bytecode executable: for
    /// [`Vm::run_bytes`], or for `ocamlrun` as a file.
    ///
    /// # Errors
    /// As [`Compiler::compile`].
    pub fn program(&self, units: &[&Compiled]) -> Result<Vec<u8>, Error> {
        self.link(&units.iter().fold(Link::new(), |link, unit| link.unit(unit)))
    }

    /// Links a program.
    ///
    /// # Errors
    /// As [`Compiler::compile`].
    pub fn link(&self, link: &Link<'_>) -> Result<Vec<u8>, Error> {
        let work = MemoryDir::new(WORK);
        let mut args = vec!["-o".to_owned(), PROGRAM.to_owned()];
        if self.installation.has("stublibs") {
            // Libraries that have moved since they were installed are not where `ld.conf` says.
            args.extend(["-I", "+stublibs"].map(str::to_owned));
        }
        args.extend(link.all.then(|| "-linkall".to_owned()));
        args.extend(link.libraries.iter().cloned());
        for unit in &link.units {
            check_name(&unit.name)?;
            put(&work, &format!("{}.cmo", unit.name), &unit.cmo)?;
            put(&work, &format!("{}.cmi", unit.name), &unit.cmi)?;
            args.push(format!("{}.cmo", unit.name));
        }
        self.run(work, args)?.accepted()?.take(PROGRAM)
    }

    /// A program that has the whole standard library and does nothing: a machine that runs it can load units that use any
    /// part of it. It is linked once.
    ///
    /// # Errors
    /// As [`Compiler::compile`].
    pub fn host(&mut self) -> Result<&[u8], Error> {
        if self.host.is_none() {
            let unit = self.compile("spelter_host", "")?;
            self.host = Some(self.link(&Link::new().all().unit(&unit))?);
        }
        Ok(self.host.as_deref().unwrap_or_default())
    }

    /// A directory with a unit's interface and those that it uses, and the files to compile.
    fn sources(&self, source: &Source) -> Result<(MemoryDir, Vec<String>), Error> {
        check_name(&source.name)?;
        let work = MemoryDir::new(WORK);
        let mut files = Vec::new();
        for (other, cmi) in &source.others {
            check_name(other)?;
            put(&work, &format!("{other}.cmi"), cmi)?;
        }
        if let Some(interface) = &source.interface {
            files.push(format!("{}.mli", source.name));
            put(&work, &format!("{}.mli", source.name), interface.as_bytes())?;
        }
        Ok((work, files))
    }

    fn run(&self, work: MemoryDir, args: impl IntoIterator<Item = String>) -> Result<Run, Error> {
        let [stdout, stderr] = <[Captured; 2]>::default();
        let world = World::nothing().stdout(stdout.clone()).stderr(stderr.clone());
        // What the compiler asks for but does not depend on: names of files that it renames, times that it does not print.
        let world = world.seed(0).clock(|| UNIX_EPOCH).memory("", &work, Access::ReadWrite);
        let mut world = self.installation.grant(world)?;
        let mut command = vec!["ocamlc".to_owned()];
        command.extend(self.debug.then(|| "-g".to_owned()));
        for (number, folder) in self.includes.iter().enumerate() {
            let (name, granted) = included(world, number, folder)?;
            world = granted;
            command.extend(["-I".to_owned(), name]);
        }
        command.extend(self.flags.iter().cloned());
        command.extend(args);

        let mut builder = Vm::builder().args(command).world(world);
        if let Some(limit) = self.limits.time {
            builder = builder.time_limit(limit);
        }
        if let Some(units) = self.limits.fuel {
            builder = builder.fuel(units);
        }
        builder = builder.heap(HeapConfig { max_words: self.limits.words, ..HeapConfig::default() });
        let outcome = builder.build().run_bytes("ocamlc", &self.program)?;
        let text = |captured: &Captured| String::from_utf8_lossy(&captured.take()).into_owned();
        let (stdout, stderr) = (text(&stdout), text(&stderr));
        let succeeded = matches!(outcome, Outcome::Finished | Outcome::Exited(0));
        let mut diagnostics = read(&stderr);
        if !succeeded && !diagnostics.iter().any(|one| one.severity == Severity::Error) {
            // Not about a place in the source: an unknown option, a library that is not there.
            diagnostics.push(Diagnostic {
                severity: Severity::Error,
                code: None,
                file: None,
                span: None,
                message: stderr.trim().to_owned(),
                text: stderr,
            });
        }
        Ok(Run { work, succeeded, stdout, diagnostics })
    }
}

impl Run {
    fn accepted(self) -> Result<Run, Error> {
        if self.succeeded { Ok(self) } else { Err(Error::Rejected(Diagnostics(self.diagnostics))) }
    }

    /// A file that the compiler has made.
    fn take(&self, name: &str) -> Result<Vec<u8>, Error> {
        self.work.read(name).ok_or_else(|| Error::Missing {
            file: name.to_owned(),
            place: "among the files that the compiler has made".to_owned(),
            help: "see which options it was given",
        })
    }
}

/// Grants an included folder; returns its name for the compiler.
pub(crate) fn included(world: World, number: usize, folder: &Path) -> Result<(String, World), Error> {
    match folder.to_str() {
        // In the library, which has been granted.
        Some(name) if name.starts_with('+') => Ok((name.to_owned(), world)),
        _ => {
            let name = format!("/include/{number}");
            let io = |error| Error::Io { path: folder.display().to_string(), error };
            let world = world.dir(&name, folder, Access::ReadOnly).map_err(io)?;
            Ok((name, world))
        }
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    let good = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '\'');
    if good { Ok(()) } else { Err(Error::Name { name: name.to_owned() }) }
}

fn put(work: &MemoryDir, name: &str, bytes: &[u8]) -> Result<(), Error> {
    work.write(name, bytes).map_err(|error| Error::Io { path: name.to_owned(), error })
}
