//! Machines with the fixtures loaded, for the benches and for the counts of instructions.

use std::hint::black_box;

use spelter::{Strategy, Vm};
use spelter_bytecode::Opcode;
use spelter_bytecode::code::{WORD, bytes_of_words};
use spelter_bytecode::obj::{CompilationUnit, Constant, Reloc};

pub(crate) const PROGRAM: &[u8] = include_bytes!("fixtures/program.byte");
pub(crate) const PLUGIN: &[u8] = include_bytes!("fixtures/plugin.cmo");
pub(crate) const UNIT: &[u8] = include_bytes!("fixtures/unit.cmo");

/// A machine with the program; its functions are registered.
pub(crate) fn machine(strategy: Strategy) -> Vm {
    let builder = Vm::builder()
        .strategy(strategy)
        .primitive("bench_add", |a: i64, b: i64| a + b)
        .primitive_in_context("bench_apply", 2, |cx, args| cx.call(args[0], &[args[1]]));
    // SAFETY: `ocamlc` compiled everything that the benches run, and they call it with values of its types.
    let mut vm = unsafe { builder.trusted() }.build();
    vm.run_bytes("program.byte", PROGRAM).expect("the program runs");
    vm
}

/// A machine whose functions are those of the plug-in: loaded code.
pub(crate) fn machine_with_plugin(strategy: Strategy) -> Vm {
    let mut vm = machine(strategy);
    vm.load_bytes("plugin.cmo", PLUGIN).expect("the plug-in loads");
    vm
}

pub(crate) fn call(vm: &mut Vm, name: &str, n: i64) -> i64 {
    vm.call(name, (black_box(n),)).expect("the function returns")
}

/// The unit that `ocamlc` compiles from this many lines `let fI x = x + I`, and a last one that registers `f0` as
/// "large".
pub(crate) fn large_unit(functions: usize) -> Vec<u8> {
    let count = i32::try_from(functions).expect("a number that fits the stack");
    let mut unit = CompilationUnit::read(UNIT).expect("the fixture is a unit");
    unit.relocs.retain(|(reloc, _)| matches!(reloc, Reloc::SetGlobal(_)));
    let (module, _) = unit.relocs.pop().expect("the fixture defines its module");

    // The functions' bodies take five words each.
    let mut words = vec![Opcode::BRANCH.word(), 5 * count + 1];
    for i in 0..count {
        words.extend([Opcode::ACC0.word(), Opcode::OFFSETINT.word(), i, Opcode::RETURN.word(), 1]);
    }
    // Trusted code must request the room for such a large frame.
    words.extend([Opcode::CONSTINT.word(), 2 * count, Opcode::C_CALL1.word(), 0]);
    let room = Reloc::Primitive("caml_ensure_stack_capacity".to_owned());
    unit.relocs.push((room, WORD * (words.len() - 1)));
    for i in 0..count {
        let operand = words.len() as i32 + 2;
        words.extend([Opcode::CLOSURE.word(), 0, 2 + 5 * i - operand, Opcode::PUSH.word()]);
    }
    words.extend([Opcode::ACC.word(), count - 1, Opcode::PUSHGETGLOBAL.word(), 0]);
    let literal = words.len() - 1;
    words.extend([Opcode::C_CALL2.word(), 0]);
    let id = unit.literals.add(Constant::String(b"large".to_vec()));
    unit.relocs.push((Reloc::Literal(id), WORD * literal));
    let register = Reloc::Primitive("caml_register_named_value".to_owned());
    unit.relocs.push((register, WORD * (words.len() - 1)));
    // The module's first field is the primitive's result.
    words.extend([Opcode::MAKEBLOCK.word(), count + 1, 0, Opcode::SETGLOBAL.word(), 0]);
    unit.relocs.push((module, WORD * (words.len() - 1)));
    unit.code = bytes_of_words(&words);
    unit.write()
}
