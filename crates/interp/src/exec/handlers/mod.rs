//! What each instruction does: one function per row of the table, of the row's name, grouped as OCaml's
//! manual groups them. How the next handler is reached is `dispatch`'s business.
//!
//! On entry `pc` stands at the first operand; a handler leaves it at the next instruction. Handlers are
//! inlined into their dispatch function, which must end in a sibling call: so nothing that is not inlined
//! may borrow the registers; slow paths go through [`Machine::save`] and [`Machine::reload`].
//!
//! Without optimisation there is the loop only, and handlers are functions of their own, as its frame would be huge.
//!
//! Tail dispatch has each handler twice: the quick form ([`Quick`](crate::exec::regs::Quick)), which calls nothing, and the
//! full one, which starts over where the quick one gives up. So a handler tests first and writes then.
#![allow(non_snake_case, reason = "handlers are named as their instructions")]

pub(crate) mod arith;
pub(crate) mod block;
pub(crate) mod branch;
pub(crate) mod call;
pub(crate) mod closure;
pub(crate) mod dynlinked;
pub(crate) mod elements;
pub(crate) mod exn;
pub(crate) mod global;
pub(crate) mod inline;
pub(crate) mod method;
pub(crate) mod stack;

pub(crate) use arith::*;
pub(crate) use block::*;
pub(crate) use branch::*;
pub(crate) use call::*;
pub(crate) use closure::*;
pub(crate) use dynlinked::*;
pub(crate) use elements::*;
pub(crate) use exn::*;
pub(crate) use global::*;
pub(crate) use inline::*;
pub(crate) use method::*;
pub(crate) use stack::*;

use crate::Machine;
use crate::exec::exit::{Flow, SLOW};
use crate::exec::regs::{Regs, Trust};

/// The value of an access, or the fault that it is refused with.
macro_rules! access {
    ($r:ident, $m:ident, $e:expr) => {
        match $e {
            Ok(v) => v,
            Err(_) if T::QUICK => return $crate::exec::exit::SLOW,
            Err(fault) => return $m.fault($r.pc, fault),
        }
    };
}
pub(crate) use access;

/// A fresh block, its fields still to be written; collects when there is no room, or raises Out_of_memory.
macro_rules! alloc {
    ($r:ident, $m:ident, $wosize:expr, $tag:expr) => {{
        let (wosize, tag) = ($wosize, $tag);
        match $m.alloc_young(wosize, tag) {
            Some(b) => b,
            None if T::QUICK => return $crate::exec::exit::SLOW,
            None => {
                $m.save($r);
                let b = $m.alloc_slow(wosize, tag);
                $m.reload($r);
                match b {
                    Some(b) => b,
                    None => return $crate::exec::handlers::exn::raise_left($r, $m),
                }
            }
        }
    }};
}
pub(crate) use alloc;

/// The expression for a small number that is known at run time only, once for each number from 1 to a few: without a
/// loop, which would take more registers than the quick form has. That leaves larger numbers to the full one.
macro_rules! for_small {
    ($n:ident, $e:expr) => {
        match $n {
            1 => {
                let $n = 1;
                $e
            }
            2 => {
                let $n = 2;
                $e
            }
            3 => {
                let $n = 3;
                $e
            }
            4 => {
                let $n = 4;
                $e
            }
            5 => {
                let $n = 5;
                $e
            }
            _ if T::QUICK => return $crate::exec::exit::SLOW,
            _ => $e,
        }
    };
}
pub(crate) use for_small;

/// Field `i` of a block that may be written ← a value.
macro_rules! modify {
    ($r:ident, $m:ident, $block:expr, $i:expr, $to:expr) => {
        let (block, to) = ($block, $to);
        if !$crate::exec::regs::modify::<T>(&mut $m.heap, block, $i, to) {
            return $crate::exec::exit::SLOW;
        }
    };
}
pub(crate) use modify;

/// Defines handlers: `NAME(r, m) { … }` where `r` are the registers, `m` is the machine and `T` the grade of trust;
/// falling off the end goes on with the next instruction.
macro_rules! handlers {
    ($($(#[$doc:meta])* $name:ident ($r:ident, $m:ident) $body:block)*) => { $(
        $(#[$doc])*
        #[cfg_attr(not(unoptimised), inline(always))]
        pub(crate) fn $name<T: $crate::exec::regs::Trust>(
            $r: &mut $crate::exec::regs::Regs,
            $m: &mut $crate::Machine,
        ) -> $crate::exec::exit::Flow {
            let _ = &$m;
            $body
            #[allow(unreachable_code, reason = "handlers that always return")]
            $crate::exec::exit::NEXT
        }
    )* };
}
pub(crate) use handlers;

/// An instruction of another OCaml version: the loader refuses it, so this is never reached.
#[inline(always)]
pub(crate) fn foreign<T: Trust>(r: &mut Regs, m: &mut Machine) -> Flow {
    if T::QUICK {
        return SLOW;
    }
    m.fault(r.pc, crate::exec::fault::Fault::Instruction)
}
