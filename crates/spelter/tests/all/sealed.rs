//! Things that checked code must not be able to do: enter partial applications without a GRAB, forge closures, read
//! addresses as numbers, and call primitives with wrong numbers of arguments. The programs are hand-written, with
//! instructions that no compiler produces.

use spelter::{Dispatch, Error, Outcome, Vm};
use spelter_bytecode::Opcode::*;
use spelter_bytecode::marshal::{BlockColour, Encoder};
use spelter_interp::{Prim, Release, Row};

use crate::by_hand::{Code, OF_4_13, OF_5_4, Program, STRINGS};

#[track_caller]
fn assert_says(result: Result<Outcome, Error>, what: &str) {
    match &result {
        Err(e) if e.to_string().contains(what) => {}
        other => panic!("{other:?}, where {what:?} was expected"),
    }
}

/// Expects that it ends with a fault.
#[track_caller]
fn assert_stopped(result: Result<Outcome, Error>, what: &str) {
    assert!(
        matches!(result, Err(Error::Fault { .. } | Error::Fatal(_))),
        "{result:?}, where a fault was expected"
    );
    assert_says(result, what);
}

/// Expects that it raises.
#[track_caller]
fn assert_raises(result: Result<Outcome, Error>, what: &str) {
    match &result {
        Err(Error::Uncaught { exception, .. }) if exception.contains(what) => {}
        other => panic!("{other:?}, where {what:?} was expected"),
    }
}

// ---- partial applications ------------------------------------------------------------------------------

/// `closure arg` where the closure has been read from the string among the globals.
fn apply_read() -> Code {
    let code = Code::default().to(CLOSURE, &[0], &["one"]).to(CLOSURE, &[0], &["two"]);
    let code = code.to(CLOSUREREC, &[2, 1], &["first", "second"]).op(POP, &[2]);
    let code = code.to(PUSH_RETADDR, &[], &["end"]).push_int(0).push_int(0).op(GETGLOBAL, &[STRINGS as i32]);
    code.call(2, "caml_input_value_from_bytes").op(APPLY, &[1]).at("end").op(STOP, &[])
}

/// Functions for [`apply_read`]: of one argument, of two, and two that share a block with one variable.
fn functions(code: Code) -> Code {
    let code = code.at("one").op(ACC0, &[]).op(RETURN, &[1]);
    let code = code.at("restart").op(RESTART, &[]).at("two").op(GRAB, &[1]).op(ACC1, &[]).op(RETURN, &[2]);
    code.at("first").op(ENVACC, &[5]).op(RETURN, &[1]).at("second").op(ENVACC2, &[]).op(RETURN, &[1])
}

/// A closure or partial application, marshalled: code at the places, each with its distance to the variables; then the
/// variables.
fn closure(p: &Program, places: &[&str], variables: usize, each: impl Fn(&mut Encoder, usize)) -> Vec<u8> {
    let mut out = Encoder::new(BlockColour::White);
    let start = 3 * places.len() - 1;
    out.block(247, start + variables);
    for (i, place) in places.iter().enumerate() {
        if i > 0 {
            out.int((3 * i as i64) << 9 | 249 >> 1);
        }
        out.code_pointer(&p.pointer(place));
        out.int((start - 3 * i) as i64);
    }
    (0..variables).for_each(|i| each(&mut out, i));
    out.finish()
}

#[test]
fn restart_stands_before_grab_only() {
    // A partial application of 30 arguments, all of which are itself, of a function that returns its argument: it is
    // entered again with each argument that is left.
    let of_itself = |p: &Program| {
        closure(p, &["before"], 31, |out, i| match i {
            0 => {
                out.block(247, 2);
                out.code_pointer(&p.pointer("one"));
                out.int(2);
            }
            _ => out.shared(0),
        })
    };
    // The hole was found as 41, 0, 40, 1: RESTART, ACC0, RETURN 1.
    let code = functions(apply_read().at("before").op(RESTART, &[]));
    assert_says(code.done().with_string(of_itself).run(), "RESTART is not allowed here");
    // In unreachable code, and at the end.
    let dead = Code::default().op(STOP, &[]).op(RESTART, &[]).op(ACC0, &[]).op(STOP, &[]);
    assert_says(dead.run(), "RESTART is not allowed here");
    assert_says(Code::default().op(STOP, &[]).op(RESTART, &[]).run(), "RESTART is not allowed here");
}

