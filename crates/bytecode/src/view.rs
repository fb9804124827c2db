//! Typed access to the graphs of descriptors and symbol tables: OCaml's lists, options, tuples and records.

use std::cell::Cell;

use bumpalo::Bump;

use crate::dialect::{Dialect, IdentEncoding};
use crate::error::{Error, ErrorKind, Result};
use crate::marshal::{Graph, GraphBuilder, Item, Node, NodeId};
use crate::room;

/// The digest of an interface: MD5 up to 5.4, BLAKE2b from 5.5.
pub type Digest = [u8; 16];

/// Unit names with the digests of their interfaces, where known.
pub type Imports = Vec<(String, Option<Digest>)>;

/// The name of a global.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ident {
    /// A compilation unit.
    Unit(String),
    /// A predefined exception.
    Predef(String),
}

impl Ident {
    /// The name alone.
    pub fn name(&self) -> &str {
        match self {
            Ident::Unit(name) | Ident::Predef(name) => name,
        }
    }
}

/// The budget for copying out of a graph, and an arena for what is only needed while it is read.
///
/// Shared parts are copied at each reference, so without a budget a small file could cause huge allocations: many
/// lists that share one long tail of long strings. OCaml's own files stay far below the bound.
pub(crate) struct Budget {
    left: Cell<usize>,
    scratch: Bump,
}

impl Budget {
    pub(crate) fn of(graph: &Graph) -> Budget {
        let left = graph.extent().saturating_mul(64).saturating_add(1 << 16);
        Budget { left: Cell::new(left), scratch: Bump::new() }
    }
}

/// A value in a graph, with a description of its expected type.
#[derive(Clone, Copy)]
pub(crate) struct View<'g> {
    pub(crate) graph: &'g Graph,
    pub(crate) item: Item<NodeId>,
    what: &'static str,
    budget: &'g Budget,
}

impl<'g> View<'g> {
    pub(crate) fn root(graph: &'g Graph, budget: &'g Budget, what: &'static str) -> View<'g> {
        View { graph, item: graph.root(), what, budget }
    }

    /// Takes from the budget what is about to be copied.
    pub(crate) fn charge(self, amount: usize) -> Result<()> {
        let left = self.budget.left.get().checked_sub(amount);
        self.budget.left.set(left.ok_or_else(|| self.not("of a reasonable size (too much is shared)"))?);
        Ok(())
    }

    pub(crate) fn of(self, item: Item<NodeId>, what: &'static str) -> View<'g> {
        View { item, what, ..self }
    }

    #[cold]
    pub(crate) fn not(self, expected: &str) -> Error {
        Error::new(ErrorKind::Malformed(format!("the {} is not {expected}", self.what)))
    }

    pub(crate) fn node(self) -> Option<Node<'g>> {
        match self.item {
            Item::Obj(id) => Some(self.graph.node(id)),
            _ => None,
        }
    }

    /// The tag and the fields of a block.
    pub(crate) fn block(self) -> Result<(u8, &'g [Item<NodeId>])> {
        match self.node() {
            Some(Node::Block { tag, fields }) => Ok((tag, fields)),
            _ => Err(self.not("a block")),
        }
    }

    /// The fields of a block of tag 0 and that size.
    pub(crate) fn tuple<const N: usize>(self) -> Result<&'g [Item<NodeId>; N]> {
        match self.block()? {
            (0, fields) => fields.try_into().map_err(|_| self.not(&format!("a record of {N} fields"))),
            _ => Err(self.not("a record")),
        }
    }

    pub(crate) fn int(self) -> Result<i64> {
        match self.item {
            Item::Int(n) => Ok(n),
            _ => Err(self.not("an integer")),
        }
    }

    pub(crate) fn size(self) -> Result<usize> {
        usize::try_from(self.int()?).map_err(|_| self.not("a size"))
    }

    pub(crate) fn bool(self) -> Result<bool> {
        match self.item {
            Item::Int(0) => Ok(false),
            Item::Int(1) => Ok(true),
            _ => Err(self.not("a boolean")),
        }
    }

