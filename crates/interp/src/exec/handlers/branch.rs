//! Branches. In comparisons, the immediate is the left operand.

use spelter_heap::raw::Value;

use super::{access, handlers};
use crate::Machine;
use crate::exec::exit::{Flow, NEXT};
use crate::exec::fault::Fault;
use crate::exec::handlers::exn::poll;
use crate::exec::regs::{Regs, Trust, header, int};

/// Jumps. Compilers insert tests for signals into every loop. Checked code tests at every backward jump, so that loops
/// without such a test can be stopped, too.
#[inline(always)]
fn jump<T: Trust>(r: &mut Regs, m: &mut Machine, displacement: i64) -> Flow {
    r.pc = r.target(displacement);
    if T::CHECKED && displacement < 0 { poll::<T>(r, m) } else { NEXT }
}

/// Jumps by the next operand, or skips it.
#[inline(always)]
fn jump_if<T: Trust>(r: &mut Regs, m: &mut Machine, taken: bool) -> Flow {
    let displacement = if taken { r.operand_at(0) } else { 1 };
    jump::<T>(r, m, displacement)
}

/// Jumps if the comparison of the immediate with the integer in accu is true.
#[inline(always)]
fn jump_if_int<T: Trust>(r: &mut Regs, m: &mut Machine, f: impl FnOnce(i64, i64) -> bool) -> Flow {
    let n = r.operand();
    let i = access!(r, m, int::<T>(r.accu));
    jump_if::<T>(r, m, f(n, i))
}

handlers! {
    BRANCH(r, m) { return jump::<T>(r, m, r.operand_at(0)); }
    BRANCHIF(r, m) { return jump_if::<T>(r, m, r.accu != Value::FALSE); }
    BRANCHIFNOT(r, m) { return jump_if::<T>(r, m, r.accu == Value::FALSE); }

    SWITCH(r, m) {
        let sizes = r.operand_usize();
        let (ints, blocks) = (sizes & 0xFFFF, (sizes >> 16) & 0xFFFF);
        let case = if r.accu.is_int() {
            let i = r.accu.as_int() as usize;
            if T::CHECKED && i >= ints {
                access!(r, m, Err(Fault::Case(i)));
            }
            i
        } else {
            let tag = access!(r, m, header::<T>(r.accu)).tag() as usize;
            if T::CHECKED && tag >= blocks {
                access!(r, m, Err(Fault::Case(tag)));
            }
            ints + tag
        };
        return jump::<T>(r, m, r.operand_at(case));
    }

    // A block never equals a tagged immediate.
    BEQ(r, m) { let n = r.operand(); return jump_if::<T>(r, m, Value::int(n) == r.accu); }
    BNEQ(r, m) { let n = r.operand(); return jump_if::<T>(r, m, Value::int(n) != r.accu); }
    BLTINT(r, m) { return jump_if_int::<T>(r, m, |n, i| n < i); }
    BLEINT(r, m) { return jump_if_int::<T>(r, m, |n, i| n <= i); }
    BGTINT(r, m) { return jump_if_int::<T>(r, m, |n, i| n > i); }
    BGEINT(r, m) { return jump_if_int::<T>(r, m, |n, i| n >= i); }
    BULTINT(r, m) { return jump_if_int::<T>(r, m, |n, i| (n as u64) < i as u64); }
    BUGEINT(r, m) { return jump_if_int::<T>(r, m, |n, i| n as u64 >= i as u64); }
}