#[test]
fn marshalled_closures_are_of_their_code() {
    let run = |make: &dyn Fn(&Program) -> Vec<u8>| functions(apply_read()).done().with_string(make).run();
    let int = |out: &mut Encoder, i: usize| out.int(i as i64);
    let finished = |result: Result<Outcome, Error>| {
        assert!(matches!(result, Ok(Outcome::Finished)), "{result:?}");
    };
    // The shapes that the program's own instructions create.
    finished(run(&|p| closure(p, &["one"], 0, int)));
    finished(run(&|p| closure(p, &["two"], 0, int)));
    finished(run(&|p| closure(p, &["first", "second"], 1, int)));
    // Fewer or more fields, or another order, are refused.
    let shapes: [(&[&str], usize); 9] = [
        (&["one"], 1),
        (&["two"], 5),
        (&["first", "second"], 0),
        (&["first", "second"], 2),
        (&["second", "first"], 1),
        (&["first"], 1),
        (&["second"], 1),
        (&["first", "second", "one"], 1),
        (&["restart", "second"], 1),
    ];
    for (places, variables) in shapes {
        assert_raises(run(&|p| closure(p, places, variables, int)), "ill-formed message");
    }
    // A partial application of `two` in accu belongs to the function of this GRAB, and lacks arguments.
    let partial = |of: &'static str, arguments: usize| {
        run(&move |p| {
            closure(p, &["restart"], 1 + arguments, |out, i| match i {
                0 => {
                    out.block(247, 2);
                    out.code_pointer(&p.pointer(of));
                    out.int(2);
                }
                _ => out.int(i as i64),
            })
        })
    };
    finished(partial("two", 1));
    assert_raises(partial("two", 0), "ill-formed message");
    assert_stopped(partial("two", 2), "field 2");
    assert_stopped(partial("two", 128), "field 128");
    assert_stopped(partial("one", 1), "closure");
    assert_raises(partial("restart", 1), "ill-formed message");
    let of_nothing = run(&|p| closure(p, &["restart"], 2, int));
    assert_stopped(of_nothing, "closure");
}

#[test]
fn what_let_rec_fills_in_are_closures() {
    // The second function of a dummy block…
    let dummy = |code: Code| code.push_int(3).int(6).call(2, "caml_alloc_dummy_infix").op(PUSH, &[]);
    // …whose first one is overwritten by a closure of four variables that look like a second function.
    let code = dummy(Code::default()).push_int(1).push_int(2).push_int(1234).int(3 << 9 | 249 >> 1);
    let code = code.to(CLOSURE, &[4], &["f"]).op(PUSH, &[]);
    let code = code.int(-24).call(1, "caml_int32_of_int").op(PUSH, &[]).op(ACC2, &[]);
    let code = code.call(2, "caml_obj_add_offset").call(2, "caml_update_dummy");
    let code = code.to(PUSH_RETADDR, &[], &["end"]).push_int(0).op(ACC4, &[]).op(APPLY, &[1]);
    let code = code.at("end").op(POP, &[1]).op(STOP, &[]).at("f").op(ACC0, &[]).op(RETURN, &[1]);
    assert_raises(code.run(), "caml_update_dummy");
    // A closure without code yet cannot be copied, with its own tag or another.
    let dummy = || Code::default().push_int(0).int(3).call(2, "caml_alloc_dummy_infix");
    let end = |code: Code| code.op(STOP, &[]).run();
    assert_raises(end(dummy().call(1, "caml_obj_dup")), "Invalid_argument");
    let code = dummy().op(PUSH, &[]).int(247).call(2, "caml_obj_with_tag");
    assert_raises(end(code), "Invalid_argument");
    let code = dummy().op(PUSH, &[]).push_int(0).int(3).call(2, "caml_alloc_dummy_infix");
    assert_raises(end(code.call(2, "caml_update_dummy")), "caml_update_dummy");
}

#[test]
fn functions_are_where_their_headers_say() {
    // Of 896 functions, the second one's distance to the variables looks like the header of one behind it.
    const FUNCTIONS: i32 = 896;
    let code = Code::default().to(CLOSUREREC, &[FUNCTIONS, 0], &["f"; FUNCTIONS as usize]);
    let code = code.int(40).call(1, "caml_int32_of_int").op(PUSH, &[]).op(ACC, &[FUNCTIONS]);
    let code = code.call(2, "caml_obj_add_offset").op(PUSH, &[]).to(PUSH_RETADDR, &[], &["end"]);
    let code = code.push_int(0).op(ACC4, &[]).op(APPLY, &[1]).at("end").op(POP, &[FUNCTIONS + 1]);
    let code = code.op(STOP, &[]).at("f").op(ACC0, &[]).op(RETURN, &[1]);
    assert_raises(code.run(), "Obj.add_offset");
}

