//! Literals: the constants that code refers to. Up to 5.0 files describe them (`Lambda.structured_constant`), from 5.1
//! on they contain the values.

use std::collections::HashMap;

use crate::dialect::{Dialect, LiteralEncoding};
use crate::error::{Error, ErrorKind, Result};
use crate::marshal::{Custom, GraphBuilder, Item, Node, NodeId};
use crate::room;
use crate::view::View;

/// A literal of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LiteralId(u32);

impl LiteralId {
    /// Its index in [`Literals::all`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A structured constant. Its parts are other literals of the same unit.
///
/// Files from 5.1 on do not tell characters from integers nor one kind of string from the other; they are read as
/// [`Int`](Constant::Int) and [`String`](Constant::String).
#[derive(Debug, Clone)]
pub enum Constant {
    /// An integer.
    Int(i64),
    /// A character.
    Char(u8),
    /// A string.
    String(Vec<u8>),
    /// An immutable string (used for `__LOC__` and similar).
    ImmString(Vec<u8>),
    /// A float.
    Float {
        /// As in the source, with underscores and perhaps in hexadecimal; the shortest decimal form if the file does not
        /// tell.
        text: String,
        /// Its value.
        value: f64,
    },
    /// A boxed integer of 32 bits.
    Int32(i32),
    /// A boxed integer of 64 bits.
    Int64(i64),
    /// A boxed native integer.
    Nativeint(i64),
    /// A block; an atom when it has no fields.
    Block {
        /// Its tag.
        tag: u8,
        /// Its fields; all of them come earlier among the literals.
        fields: Vec<LiteralId>,
    },
    /// A flat float array.
    FloatArray {
        /// The floats as in the source.
        texts: Vec<String>,
        /// Their values.
        values: Vec<f64>,
    },
}

impl Constant {
    /// Adds its value, if it has no parts; of a block, one without fields.
    pub(crate) fn add_simple(&self, graph: &mut GraphBuilder) -> Item<NodeId> {
        match self {
            Constant::Int(n) => Item::Int(*n),
            Constant::Char(c) => Item::Int((*c).into()),
            Constant::String(bytes) | Constant::ImmString(bytes) => graph.add_string(bytes),
            Constant::Float { value, .. } => graph.add_double(*value),
            Constant::Int32(n) => graph.add_custom(Custom::Int32(*n)),
            Constant::Int64(n) => graph.add_custom(Custom::Int64(*n)),
            Constant::Nativeint(n) => graph.add_custom(Custom::Nativeint(*n)),
            Constant::Block { tag, .. } => graph.add_block(*tag, &[]),
            // The empty array is the atom.
            Constant::FloatArray { values, .. } if values.is_empty() => graph.add_block(0, &[]),
            Constant::FloatArray { values, .. } => graph.add_double_array(values),
        }
    }
}

/// Floats are equal if their bits are.
impl PartialEq for Constant {
    fn eq(&self, other: &Self) -> bool {
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        match (self, other) {
            (Constant::Int(a), Constant::Int(b)) => a == b,
            (Constant::Char(a), Constant::Char(b)) => a == b,
            (Constant::String(a), Constant::String(b)) => a == b,
            (Constant::ImmString(a), Constant::ImmString(b)) => a == b,
            (Constant::Float { text: t, value: a }, Constant::Float { text: u, value: b }) => {
                t == u && a.to_bits() == b.to_bits()
            }
            (Constant::Int32(a), Constant::Int32(b)) => a == b,
            (Constant::Int64(a), Constant::Int64(b)) => a == b,
            (Constant::Nativeint(a), Constant::Nativeint(b)) => a == b,
            (Constant::Block { tag: s, fields: a }, Constant::Block { tag: t, fields: b }) => {
                s == t && a == b
            }
            (Constant::FloatArray { texts: t, values: a }, Constant::FloatArray { texts: u, values: b }) => {
                t == u && bits(a) == bits(b)
            }
            _ => false,
        }
    }
}

/// The literals of a unit. Parts come before the whole, so that one pass from the front can create all values without
/// recursion (the nesting depth of a list literal is its length).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Literals {
    all: Vec<Constant>,
}

impl Literals {
    /// Every literal and every part of one, parts first.
    pub fn all(&self) -> &[Constant] {
        &self.all
    }

