//! Libraries of units (`.cma`): OCaml's standard library and others, for machines without a program.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use spelter_bytecode::asm::OnDemand;
use spelter_bytecode::debug::{DebugUnit, EventTable};
use spelter_bytecode::exe::SharedLibrary;
use spelter_bytecode::obj;
use spelter_dynlink::{Libraries, Linker, load_library_in};
use spelter_interp::LoadedProgram;
use spelter_interp::inspect::backtrace::Unread;

use crate::error::Error;
use crate::installation::ocaml_directories;
use crate::namespace::Namespace;
use crate::program::Source;
use crate::unit::Unit;
use crate::vm::{Vm, VmBuilder, read_file};

/// A library of compiled units (`.cma`) that has been read, for any number of machines. Clones share it.
///
/// A machine that is [built with libraries](VmBuilder::library) needs no program: the units that plug-ins use are linked from
/// them. OCaml's own is [`Library::stdlib`].
///
/// ```no_run
/// use spelter::{Library, Vm};
///
/// let stdlib = Library::stdlib()?; // or `stdlib_in` a directory, or `new` with the bytes of `stdlib.cma`
/// let mut vm = Vm::builder().library(&stdlib).build();
/// let plugin = vm.load("greet.cmo")?;
/// # Ok::<(), spelter::Error>(())
/// ```
#[derive(Clone)]
pub struct Library(Arc<Archive>);

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Library").field(&self.0.name).finish()
    }
}

struct Archive {
    name: String,
    contents: Arc<obj::Library>,
    /// What it was linked to, as the first of several libraries.
    linked: Mutex<Vec<LinkedWith>>,
}

/// The other libraries, and the result.
type LinkedWith = (Vec<Weak<Archive>>, Arc<Linked>);

/// Libraries that have been linked with each other: a program that the machines share.
struct Linked {
    source: Source,
    units: Arc<Libraries>,
}

impl Library {
    /// Reads the bytes of a `.cma`; messages refer to it as `name`.
    ///
    /// # Errors
    /// When it is damaged, of another kind, or of an unknown version of OCaml. Its code is verified when a machine that checks
    /// its code first needs it.
    pub fn new(name: &str, bytes: &[u8]) -> Result<Library, Error> {
        let format = |source| Error::Format { file: name.to_owned(), source };
        let read = obj::Library::read(bytes).map_err(format)?;
        // Without the descriptor, which is only for writing it again.
        let mut contents = obj::Library::new(read.dialect, read.units);
        contents.dllibs = read.dllibs;
        let (name, contents) = (name.to_owned(), Arc::new(contents));
        Ok(Library(Arc::new(Archive { name, contents, linked: Mutex::default() })))
    }

    /// The standard library of the system's OCaml: `stdlib.cma` in the first of [`ocaml_directories`] that has it.
    ///
    /// # Errors
    /// When none has it, or it is of no version that runs here.
    pub fn stdlib() -> Result<Library, Error> {
        let directories = ocaml_directories();
        let Some(found) = directories.iter().find(|directory| directory.join("stdlib.cma").exists()) else {
            let looked = directories.iter().map(|directory| directory.display().to_string()).collect();
            return Err(Error::NoStdlib { looked });
        };
        Library::stdlib_in(found)
    }

    /// The standard library in this directory (`ocamlc -where` prints it): its `stdlib.cma`.
    ///
    /// # Errors
    /// When it is not there, or of no version that runs here.
    pub fn stdlib_in(directory: impl AsRef<Path>) -> Result<Library, Error> {
        Library::read(directory.as_ref().join("stdlib.cma"))
    }

    /// Reads the `.cma` at a path.
    ///
    /// # Errors
    /// When it cannot be read, and as for [`Library::new`].
    pub fn read(path: impl AsRef<Path>) -> Result<Library, Error> {
        let path = path.as_ref();
        Library::new(&path.display().to_string(), &read_file(path)?)
    }

