//! Effects: performing, resuming, and the ends of fibers. The work is done in `machine::fibers`.

use spelter_heap::raw::{Value, tag};

use super::exn::{raise_left, raise_recorded};
use super::{access, alloc, handlers};
use crate::Machine;
use crate::exec::exit::{Flow, NEXT, SLOW};
use crate::exec::fault::Fault;
use crate::exec::regs::{Regs, Trust, called_code, init_field};
use crate::machine::fibers::Refused;

/// Enters the closure in accu, whose frame is complete.
#[inline(always)]
fn enter<T: Trust>(r: &mut Regs, m: &mut Machine) -> Flow {
    let code = access!(r, m, called_code::<T>(r.accu));
    let pc = Regs::code_address(code);
    // SAFETY: the code of a closure.
    if unsafe { *pc } == 0 && !m.translate_at(pc) {
        m.save(r);
        return raise_left(r, m);
    }
    r.pc = pc;
    r.env = r.accu;
    check(r, m)
}

/// Makes room on the stack, which is another one than before, and runs pending actions.
#[inline(always)]
fn check(r: &mut Regs, m: &mut Machine) -> Flow {
    if r.sp < m.roots.thread.stack.threshold || m.action_due() {
        m.save(r);
        let gone_well = m.safe_point();
        m.reload(r);
        if !gone_well {
            return raise_left(r, m);
        }
    }
    NEXT
}

/// Goes on after an operation of the machine with the registers saved.
#[inline(always)]
fn after<T: Trust>(
    r: &mut Regs,
    m: &mut Machine,
    outcome: Result<(), Refused>,
    go_on: impl FnOnce(&mut Regs, &mut Machine) -> Flow,
) -> Flow {
    let pc = r.pc;
    m.reload(r);
    match outcome {
        Ok(()) => {
            // A fault on the way into a handler is reported here.
            r.pc = pc;
            go_on(r, m)
        }
        Err(Refused::Raised) => raise_left(r, m),
        Err(Refused::Operand) => m.fault(pc, Fault::Kind("a continuation that can be resumed")),
    }
}

/// Resumes `fiber` with the function `f` and its argument, or with the code of the machine that raises the argument. The
/// frame of the running fiber is complete.
#[inline(always)]
fn resume<T: Trust>(r: &mut Regs, m: &mut Machine, [fiber, last, x]: [Value; 3], f: Option<Value>) -> Flow {
    // An exception for a continuation that was taken already is raised with the frame of a primitive.
    let taken = fiber == Value::int(0);
    if taken {
        r.push(r.env);
        r.push(Regs::code_value(r.pc));
    }
    m.save(r);
    let outcome = m.resume_fiber(fiber, last, x);
    after::<T>(r, m, outcome, |r, m| {
        r.extra = 0;
        match f {
            Some(f) => {
                r.accu = f;
                enter::<T>(r, m)
            }
            None => {
                r.pc = m.raise_argument_code();
                r.env = Value::UNIT;
                check(r, m)
            }
        }
    })
}

/// Makes the thread's first stack a fiber, if it is not one.
macro_rules! begin {
    ($r:ident, $m:ident) => {
        if !$m.has_fibers() {
            $m.save($r);
            let outcome = $m.begin_fibers();
            $m.reload($r);
            if outcome.is_err() {
                return raise_left($r, $m);
            }
        }
    };
}

/// Replaces the frame of a tail call that has `words`, operands included, by that of a suspended parent.
#[inline(always)]
fn suspend_tail(r: &mut Regs, m: &Machine, words: usize) {
    r.drop(words - 2);
    r.poke(0, Value::int(m.roots.thread.trap_depth as i64));
    r.poke(1, Value::int(r.extra as i64));
}

/// The operands of `RESUME`: the last fiber, or `()` if the code does not say, and the argument.
#[inline(always)]
fn resumed(r: &Regs, m: &Machine) -> (Value, Value) {
    let last = if m.behaviour.resume_takes_last { r.peek(2) } else { Value::UNIT };
    (last, r.peek(1))
}

handlers! {
    PERFORM(r, m) {
        if T::QUICK {
            return SLOW;
        }
        if !m.has_parent() {
            m.save(r);
            let exn = m.unhandled(m.roots.thread.accu);
            m.reload(r);
            match exn {
                Ok(exn) => r.accu = exn,
                Err(_) => return raise_left(r, m),
            }
            return raise_recorded::<T>(r, m, false);
        }
        let words = m.behaviour.continuation_words;
        let cont = alloc!(r, m, words, tag::CONT);
        for i in 0..words {
            init_field(&mut m.heap, cont, words, i, m.roots.thread.fiber);
        }
        m.save(r);
        m.perform(cont);
        return after::<T>(r, m, Ok(()), |r, m| enter::<T>(r, m));
    }
    RESUME(r, m) {
        if T::QUICK {
            return SLOW;
        }
        begin!(r, m);
        let (fiber, f) = (r.accu, r.peek(0));
        let (last, x) = resumed(r, m);
        r.drop(if m.behaviour.resume_takes_last { 3 } else { 2 });
        r.push(Value::int(r.extra as i64));
        r.push(r.env);
        r.push(Regs::code_value(r.pc));
        r.push(Value::int(0));
        r.push(Value::int(m.roots.thread.trap_depth as i64));
        return resume::<T>(r, m, [fiber, last, x], Some(f));
    }
    RESUMETERM(r, m) {
        if T::QUICK {
            return SLOW;
        }
        begin!(r, m);
        let words = r.operand_usize();
        let (fiber, f) = (r.accu, r.peek(0));
        let (last, x) = resumed(r, m);
        suspend_tail(r, m, words);
        return resume::<T>(r, m, [fiber, last, x], Some(f));
    }
    REPERFORMTERM(r, m) {
        if T::QUICK {
            return SLOW;
        }
        let words = r.operand_usize();
        if m.has_parent() {
            let args = [r.accu, r.peek(0), r.peek(1)];
            suspend_tail(r, m, words);
            m.save(r);
            let outcome = m.reperform(args);
            return after::<T>(r, m, outcome, |r, m| enter::<T>(r, m));
        }
        // The performer gets the exception, where it performed.
        begin!(r, m);
        m.save(r);
        let exn = m.unhandled(m.roots.thread.accu);
        m.reload(r);
        let Ok(exn) = exn else { return raise_left(r, m) };
        let (cont, last) = (r.peek(0), r.peek(1));
        let fiber = match m.take_fiber(cont) {
            Some(fiber) => fiber,
            None => access!(r, m, Err(Fault::Kind("a continuation"))),
        };
        suspend_tail(r, m, words);
        return resume::<T>(r, m, [fiber, last, exn], None);
    }
    FIBER_RETURN(r, m) {
        if T::QUICK {
            return SLOW;
        }
        m.save(r);
        let outcome = m.end_fiber(0);
        return after::<T>(r, m, outcome, |r, m| enter::<T>(r, m));
    }
    FIBER_RAISE(r, m) {
        if T::QUICK {
            return SLOW;
        }
        m.save(r);
        let outcome = m.end_fiber(1);
        return after::<T>(r, m, outcome, |r, m| enter::<T>(r, m));
    }
}
