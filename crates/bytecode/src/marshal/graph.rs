//! A marshalled value as a graph that tools can walk, change and write back with its original sharing.

use std::ops::Range;

use super::decode::{Build, Item, Payload, decode};
use super::encode::{BlockColour, CustomSizes, Encoder};
use super::header::Header;
use crate::error::{Error, Result};
use crate::room;

/// A node of a [`Graph`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeId(u32);

/// A custom block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Custom {
    /// `int32`
    Int32(i32),
    /// `int64`
    Int64(i64),
    /// `nativeint`
    Nativeint(i64),
    /// A big array: the name determines the header of its payload.
    Bigarray {
        /// `_bigarr02` or `_bigarray`.
        name: Vec<u8>,
        /// The recorded sizes.
        sizes: CustomSizes,
        /// The payload as stored in the data.
        payload: Vec<u8>,
    },
}

/// The kind of a node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Node<'a> {
    /// A block; an atom when it has no fields.
    Block {
        /// Its tag.
        tag: u8,
        /// Its fields.
        fields: &'a [Item<NodeId>],
    },
    /// A string.
    String(&'a [u8]),
    /// A boxed float.
    Double(f64),
    /// A flat float array.
    DoubleArray(&'a [f64]),
    /// A custom block.
    Custom(&'a Custom),
}

#[derive(Debug, Clone)]
enum Stored {
    Block { tag: u8, fields: Range<usize> },
    String(Range<usize>),
    Double(f64),
    DoubleArray(Range<usize>),
    Custom(usize),
}

/// A decoded marshalled value. Nodes are in one arena; sharing and cycles are preserved.
#[derive(Debug, Clone)]
pub struct Graph {
    nodes: GraphBuilder,
    root: Item<NodeId>,
}

impl Graph {
    /// Decodes the value at the start of `bytes`, and also returns its size in bytes.
    ///
    /// # Errors
    ///
    /// When the data is truncated or malformed, or has custom blocks other than boxed integers and big
    /// arrays.
    pub fn decode(bytes: &[u8]) -> Result<(Graph, usize)> {
        let mut nodes = GraphBuilder::default();
        let decoded = decode(bytes, &mut nodes)?;
        Ok((Graph { nodes, root: decoded.root }, decoded.consumed))
    }

    /// The value itself.
    pub fn root(&self) -> Item<NodeId> {
        self.root
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.nodes.len()
    }

    /// Whether the value is just an integer or a code pointer.
    pub fn is_empty(&self) -> bool {
        self.nodes.nodes.is_empty()
    }

    /// The total size of the graph, in arbitrary units, by which readers bound their effort.
    pub(crate) fn extent(&self) -> usize {
        let GraphBuilder { nodes, fields, bytes, doubles, customs } = &self.nodes;
        nodes.len() + fields.len() + bytes.len() + doubles.len() + customs.len()
    }

    /// The kind of a node.
    ///
    /// # Panics
    ///
    /// When the node is from another graph.
    pub fn node(&self, id: NodeId) -> Node<'_> {
        let GraphBuilder { nodes, fields, bytes, doubles, customs } = &self.nodes;
        match &nodes[id.0 as usize] {
            Stored::Block { tag, fields: range } => Node::Block { tag: *tag, fields: &fields[range.clone()] },
            Stored::String(range) => Node::String(&bytes[range.clone()]),
            Stored::Double(value) => Node::Double(*value),
            Stored::DoubleArray(range) => Node::DoubleArray(&doubles[range.clone()]),
            Stored::Custom(index) => Node::Custom(&customs[*index]),
        }
    }

    /// Replaces a field of a block.
    ///
    /// # Panics
    ///
    /// When the node is not a block of this graph with such a field.
    pub fn set_field(&mut self, id: NodeId, index: usize, item: Item<NodeId>) {
        self.nodes.put(id, index, item);
    }

    /// Adds a block, which nothing refers to yet; an atom when `fields` is empty.
    pub fn add_block(&mut self, tag: u8, fields: &[Item<NodeId>]) -> Item<NodeId> {
        self.nodes.add_block(tag, fields)
    }

    /// Replaces the value itself.
    pub fn set_root(&mut self, root: Item<NodeId>) {
        self.root = root;
    }

    /// Writes the value with its sharing. A graph decoded from OCaml's output yields the same bytes.
    pub fn encode(&self, colour: BlockColour) -> Vec<u8> {
        const UNSEEN: u64 = u64::MAX;
        let mut out = Encoder::new(colour);
        let mut numbers = vec![UNSEEN; self.len()];
        let mut stack: Vec<&[Item<NodeId>]> = vec![std::slice::from_ref(&self.root)];
        while let Some(items) = stack.pop() {
            let [item, rest @ ..] = items else { continue };
            if !rest.is_empty() {
                stack.push(rest);
            }
            let id = match *item {
                Item::Int(n) => {
                    out.int(n);
                    continue;
                }
                Item::Code(pointer) => {
                    out.code_pointer(&pointer);
                    continue;
                }
                Item::Infix(id, offset) => {
                    out.infix(offset);
                    id
                }
                Item::Obj(id) => id,
            };
            let number = &mut numbers[id.0 as usize];
            if *number != UNSEEN {
                out.shared(*number);
                continue;
            }
            match self.node(id) {
                Node::Block { tag, fields: [] } => {
                    out.block(tag, 0);
                }
                Node::Block { tag, fields } => {
                    *number = out.block(tag, fields.len());
                    stack.push(fields);
                }
                Node::String(bytes) => *number = out.string(bytes),
                Node::Double(value) => *number = out.double(value),
                Node::DoubleArray(values) => *number = out.double_array(values.iter().copied()),
                Node::Custom(custom) => *number = custom.encode(&mut out),
            }
        }
        out.finish()
    }
}

impl Custom {
    fn decode(name: &[u8], payload: &mut Payload<'_>) -> Result<Custom> {
        let narrow = |payload: &mut Payload<'_>| Ok::<_, Error>(payload.u32()? as i32);
        match name {
            b"_i" => Ok(Custom::Int32(narrow(payload)?)),
            b"_j" => Ok(Custom::Int64(payload.u64()? as i64)),
            b"_n" => match payload.u8()? {
                1 => Ok(Custom::Nativeint(narrow(payload)?.into())),
                2 => Ok(Custom::Nativeint(payload.u64()? as i64)),
                width => Err(payload.malformed(format!("a nativeint of unknown width {width}"))),
            },
            b"_bigarr02" | b"_bigarray" => {
                let Some((bytes32, bytes64)) = payload.recorded_sizes() else {
                    return Err(payload.malformed("a big array without its size"));
                };
                let mut ahead = payload.clone();
                skip_bigarray(&mut ahead, name == b"_bigarr02")?;
                let bytes = payload.bytes(ahead.offset() - payload.offset())?;
                let sizes = CustomSizes { bytes32, bytes64 };
                Ok(Custom::Bigarray { name: room::to_vec(name)?, sizes, payload: room::to_vec(bytes)? })
            }
            _ => {
                let name = String::from_utf8_lossy(&name[..name.len().min(100)]);
                Err(payload.malformed(format!("a custom block of unknown kind {name:?}")))
            }
        }
    }

    fn encode(&self, out: &mut Encoder) -> u64 {
        let sizes = |bytes32, bytes64| CustomSizes { bytes32, bytes64 };
        match self {
            Custom::Int32(n) => out.custom_fixed(b"_i", sizes(4, 4), &n.to_be_bytes()),
            Custom::Int64(n) => out.custom_fixed(b"_j", sizes(8, 8), &n.to_be_bytes()),
            Custom::Nativeint(n) => {
                let payload = match i32::try_from(*n) {
                    Ok(n) => [&[1][..], &n.to_be_bytes()].concat(),
                    Err(_) => [&[2][..], &n.to_be_bytes()].concat(),
                };
                out.custom_fixed(b"_n", sizes(4, 8), &payload)
            }
            Custom::Bigarray { name, sizes, payload } => out.custom_sized(name, *sizes, payload),
        }
    }
}

/// Skips a big array's payload (`runtime/bigarray.c`).
fn skip_bigarray(payload: &mut Payload<'_>, wide_dims: bool) -> Result<()> {
    let dims = payload.u32()?;
    let flags = payload.u32()?;
    if dims > 16 {
        return Err(payload.malformed(format!("a big array of {dims} dimensions")));
    }
    let mut elements = 1_u64;
    for _ in 0..dims {
        let dim = match wide_dims {
            true => match payload.u16()? {
                u16::MAX => payload.u64()?,
                dim => dim.into(),
            },
            false => payload.u32()?.into(),
        };
        elements = elements.saturating_mul(dim);
    }
    let kind = flags & 0xFF;
    let size = match kind {
        2 | 3 | 12 => 1,
        4 | 5 | 13 => 2,
        0 | 6 => 4,
        1 | 7 | 10 => 8,
        11 => 16,
        8 | 9 => match payload.u8()? {
            0 => 4,
            _ => 8,
        },
        _ => return Err(payload.malformed(format!("a big array of unknown kind {kind}"))),
    };
    let bytes = usize::try_from(elements.saturating_mul(size)).unwrap_or(usize::MAX);
    payload.bytes(bytes).map(drop)
}

/// The [`Build`] that makes a [`Graph`].
#[derive(Debug, Clone, Default)]
pub struct GraphBuilder {
    nodes: Vec<Stored>,
    fields: Vec<Item<NodeId>>,
    bytes: Vec<u8>,
    doubles: Vec<f64>,
    customs: Vec<Custom>,
}

impl GraphBuilder {
    /// The graph with that root.
    pub fn finish(self, root: Item<NodeId>) -> Graph {
        Graph { nodes: self, root }
    }

    /// A new string.
    pub fn add_string(&mut self, bytes: &[u8]) -> Item<NodeId> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        Item::Obj(self.push(Stored::String(start..self.bytes.len())))
    }

    /// A new block; an atom when `fields` is empty.
    pub fn add_block(&mut self, tag: u8, fields: &[Item<NodeId>]) -> Item<NodeId> {
        let start = self.fields.len();
        self.fields.extend_from_slice(fields);
        Item::Obj(self.push(Stored::Block { tag, fields: start..self.fields.len() }))
    }

    /// A new boxed float.
    pub fn add_double(&mut self, value: f64) -> Item<NodeId> {
        Item::Obj(self.push(Stored::Double(value)))
    }

    /// A new flat float array.
    pub fn add_double_array(&mut self, values: &[f64]) -> Item<NodeId> {
        let start = self.doubles.len();
        self.doubles.extend_from_slice(values);
        Item::Obj(self.push(Stored::DoubleArray(start..self.doubles.len())))
    }

    /// A new custom block.
    pub fn add_custom(&mut self, custom: Custom) -> Item<NodeId> {
        self.customs.push(custom);
        Item::Obj(self.push(Stored::Custom(self.customs.len() - 1)))
    }

    /// A new list.
    pub fn add_list(&mut self, items: &[Item<NodeId>]) -> Item<NodeId> {
        items.iter().rev().fold(Item::Int(0), |tail, head| self.add_block(0, &[*head, tail]))
    }

    fn push(&mut self, node: Stored) -> NodeId {
        // The number of nodes is bounded by the input's length; 4 GiB of them do not fit in memory.
        let id = u32::try_from(self.nodes.len()).expect("fewer than 2^32 nodes");
        self.nodes.push(node);
        NodeId(id)
    }

    fn try_push(&mut self, node: Stored) -> Result<NodeId> {
        self.nodes.try_reserve(1)?;
        Ok(self.push(node))
    }

    fn put(&mut self, id: NodeId, index: usize, item: Item<NodeId>) {
        match &self.nodes[id.0 as usize] {
            Stored::Block { fields, .. } => self.fields[fields.clone()][index] = item,
            _ => panic!("node {} is not a block", id.0),
        }
    }
}

