//! Compiled interfaces: what `ocamlc -i` prints of their sources, and what is found in them.

use spelter_bytecode::cmi::*;
use spelter_bytecode::disasm::{Listing, UnitNames};
use spelter_bytecode::marshal::{Graph, GraphBuilder, Item as Raw, Node, NodeId};
use spelter_bytecode::{CompilationUnit, ErrorKind};

const RULE: &[u8] = include_bytes!("../fixtures/rule.cmi");

macro_rules! interfaces {
    ($($folder:literal)*) => {
        /// What each version made of `types.mli`: its folder, the file, and what `ocamlc -i` printed.
        pub(crate) const TYPES: &[(&str, &[u8], &str)] = &[$((
            $folder,
            include_bytes!(concat!("../fixtures/", $folder, "/types.cmi")),
            include_str!(concat!("../fixtures/", $folder, "/types.cmi.i")),
        )),*];
    };
}

interfaces! { "." "4.14" "5.1" "5.3" "5.4" "5.5" }

fn types() -> Interface {
    Interface::read(TYPES[0].1).expect("a fixture")
}

/// The compiler breaks lines to fit a page, which is the only difference.
fn on_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn interfaces_print_as_ocamlc_prints_them() {
    for (version, bytes, expected) in TYPES {
        let interface = Interface::read(bytes).expect("a fixture");
        assert_eq!(on_one_line(&interface.to_string()), on_one_line(expected), "{version}");
        assert_eq!(interface.name, "Types");
        assert!(interface.digest().is_some() && interface.imports.len() > 1, "{version}");
    }
}

#[test]
fn fields_are_where_compiled_code_reads_them() {
    let interface = types();
    let uses = CompilationUnit::read(include_bytes!("../fixtures/uses.cmo")).expect("a fixture");
    let listing =
        Listing::new(&uses.words().expect("words"), uses.dialect.opcodes, &UnitNames::new(&uses)).to_string();
    // The code that reads them, one after the other.
    let mut read = Vec::new();
    for line in listing.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[1..] {
            [op, "Types,", field] if op.contains("GETGLOBALFIELD") => {
                read.push(vec![field.parse::<usize>().expect("a number")]);
            }
            ["GETFIELD", field] => read.last_mut().expect("a module").push(field.parse().expect("a number")),
            [op] => {
                if let Some(field) = op.strip_prefix("GETFIELD") {
                    read.last_mut().expect("a module").push(field.parse().expect("a number"));
                }
            }
            _ => {}
        }
    }
    let names = ["plain", "+", "Sub.make", "Sub.Deep.last", "after", "last"];
    let found =
        names.map(|name| interface.value(name).and_then(|found| found.fields).expect("it has a field"));
    assert_eq!(read, found);
    assert_eq!(
        interface.digest(),
        uses.imports.iter().find(|(name, _)| name == "Types").and_then(|(_, digest)| *digest)
    );
}

#[test]
fn values_are_found_by_name() {
    let interface = types();
    let ty = |name: &str| interface.value(name).map(|found| found.ty.to_string());
    assert_eq!(ty("plain").as_deref(), Some("int"));
    assert_eq!(ty(".%[]").as_deref(), Some("'a array -> int -> 'a"));
    assert_eq!(ty("Sub.Deep.last").as_deref(), Some("t"));
    assert_eq!(
        (ty("missing"), ty("Sub.missing"), ty("Nowhere.make"), ty("Alias.length"), ty("")),
        Default::default()
    );
    let hypot = interface.value("hypot").expect("it is declared");
    assert_eq!(hypot.fields, None);
    let primitive = hypot.value.primitive.as_ref().expect("an external");
    assert_eq!(
        (primitive.name.as_str(), primitive.arity, primitive.allocates),
        ("caml_hypot_float", 2, false)
    );
    // An exception and a submodule have a field, a type and a module type have none.
    let (_, field) = interface.signature.exception("Empty_one").expect("it is declared");
    assert_eq!(field, Some(4));
    assert_eq!(
        interface.signature.items.iter().filter(|item| item.is_component()).count(),
        interface.signature.size()
    );
}

