//! The host's interface to a machine: run a program, load units, call what they registered.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use spelter_bytecode::exe::SharedLibrary;
use spelter_bytecode::obj::CompilationUnit;
use spelter_dynlink::explain::{self, WhyAlive};
use spelter_dynlink::{LinkError, Linked, Linker, ModuleSlots, Namespace, Strategy, Visibility};
use spelter_heap::{Config, Mode};
use spelter_interp::inspect::debugger::Stop;
use spelter_interp::{
    CallScope, Dispatch, Engine, InterruptHandle, Limit, Machine, Panicked, Params, Profile, Raise, Settings,
};
use spelter_interp::{CodeEvents, UnitId};
use spelter_primitives::world::{Captured, World};
use spelter_primitives::{printexc, runtime_events};

use crate::context::{Context, Local};
use crate::convert::{Args, FromOcaml, Value};
use crate::deadlines::Deadline;
use crate::error::Error;
use crate::host::HostFunction;
use crate::library::{LibrariesOf, Library};
use crate::program::{Program, Source};
use crate::stats::Stats;
use crate::trust;
use crate::uncaught;
use crate::unit::Unit;
use crate::wrong_type::WrongType;

/// How a program ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It ran to its end.
    Finished,
    /// It called `exit`.
    Exited(i32),
}

type Registration = Box<dyn FnOnce(&mut Machine) + Send>;

/// Settings for a new machine.
#[derive(Default)]
pub struct VmBuilder {
    pub(crate) settings: Settings,
    strategy: Strategy,
    module_slots: ModuleSlots,
    primitives: Vec<Registration>,
    fuel: Option<u64>,
    pub(crate) fuel_per_poll: Option<u64>,
    time_limit: Option<Duration>,
    memory_limit: Option<usize>,
    output_limit: Option<u64>,
    world: Option<World>,
    pub(crate) libraries: Vec<Library>,
}

impl VmBuilder {
    /// How instructions are dispatched.
    pub fn dispatch(mut self, dispatch: Dispatch) -> Self {
        self.settings.engine.dispatch = dispatch;
        self
    }

    /// How loaded units are patched.
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// When to free the modules that OCaml's own `Dynlink` or toplevel loads.
    pub fn module_slots(mut self, slots: ModuleSlots) -> Self {
        self.module_slots = slots;
        self
    }

    /// How the heap collects.
    pub fn heap_mode(mut self, mode: Mode) -> Self {
        self.settings.heap.mode = mode;
        self
    }

    /// All settings of the heap. The program cannot raise its own limits above [`Config::max_words`].
    pub fn heap(mut self, config: Config) -> Self {
        self.settings.heap = config;
        self
    }

    /// The maximum size of the stack, whatever the program requests (`Gc.set`, `caml_ensure_stack_capacity`): the
    /// stack grows by doubling, and stops growing once it has this many words. By default, the program starts with
    /// OCaml's limit and may raise it.
    pub fn stack_limit_words(mut self, words: usize) -> Self {
        self.settings.stack_limit_words = Some(words);
        self
    }

    /// The maximum number of threads of the program, including its first one. Beyond it, `Thread.create` raises
    /// `Sys_error`, as when the system has no more threads. Each is a system thread.
    pub fn thread_limit(mut self, threads: usize) -> Self {
        self.settings.thread_limit = Some(threads);
        self
    }

