//! Compares marshalled data with the output of `Marshal.to_string` of OCaml 4.13.1.

use spelter_bytecode::marshal::{
    Build, CodePointer, CustomSizes, Decoded, Encoder, Graph, GraphBuilder, Header, Item, Node, Payload,
    decode,
};
use spelter_bytecode::{Error, ErrorKind};

/// Values as OCaml wrote them, in hexadecimal: integers of every size, sharing, a cycle, floats, boxed integers,
/// atoms, a big array, closures of a recursive block with an infix pointer, an object.
const WRITTEN_BY_OCAML: &[(&str, &str)] = &[
    (
        "ints",
        "8495a6be0000005b000000110000003300000033a040a07fa00040a000ffa00080a0007fa0010080a001ff7fa0\
     017fffa0018000a00200008000a0023fffffffa002c0000000a0030000000040000000a003ffffffffbfffffff\
     a0033fffffffffffffffa003c00000000000000040",
    ),
    ("shared", "8495a6be0000000d000000030000000900000008b0267368617265640401900402"),
    ("unshared", "8495a6be0000000f000000000000000900000007a02673686172656426736861726564"),
    ("cycle", "8495a6be00000006000000020000000600000006a041a0420402"),
    (
        "floats",
        "8495a6be0000002e00000004000000120000000dc00c000000000000f83f0e03000000000000f03f0000000000\
     00004000000000000008400c010000000000f07f80",
    ),
    (
        "boxed",
        "8495a6be0000002b000000050000001200000011c0195f690000000005195f6a000000000000000006195f6e00\
     0100000007195f6e000200000123456789ab",
    ),
    (
        "long",
        "8495a6be0000002a000000010000000c0000000709287878787878787878787878787878787878787878787878\
     7878787878787878787878787878787878",
    ),
    (
        "tags",
        "8495a6be00000021000000040000001300000013c008000000c885080000240000610061006100610061006100\
     6100610061909040",
    ),
    (
        "bigarray",
        "8495a6be0000002f000000010000000800000008185f6269676172723032000000001800000000000000300000\
     00020000000400020003000000010002000a000b000c",
    ),
    (
        "closures",
        "8495a6be00000044000000020000000b0000000bb0110000001808000018f7100002d9b8d41b22e29f00bb5ff1\
     2a7f417ac25bcf4501067c100002d9f0d41b22e29f00bb5ff12a7f417ac25bcf4243040111000000180401",
    ),
    (
        "object",
        "8495a6be00000027000000030000000c0000000c08000008f8c041470800000cf71000029808d41b22e29f00bb\
     5ff12a7f417ac25bcf4241006d44",
    ),
];

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |c: u8| (c as char).to_digit(16).expect("a digit") as u8;
    hex.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn written(name: &str) -> Vec<u8> {
    let (_, hex) = WRITTEN_BY_OCAML.iter().find(|(known, _)| *known == name).expect("a known name");
    bytes(hex)
}

fn graph(name: &str) -> Graph {
    let bytes = written(name);
    let (graph, consumed) = Graph::decode(&bytes).expect("what OCaml wrote");
    assert_eq!(consumed, bytes.len());
    graph
}

fn fields(
    graph: &Graph,
    item: Item<spelter_bytecode::marshal::NodeId>,
) -> (u8, Vec<Item<spelter_bytecode::marshal::NodeId>>) {
    match item {
        Item::Obj(id) | Item::Infix(id, _) => match graph.node(id) {
            Node::Block { tag, fields } => (tag, fields.to_vec()),
            other => panic!("{other:?} is not a block"),
        },
        other => panic!("{other:?} is not a block"),
    }
}

#[test]
fn what_ocaml_wrote_is_written_again() {
    for (name, hex) in WRITTEN_BY_OCAML {
        // The graph has sharing, so it is written with object numbers.
        if *name != "unshared" {
            assert_eq!(graph(name).encode(Default::default()), bytes(hex), "{name}");
        }
    }
}

#[test]
fn integers_of_every_size() {
    let graph = graph("ints");
    let mut list = graph.root();
    let mut found = Vec::new();
    while list != Item::Int(0) {
        let (_, cell) = fields(&graph, list);
        let Item::Int(n) = cell[0] else { panic!("an integer") };
        found.push(n);
        list = cell[1];
    }
    let (min, max) = (-1 << 62, (1 << 62) - 1);
    let narrow = 1 << 30;
    let expected = [
        0,
        63,
        64,
        -1,
        -128,
        127,
        128,
        -129,
        32767,
        -32768,
        32768,
        narrow - 1,
        -narrow,
        narrow,
        -narrow - 1,
        max,
        min,
    ];
    assert_eq!(found, expected);
}