#[test]
fn one_level_of_a_type_is_seen_at_a_time() {
    let interface = types();
    let ty = interface.value("labelled").expect("it is declared").ty;
    let Kind::Arrow { label: Label::Labelled(from), argument, result } = ty.kind() else { panic!("{ty}") };
    assert_eq!((from.as_str(), argument.to_string().as_str()), ("from", "int"));
    let Kind::Arrow { label: Label::Optional(step), argument, .. } = result.kind() else {
        panic!("{result}")
    };
    assert_eq!((step.as_str(), argument.to_string().as_str()), ("step", "int option"));

    let color = interface.value("color").expect("it is declared").ty;
    let Kind::Arrow { argument, result, .. } = color.kind() else { panic!("{color}") };
    let Kind::Variant(row) = result.kind() else { panic!("{result}") };
    let tags: Vec<_> = row
        .tags
        .iter()
        .map(|tag| (tag.name, tag.hash(), tag.required, tag.constant, tag.arguments.len()))
        .collect();
    assert_eq!(tags, [("Blue", 737308346, true, false, 1), ("Red", 4100401, true, true, 0)]);
    assert!(row.closed);
    let Head::Structural(expanded) = argument.head(&|_| None).expect("it is finite") else {
        panic!("{argument}")
    };
    assert!(matches!(expanded.kind(), Kind::Variant(row) if row.tags.len() == 3));

    // A type that contains itself.
    let recursive = interface.value("recursive").expect("it is declared").ty;
    let Kind::Arrow { argument, .. } = recursive.kind() else { panic!("{recursive}") };
    assert!(matches!(argument.kind(), Kind::Other));
    assert_eq!(argument.to_string(), "< next : 'a; value : int > as 'a");
}

#[test]
fn abbreviations_expand_with_their_arguments() {
    let interface = types();
    let last = interface.value("last").expect("it is declared").ty;
    let Kind::Arrow { argument: table, result, .. } = last.kind() else { panic!("{last}") };
    let Kind::Arrow { argument: pair, .. } = result.kind() else { panic!("{result}") };
    let expanded = pair.expand(&|_| None).expect("it is finite").expect("an abbreviation");
    assert_eq!((pair.to_string(), expanded.to_string()), ("'a pair".to_owned(), "'a * 'a".to_owned()));
    assert!(matches!(table.head(&|_| None), Ok(Head::Unknown(_))));

    let shape = interface.signature.declaration("shape").expect("it is declared");
    let TypeKind::Variant { constructors, .. } = &shape.kind else { panic!("{shape:?}") };
    let tags: Vec<_> = constructors.iter().map(|constructor| constructor.tag).collect();
    use ConstructorTag::{Block, Constant};
    assert_eq!(tags, [Constant(0), Block(0), Constant(1), Block(1), Block(2)]);
    let TypeKind::Record { representation, .. } =
        interface.signature.declaration("point").expect("declared").kind
    else {
        panic!("a record")
    };
    assert_eq!(representation, RecordRepresentation::Floats);
}

#[test]
fn declarations_are_found_in_other_interfaces() {
    let rule = Interface::read(RULE).expect("a fixture");
    let decide = rule.value("decide").expect("it is declared").ty;
    let Kind::Arrow { result, .. } = decide.kind() else { panic!("{decide}") };
    let Kind::Arrow { argument: order, .. } = result.kind() else { panic!("{result}") };
    let Head::Declared(declared) = order.head(&|_| None).expect("it is finite") else { panic!("{order}") };
    let fields: Vec<_> =
        declared.fields().iter().map(|(field, ty)| (field.name.clone(), ty.to_string())).collect();
    assert_eq!(fields, [("item".to_owned(), "string".to_owned()), ("count".to_owned(), "int".to_owned())]);

    // `copy` equals a type of `Lexing`, which equals one of itself once its interface is there.
    let types = types();
    let copy = types.signature.declaration("copy").expect("it is declared");
    let original = types.ty(copy.manifest.expect("it has one"));
    assert!(matches!(original.head(&|_| None), Ok(Head::Unknown(_))));
    assert!(matches!(
        original.head(&|unit| (unit == "Stdlib__Lexing").then_some(&rule)),
        Ok(Head::Unknown(_))
    ));
}

