//! Editing code and linking units: what is lowered is what was lifted, but for what was edited.

use std::collections::BTreeMap;

use spelter_bytecode::asm::{Body, Instruction, InstructionId, Linker, Operand, link};
use spelter_bytecode::code::decode_at;
use spelter_bytecode::debug::{DebugUnit, Event, EventKind, encode};
use spelter_bytecode::info::Info;
use spelter_bytecode::obj::{Constant, Reloc};
use spelter_bytecode::opcode::Flow;
use spelter_bytecode::verify::{Entry, Limits, verify};
use spelter_bytecode::{CompilationUnit, Dialect, ErrorKind, Executable, Ident, Library, Opcode};

use crate::fixtures::*;

#[allow(dead_code, reason = "its `main` reads and writes files")]
#[path = "../../examples/coverage.rs"]
mod coverage;

/// All units of the fixtures, with the versions that compiled them.
fn units() -> Vec<(String, CompilationUnit)> {
    let files = ALL.iter().map(|bytes| ("4.13", "", *bytes)).chain(LATER.iter().copied());
    let units = files.flat_map(|(version, file, bytes)| match Info::read(bytes).expect("a fixture") {
        Info::Object(unit) => vec![(format!("{version}/{file}"), unit)],
        Info::Library(library) => {
            library.units.into_iter().map(|unit| (format!("{version}/{file}/{}", unit.name), unit)).collect()
        }
        Info::Executable(_) => Vec::new(),
    });
    units.collect()
}

fn shapes() -> CompilationUnit {
    CompilationUnit::read(SHAPES_CMO).expect("a fixture")
}

fn op(op: Opcode, operands: &[Operand]) -> Instruction {
    Instruction::new(op, operands.iter().cloned())
}

fn words(body: &Body) -> Vec<i32> {
    body.lower().expect("well-formed").words().expect("whole words")
}

/// An empty body.
fn empty() -> Body {
    Body::new(CompilationUnit::new(Dialect::V4_13, "Made"))
}

#[test]
fn units_that_are_not_edited_stay_as_they_are() {
    let units = units();
    assert!(units.len() > 15);
    for (name, unit) in units {
        let lowered = Body::lift(&unit).expect("ocamlc's code").lower().expect("nothing has changed");
        assert!(lowered == unit && lowered.write() == unit.write(), "{name}");
    }
}

#[test]
fn edited_code_still_verifies() {
    for (name, unit) in units() {
        let mut lines = BTreeMap::new();
        let unit = coverage::instrument(&unit, &mut lines).expect("ocamlc's code");
        let mut words = unit.words().expect("whole words");
        words.extend([Opcode::RETURN.word(), 1]);
        let limits = Limits { globals: 1, prims: 1, slots: 0 };
        verify(&words, unit.dialect.opcodes, Entry::Unit, &limits)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(lines.is_empty(), unit.debug.is_none(), "{name}");
    }
}

/// Whether an instruction runs other code, and then the next instruction.
fn comes_back(op: Opcode) -> bool {
    op.facts().may_call() && matches!(op.facts().flow, Flow::Next | Flow::Apply)
}

/// What an event is about: the instruction at its position and the call before it.
fn subject(
    body: &Body,
    starts: &BTreeMap<usize, InstructionId>,
    pos: usize,
) -> (Option<Opcode>, Option<Opcode>) {
    let before = starts.range(..pos).next_back().map(|(_, id)| body[*id].op);
    (starts.get(&pos).map(|id| body[*id].op), before.filter(|op| comes_back(*op)))
}

fn starts(body: &Body) -> BTreeMap<usize, InstructionId> {
    let mut pos = 0;
    let starts = body.ids().map(|id| {
        let start = pos;
        pos += 4 * (1 + body[id].operands.len());
        (start, id)
    });
    starts.collect()
}

fn events(unit: &CompilationUnit) -> Vec<Event> {
    unit.debug_unit().map_or(Vec::new(), |debug| debug.events().expect("a list"))
}

#[test]
fn events_stay_with_what_looks_them_up() {
    for (name, unit) in units() {
        let mut body = Body::lift(&unit).expect("ocamlc's code");
        // Nothing is inserted between `RESTART` and `GRAB`.
        for id in body.ids().collect::<Vec<_>>() {
            if body[id].op != Opcode::GRAB {
                body.insert_before(id, op(Opcode::POP, &[0.into()]));
            }
        }
        let edited = body.lower().expect("well-formed");
        let (before, after) = (Body::lift(&unit).expect("lifted"), Body::lift(&edited).expect("lifted"));
        let (old, new) = (starts(&before), starts(&after));
        let (events, moved) = (events(&unit), events(&edited));
        for event in &events {
            let same = |other: &&Event| {
                (&other.loc, &other.defname, other.kind, other.info)
                    == (&event.loc, &event.defname, event.kind, event.info)
            };
            let (at, call) = subject(&before, &old, event.pos);
            let subjects: Vec<_> =
                moved.iter().filter(same).map(|event| subject(&after, &new, event.pos)).collect();
            // A backtrace finds it after the call, and at what raises.
            if let Some(call) = call {
                assert!(subjects.iter().any(|(_, before)| *before == Some(call)), "{name}: {event:?}");
            }
            if matches!(at, Some(Opcode::RAISE | Opcode::RERAISE)) || event.kind != EventKind::After {
                assert!(
                    subjects.iter().any(|(next, _)| *next == at),
                    "{name}: {at:?} {event:?} {subjects:?}"
                );
            }
        }
        assert!(moved.len() >= events.len(), "{name}");
    }
}

