//! Integer arithmetic: 63 bits, wrapping, on tagged words.

use spelter_heap::raw::Value;

use super::{access, handlers};
use crate::Machine;
use crate::exec::exit::{Flow, NEXT, SLOW};
use crate::exec::handlers::exn::raise_left;
use crate::exec::regs::{Regs, Trust, int, ints, offset_ref};
use crate::prim::Raise;

fn bool(b: bool) -> Value {
    Value::int(b as i64)
}

fn tagged(bits: u64) -> Value {
    Value::from_bits(bits)
}

/// Shift counts beyond 63 are unspecified in OCaml; this is what x86-64 does.
fn count(v: i64) -> u32 {
    v as u32 & 63
}

/// Compares two integers by their words, which have the same order.
#[inline(always)]
fn compare<T: Trust>(r: &mut Regs, m: &mut Machine, f: impl FnOnce(u64, u64) -> bool) -> Flow {
    let b = r.pop();
    access!(r, m, ints::<T>(r.accu, b));
    r.accu = bool(f(r.accu.bits(), b.bits()));
    NEXT
}

// A tagged word is 2n + 1: most operations need no untagging, only a correction of the tag bit.
handlers! {
    NEGINT(r, m) {
        access!(r, m, int::<T>(r.accu));
        r.accu = tagged(2u64.wrapping_sub(r.accu.bits()));
    }
    ADDINT(r, m) {
        let b = r.pop();
        access!(r, m, ints::<T>(r.accu, b));
        let (a, b) = (r.accu.bits(), b.bits());
        r.accu = tagged(a.wrapping_add(b).wrapping_sub(1));
    }
    SUBINT(r, m) {
        let b = r.pop();
        access!(r, m, ints::<T>(r.accu, b));
        let (a, b) = (r.accu.bits(), b.bits());
        r.accu = tagged(a.wrapping_sub(b).wrapping_add(1));
    }
    MULINT(r, m) {
        let b = r.pop();
        let (a, b) = (access!(r, m, int::<T>(r.accu)), access!(r, m, int::<T>(b)));
        r.accu = Value::int(a.wrapping_mul(b));
    }
    DIVINT(r, m) {
        let b = r.pop();
        let (a, b) = (access!(r, m, int::<T>(r.accu)), access!(r, m, int::<T>(b)));
        if b == 0 {
            return division_by_zero::<T>(r, m);
        }
        r.accu = Value::int(a.wrapping_div(b));
    }
    MODINT(r, m) {
        let b = r.pop();
        let (a, b) = (access!(r, m, int::<T>(r.accu)), access!(r, m, int::<T>(b)));
        if b == 0 {
            return division_by_zero::<T>(r, m);
        }
        r.accu = Value::int(a.wrapping_rem(b));
    }
    ANDINT(r, m) {
        let b = r.pop();
        access!(r, m, ints::<T>(r.accu, b));
        let (a, b) = (r.accu.bits(), b.bits());
        r.accu = tagged(a & b);
    }
    ORINT(r, m) {
        let b = r.pop();
        access!(r, m, ints::<T>(r.accu, b));
        let (a, b) = (r.accu.bits(), b.bits());
        r.accu = tagged(a | b);
    }
    XORINT(r, m) {
        let b = r.pop();
        access!(r, m, ints::<T>(r.accu, b));
        let (a, b) = (r.accu.bits(), b.bits());
        r.accu = tagged((a ^ b) | 1);
    }
    LSLINT(r, m) {
        let b = r.pop();
        let (a, b) = (access!(r, m, int::<T>(r.accu)), access!(r, m, int::<T>(b)));
        r.accu = Value::int(a << count(b));
    }
    LSRINT(r, m) {
        let b = r.pop();
        let (_, b) = (access!(r, m, int::<T>(r.accu)), access!(r, m, int::<T>(b)));
        r.accu = tagged((r.accu.bits() >> count(b)) | 1);
    }
    ASRINT(r, m) {
        let b = r.pop();
        let (a, b) = (access!(r, m, int::<T>(r.accu)), access!(r, m, int::<T>(b)));
        r.accu = Value::int(a >> count(b));
    }

    EQ(r, m) { let b = r.pop(); r.accu = bool(r.accu == b); }
    NEQ(r, m) { let b = r.pop(); r.accu = bool(r.accu != b); }
    LTINT(r, m) { return compare::<T>(r, m, |a, b| (a as i64) < b as i64); }
    LEINT(r, m) { return compare::<T>(r, m, |a, b| a as i64 <= b as i64); }
    GTINT(r, m) { return compare::<T>(r, m, |a, b| a as i64 > b as i64); }
    GEINT(r, m) { return compare::<T>(r, m, |a, b| a as i64 >= b as i64); }
    ULTINT(r, m) { return compare::<T>(r, m, |a, b| a < b); }
    UGEINT(r, m) { return compare::<T>(r, m, |a, b| a >= b); }

    OFFSETINT(r, m) {
        access!(r, m, int::<T>(r.accu));
        let by = r.operand();
        r.accu = tagged(r.accu.bits().wrapping_add_signed(by << 1));
    }
    OFFSETREF(r, m) {
        let by = r.operand();
        access!(r, m, offset_ref::<T>(r.accu, by));
        r.accu = Value::UNIT;
    }
    ISINT(r, m) { r.accu = bool(r.accu.is_int()); }
    BOOLNOT(r, m) {
        access!(r, m, int::<T>(r.accu));
        r.accu = tagged(4u64.wrapping_sub(r.accu.bits()));
    }
}

/// Raises `Division_by_zero`. As for an exception of a primitive, the backtrace begins with the address pushed here.
#[inline(always)]
fn division_by_zero<T: Trust>(r: &mut Regs, m: &mut Machine) -> Flow {
    if T::QUICK {
        return SLOW;
    }
    r.push(r.env);
    r.push(Regs::code_value(r.pc));
    m.save(r);
    m.leave_exn(Raise::DivisionByZero);
    m.reload(r);
    raise_left(r, m)
}