    /// A literal.
    ///
    /// # Panics
    ///
    /// When it belongs to another unit.
    pub fn get(&self, id: LiteralId) -> &Constant {
        &self.all[id.index()]
    }

    /// Adds a literal.
    ///
    /// # Panics
    ///
    /// When a part of it has not been added yet.
    pub fn add(&mut self, constant: Constant) -> LiteralId {
        if let Constant::Block { fields, .. } = &constant {
            assert!(fields.iter().all(|field| field.index() < self.all.len()), "parts come first");
        }
        let id = u32::try_from(self.all.len()).expect("fewer than 2^32 literals");
        self.all.push(constant);
        LiteralId(id)
    }

    /// Adds all literals to a graph, as OCaml marshals them, and returns the item of each.
    pub(super) fn add_to_graph(&self, graph: &mut GraphBuilder, dialect: &Dialect) -> Vec<Item<NodeId>> {
        match dialect.literals {
            LiteralEncoding::StructuredConstant => self.add_structured(graph),
            LiteralEncoding::Value => self.add_values(graph),
        }
    }

    /// Adds the values themselves, and returns the item of each.
    pub(crate) fn add_values(&self, graph: &mut GraphBuilder) -> Vec<Item<NodeId>> {
        let mut items: Vec<Item<NodeId>> = Vec::with_capacity(self.all.len());
        for constant in &self.all {
            let item = match constant {
                Constant::Block { tag, fields } => {
                    let fields: Vec<_> = fields.iter().map(|field| items[field.index()]).collect();
                    graph.add_block(*tag, &fields)
                }
                simple => simple.add_simple(graph),
            };
            items.push(item);
        }
        items
    }

    fn add_structured(&self, graph: &mut GraphBuilder) -> Vec<Item<NodeId>> {
        let mut items: Vec<Item<NodeId>> = Vec::with_capacity(self.all.len());
        for constant in &self.all {
            let base = |graph: &mut GraphBuilder, tag, fields: &[_]| {
                let constant = graph.add_block(tag, fields);
                graph.add_block(0, &[constant])
            };
            let item = match constant {
                Constant::Int(n) => base(graph, 0, &[Item::Int(*n)]),
                Constant::Char(c) => base(graph, 1, &[Item::Int((*c).into())]),
                Constant::String(bytes) => {
                    let string = graph.add_string(bytes);
                    let location = add_no_location(graph);
                    base(graph, 2, &[string, location, Item::Int(0)])
                }
                Constant::Float { text, .. } => {
                    let text = graph.add_string(text.as_bytes());
                    base(graph, 3, &[text])
                }
                Constant::Int32(n) => {
                    let n = graph.add_custom(Custom::Int32(*n));
                    base(graph, 4, &[n])
                }
                Constant::Int64(n) => {
                    let n = graph.add_custom(Custom::Int64(*n));
                    base(graph, 5, &[n])
                }
                Constant::Nativeint(n) => {
                    let n = graph.add_custom(Custom::Nativeint(*n));
                    base(graph, 6, &[n])
                }
                Constant::Block { tag, fields } => {
                    let fields: Vec<_> = fields.iter().map(|field| items[field.index()]).collect();
                    let fields = graph.add_list(&fields);
                    graph.add_block(1, &[Item::Int((*tag).into()), fields])
                }
                Constant::FloatArray { texts, .. } => {
                    let texts: Vec<_> = texts.iter().map(|text| graph.add_string(text.as_bytes())).collect();
                    let texts = graph.add_list(&texts);
                    graph.add_block(2, &[texts])
                }
                Constant::ImmString(bytes) => {
                    let string = graph.add_string(bytes);
                    graph.add_block(3, &[string])
                }
            };
            items.push(item);
        }
        items
    }
}

/// `Location.none`: no reader needs the position of a string literal.
fn add_no_location(graph: &mut GraphBuilder) -> Item<NodeId> {
    let file = graph.add_string(b"_none_");
    let position = graph.add_block(0, &[file, Item::Int(0), Item::Int(0), Item::Int(-1)]);
    graph.add_block(0, &[position, position, Item::Int(1)])
}

