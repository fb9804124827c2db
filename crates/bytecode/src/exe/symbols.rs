//! The `SYMB` section: the names of global slots.

use indexmap::IndexMap;

use crate::dialect::{Dialect, IdentEncoding};
use crate::error::{Error, ErrorKind, Result};
use crate::marshal::{Graph, GraphBuilder, Item, NodeId};
use crate::room;
use crate::view::{Budget, Ident, View, add_ident};

/// The named globals of a program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Symbols {
    /// How many slots there are, named or not; the next free slot.
    pub count: usize,
    /// The slots of units and predefined exceptions, in the order of OCaml's map.
    pub slots: IndexMap<Ident, usize>,
}

impl Symbols {
    /// The slot of a global.
    pub fn slot(&self, ident: &Ident) -> Option<usize> {
        self.slots.get(ident).copied()
    }

    /// The slot of a unit.
    pub fn unit(&self, name: &str) -> Option<usize> {
        self.slot(&Ident::Unit(name.to_owned()))
    }

    /// The slot of a predefined exception.
    pub fn predef(&self, name: &str) -> Option<usize> {
        self.slot(&Ident::Predef(name.to_owned()))
    }

    /// Reads the marshalled table: a `SYMB` section.
    ///
    /// # Errors
    ///
    /// When it is malformed.
    pub fn read(bytes: &[u8], dialect: &Dialect) -> Result<Symbols> {
        Symbols::read_table(bytes, dialect).map_err(|error| error.in_section("SYMB"))
    }

    fn read_table(bytes: &[u8], dialect: &Dialect) -> Result<Symbols> {
        let (graph, _) = Graph::decode(bytes)?;
        let budget = Budget::of(&graph);
        let root = View::root(&graph, &budget, "symbol table");
        let [count, table] = *root.tuple()?;
        let count = root.of(count, "number of globals").size()?;
        let mut slots = IndexMap::new();
        // In-order traversal of a `Map`: Block(0; left, key, slot, right, height), or 0 when empty.
        let mut parents = Vec::new();
        let mut tree = root.of(table, "map of globals");
        loop {
            while tree.item != Item::Int(0) {
                let fields: &[_; 5] = tree.tuple()?;
                if parents.len() + slots.len() > graph.len() {
                    return Err(tree.not("a finite tree"));
                }
                room::push(&mut parents, fields)?;
                tree = root.of(fields[0], "map of globals");
            }
            let Some([_, key, slot, right, _]) = parents.pop() else { break };
            let ident = root.of(*key, "name of a global").ident(dialect)?;
            let slot = root.of(*slot, "slot of a global").size()?;
            if slot >= count {
                let what = format!("{} has slot {slot}, but there are only {count}", ident.name());
                return Err(Error::new(ErrorKind::Malformed(what)));
            }
            slots.try_reserve(1).map_err(|_| Error::out_of_memory())?;
            if let Some(_earlier) = slots.insert(ident, slot) {
                return Err(tree.not("a map (a name occurs twice)"));
            }
            tree = root.of(*right, "map of globals");
        }
        Ok(Symbols { count, slots })
    }

    /// The marshalled table. Names may be in any order.
    pub fn write(&self, dialect: &Dialect) -> Vec<u8> {
        let mut entries: Vec<_> = self.slots.iter().map(|(ident, slot)| (ident, *slot)).collect();
        entries.sort_by_key(|&(ident, _)| match (dialect.idents, ident) {
            // By stamp, then by name: units have none.
            (IdentEncoding::Ident, Ident::Predef(name)) => (0, dialect.stamp(name), ident),
            (IdentEncoding::Ident, Ident::Unit(_)) => (1, 0, ident),
            // By kind, then by name: OCaml compares the keys.
            (IdentEncoding::UnitOrPredef, Ident::Unit(_)) => (0, 0, ident),
            (IdentEncoding::UnitOrPredef, Ident::Predef(_)) => (1, 0, ident),
        });
        let mut graph = GraphBuilder::default();
        let (table, _) = add_tree(&mut graph, &entries, dialect);
        let root = graph.add_block(0, &[Item::Int(self.count as i64), table]);
        graph.finish(root).encode(dialect.colour)
    }
}

/// Adds a perfectly balanced `Map` of sorted entries, and returns its height too. The recursion is as deep as the
/// tree.
fn add_tree(graph: &mut GraphBuilder, entries: &[(&Ident, usize)], dialect: &Dialect) -> (Item<NodeId>, i64) {
    let (left, right) = entries.split_at(entries.len() / 2);
    let Some(((ident, slot), right)) = right.split_first() else { return (Item::Int(0), 0) };
    let (left, left_height) = add_tree(graph, left, dialect);
    let key = add_ident(graph, ident, dialect);
    let (right, right_height) = add_tree(graph, right, dialect);
    let height = 1 + left_height.max(right_height);
    let node = graph.add_block(0, &[left, key, Item::Int(*slot as i64), right, Item::Int(height)]);
    (node, height)
}
