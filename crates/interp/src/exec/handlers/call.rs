//! Calls, returns and primitives. A return frame is {pc, env, extra_args}, pc on top.

use spelter_heap::raw::Value;

use super::{access, for_small, handlers};
use crate::Machine;
use crate::exec::exit::{Flow, NEXT, SLOW};
use crate::exec::handlers::exn::raise_left;
use crate::exec::regs::{Regs, Trust, called_code};
use crate::layout::RETURN_FRAME;
use crate::prim::DirectCall;
use crate::prim::table::Target;

/// Words of a return frame.
const FRAME_WORDS: isize = 3;

#[inline(always)]
fn push_frame(r: &mut Regs, pc: *const u64) {
    r.push(Value::int(r.extra as i64));
    r.push(r.env);
    r.push(Regs::code_value(pc));
}

/// Inserts a return frame under the top `N` words.
#[inline(always)]
fn insert_frame<const N: usize>(r: &mut Regs) {
    r.lift(N, FRAME_WORDS as usize);
    r.poke(N, Regs::code_value(r.pc));
    r.poke(N + 1, r.env);
    r.poke(N + 2, Value::int(r.extra as i64));
}

/// Whether the function at a code address is still to be translated: that happens at its first call.
#[inline(always)]
pub(super) fn is_untranslated(code: Value) -> bool {
    // SAFETY: the code of a closure.
    unsafe { *Regs::code_address(code) == 0 }
}

/// Translates the function. The quick form cannot, and gives up.
macro_rules! translate {
    ($r:ident, $m:ident, $code:ident) => {
        if T::QUICK {
            return SLOW;
        }
        if !$m.translate_at(Regs::code_address($code)) {
            $m.save($r);
            return raise_left($r, $m);
        }
    };
}

/// Jumps into the closure in accu, whose code word is `code`.
#[inline(always)]
fn jump(r: &mut Regs, m: &mut Machine, code: Value) {
    r.pc = Regs::code_address(code);
    r.env = r.accu;
    let _ = &m;
    #[cfg(debug_assertions)]
    m.assert_frame_invariant(r.pc, r.env);
}

/// Jumps into the closure in accu, at a point where the stack may grow and pending actions run. `frame` first moves the
/// arguments into place, which adds `words` words above `sp`.
#[inline(always)]
fn enter<T: Trust>(r: &mut Regs, m: &mut Machine, words: isize, frame: impl FnOnce(&mut Regs)) -> Flow {
    let due = r.sp.wrapping_offset(-words) < m.roots.thread.stack.threshold || m.is_due::<T>();
    if T::QUICK && due {
        return SLOW;
    }
    let code = access!(r, m, called_code::<T>(r.accu));
    if is_untranslated(code) {
        translate!(r, m, code);
    }
    frame(r);
    jump(r, m, code);
    m.burn::<T>();
    if due {
        m.save(r);
        let gone_well = m.safe_point();
        m.reload(r);
        if !gone_well {
            return raise_left(r, m);
        }
    }
    NEXT
}

#[inline(always)]
fn apply<T: Trust, const N: usize>(r: &mut Regs, m: &mut Machine) -> Flow {
    enter::<T>(r, m, FRAME_WORDS, |r| {
        insert_frame::<N>(r);
        r.extra = N - 1;
    })
}

#[inline(always)]
fn tail_call<T: Trust>(r: &mut Regs, m: &mut Machine, args: usize, frame: usize) -> Flow {
    enter::<T>(r, m, args as isize - frame as isize, |r| {
        r.slide(args, frame - args);
        r.extra += args - 1;
    })
}

/// Pushes a primitive's first argument above the others, then a frame {pc, env} that identifies the caller.
#[inline(always)]
fn push_call(r: &mut Regs, m: &mut Machine) {
    r.push(r.accu);
    r.push(r.env);
    r.push(Regs::code_value(r.pc));
    m.roots.thread.stack.sp = r.sp;
}

/// Calls primitive number `p`, whose `n` arguments are on the stack.
#[inline(always)]
fn call_numbered(m: &mut Machine, p: usize, n: usize) -> bool {
    match n {
        1 => m.call_primitive::<1>(p),
        2 => m.call_primitive::<2>(p),
        3 => m.call_primitive::<3>(p),
        4 => m.call_primitive::<4>(p),
        5 => m.call_primitive::<5>(p),
        n => m.call_other(p, n),
    }
}

/// Calls primitive number `p` with accu and the top `n - 1` words. They stay on the stack, as the primitive's slots.
#[inline(always)]
pub(super) fn c_call<T: Trust>(r: &mut Regs, m: &mut Machine, n: usize, p: usize) -> Flow {
    if T::QUICK {
        return SLOW;
    }
    push_call(r, m);
    let gone_well = call_numbered(m, p, n);
    r.sp = m.roots.thread.stack.sp;
    r.env = r.peek(1);
    r.accu = Value::UNIT; // the old value may have moved
    if !gone_well {
        return raise_left(r, m);
    }
    r.accu = m.take_result();
    r.drop(2 + n);
    NEXT
}

