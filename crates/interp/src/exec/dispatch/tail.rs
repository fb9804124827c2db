//! Direct threading: a cell holds the address of the instruction's function, and each function ends by jumping to the
//! next one, with the machine's registers in the processor's registers.
//!
//! Rust does not guarantee that a call in tail position becomes a jump, but LLVM makes it one in optimised builds when
//! caller and callee have the same signature and nothing in the caller's frame is borrowed. `build.rs` sets
//! `tail_dispatch` only for such builds, and a test runs each handler a million times on a small native stack, so that
//! a lost jump fails loudly. The functions are `C-unwind`, so that a panic in a callee unwinds through them to
//! `Machine::run`; they have nothing to drop.

use std::mem::transmute;
use std::ops::ControlFlow;

use spelter_bytecode::Opcode;
use spelter_heap::raw::Value;

use super::chains::for_each_chain;
use super::own::{Cells, for_each_inline};
use crate::Machine;
use crate::exec::exit::Exit;
use crate::exec::handlers;
use crate::exec::regs::{Quick, Regs, Trust};

type Handler = unsafe extern "C-unwind" fn(*const u64, *mut Value, u64, u64, usize, *mut Machine) -> Exit;

/// Jumps to the handler of the instruction at `pc`.
///
/// # Safety
/// `pc` points into translated code of this backend, and the other registers are as the code there expects.
#[inline(always)]
unsafe fn next(r: Regs, m: *mut Machine) -> Exit {
    // SAFETY: translation stored a handler's address in each instruction's cell.
    unsafe {
        let handler = transmute::<u64, Handler>(*r.pc);
        handler(r.pc.add(1), r.sp, r.accu.bits(), r.env.bits(), r.extra, m)
    }
}

/// Jumps to the handler of the instruction that a debugger has covered.
///
/// # Safety
/// The conditions of [`next`], but `pc` points to the cell after the instruction's.
#[inline(always)]
unsafe fn uncovered(r: Regs, m: *mut Machine) -> Exit {
    // SAFETY: a debugger covers only cells of instructions, which hold a handler's address.
    unsafe {
        let handler = transmute::<u64, Handler>((*m).covered_cell());
        handler(r.pc, r.sp, r.accu.bits(), r.env.bits(), r.extra, m)
    }
}

/// A handler as a function: of any grade `T`, with the signature of [`Handler`].
macro_rules! handler {
    (
        $(#[$attribute:meta])*
        $vis:vis unsafe fn $name:ident($pc:ident, $sp:ident, $accu:ident, $env:ident, $extra:ident, $m:ident) $body:block
    ) => {
        $(#[$attribute])*
        $vis unsafe extern "C-unwind" fn $name<T: Trust>(
            $pc: *const u64,
            $sp: *mut Value,
            $accu: u64,
            $env: u64,
            $extra: usize,
            $m: *mut Machine,
        ) -> Exit $body
    };
}

/// Defines the functions of instructions, in one module for the quick form and one for the full form.
macro_rules! thunks {
    ($quick:ident, $full:ident, $($name:ident)*) => {
        #[allow(non_snake_case, reason = "named as their instructions")]
        mod $quick {
            use super::*;
            $(
                handler! {
                    /// # Safety
                    /// Called by [`next`] only.
                    pub(super) unsafe fn $name(pc, sp, accu, env, extra, m) {
                        // SAFETY: the registers are those with which the previous handler jumped here, and the
                        // machine is borrowed by `run` for as long as handlers run.
                        unsafe {
                            let mut r =
                                Regs::enter(pc, sp, Value::from_bits(accu), Value::from_bits(env), extra);
                            match handlers::$name::<Quick<T>>(&mut r, &mut *m) {
                                ControlFlow::Continue(()) => next(r, m),
                                ControlFlow::Break(done) => match done.exit() {
                                    Exit::Slow => $full::$name::<T>(pc, sp, accu, env, extra, m),
                                    exit => exit,
                                },
                            }
                        }
                    }
                }
            )*
        }

        #[allow(non_snake_case, reason = "named as their instructions")]
        mod $full {
            use super::*;
            $(
                handler! {
                    /// # Safety
                    /// Called where the quick form gave up.
                    #[cold]
                    #[inline(never)]
                    pub(super) unsafe fn $name(pc, sp, accu, env, extra, m) {
                        // SAFETY: the registers are those with which the quick form was entered.
                        unsafe {
                            let mut r =
                                Regs::enter(pc, sp, Value::from_bits(accu), Value::from_bits(env), extra);
                            match handlers::$name::<T>(&mut r, &mut *m) {
                                ControlFlow::Continue(()) => next(r, m),
                                ControlFlow::Break(done) => match done.exit() {
                                    Exit::Covered => uncovered(r, m),
                                    exit => exit,
                                },
                            }
                        }
                    }
                }
            )*
        }
    };
}

macro_rules! table {
    ($($number:literal $name:ident ($($operand:ident: $kind:ident),*) $facts:tt $doc:literal;)*) => {
        thunks!(quick, full, $($name)*);

        pub(super) fn cell<T: Trust>(op: Opcode) -> u64 {
            let handler: Handler = match op {
                $(Opcode::$name => quick::$name::<T>,)*
            };
            handler as usize as u64
        }
    };
}
spelter_bytecode::for_each_op!(table);

macro_rules! inline_table {
    ($($number:literal $call:ident $name:ident $($primitive:literal)+;)*) => {
        thunks!(quick_inline, full_inline, $($name)*);

        /// The functions of the instructions that replace primitives, by their numbers.
        fn inline_functions<T: Trust>() -> &'static [*const ()] {
            const { &[$(quick_inline::$name::<T> as *const ()),*] }
        }
    };
}
for_each_inline!(inline_table);

/// The full forms of all instructions.
mod full_forms {
    pub(super) use super::full::*;
    pub(super) use super::full_inline::*;
}

macro_rules! chain_table {
    ($([$($name:ident)+])*) => {
        /// The functions of chains, in the order of their table.
        fn chain_functions<T: Trust>() -> &'static [*const ()] {
            const { &[$({
                handler! {
                    /// # Safety
                    /// Called by [`next`] only.
                    unsafe fn chain(pc, sp, accu, env, extra, m) {
                        // SAFETY: the same as for single instructions: each finds the registers as the one before it left
                        // them, and its full form is entered with these where the quick one gives up.
                        unsafe {
                            // `next` has advanced past the first cell.
                            let mut r = Regs::enter(
                                pc.sub(1), sp, Value::from_bits(accu), Value::from_bits(env), extra,
                            );
                            $(
                                r.operand();
                                let before = r;
                                if let ControlFlow::Break(done) = handlers::$name::<Quick<T>>(&mut r, &mut *m) {
                                    return match done.exit() {
                                        Exit::Slow => full_forms::$name::<T>(
                                            before.pc,
                                            before.sp,
                                            before.accu.bits(),
                                            before.env.bits(),
                                            before.extra,
                                            m,
                                        ),
                                        exit => exit,
                                    };
                                }
                            )+
                            next(r, m)
                        }
                    }
                }
                chain::<T> as *const ()
            }),*] }
        }
    };
}
for_each_chain!(chain_table);

/// The cells of the machine's own instructions.
pub(super) fn own_cells<T: Trust>() -> Cells {
    Cells { inline: inline_functions::<T>(), chains: chain_functions::<T>(), lazy: true, counts: false }
}

pub(super) fn run<T: Trust>(m: &mut Machine, regs: Regs) -> Exit {
    // SAFETY: all code of this machine was translated for this backend and grade, and `Regs` guarantees the rest.
    unsafe { next(regs, m) }
}
