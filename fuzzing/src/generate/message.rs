//! Marshalled data with closures, partial applications and pointers into blocks of closures of existing code: of
//! shapes that the code creates, and of others.

use spelter_bytecode::marshal::{BlockColour, CodePointer, Graph, GraphBuilder, Item, Node, NodeId};

use super::constants::{self, Const};
use super::kinds::Kind;
use crate::source::Source;

/// The facts about a piece of code that are needed to marshal closures of it.
#[derive(Clone, Default, Debug)]
pub struct CodeInfo {
    /// Its digest.
    pub(crate) digest: [u8; 16],
    /// The blocks of closures that it creates: the entries, and the number of variables.
    pub(crate) shapes: Vec<(Vec<usize>, usize)>,
    /// The position of `RESTART`, the entry after it, and the number of the function's arguments.
    pub(crate) restarts: Vec<(usize, usize, usize)>,
    /// How many words there are.
    pub(crate) len: usize,
}

/// Some data. `infos` describes the existing code.
pub(crate) fn message(seed: u32, infos: &[CodeInfo]) -> Vec<u8> {
    let mut source = Source::of_seed(seed.into());
    let source = &mut source;
    let mut graph = GraphBuilder::default();
    let root = value(source, &mut graph, infos, 0);
    let mut graph = graph.finish(root);
    if let Item::Obj(block) = root
        && source.one_in(3)
    {
        tie(&mut graph, block);
    }
    let mut bytes = graph.encode(BlockColour::White);
    if source.one_in(10) {
        let at = source.below(bytes.len());
        bytes[at] = source.of(&[0, 4, 0x10, 0x11, 0x12, 0x40, 0xa0, 0xff, bytes[at] ^ 1]);
    }
    bytes
}

/// Some of them are too many.
const MANY: [usize; 8] = [20, 40, 100, 127, 128, 129, 300, 6000];

type Value = Item<NodeId>;

/// Makes a closure or a partial application refer to itself.
fn tie(graph: &mut Graph, block: NodeId) {
    let Node::Block { fields, .. } = graph.node(block) else { return };
    let ints: Vec<usize> = (3..fields.len()).filter(|i| matches!(fields[*i], Item::Int(0..100))).collect();
    ints.into_iter().for_each(|i| graph.set_field(block, i, Item::Obj(block)));
}

fn value(source: &mut Source<'_>, graph: &mut GraphBuilder, infos: &[CodeInfo], depth: usize) -> Value {
    let info = &infos[source.below(infos.len())];
    match source.below(12) {
        0..4 => closure(source, graph, info, infos, depth),
        4..8 => partial(source, graph, info, infos, depth),
        8 => match closure(source, graph, info, infos, depth) {
            Item::Obj(block) => Item::Infix(block, 24 * source.below(4) as u32),
            other => other,
        },
        9 if depth < 3 => {
            let n = 1 + source.below(3);
            let fields: Vec<_> = (0..n).map(|_| value(source, graph, infos, depth + 1)).collect();
            graph.add_block(source.of(&[0, 0, 1, 246, 248]), &fields)
        }
        10 => Item::Int(constants::int(source) << 1 >> 1),
        _ => {
            let kind =
                source.of(&[Kind::Str, Kind::Float, Kind::Int64, Kind::Block, Kind::Floats, Kind::Object]);
            Const::of_kind(kind, source).add_to_graph(graph)
        }
    }
}

fn code(source: &mut Source<'_>, info: &CodeInfo, position: usize) -> Value {
    let position = if source.one_in(30) { source.below(info.len + 2) } else { position };
    let mut digest = info.digest;
    if source.one_in(60) {
        digest[0] ^= 1;
    }
    Item::Code(CodePointer { offset: 4 * position as u32, digest })
}

/// A block of closures, as `CLOSURE` and `CLOSUREREC` make them.
fn closure(
    source: &mut Source<'_>,
    graph: &mut GraphBuilder,
    info: &CodeInfo,
    infos: &[CodeInfo],
    depth: usize,
) -> Value {
    if info.shapes.is_empty() {
        return Item::Int(0);
    }
    let (entries, vars) = &info.shapes[source.below(info.shapes.len())];
    let vars = if source.one_in(8) { source.below(5) } else { *vars };
    let mut fields = Vec::new();
    for (i, entry) in entries.iter().enumerate() {
        if i > 0 {
            fields.push(Item::Int(((3 * i as i64) << 10 | 249) >> 1));
        }
        fields.push(code(source, info, *entry));
        fields.push(Item::Int(3 * (entries.len() - i) as i64 - 1));
    }
    for _ in 0..vars {
        let variable = match depth {
            0..3 if source.one_in(4) => value(source, graph, infos, depth + 1),
            _ => Item::Int(source.below(100) as i64),
        };
        fields.push(variable);
    }
    graph.add_block(247, &fields)
}

/// A partial application of a function, with any number of arguments.
fn partial(
    source: &mut Source<'_>,
    graph: &mut GraphBuilder,
    info: &CodeInfo,
    infos: &[CodeInfo],
    depth: usize,
) -> Value {
    if info.restarts.is_empty() {
        return closure(source, graph, info, infos, depth);
    }
    let bare: Vec<_> = info.restarts.iter().filter(|(_, _, arity)| *arity < 2).collect();
    let of = if bare.is_empty() || source.one_in(3) { info.restarts.iter().collect() } else { bare };
    let (restart, entry, arity) = *of[source.below(of.len())];
    // Without a GRAB after it, any number is possible.
    let any = arity < 2 && source.one_in(2);
    let args = match source.below(6) {
        0 => source.below(6),
        _ if any => source.of(&MANY),
        1 => source.of(&MANY),
        2 => arity,
        _ => source.below(arity.max(1)),
    };
    let mut fields = vec![code(source, info, restart), Item::Int(2)];
    let own = info.shapes.iter().find(|(entries, _)| entries.contains(&entry));
    let function = match own {
        Some(_) if source.one_in(8) => value(source, graph, infos, depth + 1),
        Some((entries, vars)) => {
            let at = entries.iter().position(|e| *e == entry).unwrap_or(0);
            let only = CodeInfo { shapes: vec![(entries.clone(), *vars)], ..info.clone() };
            match closure(source, graph, &only, infos, depth + 1) {
                Item::Obj(block) if at > 0 => Item::Infix(block, 24 * at as u32),
                other => other,
            }
        }
        None => closure(source, graph, info, infos, depth + 1),
    };
    fields.push(function);
    fields.extend((0..args).map(|i| Item::Int(i as i64 % 100)));
    graph.add_block(247, &fields)
}
