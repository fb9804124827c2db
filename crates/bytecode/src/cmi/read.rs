//! Reading a `.cmi` file: two marshalled values after the interface itself, which is a graph of the typechecker.

mod items;
mod names;
mod types;

use std::collections::HashMap;

use super::types::Node;
use super::{Flag, Interface, TypeId};
use crate::dialect::{Dialect, FileKind, MAGIC_LEN};
use crate::error::{Error, Result};
use crate::marshal::{Graph, Header, Item, NodeId};
use crate::room;
use crate::view::{Budget, View};

/// How deep modules and functors may be nested in each other. The compiler has no limit; its own sources need 6.
const DEEPEST: usize = 64;

impl Interface {
    /// Reads a `.cmi` file.
    ///
    /// # Errors
    ///
    /// When it is not a `.cmi` file, is of an unknown version, or is malformed.
    pub fn read(bytes: &[u8]) -> Result<Interface> {
        let dialect = Dialect::of_magic(&bytes[..bytes.len().min(MAGIC_LEN)], FileKind::Interface, 0)?;
        let (interface, rest) = value(&bytes[MAGIC_LEN..], "interface")?;
        let (imports, rest) = value(rest, "table of interfaces")?;
        let (flags, _) = value(rest, "flags")?;
        let mut interface =
            Reader::interface(&interface, dialect).map_err(|error| error.in_section("interface"))?;
        interface.imports = View::root(&imports, &Budget::of(&imports), "table of interfaces")
            .imports()
            .map_err(|error| error.in_section("table of interfaces"))?;
        let budget = Budget::of(&flags);
        let flags = View::root(&flags, &budget, "flag of the interface");
        interface.flags = flags
            .list()
            .and_then(|flags| room::collect(flags.iter().map(|flag| read_flag(*flag))))
            .map_err(|error| error.in_section("flags"))?;
        Ok(interface)
    }
}

/// Decodes the first value, and returns the bytes after it.
fn value<'a>(bytes: &'a [u8], section: &str) -> Result<(Graph, &'a [u8])> {
    // A header that cannot be read is reported by the decoder below.
    let whole = Header::parse(bytes).map_or(bytes, |header| header.whole(bytes).unwrap_or(bytes));
    let (graph, consumed) = Graph::decode(whole).map_err(|error| error.in_section(section))?;
    Ok((graph, &bytes[consumed..]))
}

fn read_flag(view: View<'_>) -> Result<Flag> {
    match view.item {
        Item::Int(0) => Ok(Flag::RecursiveTypes),
        Item::Int(1) => Ok(Flag::Opaque),
        Item::Int(2) => Ok(Flag::UnsafeString),
        _ => match view.block()? {
            (0, [_alerts]) => Ok(Flag::Alerts),
            _ => Err(view.not("of a known kind")),
        },
    }
}

/// Reads one interface's graph.
struct Reader {
    dialect: &'static Dialect,
    types: Vec<Node>,
    /// The types found so far, by the node that their links lead to.
    known: HashMap<NodeId, TypeId>,
    /// The indices of the items that are being read, outermost first.
    place: Vec<u32>,
    places: HashMap<i64, Vec<u32>>,
    /// How many signatures and module types are being read.
    depth: usize,
}

impl Reader {
    fn interface(graph: &Graph, dialect: &'static Dialect) -> Result<Interface> {
        let budget = Budget::of(graph);
        let view = View::root(graph, &budget, "interface");
        let [name, signature] = *view.tuple()?;
        let mut reader = Reader {
            dialect,
            types: Vec::new(),
            known: HashMap::new(),
            place: Vec::new(),
            places: HashMap::new(),
            depth: 0,
        };
        let mut todo = Vec::new();
        let signature = reader.signature(view.of(signature, "signature"), &mut todo)?;
        // A type is read when everything that refers to it is known: types may be nested to any depth.
        while let Some((view, id)) = todo.pop() {
            reader.types[id.0 as usize] = reader.node(view, &mut todo)?;
        }
        Ok(Interface {
            dialect,
            name: view.of(name, "name of the unit").name()?,
            signature,
            imports: Vec::new(),
            flags: Vec::new(),
            types: reader.types,
            places: reader.places,
        })
    }
}

/// Types that have been found but not read.
type Todo<'g> = Vec<(View<'g>, TypeId)>;

/// An error for something that is nested without an end.
#[cold]
fn too_deep(what: &str) -> Error {
    Error::new(crate::ErrorKind::Malformed(format!("{what} are nested too deeply")))
}