#[test]
fn sharing_and_cycles_are_kept() {
    let shared = graph("shared");
    let (_, root) = fields(&shared, shared.root());
    assert_eq!(root[0], root[1]);
    assert_eq!(fields(&shared, root[2]).1, [root[0]]);
    let unshared = graph("unshared");
    let (_, root) = fields(&unshared, unshared.root());
    assert_ne!(root[0], root[1]);
    let cycle = graph("cycle");
    let (_, first) = fields(&cycle, cycle.root());
    let (_, second) = fields(&cycle, first[1]);
    assert_eq!(second, [Item::Int(2), cycle.root()]);
}

#[test]
fn closures_have_code_pointers_and_infix_pointers() {
    let graph = graph("closures");
    let (_, root) = fields(&graph, graph.root());
    let Item::Infix(block, 24) = root[0] else { panic!("{:?}", root[0]) };
    assert_eq!(root[1], Item::Obj(block));
    assert_eq!(root[2], root[0]);
    let (tag, closure) = fields(&graph, root[1]);
    assert_eq!((tag, closure.len()), (247, 6));
    assert!(matches!((closure[0], closure[3]), (Item::Code(f), Item::Code(g)) if f.digest == g.digest));
    // The infix header: 3 words, tag 249, without its lowest bit.
    assert_eq!(closure[2], Item::Int((3 << 10 | 249) >> 1));
}

#[test]
fn an_encoder_without_sharing_gives_no_numbers() {
    let mut out = Encoder::without_sharing(Default::default());
    out.block(0, 2);
    out.string(b"shared");
    out.string(b"shared");
    assert_eq!(out.finish(), written("unshared"));
}

#[test]
fn wide_forms_are_chosen_when_needed() {
    let mut graph = GraphBuilder::default();
    let long = graph.add_string(&[b'x'; 300]);
    let floats = graph.add_double_array(&[0.5; 300]);
    // Back references of one and of two bytes.
    let cells: Vec<_> = (0..400).map(|_| graph.add_block(0, &[long])).collect();
    let list = graph.add_list(&cells);
    let root = graph.add_block(100, &[long, floats, list, cells[0]]);
    let written = graph.finish(root).encode(Default::default());
    let (read, consumed) = Graph::decode(&written).expect("what was just written");
    assert_eq!(consumed, written.len());
    assert_eq!(read.encode(Default::default()), written);
    assert_eq!(read.len(), 803);
}

#[test]
fn big_headers_are_read() {
    let mut bytes = vec![0x84, 0x95, 0xA6, 0xBF, 0, 0, 0, 0];
    bytes.extend([1_u64, 0, 0].into_iter().flat_map(u64::to_be_bytes));
    bytes.push(0x45);
    let header = Header::parse(&bytes).expect("a header");
    assert_eq!((header.header_len, header.total_len(), header.words32), (32, 33, None));
    assert_eq!(Graph::decode(&bytes).expect("an integer").0.root(), Item::Int(5));
}

/// A builder that only records requests.
#[derive(Default)]
struct Log(Vec<String>);

impl Build for Log {
    type Obj = usize;
    type Error = Error;

    fn atom(&mut self, tag: u8) -> Result<usize, Error> {
        self.0.push(format!("atom {tag}"));
        Ok(usize::MAX)
    }
    fn block(&mut self, tag: u8, size: usize) -> Result<usize, Error> {
        self.0.push(format!("block {tag} {size}"));
        Ok(self.0.len())
    }
    fn string(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        self.0.push(format!("string {}", bytes.escape_ascii()));
        Ok(self.0.len())
    }
    fn double(&mut self, value: f64) -> Result<usize, Error> {
        self.0.push(format!("double {value}"));
        Ok(self.0.len())
    }
    fn double_array(&mut self, values: &mut dyn ExactSizeIterator<Item = f64>) -> Result<usize, Error> {
        self.0.push(format!("floats {:?}", values.collect::<Vec<_>>()));
        Ok(self.0.len())
    }
    fn custom(&mut self, name: &[u8], payload: &mut Payload<'_>) -> Result<usize, Error> {
        let payload = payload.bytes(1)?;
        self.0.push(format!("custom {} {payload:?}", name.escape_ascii()));
        Ok(self.0.len())
    }
    fn set_field(&mut self, obj: usize, index: usize, item: Item<usize>) -> Result<(), Error> {
        self.0.push(format!("field {index} of {obj} = {item:?}"));
        Ok(())
    }
}