/// The interface's graph of a fixture, changed.
fn changed(change: impl FnOnce(&mut Graph)) -> Vec<u8> {
    let (mut graph, consumed) = Graph::decode(&RULE[12..]).expect("a fixture");
    change(&mut graph);
    [&RULE[..12], &graph.encode(Default::default()), &RULE[12 + consumed..]].concat()
}

/// The nodes of blocks with that tag and number of fields.
fn blocks(graph: &Graph, tag: u8, size: usize) -> Vec<NodeId> {
    let mut found: Vec<NodeId> = Vec::new();
    let mut todo = vec![graph.root()];
    let mut seen = std::collections::HashSet::new();
    while let Some(item) = todo.pop() {
        let Raw::Obj(id) = item else { continue };
        if !seen.insert(id) {
            continue;
        }
        if let Node::Block { tag: known, fields } = graph.node(id) {
            todo.extend(fields);
            if (known, fields.len()) == (tag, size) {
                found.push(id);
            }
        }
    }
    found
}

/// An interface of 4.13 with one value, whose type is a node of that description; then the node is changed.
fn made(tag: u8, fields: usize, change: impl FnOnce(&mut Graph, NodeId, Raw<NodeId>)) -> Vec<u8> {
    let mut graph = GraphBuilder::default();
    let zero = Raw::Int(0);
    let name = graph.add_string(b"knot");
    let desc = graph.add_block(tag, &vec![zero; fields]);
    let ty = graph.add_block(0, &[desc, zero, zero, zero]);
    let value = graph.add_block(0, &[ty, zero, zero, zero, zero]);
    let ident = graph.add_block(0, &[name, Raw::Int(1)]);
    let item = graph.add_block(0, &[ident, value, zero]);
    let items = graph.add_list(&[item]);
    let root = graph.add_block(0, &[name, items]);
    let mut graph = graph.finish(root);
    let Raw::Obj(desc) = desc else { panic!("a block") };
    change(&mut graph, desc, ty);
    let nothing = GraphBuilder::default().finish(zero).encode(Default::default());
    [b"Caml1999I030", &graph.encode(Default::default())[..], &nothing, &nothing].concat()
}

#[test]
fn types_that_contain_themselves_are_read_and_printed() {
    let bytes = made(1, 4, |graph, arrow, ty| {
        graph.set_field(arrow, 1, ty);
        graph.set_field(arrow, 2, ty);
    });
    let interface = Interface::read(&bytes).expect("a graph that is well-formed");
    let knot = interface.value("knot").expect("it is declared").ty;
    assert_eq!(knot.to_string(), "'a -> 'a as 'a");
}

