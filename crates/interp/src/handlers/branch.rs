//! Branches. The immediate stands on the left of comparisons.

use spelter_heap::raw::Value;

use super::{access, handlers};
use crate::fault::Fault;
use crate::regs::header;

handlers! {
    BRANCH(r, m) { r.branch(); }
    BRANCHIF(r, m) { r.branch_if(r.accu != Value::FALSE); }
    BRANCHIFNOT(r, m) { r.branch_if(r.accu == Value::FALSE); }

    SWITCH(r, m) {
        let sizes = r.operand_usize();
        let (ints, blocks) = (sizes & 0xFFFF, (sizes >> 16) & 0xFFFF);
        let case = if r.accu.is_int() {
            let i = r.accu.as_int() as usize;
            if T::CHECKED && i >= ints {
                return m.fault(r.pc, Fault::Case(i));
            }
            i
        } else {
            let tag = access!(r, m, header::<T>(r.accu)).tag() as usize;
            if T::CHECKED && tag >= blocks {
                return m.fault(r.pc, Fault::Case(tag));
            }
            ints + tag
        };
        r.pc = r.target(r.operand_at(case));
    }

    BEQ(r, m) { let n = r.operand(); r.branch_if(n == r.accu.as_int()); }
    BNEQ(r, m) { let n = r.operand(); r.branch_if(n != r.accu.as_int()); }
    BLTINT(r, m) { let n = r.operand(); r.branch_if(n < r.accu.as_int()); }
    BLEINT(r, m) { let n = r.operand(); r.branch_if(n <= r.accu.as_int()); }
    BGTINT(r, m) { let n = r.operand(); r.branch_if(n > r.accu.as_int()); }
    BGEINT(r, m) { let n = r.operand(); r.branch_if(n >= r.accu.as_int()); }
    BULTINT(r, m) { let n = r.operand(); r.branch_if((n as u64) < r.accu.as_int() as u64); }
    BUGEINT(r, m) { let n = r.operand(); r.branch_if((n as u64) >= r.accu.as_int() as u64); }
}