    /// The name by which messages refer to it.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The version of OCaml that it was compiled by: `4.13`.
    pub fn version(&self) -> &'static str {
        self.0.contents.dialect.version
    }

    /// The names of its units, in their order: `Stdlib__List`, not `List`.
    pub fn units(&self) -> impl Iterator<Item = &str> {
        self.0.contents.units.iter().map(|unit| &*unit.name)
    }

    /// Links libraries, or returns what an earlier machine has linked.
    fn link(libraries: &[Library]) -> Result<Option<Arc<Linked>>, Error> {
        let [first, others @ ..] = libraries else { return Ok(None) };
        let mut known = first.0.linked.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(with, _)| with.iter().all(|library| library.strong_count() > 0));
        let same = |with: &[Weak<Archive>]| {
            with.len() == others.len()
                && with.iter().zip(others).all(|(a, b)| std::ptr::eq(a.as_ptr(), Arc::as_ptr(&b.0)))
        };
        if let Some((_, linked)) = known.iter().find(|(with, _)| same(with)) {
            return Ok(Some(Arc::clone(linked)));
        }
        let linked = Arc::new(Linked::new(libraries)?);
        known.push((others.iter().map(|library| Arc::downgrade(&library.0)).collect(), Arc::clone(&linked)));
        Ok(Some(linked))
    }
}

impl Linked {
    fn new(libraries: &[Library]) -> Result<Linked, Error> {
        let names: Vec<&str> = libraries.iter().map(Library::name).collect();
        let names = names.join(", ");
        let format = |source| Error::Format { file: names.clone(), source };
        let contents: Vec<_> = libraries.iter().map(|library| Arc::clone(&library.0.contents)).collect();
        let archives: Vec<&obj::Library> = contents.iter().map(|contents| &**contents).collect();
        let OnDemand { program, units } = OnDemand::link(&archives).map_err(format)?;
        let starts: Vec<usize> = units.iter().map(|unit| unit.start).collect();
        let events = Arc::new(move || events(&contents, &starts));
        let source = Source::of_executable(&names, program, Some(events)).map_err(format)?.for_many();
        Ok(Linked { source, units: Arc::new(Libraries::new(names, units)) })
    }
}

/// The debug events of the units of libraries, whose code begins there. A unit whose debug data is damaged has none.
fn events(contents: &[Arc<obj::Library>], starts: &[usize]) -> Result<Option<EventTable>, Unread> {
    let units = contents.iter().flat_map(|library| &library.units).zip(starts);
    let debug = units.filter_map(|(unit, start)| {
        let debug = DebugUnit::new(*start, unit.debug.clone()?, unit.dialect);
        debug.events().is_ok().then_some(debug)
    });
    match EventTable::of_units(&debug.collect::<Vec<_>>()) {
        Ok(table) => Ok(Some(table)),
        Err(error) if error.is_out_of_memory() => Err(Unread::OutOfMemory),
        Err(_) => Ok(None),
    }
}

/// The libraries of a machine.
#[derive(Default)]
pub(crate) struct LibrariesOf {
    given: Vec<Library>,
    /// Until it has run: the program that they are.
    waiting: Option<LoadedProgram>,
    ready: bool,
}

impl LibrariesOf {
    pub(crate) fn new(given: Vec<Library>) -> LibrariesOf {
        LibrariesOf { given, ..LibrariesOf::default() }
    }

    /// What messages call them.
    pub(crate) fn names(&self) -> String {
        self.given.iter().map(Library::name).collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.given.is_empty()
    }
}

