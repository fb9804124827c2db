//! Effects: performing, resuming, and the ends of fibers. What fibers are is in `machine::fibers`.

use spelter_heap::raw::{Value, tag};

use super::call::is_untranslated;
use super::exn::{raise_left, raise_recorded};
use super::{access, alloc, handlers, modify};
use crate::Machine;
use crate::exec::exit::{Flow, NEXT, SLOW};
use crate::exec::fault::Fault;
use crate::exec::regs::{Regs, Trust, called_code, init_field, writable};
use crate::machine::fibers::State;

/// The code of a closure that is about to be entered on another fiber, translated.
macro_rules! code_of {
    ($r:ident, $m:ident, $closure:expr) => {{
        let code = access!($r, $m, called_code::<T>($closure));
        let pc = Regs::code_address(code);
        if is_untranslated(code) {
            if T::QUICK {
                return SLOW;
            }
            if !$m.translate_at(pc) {
                $m.save($r);
                return raise_left($r, $m);
            }
        }
        pc
    }};
}

/// Makes the switch to a fiber possible. The quick form gives up if that is not so already.
macro_rules! prepare {
    ($r:ident, $m:ident, $to:expr) => {
        if T::QUICK {
            if $m.is_due::<T>() || !$m.can_switch_quickly($to) {
                return SLOW;
            }
        } else {
            $m.prepare_switch($to);
        }
    };
}

/// Makes the thread's first stack a fiber, if it is not one.
macro_rules! begin {
    ($r:ident, $m:ident) => {
        if !$m.has_fibers() {
            if T::QUICK {
                return SLOW;
            }
            $m.save($r);
            let outcome = $m.begin_fibers();
            $m.reload($r);
            if !outcome {
                return raise_left($r, $m);
            }
        }
    };
}

