//! The marshalled record that describes a unit: `compilation_unit` in OCaml's `cmo_format.mli`.

use super::constant::{LiteralReader, Literals};
use super::unit::{CompilationUnit, Reloc};
use crate::dialect::{Dialect, IdentEncoding};
use crate::error::Result;
use crate::marshal::{Graph, GraphBuilder, Item, NodeId};
use crate::room;
use crate::view::{Ident, Imports, View, add_imports, add_strings, add_unit_ident};

/// The positions of the two fields that contain file offsets.
const POS: usize = 1;
const DEBUG: usize = 8;

/// The record, field by field.
pub(super) struct Descriptor {
    pub(super) name: String,
    pub(super) pos: usize,
    pub(super) code_size: usize,
    pub(super) relocs: Vec<(Reloc, usize)>,
    pub(super) literals: Literals,
    pub(super) imports: Imports,
    pub(super) required_globals: Vec<Ident>,
    pub(super) primitives: Vec<String>,
    pub(super) force_link: bool,
    pub(super) debug: usize,
    pub(super) debug_size: usize,
}

impl Descriptor {
    pub(super) fn read(view: View<'_>, dialect: &Dialect) -> Result<Descriptor> {
        let [name, pos, code_size, relocs, imports, required, primitives, force_link, debug, debug_size] =
            *view.tuple()?;
        let mut literals = LiteralReader::new(dialect);
        let relocs = view.of(relocs, "list of relocations").list()?.iter();
        let relocs = room::collect(relocs.map(|reloc| read_reloc(*reloc, &mut literals, dialect)))?;
        let required = view.of(required, "list of required globals").list()?;
        Ok(Descriptor {
            name: view.of(name, "name of the unit").name()?,
            pos: view.of(pos, "position of the code").size()?,
            code_size: view.of(code_size, "size of the code").size()?,
            relocs,
            literals: literals.finish(),
            imports: view.of(imports, "list of imports").imports()?,
            required_globals: room::collect(required.iter().map(|ident| ident.unit_ident(dialect)))?,
            primitives: view.of(primitives, "list of primitives").strings()?,
            force_link: view.of(force_link, "link flag").bool()?,
            debug: view.of(debug, "position of the debug data").size()?,
            debug_size: view.of(debug_size, "size of the debug data").size()?,
        })
    }

    /// Whether it describes that unit, ignoring positions.
    pub(super) fn describes(&self, unit: &CompilationUnit) -> bool {
        self.name == unit.name
            && self.code_size == unit.code.len()
            && self.relocs == unit.relocs
            && self.literals == unit.literals
            && self.imports == unit.imports
            && self.required_globals == unit.required_globals
            && self.primitives == unit.primitives
            && self.force_link == unit.force_link
            && self.debug_size == unit.debug.as_ref().map_or(0, Vec::len)
    }
}

fn read_reloc(view: View<'_>, literals: &mut LiteralReader, dialect: &Dialect) -> Result<(Reloc, usize)> {
    let [reloc, offset] = *view.tuple()?;
    let offset = view.of(offset, "offset of a relocation").size()?;
    let reloc = view.of(reloc, "relocation");
    let reloc = match reloc.block()? {
        (0, [literal]) => Reloc::Literal(literals.read(view.of(*literal, "literal"))?),
        (tag @ 1..=4, [name]) if dialect.idents == IdentEncoding::UnitOrPredef => {
            let name = view.of(*name, "name of a global or primitive").name()?;
            match tag {
                1 => Reloc::GetGlobal(Ident::Unit(name)),
                2 => Reloc::GetGlobal(Ident::Predef(name)),
                3 => Reloc::SetGlobal(Ident::Unit(name)),
                _ => Reloc::Primitive(name),
            }
        }
        (1, [ident]) => Reloc::GetGlobal(view.of(*ident, "global").ident(dialect)?),
        (2, [ident]) => Reloc::SetGlobal(view.of(*ident, "global").ident(dialect)?),
        (3, [name]) => Reloc::Primitive(view.of(*name, "name of a primitive").name()?),
        _ => return Err(reloc.not("of a known kind")),
    };
    Ok((reloc, offset))
}

/// Sets the positions in an existing record.
pub(super) fn set_positions(graph: &mut Graph, record: NodeId, pos: usize, debug: usize) {
    graph.set_field(record, POS, Item::Int(pos as i64));
    graph.set_field(record, DEBUG, Item::Int(debug as i64));
}

/// Adds a record for a unit that was not read from a file, or has changed since.
pub(super) fn add(
    graph: &mut GraphBuilder,
    unit: &CompilationUnit,
    dialect: &Dialect,
    pos: usize,
    debug: usize,
) -> Item<NodeId> {
    let literals = unit.literals.add_to_graph(graph, dialect);
    let relocs: Vec<_> = unit
        .relocs
        .iter()
        .map(|(reloc, offset)| {
            // From 5.2 on, predefined exceptions have a kind of their own.
            let later = u8::from(dialect.idents == IdentEncoding::UnitOrPredef);
            let (tag, field) = match reloc {
                Reloc::Literal(id) => (0, literals[id.index()]),
                Reloc::GetGlobal(ident) => {
                    let later = if matches!(ident, Ident::Predef(_)) { later } else { 0 };
                    (1 + later, add_unit_ident(graph, ident, dialect))
                }
                Reloc::SetGlobal(ident) => (2 + later, add_unit_ident(graph, ident, dialect)),
                Reloc::Primitive(name) => (3 + later, graph.add_string(name.as_bytes())),
            };
            let reloc = graph.add_block(tag, &[field]);
            graph.add_block(0, &[reloc, Item::Int(*offset as i64)])
        })
        .collect();
    let required: Vec<_> =
        unit.required_globals.iter().map(|ident| add_unit_ident(graph, ident, dialect)).collect();
    let fields = [
        graph.add_string(unit.name.as_bytes()),
        Item::Int(pos as i64),
        Item::Int(unit.code.len() as i64),
        graph.add_list(&relocs),
        add_imports(graph, &unit.imports),
        graph.add_list(&required),
        add_strings(graph, &unit.primitives),
        Item::Int(unit.force_link.into()),
        Item::Int(debug as i64),
        Item::Int(unit.debug.as_ref().map_or(0, Vec::len) as i64),
    ];
    graph.add_block(0, &fields)
}