#[test]
fn closures_are_copied_as_a_whole_or_not_at_all() {
    // f 5 of a copy of f
    let code = Code::default().to(PUSH_RETADDR, &[], &["end"]).push_int(5).int(3).to(CLOSURE, &[1], &["f"]);
    let code = code.call(1, "caml_obj_dup").op(APPLY, &[1]).at("end").call(1, "caml_sys_exit").op(STOP, &[]);
    let code = code.at("f").op(ENVACC2, &[]).op(PUSH, &[]).op(ACC1, &[]).op(ADDINT, &[]).op(RETURN, &[1]);
    assert!(matches!(code.run(), Ok(Outcome::Exited(8))));
    for tag in [0, 246, 250, 252, 253, 254] {
        let code = Code::default().to(CLOSURE, &[0], &["f"]).op(PUSH, &[]).int(tag);
        let code = code.call(2, "caml_obj_with_tag").op(STOP, &[]).at("f").op(ACC0, &[]).op(RETURN, &[1]);
        assert_raises(code.run(), "Obj.with_tag");
    }
}

// ---- addresses -----------------------------------------------------------------------------------------

#[test]
fn addresses_are_not_compared() {
    let block = |code: Code| code.op(CONST0, &[]).op(MAKEBLOCK1, &[0]);
    for op in [LTINT, LEINT, GTINT, GEINT, ULTINT, UGEINT] {
        let two = |code: Code| code.op(op, &[]).op(STOP, &[]).run();
        assert_stopped(two(block(Code::default().push_int(1))), "integer");
        assert_stopped(two(block(Code::default()).op(PUSH, &[]).int(1)), "integer");
        assert_stopped(two(block(block(Code::default()).op(PUSH, &[]))), "integer");
        assert!(two(Code::default().push_int(1).int(-2)).is_ok());
        // Instructions that combine a comparison and a branch.
        let chain = block(Code::default().push_int(1)).op(op, &[]).to(BRANCHIF, &[], &["end"]);
        assert_stopped(chain.at("end").op(STOP, &[]).run(), "integer");
        let chain = block(Code::default()).op(PUSH, &[]).int(1).op(PUSHACC0, &[]).op(op, &[]);
        let chain = chain.to(BRANCHIFNOT, &[], &["end"]).at("end").op(POP, &[1]).op(STOP, &[]);
        assert!(chain.run().is_ok());
    }
    for op in [BLTINT, BLEINT, BGTINT, BGEINT, BULTINT, BUGEINT] {
        let code = block(Code::default()).to(op, &[17], &["end"]).at("end").op(STOP, &[]);
        assert_stopped(code.run(), "integer");
        let code = block(Code::default()).ops(&[PUSH, ACC0]).to(op, &[17], &["end"]).at("end");
        assert_stopped(code.op(POP, &[1]).op(STOP, &[]).run(), "integer");
        assert!(Code::default().int(-5).to(op, &[17], &["end"]).at("end").op(STOP, &[]).run().is_ok());
    }
    // A block equals no integer.
    for (op, taken) in [(BEQ, false), (BNEQ, true)] {
        let code = block(Code::default()).to(op, &[17], &["taken"]).int(3).call(1, "caml_sys_exit");
        let code = code.op(STOP, &[]).at("taken").int(4).call(1, "caml_sys_exit").op(STOP, &[]);
        let expected = if taken { 4 } else { 3 };
        assert!(matches!(code.run(), Ok(Outcome::Exited(code)) if code == expected), "{op}");
    }
}

#[test]
fn addresses_are_no_bytes() {
    let code = Code::default().int(8).call(1, "caml_create_bytes").ops(&[PUSH, ACC0, PUSH, CONST0, PUSH]);
    let code = code.ops(&[ACC2, SETBYTESCHAR]).op(POP, &[1]).op(STOP, &[]);
    assert_stopped(code.run(), "integer");
}