/// Reads literals, each node of the graph once.
pub(super) struct LiteralReader {
    encoding: LiteralEncoding,
    literals: Literals,
    seen: HashMap<NodeId, State>,
    /// Integers within values, which have no node.
    ints: HashMap<i64, LiteralId>,
    /// The strings that descriptions of literals hold: those of a node are one string, as for OCaml's linker.
    strings: HashMap<NodeId, LiteralId>,
}

/// A literal without its parts.
enum Read<'g> {
    Simple(Constant),
    Block { tag: u8, parts: &'g [View<'g>] },
}

enum State {
    /// Its parts are being read; reaching it again means that it contains itself.
    Open,
    Done(LiteralId),
}

impl LiteralReader {
    pub(super) fn new(dialect: &Dialect) -> LiteralReader {
        LiteralReader {
            encoding: dialect.literals,
            literals: Literals::default(),
            seen: HashMap::new(),
            ints: HashMap::new(),
            strings: HashMap::new(),
        }
    }

    pub(super) fn finish(self) -> Literals {
        self.literals
    }

    fn add(&mut self, constant: Constant) -> Result<LiteralId> {
        self.literals.all.try_reserve(1)?;
        Ok(self.literals.add(constant))
    }

    fn add_simple(&mut self, constant: Constant, view: View<'_>) -> Result<LiteralId> {
        let string = match (self.encoding, &constant) {
            (LiteralEncoding::StructuredConstant, Constant::String(_)) => string_of(view),
            _ => None,
        };
        match string.and_then(|node| self.strings.get(&node)) {
            Some(id) => Ok(*id),
            None => {
                let id = self.add(constant)?;
                if let Some(node) = string {
                    room::insert(&mut self.strings, node, id)?;
                }
                Ok(id)
            }
        }
    }

    /// An integer, if it is one: all equal ones are one literal.
    fn integer(&mut self, view: View<'_>) -> Result<Option<LiteralId>> {
        let Item::Int(n) = view.item else { return Ok(None) };
        if self.encoding == LiteralEncoding::StructuredConstant {
            return Ok(None);
        }
        if let Some(id) = self.ints.get(&n) {
            return Ok(Some(*id));
        }
        let id = self.add(Constant::Int(n))?;
        room::insert(&mut self.ints, n, id)?;
        Ok(Some(id))
    }

    /// Reads a literal, without recursion.
    pub(super) fn read(&mut self, view: View<'_>) -> Result<LiteralId> {
        struct Open<'g> {
            node: NodeId,
            tag: u8,
            parts: &'g [View<'g>],
            fields: Vec<LiteralId>,
        }
        let mut open: Vec<Open<'_>> = Vec::new();
        let mut next = view;
        loop {
            let mut done = match (self.integer(next)?, next.item) {
                (Some(id), _) => Some(id),
                (None, Item::Obj(node)) => match self.seen.get(&node) {
                    Some(State::Done(id)) => Some(*id),
                    Some(State::Open) => return Err(next.not("finite (a literal contains itself)")),
                    None => {
                        let read = match self.encoding {
                            LiteralEncoding::StructuredConstant => structured(next)?,
                            LiteralEncoding::Value => value(next)?,
                        };
                        let id = match read {
                            Read::Simple(constant) => Some(self.add_simple(constant, next)?),
                            Read::Block { tag, parts } => {
                                let fields = room::with_capacity(parts.len())?;
                                room::push(&mut open, Open { node, tag, fields, parts })?;
                                None
                            }
                        };
                        room::insert(&mut self.seen, node, id.map_or(State::Open, State::Done))?;
                        id
                    }
                },
                _ => return Err(next.not("a structured constant")),
            };
            // Store the finished part in its enclosing block, and find the next part.
            loop {
                let Some(block) = open.last_mut() else {
                    // Only a finished root leaves the stack empty.
                    return done.ok_or_else(|| view.not("a structured constant"));
                };
                if let Some(id) = done.take() {
                    block.fields.push(id);
                }
                if let Some(part) = block.parts.get(block.fields.len()) {
                    next = *part;
                    break;
                }
                if let Some(Open { node, tag, fields, .. }) = open.pop() {
                    let id = self.add(Constant::Block { tag, fields })?;
                    self.seen.insert(node, State::Done(id));
                    done = Some(id);
                }
            }
        }
    }
}