/// Calls primitive number `p`, which only reads its two or four arguments: nothing moves.
#[inline(always)]
pub(super) fn c_call_read_only<T: Trust>(r: &mut Regs, m: &mut Machine, n: usize, p: usize) -> Flow {
    if T::QUICK {
        return SLOW;
    }
    let outcome = match n {
        2 => m.call_direct2(p, r.accu, r.peek(0)),
        _ => m.call_direct4(p, r.accu, r.peek(0), r.peek(1), r.peek(2)),
    };
    match outcome {
        DirectCall::Answer(v) => {
            r.accu = v;
            r.drop(n - 1);
            NEXT
        }
        DirectCall::Raised => {
            push_call(r, m);
            m.leave_raised();
            r.accu = Value::UNIT;
            raise_left(r, m)
        }
        DirectCall::NotPossible => c_call::<T>(r, m, n, p),
    }
}

/// Calls a primitive of a foreign library with `n` arguments, as [`c_call`] does, but with fewer detours. What is needed
/// afterwards is read from memory, so that only the machine is in a register that the call has to save.
#[inline(always)]
fn foreign_call<T: Trust>(r: &mut Regs, m: &mut Machine, n: usize, p: usize) -> Flow {
    if T::QUICK {
        return SLOW;
    }
    push_call(r, m);
    m.roots.thread.extra = r.extra;
    let result = match m.prims.target(p) {
        Some(Target::Foreign(foreign)) => m.call_foreign(*foreign, p, n),
        _ => call_numbered(m, p, n).then(|| m.take_result()),
    };
    r.sp = m.roots.thread.stack.sp;
    r.pc = Regs::code_address(r.peek(0));
    r.env = r.peek(1);
    r.extra = m.roots.thread.extra;
    r.accu = Value::UNIT;
    let Some(v) = result else {
        return raise_left(r, m);
    };
    r.accu = v;
    r.drop(2 + n);
    NEXT
}

handlers! {
    FOREIGN1(r, m) { let p = r.operand_usize(); return foreign_call::<T>(r, m, 1, p); }
    FOREIGN2(r, m) { let p = r.operand_usize(); return foreign_call::<T>(r, m, 2, p); }
    FOREIGN3(r, m) { let p = r.operand_usize(); return foreign_call::<T>(r, m, 3, p); }
    FOREIGN4(r, m) { let p = r.operand_usize(); return foreign_call::<T>(r, m, 4, p); }
    FOREIGN5(r, m) { let p = r.operand_usize(); return foreign_call::<T>(r, m, 5, p); }

    PUSH_RETADDR(r, m) {
        let pc = r.target(r.operand_at(0));
        push_frame(r, pc);
        r.operand();
    }
    APPLY(r, m) {
        let args = r.operand_usize();
        return enter::<T>(r, m, 0, |r| r.extra = args - 1);
    }
    APPLY1(r, m) { return apply::<T, 1>(r, m); }
    APPLY2(r, m) { return apply::<T, 2>(r, m); }
    APPLY3(r, m) { return apply::<T, 3>(r, m); }
    APPTERM(r, m) {
        let args = r.operand_usize();
        let frame = r.operand_usize();
        for_small!(args, return tail_call::<T>(r, m, args, frame));
    }
    APPTERM1(r, m) { let frame = r.operand_usize(); return tail_call::<T>(r, m, 1, frame); }
    APPTERM2(r, m) { let frame = r.operand_usize(); return tail_call::<T>(r, m, 2, frame); }
    APPTERM3(r, m) { let frame = r.operand_usize(); return tail_call::<T>(r, m, 3, frame); }
    RETURN(r, m) {
        let frame = r.operand_usize();
        r.drop(frame);
        if r.extra > 0 {
            r.extra -= 1;
            let code = access!(r, m, called_code::<T>(r.accu));
            if is_untranslated(code) {
                translate!(r, m, code);
            }
            jump(r, m, code);
            return NEXT;
        }
        r.pc = Regs::code_address(r.peek(0));
        r.env = r.peek(1);
        r.extra = r.peek(2).as_int() as usize;
        r.drop(RETURN_FRAME);
    }

    C_CALL1(r, m) { let p = r.operand_usize(); return c_call::<T>(r, m, 1, p); }
    C_CALL2(r, m) { let p = r.operand_usize(); return c_call::<T>(r, m, 2, p); }
    C_CALL3(r, m) { let p = r.operand_usize(); return c_call::<T>(r, m, 3, p); }
    C_CALL4(r, m) { let p = r.operand_usize(); return c_call::<T>(r, m, 4, p); }
    C_CALL5(r, m) { let p = r.operand_usize(); return c_call::<T>(r, m, 5, p); }
    C_CALLN(r, m) {
        let n = r.operand_usize();
        let p = r.operand_usize();
        return foreign_call::<T>(r, m, n, p);
    }
}
