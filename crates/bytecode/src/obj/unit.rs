//! A compiled unit: the content of a `.cmo` file.

use super::constant::{LiteralId, Literals};
use super::descriptor::{self, Descriptor};
use super::{finish, read_front, start};
use crate::code::WORD;
use crate::debug::DebugUnit;
use crate::dialect::{Dialect, FileKind};
use crate::error::{Error, Result};
use crate::marshal::{Graph, GraphBuilder, Item};
use crate::room;
use crate::view::{Budget, Ident, Imports, View};

/// The kind of number that a linker must write into an operand word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reloc {
    /// A new global slot that holds this literal.
    Literal(LiteralId),
    /// The slot of a global that the unit reads.
    GetGlobal(Ident),
    /// A new slot for a global that the unit defines.
    SetGlobal(Ident),
    /// The number of a primitive.
    Primitive(String),
}

/// A compiled unit.
#[derive(Debug, Clone)]
pub struct CompilationUnit {
    /// The version that it was compiled by.
    pub dialect: &'static Dialect,
    /// Its name, such as `Stdlib__List`.
    pub name: String,
    /// Its code, as little-endian words with zeros at the places of relocations.
    pub code: Vec<u8>,
    /// The relocations with their byte offsets in the code, in increasing order.
    pub relocs: Vec<(Reloc, usize)>,
    /// The literals that the relocations name.
    pub literals: Literals,
    /// The interfaces that it was compiled against, including its own.
    pub imports: Imports,
    /// The units that must be initialised before it.
    pub required_globals: Vec<Ident>,
    /// The `external`s that it declares, used or not.
    pub primitives: Vec<String>,
    /// Whether it must be linked even if nothing refers to it.
    pub force_link: bool,
    /// Its debug data as stored in the file.
    pub debug: Option<Vec<u8>>,
    /// The descriptor that it was read from, to preserve sharing.
    pub(super) origin: Option<Graph>,
}

/// Units are equal when their contents are equal; sharing in their descriptors does not matter.
impl PartialEq for CompilationUnit {
    fn eq(&self, other: &Self) -> bool {
        // Debug data and code are compared as bytes; `dialect` rows are unique, so that comparing them by value is
        // right.
        self.dialect == other.dialect
            && self.name == other.name
            && self.code == other.code
            && self.relocs == other.relocs
            && self.literals == other.literals
            && self.imports == other.imports
            && self.required_globals == other.required_globals
            && self.primitives == other.primitives
            && self.force_link == other.force_link
            && self.debug == other.debug
    }
}

impl CompilationUnit {
    /// A unit without code.
    pub fn new(dialect: &'static Dialect, name: &str) -> CompilationUnit {
        CompilationUnit {
            dialect,
            name: name.to_owned(),
            code: Vec::new(),
            relocs: Vec::new(),
            literals: Literals::default(),
            imports: Imports::new(),
            required_globals: Vec::new(),
            primitives: Vec::new(),
            force_link: false,
            debug: None,
            origin: None,
        }
    }

    /// Reads a `.cmo` file.
    ///
    /// # Errors
    ///
    /// When it is not a `.cmo` file, is of an unknown version, or is malformed.
    pub fn read(bytes: &[u8]) -> Result<CompilationUnit> {
        let (dialect, graph) = read_front(bytes, FileKind::Object)?;
        let mut room = bytes.len();
        let mut unit = View::root(&graph, &Budget::of(&graph), "descriptor")
            .unit(bytes, &mut room, dialect)
            .map_err(|error| error.in_section("descriptor"))?;
        unit.origin = Some(graph);
        Ok(unit)
    }

    /// The bytes of a `.cmo` file. An unchanged unit that was read from OCaml's file yields the same bytes.
    ///
    /// # Panics
    ///
    /// When code and debug data have more than 4 GiB.
    pub fn write(&self) -> Vec<u8> {
        let mut out = start(self.dialect, FileKind::Object);
        let (pos, debug) = self.write_body(&mut out);
        let descriptor = match self.unchanged_origin() {
            Some((mut graph, record)) => {
                descriptor::set_positions(&mut graph, record, pos, debug);
                graph
            }
            None => {
                let mut graph = GraphBuilder::default();
                let root = descriptor::add(&mut graph, self, self.dialect, pos, debug);
                graph.finish(root)
            }
        };
        finish(out, &descriptor.encode(self.dialect.colour))
    }

    fn unchanged_origin(&self) -> Option<(Graph, crate::marshal::NodeId)> {
        let graph = self.origin.as_ref()?;
        let Item::Obj(record) = graph.root() else { return None };
        let descriptor =
            Descriptor::read(View::root(graph, &Budget::of(graph), "descriptor"), self.dialect).ok()?;
        descriptor.describes(self).then(|| (graph.clone(), record))
    }

    /// Appends code and debug data, and returns the offset of each (0 for no debug data).
    pub(super) fn write_body(&self, out: &mut Vec<u8>) -> (usize, usize) {
        let pos = out.len();
        out.extend_from_slice(&self.code);
        let debug = match &self.debug {
            Some(debug) => {
                let offset = out.len();
                out.extend_from_slice(debug);
                offset
            }
            None => 0,
        };
        (pos, debug)
    }

    /// The debug data, decoded on demand; its code offset is 0.
    pub fn debug_unit(&self) -> Option<DebugUnit> {
        let bytes = self.debug.clone()?;
        Some(DebugUnit::new(0, bytes, self.dialect))
    }
}

impl View<'_> {
    /// Reads the unit of this descriptor. Code and debug data are copied out of `file`. Since units must not share
    /// bytes there, all copies together must stay within `room`.
    pub(super) fn unit(
        self,
        file: &[u8],
        room: &mut usize,
        dialect: &'static Dialect,
    ) -> Result<CompilationUnit> {
        let descriptor = Descriptor::read(self, dialect)?;
        let mut part = |pos: usize, len: usize, what: &str| {
            let bytes = pos.checked_add(len).and_then(|end| file.get(pos..end));
            match (bytes, room.checked_sub(len)) {
                (Some(bytes), Some(left)) => {
                    *room = left;
                    room::to_vec(bytes)
                }
                _ => Err(Error::malformed(pos, format!("{what} of {len} bytes does not fit in the file"))),
            }
        };
        let code = part(descriptor.pos, descriptor.code_size, "code")?;
        if !code.len().is_multiple_of(WORD) {
            return Err(self.not("right about the code, which is not a whole number of words"));
        }
        for (_, offset) in &descriptor.relocs {
            let fits = offset.is_multiple_of(WORD) && *offset < code.len();
            if !fits {
                return Err(Error::malformed(*offset, "a relocation lies outside the code or within a word"));
            }
        }
        let debug = match descriptor.debug {
            0 => None,
            pos => Some(part(pos, descriptor.debug_size, "debug data")?),
        };
        let Descriptor { name, relocs, literals, imports, required_globals, primitives, force_link, .. } =
            descriptor;
        Ok(CompilationUnit {
            dialect,
            name,
            code,
            relocs,
            literals,
            imports,
            required_globals,
            primitives,
            force_link,
            debug,
            origin: None,
        })
    }
}