    /// Sets `Sys.argv`; the first element is the program's name.
    pub fn args<S: Into<Vec<u8>>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.settings.params.argv = args.into_iter().map(Into::into).collect();
        self
    }

    /// Sets `Sys.executable_name`. Some programs, such as OCaml's toplevel, read their own file.
    pub fn executable_name(mut self, name: impl Into<Vec<u8>>) -> Self {
        self.settings.params.executable_name = name.into();
        self
    }

    /// All start-up parameters that the program can query.
    pub fn params(mut self, params: Params) -> Self {
        self.settings.params = params;
        self
    }

    /// Records backtraces from the start.
    pub fn backtrace(mut self, active: bool) -> Self {
        self.settings.params.backtrace = active;
        self
    }

    /// Registers a Rust function as the primitive `name`: OCaml code declares it as
    /// `external f : int -> int = "name"`.
    ///
    /// The arguments are checked: one of the wrong type raises `Invalid_argument`, which says the position and what was
    /// expected. [`Argument`](crate::Argument) lists what functions take, and [`Reply`](crate::Reply) what they return and
    /// raise. A function that calls back, or raises the guest's own exceptions, takes the [`Context`] first
    /// (`|cx: &mut Context<'_>, f: Value, n: i64|`); one that changes what it captures is registered with
    /// [`VmBuilder::primitive_mut`]. A panic in the function ends the call into the machine with [`Error::Panic`].
    pub fn primitive<A, F: HostFunction<A> + Send + 'static>(self, name: &str, f: F) -> Self {
        self.primitive_in_context(name, F::ARITY, move |cx, args| f.call(cx, args))
    }

    /// Registers a Rust function with `arity` arguments as the primitive `name`. The function works with OCaml values
    /// directly, through the [`Context`] that it borrows: it can call back, keep values, and create and read values
    /// that no Rust type represents.
    pub fn primitive_in_context<F>(mut self, name: &str, arity: usize, f: F) -> Self
    where
        F: for<'c> Fn(&mut Context<'c>, &[Local<'c>]) -> Result<Local<'c>, Raise> + Send + 'static,
    {
        let name = name.to_owned();
        self.primitives.push(Box::new(move |m| trust::add_primitive(m, &name, arity, f)));
        self
    }

    /// Lets the machine's code burn `units` of fuel, until the host sets another amount ([`Vm::set_fuel`]). Each call of an
    /// OCaml function, by code or by the host, each iteration of a loop and each `try` burns one; what primitives do
    /// burns nothing. Without fuel, a call ends with [`Error::Limit`]. The same code on the same data burns the same
    /// amount on every engine and machine, unless it has finalisers, signal handlers or threads.
    ///
    /// The code is checked, also if it is [trusted](VmBuilder::trusted).
    ///
    /// ```
    /// use spelter::{Error, Limit, Vm};
    ///
    /// let program = include_bytes!("../tests/fixtures/host.byte");
    /// let mut vm = Vm::builder().fuel(2).build();
    /// let outcome = vm.run_bytes("host.byte", program);
    /// assert!(matches!(outcome, Err(Error::Limit(Limit::Fuel))));
    /// ```
    pub fn fuel(mut self, units: u64) -> Self {
        self.fuel = Some(units);
        self
    }

    /// Limits the time of each of the host's calls. A call that takes longer ends with [`Error::Limit`], as soon as an
    /// [interrupted](Vm::interrupt_handle) one would.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = Some(limit);
        self
    }

    /// Limits the memory that the machine holds, in bytes: the heap, and everything that its code makes outside of it. A
    /// call that needs more, even after a full collection, ends with [`Error::Limit`], which it cannot catch; what it held
    /// is garbage then, unless the program's globals refer to it. docs/security.md lists what counts. What is needed to
    /// empty the nursery is set aside, so a machine needs some megabytes to run anything.
    ///
    /// To have OCaml's `Out_of_memory` raised instead, limit the heap ([`Config::max_words`]).
    ///
    /// ```
    /// use spelter::{Error, Limit, Vm};
    ///
    /// let program = include_bytes!("../tests/fixtures/host.byte");
    /// let mut vm = Vm::builder().memory_limit(1 << 20).build();
    /// let outcome = vm.run_bytes("host.byte", program);
    /// assert!(matches!(outcome, Err(Error::Limit(Limit::Memory))));
    /// ```
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.memory_limit = Some(bytes);
        self
    }

    /// Limits the bytes that each of the host's calls writes to what its [world](VmBuilder::world) has for standard output
    /// and standard error, or to what [`Vm::output`] keeps. A call that writes more ends with [`Error::Limit`]; what would
    /// exceed the limit is not written. Files in directories that are granted do not count.
    pub fn output_limit(mut self, bytes: u64) -> Self {
        self.output_limit = Some(bytes);
        self
    }

    /// What the program and all units can reach outside the machine. By default nothing, and what they write to standard
    /// output and standard error is kept for [`Vm::output`] and [`Vm::error_output`].
    pub fn world(mut self, world: World) -> Self {
        self.world = Some(world);
        self
    }

    /// Creates the machine.
    pub fn build(mut self) -> Vm {
        if self.fuel.is_some() || self.fuel_per_poll.is_some() {
            self.settings.engine = Engine::metered(self.settings.engine.dispatch);
        }
        if let Some(bytes) = self.memory_limit {
            self.settings.heap.max_bytes = Some(bytes);
        }
        let mut m = Machine::new(self.settings);
        m.set_output_limit(self.output_limit);
        if let Some(units) = self.fuel {
            m.set_fuel(units);
        }
        m.set_backtrace_active(m.params().backtrace);
        spelter_primitives::install(&mut m);
        spelter_dynlink::install_primitives(&mut m);
        let mut captured = None;
        let captures = || {
            let [output, errors] = captured.insert(<[Captured; 2]>::default()).clone();
            World::nothing().stdout(output).stderr(errors)
        };
        self.world.unwrap_or_else(captures).enter(&mut m);
        for register in self.primitives {
            register(&mut m);
        }
        let linker = Linker::of(&mut m);
        linker.strategy = self.strategy;
        linker.slots = self.module_slots;
        let (time_limit, fuel_per_poll) = (self.time_limit, self.fuel_per_poll);
        let libraries = LibrariesOf::new(self.libraries);
        Vm { m, has_program: false, libraries, time_limit, fuel_per_poll, captured }
    }
}

