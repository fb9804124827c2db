//! A library of compiled units: the content of a `.cma` file.

use super::descriptor::{self, Descriptor};
use super::unit::CompilationUnit;
use super::{finish, read_front, start};
use crate::dialect::{Dialect, FileKind, LibraryEncoding};
use crate::error::Result;
use crate::exe::SharedLibrary;
use crate::marshal::{Graph, GraphBuilder, Item, NodeId};
use crate::room;
use crate::view::{Budget, View, add_strings};

/// A library of compiled units.
#[derive(Debug, Clone)]
pub struct Library {
    /// The version that it was compiled by.
    pub dialect: &'static Dialect,
    /// Its units, each after its dependencies.
    pub units: Vec<CompilationUnit>,
    /// Whether programs that link it must link its C code statically.
    pub custom: bool,
    /// C object files for static linking, in reverse order of the command line.
    pub ccobjs: Vec<String>,
    /// Further options for the C linker, in reverse order of the command line.
    pub ccopts: Vec<String>,
    /// Shared libraries, in reverse order of the command line: `-lunix` or `dllunix.so`.
    pub dllibs: Vec<SharedLibrary>,
    /// The descriptor that it was read from, to preserve sharing.
    origin: Option<Graph>,
}

/// Libraries are equal when their contents are equal; sharing in their descriptors does not matter.
impl PartialEq for Library {
    fn eq(&self, other: &Self) -> bool {
        self.dialect == other.dialect
            && self.units == other.units
            && self.custom == other.custom
            && self.ccobjs == other.ccobjs
            && self.ccopts == other.ccopts
            && self.dllibs == other.dllibs
    }
}

/// The record `library` of OCaml's `cmo_format.mli`.
struct Record<'g> {
    units: &'g [View<'g>],
    custom: bool,
    ccobjs: Vec<String>,
    ccopts: Vec<String>,
    dllibs: Vec<SharedLibrary>,
}

impl<'g> Record<'g> {
    fn read(graph: &'g Graph, budget: &'g Budget, dialect: &Dialect) -> Result<Record<'g>> {
        let view = View::root(graph, budget, "descriptor");
        let [units, custom, ccobjs, ccopts, dllibs] = *view.tuple()?;
        Ok(Record {
            units: view.of(units, "descriptor of a unit").list()?,
            custom: view.of(custom, "flag for custom linking").bool()?,
            ccobjs: view.of(ccobjs, "list of C object files").strings()?,
            ccopts: view.of(ccopts, "list of C options").strings()?,
            dllibs: read_libraries(view.of(dllibs, "list of shared libraries"), dialect)?,
        })
    }
}

fn read_libraries(view: View<'_>, dialect: &Dialect) -> Result<Vec<SharedLibrary>> {
    let library = |view: &View<'_>| match dialect.libraries {
        LibraryEncoding::Name => Ok(SharedLibrary { name: view.string()?, suffixed: false }),
        LibraryEncoding::Suffixed => {
            let [suffixed, name] = *view.tuple()?;
            let suffixed = view.of(suffixed, "flag of a shared library").bool()?;
            Ok(SharedLibrary { name: view.of(name, "name of a shared library").string()?, suffixed })
        }
    };
    room::collect(view.list()?.iter().map(library))
}

fn add_libraries(graph: &mut GraphBuilder, libraries: &[SharedLibrary], dialect: &Dialect) -> Item<NodeId> {
    let add = |library: &SharedLibrary| {
        let name = graph.add_string(library.name.as_bytes());
        match dialect.libraries {
            LibraryEncoding::Name => name,
            LibraryEncoding::Suffixed => graph.add_block(0, &[Item::Int(library.suffixed.into()), name]),
        }
    };
    let libraries: Vec<_> = libraries.iter().map(add).collect();
    graph.add_list(&libraries)
}

impl Library {
    /// A library of these units, with no C code.
    pub fn new(dialect: &'static Dialect, units: Vec<CompilationUnit>) -> Library {
        Library {
            dialect,
            units,
            custom: false,
            ccobjs: Vec::new(),
            ccopts: Vec::new(),
            dllibs: Vec::new(),
            origin: None,
        }
    }

    /// Reads a `.cma` file.
    ///
    /// # Errors
    ///
    /// When it is not a `.cma` file, is of an unknown version, or is malformed.
    pub fn read(bytes: &[u8]) -> Result<Library> {
        let (dialect, graph) = read_front(bytes, FileKind::Library)?;
        let in_descriptor = |error: crate::Error| error.in_section("descriptor");
        let budget = Budget::of(&graph);
        let record = Record::read(&graph, &budget, dialect).map_err(in_descriptor)?;
        let mut room = bytes.len();
        let units = record
            .units
            .iter()
            .map(|unit| unit.unit(bytes, &mut room, dialect))
            .collect::<Result<_>>()
            .map_err(in_descriptor)?;
        let Record { custom, ccobjs, ccopts, dllibs, .. } = record;
        Ok(Library { dialect, units, custom, ccobjs, ccopts, dllibs, origin: Some(graph) })
    }

    /// The bytes of a `.cma` file. An unchanged library that was read from OCaml's file yields the same bytes.
    ///
    /// # Panics
    ///
    /// When code and debug data have more than 4 GiB.
    pub fn write(&self) -> Vec<u8> {
        let mut out = start(self.dialect, FileKind::Library);
        let positions: Vec<_> = self.units.iter().map(|unit| unit.write_body(&mut out)).collect();
        let graph = match self.unchanged_origin() {
            Some((mut graph, records)) => {
                for (record, (pos, debug)) in records.into_iter().zip(positions) {
                    descriptor::set_positions(&mut graph, record, pos, debug);
                }
                graph
            }
            None => self.fresh_descriptor(&positions),
        };
        finish(out, &graph.encode(self.dialect.colour))
    }

    fn fresh_descriptor(&self, positions: &[(usize, usize)]) -> Graph {
        let mut graph = GraphBuilder::default();
        let units: Vec<_> = self
            .units
            .iter()
            .zip(positions)
            .map(|(unit, &(pos, debug))| descriptor::add(&mut graph, unit, self.dialect, pos, debug))
            .collect();
        let fields = [
            graph.add_list(&units),
            Item::Int(self.custom.into()),
            add_strings(&mut graph, &self.ccobjs),
            add_strings(&mut graph, &self.ccopts),
            add_libraries(&mut graph, &self.dllibs, self.dialect),
        ];
        let root = graph.add_block(0, &fields);
        graph.finish(root)
    }

    /// The descriptor that was read, if it still matches, with the record of each unit.
    fn unchanged_origin(&self) -> Option<(Graph, Vec<NodeId>)> {
        let graph = self.origin.as_ref()?;
        let budget = Budget::of(graph);
        let record = Record::read(graph, &budget, self.dialect).ok()?;
        let same = record.custom == self.custom
            && record.ccobjs == self.ccobjs
            && record.ccopts == self.ccopts
            && record.dllibs == self.dllibs
            && record.units.len() == self.units.len();
        if !same {
            return None;
        }
        let record_of = |(view, unit): (&View<'_>, &CompilationUnit)| {
            let descriptor = Descriptor::read(*view, self.dialect).ok()?;
            match view.item {
                Item::Obj(node) if descriptor.describes(unit) => Some(node),
                _ => None,
            }
        };
        let records = record.units.iter().zip(&self.units).map(record_of).collect::<Option<_>>()?;
        Some((graph.clone(), records))
    }
}
