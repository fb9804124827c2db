//! Closures of loaded code, which lead to their code object, so that the collector keeps a unit's code alive
//! exactly as long as something can run it.
//!
//! *Carry* (Nuutti Kotivuori, caml-list, December 2003): a closure has one more slot, its last, which holds
//! the code object; it is copied from the running closure. Calls are as fast as static ones.
//!
//! *Stub* (Alain Frisch, caml-list, 12 December 2003): a closure's code is the one stub `CALL_DYN`; behind its
//! variables stand, for each function from the last to the first, the offset of its code, and then the code
//! object. The stub computes the destination from these.

use spelter_heap::raw::{Value, tag};

use super::closure::{fill_entries, fill_variables, restart, return_partial};
use super::exn::raise_left;
use super::{access, alloc, handlers};
use crate::exec::exit::SLOW;
use crate::exec::fault::Fault;
use crate::exec::regs::{
    Regs, Trust, called_code, closure_word, enclosing, header, init_field, last_field, object_field, variable,
};
use crate::layout::{OBJECT_CODE, PARTIAL_FUNCTION, PARTIAL_PREFIX, SIBLING_WORDS, closinfo};

/// Where the code starts of the unit that a closure belongs to.
#[inline(always)]
fn code_base(closure: Value) -> *const u64 {
    Regs::code_address(object_field(closure, OBJECT_CODE))
}

/// Where a closure that begins with the stub leads.
#[inline(always)]
pub(crate) fn destination<T: Trust>(closure: Value) -> Result<*const u64, Fault> {
    let (block, offset) = enclosing(closure);
    let last = header::<T>(block)?.wosize() - 1;
    let target = closure_word(block, last - 1 - offset / SIBLING_WORDS);
    Ok(code_base(closure).wrapping_offset(target.as_int() as isize))
}

/// The offset, in cells, of a code address in the running unit.
#[inline(always)]
fn offset_value(base: *const u64, target: *const u64) -> Value {
    Value::int((target as i64 - base as i64) / 8)
}

handlers! {
    CLOSURE_CARRY(r, m) {
        let variables = r.operand_usize();
        let code = Regs::code_value(r.target(r.operand_at(0)));
        r.operand();
        if variables > 0 {
            r.push(r.accu);
        }
        let wosize = 2 + variables + 1;
        let b = alloc!(r, m, wosize, tag::CLOSURE);
        init_field(&mut m.heap, b, wosize, 0, code);
        init_field(&mut m.heap, b, wosize, 1, closinfo(2));
        fill_variables(r, m, b, wosize, 2, variables);
        init_field(&mut m.heap, b, wosize, wosize - 1, last_field(r.env));
        r.accu = b;
    }
    CLOSUREREC_CARRY(r, m) {
        let functions = r.operand_usize();
        let variables = r.operand_usize();
        if variables > 0 {
            r.push(r.accu);
        }
        let at = functions * SIBLING_WORDS - 1;
        let wosize = at + variables + 1;
        let b = alloc!(r, m, wosize, tag::CLOSURE);
        fill_variables(r, m, b, wosize, at, variables);
        init_field(&mut m.heap, b, wosize, wosize - 1, last_field(r.env));
        let offsets = *r;
        fill_entries(r, m, b, wosize, functions, |i| {
            Regs::code_value(offsets.target(offsets.operand_at(i)))
        });
        r.pc = r.target(functions as i64);
    }

    CALL_DYN(r, m) {
        r.pc = access!(r, m, destination::<T>(r.env));
        #[cfg(debug_assertions)]
        m.assert_frame_invariant(r.pc, r.env);
    }
    CLOSURE_DYN(r, m) {
        let variables = r.operand_usize();
        let target = r.target(r.operand_at(0));
        r.operand();
        if variables > 0 {
            r.push(r.accu);
        }
        let wosize = 2 + variables + 2;
        let base = code_base(r.env);
        let b = alloc!(r, m, wosize, tag::CLOSURE);
        let stub = m.stub_code();
        init_field(&mut m.heap, b, wosize, 0, stub);
        init_field(&mut m.heap, b, wosize, 1, closinfo(2));
        fill_variables(r, m, b, wosize, 2, variables);
        init_field(&mut m.heap, b, wosize, wosize - 2, offset_value(base, target));
        init_field(&mut m.heap, b, wosize, wosize - 1, last_field(r.env));
        r.accu = b;
    }
    CLOSUREREC_DYN(r, m) {
        let functions = r.operand_usize();
        let variables = r.operand_usize();
        if variables > 0 {
            r.push(r.accu);
        }
        let at = functions * SIBLING_WORDS - 1;
        let wosize = at + variables + functions + 1;
        let base = code_base(r.env);
        let b = alloc!(r, m, wosize, tag::CLOSURE);
        fill_variables(r, m, b, wosize, at, variables);
        for i in 0..functions {
            let offset = offset_value(base, r.target(r.operand_at(i)));
            init_field(&mut m.heap, b, wosize, wosize - 2 - i, offset);
        }
        init_field(&mut m.heap, b, wosize, wosize - 1, last_field(r.env));
        let stub = m.stub_code();
        fill_entries(r, m, b, wosize, functions, |_| stub);
        r.pc = r.target(functions as i64);
    }
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
    GRAB_DYN(r, m) {
        let required = r.operand_usize();
        if r.extra >= required {
            r.extra -= required;
        } else {
            let arguments = 1 + r.extra;
            let wosize = PARTIAL_PREFIX + arguments + 2;
            let base = code_base(r.env);
            let b = alloc!(r, m, wosize, tag::CLOSURE);
            let stub = m.stub_code();
            init_field(&mut m.heap, b, wosize, 0, stub);
            init_field(&mut m.heap, b, wosize, 1, closinfo(2));
            init_field(&mut m.heap, b, wosize, PARTIAL_FUNCTION, r.env);
            for i in 0..arguments {
                init_field(&mut m.heap, b, wosize, PARTIAL_PREFIX + i, r.peek_alone(i));
            }
            init_field(&mut m.heap, b, wosize, wosize - 2, offset_value(base, r.target(-3)));
            init_field(&mut m.heap, b, wosize, wosize - 1, last_field(r.env));
            return_partial(r, arguments, b);
        }
    }

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
