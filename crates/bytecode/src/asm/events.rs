//! Debug events in a body: which instructions look each up, and where it goes when they move.
//!
//! A backtrace looks up the event at the return address of a call, at an instruction that raises, or one word after
//! either (the compiler moves events past a `PUSH`). A division by zero is looked up one word farther on. So an event
//! may belong to an instruction before it, to the one after it, or to both. When these move apart, the event is copied.

use std::collections::HashSet;

use super::body::{Body, InstructionId};
use crate::code::WORD;
use crate::debug::{Event, EventKind, read_events};
use crate::error::{Error, Result};
use crate::marshal::{Graph, Header, Item, Node, NodeId};
use crate::opcode::{Flow, Opcode};
use crate::room;

/// How many words an instruction that looks an event up can start before it: those of the longest one, and two more.
const FARTHEST: usize = 5;

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
    /// The call that it comes directly after.
    call: Option<InstructionId>,
    /// The instructions before it that look it up, each so many words after its end, or one word farther on.
    lookups: Vec<(InstructionId, usize)>,
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
        let events = read_events(&graph)?;
        let taken: HashSet<usize> = events.iter().map(|(_, event)| event.pos / WORD).collect();
        let mut all = room::with_capacity(events.len())?;
        for (node, event) in events {
            let outside =
                || Error::malformed(event.pos, "a debug event is not at the start of an instruction");
            let word = event.pos / WORD;
            let index = match positions.at(word) {
                Some(index) => index,
                None if word == positions.end => positions.starts.len(),
                None => return Err(outside()),
            };
            if !event.pos.is_multiple_of(WORD) {
                return Err(outside());
            }
            let before =
                positions.starts[..index].iter().rev().take_while(|(start, _)| start + FARTHEST >= word);
            let lookups: Vec<_> = before
                .filter_map(|(start, id)| {
                    let after = lookup(body[*id].op)?;
                    let place = start + body[*id].size() + after;
                    let finds = word == place || word == place + 1 && !taken.contains(&place);
                    finds.then_some((*id, after))
                })
                .collect();
            let previous = index.checked_sub(1).map(|previous| positions.starts[previous].1);
            let call = previous.filter(|id| lookup(body[*id].op) == Some(0));
            let next = positions.starts.get(index).map(|(_, id)| *id);
            let raises = next.is_some_and(|id| matches!(body[id].op.facts().flow, Flow::Raise));
            let of_next = raises || call.is_none() || event.kind != EventKind::After;
            all.push(Placed { event, node, next, of_next, call, lookups });
        }
        Ok(Events { all, origin: Some(graph) })
    }

    /// The debug data for new positions (in words); `None` if no event has moved.
    ///
    /// `starts` has the new position of each instruction that is still there, by its index.
    pub(super) fn lower(&self, body: &Body, end: usize, starts: &[usize]) -> Option<Vec<u8>> {
        let origin = self.origin.as_ref()?;
        let mut graph = origin.clone();
        let mut items = Vec::with_capacity(self.all.len());
        let mut moved = false;
        let places: HashSet<usize> = body.ids().map(|id| starts[id.index()]).chain([end]).collect();
        for placed in &self.all {
            let positions = placed.positions(body, starts, end, &places);
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
    fn positions(&self, body: &Body, starts: &[usize], end: usize, places: &HashSet<usize>) -> Vec<usize> {
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
        for (id, after) in &self.lookups {
            let Some(place) = end_of(*id).map(|end| end + after) else { continue };
            let lookup = [place, place + 1];
            if lookup.iter().any(|pos| positions.contains(pos)) {
                continue;
            }
            // Debuggers write over the instruction at an event.
            positions.extend(lookup.iter().find(|pos| places.contains(pos)));
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

/// How many words after its end an instruction looks its event up, if it does: a call, or a primitive, comes back there.
/// The machine saves another address when it divides by zero.
fn lookup(op: Opcode) -> Option<usize> {
    let facts = op.facts();
    match facts.flow {
        Flow::Apply => Some(0),
        Flow::Next if facts.may_call() => Some(0),
        Flow::Next if facts.may_raise() => Some(1),
        _ => None,
    }
}
