//! Exceptions and traps.

use spelter_heap::raw::Value;

use super::handlers;
use crate::Machine;
use crate::exec::exit::{Flow, NEXT, SLOW, leave, uncaught, uncover};
use crate::exec::regs::{Regs, Trust};
use crate::layout::TRAP_FRAME;

handlers! {
    PUSHTRAP(r, m) {
        if T::QUICK && T::CHECKED && m.action_due() {
            return SLOW;
        }
        let handler = r.target(r.operand_at(0));
        r.push(Value::int(r.extra as i64));
        r.push(r.env);
        r.push(Value::int(m.roots.thread.trap_depth as i64));
        r.push(Regs::code_value(handler));
        m.roots.thread.trap_depth = m.roots.thread.stack.depth_of(r.sp);
        r.operand();
        // Checked code might loop through its handlers. The quick form has looked already.
        if T::CHECKED && !T::QUICK {
            return poll::<T>(r, m);
        }
    }
    POPTRAP(r, m) {
        // An exception from a signal handler still belongs to the ending `try`.
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
        m.roots.thread.exn = r.accu;
        return unwind(r, m);
    }
    CHECK_SIGNALS(r, m) {
        // It stands in loops, and checked code looks wherever it jumps back.
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
    PERFORM(r, m) { return super::foreign::<T>(r, m); }
    RESUME(r, m) { return super::foreign::<T>(r, m); }
    RESUMETERM(r, m) { return super::foreign::<T>(r, m); }
    REPERFORMTERM(r, m) { return super::foreign::<T>(r, m); }
}

/// Raises accu, and records a backtrace if wanted: of its own, or the continuation of the one it has.
#[inline(always)]
fn raise_recorded<T: Trust>(r: &mut Regs, m: &mut Machine, reraise: bool) -> Flow {
    if T::QUICK && m.backtrace_active {
        return SLOW;
    }
    m.roots.thread.exn = r.accu;
    if m.backtrace_active {
        r.push(Regs::code_value(r.pc.wrapping_sub(1)));
        m.save(r);
        m.record_backtrace(reraise);
        m.reload(r);
    }
    unwind(r, m)
}

/// Stops if the debugger wants that, then goes on with the instruction that it covers.
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

/// Runs pending actions, if there are any. They may raise, so what this returns is the last word of an instruction.
#[inline(always)]
pub(crate) fn poll<T: Trust>(r: &mut Regs, m: &mut Machine) -> Flow {
    if !m.action_due() {
        return NEXT;
    }
    if T::QUICK {
        return SLOW;
    }
    if run_due(r, m) { NEXT } else { raise_left(r, m) }
}

/// Runs pending actions. False when they leave something to be raised.
#[inline(always)]
fn run_due(r: &mut Regs, m: &mut Machine) -> bool {
    m.save(r);
    let gone_well = m.process_actions();
    m.reload(r);
    gone_well
}

/// Continues where the exception left in the machine is handled: in this activation, or not at all.
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
    r.accu = m.roots.thread.exn;
    NEXT
}

/// As [`unwind`], for what a primitive, an allocation or a signal handler left behind: an exception, or the wish
/// to leave altogether.
#[inline(always)]
pub(crate) fn raise_left(r: &mut Regs, m: &mut Machine) -> Flow {
    if m.leaving.is_some() {
        m.save(r);
        return leave();
    }
    unwind(r, m)
}
