//! Failed loads: the error is one line, and all tables are unchanged.

use spelter::{Error, Vm};
use spelter_bytecode::obj::Reloc;
use spelter_bytecode::{CompilationUnit, Executable};

use crate::{fixture, host, raw};

/// The tables that a failed load must not change.
fn tables(vm: &mut Vm) -> (usize, usize, usize, Vec<String>) {
    vm.collect().expect("it collects");
    let units = vm.units().into_iter().map(|unit| unit.name).collect();
    (raw(vm).prims().count(), raw(vm).kept_count(), vm.units().len(), units)
}

/// Loads a unit that cannot be loaded, and returns the error's text.
fn refused(vm: &mut Vm, name: &str, bytes: &[u8]) -> String {
    let before = tables(vm);
    let error = vm.load_bytes(name, bytes).expect_err(name);
    assert_eq!(tables(vm), before, "{name}");
    let text = error.to_string();
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

/// A modified unit of the fixtures.
fn changed((_, bytes): (&str, &[u8]), change: impl FnOnce(&mut CompilationUnit)) -> Vec<u8> {
    let mut unit = CompilationUnit::read(bytes).expect("a fixture");
    change(&mut unit);
    unit.write()
}

#[test]
fn errors_say_what_is_wrong_and_leave_nothing_behind() {
    let mut vm = host(Vm::builder());
    let greet = fixture!("greet.cmo").1;
    let mut other_version = greet.to_vec();
    other_version[11] = b'9';
    let outside = changed(fixture!("greet.cmo"), |unit| {
        let end = unit.code.len();
        unit.relocs.last_mut().expect("a relocation").1 = end;
    });
    let misplaced = changed(fixture!("greet.cmo"), |unit| unit.relocs[0].1 = 0);
    let twisted = changed(fixture!("calls.cmo"), |unit| {
        let literal = unit.relocs.iter().find(|(reloc, _)| matches!(reloc, Reloc::Literal(_)));
        let literal = literal.expect("a literal").0.clone();
        let call = unit.relocs.iter_mut().find(|(reloc, _)| matches!(reloc, Reloc::Primitive(_)));
        call.expect("a primitive").0 = literal;
    });
    let program = fixture!("host.byte").1;
    let cases: &[(&str, &[u8])] = &[
        ("empty.cmo", b""),
        ("text.cmo", b"let () = print_endline \"hello\""),
        ("program.cmo", program),
        ("truncated.cmo", &greet[..greet.len() - 100]),
        ("header-only.cmo", &greet[..20]),
        ("other-version.cmo", &other_version),
        ("outside.cmo", &outside),
        ("misplaced.cmo", &misplaced),
        ("twisted.cmo", &twisted),
        fixture!("demand.cmo"),
        fixture!("calls.cmo"),
    ];
    let mut texts: Vec<String> = cases.iter().map(|(name, bytes)| refused(&mut vm, name, bytes)).collect();

    // A different Supply from the one that Demand was compiled against.
    drop(vm.load_public("other/supply.cmo", fixture!("other/supply.cmo").1).expect("it loads"));
    texts.push(refused(&mut vm, "demand.cmo", fixture!("demand.cmo").1));
    vm.withdraw("Supply");

    texts.push(refused(&mut vm, "broken.cmo", fixture!("broken.cmo").1));
    insta::assert_snapshot!(texts.join("\n"));

    // The machine still works.
    vm.load_bytes("greet.cmo", greet).expect("it loads");
    assert_eq!(vm.call::<String>("greet", ("you",)).expect("it answers"), "hello, you");
}

#[test]
fn programs_that_cannot_run_say_why() {
    let program = fixture!("host.byte").1;
    let mut other_version = program.to_vec();
    let end = other_version.len();
    other_version[end - 1] = b'9';
    let cases: &[(&str, &[u8])] = &[
        ("empty.byte", b""),
        ("unit.byte", fixture!("greet.cmo").1),
        ("other-version.byte", &other_version),
        ("cut.byte", &program[program.len() - 1000..]),
    ];
    let text = |(name, bytes): &(&str, &[u8])| {
        let outcome = Vm::builder().build().run_bytes(name, bytes);
        outcome.expect_err(name).to_string()
    };
    let texts: Vec<String> = cases.iter().map(text).collect();
    insta::assert_snapshot!(texts.join("\n"));
}

/// Changes every byte of a unit in turn: the result must be an error or a unit, never a panic, and a failed load must
/// not change a table.
#[test]
fn corrupt_units_are_refused_or_run_checked() {
    let greet = fixture!("greet.cmo").1;
    let mut vm = host(Vm::builder());
    let mut refusals = 0;
    for i in 0..greet.len() {
        let mut bytes = greet.to_vec();
        bytes[i] ^= 0x55;
        let before = tables(&mut vm);
        match vm.load_bytes("greet.cmo", &bytes) {
            Ok(unit) => drop(unit),
            // An initialiser that ran may have registered things, or grown the table of primitives.
            Err(Error::Uncaught { .. } | Error::Fatal(_) | Error::Fault { .. } | Error::Exit(_)) => {}
            Err(_) => {
                refusals += 1;
                assert_eq!(tables(&mut vm), before, "byte {i}");
            }
        }
    }
    assert!(refusals > greet.len() / 10, "{refusals} of {}", greet.len());
}

#[test]
fn a_program_that_needs_a_foreign_library_is_refused() {
    let (name, bytes) = fixture!("host.byte");
    let exe = Executable::read(bytes).expect("a fixture");
    let refusal = |libraries: &[u8], primitives: &[u8]| {
        let mut sections = exe.sections().to_vec();
        for section in &mut sections {
            match &section.name {
                b"PRIM" => section.data.extend_from_slice(primitives),
                b"DLLS" => section.data = libraries.to_vec(),
                _ => {}
            }
        }
        let exe = Executable::from_parts(exe.dialect(), Vec::new(), sections).expect("the same sections");
        let outcome = Vm::builder().build().run_bytes(name, &exe.write());
        outcome.err().map(|error| error.to_string())
    };
    let lib = b"dllunix\0dllnowhere\0";
    assert_eq!(
        refusal(lib, b"unix_fork\0nowhere_a\0nowhere_b\0").expect("it is refused"),
        "host.byte: cannot load shared library dllnowhere, which has the C primitives nowhere_a, nowhere_b"
    );
    assert_eq!(
        refusal(b"dllunix\0", b"nowhere_a\0").expect("it is refused"),
        "host.byte: unknown C primitive `nowhere_a'; register it before the program is loaded"
    );
    assert_eq!(refusal(lib, b"unix_fork\0"), None, "it is named, but nothing of it is missing");
}
