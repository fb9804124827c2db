//! The numbers that the linker assigns: slots of globals and primitives.

use std::collections::{BTreeSet, HashMap};

use indexmap::IndexSet;

use super::error;
use crate::dialect::{Dialect, LiteralEncoding};
use crate::error::Result;
use crate::exe::Symbols;
use crate::marshal::{GraphBuilder, Item, NodeId};
use crate::obj::{CompilationUnit, Constant, LiteralId, Literals, Reloc};
use crate::view::Ident;

/// The tag of exceptions' slots: that of objects.
const OBJECT: u8 = 248;

/// The globals and primitives of a program.
pub(super) struct Tables {
    dialect: &'static Dialect,
    pub(super) symbols: Symbols,
    primitives: IndexSet<String>,
    /// The globals' initial values.
    graph: GraphBuilder,
    slots: Vec<Item<NodeId>>,
}

impl Tables {
    /// The tables of an empty program: it has the predefined exceptions.
    pub(super) fn new(dialect: &'static Dialect, primitives: &[String]) -> Tables {
        let mut tables = Tables {
            dialect,
            symbols: Symbols::default(),
            primitives: primitives.iter().cloned().collect(),
            graph: GraphBuilder::default(),
            slots: Vec::new(),
        };
        for (index, (exception, _)) in dialect.predefined.iter().enumerate() {
            let name = tables.graph.add_string(exception.name().as_bytes());
            let value = tables.graph.add_block(OBJECT, &[name, Item::Int(-1 - index as i64)]);
            let slot = tables.new_slot(value);
            tables.symbols.slots.insert(Ident::Predef(exception.name().to_owned()), slot);
        }
        tables
    }

    fn new_slot(&mut self, value: Item<NodeId>) -> usize {
        self.slots.push(value);
        self.symbols.count = self.slots.len();
        self.slots.len() - 1
    }

    /// A slot that has no name.
    pub(super) fn reserve(&mut self) -> usize {
        self.new_slot(Item::Int(0))
    }

    /// The number of each relocation of a unit, in their order.
    pub(super) fn numbers(&mut self, unit: &CompilationUnit) -> Result<Vec<i32>> {
        // Values share what they share in the file. Up to 5.0 the compiler makes them of descriptions, and each block
        // and float anew.
        let mut simple = HashMap::new();
        let shared = match self.dialect.literals {
            LiteralEncoding::Value => Some(unit.literals.add_values(&mut self.graph)),
            LiteralEncoding::StructuredConstant => None,
        };
        let mut budget = unit.literals.all().len().saturating_mul(64).saturating_add(1 << 16);
        let mut numbers = Vec::with_capacity(unit.relocs.len());
        for (reloc, _) in &unit.relocs {
            let number = match reloc {
                Reloc::Literal(id) => {
                    let value = match &shared {
                        Some(items) => items[id.index()],
                        None => add_copy(&unit.literals, *id, &mut simple, &mut budget, &mut self.graph)?,
                    };
                    self.new_slot(value)
                }
                Reloc::GetGlobal(ident) => self.symbols.slot(ident).ok_or_else(|| {
                    error(format!("{} needs {}, which is not defined before it", unit.name, ident.name()))
                })?,
                Reloc::SetGlobal(ident) => {
                    let slot = self.new_slot(Item::Int(0));
                    self.symbols.slots.insert(ident.clone(), slot);
                    slot
                }
                Reloc::Primitive(name) => self.primitive(name),
            };
            numbers.push(i32::try_from(number).map_err(|_| error("there are too many globals"))?);
        }
        Ok(numbers)
    }

    fn primitive(&mut self, name: &str) -> usize {
        match self.primitives.get_index_of(name) {
            Some(index) => index,
            None => self.primitives.insert_full(name.to_owned()).0,
        }
    }

    /// Enters the primitives that a unit declares, used or not.
    pub(super) fn declare(&mut self, unit: &CompilationUnit) {
        for name in unit.primitives.iter().filter(|name| !name.starts_with('%')) {
            self.primitive(name);
        }
    }

    pub(super) fn primitives(&self) -> impl Iterator<Item = &str> {
        self.primitives.iter().map(String::as_str)
    }

    /// The marshalled initial values of the globals.
    pub(super) fn data(&self) -> Vec<u8> {
        let mut graph = self.graph.clone();
        let root = graph.add_block(0, &self.slots);
        graph.finish(root).encode(self.dialect.colour)
    }
}

/// Adds a literal's value. It shares only what is in `simple`: strings and boxed integers. `budget` bounds the parts of
/// all literals.
fn add_copy(
    literals: &Literals,
    id: LiteralId,
    simple: &mut HashMap<LiteralId, Item<NodeId>>,
    budget: &mut usize,
    graph: &mut GraphBuilder,
) -> Result<Item<NodeId>> {
    let mut needed = BTreeSet::from([id]);
    let mut todo = vec![id];
    while let Some(id) = todo.pop() {
        *budget = budget.checked_sub(1).ok_or_else(|| error("literals share too much"))?;
        if let Constant::Block { fields, .. } = literals.get(id) {
            todo.extend(fields.iter().filter(|field| needed.insert(**field)));
        }
    }
    // Parts come before the whole.
    let mut items = HashMap::new();
    for id in &needed {
        let constant = literals.get(*id);
        let item = match (constant, simple.get(id)) {
            (_, Some(item)) => *item,
            (Constant::Block { tag, fields }, None) => {
                let fields: Vec<_> = fields.iter().map(|field| items[field]).collect();
                graph.add_block(*tag, &fields)
            }
            (constant, None) => constant.add_simple(graph),
        };
        if !matches!(constant, Constant::Block { .. } | Constant::Float { .. } | Constant::FloatArray { .. })
        {
            simple.insert(*id, item);
        }
        items.insert(*id, item);
    }
    Ok(items[&id])
}

/// The `DBUG` section: the debug data of each unit with the offset of its code, the last unit first.
pub(super) fn debug(units: &[(usize, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = (units.len() as u32).to_be_bytes().to_vec();
    for (offset, data) in units.iter().rev() {
        bytes.extend_from_slice(&(*offset as u32).to_be_bytes());
        bytes.extend_from_slice(data);
    }
    bytes
}
