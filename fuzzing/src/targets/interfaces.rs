//! Compiled interfaces whose graphs are damaged: fields exchanged, links bent back, sizes kept. Every reader returns,
//! and what was read can be printed, searched and expanded.

use spelter_bytecode::cmi::{Head, Interface, Item, Kind, Type};
use spelter_bytecode::marshal::{Graph, Item as Raw, Node, NodeId};

use crate::source::Source;

/// Interfaces with everything that one can declare, of several versions.
const FILES: [&[u8]; 4] = [
    include_bytes!("../../../crates/bytecode/tests/fixtures/types.cmi"),
    include_bytes!("../../../crates/bytecode/tests/fixtures/5.1/types.cmi"),
    include_bytes!("../../../crates/bytecode/tests/fixtures/5.3/types.cmi"),
    include_bytes!("../../../crates/bytecode/tests/fixtures/5.5/types.cmi"),
];

/// How many parts of a type are looked at.
const PARTS: usize = 1000;

pub(crate) fn run(bytes: &[u8]) {
    let mut source = Source::of_bytes(bytes);
    let file = FILES[source.below(FILES.len())];
    let bytes = if source.one_in(4) { bytewise(&mut source, file) } else { graphwise(&mut source, file) };
    match Interface::read(&bytes) {
        Ok(interface) => exercise(&interface),
        Err(error) => assert_eq!(error.to_string().lines().count(), 1),
    }
}

fn bytewise(source: &mut Source<'_>, file: &[u8]) -> Vec<u8> {
    let mut bytes = file.to_vec();
    for _ in 0..1 + source.below(6) {
        let at = source.below(bytes.len());
        bytes[at] = source.byte();
    }
    if source.one_in(8) {
        bytes.truncate(source.below(bytes.len()));
    }
    bytes
}

/// Exchanges fields of blocks, so that the marshalled data stays well-formed and the graph does not.
fn graphwise(source: &mut Source<'_>, file: &[u8]) -> Vec<u8> {
    const FRONT: usize = 12;
    let (mut graph, consumed) = Graph::decode(&file[FRONT..]).expect("a fixture");
    let blocks = blocks(&graph);
    for _ in 0..1 + source.below(8) {
        let (to, index) = field(source, &graph, &blocks);
        let item = if source.one_in(4) {
            Raw::Int(source.below(300) as i64 - 2)
        } else {
            let (from, index) = field(source, &graph, &blocks);
            match graph.node(from) {
                Node::Block { fields, .. } if !source.one_in(3) => fields[index],
                _ => Raw::Obj(from),
            }
        };
        graph.set_field(to, index, item);
    }
    [&file[..FRONT], &graph.encode(Default::default()), &file[FRONT + consumed..]].concat()
}

/// The blocks that have fields.
fn blocks(graph: &Graph) -> Vec<NodeId> {
    let mut seen = std::collections::HashSet::new();
    let mut found = Vec::new();
    let mut todo = vec![graph.root()];
    while let Some(item) = todo.pop() {
        if let Raw::Obj(id) = item
            && seen.insert(id)
            && let Node::Block { fields, .. } = graph.node(id)
        {
            todo.extend(fields);
            if !fields.is_empty() {
                found.push(id);
            }
        }
    }
    found
}

fn field(source: &mut Source<'_>, graph: &Graph, blocks: &[NodeId]) -> (NodeId, usize) {
    let block = blocks[source.below(blocks.len())];
    match graph.node(block) {
        Node::Block { fields, .. } => (block, source.below(fields.len())),
        _ => (block, 0),
    }
}

fn exercise(interface: &Interface) {
    let _ = (interface.to_string(), interface.digest(), interface.signature.size());
    let units = |unit: &str| (unit == "Stdlib").then_some(interface);
    for item in &interface.signature.items {
        if let Item::Value(value) = item {
            let _ = interface.value(&value.name).map(|found| found.fields);
            walk(interface.ty(value.ty), &units);
        }
    }
    for path in ["Sub.make", "Sub.Deep.last", "Even.x", "Alias.length"] {
        let _ = interface.value(path).map(|found| found.ty.to_string());
    }
}

fn walk<'i>(ty: Type<'i>, units: &dyn Fn(&str) -> Option<&'i Interface>) {
    let mut todo = vec![ty];
    for _ in 0..PARTS {
        let Some(ty) = todo.pop() else { return };
        match ty.head(units) {
            Ok(Head::Predefined(_, arguments)) => todo.extend(arguments),
            Ok(Head::Declared(declared)) => todo.extend(declared.fields().into_iter().map(|(_, ty)| ty)),
            Ok(Head::Structural(_) | Head::Unknown(_)) => {}
            Err(error) => assert_eq!(error.to_string().lines().count(), 1),
        }
        match ty.kind() {
            Kind::Arrow { argument, result, .. } => todo.extend([argument, result]),
            Kind::Tuple(parts) => todo.extend(parts.into_iter().map(|(_, ty)| ty)),
            Kind::Constructor { arguments, .. } => todo.extend(arguments),
            Kind::Variant(row) => todo.extend(row.tags.into_iter().flat_map(|tag| tag.arguments)),
            Kind::Polymorphic { body, .. } => todo.push(body),
            Kind::Variable(_) | Kind::Other => {}
        }
    }
}
