//! Debug events in a body: which instructions look each up, and where it goes when they move.
//!
//! A backtrace looks up the event at the return address of a call, at an instruction that raises, or one word after
//! either (the compiler moves events past a `PUSH`). So an event at a boundary may belong to the instruction
//! before it, to the one after it, or to both. When both move apart, the event is copied.

use super::body::{Body, InstructionId};
use crate::code::WORD;
use crate::debug::{Event, EventKind, read_events};
use crate::error::{Error, Result};
use crate::marshal::{Graph, Header, Item, Node, NodeId};
use crate::opcode::{Flow, Opcode};
use crate::room;

/// The number of fields of an event's record, and those that a writer changes.
const FIELDS: usize = 11;
const POS: usize = 0;
const REPR: usize = 10;

/// The events of a body.
#[derive(Debug, Clone, Default)]
pub(super) struct Events {
    pub(super) all: Vec<Placed>,
    /// The marshalled list that they were read from; `None` if the unit has no debug data.
    origin: Option<Graph>,
}

/// An event and what it belongs to.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) event: Event,
    node: NodeId,
    /// The instruction that it comes before; `None` for the end of the code.
    next: Option<InstructionId>,
    /// Whether that one looks it up.
    of_next: bool,
    /// The call that it comes after, if that looks it up.
    call: Option<InstructionId>,
    /// The call one word before, if that looks it up.
    call_before: Option<InstructionId>,
}

impl Placed {
    pub(super) fn subject(&self) -> Option<InstructionId> {
        if self.of_next { self.next } else { self.call.or(self.next) }
    }
}

/// The instructions of a body by their positions in words; the end of the code is the last.
pub(super) struct Positions<'a> {
    pub(super) starts: &'a [(usize, InstructionId)],
    pub(super) end: usize,
}

impl Positions<'_> {
    /// The index of the instruction at a position.
    pub(super) fn at(&self, pos: usize) -> Option<usize> {
        self.starts.binary_search_by_key(&pos, |(start, _)| *start).ok()
    }
}

impl Events {
    /// Reads a unit's events, and finds their instructions.
    pub(super) fn lift(body: &Body, positions: &Positions<'_>) -> Result<Events> {
        let Some(debug) = &body.unit.debug else { return Ok(Events::default()) };
        let (graph, _) = Graph::decode(debug)?;
        let mut all = Vec::new();
        for (node, event) in read_events(&graph)? {
            let outside =
                || Error::malformed(event.pos, "a debug event is not at the start of an instruction");
            let word = event.pos / WORD;
            if !event.pos.is_multiple_of(WORD) {
                return Err(outside());
            }
            let index = match positions.at(word) {
                Some(index) => index,
                None if word == positions.end => positions.starts.len(),
                None => return Err(outside()),
            };
            let line = |index: usize| positions.starts.get(index).map(|(_, id)| *id);
            let call = |id: InstructionId| is_call(body[id].op).then_some(id);
            let previous = index.checked_sub(1).and_then(line);
            let second = index.checked_sub(2).and_then(line);
            let short = previous.is_some_and(|id| body[id].operands.is_empty());
            let before = previous.and_then(call);
            let next = line(index);
            let raises = next.is_some_and(|id| matches!(body[id].op.facts().flow, Flow::Raise));
            let placed = Placed {
                of_next: raises || before.is_none() || event.kind != EventKind::After,
                node,
                next,
                call: before,
                call_before: second.and_then(call).filter(|_| short),
                event,
            };
            room::push(&mut all, placed)?;
        }
        // The call one word before has an event of its own, which it finds first.
        let own: std::collections::HashSet<_> = all.iter().filter_map(|placed| placed.call).collect();
        for placed in &mut all {
            placed.call_before = placed.call_before.filter(|call| !own.contains(call));
        }
        Ok(Events { all, origin: Some(graph) })
    }

    /// The debug data for new positions (in words); `None` if no event has moved.
    ///
    /// `start` and `end` give the positions of an instruction that is still there.
    pub(super) fn lower(&self, body: &Body, end: usize, starts: &[usize]) -> Option<Vec<u8>> {
        let origin = self.origin.as_ref()?;
        let mut graph = origin.clone();
        let mut items = Vec::with_capacity(self.all.len());
        let mut moved = false;
        for placed in &self.all {
            let positions = placed.positions(body, end, starts);
            moved |= positions != [placed.event.pos / WORD];
            for (copy, pos) in positions.into_iter().enumerate() {
                let node =
                    if copy == 0 { Some(Item::Obj(placed.node)) } else { copy_of(&mut graph, placed.node) };
                let Some(item @ Item::Obj(node)) = node else { continue };
                graph.set_field(node, POS, Item::Int((pos * WORD) as i64));
                items.push(item);
            }
        }
        if !moved {
            return None;
        }
        let root = items.iter().rev().fold(Item::Int(0), |tail, head| graph.add_block(0, &[*head, tail]));
        graph.set_root(root);
        let mut bytes = graph.encode(body.unit.dialect.colour);
        // The directories follow, as they were.
        let debug = body.unit.debug.as_deref().unwrap_or_default();
        let rest = Header::parse(debug).map_or(0, |header| header.total_len());
        bytes.extend_from_slice(debug.get(rest as usize..).unwrap_or_default());
        Some(bytes)
    }
}

impl Placed {
    /// Its new positions.
    fn positions(&self, body: &Body, end: usize, starts: &[usize]) -> Vec<usize> {
        let start_of = |id: Option<InstructionId>| {
            // What has been removed gives its events to what follows.
            let there = std::iter::successors(id, |id| body.next(*id)).find(|id| !body.is_removed(*id));
            there.map_or(end, |id| starts[id.index()])
        };
        let end_of = |id: InstructionId| (!body.is_removed(id)).then(|| starts[id.index()] + body[id].size());
        let mut positions = Vec::with_capacity(1);
        if let Some(pos) = self.call.and_then(end_of) {
            positions.push(pos);
        }
        let next = start_of(self.next);
        if (self.of_next || positions.is_empty()) && !positions.contains(&next) {
            positions.push(next);
        }
        if let Some(pos) = self.call_before.and_then(end_of)
            && !positions.contains(&pos)
            && !positions.contains(&(pos + 1))
        {
            positions.push(pos);
        }
        positions
    }
}

/// Another event like it. It represents no other one.
fn copy_of(graph: &mut Graph, node: NodeId) -> Option<Item<NodeId>> {
    let Node::Block { tag, fields } = graph.node(node) else { return None };
    let mut fields: [Item<NodeId>; FIELDS] = fields.try_into().ok()?;
    fields[REPR] = Item::Int(0);
    Some(graph.add_block(tag, &fields))
}

/// Whether a backtrace may look up what follows the instruction: it may run other code, or primitives, and come back.
fn is_call(op: Opcode) -> bool {
    let facts = op.facts();
    matches!(facts.flow, Flow::Apply) || facts.may_call() && matches!(facts.flow, Flow::Next)
}