#[test]
fn an_event_for_a_call_and_a_raise_is_copied_when_they_part() {
    // `raise (f x)`: the return address is that of the raise.
    let mut body = empty();
    body.extend([
        op(Opcode::CONST0, &[]),
        op(Opcode::PUSH, &[]),
        op(Opcode::APPLY1, &[]),
        op(Opcode::RAISE, &[]),
    ]);
    let mut unit = body.lower().expect("well-formed");
    let event = |pos, kind| Event { pos, kind, ..events(&shapes()).remove(0) };
    unit.debug = Some(encode(&[event(12, EventKind::After)], &[], unit.dialect));
    let mut body = Body::lift(&unit).expect("well-formed");
    let raise = body.last().expect("not empty");
    assert_eq!(body.events().map(|(id, _)| id).collect::<Vec<_>>(), [Some(raise)]);
    body.insert_before(raise, op(Opcode::POP, &[0.into()]));
    let lowered = body.lower().expect("well-formed");
    let positions: Vec<_> = events(&lowered).iter().map(|event| event.pos).collect();
    assert_eq!(positions, [12, 20]);

    // An event that the compiler moved past a push is copied to the return address if the push goes farther away.
    let mut body = empty();
    body.extend([op(Opcode::APPLY1, &[]), op(Opcode::PUSH, &[]), op(Opcode::CONST1, &[])]);
    let mut unit = body.lower().expect("well-formed");
    unit.debug = Some(encode(&[event(8, EventKind::Before)], &["src".to_owned()], unit.dialect));
    let mut body = Body::lift(&unit).expect("well-formed");
    assert!(body.lower().expect("well-formed") == unit);
    let push = body.ids().nth(1).expect("three instructions");
    body.insert_before(push, op(Opcode::POP, &[0.into()]));
    let lowered = body.lower().expect("well-formed");
    assert_eq!(events(&lowered).iter().map(|event| event.pos).collect::<Vec<_>>(), [16, 4]);
    assert_eq!(lowered.debug_unit().expect("it has some").dirs(), Ok(vec!["src".to_owned()]));

    // A division by zero is looked up one word after the next instruction's start.
    let mut body = empty();
    body.extend([op(Opcode::DIVINT, &[]), op(Opcode::PUSH, &[]), op(Opcode::CONST1, &[])]);
    let mut unit = body.lower().expect("well-formed");
    unit.debug = Some(encode(&[event(8, EventKind::Before)], &[], unit.dialect));
    let mut body = Body::lift(&unit).expect("well-formed");
    body.insert_before(body.last().expect("not empty"), op(Opcode::POP, &[0.into()]));
    let lowered = body.lower().expect("well-formed");
    assert_eq!(events(&lowered).iter().map(|event| event.pos).collect::<Vec<_>>(), [16, 8]);
}

#[test]
fn events_are_written_as_they_were_read() {
    for (name, unit) in units() {
        let Some(debug) = unit.debug_unit() else { continue };
        let (events, dirs) = (debug.events().expect("a list"), debug.dirs().expect("a list"));
        let again = DebugUnit::new(0, encode(&events, &dirs, unit.dialect), unit.dialect);
        assert_eq!((again.events(), again.dirs()), (Ok(events), Ok(dirs)), "{name}");
    }
}