impl VmBuilder {
    /// Gives the machine a library in place of a program: when a unit is loaded, those units of the library that it needs are
    /// initialised first, with those that they need, in the library's order. Call it once for each library, first for those
    /// that others need; the standard library ([`Library::stdlib`]) comes first.
    ///
    /// The libraries' units are the machine's program: its version is theirs, namespaces can show or hide them, they run as
    /// fast as a program's code, and they live as long as the machine, also when no unit refers to them any more: another
    /// one then finds the state that they had. All namespaces share them. Machines with the same libraries share the code,
    /// which is linked, verified and translated once, when the first unit is loaded.
    ///
    /// As in a program, what `at_exit` has registered (the flushing of channels, too) runs when the code calls `exit`, or the
    /// host calls the registered function: `vm.call::<()>("Pervasives.do_at_exit", ((),))`.
    ///
    /// # Errors
    /// Loading a unit then reports what is wrong with the libraries: that one needs a module that none before it has, that
    /// two disagree about an interface, that code is damaged.
    pub fn library(mut self, library: &Library) -> Self {
        self.libraries.push(library.clone());
        self
    }
}

impl Vm {
    /// Makes the machine's libraries its program, unless that has been done.
    pub(crate) fn link_libraries(&mut self) -> Result<(), Error> {
        if self.libraries.ready || self.libraries.is_empty() {
            return Ok(());
        }
        self.m.check_interrupt().map_err(|raise| self.error_of(raise))?;
        let Some(linked) = Library::link(&self.libraries.given)? else { return Ok(()) };
        let program = match self.libraries.waiting.take() {
            Some(program) => program,
            None => {
                let loaded = self.load_source(&linked.source, false);
                self.unless_stopped(loaded)?
            }
        };
        // It makes the functions that initialise units.
        let outcome = self.enter(|m| m.run_loaded(&program));
        self.libraries.waiting = Some(program);
        outcome?;
        Linker::of(self.raw()).set_libraries(Arc::clone(&linked.units));
        self.libraries.waiting = None;
        self.libraries.ready = true;
        Ok(())
    }

    /// The units of the machine's [libraries](VmBuilder::library) that have been initialised.
    pub fn library_units(&mut self) -> Vec<String> {
        Linker::of(self.raw()).initialised().into_iter().map(str::to_owned).collect()
    }

    /// Loads all units of a library, in their order, as OCaml's `Dynlink.loadfile` does. They are like units that
    /// [`Vm::load_public`] has loaded: units loaded later can name them; and each is freed when its name has been
    /// [withdrawn](Vm::withdraw) and nothing else reaches it. The library is read once, but each machine verifies and
    /// translates the units. Those of [`VmBuilder::library`] cost less, and are not freed.
    ///
    /// # Errors
    /// When a unit cannot be linked, or its initialiser raises. No name has changed then, and none of the units stays; what
    /// initialisers have done remains.
    pub fn load_library(&mut self, library: &Library) -> Result<Vec<Unit>, Error> {
        let space = Linker::of(self.raw()).default_namespace();
        self.load_all(&space, library)
    }

    /// The same in a namespace.
    ///
    /// # Errors
    /// As for [`Vm::load_library`].
    ///
    /// # Panics
    /// When the namespace belongs to another machine.
    pub fn load_library_in(&mut self, space: &Namespace, library: &Library) -> Result<Vec<Unit>, Error> {
        space.0.assert_of(self.raw());
        self.load_all(&space.0, library)
    }

    fn load_all(
        &mut self,
        space: &spelter_dynlink::Namespace,
        library: &Library,
    ) -> Result<Vec<Unit>, Error> {
        let _call = self.begin_call()?;
        self.link_libraries()?;
        let Archive { name, contents, .. } = &*library.0;
        let names: Vec<String> = contents.dllibs.iter().map(SharedLibrary::linked_name).collect();
        let shared = names.iter().zip(&contents.dllibs);
        let shared: Vec<_> = shared
            .map(|(name, library)| SharedLibrary { name: &**name, suffixed: library.suffixed })
            .collect();
        self.open_libraries(&shared, &[])?;
        let loaded = self.caught(|m| load_library_in(m, space, &contents.units))?;
        loaded.map(|units| units.into_iter().map(Unit).collect()).map_err(|e| self.load_error(name, e))
    }
}