#[test]
fn types_of_any_size_are_printed_in_part() {
    // Pairs of pairs of pairs…: 2^40 types when written down.
    let bytes = made(2, 1, |_, _, _| {});
    assert_eq!(Interface::read(&bytes).expect("a tuple of nothing").to_string(), "val knot : \n");
    let mut graph = GraphBuilder::default();
    let zero = Raw::Int(0);
    let name = graph.add_string(b"deep");
    let var = graph.add_block(0, &[zero]);
    let mut ty = graph.add_block(0, &[var, zero, zero, zero]);
    for _ in 0..40 {
        let parts = graph.add_list(&[ty, ty]);
        let tuple = graph.add_block(2, &[parts]);
        ty = graph.add_block(0, &[tuple, zero, zero, zero]);
    }
    let value = graph.add_block(0, &[ty, zero, zero, zero, zero]);
    let ident = graph.add_block(0, &[name, Raw::Int(1)]);
    let item = graph.add_block(0, &[ident, value, zero]);
    let items = graph.add_list(&[item]);
    let root = graph.add_block(0, &[name, items]);
    let graph = graph.finish(root).encode(Default::default());
    let nothing = GraphBuilder::default().finish(zero).encode(Default::default());
    let interface = Interface::read(&[b"Caml1999I030", &graph[..], &nothing, &nothing].concat())
        .expect("read in linear time");
    let text = interface.to_string();
    assert!(text.len() < 1 << 20 && text.contains("..."), "{}", text.len());
}

#[test]
fn abbreviations_without_end_are_an_error() {
    // The manifest of `prices` becomes `prices` itself.
    let bytes = changed(|graph| {
        let declarations = blocks(graph, 0, 14);
        for declaration in declarations {
            let Node::Block { fields, .. } = graph.node(declaration) else { unreachable!() };
            let Raw::Obj(manifest) = fields[4] else { continue };
            let Node::Block { fields: [Raw::Obj(ty)], .. } = graph.node(manifest) else {
                panic!("an option")
            };
            let ty = *ty;
            let Node::Block { fields: [Raw::Obj(desc), ..], .. } = graph.node(ty) else { panic!("a type") };
            let desc = *desc;
            let own = prices_path(graph);
            graph.set_field(desc, 0, own);
            graph.set_field(desc, 1, Raw::Int(0));
        }
    });
    let interface = Interface::read(&bytes).expect("a graph that is well-formed");
    let decide = interface.value("decide").expect("it is declared").ty;
    let Kind::Arrow { argument, .. } = decide.kind() else { panic!("{decide}") };
    let error = argument.head(&|_| None).expect_err("it does not end");
    assert!(matches!(error.kind(), ErrorKind::Malformed(_)), "{error}");
}

/// The path of the type `prices`.
fn prices_path(graph: &Graph) -> Raw<NodeId> {
    let path = blocks(graph, 0, 1).into_iter().find(|path| {
        let Node::Block { fields: [Raw::Obj(ident)], .. } = graph.node(*path) else { return false };
        let Node::Block { tag: 0, fields: [Raw::Obj(name), _] } = graph.node(*ident) else { return false };
        graph.node(*name) == Node::String(b"prices")
    });
    Raw::Obj(path.expect("it is used"))
}

#[test]
fn links_in_a_circle_are_an_error() {
    let bytes = made(6, 1, |graph, link, ty| graph.set_field(link, 0, ty));
    let error = Interface::read(&bytes).expect_err("the links do not end");
    assert!(!error.to_string().contains('\n'), "{error}");
}

#[test]
fn files_that_are_no_interfaces_are_refused() {
    let refused = |bytes: &[u8]| Interface::read(bytes).expect_err("not an interface").to_string();
    assert!(refused(b"").contains("a compiled OCaml interface (.cmi)"), "{}", refused(b""));
    assert!(refused(include_bytes!("../fixtures/tiny.cmo")).contains("a compiled OCaml interface"));
    assert!(refused(b"Caml1999I025 and so on").contains("OCaml 4.08"));
    assert_eq!(refused(&RULE[..RULE.len() / 2]).lines().count(), 1);
}

#[test]
fn classes_have_fields_but_the_types_that_they_bring_do_not() {
    for bytes in
        [&include_bytes!("../fixtures/classes.cmi")[..], include_bytes!("../fixtures/5.4/classes.cmi")]
    {
        let interface = Interface::read(bytes).expect("a fixture");
        // These are the numbers in code of both versions that reads them.
        for (name, fields) in [("x", vec![3]), ("M.y", vec![4, 1]), ("z", vec![5])] {
            assert_eq!(interface.value(name).and_then(|found| found.fields), Some(fields), "{name}");
        }
        let text = interface.to_string();
        assert!(text.starts_with("class type shape\nclass c\nclass d\nclass e\nval x : int\n"), "{text}");
    }
}