/// An OCaml machine: a program, the units loaded into it, and their heap.
///
/// Code is checked unless the host calls [`VmBuilder::trusted`]: no program and no unit, whatever its bytes, can then
/// do more harm than the primitives that it may call; and these reach nothing outside the machine but what the host
/// grants ([`VmBuilder::world`]). For untrusted code, also limit the heap ([`VmBuilder::heap`]) and the threads
/// ([`VmBuilder::thread_limit`]), and be able to stop endless loops ([`Vm::interrupt_handle`]).
///
/// A machine is used by one thread at a time, and can be sent to another one. Its handles ([`Unit`], [`Value`],
/// [`Function`](crate::Function), [`Namespace`](crate::Namespace)) can be copied and dropped in any thread.
///
/// In [`World::process`](crate::World::process), primitives act with the rights of the process: those of `unix` read,
/// write and remove its files and wait in system calls, and a guest that truncates a file that it has mapped with
/// `Unix.map_file` ends the process when it accesses the removed part (SIGBUS).
pub struct Vm {
    pub(crate) m: Machine,
    has_program: bool,
    pub(crate) libraries: LibrariesOf,
    time_limit: Option<Duration>,
    /// The fuel of each poll of a call that is a future.
    pub(crate) fuel_per_poll: Option<u64>,
    /// Standard output and standard error, if no world was set.
    captured: Option<[Captured; 2]>,
}

/// A call of the host, until this is dropped.
pub(crate) struct Call {
    _deadline: Option<Deadline>,
    _scope: CallScope,
}

/// The exit code of a program that ends without an exception.
fn exit_code(raise: Raise) -> Result<i32, Error> {
    match raise {
        Raise::Interrupted => Err(Error::Interrupted),
        Raise::Exit(code) => Ok(code),
        Raise::Fatal(message) => Err(Error::Fatal(message)),
        Raise::Fault(stopped) => Err(Error::fault(*stopped)),
        Raise::Panic(panicked) => Err(Error::panic(*panicked)),
        raise => Err(Error::Fatal(format!("the program ended by {raise:?}"))),
    }
}

pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Io { path: path.display().to_string(), source })
}

impl Vm {
    /// A builder with default settings; `Vm::builder().build()` creates a machine.
    pub fn builder() -> VmBuilder {
        VmBuilder::default()
    }

    /// Begins a call of the host, unless one is in progress.
    #[inline]
    pub(crate) fn begin_call(&self) -> Result<Option<Call>, Error> {
        let Some(scope) = self.m.begin_call() else { return Ok(None) };
        let deadline = match self.time_limit {
            Some(limit) => self.deadline(limit)?,
            None => None,
        };
        Ok(Some(Call { _deadline: deadline, _scope: scope }))
    }

    #[cold]
    fn deadline(&self, limit: Duration) -> Result<Option<Deadline>, Error> {
        // A limit beyond what the clock can show is none.
        let end = Instant::now().checked_add(limit);
        let deadline = end.map(|end| Deadline::new(self.m.interrupt_handle(), end)).transpose();
        deadline.map_err(|e| Error::Fatal(format!("no thread can watch the time limit: {e}")))
    }

    /// Ends a call, as dropping it does, but faster.
    #[inline]
    fn end_call(&self, call: Option<Call>) {
        if let Some(Call { _deadline: deadline, _scope: scope }) = call {
            drop(deadline);
            self.m.end_call(scope);
        }
    }

    pub(crate) fn raw(&mut self) -> &mut Machine {
        &mut self.m
    }

