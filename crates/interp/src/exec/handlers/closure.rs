//! Closures of code that is never freed, and their partial applications. Their siblings for loaded code are
//! in `dynlinked`.

use spelter_heap::raw::{Header, Value, tag};

use super::{access, alloc, for_small, handlers};
use crate::Machine;
use crate::exec::exit::{NEXT, SLOW};
use crate::exec::fault::Fault;
use crate::exec::regs::{Regs, Trust, called_code, header, init_field, sibling, variable};
use crate::layout::{PARTIAL_FUNCTION, PARTIAL_PREFIX, RETURN_FRAME, SIBLING_WORDS, closinfo};
use crate::machine::stack::MAX_PARTIAL;

/// Writes the variables of a new closure block, from `at` on: accu has been pushed as the first.
#[inline(always)]
pub(crate) fn fill_variables(r: &mut Regs, m: &mut Machine, b: Value, wosize: usize, at: usize, n: usize) {
    for i in 0..n {
        init_field(&mut m.heap, b, wosize, at + i, r.peek_alone(i));
    }
    r.drop(n);
}

/// Writes the entries of a recursive block, all but their code, and pushes them.
#[inline(always)]
pub(crate) fn fill_entries(
    r: &mut Regs,
    m: &mut Machine,
    b: Value,
    wosize: usize,
    functions: usize,
    code: impl Fn(usize) -> Value,
) {
    let variables = functions * SIBLING_WORDS - 1;
    for i in 0..functions {
        let at = i * SIBLING_WORDS;
        if i > 0 {
            let infix = Header::new(at, tag::INFIX);
            init_field(&mut m.heap, b, wosize, at - 1, Value::from_bits(infix.bits()));
        }
        init_field(&mut m.heap, b, wosize, at, code(i));
        init_field(&mut m.heap, b, wosize, at + 1, closinfo(variables - at));
        r.push(Value::from_bits(b.bits() + (8 * at) as u64));
    }
    r.accu = b;
}

/// Leaves the function whose arguments are too few: `result` goes to the return frame below them.
#[inline(always)]
pub(crate) fn return_partial(r: &mut Regs, arguments: usize, result: Value) {
    r.drop(arguments);
    r.accu = result;
    r.pc = Regs::code_address(r.peek(0));
    r.env = r.peek(1);
    r.extra = r.peek(2).as_int() as usize;
    r.drop(RETURN_FRAME);
}

/// Pushes the `n` arguments that the running partial application holds and continues in its closure: at the `GRAB` where
/// `pc` stands now.
#[inline(always)]
pub(crate) fn restart<T: Trust>(r: &mut Regs, n: usize) -> Result<(), Fault> {
    // Marshalled data may hold any number, and any closure (the callers look at that): with more arguments than the
    // function takes, the stack would grow without a check.
    if T::CHECKED && (n as i64 > r.operand_at(1) || n > MAX_PARTIAL) {
        return Err(Fault::Field(n));
    }
    for i in (0..n).rev() {
        r.push(variable(r.env, PARTIAL_PREFIX + i));
    }
    r.env = variable(r.env, PARTIAL_FUNCTION);
    r.extra += n;
    Ok(())
}

handlers! {
    CLOSURE(r, m) {
        let variables = r.operand_usize();
        let code = Regs::code_value(r.target(r.operand_at(0)));
        r.operand();
        if variables == 0 {
            let b = alloc!(r, m, 2, tag::CLOSURE);
            init_field(&mut m.heap, b, 2, 0, code);
            init_field(&mut m.heap, b, 2, 1, closinfo(2));
            r.accu = b;
            return NEXT;
        }
        for_small!(variables, {
            r.push(r.accu);
            let wosize = 2 + variables;
            let b = alloc!(r, m, wosize, tag::CLOSURE);
            init_field(&mut m.heap, b, wosize, 0, code);
            init_field(&mut m.heap, b, wosize, 1, closinfo(2));
            fill_variables(r, m, b, wosize, 2, variables);
            r.accu = b;
        });
    }
    CLOSUREREC(r, m) {
        let functions = r.operand_usize();
        let variables = r.operand_usize();
        if variables > 0 {
            r.push(r.accu);
        }
        let at = functions * SIBLING_WORDS - 1;
        let wosize = at + variables;
        let b = alloc!(r, m, wosize, tag::CLOSURE);
        fill_variables(r, m, b, wosize, at, variables);
        let offsets = *r;
        fill_entries(r, m, b, wosize, functions, |i| {
            Regs::code_value(offsets.target(offsets.operand_at(i)))
        });
        r.pc = r.target(functions as i64);
    }

    OFFSETCLOSUREM3(r, m) { r.accu = sibling(r.env, -3); }
    OFFSETCLOSURE0(r, m) { r.accu = r.env; }
    OFFSETCLOSURE3(r, m) { r.accu = sibling(r.env, 3); }
    OFFSETCLOSURE(r, m) { let n = r.operand(); r.accu = sibling(r.env, n); }
    PUSHOFFSETCLOSUREM3(r, m) { r.push(r.accu); r.accu = sibling(r.env, -3); }
    PUSHOFFSETCLOSURE0(r, m) { r.push(r.accu); r.accu = r.env; }
    PUSHOFFSETCLOSURE3(r, m) { r.push(r.accu); r.accu = sibling(r.env, 3); }
    PUSHOFFSETCLOSURE(r, m) {
        r.push(r.accu);
        let n = r.operand();
        r.accu = sibling(r.env, n);
    }

    RESTART(r, m) {
        if T::CHECKED {
            let code = access!(r, m, called_code::<T>(variable(r.env, PARTIAL_FUNCTION)));
            if code != Regs::code_value(r.pc) {
                access!(r, m, Err(Fault::NotAClosure));
            }
        }
        let n = access!(r, m, header::<T>(r.env)).wosize().wrapping_sub(PARTIAL_PREFIX);
        for_small!(n, access!(r, m, restart::<T>(r, n)));
    }
    GRAB(r, m) {
        let required = r.operand_usize();
        if r.extra >= required {
            r.extra -= required;
        } else {
            // Where the quick form goes on, it does so with the next instruction: chains count on it.
            if T::QUICK {
                return SLOW;
            }
            let arguments = 1 + r.extra;
            let wosize = PARTIAL_PREFIX + arguments;
            let b = alloc!(r, m, wosize, tag::CLOSURE);
            // RESTART stands in front of GRAB, whose operand we are behind.
            init_field(&mut m.heap, b, wosize, 0, Regs::code_value(r.target(-3)));
            init_field(&mut m.heap, b, wosize, 1, closinfo(2));
            init_field(&mut m.heap, b, wosize, PARTIAL_FUNCTION, r.env);
            for i in 0..arguments {
                init_field(&mut m.heap, b, wosize, PARTIAL_PREFIX + i, r.peek_alone(i));
            }
            return_partial(r, arguments, b);
        }
    }
}