/// A value, from 5.1 on.
fn value(view: View<'_>) -> Result<Read<'_>> {
    let constant = match view.node() {
        Some(Node::Block { tag, fields }) => {
            return Ok(Read::Block { tag, parts: view.each(fields, "field of a literal")? });
        }
        Some(Node::String(_)) => Constant::String(room::to_vec(view.bytes()?)?),
        Some(Node::Double(value)) => Constant::Float { text: shortest(value), value },
        Some(Node::DoubleArray(values)) => {
            let texts = room::collect(values.iter().map(|value| Ok(shortest(*value))))?;
            Constant::FloatArray { texts, values: room::to_vec(values)? }
        }
        Some(Node::Custom(Custom::Int32(n))) => Constant::Int32(*n),
        Some(Node::Custom(Custom::Int64(n))) => Constant::Int64(*n),
        Some(Node::Custom(Custom::Nativeint(n))) => Constant::Nativeint(*n),
        _ => return Err(view.not("of a kind that literals have")),
    };
    Ok(Read::Simple(constant))
}

/// The shortest text of a float that gives it back.
fn shortest(value: f64) -> String {
    format!("{value:?}")
}

/// The node of the string in a string literal.
fn string_of(view: View<'_>) -> Option<NodeId> {
    let Ok((0, [constant])) = view.block() else { return None };
    match view.of(*constant, "literal").block() {
        Ok((2, [Item::Obj(string), _, _])) => Some(*string),
        _ => None,
    }
}

/// A `Lambda.structured_constant`.
fn structured(view: View<'_>) -> Result<Read<'_>> {
    match view.block()? {
        (1, [tag, parts]) => {
            let tag = view.of(*tag, "tag of a literal");
            let tag = u8::try_from(tag.int()?).map_err(|_| tag.not("a tag"))?;
            Ok(Read::Block { tag, parts: view.of(*parts, "list of a literal's fields").list()? })
        }
        _ => simple(view).map(Read::Simple),
    }
}

/// Everything but blocks.
fn simple(view: View<'_>) -> Result<Constant> {
    match view.block()? {
        (0, [constant]) => base(view.of(*constant, "literal")),
        (2, [texts]) => {
            let texts = view.of(*texts, "list of floats").strings()?;
            let values = room::collect(texts.iter().map(|text| float(text)))?;
            Ok(Constant::FloatArray { texts, values })
        }
        (3, [string]) => Ok(Constant::ImmString(room::to_vec(view.of(*string, "string literal").bytes()?)?)),
        _ => Err(view.not("a structured constant")),
    }
}

/// An `Asttypes.constant`.
fn base(view: View<'_>) -> Result<Constant> {
    let custom = |item| match view.of(item, "literal").node() {
        Some(Node::Custom(custom)) => Some(custom),
        _ => None,
    };
    match view.block()? {
        (0, [n]) => Ok(Constant::Int(view.of(*n, "integer literal").int()?)),
        (1, [c]) => {
            let c = view.of(*c, "character literal");
            Ok(Constant::Char(u8::try_from(c.int()?).map_err(|_| c.not("a character"))?))
        }
        (2, [string, _location, _delimiter]) => {
            Ok(Constant::String(room::to_vec(view.of(*string, "string literal").bytes()?)?))
        }
        (3, [text]) => {
            let text = view.of(*text, "float literal").string()?;
            Ok(Constant::Float { value: float(&text)?, text })
        }
        (4, [n]) => match custom(*n) {
            Some(Custom::Int32(n)) => Ok(Constant::Int32(*n)),
            _ => Err(view.not("an int32")),
        },
        (5, [n]) => match custom(*n) {
            Some(Custom::Int64(n)) => Ok(Constant::Int64(*n)),
            _ => Err(view.not("an int64")),
        },
        (6, [n]) => match custom(*n) {
            Some(Custom::Nativeint(n)) => Ok(Constant::Nativeint(*n)),
            _ => Err(view.not("a nativeint")),
        },
        _ => Err(view.not("a constant")),
    }
}

fn float(text: &str) -> Result<f64> {
    crate::float_text::float_of_source_text(text)
        .ok_or_else(|| Error::new(ErrorKind::Malformed(format!("{text:?} is not a float literal"))))
}