#[test]
fn jumps_follow_the_instructions_that_they_lead_to() {
    let mut body = empty();
    let label = body.new_label();
    let jump = body.push(op(Opcode::BRANCHIF, &[label.into()]));
    let [one, two] = [Opcode::CONST1, Opcode::CONST2].map(|plain| body.push(plain.into()));
    body.place(label, Some(two));
    let code = |body: &Body| words(body)[1] + 1;
    assert_eq!((code(&body), body.target(label)), (3, Some(two)));
    // What is inserted before the target is run, what is inserted after the one before it is not.
    let before = body.insert_before(two, Opcode::PUSH.into());
    assert_eq!((code(&body), body.target(label)), (3, Some(before)));
    body.insert_after(one, Opcode::PUSH.into());
    assert_eq!((code(&body), body.target(label)), (4, Some(before)));
    body.remove(before);
    body.remove(before);
    assert_eq!((code(&body), body.target(label), body.is_removed(before)), (4, Some(two), true));
    body.remove(two);
    assert_eq!((code(&body), body.target(label)), (4, None));
    assert_eq!(body.replace(one, op(Opcode::CONSTINT, &[7.into()])), Opcode::CONST1.into());
    assert_eq!(words(&body), [Opcode::BRANCHIF.word(), 4, Opcode::CONSTINT.word(), 7, Opcode::PUSH.word()]);
    // The end of the code moves when something is added there.
    let last = body.push(Opcode::STOP.into());
    assert_eq!((code(&body), body.target(label)), (5, Some(last)));
    assert_eq!((body.previous(last).map(|id| body[id].op), body.next(jump)), (Some(Opcode::PUSH), Some(one)));
    let start = body.label_at(jump);
    body.push(op(Opcode::BRANCH, &[start.into()]));
    assert_eq!(words(&body).last(), Some(&-7));
}

#[test]
fn tables_count_from_their_start() {
    let mut body = empty();
    let (first, second) = (body.new_label(), body.new_label());
    body.push(op(Opcode::SWITCH, &[0x1_0001.into(), first.into(), second.into()]));
    body.push(op(Opcode::CLOSUREREC, &[2.into(), 0.into(), first.into(), second.into()]));
    let [one, two] = [Opcode::CONST1, Opcode::CONST2].map(|plain| body.push(plain.into()));
    body.place(first, Some(one));
    body.place(second, Some(two));
    let words = words(&body);
    assert_eq!(words, [87, 0x1_0001, 7, 8, 44, 2, 0, 2, 3, 100, 101]);
    let instr = decode_at(&words, 4, Dialect::V4_13.opcodes).expect("well-formed");
    assert_eq!(instr.targets().collect::<Vec<_>>(), [9, 10]);
}

#[test]
fn bodies_that_cannot_be_lowered_are_an_error() {
    let refused = |instruction: Instruction| {
        let mut body = empty();
        body.push(instruction);
        body.lower().expect_err("not an instruction").to_string()
    };
    let label = empty().new_label();
    assert!(refused(op(Opcode::BRANCH, &[label.into()])).contains("a label without a place"));
    assert!(refused(op(Opcode::BRANCH, &[3.into()])).contains("cannot have such an operand"));
    assert!(refused(op(Opcode::CONSTINT, &[Operand::unit("A")])).contains("cannot have such an operand"));
    assert!(refused(op(Opcode::CONSTINT, &[])).contains("the code ends within CONSTINT"));
    assert!(refused(op(Opcode::PUSH, &[1.into()])).contains("PUSH with 1 operands, where 0 belong"));
    assert!(refused(op(Opcode::PERFORM, &[])).contains("not an instruction"));
    assert!(refused(op(Opcode::SWITCH, &[2.into()])).contains("the code ends within SWITCH"));
}

#[test]
fn units_that_cannot_be_lifted_are_an_error() {
    let refused = |change: &dyn Fn(&mut CompilationUnit)| {
        let mut unit = shapes();
        change(&mut unit);
        Body::lift(&unit).expect_err("malformed").to_string()
    };
    // An offset of 0 is the place of the offset itself.
    let between = |unit: &mut CompilationUnit| {
        unit.code = [Opcode::BRANCH.word(), 0].into_iter().flat_map(i32::to_le_bytes).collect();
        unit.relocs.clear();
    };
    assert!(refused(&between).contains("BRANCH refers to a place between instructions"));
    assert!(refused(&|unit| unit.relocs.push((Reloc::Primitive("x".to_owned()), 0))).contains("no operand"));
    assert!(refused(&|unit| unit.relocs.push(unit.relocs[0].clone())).contains("two relocations"));
    // A field's number is none that a linker assigns.
    let on_a_field = |unit: &mut CompilationUnit| {
        unit.code = [Opcode::GETFIELD.word(), 4].into_iter().flat_map(i32::to_le_bytes).collect();
        unit.relocs = vec![(Reloc::Primitive("x".to_owned()), 4)];
    };
    assert!(refused(&on_a_field).contains("no operand"));
    let inside = |unit: &mut CompilationUnit| {
        let mut events = events(unit);
        events[0].pos = 2;
        unit.debug = Some(encode(&events, &[], unit.dialect));
    };
    assert!(refused(&inside).contains("a debug event is not at the start of an instruction"));
}