#[test]
fn addresses_are_no_names_of_methods() {
    // An object whose class has two methods, one with a block for its name; and one that has as many methods as an
    // address.
    let table = |code: Code| {
        let code = code.op(CONST0, &[]).op(MAKEBLOCK1, &[0]).op(PUSH, &[]);
        (0..4).fold(code, |code, _| code.push_int(0)).int(2)
    };
    let object = |code: Code| table(code).op(MAKEBLOCK, &[6, 0]).op(MAKEBLOCK1, &[248]).op(PUSH, &[]);
    let end = |code: Code| code.op(POP, &[1]).op(STOP, &[]).run();
    let code = object(Code::default()).int(12345).op(GETDYNMET, &[]);
    assert_stopped(end(code), "integer");
    let code = object(Code::default()).ops(&[CONST0]).op(MAKEBLOCK1, &[0]).op(GETDYNMET, &[]);
    assert_stopped(end(code), "integer");
    let many =
        Code::default().op(CONST0, &[]).op(MAKEBLOCK1, &[0]).op(MAKEBLOCK1, &[0]).op(MAKEBLOCK1, &[248]);
    assert_stopped(end(many.op(PUSH, &[]).int(5).op(GETDYNMET, &[])), "integer");
}

#[test]
fn words_of_blocks_are_numbers_or_out_of_reach() {
    let end = |code: Code| code.op(STOP, &[]).run();
    let word = |block: fn(Code) -> Code, i: i32| {
        end(block(Code::default().push_int(i)).call(2, "caml_obj_raw_field"))
    };
    let pair: fn(Code) -> Code =
        |code| code.ops(&[CONST0]).op(MAKEBLOCK1, &[0]).op(PUSH, &[]).int(7).op(MAKEBLOCK2, &[0]);
    assert!(word(pair, 0).is_ok());
    assert_raises(word(pair, 1), "no number");
    for i in [0, 1] {
        let boxed: fn(Code) -> Code = |code| code.int(3).call(1, "caml_int64_of_int");
        assert_raises(word(boxed, i), "no number");
        let weak: fn(Code) -> Code = |code| code.int(1).call(1, "caml_weak_create");
        assert_raises(word(weak, i), "no number");
        let closure = |code: Code| code.to(CLOSURE, &[0], &["f"]);
        let code = closure(Code::default().push_int(i)).call(2, "caml_obj_raw_field");
        // For code, the position: word 13 of the first unit.
        let code = code.call(1, "caml_nativeint_to_int").call(1, "caml_sys_exit").op(STOP, &[]);
        let result = code.at("f").op(ACC0, &[]).op(RETURN, &[1]).run();
        match i {
            0 => assert!(
                matches!(result, Ok(Outcome::Exited(code)) if code as u32 == (1 << 28) + 13),
                "{result:?}"
            ),
            _ => assert_raises(result, "no number"),
        }
    }
    assert!(word(|code| code.int(9).call(1, "caml_create_bytes"), 1).is_ok());
    assert!(word(|code| code.int(9).call(1, "caml_float_of_int"), 0).is_ok());
    // The same words under the tag of a string, a float or an array of floats.
    for tag in [252, 253, 254] {
        for prim in ["caml_obj_set_tag", "caml_obj_with_tag"] {
            let retag = |block: fn(Code) -> Code| match prim {
                "caml_obj_set_tag" => end(block(Code::default().push_int(tag)).call(2, prim)),
                _ => end(block(Code::default()).op(PUSH, &[]).int(tag).call(2, prim)),
            };
            assert_raises(retag(pair), prim.trim_start_matches("caml_obj_"));
            // Integers are no addresses.
            let ints = |code: Code| code.ops(&[CONST2, PUSH, CONST1]).op(MAKEBLOCK2, &[0]);
            assert!(retag(ints).is_ok(), "{prim} {tag}");
        }
    }
}

#[test]
fn primitives_read_no_code_words() {
    let closure = |code: Code| code.to(CLOSURE, &[0], &["f"]);
    let end = |code: Code| code.op(STOP, &[]).at("f").op(ACC0, &[]).op(RETURN, &[1]).run();
    // As a backtrace, from which the program can read the numbers.
    let code = closure(Code::default()).op(PUSH, &[]).int(0);
    assert_raises(end(code.call(2, "caml_restore_raw_backtrace")), "a block of values");
    let code = closure(Code::default()).call(1, "caml_convert_raw_backtrace");
    assert_raises(end(code), "a block of values");
    // As settings, which `Gc.get` returns.
    assert_raises(end(closure(Code::default()).call(1, "caml_gc_set")), "a block of values");
    // As a date, or as the dimensions of an array.
    assert_raises(end(closure(Code::default()).call(1, "unix_mktime")), "a block of values");
    let code = closure(Code::default()).op(PUSH, &[]).push_int(0).int(3).call(3, "caml_ba_create");
    assert_raises(end(code), "a block of values");
}

