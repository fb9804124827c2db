//! A program that reads and writes its input.

use spelter_bytecode::Opcode::*;

use super::{Body, Form, Tables, Written, write_with};
use crate::generate::asm::{Asm, Label, Ref};
use crate::generate::constants::Const;
use crate::source::Source;

/// A program that only registers, as `round`, a function that reads a value from bytes, writes it, and reads and
/// writes the result again; after the first write it sends 1 to its host. Its other code never runs, but closures of
/// it can be read.
pub(crate) fn write_reader(source: &mut Source<'_>, tables: &mut Tables, size: usize) -> Written {
    let [register, read, write] =
        ["caml_register_named_value", "caml_input_value_from_bytes", "caml_output_value_to_bytes"]
            .map(|name| Ref::Prim(tables.prim(name)));
    let note = Ref::Prim(tables.prim("fuzz_note"));
    tables.consts.push(Const::Str(b"round".to_vec()));
    // Marshal.Closures
    tables.consts.push(Const::Block(0, vec![Const::Int(1), Const::Int(0)]));
    let prelude = Prelude { register, read, write, note, name: Ref::Const(0), flags: Ref::Const(1) };
    write_with(source, tables, Form::Program, size, 0, Some(prelude))
}

/// The body of such a program.
#[derive(Clone, Copy)]
pub(super) struct Prelude {
    register: Ref,
    read: Ref,
    write: Ref,
    note: Ref,
    name: Ref,
    flags: Ref,
}

impl Prelude {
    pub(super) fn main(&self, asm: &mut Asm, round: Label) {
        asm.jump(CLOSURE, &[0], round);
        asm.op(PUSHGETGLOBAL, &[]);
        asm.reference(self.name);
        asm.op(C_CALL2, &[]);
        asm.reference(self.register);
        asm.op(STOP, &[]);
    }

    pub(super) fn round(&self, asm: &mut Asm) {
        for i in 0..2 {
            asm.op(CONST0, &[]);
            asm.op(PUSHACC1, &[]);
            asm.op(C_CALL2, &[]);
            asm.reference(self.read);
            asm.op(PUSHGETGLOBAL, &[]);
            asm.reference(self.flags);
            asm.op(PUSHACC1, &[]);
            asm.op(C_CALL2, &[]);
            asm.reference(self.write);
            asm.op(PUSH, &[]);
            if i == 0 {
                asm.op(CONST1, &[]);
                asm.op(C_CALL1, &[]);
                asm.reference(self.note);
            }
        }
        asm.op(CONST0, &[]);
        asm.op(RETURN, &[5]);
    }
}

impl Body<'_, '_> {
    /// Closures that are never created, because this code is unreachable.
    pub(super) fn source_of_functions(&mut self) {
        for _ in 0..1 + self.source.below(5) {
            match self.source.one_in(2) {
                true => self.closures(),
                false => self.closure(),
            }
        }
        self.stack.clear();
    }
}
