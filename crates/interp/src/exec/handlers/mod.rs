//! The effect of each instruction: one function for each row of the instruction table, with the row's name, grouped as
//! in OCaml's manual. `dispatch` determines how the next handler is reached.
//!
//! On entry `pc` points to the first operand; a handler leaves it at the next instruction. Handlers are inlined into
//! their dispatch function, which must end in a sibling call. So no function that is not inlined may borrow the
//! registers; slow paths go through [`Machine::save`] and [`Machine::reload`].
//!
//! Without optimisation there is only the loop, and handlers are separate functions, because the loop's frame would be
//! huge.
//!
//! Tail dispatch has each handler twice: the quick form ([`Quick`](crate::exec::regs::Quick)), which calls nothing, and
//! the full form, which starts over where the quick one gives up. So a handler must do all its tests before it writes
//! anything.
#![allow(non_snake_case, reason = "handlers are named as their instructions")]

pub(crate) mod arith;
pub(crate) mod block;
pub(crate) mod branch;
pub(crate) mod call;
pub(crate) mod closure;
pub(crate) mod dynlinked;
pub(crate) mod effects;
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
pub(crate) use effects::*;
pub(crate) use elements::*;
pub(crate) use exn::*;
pub(crate) use global::*;
pub(crate) use inline::*;
pub(crate) use method::*;
pub(crate) use stack::*;

/// The value of an access, or a stop with the fault for which it was refused.
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

/// A new block, whose fields must still be written. Collects when there is no room, and raises Out_of_memory if that
/// fails.
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

/// Expands the expression for a small number that is known only at run time, once for each number from 1 to a few. A
/// loop would take more registers than the quick form has. Larger numbers are left to the full form.
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

/// Field `i` of a block, if it may be written ← a value.
macro_rules! modify {
    ($r:ident, $m:ident, $block:expr, $i:expr, $to:expr) => {
        let (block, to) = ($block, $to);
        if !$crate::exec::regs::modify::<T>(&mut $m.heap, block, $i, to) {
            return $crate::exec::exit::SLOW;
        }
    };
}
pub(crate) use modify;

/// Defines handlers: `NAME(r, m) { … }`, where `r` are the registers, `m` is the machine and `T` the grade of trust. A
/// handler that reaches its end continues with the next instruction.
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
