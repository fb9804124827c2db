//! Closures of code that is never freed, and their partial applications. The counterparts for loaded code are in
//! `dynlinked`.

use spelter_heap::raw::{Header, Value, tag};

use super::{access, alloc, for_small, handlers};
use crate::Machine;
use crate::exec::exit::{Flow, NEXT, SLOW};
use crate::exec::fault::Fault;
use crate::exec::regs::{Regs, Trust, called_code, header, init_field, sibling, variable};
use crate::layout::{PARTIAL_FUNCTION, PARTIAL_PREFIX, RETURN_FRAME, SIBLING_WORDS, closinfo};
use crate::machine::stack::MAX_PARTIAL;

/// The words at the end of closures, after their variables, and their code words, for one kind of code.
pub(super) trait Ending {
    /// The number of words at the end of a block of `functions` functions.
    fn words(functions: usize) -> usize;

    /// The code word of a function: its address, unless closures go through the stub.
    #[inline(always)]
    fn code(_: &Machine, target: *const u64) -> Value {
        Regs::code_value(target)
    }

    /// Writes the end of a block that the running closure makes. `targets` are the code addresses of its functions.
    fn finish(r: &Regs, m: &mut Machine, b: Value, wosize: usize, targets: impl Iterator<Item = *const u64>);
}

/// Code that is never freed: closures have OCaml's layout.
struct Static;

impl Ending for Static {
    #[inline(always)]
    fn words(_: usize) -> usize {
        0
    }

    #[inline(always)]
    fn finish(_: &Regs, _: &mut Machine, _: Value, _: usize, _: impl Iterator<Item = *const u64>) {}
}

/// A closure of one function, with accu and the top of the stack as its variables.
#[inline(always)]
pub(super) fn closure<T: Trust, E: Ending>(
    r: &mut Regs,
    m: &mut Machine,
    variables: usize,
    target: *const u64,
) -> Flow {
    if variables > 0 {
        r.push(r.accu);
    }
    let wosize = 2 + variables + E::words(1);
    let b = alloc!(r, m, wosize, tag::CLOSURE);
    let code = E::code(m, target);
    init_field(&mut m.heap, b, wosize, 0, code);
    init_field(&mut m.heap, b, wosize, 1, closinfo(2));
    fill_variables(r, m, b, wosize, 2, variables);
    E::finish(r, m, b, wosize, [target].into_iter());
    r.accu = b;
    NEXT
}

/// A closure of several functions, which are then pushed.
#[inline(always)]
pub(super) fn closure_rec<T: Trust, E: Ending>(r: &mut Regs, m: &mut Machine) -> Flow {
    let functions = r.operand_usize();
    let variables = r.operand_usize();
    if variables > 0 {
        r.push(r.accu);
    }
    let first_variable = functions * SIBLING_WORDS - 1;
    let wosize = first_variable + variables + E::words(functions);
    let b = alloc!(r, m, wosize, tag::CLOSURE);
    fill_variables(r, m, b, wosize, first_variable, variables);
    let offsets = *r;
    let target = |i| offsets.target(offsets.operand_at(i));
    E::finish(r, m, b, wosize, (0..functions).map(target));
    for i in 0..functions {
        let at = i * SIBLING_WORDS;
        if i > 0 {
            let infix = Header::new(at, tag::INFIX);
            init_field(&mut m.heap, b, wosize, at - 1, Value::from_bits(infix.bits()));
        }
        let code = E::code(m, target(i));
        init_field(&mut m.heap, b, wosize, at, code);
        init_field(&mut m.heap, b, wosize, at + 1, closinfo(first_variable - at));
        r.push(Value::from_bits(b.bits() + (8 * at) as u64));
    }
    r.accu = b;
    r.pc = r.target(functions as i64);
    NEXT
}

/// Continues if there are enough arguments, otherwise returns a partial application.
#[inline(always)]
pub(super) fn grab<T: Trust, E: Ending>(r: &mut Regs, m: &mut Machine) -> Flow {
    let required = r.operand_usize();
    if r.extra >= required {
        r.extra -= required;
        return NEXT;
    }
    // If the quick form does not give up, it continues with the next instruction: chains rely on that.
    if T::QUICK {
        return SLOW;
    }
    let arguments = 1 + r.extra;
    let wosize = PARTIAL_PREFIX + arguments + E::words(1);
    let b = alloc!(r, m, wosize, tag::CLOSURE);
    // RESTART precedes GRAB, and `pc` is after the operand of GRAB.
    let restart = r.target(-3);
    let code = E::code(m, restart);
    init_field(&mut m.heap, b, wosize, 0, code);
    init_field(&mut m.heap, b, wosize, 1, closinfo(2));
    init_field(&mut m.heap, b, wosize, PARTIAL_FUNCTION, r.env);
    for i in 0..arguments {
        init_field(&mut m.heap, b, wosize, PARTIAL_PREFIX + i, r.peek_alone(i));
    }
    E::finish(r, m, b, wosize, [restart].into_iter());
    return_partial(r, arguments, b);
    NEXT
}

/// Writes the variables of a new closure block, from `at` on. accu has been pushed as the first.
#[inline(always)]
fn fill_variables(r: &mut Regs, m: &mut Machine, b: Value, wosize: usize, at: usize, n: usize) {
    for i in 0..n {
        init_field(&mut m.heap, b, wosize, at + i, r.peek_alone(i));
    }
    r.drop(n);
}

/// Returns from the function, which has too few arguments: `result` goes to the return frame below them.
#[inline(always)]
fn return_partial(r: &mut Regs, arguments: usize, result: Value) {
    r.drop(arguments);
    r.accu = result;
    r.pc = Regs::code_address(r.peek(0));
    r.env = r.peek(1);
    r.extra = r.peek(2).as_int() as usize;
    r.drop(RETURN_FRAME);
}

/// Pushes the `n` arguments that the running partial application holds, and continues in its closure at the `GRAB` to
/// which `pc` points.
#[inline(always)]
pub(super) fn restart<T: Trust>(r: &mut Regs, n: usize) -> Result<(), Fault> {
    // Marshalled data may contain any number of arguments, and any closure (which the callers test). With more
    // arguments than the function takes, the stack would grow without a check.
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
        let target = r.target(r.operand_at(0));
        r.operand();
        if variables == 0 {
            return closure::<T, Static>(r, m, 0, target);
        }
        for_small!(variables, return closure::<T, Static>(r, m, variables, target));
    }
    CLOSUREREC(r, m) { return closure_rec::<T, Static>(r, m); }

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
    GRAB(r, m) { return grab::<T, Static>(r, m); }
}
