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

    /// The marshalled table, as OCaml's map is when the names have been added in the order of their slots.
    pub fn write(&self, dialect: &Dialect) -> Vec<u8> {
        let key = |ident: &Ident| match (dialect.idents, ident) {
            // By stamp, then by name: units have none.
            (IdentEncoding::Ident, Ident::Predef(name)) => (0, dialect.stamp(name)),
            (IdentEncoding::Ident, Ident::Unit(_)) => (1, 0),
            // By kind, then by name: OCaml compares the keys.
            (IdentEncoding::UnitOrPredef, Ident::Unit(_)) => (0, 0),
            (IdentEncoding::UnitOrPredef, Ident::Predef(_)) => (1, 0),
        };
        let mut entries: Vec<_> = self.slots.iter().map(|(ident, slot)| (ident, *slot)).collect();
        entries.sort_by_key(|(_, slot)| *slot);
        let keys: Vec<_> = entries.iter().map(|(ident, _)| (key(ident), ident.name())).collect();
        let mut map = Map::default();
        let root = (0..entries.len()).fold(None, |root, entry| Some(map.add(root, entry, &keys)));
        let mut graph = GraphBuilder::default();
        let table = map.write(root, &entries, &mut graph, dialect);
        let root = graph.add_block(0, &[Item::Int(self.count as i64), table]);
        graph.finish(root).encode(dialect.colour)
    }
}

/// A tree of OCaml's `Map`, to be balanced as that is. Nodes are made anew when a tree changes.
#[derive(Default)]
struct Map {
    nodes: Vec<Branch>,
}

/// A node of the tree: an entry, between those before it and those after it.
#[derive(Clone, Copy)]
struct Branch {
    left: Tree,
    entry: usize,
    right: Tree,
    height: i64,
}

type Tree = Option<usize>;

impl Map {
    fn height(&self, tree: Tree) -> i64 {
        tree.map_or(0, |node| self.nodes[node].height)
    }

    fn create(&mut self, left: Tree, entry: usize, right: Tree) -> usize {
        let height = 1 + self.height(left).max(self.height(right));
        self.nodes.push(Branch { left, entry, right, height });
        self.nodes.len() - 1
    }

    /// A tree with one entry more. The recursion is as deep as the tree.
    fn add<K: Ord>(&mut self, tree: Tree, entry: usize, keys: &[K]) -> usize {
        let Some(node) = tree else { return self.create(None, entry, None) };
        let Branch { left, entry: here, right, .. } = self.nodes[node];
        if keys[entry] < keys[here] {
            let left = self.add(left, entry, keys);
            self.balance(Some(left), here, right)
        } else {
            let right = self.add(right, entry, keys);
            self.balance(left, here, Some(right))
        }
    }

    /// A node of two trees, of which one may be too high by one.
    fn balance(&mut self, left: Tree, entry: usize, right: Tree) -> usize {
        let (left_height, right_height) = (self.height(left), self.height(right));
        match (left, right) {
            (Some(left), _) if left_height > right_height + 2 => {
                let high = self.nodes[left];
                match high.right {
                    Some(inner) if self.height(high.left) < self.height(high.right) => {
                        let inner = self.nodes[inner];
                        let left = self.create(high.left, high.entry, inner.left);
                        let right = self.create(inner.right, entry, right);
                        self.create(Some(left), inner.entry, Some(right))
                    }
                    _ => {
                        let right = self.create(high.right, entry, right);
                        self.create(high.left, high.entry, Some(right))
                    }
                }
            }
            (_, Some(right)) if right_height > left_height + 2 => {
                let high = self.nodes[right];
                match high.left {
                    Some(inner) if self.height(high.right) < self.height(high.left) => {
                        let inner = self.nodes[inner];
                        let left = self.create(left, entry, inner.left);
                        let right = self.create(inner.right, high.entry, high.right);
                        self.create(Some(left), inner.entry, Some(right))
                    }
                    _ => {
                        let left = self.create(left, entry, high.left);
                        self.create(Some(left), high.entry, high.right)
                    }
                }
            }
            _ => self.create(left, entry, right),
        }
    }

    fn write(
        &self,
        tree: Tree,
        entries: &[(&Ident, usize)],
        graph: &mut GraphBuilder,
        dialect: &Dialect,
    ) -> Item<NodeId> {
        let Some(node) = tree else { return Item::Int(0) };
        let Branch { left, entry, right, height } = self.nodes[node];
        let left = self.write(left, entries, graph, dialect);
        let (ident, slot) = entries[entry];
        let key = add_ident(graph, ident, dialect);
        let right = self.write(right, entries, graph, dialect);
        graph.add_block(0, &[left, key, Item::Int(slot as i64), right, Item::Int(height)])
    }
}
