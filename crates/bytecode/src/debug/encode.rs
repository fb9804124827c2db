//! Writing debug events, as the compiler marshals them (`Instruct.debug_event`).

use std::collections::HashMap;
use std::sync::Arc;

use super::{Event, EventInfo, EventKind, Location, Position};
use crate::dialect::{Dialect, Release};
use crate::marshal::{GraphBuilder, Item, NodeId};
use crate::view::add_strings;

/// The level of type variables that are generalised (`Btype.generic_level`).
const GENERIC_LEVEL: i64 = 100_000_000;

/// The debug data of a unit, as `.cmo` files hold it: the events, and the folders of the sources.
///
/// The parts that only `ocamldebug` looks at, and that [`Event`] does not hold, are empty: the types and the places of
/// variables.
pub fn encode(events: &[Event], dirs: &[String], dialect: &Dialect) -> Vec<u8> {
    let mut writer = Writer { graph: GraphBuilder::default(), texts: HashMap::new(), dialect };
    let items: Vec<_> = events.iter().map(|event| writer.event(event)).collect();
    let root = writer.graph.add_list(&items);
    let mut bytes = writer.graph.finish(root).encode(dialect.colour);
    let mut graph = GraphBuilder::default();
    let root = add_strings(&mut graph, dirs);
    bytes.extend(graph.finish(root).encode(dialect.colour));
    bytes
}

struct Writer<'a> {
    graph: GraphBuilder,
    /// Names are written once.
    texts: HashMap<Arc<str>, Item<NodeId>>,
    dialect: &'a Dialect,
}

impl Writer<'_> {
    fn text(&mut self, text: &Arc<str>) -> Item<NodeId> {
        if let Some(item) = self.texts.get(text) {
            return *item;
        }
        let item = self.graph.add_string(text.as_bytes());
        self.texts.insert(text.clone(), item);
        item
    }

    fn event(&mut self, event: &Event) -> Item<NodeId> {
        const NOTHING: Item<NodeId> = Item::Int(0);
        let fields = [
            Item::Int(event.pos as i64),
            self.text(&event.module),
            self.location(&event.loc),
            self.kind(event.kind),
            self.text(&event.defname),
            match event.info {
                EventInfo::Function => Item::Int(0),
                EventInfo::Other => Item::Int(1),
                EventInfo::Return(arguments) => self.graph.add_block(0, &[Item::Int(arguments)]),
            },
            // The typing environment, and the substitution over its types.
            NOTHING,
            self.graph.add_block(0, &[NOTHING; 5]),
            self.variables(),
            Item::Int(event.stack_size),
            NOTHING,
        ];
        self.graph.add_block(0, &fields)
    }

    /// No variables: in the stack and in the closure, and up to 5.1 in closures of the same block.
    fn variables(&mut self) -> Item<NodeId> {
        let places = if self.dialect.release < Release::V5_2 { 3 } else { 2 };
        self.graph.add_block(0, &[Item::Int(0); 3][..places])
    }

    fn kind(&mut self, kind: EventKind) -> Item<NodeId> {
        match kind {
            EventKind::Before => Item::Int(0),
            EventKind::Pseudo => Item::Int(1),
            EventKind::After => {
                // The type of the value: any.
                let variable = self.graph.add_block(0, &[Item::Int(0)]);
                let ty = [variable, Item::Int(GENERIC_LEVEL), Item::Int(0), Item::Int(0)];
                let ty = self.graph.add_block(0, &ty);
                self.graph.add_block(0, &[ty])
            }
        }
    }

    fn location(&mut self, location: &Location) -> Item<NodeId> {
        let file = self.text(&location.file);
        let start = self.position(file, &location.start);
        let end = self.position(file, &location.end);
        self.graph.add_block(0, &[start, end, Item::Int(location.ghost.into())])
    }

    fn position(&mut self, file: Item<NodeId>, position: &Position) -> Item<NodeId> {
        let Position { line, line_start, offset } = *position;
        self.graph.add_block(0, &[file, Item::Int(line), Item::Int(line_start), Item::Int(offset)])
    }
}
