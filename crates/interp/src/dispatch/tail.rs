//! Direct threading: a cell holds the address of the instruction's function, and each function ends by
//! jumping to the next one's, with the machine's registers in the processor's.
//!
//! Rust does not promise that a call in tail position becomes a jump, but LLVM makes it one in optimised
//! builds when caller and callee agree in their signature and nothing in the caller's frame is borrowed.
//! `build.rs` sets `tail_dispatch` only there, and a test runs each handler a million times on a small native
//! stack, so that a lost jump fails loudly.

use std::mem::transmute;
use std::ops::ControlFlow;

use spelter_bytecode::Opcode;
use spelter_heap::raw::Value;

use crate::Machine;
use crate::exit::Exit;
use crate::handlers;
use crate::regs::{Regs, Trust};

type Handler = unsafe extern "C" fn(*const u64, *mut Value, u64, u64, usize, *mut Machine) -> Exit;

/// Jumps to the handler of the instruction at `pc`.
///
/// # Safety
/// `pc` points into translated code of this backend, and the rest is what the code there expects.
#[inline(always)]
unsafe fn next(r: Regs, m: *mut Machine) -> Exit {
    // SAFETY: translation put a handler's address into each instruction's cell.
    unsafe {
        let handler = transmute::<u64, Handler>(*r.pc);
        handler(r.pc.add(1), r.sp, r.accu.bits(), r.env.bits(), r.extra, m)
    }
}

macro_rules! table {
    ($($number:literal $name:ident ($($operand:ident: $kind:ident),*) $facts:tt $doc:literal;)*) => {
        #[allow(non_snake_case, reason = "named as their instructions")]
        mod thunks {
            use super::*;
            $(
                /// # Safety
                /// Called by [`next`] only.
                pub(super) unsafe extern "C" fn $name<T: Trust>(
                    pc: *const u64,
                    sp: *mut Value,
                    accu: u64,
                    env: u64,
                    extra: usize,
                    m: *mut Machine,
                ) -> Exit {
                    // SAFETY: the registers are those with which the previous handler jumped here, and the
                    // machine is borrowed by `run` for as long as handlers run.
                    unsafe {
                        let mut r =
                            Regs::enter(pc, sp, Value::from_bits(accu), Value::from_bits(env), extra);
                        match handlers::$name::<T>(&mut r, &mut *m) {
                            ControlFlow::Continue(()) => next(r, m),
                            ControlFlow::Break(done) => done.exit(),
                        }
                    }
                }
            )*
        }

        pub(super) fn cell<T: Trust>(op: Opcode) -> u64 {
            let handler: Handler = match op {
                $(Opcode::$name => thunks::$name::<T>,)*
            };
            handler as usize as u64
        }
    };
}
spelter_bytecode::for_each_op!(table);

pub(super) fn run<T: Trust>(m: &mut Machine, regs: Regs) -> Exit {
    // SAFETY: all code of this machine was translated for this backend and grade, and `Regs` vouches for the rest.
    unsafe { next(regs, m) }
}