    pub(crate) fn bytes(self) -> Result<&'g [u8]> {
        match self.node() {
            Some(Node::String(bytes)) => {
                self.charge(bytes.len())?;
                Ok(bytes)
            }
            _ => Err(self.not("a string")),
        }
    }

    pub(crate) fn string(self) -> Result<String> {
        let bytes = self.bytes()?;
        let text = std::str::from_utf8(bytes).map_err(|_| self.not("in UTF-8"))?;
        room::to_string(text)
    }

    /// The name of a unit, an exception or a primitive: at most as long as a file path, so that an error message can
    /// contain it even when memory is short.
    pub(crate) fn name(self) -> Result<String> {
        const LONGEST: usize = 4096;
        let name = self.string()?;
        if name.len() > LONGEST { Err(self.not("of a length that names have")) } else { Ok(name) }
    }

    /// The items of a list. A list with more items than the graph has nodes is cyclic.
    pub(crate) fn list(self) -> Result<&'g [View<'g>]> {
        let mut items = bumpalo::collections::Vec::new_in(&self.budget.scratch);
        let mut rest = self;
        while rest.item != Item::Int(0) {
            let (0, [head, tail]) = rest.block()? else { return Err(self.not("a list")) };
            if items.len() == self.graph.len() {
                return Err(self.not("a finite list"));
            }
            self.charge(1)?;
            items.try_reserve(1).map_err(|_| Error::out_of_memory())?;
            items.push(self.of(*head, self.what));
            rest = self.of(*tail, self.what);
        }
        Ok(items.into_bump_slice())
    }

    /// Views of several items.
    pub(crate) fn each(self, items: &[Item<NodeId>], what: &'static str) -> Result<&'g [View<'g>]> {
        self.charge(items.len())?;
        let mut views = bumpalo::collections::Vec::new_in(&self.budget.scratch);
        views.try_reserve_exact(items.len()).map_err(|_| Error::out_of_memory())?;
        views.extend(items.iter().map(|item| self.of(*item, what)));
        Ok(views.into_bump_slice())
    }

    pub(crate) fn strings(self) -> Result<Vec<String>> {
        room::collect(self.list()?.iter().map(|item| item.string()))
    }

    /// A list of unit names with optional digests.
    pub(crate) fn imports(self) -> Result<Imports> {
        let import = |view: &View<'g>| {
            let [name, digest] = *view.tuple()?;
            let digest = match digest {
                Item::Int(0) => None,
                _ => match view.of(digest, "digest of an import").block()? {
                    (0, [digest]) => {
                        let digest = view.of(*digest, "digest of an import");
                        Some(digest.bytes()?.try_into().map_err(|_| digest.not("16 bytes long"))?)
                    }
                    _ => return Err(view.not("a name with an optional digest")),
                },
            };
            Ok((view.of(name, "name of an import").name()?, digest))
        };
        room::collect(self.list()?.iter().map(import))
    }

    /// The name of a unit, where nothing but a unit can be named from 5.2 on.
    pub(crate) fn unit_ident(self, dialect: &Dialect) -> Result<Ident> {
        match dialect.idents {
            IdentEncoding::Ident => self.ident(dialect),
            IdentEncoding::UnitOrPredef => self.name().map(Ident::Unit),
        }
    }

    pub(crate) fn ident(self, dialect: &Dialect) -> Result<Ident> {
        match dialect.idents {
            IdentEncoding::Ident => match self.block()? {
                (2, [name]) => Ok(Ident::Unit(self.of(*name, "name of a unit").name()?)),
                (3, [name, _stamp]) => Ok(Ident::Predef(self.of(*name, "name of an exception").name()?)),
                _ => Err(self.not("the name of a unit or predefined exception")),
            },
            IdentEncoding::UnitOrPredef => match self.block()? {
                (0, [name]) => Ok(Ident::Unit(self.of(*name, "name of a unit").name()?)),
                (1, [name]) => Ok(Ident::Predef(self.of(*name, "name of an exception").name()?)),
                _ => Err(self.not("the name of a unit or predefined exception")),
            },
        }
    }
}

/// Adds an identifier to a graph.
pub(crate) fn add_ident(graph: &mut GraphBuilder, ident: &Ident, dialect: &Dialect) -> Item<NodeId> {
    match dialect.idents {
        IdentEncoding::Ident => match ident {
            Ident::Unit(name) => {
                let name = graph.add_string(name.as_bytes());
                graph.add_block(2, &[name])
            }
            Ident::Predef(name) => {
                let name = graph.add_string(name.as_bytes());
                graph.add_block(3, &[name, Item::Int(dialect.stamp(ident.name()))])
            }
        },
        IdentEncoding::UnitOrPredef => {
            let name = graph.add_string(ident.name().as_bytes());
            graph.add_block(matches!(ident, Ident::Predef(_)).into(), &[name])
        }
    }
}

/// Adds the name of a unit, where nothing but a unit can be named from 5.2 on.
pub(crate) fn add_unit_ident(graph: &mut GraphBuilder, ident: &Ident, dialect: &Dialect) -> Item<NodeId> {
    match dialect.idents {
        IdentEncoding::Ident => add_ident(graph, ident, dialect),
        IdentEncoding::UnitOrPredef => graph.add_string(ident.name().as_bytes()),
    }
}

/// Adds a list of strings to a graph.
pub(crate) fn add_strings(graph: &mut GraphBuilder, strings: &[String]) -> Item<NodeId> {
    let strings: Vec<_> = strings.iter().map(|string| graph.add_string(string.as_bytes())).collect();
    graph.add_list(&strings)
}

/// Adds a list of unit names with optional digests to a graph.
pub(crate) fn add_imports(graph: &mut GraphBuilder, imports: &[(String, Option<Digest>)]) -> Item<NodeId> {
    let imports: Vec<_> = imports
        .iter()
        .map(|(name, digest)| {
            let name = graph.add_string(name.as_bytes());
            let digest = match digest {
                None => Item::Int(0),
                Some(digest) => {
                    let digest = graph.add_string(digest);
                    graph.add_block(0, &[digest])
                }
            };
            graph.add_block(0, &[name, digest])
        })
        .collect();
    graph.add_list(&imports)
}
