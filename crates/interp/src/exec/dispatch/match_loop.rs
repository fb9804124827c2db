//! The portable backend: a loop around a match. A cell holds the instruction's number.

use std::ops::ControlFlow;

use spelter_bytecode::Opcode;

use super::own::counted;
use crate::Machine;
use crate::exec::exit::Exit;
use crate::exec::fault::Fault;
use crate::exec::handlers;
use crate::exec::regs::{Regs, Trust};

pub(super) fn cell<T: Trust>(op: Opcode) -> u64 {
    op.word() as u64
}

macro_rules! table {
    ($($number:literal $name:ident ($($operand:ident: $kind:ident),*) $facts:tt $doc:literal;)*) => {
        pub(super) fn run<T: Trust, const COUNTS: bool>(m: &mut Machine, mut r: Regs) -> Exit {
            let mut op = r.operand();
            loop {
                if COUNTS {
                    let code;
                    (op, code) = counted(op);
                    m.profile.count(op as usize, code, r.pc);
                }
                let flow = match op {
                    $($number => handlers::$name::<T>(&mut r, m),)*
                    _ => m.fault(r.pc, Fault::Instruction),
                };
                op = match flow {
                    ControlFlow::Continue(()) => r.operand(),
                    ControlFlow::Break(done) => match done.exit() {
                        Exit::Covered => m.covered_cell() as i64,
                        exit => return exit,
                    },
                };
            }
        }
    };
}
spelter_bytecode::for_each_op!(table);