impl Build for GraphBuilder {
    type Obj = NodeId;
    type Error = Error;

    fn begin(&mut self, header: &Header) -> Result<()> {
        if header.plain_len() >= u32::MAX.into() {
            return Err(Error::malformed(4, "more than 4 GiB of marshalled data"));
        }
        Ok(())
    }

    fn atom(&mut self, tag: u8) -> Result<NodeId> {
        self.block(tag, 0)
    }

    fn block(&mut self, tag: u8, size: usize) -> Result<NodeId> {
        let start = self.fields.len();
        self.fields.try_reserve(size)?;
        self.fields.resize(start + size, Item::Int(0));
        self.try_push(Stored::Block { tag, fields: start..start + size })
    }

    fn string(&mut self, bytes: &[u8]) -> Result<NodeId> {
        let start = self.bytes.len();
        room::extend(&mut self.bytes, bytes)?;
        self.try_push(Stored::String(start..self.bytes.len()))
    }

    fn double(&mut self, value: f64) -> Result<NodeId> {
        self.try_push(Stored::Double(value))
    }

    fn double_array(&mut self, values: &mut dyn ExactSizeIterator<Item = f64>) -> Result<NodeId> {
        let start = self.doubles.len();
        self.doubles.try_reserve(values.len())?;
        self.doubles.extend(values);
        self.try_push(Stored::DoubleArray(start..self.doubles.len()))
    }

    fn custom(&mut self, name: &[u8], payload: &mut Payload<'_>) -> Result<NodeId> {
        let custom = Custom::decode(name, payload)?;
        room::push(&mut self.customs, custom)?;
        self.try_push(Stored::Custom(self.customs.len() - 1))
    }

    fn set_field(&mut self, obj: NodeId, index: usize, item: Item<NodeId>) -> Result<()> {
        self.put(obj, index, item);
        Ok(())
    }
}
