//! Hand-written programs, with instructions that no compiler produces.

use std::collections::HashMap;

use spelter::{Dispatch, Error, Outcome, Strategy, Vm, World};
use spelter_bytecode::code::bytes_of_words;
use spelter_bytecode::marshal::{BlockColour, CodePointer, Encoder};
use spelter_bytecode::opcode::OperandKind;
use spelter_bytecode::{Executable, Opcode, Opcode::*};
use spelter_interp::code::md5;

/// The number of the first string among the globals: the last global that the symbol table names.
pub(crate) const STRINGS: usize = 49;

/// Code under construction, with labels.
#[derive(Default)]
pub(crate) struct Code {
    words: Vec<i32>,
    places: HashMap<&'static str, usize>,
    /// Operands that refer to labels, and the positions from which they count.
    targets: Vec<(usize, usize, &'static str)>,
    prims: Vec<&'static str>,
}

impl Code {
    pub(crate) fn op(mut self, op: Opcode, operands: &[i32]) -> Self {
        self.words.push(op.word());
        self.words.extend_from_slice(operands);
        self
    }

    pub(crate) fn ops(self, ops: &[Opcode]) -> Self {
        ops.iter().fold(self, |code, op| code.op(*op, &[]))
    }

    /// An instruction whose last operands refer to labels.
    pub(crate) fn to(mut self, op: Opcode, operands: &[i32], places: &[&'static str]) -> Self {
        self = self.op(op, operands);
        let table = op.operands().last().is_some_and(|operand| operand.kind == OperandKind::Offsets);
        let start = self.words.len();
        for (i, place) in places.iter().enumerate() {
            self.targets.push((start + i, if table { start } else { start + i }, *place));
            self.words.push(0);
        }
        self
    }

    pub(crate) fn at(mut self, place: &'static str) -> Self {
        self.places.insert(place, self.words.len());
        self
    }

    pub(crate) fn int(self, n: i32) -> Self {
        self.op(CONSTINT, &[n])
    }

    pub(crate) fn push_int(self, n: i32) -> Self {
        self.int(n).op(PUSH, &[])
    }

    /// Calls a primitive of one to five arguments, of which the first is in accu.
    pub(crate) fn call(self, arguments: usize, name: &'static str) -> Self {
        let (code, number) = self.number(name);
        code.op([C_CALL1, C_CALL2, C_CALL3, C_CALL4, C_CALL5][arguments - 1], &[number])
    }

    /// The same with the instruction that states their number.
    pub(crate) fn call_n(self, arguments: usize, name: &'static str) -> Self {
        let (code, number) = self.number(name);
        code.op(C_CALLN, &[arguments as i32, number])
    }

    pub(crate) fn number(mut self, name: &'static str) -> (Self, i32) {
        let number = self.prims.iter().position(|prim| *prim == name).unwrap_or(self.prims.len());
        if number == self.prims.len() {
            self.prims.push(name);
        }
        (self, number as i32)
    }

    /// The code with its targets filled in.
    pub(crate) fn done(mut self) -> Program {
        for (at, from, place) in std::mem::take(&mut self.targets) {
            self.words[at] = self.places[place] as i32 - from as i32;
        }
        Program {
            words: self.words,
            places: self.places,
            prims: self.prims,
            strings: Vec::new(),
            base: OF_4_13,
        }
    }

    pub(crate) fn run(self) -> Result<Outcome, Error> {
        self.done().run()
    }
}

pub(crate) struct Program {
    pub(crate) words: Vec<i32>,
    pub(crate) places: HashMap<&'static str, usize>,
    pub(crate) prims: Vec<&'static str>,
    pub(crate) strings: Vec<Vec<u8>>,
    /// An executable of the version that the program is for.
    pub(crate) base: &'static [u8],
}

/// Executables of two versions.
pub(crate) const OF_4_13: &[u8] = include_bytes!("../../../../xtask/fixtures/closures/tail_calls.byte");
pub(crate) const OF_5_4: &[u8] = include_bytes!("../fixtures/dynlink_5_4/host.byte");

impl Program {
    /// The marshalled code pointer to a label in this code.
    pub(crate) fn pointer(&self, place: &str) -> CodePointer {
        CodePointer { offset: 4 * self.places[place] as u32, digest: md5(&bytes_of_words(&self.words)) }
    }

    /// A string among the globals, computed from this code.
    pub(crate) fn with_string(mut self, make: impl FnOnce(&Program) -> Vec<u8>) -> Self {
        self.strings.push(make(&self));
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let exe = Executable::read(self.base).expect("a fixture");
        let named = exe.symbols().expect("symbols").map_or(0, |symbols| symbols.count);
        let last = STRINGS + self.strings.len();
        let mut data = Encoder::new(BlockColour::White);
        data.block(0, named.max(last + 1));
        let predefined = exe.dialect().predefined;
        for (i, (exception, _)) in predefined.iter().enumerate() {
            data.block(248, 2);
            data.string(exception.name().as_bytes());
            data.int(-1 - i as i64);
        }
        (predefined.len()..STRINGS).for_each(|_| data.int(0));
        self.strings.iter().for_each(|string| _ = data.string(string));
        (last..named.max(last + 1)).for_each(|_| data.int(0));
        let data = data.finish();
        let mut sections = exe.sections().to_vec();
        for section in &mut sections {
            match &section.name {
                b"CODE" => section.data = bytes_of_words(&self.words),
                b"PRIM" => section.data = self.prims.iter().flat_map(|p| p.bytes().chain([0])).collect(),
                b"DATA" => section.data = data.clone(),
                _ => {}
            }
        }
        Executable::from_parts(exe.dialect(), Vec::new(), sections).expect("the same sections").write()
    }

    /// Runs the program under both kinds of dispatch, which must agree.
    pub(crate) fn run(&self) -> Result<Outcome, Error> {
        let bytes = self.bytes();
        let [one, other] = [Dispatch::Loop, Dispatch::Tail].map(|dispatch| {
            let builder = Vm::builder().strategy(Strategy::Carry).dispatch(dispatch);
            // All built-in primitives themselves, not what a guest gets instead.
            builder.stack_limit_words(1 << 15).world(World::process()).build().run_bytes("program", &bytes)
        });
        assert_eq!(format!("{one:?}"), format!("{other:?}"));
        one
    }
}
