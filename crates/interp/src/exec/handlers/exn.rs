//! Exceptions and traps.

use spelter_heap::raw::Value;

use super::handlers;
use crate::Machine;
use crate::exec::exit::{Flow, NEXT, SLOW, leave, uncaught, uncover};
use crate::exec::regs::{Regs, Trust};
use crate::layout::TRAP_FRAME;

handlers! {
    PUSHTRAP(r, m) {
        if T::QUICK && T::CHECKED && m.is_due::<T>() {
            return SLOW;
        }
        let handler = r.target(r.operand_at(0));
        r.push(Value::int(r.extra as i64));
        r.push(r.env);
        r.push(Value::int(m.roots.thread.trap_depth as i64));
        r.push(Regs::code_value(handler));
        m.roots.thread.trap_depth = m.roots.thread.stack.depth_of(r.sp);
        r.operand();
        // Checked code might loop through its handlers. The quick form has tested already.
        if T::CHECKED && !T::QUICK {
            return poll::<T>(r, m);
        }
        m.burn::<T>();
    }
    POPTRAP(r, m) {
        // An exception from a signal handler still belongs to the `try` that is ending.
        if m.action_due() {
            if T::QUICK {
                return SLOW;
            }
            if !run_due(r, m) {
                return raise_left(r, m);
            }
        }
        m.roots.thread.trap_depth = r.peek(1).as_int() as usize;
        r.drop(TRAP_FRAME);
    }
    RAISE(r, m) { return raise_recorded::<T>(r, m, false); }
    RERAISE(r, m) { return raise_recorded::<T>(r, m, true); }
    RAISE_NOTRACE(r, m) {
        m.roots.thread.exn.set(r.accu);
        return unwind(r, m);
    }
    CHECK_SIGNALS(r, m) {
        // It is in every loop, and checked code tests at every backward jump.
        if !T::CHECKED {
            return poll::<T>(r, m);
        }
    }
    STOP(r, m) {
        m.save(r);
        return crate::exec::exit::stop();
    }
    EVENT(r, m) { return debugged::<T>(r, m); }
    BREAK(r, m) { return debugged::<T>(r, m); }
}

/// Raises accu, and records a backtrace if enabled: a new one, or for a re-raise, the continuation of the recorded one.
#[inline(always)]
pub(super) fn raise_recorded<T: Trust>(r: &mut Regs, m: &mut Machine, reraise: bool) -> Flow {
    if T::QUICK && m.backtrace_active {
        return SLOW;
    }
    m.roots.thread.exn.set(r.accu);
    if m.backtrace_active {
        r.push(Regs::code_value(r.pc.wrapping_sub(1)));
        m.save(r);
        m.record_backtrace(reraise);
        m.reload(r);
    }
    unwind(r, m)
}

/// Stops if the debugger asked for it, then continues with the instruction that the cover hides.
#[inline(always)]
fn debugged<T: Trust>(r: &mut Regs, m: &mut Machine) -> Flow {
    if T::QUICK {
        return SLOW;
    }
    m.save(r);
    let gone_well = m.debug_point();
    m.reload(r);
    if gone_well { uncover() } else { raise_left(r, m) }
}

/// Runs pending actions, if there are any. They may raise, so a handler must return the result of this.
#[inline(always)]
pub(crate) fn poll<T: Trust>(r: &mut Regs, m: &mut Machine) -> Flow {
    if !m.is_due::<T>() {
        m.burn::<T>();
        return NEXT;
    }
    if T::QUICK {
        return SLOW;
    }
    m.burn::<T>();
    if run_due(r, m) { NEXT } else { raise_left(r, m) }
}

/// Runs pending actions. Returns false when they leave something to be raised.
#[inline(always)]
fn run_due(r: &mut Regs, m: &mut Machine) -> bool {
    m.save(r);
    let gone_well = m.process_actions();
    m.reload(r);
    gone_well
}

/// Continues where the exception that the machine has recorded is handled: in this activation, or outside it.
#[inline(always)]
pub(crate) fn unwind(r: &mut Regs, m: &mut Machine) -> Flow {
    if m.roots.thread.trap_depth <= m.roots.thread.base_depth {
        m.save(r);
        return uncaught();
    }
    r.sp = m.roots.thread.stack.at(m.roots.thread.trap_depth);
    r.pc = Regs::code_address(r.peek(0));
    m.roots.thread.trap_depth = r.peek(1).as_int() as usize;
    r.env = r.peek(2);
    r.extra = r.peek(3).as_int() as usize;
    r.drop(TRAP_FRAME);
    r.accu = m.roots.thread.exn.get();
    NEXT
}

/// Like [`unwind`], after a primitive, an allocation or a signal handler failed: with an exception, or with a reason to
/// leave the machine.
#[inline(always)]
pub(crate) fn raise_left(r: &mut Regs, m: &mut Machine) -> Flow {
    if m.leaving.is_some() {
        m.save(r);
        return leave();
    }
    unwind(r, m)
}