    /// All code of the machine.
    pub(crate) fn registry(&self) -> std::cell::Ref<'_, spelter_interp::Registry> {
        self.m.units()
    }

    /// Runs `f` with the machine, and releases the slots that it pushed. Catches panics.
    pub(crate) fn enter<T>(&mut self, f: impl FnOnce(&mut Machine) -> Result<T, Raise>) -> Result<T, Error> {
        let outcome = self.caught(f)?;
        outcome.map_err(|raise| self.error_of(raise))
    }

    /// Like `enter`, for functions that raise no exceptions.
    pub(crate) fn caught<T>(&mut self, f: impl FnOnce(&mut Machine) -> T) -> Result<T, Error> {
        self.check_usable()?;
        let call = self.begin_call()?;
        let mark = self.m.mark();
        self.run_errands()?;
        let outcome = catch_unwind(AssertUnwindSafe(|| f(&mut self.m)));
        self.m.release(mark);
        self.end_call(call);
        outcome.map_err(|payload| Error::panic(Panicked::of(&*payload)))
    }

    /// Does what other threads have asked the machine for, before a call.
    #[inline]
    fn run_errands(&mut self) -> Result<(), Error> {
        if self.m.has_errands() { self.run_waiting_errands() } else { Ok(()) }
    }

    #[cold]
    fn run_waiting_errands(&mut self) -> Result<(), Error> {
        self.check_usable()?;
        match catch_unwind(AssertUnwindSafe(|| self.m.run_errands())) {
            Ok(outcome) => outcome.map_err(|raise| self.error_of(raise)),
            Err(payload) => Err(Error::panic(Panicked::of(&*payload))),
        }
    }

    /// Refuses a machine whose heap is unusable because a collection panicked.
    fn check_usable(&self) -> Result<(), Error> {
        match self.m.heap().is_broken() {
            true => {
                Err(Error::Fatal("this machine can no longer be used: its collector panicked".to_owned()))
            }
            false => Ok(()),
        }
    }

    /// Lends `f` the machine, to work with OCaml values: see [`Context`]. The values are released when `f` returns;
    /// [keep](Context::keep) those that must live longer.
    ///
    /// # Errors
    /// The exception that `f` raises.
    ///
    /// # Panics
    /// If `f` panics.
    pub fn with<T>(
        &mut self,
        f: impl for<'c> FnOnce(&mut Context<'c>) -> Result<T, Raise>,
    ) -> Result<T, Error> {
        let call = self.begin_call()?;
        self.run_errands()?;
        let outcome = self.lend(f);
        self.end_call(call);
        outcome
    }

    /// Like `with`, but not counted as a call: no OCaml code runs.
    pub(crate) fn lend<T>(
        &mut self,
        f: impl for<'c> FnOnce(&mut Context<'c>) -> Result<T, Raise>,
    ) -> Result<T, Error> {
        self.check_usable()?;
        let mark = self.m.mark();
        let outcome = catch_unwind(AssertUnwindSafe(|| f(&mut Context::new(&mut self.m))));
        let outcome = match outcome {
            Ok(outcome) => outcome.map_err(|raise| self.error_of(raise)),
            Err(payload) => {
                self.m.release(mark);
                resume_unwind(payload)
            }
        };
        self.m.release(mark);
        outcome
    }

    /// What the program and its units have written to standard output since the last time, in a machine whose
    /// [world](VmBuilder::world) was not set; their channels are flushed first. At most 16 MiB
    /// ([`Captured::MOST`](crate::Captured::MOST)) are kept: a program that writes more before the host takes it gets
    /// `Sys_error` (no space left).
    pub fn output(&mut self) -> Vec<u8> {
        self.taken(|[output, _]| output)
    }

    /// The same for standard error.
    pub fn error_output(&mut self) -> Vec<u8> {
        self.taken(|[_, errors]| errors)
    }

    fn taken(&mut self, which: fn(&[Captured; 2]) -> &Captured) -> Vec<u8> {
        spelter_primitives::flush_memory(&mut self.m);
        self.captured.as_ref().map(|captured| which(captured).take()).unwrap_or_default()
    }

    /// The sorted names of all known primitives, except those of libraries.
    pub fn primitive_names(&self) -> Vec<&str> {
        self.m.prims().known_names()
    }

    /// The sorted names of the primitives that a version of OCaml has, except those of libraries.
    pub fn primitives_of(version: &spelter_bytecode::Dialect) -> Vec<&'static str> {
        let rows = spelter_primitives::PRIMITIVES.rows().chain(spelter_dynlink::PRIMITIVES.rows());
        let mut names: Vec<_> =
            rows.filter(|row| row.versions.contains(version.release)).map(|row| row.name).collect();
        names.sort_unstable();
        names
    }

    /// The profile of the instructions executed so far, under [`Dispatch::Profile`].
    pub fn profile(&self) -> &Profile {
        self.m.profile()
    }

    /// Runs the bytecode executable at `path`.
    ///
    /// # Errors
    /// When it cannot be read or loaded, or ends in an exception.
    pub fn run_file(&mut self, path: impl AsRef<Path>) -> Result<Outcome, Error> {
        let path = path.as_ref();
        self.run_source(&Source::of_file(path)?)
    }

    /// Runs a bytecode executable; messages refer to it as `name`.
    ///
    /// # Errors
    /// When it cannot be loaded, or ends in an exception.
    pub fn run_bytes(&mut self, name: &str, bytes: &[u8]) -> Result<Outcome, Error> {
        self.run_source(&Source::of_bytes(name, bytes)?)
    }

    /// Runs a program that other machines may run as well.
    ///
    /// # Errors
    /// When it cannot be loaded, or ends in an exception.
    pub fn run(&mut self, program: &Program) -> Result<Outcome, Error> {
        self.run_source(&program.0)
    }

    /// A machine with default settings that has run a program. For others, build one and [run](Vm::run) it.
    ///
    /// # Errors
    /// When it cannot be loaded, or ends in an exception.
    pub fn of(program: &Program) -> Result<Vm, Error> {
        let mut vm = Vm::builder().build();
        vm.run(program)?;
        Ok(vm)
    }

    fn run_source(&mut self, source: &Source) -> Result<Outcome, Error> {
        let _call = self.begin_call()?;
        let program = self.load_program_in_call(source)?;
        self.enter(|m| match m.run_loaded(&program) {
            Ok(()) => Ok(Outcome::Finished),
            Err(raise) => Outcome::of(m.why_interrupted(raise)),
        })
    }

    /// Loads a program in a call that may be stopped.
    pub(crate) fn load_program_in_call(
        &mut self,
        source: &Source,
    ) -> Result<spelter_interp::LoadedProgram, Error> {
        self.m.check_interrupt().map_err(|raise| self.error_of(raise))?;
        let loaded = self.load_program(source);
        self.unless_stopped(loaded)
    }

    /// The outcome of something that may have failed just because the call was stopped.
    pub(crate) fn unless_stopped<T>(&mut self, outcome: Result<T, Error>) -> Result<T, Error> {
        match outcome {
            Err(_) if self.m.memory_refused() => Err(self.stopped()),
            Err(e) => Err(self.m.check_interrupt().map_or_else(|raise| self.error_of(raise), |()| e)),
            done => done,
        }
    }

    /// Connects the program that will run, which is of this version, to the debugger (OCaml's `ocamldebug`) that the
    /// environment variable `CAML_DEBUG_SOCKET` names, if it is set, and then removes the variable.
    ///
    /// # Errors
    /// When there is no debugger at that address.
    pub fn attach_debugger(&mut self, version: &'static spelter_bytecode::Dialect) -> Result<(), Error> {
        self.m.adopt(version);
        spelter_primitives::attach_debugger(&mut self.m).map_err(Error::Fatal)
    }

    /// Runs the executable at `path` as a process does: an uncaught exception is reported on standard error by the
    /// program's own handlers, as `ocamlrun` reports it, and the result is the exit code.
    ///
    /// # Errors
    /// When it cannot be read or loaded, or the machine cannot continue.
    pub fn run_main(&mut self, path: impl AsRef<Path>) -> Result<i32, Error> {
        let _call = self.begin_call()?;
        let path = path.as_ref();
        let program = match self.load_program(&Source::of_file(path)?) {
            Err(_) if self.m.memory_refused() => return Err(self.stopped()),
            program => program?,
        };
        if self.m.params().early_debug_info {
            self.m.read_debug_info();
        }
        let mark = self.m.mark();
        let outcome = self.main(&program);
        self.m.release(mark);
        outcome.map_err(|e| if matches!(e, Error::Interrupted) { self.stopped() } else { e })
    }

    fn main(&mut self, program: &spelter_interp::LoadedProgram) -> Result<i32, Error> {
        self.m.check_domain_limit().or_else(|raise| exit_code(raise).map(drop))?;
        runtime_events::init(&mut self.m).or_else(|raise| exit_code(raise).map(drop))?;
        self.m.debug_stop(Stop::Start).or_else(|raise| exit_code(raise).map(drop))?;
        match self.m.run_loaded(program).map_err(|raise| self.m.why_interrupted(raise)) {
            Ok(()) => {
                spelter_primitives::report_at_exit(&mut self.m);
                runtime_events::destroy(&mut self.m);
                self.m.debug_stop(Stop::Exit).map(|()| 0).or_else(exit_code)
            }
            // The process exits when its last thread ends.
            Err(Raise::EndThread) => self.m.join_threads().map(|()| 0).or_else(exit_code),
            Err(raise) if !raise.is_exception() => exit_code(raise),
            Err(raise) => {
                let exn = self.m.push_exception(raise);
                self.m.debug_uncaught(exn).or_else(|raise| exit_code(raise).map(drop))?;
                match printexc::report_uncaught(&mut self.m, exn) {
                    Ok(()) => Ok(2),
                    Err(Raise::Exit(code)) => Ok(code),
                    Err(raise) => Err(self.error_of(raise)),
                }
            }
        }
    }

    fn load_program(&mut self, source: &Source) -> Result<spelter_interp::LoadedProgram, Error> {
        if !self.libraries.is_empty() {
            let (file, libraries) = (source.name.clone(), self.libraries.names());
            return Err(Error::LibrariesAndProgram { file, libraries });
        }
        self.load_source(source, true)
    }

    /// Loads a program; if it is to be complete, all primitives that it names must be known.
    pub(crate) fn load_source(
        &mut self,
        source: &Source,
        complete: bool,
    ) -> Result<spelter_interp::LoadedProgram, Error> {
        let file = || source.name.clone();
        if self.has_program {
            return Err(Error::SecondProgram { file: file() });
        }
        if self.m.has_code() {
            return Err(Error::LateProgram { file: file() });
        }
        let format = |source| Error::Format { file: file(), source };
        self.m.adopt(source.dialect());
        let (libraries, folders) = source.libraries().map_err(format)?;
        let opened = self.open_libraries(&libraries, &folders)?;
        let program = source.program(self.m.engine().grade()).map_err(format)?;
        if complete {
            self.check_primitives(&program, &libraries)?;
        }
        if let Some(directory) = source.standard_library() {
            self.m.params_mut().standard_library = directory.to_vec();
        }
        let loaded = self.m.load_program(program).map_err(|source| Error::Load { file: file(), source })?;
        Linker::of(&mut self.m).set_program(source.tables(), opened);
        self.has_program = true;
        Ok(loaded)
    }

    /// Opens a shared library of C primitives (`dllzarith`), as a program does that was linked with it: for units that
    /// are loaded later. The program must have been loaded before, since libraries are made for one version of OCaml.
    /// What is built in needs not be opened.
    ///
    /// # Errors
    /// When it cannot be opened, or the machine may open none: that needs the crate `spelter-cinterface`.
    pub fn open_library(&mut self, name: &str) -> Result<(), Error> {
        let _call = self.begin_call()?;
        let library = SharedLibrary { name, suffixed: false };
        if self.open_libraries(&[library], &[])?.is_empty() {
            let reason = "this machine has only the runtime's built-in libraries".to_owned();
            return Err(Error::Library { library: name.to_owned(), reason });
        }
        Ok(())
    }

    /// Opens the libraries that a program was linked with, in their order, apart from those that are built in. Without a
    /// loader, others are passed over.
    pub(crate) fn open_libraries(
        &mut self,
        libraries: &[SharedLibrary<&str>],
        folders: &[&str],
    ) -> Result<Vec<Linked>, Error> {
        let loader = self.m.loader();
        let folders = match loader {
            Some(loader) => {
                let is_file = |library: &SharedLibrary<&str>| self.m.prims().library(library.name).is_none();
                let looked_up = libraries.iter().any(is_file);
                (loader.folders)(&mut self.m, folders, looked_up).map_err(Error::Fatal)?
            }
            None => Vec::new(),
        };
        let mut opened = Vec::new();
        for library in libraries {
            if let Some(known) = self.m.prims().library(library.name) {
                opened.push(Linked::BuiltIn(known.name.to_owned()));
            } else if let Some(loader) = loader {
                let located = (loader.locate)(&self.m, &folders, library);
                let handle = (loader.open)(&mut self.m, &located.file)
                    .map_err(|reason| Error::Library { library: located.name, reason })?;
                opened.push(Linked::Open(handle));
            }
        }
        Ok(opened)
    }

    /// Checks that all primitives that a program names are known, including those of libraries.
    fn check_primitives(
        &self,
        program: &spelter_interp::Program<'_>,
        libraries: &[SharedLibrary<&str>],
    ) -> Result<(), Error> {
        let missing = self.m.missing_primitives(program);
        let missing = missing.map_err(|e| Error::Load { file: program.name.clone(), source: e.into() })?;
        let missing: Vec<String> = missing.into_iter().map(str::to_owned).collect();
        let Some(name) = missing.first().cloned() else { return Ok(()) };
        let closed = libraries
            .iter()
            .map(|library| library.name)
            .filter(|name| self.m.prims().library(name).is_none());
        let libraries: Vec<String> = match self.m.loader() {
            Some(_) => Vec::new(),
            None => closed.map(str::to_owned).collect(),
        };
        let file = program.name.clone();
        Err(if libraries.is_empty() {
            Error::MissingPrimitive { file, name }
        } else {
            Error::MissingLibrary { file, libraries, primitives: missing }
        })
    }

    /// Loads the unit (`.cmo`) at `path` privately: no other unit can name it.
    ///
    /// # Errors
    /// When it cannot be read or linked, or its initialiser raises.
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<Unit, Error> {
        let path = path.as_ref();
        self.load_bytes(&path.display().to_string(), &read_file(path)?)
    }

    /// Loads a unit (the bytes of a `.cmo`) privately: no other unit can name it. Messages refer to it as `name`.
    ///
    /// # Errors
    /// When it cannot be linked, or its initialiser raises.
    pub fn load_bytes(&mut self, name: &str, bytes: &[u8]) -> Result<Unit, Error> {
        self.load_unit(None, name, bytes, Visibility::Private)
    }

    /// Loads a unit that units loaded later may name. The name keeps it alive until [`Vm::withdraw`], or until
    /// another unit of the same name is loaded; after that it lives while it is reachable.
    ///
    /// # Errors
    /// When it cannot be linked, or its initialiser raises.
    pub fn load_public(&mut self, name: &str, bytes: &[u8]) -> Result<Unit, Error> {
        self.load_unit(None, name, bytes, Visibility::Public)
    }

    pub(crate) fn load_unit(
        &mut self,
        space: Option<&Namespace>,
        name: &str,
        bytes: &[u8],
        visibility: Visibility,
    ) -> Result<Unit, Error> {
        let _call = self.begin_call()?;
        let unit = Self::read_unit(name, bytes)?;
        self.link_libraries()?;
        if let Some(space) = space {
            space.assert_of(&mut self.m);
        }
        let loaded = self.caught(|m| match space {
            Some(space) => spelter_dynlink::load_unit_in(m, space, &unit, visibility),
            None => spelter_dynlink::load_unit(m, &unit, visibility),
        })?;
        loaded.map(Unit).map_err(|e| self.load_error(name, e))
    }

    /// Why a unit could not be loaded: perhaps just because the call was stopped.
    pub(crate) fn load_error(&mut self, name: &str, e: LinkError) -> Error {
        match self.m.check_interrupt() {
            Ok(()) => self.link_error(name, e),
            Err(raise) => self.error_of(raise),
        }
    }

    pub(crate) fn read_unit(name: &str, bytes: &[u8]) -> Result<CompilationUnit, Error> {
        CompilationUnit::read(bytes).map_err(|source| Error::Format { file: name.to_owned(), source })
    }

    pub(crate) fn link_error(&mut self, name: &str, e: LinkError) -> Error {
        match e {
            LinkError::Initialiser { raise, .. } => self.error_of(raise),
            source => Error::Link { file: name.to_owned(), source },
        }
    }

    /// Calls the function that OCaml code registered under `name` with `Callback.register`.
    ///
    /// # Errors
    /// When there is no such function, when it raises, or when its result is not a `T`.
    pub fn call<T: FromOcaml>(&mut self, name: &str, args: impl Args) -> Result<T, Error> {
        let missing = || Error::NoSuchValue(name.to_owned());
        let result = self.with(|cx| match cx.registered(name) {
            Some(f) => Self::apply(cx, f, args).map(Some),
            None => Ok(None),
        })?;
        Ok(result.ok_or_else(missing)??)
    }

    /// Calls an OCaml function that the host keeps.
    ///
    /// # Errors
    /// When it is not a function, when it raises, or when its result is not a `T`.
    ///
    /// # Panics
    /// When another machine keeps it.
    pub fn call_value<T: FromOcaml>(&mut self, f: &Value, args: impl Args) -> Result<T, Error> {
        Ok(self.with(|cx| {
            let f = cx.kept(f);
            Self::apply(cx, f, args)
        })??)
    }

    fn apply<'c, T: FromOcaml>(
        cx: &mut Context<'c>,
        f: Local<'c>,
        args: impl Args,
    ) -> Result<Result<T, WrongType>, Raise> {
        let result = args.apply(cx, f)?;
        Ok(cx.read(result))
    }

    /// The value that OCaml code registered under `name` with `Callback.register`.
    ///
    /// # Errors
    /// When there is no such value, or it is not a `T`.
    pub fn value<T: FromOcaml>(&mut self, name: &str) -> Result<T, Error> {
        let missing = || Error::NoSuchValue(name.to_owned());
        let value = self.lend(|cx| Ok(cx.registered(name).map(|v| cx.read(v))))?;
        Ok(value.ok_or_else(missing)??)
    }

    /// Field `i` of the module that a unit defines: its `i`-th value or submodule, in the order of its signature.
    ///
    /// # Errors
    /// When there is no such field, or it is not a `T`.
    ///
    /// # Panics
    /// When the unit belongs to another machine.
    pub fn field<T: FromOcaml>(&mut self, unit: &Unit, i: usize) -> Result<T, Error> {
        Ok(self.lend(|cx| {
            let module = cx.module(unit)?;
            Ok(cx.field(module, i).and_then(|field| cx.read(field).map_err(|e: WrongType| e.in_field(i))))
        })??)
    }

    /// Removes the value registered under `name`. Returns false if there was none.
    pub fn unregister(&mut self, name: &str) -> bool {
        self.m.unregister_named(name.as_bytes())
    }

    /// A handle with which another thread can stop the current call, or else the next one, with
    /// [`Error::Interrupted`]. It belongs to that call, and has no effect after the call has ended. See
    /// [`InterruptHandle`].
    pub fn interrupt_handle(&self) -> InterruptHandle {
        self.m.interrupt_handle()
    }

    /// Sets the fuel that the machine's code may burn from now on: see [`VmBuilder::fuel`].
    ///
    /// # Errors
    /// When the machine was built without fuel: its code does not burn any.
    pub fn set_fuel(&mut self, units: u64) -> Result<(), Error> {
        if !self.m.engine().is_metered() {
            return Err(Error::Unmetered);
        }
        self.m.set_fuel(units);
        Ok(())
    }

    /// The fuel that is left, if the machine was built with some.
    pub fn fuel(&self) -> Option<u64> {
        self.m.engine().is_metered().then(|| self.m.fuel())
    }

    /// The bytes that the machine holds, with those that it sets aside, if it was built with a limit of them: see
    /// [`VmBuilder::memory_limit`].
    pub fn memory(&self) -> Option<usize> {
        let account = self.m.heap().account();
        account.is_limited().then(|| account.held())
    }

    /// Sets or removes the limit of the time of each of the host's later calls: see [`VmBuilder::time_limit`].
    pub fn set_time_limit(&mut self, limit: Option<Duration>) {
        self.time_limit = limit;
    }

    /// Collects all garbage, including loaded code, and runs the finalisers that are due.
    ///
    /// # Errors
    /// When a finaliser raises.
    pub fn collect(&mut self) -> Result<(), Error> {
        self.enter(Machine::full_major)
    }

    /// Runs a single major collection, but no finalisers: those that are due run with the next OCaml code.
    ///
    /// # Errors
    /// When a value panics that the collector drops.
    pub fn collect_once(&mut self) -> Result<(), Error> {
        self.enter(|m| {
            m.collect_full();
            Ok(())
        })
    }

    /// Collects like [`Vm::collect`], then compacts the heap and returns free memory to the system where possible.
    /// This includes memory of the process's allocator, where the code of freed units was.
    ///
    /// # Errors
    /// When a finaliser raises.
    pub fn compact(&mut self) -> Result<(), Error> {
        let _call = self.begin_call()?;
        self.collect()?;
        self.enter(|m| {
            m.compact();
            Ok(())
        })
    }

    /// Why a unit is alive: for each kind of root from which its code object is reachable, the shortest path. Empty
    /// if it is unreachable, so that the next full major collection frees it, or has been freed.
    ///
    /// This walks the heap.
    pub fn why_alive(&mut self, unit: impl Into<UnitId>) -> Vec<explain::Path> {
        if self.check_usable().is_err() {
            return Vec::new(); // the heap cannot be walked
        }
        explain::why_alive(&mut self.m, unit.into()).map_or_else(Vec::new, |why| why.paths)
    }

    /// Why each loaded unit is alive, in loading order: [`Vm::why_alive`] for all units at once.
    pub fn why_all_alive(&mut self) -> Vec<WhyAlive> {
        if self.check_usable().is_err() {
            return Vec::new();
        }
        explain::why_all_alive(&mut self.m)
    }

    /// Starts recording when units are loaded and freed, and when major collections begin.
    pub fn record_code_events(&mut self) {
        self.m.record_code_events();
    }

    /// The recording that [`Vm::record_code_events`] started.
    pub fn code_events(&self) -> Option<CodeEvents> {
        self.m.code_events()
    }

    /// Declares that the machine is the whole process: the program may use descriptors and signals that the process
    /// inherited. An OCaml program that writes to a closed pipe expects SIGPIPE to end it, but Rust's start-up code
    /// ignores that signal, so a host with a Rust `main` must restore the signal's default action first.
    pub fn own_process(&mut self) {
        self.m.ext::<spelter_primitives::Io>().fds.owns_process = true;
    }

    /// Calls `handler` at the machine's next safe point after the signal of that name (`USR2`) arrives, until the
    /// program handles or ignores the signal itself. A machine has only one such signal; a second call replaces it.
    ///
    /// # Errors
    /// When there is no signal of that name, or it cannot be handled.
    pub fn on_signal(
        &mut self,
        name: &str,
        handler: impl Fn(&mut Context<'_>) + Send + Sync + 'static,
    ) -> io::Result<()> {
        trust::on_signal(&mut self.m, name, handler)
    }

    /// Statistics about the machine's work so far.
    pub fn stats(&self) -> Stats {
        Stats::of(&self.m)
    }

    /// Sets `hook` for the case that another thread ends the program while this one waits, by `exit` or because the
    /// machine cannot continue. The process then ends: `hook` is called in that other thread and returns the exit
    /// code. Without a hook, this thread notices when it next runs OCaml code.
    pub fn on_end_elsewhere(
        &mut self,
        hook: impl FnOnce(&mut Vm, Result<i32, Error>) -> i32 + Send + 'static,
    ) {
        let captured = self.captured.clone();
        self.m.on_end_elsewhere(Box::new(|m, raise| {
            let libraries = LibrariesOf::default();
            let mut vm =
                Vm { m, has_program: true, libraries, time_limit: None, fuel_per_poll: None, captured };
            let code = hook(&mut vm, exit_code(raise));
            std::process::exit(code)
        }));
    }

    /// Runs `f` while the program's other threads may run. They run only during this function and during calls.
    ///
    /// # Errors
    /// The exception of a signal handler; `f` has not run then.
    pub fn blocking<T>(&mut self, f: impl FnOnce() -> T + Send) -> Result<T, Error> {
        self.m.blocking(f).map_err(|raise| self.error_of(raise))
    }

    /// Why a call was stopped.
    pub(crate) fn stopped(&mut self) -> Error {
        let limit = self.m.exceeded();
        if limit == Some(Limit::Memory) {
            self.m.recover_memory();
        }
        limit.map_or(Error::Interrupted, Error::Limit)
    }

    pub(crate) fn error_of(&mut self, raise: Raise) -> Error {
        match self.m.why_interrupted(raise) {
            Raise::Exit(code) => Error::Exit(code),
            Raise::EndThread => Error::EndThread,
            Raise::Fatal(message) => Error::Fatal(message),
            Raise::Fault(stopped) => Error::fault(*stopped),
            Raise::Panic(panicked) => Error::panic(*panicked),
            Raise::Pause => {
                Error::Fatal("the host's own code pauses, which only a call of OCaml code can".to_owned())
            }
            Raise::Interrupted => self.stopped(),
            // Before any code could notice.
            Raise::OutOfMemory if self.m.memory_refused() => self.stopped(),
            raise => uncaught::error_of(&mut self.m, raise),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use spelter_bytecode::Dialect;

    #[test]
    fn no_primitive_is_declared_twice() {
        let rows = spelter_primitives::PRIMITIVES.rows().chain(spelter_dynlink::PRIMITIVES.rows());
        let rows: Vec<_> = rows.collect();
        let mut names = HashSet::new();
        let twice: Vec<&str> = Dialect::KNOWN
            .iter()
            .flat_map(|dialect| {
                names.clear();
                let here = rows.iter().filter(|row| row.versions.contains(dialect.release));
                here.map(|row| row.name).filter(|name| !names.insert(*name)).collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(twice, [""; 0]);
    }
}