#[test]
fn a_program_has_the_sections_that_ocamlc_writes() {
    for (version, cma, byte) in [("4.13", LIB_CMA, TINY_BYTE)].into_iter().chain(
        ["4.14", "5.1", "5.3", "5.4", "5.5"]
            .map(|version| (version, later(version, "lib.cma"), later(version, "tiny.byte"))),
    ) {
        let expected = Executable::read(byte).expect("a fixture");
        let library = Library::read(cma).expect("a fixture");
        let tiny = library.units.into_iter().find(|unit| unit.name == "Tiny").expect("it is there");
        let prims = expected.prims().expect("names").into_iter().map(str::to_owned);
        let linked =
            Linker::new().object(tiny).primitives(prims).prefix(expected.prefix()).link().expect("one unit");
        // The unit in the library was compiled without `-g`, so its code is shorter.
        for name in ["PRIM", "DATA", "SYMB", "CRCS"] {
            assert!(linked.section(name) == expected.section(name), "{version}: {name}");
        }
        assert_eq!(linked.prefix(), expected.prefix());
        assert_eq!(linked.symbols(), expected.symbols(), "{version}");
        let names =
            |exe: &Executable| exe.sections().iter().map(|section| section.name()).collect::<Vec<_>>();
        assert_eq!(names(&linked), names(&expected), "{version}");
    }
}

#[test]
fn units_of_libraries_are_linked_when_they_are_needed() {
    // Units that set their own global, and read others.
    let unit = |name: &str, needs: &[&str]| {
        let mut body = Body::new(CompilationUnit::new(Dialect::V5_4, name));
        for needed in needs {
            body.push(op(Opcode::GETGLOBAL, &[Operand::unit(needed)]));
        }
        body.push(op(Opcode::SETGLOBAL, &[Operand::own_unit(name)]));
        body.lower().expect("well-formed")
    };
    let library = || {
        let mut forced = unit("Forced", &[]);
        forced.force_link = true;
        Library::new(Dialect::V5_4, vec![unit("A", &[]), unit("B", &["A"]), unit("C", &[]), forced])
    };
    let linked = |linker: Linker| {
        let symbols = linker.link().expect("complete").symbols().expect("a table").expect("it has one");
        let mut units: Vec<_> = symbols
            .slots
            .iter()
            .filter_map(|(ident, slot)| match ident {
                Ident::Unit(name) => Some((*slot, name.clone())),
                Ident::Predef(_) => None,
            })
            .collect();
        units.sort();
        units.into_iter().map(|(_, name)| name).collect::<Vec<_>>()
    };
    let with = |needs: &[&str]| Linker::new().library(library()).object(unit("Main", needs));
    assert_eq!(linked(with(&["B"])), ["A", "B", "Forced", "Main"]);
    assert_eq!(linked(with(&[])), ["Forced", "Main"]);
    assert_eq!(linked(with(&[]).everything()), ["A", "B", "C", "Forced", "Main"]);

    let refused = |linker: Linker| {
        let error = linker.link().expect_err("it cannot be linked");
        assert!(matches!(error.kind(), ErrorKind::Link(_)), "{error}");
        error.to_string()
    };
    assert!(refused(with(&["D"])).contains("Main needs the unit D, which is missing"));
    let late = Linker::new().object(unit("Main", &["A"])).library(library()).object(unit("A", &[]));
    assert!(refused(late).contains("Main needs the unit A, which comes after it"));
    assert!(refused(Linker::new()).contains("there are no units"));
    let other = CompilationUnit::new(Dialect::V5_3, "Other");
    assert!(refused(with(&[]).object(other)).contains("Other was compiled by OCaml 5.3"));
    let with_digest = |name: &str, digest| {
        let mut unit = unit(name, &[]);
        unit.imports.push(("Api".to_owned(), Some([digest; 16])));
        unit
    };
    let error = link([with_digest("One", 1), with_digest("Two", 2)]).expect_err("they disagree").to_string();
    assert!(error.contains("One and Two were compiled against different interfaces of Api"), "{error}");
}

#[test]
fn literals_and_primitives_get_numbers() {
    let mut body = Body::new(CompilationUnit::new(Dialect::V5_4, "Made"));
    let text = body.literal(Constant::String(b"text".to_vec()));
    body.push(op(Opcode::GETGLOBAL, &[text]));
    for name in ["caml_b", "caml_a", "caml_b"] {
        body.push(op(Opcode::C_CALL1, &[Operand::primitive(name)]));
    }
    body.push(op(Opcode::SETGLOBAL, &[Operand::own_unit("Made")]));
    let exe = Linker::new()
        .object(body.lower().expect("well-formed"))
        .primitives(["caml_first".to_owned()])
        .link()
        .expect("one unit");
    assert_eq!(exe.prims(), Ok(vec!["caml_first", "caml_b", "caml_a"]));
    assert_eq!(exe.code(), Ok(vec![53, 12, 93, 1, 93, 2, 93, 1, 57, 13, 143]));
    assert!(exe.data().windows(4).any(|bytes| bytes == b"text"));
}