#[test]
fn builders_hear_of_blocks_before_their_fields() {
    let mut out = Encoder::new(Default::default());
    out.block(0, 3);
    let inner = out.block(1, 1);
    out.int(7);
    out.custom_fixed(b"mine", CustomSizes { bytes32: 4, bytes64: 8 }, &[42]);
    out.shared(inner);
    let bytes = out.finish();
    let mut log = Log::default();
    let decoded = decode(&bytes, &mut log).expect("what was just written");
    assert_eq!(decoded, Decoded { consumed: bytes.len(), root: Item::Obj(1) });
    let expected = [
        "block 0 3",
        "block 1 1",
        "field 0 of 1 = Obj(2)",
        "field 0 of 2 = Int(7)",
        "custom mine [42]",
        "field 1 of 1 = Obj(5)",
        "field 2 of 1 = Obj(2)",
    ];
    assert_eq!(log.0, expected);
}

/// Marshalled data with a header that has the right length and large other numbers.
fn with_header(data: &[u8]) -> Vec<u8> {
    let len = data.len() as u32;
    let header = [0x8495_A6BE, len, len, 2 * len, 2 * len];
    header.into_iter().flat_map(u32::to_be_bytes).chain(data.iter().copied()).collect()
}

#[test]
fn lies_are_found_before_memory_is_taken() {
    let refused = |data: &[u8]| match Graph::decode(&with_header(data)) {
        Err(error) => error.to_string(),
        Ok((graph, _)) => panic!("{data:x?} was read as {graph:?}"),
    };
    // A block of 2^53 fields, a string and an array of 2^64 bytes or so, fields that are not there.
    for data in [
        [&[0x13][..], &[0x7F; 8]].concat(),
        [&[0x15][..], &[0xFF; 8]].concat(),
        [&[0x16][..], &[0x3F; 8]].concat(),
        vec![0x08, 0, 1, 0, 0],
    ] {
        assert!(refused(&data).contains("exceeds the data"), "{}", refused(&data));
    }
    // Nested blocks, with more fields in total than there are bytes.
    let nested = [vec![0xF0; 100], vec![0x40]].concat();
    assert!(refused(&nested).contains("the objects are bigger than the header announces"));
    assert_eq!(refused(&[0x90, 0x04, 2]), "byte offset 0x15: back reference 2, after 1 objects");
    assert_eq!(refused(&[0x04, 0]), "byte offset 0x14: back reference 0, after 0 objects");
    assert_eq!(refused(&[0x1A]), "byte offset 0x14: unknown code 0x1a in marshalled data");
    assert_eq!(
        refused(&[0x11, 0, 0, 0, 8, 0x41]),
        "byte offset 0x14: an infix pointer into something that is not a block"
    );
    let nested = [0x11, 0, 0, 0, 8].repeat(100_000);
    assert!(refused(&nested).contains("infix pointer"));
    assert!(refused(&[0x19, b'_', b'x', 0, 1, 2, 3, 4]).contains("custom block of unknown kind \"_x\""));
    // The header's own numbers: it may announce too much, for which no memory is taken.
    let mut bytes = with_header(&[0x41]);
    bytes[8..].first_chunk_mut::<12>().expect("a header").fill(0xFF);
    bytes[12] = 0x7F;
    assert!(Graph::decode(&bytes).is_ok());
    bytes[7] = 2;
    let error = Graph::decode(&bytes).expect_err("cut");
    assert_eq!(error.kind(), &ErrorKind::Truncated { needed: 1 });
    let error = Graph::decode(&[0x84, 0x95, 0xA6, 0xBD, 10]).expect_err("compressed");
    assert!(matches!(error.kind(), ErrorKind::Truncated { .. }), "{error}");
}

#[test]
fn deep_values_need_no_stack() {
    // A million nested blocks of one field.
    let mut out = Encoder::new(Default::default());
    for _ in 0..1_000_000 {
        out.block(0, 1);
    }
    out.code_pointer(&CodePointer { offset: 4, digest: [1; 16] });
    let bytes = out.finish();
    let (graph, _) = Graph::decode(&bytes).expect("what was just written");
    assert_eq!(graph.encode(Default::default()), bytes);
}