#[test]
fn types_of_several_interfaces_are_followed() {
    let (judge, rule, types) = (
        Interface::read(include_bytes!("../fixtures/judge.cmi")).expect("a fixture"),
        Interface::read(RULE).expect("a fixture"),
        types(),
    );
    let units = |unit: &str| match unit {
        "Rule" => Some(&rule),
        "Types" => Some(&types),
        _ => None,
    };
    let mut arguments = Vec::new();
    let mut ty = judge.value("judge").expect("it is declared").ty;
    while let Kind::Arrow { argument, result, .. } = ty.kind() {
        arguments.push(argument);
        ty = result;
    }
    let [pair, prices, list] = &arguments[..] else { panic!("{arguments:?}") };
    // The abbreviation is one of `Types`, its argument one of `Rule` by another name.
    let expanded = pair.expand(&units).expect("it is finite").expect("an abbreviation");
    assert_eq!(expanded.to_string(), "R.order * R.order");
    let Kind::Tuple(parts) = expanded.kind() else { panic!("{expanded}") };
    let Ok(Head::Declared(order)) = parts[1].1.head(&units) else { panic!("{expanded}") };
    assert_eq!((order.interface.name.as_str(), order.declaration.name.as_str()), ("Rule", "order"));
    assert_eq!(order.fields().len(), 2);
    let Ok(Head::Predefined("list", elements)) = prices.head(&units) else { panic!("{prices}") };
    assert_eq!(elements[0].to_string(), "string * float");
    let Ok(Head::Predefined("list", elements)) = list.head(&units) else { panic!("{list}") };
    let Ok(Head::Declared(element)) = elements[0].head(&units) else { panic!("{list}") };
    assert!(matches!(element.declaration.kind, TypeKind::Abstract) && element.declaration.manifest.is_none());
    let Ok(Head::Declared(even)) = ty.head(&units) else { panic!("{ty}") };
    assert_eq!(
        even.constructors().iter().map(|constructor| constructor.tag).collect::<Vec<_>>(),
        [ConstructorTag::Constant(0), ConstructorTag::Block(0)]
    );

    // The arguments of a declared type stand in its constructors' and fields' types.
    let tree = judge.value("tree").expect("it is declared").ty;
    let Kind::Arrow { argument, result, .. } = tree.kind() else { panic!("{tree}") };
    let Ok(Head::Declared(tree)) = argument.head(&units) else { panic!("{argument}") };
    let Arguments::Tuple(node) = &tree.constructors()[1].arguments else { panic!("a tuple") };
    assert_eq!(tree.ty(node[0]).to_string(), "string forest");
    let Ok(Head::Predefined("list", trees)) = tree.ty(node[0]).head(&units) else {
        panic!("an abbreviation")
    };
    assert_eq!(trees[0].to_string(), "string tree");
    // `result` is declared in `Stdlib`, which is not there.
    assert!(matches!(result.head(&units), Ok(Head::Unknown(_))));
}

#[test]
fn an_interface_is_that_of_the_unit_that_names_its_digest() {
    let rule = Interface::read(RULE).expect("a fixture");
    let mut unit = CompilationUnit::new(rule.dialect, "Rule");
    assert!(!rule.is_of(&unit));
    unit.imports.push(("Rule".to_owned(), rule.digest()));
    assert!(rule.is_of(&unit));
    unit.imports[0].1 = Some([0; 16]);
    assert!(!rule.is_of(&unit));
    unit.imports[0].1 = rule.digest();
    unit.name = "Other".to_owned();
    assert!(!rule.is_of(&unit));
}