/// Jumps to `pc` with the closure in accu, on another stack than before: makes room there and runs pending actions.
#[inline(always)]
fn enter<T: Trust>(r: &mut Regs, m: &mut Machine, pc: *const u64, closure: Value) -> Flow {
    r.pc = pc;
    r.accu = closure;
    r.env = closure;
    // The quick form has tested already.
    let due = !T::QUICK && (r.sp < m.roots.thread.stack.threshold || m.is_due::<T>());
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

/// Calls the handler of effects of the fiber that has just been left, in its parent.
#[inline(always)]
fn call_effect_handler<T: Trust>(
    r: &mut Regs,
    m: &mut Machine,
    args: [Value; 3],
    (pc, handler): (*const u64, Value),
) -> Flow {
    r.extra = r.peek(1).as_int() as usize + 2;
    r.push(args[0]);
    r.poke(1, args[1]);
    r.poke(2, args[2]);
    enter::<T>(r, m, pc, handler)
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

/// Raises the exception for a continuation that has been taken, from a frame that is complete.
#[cold]
#[inline(never)]
fn already_resumed(m: &mut Machine) {
    let raise = m.continuation_already_resumed();
    m.leave_exn(raise);
}

/// Stops for a debugger if the exception that is about to be raised passes its barrier. Returns false when the debugger
/// wants something raised.
#[cold]
#[inline(never)]
fn stop_at_barrier(r: &mut Regs, m: &mut Machine) -> bool {
    m.save(r);
    let outcome = m.debug_trap().map_err(|raise| m.leave_exn(raise));
    m.reload(r);
    outcome.is_ok()
}

/// Resumes a fiber with the function `f`, once `frame` has completed the frame of the running one.
#[inline(always)]
fn resume<T: Trust>(r: &mut Regs, m: &mut Machine, frame: impl FnOnce(&mut Regs, &Machine)) -> Flow {
    begin!(r, m);
    let (fiber, f) = (r.accu, r.peek(0));
    let (last, x) = resumed(r, m);
    if fiber == Value::int(0) {
        if T::QUICK {
            return SLOW;
        }
        // It is raised with the frame of a primitive.
        frame(r, m);
        r.push(r.env);
        r.push(Regs::code_value(r.pc));
        m.save(r);
        already_resumed(m);
        m.reload(r);
        return raise_left(r, m);
    }
    // The library of 5.2 and later says 0 for a fiber without parents.
    let last = if last == Value::UNIT && m.behaviour.resume_takes_last { fiber } else { last };
    let last = match m.resumable::<T>(fiber, last) {
        Some(last) => last,
        None => access!(r, m, Err(Fault::Kind("a continuation that can be resumed"))),
    };
    let pc = code_of!(r, m, f);
    prepare!(r, m, fiber);
    frame(r, m);
    r.sp = m.attach::<T>(fiber, last, r.sp);
    r.poke(0, x);
    r.extra = 0;
    enter::<T>(r, m, pc, f)
}

/// Ends the running fiber: calls its handler number `i` with accu in its parent.
#[inline(always)]
fn end<T: Trust>(r: &mut Regs, m: &mut Machine, i: usize) -> Flow {
    if T::QUICK {
        return SLOW;
    }
    let Some(parent) = m.parent() else {
        return m.fault(r.pc, Fault::Kind("a fiber with a parent"));
    };
    let (result, handler) = (r.accu, m.handler(i));
    let pc = code_of!(r, m, handler);
    prepare!(r, m, parent);
    r.sp = m.end_fiber(r.sp);
    r.extra = r.peek(1).as_int() as usize;
    r.drop(1);
    r.poke(0, result);
    enter::<T>(r, m, pc, handler)
}

handlers! {
    PERFORM(r, m) {
        let Some(parent) = m.parent() else {
            if T::QUICK {
                return SLOW;
            }
            m.save(r);
            let exn = m.unhandled(m.roots.thread.accu);
            m.reload(r);
            let Some(exn) = exn else { return raise_left(r, m) };
            r.accu = exn;
            return raise_recorded::<T>(r, m, false);
        };
        let pc = code_of!(r, m, m.handler(2));
        prepare!(r, m, parent);
        let names_last = m.behaviour.continuations_name_last;
        let cont = if names_last { alloc!(r, m, 2, tag::CONT) } else { alloc!(r, m, 1, tag::CONT) };
        // The allocation may have moved the fibers, but not their stacks.
        let (fiber, handler) = (m.roots.thread.fiber, m.handler(2));
        init_field(&mut m.heap, cont, 1, 0, fiber);
        if names_last {
            init_field(&mut m.heap, cont, 2, 1, fiber);
        }
        let eff = r.accu;
        r.push(Value::int(r.extra as i64));
        r.push(r.env);
        r.push(Regs::code_value(r.pc));
        r.push(Value::int(m.roots.thread.trap_depth as i64));
        r.sp = m.switch_to_parent::<T>(State::Performed, r.sp);
        return call_effect_handler::<T>(r, m, [eff, cont, fiber], (pc, handler));
    }
    RESUME(r, m) {
        return resume::<T>(r, m, |r, m| {
            r.drop(if m.behaviour.resume_takes_last { 3 } else { 2 });
            r.push(Value::int(r.extra as i64));
            r.push(r.env);
            r.push(Regs::code_value(r.pc));
            r.push(Value::int(0));
            r.push(Value::int(m.roots.thread.trap_depth as i64));
        });
    }
    RESUMETERM(r, m) {
        let words = r.operand_usize();
        return resume::<T>(r, m, |r, m| suspend_tail(r, m, words));
    }
    REPERFORMTERM(r, m) {
        let words = r.operand_usize();
        let (cont, last) = (r.peek(0), r.peek(1));
        if let Some(parent) = m.parent() {
            let (eff, handler) = (r.accu, m.handler(2));
            let pc = code_of!(r, m, handler);
            prepare!(r, m, parent);
            if !m.can_append::<T>(cont, last) {
                access!(r, m, Err(Fault::Kind("a continuation, and its last fiber")));
            }
            let own = m.roots.thread.fiber;
            if m.behaviour.continuations_name_last {
                access!(r, m, writable::<T>(cont, 1));
                modify!(r, m, cont, 1, own);
            }
            m.append_running(last);
            suspend_tail(r, m, words);
            r.sp = m.switch_to_parent::<T>(State::Parent, r.sp);
            return call_effect_handler::<T>(r, m, [eff, cont, own], (pc, handler));
        }
        if T::QUICK {
            return SLOW;
        }
        // The performer gets the exception, where it performed.
        begin!(r, m);
        m.save(r);
        let exn = m.unhandled(m.roots.thread.accu);
        m.reload(r);
        let Some(exn) = exn else { return raise_left(r, m) };
        let (cont, last) = (r.peek(0), r.peek(1));
        let Some(fiber) = m.take_fiber(cont) else {
            return m.fault(r.pc, Fault::Kind("a continuation"));
        };
        suspend_tail(r, m, words);
        if fiber == Value::int(0) {
            r.push(r.env);
            r.push(Regs::code_value(r.pc));
            m.save(r);
            already_resumed(m);
            m.reload(r);
            return raise_left(r, m);
        }
        let Some(last) = m.resumable::<T>(fiber, last) else {
            return m.fault(r.pc, Fault::Kind("a continuation that can be resumed"));
        };
        prepare!(r, m, fiber);
        r.sp = m.attach::<T>(fiber, last, r.sp);
        r.poke(0, exn);
        r.extra = 0;
        if m.has_debugger() && !stop_at_barrier(r, m) {
            return raise_left(r, m);
        }
        let pc = m.raise_argument_code();
        return enter::<T>(r, m, pc, Value::UNIT);
    }
    FIBER_RETURN(r, m) { return end::<T>(r, m, 0); }
    FIBER_RAISE(r, m) { return end::<T>(r, m, 1); }
}
