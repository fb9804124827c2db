//! Closures of loaded code. They refer to their code object, so that the collector keeps a unit's code alive exactly as
//! long as something can run it.
//!
//! *Carry* (Nuutti Kotivuori, caml-list, December 2003): a closure has an additional last slot with the code object,
//! copied from the running closure. Calls are as fast as static ones.
//!
//! *Stub* (Alain Frisch, caml-list, 12 December 2003): the code word of every closure refers to the single stub
//! `CALL_DYN`. After the variables come the offsets of the functions' code, from the last function to the first, and
//! then the code object. The stub computes the destination from these.

use spelter_heap::raw::Value;

use super::closure::{Ending, closure, closure_rec, grab, restart};
use super::exn::raise_left;
use super::{access, handlers};
use crate::Machine;
use crate::exec::exit::SLOW;
use crate::exec::fault::Fault;
use crate::exec::regs::{
    Regs, Trust, called_code, closure_word, enclosing, header, init_field, last_field, object_field, variable,
};
use crate::layout::{OBJECT_CODE, PARTIAL_FUNCTION, PARTIAL_PREFIX, SIBLING_WORDS};

/// The start of the code of the unit to which a closure belongs.
#[inline(always)]
fn code_base(closure: Value) -> *const u64 {
    Regs::code_address(object_field(closure, OBJECT_CODE))
}

/// The code address to which a closure refers through the stub.
#[inline(always)]
pub(crate) fn destination<T: Trust>(closure: Value) -> Result<*const u64, Fault> {
    let (block, offset) = enclosing(closure);
    let last = header::<T>(block)?.wosize() - 1;
    let target = closure_word(block, last - 1 - offset / SIBLING_WORDS);
    Ok(code_base(closure).wrapping_offset(target.as_int() as isize))
}

/// The last word: the code object, copied from the running closure.
#[inline(always)]
fn init_object(r: &Regs, m: &mut Machine, b: Value, wosize: usize) {
    init_field(&mut m.heap, b, wosize, wosize - 1, last_field(r.env));
}

/// Closures that carry their code object.
struct Carry;

impl Ending for Carry {
    #[inline(always)]
    fn words(_: usize) -> usize {
        1
    }

    #[inline(always)]
    fn finish(r: &Regs, m: &mut Machine, b: Value, wosize: usize, _: impl Iterator<Item = *const u64>) {
        init_object(r, m, b, wosize);
    }
}

/// Closures that go through the stub.
struct Stub;

impl Ending for Stub {
    #[inline(always)]
    fn words(functions: usize) -> usize {
        functions + 1
    }

    #[inline(always)]
    fn code(m: &Machine, _: *const u64) -> Value {
        m.stub_code()
    }

    #[inline(always)]
    fn finish(r: &Regs, m: &mut Machine, b: Value, wosize: usize, targets: impl Iterator<Item = *const u64>) {
        let base = code_base(r.env);
        for (i, target) in targets.enumerate() {
            let offset = Value::int((target as i64 - base as i64) / 8);
            init_field(&mut m.heap, b, wosize, wosize - 2 - i, offset);
        }
        init_object(r, m, b, wosize);
    }
}

handlers! {
    CLOSURE_CARRY(r, m) {
        let variables = r.operand_usize();
        let target = r.target(r.operand_at(0));
        r.operand();
        return closure::<T, Carry>(r, m, variables, target);
    }
    CLOSUREREC_CARRY(r, m) { return closure_rec::<T, Carry>(r, m); }

    CALL_DYN(r, m) {
        // What ran at the safe point of the call may have revoked the unit: then the closure belongs to none.
        if variable(r.env, 0) == m.revoked_code() {
            r.pc = Regs::code_address(m.revoked_code());
        } else {
            r.pc = access!(r, m, destination::<T>(r.env));
        }
        #[cfg(debug_assertions)]
        m.assert_frame_invariant(r.pc, r.env);
    }
    CLOSURE_DYN(r, m) {
        let variables = r.operand_usize();
        let target = r.target(r.operand_at(0));
        r.operand();
        return closure::<T, Stub>(r, m, variables, target);
    }
    CLOSUREREC_DYN(r, m) { return closure_rec::<T, Stub>(r, m); }
    RESTART_DYN(r, m) {
        if T::CHECKED {
            let closure = variable(r.env, PARTIAL_FUNCTION);
            let is_stub = access!(r, m, called_code::<T>(closure)) == m.stub_code();
            if !is_stub || access!(r, m, destination::<T>(closure)) != r.pc {
                access!(r, m, Err(Fault::NotAClosure));
            }
        }
        let n = access!(r, m, header::<T>(r.env)).wosize().wrapping_sub(PARTIAL_PREFIX + 2);
        access!(r, m, restart::<T>(r, n));
    }
    GRAB_DYN(r, m) { return grab::<T, Stub>(r, m); }

    REVOKED(r, m) {
        if T::QUICK {
            return SLOW;
        }
        if m.backtrace_active {
            r.push(Regs::code_value(r.pc.wrapping_sub(1)));
        }
        m.save(r);
        m.leave_revoked();
        m.reload(r);
        return raise_left(r, m);
    }
}