#[test]
fn hashes_of_closures_tell_no_address() {
    // The hash of a closure, as an exit code, while another machine holds the same code at another address.
    let code = Code::default().to(CLOSURE, &[0], &["f"]).op(PUSH, &[]).push_int(0).push_int(100).int(10);
    let code = code.call(4, "caml_hash").call(1, "caml_sys_exit").op(STOP, &[]);
    let code = code.at("f").op(ACC0, &[]).op(RETURN, &[1]);
    let bytes = code.done().bytes();
    let mut machines = Vec::new();
    let mut hashes: Vec<Outcome> = Vec::new();
    for _ in 0..4 {
        let mut vm = Vm::builder().build();
        hashes.push(vm.run_bytes("program", &bytes).expect("it runs"));
        machines.push(vm);
    }
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
}

// ---- primitives ----------------------------------------------------------------------------------------

/// The number of arguments of a primitive, if it is fixed.
fn arity(prim: &Prim) -> Option<usize> {
    match prim {
        Prim::P1(_) => Some(1),
        Prim::P2(_) | Prim::V2(_) => Some(2),
        Prim::P3(_) => Some(3),
        Prim::P4(_) | Prim::V4(_) => Some(4),
        Prim::P5(_) => Some(5),
        Prim::Pn(_) => None,
    }
}

/// Calls a primitive with this many integers, with each possible instruction.
fn calls_with(arguments: usize, name: &'static str) -> Vec<Code> {
    let loaded = || (1..arguments).fold(Code::default(), |code, _| code.push_int(0)).int(0);
    let mut calls = vec![loaded().call_n(arguments, name)];
    if arguments <= 5 {
        calls.push(loaded().call(arguments, name));
    }
    calls.into_iter().map(|code| code.op(STOP, &[])).collect()
}

#[test]
fn primitives_get_as_many_arguments_as_they_take() {
    let families = [&spelter_primitives::PRIMITIVES, &spelter_dynlink::PRIMITIVES].into_iter();
    let libraries = spelter_primitives::LIBRARIES.iter().map(|library| library.primitives);
    let rows: Vec<&Row> = families.chain(libraries).flat_map(|families| families.rows()).collect();
    let mut calls = 0;
    // Those that 4.13 does not have are called by programs of 5.4, except what only other versions have.
    for (base, release) in [(OF_4_13, Release::V4_13), (OF_5_4, Release::V5_4)] {
        let is_new = |row: &&&Row| release == Release::V4_13 || !row.versions.contains(Release::V4_13);
        for Row { name, prim, .. } in rows.iter().filter(|row| row.versions.contains(release)).filter(is_new)
        {
            let Some(takes) = arity(prim) else { continue };
            for passes in (1..=6).filter(|passes| *passes != takes) {
                for code in calls_with(passes, name) {
                    calls += 1;
                    let what = format!("primitive {name} takes {takes} arguments, the code passes {passes}");
                    assert_stopped(Program { base, ..code.done() }.run(), &what);
                }
            }
        }
    }
    assert!(calls > 4000, "{calls} calls");
    // Zero, and a negative number.
    for passes in [0, -1, i32::MIN] {
        let (code, number) = Code::default().int(0).number("caml_int_compare");
        assert_says(code.op(C_CALLN, &[passes, number]).op(STOP, &[]).run(), "C_CALLN");
    }
    // The right number, with both instructions.
    for code in calls_with(2, "caml_int_compare") {
        assert!(matches!(code.run(), Ok(Outcome::Finished)));
    }
}

#[test]
fn functions_of_the_host_get_as_many_arguments_as_they_take() {
    // The second one would be compiled to the instruction of that name.
    for name in ["host_sum", "caml_string_equal"] {
        for (passes, dispatch) in
            [1, 2, 3, 6].into_iter().flat_map(|n| [Dispatch::Loop, Dispatch::Tail].map(|d| (n, d)))
        {
            for code in calls_with(passes, name) {
                let builder = Vm::builder().dispatch(dispatch).primitive(name, |a: i64, b: i64| a + b);
                let result = builder.build().run_bytes("program", &code.done().bytes());
                match passes {
                    2 => assert!(matches!(result, Ok(Outcome::Finished)), "{result:?}"),
                    _ => assert_stopped(result, "takes 2 arguments"),
                }
            }
        }
    }
}
