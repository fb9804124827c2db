//! Frequently called primitives, as instructions: floats, boxed integers, elements of arrays and strings, atomic
//! fields, and comparisons of integers and strings. Each handles the usual cases and leaves the rest to the primitive
//! itself: cases that raise, values of other kinds, and in checked code what is refused. Also primitives that only
//! read their arguments, which are called without a frame.

use spelter_heap::raw::{CustomOps, MAX_YOUNG_WOSIZE, Value, tag};

use super::call::{c_call, c_call_read_only};
use super::{alloc, for_small, handlers, modify};
use crate::Machine;
use crate::exec::exit::{Flow, NEXT, SLOW};
use crate::exec::regs::{
    Regs, Trust, blit_bytes, boxed_word, byte, double, double_field, field, header, init_boxed, init_double,
    init_string, int, load_byte, offset_field, set_double_field, set_forward, store_byte, string_len,
    string_order, writable,
};
use crate::prim::custom::{INT32, INT64, NATIVEINT};

/// The value, if the access succeeds; otherwise calls the primitive `p` of `n` arguments.
macro_rules! value_or_call {
    ($r:ident, $m:ident, $n:literal, $p:ident, $e:expr) => {
        match $e {
            Ok(v) => v,
            Err(_) => return c_call::<T>($r, $m, $n, $p),
        }
    };
}

/// Continues if the condition holds, otherwise calls the primitive `p` of `n` arguments.
macro_rules! check_or_call {
    ($r:ident, $m:ident, $n:literal, $p:ident, $condition:expr) => {
        match $condition {
            true => {}
            false => return c_call::<T>($r, $m, $n, $p),
        }
    };
}

/// Returns a new float in accu, and pops `n` arguments.
#[inline(always)]
pub(super) fn put_float<T: Trust>(r: &mut Regs, m: &mut Machine, n: usize, x: f64) -> Flow {
    let b = alloc!(r, m, 1, tag::DOUBLE);
    init_double(b, 0, x);
    r.drop(n);
    r.accu = b;
    NEXT
}

/// Returns a new boxed integer in accu, and pops `n` arguments.
#[inline(always)]
pub(super) fn put_boxed<T: Trust>(
    r: &mut Regs,
    m: &mut Machine,
    n: usize,
    kind: &'static CustomOps,
    word: i64,
) -> Flow {
    let b = alloc!(r, m, 2, tag::CUSTOM);
    init_boxed(b, kind, word);
    r.drop(n);
    r.accu = b;
    NEXT
}

#[inline(always)]
fn float1<T: Trust>(r: &mut Regs, m: &mut Machine, f: impl FnOnce(f64) -> f64) -> Flow {
    let p = r.operand_usize();
    let x = f(value_or_call!(r, m, 1, p, double::<T>(r.accu)));
    put_float::<T>(r, m, 0, x)
}

#[inline(always)]
fn float2<T: Trust>(r: &mut Regs, m: &mut Machine, f: impl FnOnce(f64, f64) -> f64) -> Flow {
    let p = r.operand_usize();
    let x = value_or_call!(r, m, 2, p, double::<T>(r.accu));
    let x = f(x, value_or_call!(r, m, 2, p, double::<T>(r.peek(0))));
    put_float::<T>(r, m, 1, x)
}

#[inline(always)]
fn float_test<T: Trust>(r: &mut Regs, m: &mut Machine, f: impl FnOnce(f64, f64) -> bool) -> Flow {
    let p = r.operand_usize();
    let x = value_or_call!(r, m, 2, p, double::<T>(r.accu));
    let y = value_or_call!(r, m, 2, p, double::<T>(r.peek(0)));
    r.accu = Value::int(f(x, y) as i64);
    r.drop(1);
    NEXT
}

/// A comparison of two integers, by their words, which have the same order; or of two strings, if their first words
/// decide it.
#[inline(always)]
fn int_test<T: Trust>(r: &mut Regs, m: &mut Machine, f: impl FnOnce(i64, i64) -> i64) -> Flow {
    let p = r.operand_usize();
    let (a, b) = (r.accu.bits() as i64, r.peek(0).bits() as i64);
    if a & b & 1 == 0 {
        let is_string = |v: Value| v.is_block() && header::<T>(v).is_ok_and(|h| h.tag() == tag::STRING);
        // Comparing integers should not pay for the registers that comparing strings takes. A naked pointer has no header.
        let may_look = !T::QUICK && !m.heap.has_naked_pointers();
        if may_look && is_string(r.accu) && is_string(r.peek(0)) {
            return compare_strings::<T>(r, m, p, f);
        }
        return c_call_read_only::<T>(r, m, 2, p);
    }
    r.accu = Value::int(f(a, b));
    r.drop(1);
    NEXT
}

/// A comparison of two strings.
#[inline(always)]
fn string_test<T: Trust>(r: &mut Regs, m: &mut Machine, f: impl FnOnce(i64, i64) -> i64) -> Flow {
    let p = r.operand_usize();
    compare_strings::<T>(r, m, p, f)
}

#[inline(always)]
fn compare_strings<T: Trust>(
    r: &mut Regs,
    m: &mut Machine,
    p: usize,
    f: impl FnOnce(i64, i64) -> i64,
) -> Flow {
    let Ok(Some(order)) = string_order::<T>(r.accu, r.peek(0)) else {
        return c_call_read_only::<T>(r, m, 2, p);
    };
    r.accu = Value::int(f(order as i64, 0));
    r.drop(1);
    NEXT
}

#[inline(always)]
fn get_float<T: Trust>(r: &mut Regs, m: &mut Machine, i: usize, p: usize) -> Flow {
    let x = value_or_call!(r, m, 2, p, double_field::<T>(r.accu, i));
    put_float::<T>(r, m, 1, x)
}

#[inline(always)]
fn set_float<T: Trust>(r: &mut Regs, m: &mut Machine, i: usize, p: usize) -> Flow {
    let x = value_or_call!(r, m, 3, p, double::<T>(r.peek(1)));
    value_or_call!(r, m, 3, p, set_double_field::<T>(r.accu, i, x));
    r.drop(2);
    r.accu = Value::UNIT;
    NEXT
}

#[inline(always)]
fn set_addr<T: Trust>(r: &mut Regs, m: &mut Machine, i: usize, p: usize) -> Flow {
    value_or_call!(r, m, 3, p, writable::<T>(r.accu, i));
    modify!(r, m, r.accu, i, r.peek(1));
    r.drop(2);
    r.accu = Value::UNIT;
    NEXT
}

/// The index in `sp[0]`, and the header of the block in accu, after testing that the block has that element.
macro_rules! element {
    ($r:ident, $m:ident, $n:literal, $p:ident) => {{
        let i = value_or_call!($r, $m, $n, $p, int::<T>($r.peek(0))) as usize;
        let h = value_or_call!($r, $m, $n, $p, header::<T>($r.accu));
        check_or_call!($r, $m, $n, $p, i < h.wosize());
        (i, h)
    }};
}

/// The number of an atomic field, in `sp[0]`.
macro_rules! atomic_field {
    ($r:ident, $m:ident, $n:literal, $p:ident) => {
        value_or_call!($r, $m, $n, $p, int::<T>($r.peek(0))) as usize
    };
}

// Only the thread that has the machine runs instructions, so plain reads and writes are atomic. In each of these,
// `words` are the arguments on the stack: one more if the field's number is there.

#[inline(always)]
fn atomic_load<T: Trust>(r: &mut Regs, m: &mut Machine, p: usize, i: usize, words: usize) -> Flow {
    let Ok(v) = field::<T>(r.accu, i) else { return c_call::<T>(r, m, words + 1, p) };
    r.drop(words);
    r.accu = v;
    NEXT
}

#[inline(always)]
fn atomic_exchange<T: Trust>(r: &mut Regs, m: &mut Machine, p: usize, i: usize, words: usize) -> Flow {
    let Ok(old) = field::<T>(r.accu, i) else { return c_call::<T>(r, m, words + 1, p) };
    modify!(r, m, r.accu, i, r.peek(words - 1));
    r.drop(words);
    r.accu = old;
    NEXT
}

#[inline(always)]
fn atomic_cas<T: Trust>(r: &mut Regs, m: &mut Machine, p: usize, i: usize, words: usize) -> Flow {
    let Ok(v) = field::<T>(r.accu, i) else { return c_call::<T>(r, m, words + 1, p) };
    let unchanged = v == r.peek(words - 2);
    if unchanged {
        modify!(r, m, r.accu, i, r.peek(words - 1));
    }
    r.drop(words);
    r.accu = Value::int(unchanged.into());
    NEXT
}

#[inline(always)]
fn atomic_fetch_add<T: Trust>(r: &mut Regs, m: &mut Machine, p: usize, i: usize, words: usize) -> Flow {
    let sum = int::<T>(r.peek(words - 1)).and_then(|more| offset_field::<T>(r.accu, i, more));
    let Ok(old) = sum else { return c_call::<T>(r, m, words + 1, p) };
    r.drop(words);
    r.accu = old;
    NEXT
}

/// A binary operation on boxed integers.
#[inline(always)]
fn boxed2<T: Trust>(
    r: &mut Regs,
    m: &mut Machine,
    kind: &'static CustomOps,
    f: impl FnOnce(i64, i64) -> i64,
) -> Flow {
    let p = r.operand_usize();
    let a = value_or_call!(r, m, 2, p, boxed_word::<T>(r.accu, kind));
    let result = f(a, value_or_call!(r, m, 2, p, boxed_word::<T>(r.peek(0), kind)));
    put_boxed::<T>(r, m, 1, kind, result)
}

/// An operation on a boxed integer and an integer.
#[inline(always)]
fn boxed_shift<T: Trust>(
    r: &mut Regs,
    m: &mut Machine,
    kind: &'static CustomOps,
    f: impl FnOnce(i64, u32) -> i64,
) -> Flow {
    let p = r.operand_usize();
    let a = value_or_call!(r, m, 2, p, boxed_word::<T>(r.accu, kind));
    let result = f(a, value_or_call!(r, m, 2, p, int::<T>(r.peek(0))) as u32);
    put_boxed::<T>(r, m, 1, kind, result)
}

/// A conversion of a boxed integer to another kind.
#[inline(always)]
fn rebox<T: Trust>(
    r: &mut Regs,
    m: &mut Machine,
    from: &'static CustomOps,
    to: &'static CustomOps,
    f: impl FnOnce(i64) -> i64,
) -> Flow {
    let p = r.operand_usize();
    let result = f(value_or_call!(r, m, 1, p, boxed_word::<T>(r.accu, from)));
    put_boxed::<T>(r, m, 0, to, result)
}

#[inline(always)]
fn box_int<T: Trust>(
    r: &mut Regs,
    m: &mut Machine,
    kind: &'static CustomOps,
    f: impl FnOnce(i64) -> i64,
) -> Flow {
    let p = r.operand_usize();
    let result = f(value_or_call!(r, m, 1, p, int::<T>(r.accu)));
    put_boxed::<T>(r, m, 0, kind, result)
}

#[inline(always)]
fn unbox<T: Trust>(r: &mut Regs, m: &mut Machine, kind: &'static CustomOps) -> Flow {
    let p = r.operand_usize();
    r.accu = Value::int(value_or_call!(r, m, 1, p, boxed_word::<T>(r.accu, kind)));
    NEXT
}

/// Defines the instructions for one kind of boxed integer, whose values are extended to words.
macro_rules! boxed {
    ($kind:ident $int:ident $uint:ident: $add:ident $sub:ident $mul:ident $and:ident $or:ident $xor:ident $left:ident $right:ident $unsigned:ident $of_int:ident $to_int:ident) => {
        handlers! {
            $add(r, m) { return boxed2::<T>(r, m, &$kind, |a, b| (a as $int).wrapping_add(b as $int) as i64); }
            $sub(r, m) { return boxed2::<T>(r, m, &$kind, |a, b| (a as $int).wrapping_sub(b as $int) as i64); }
            $mul(r, m) { return boxed2::<T>(r, m, &$kind, |a, b| (a as $int).wrapping_mul(b as $int) as i64); }
            $and(r, m) { return boxed2::<T>(r, m, &$kind, |a, b| a & b); }
            $or(r, m) { return boxed2::<T>(r, m, &$kind, |a, b| a | b); }
            $xor(r, m) { return boxed2::<T>(r, m, &$kind, |a, b| a ^ b); }
            $left(r, m) { return boxed_shift::<T>(r, m, &$kind, |a, n| (a as $int).wrapping_shl(n) as i64); }
            $right(r, m) { return boxed_shift::<T>(r, m, &$kind, |a, n| (a as $int).wrapping_shr(n) as i64); }
            $unsigned(r, m) {
                return boxed_shift::<T>(r, m, &$kind, |a, n| (a as $uint).wrapping_shr(n) as $int as i64);
            }
            $of_int(r, m) { return box_int::<T>(r, m, &$kind, |a| a as $int as i64); }
            $to_int(r, m) { return unbox::<T>(r, m, &$kind); }
        }
    };
}
boxed!(INT64 i64 u64: INT64_ADD INT64_SUB INT64_MUL INT64_AND INT64_OR INT64_XOR INT64_SHIFT_LEFT INT64_SHIFT_RIGHT INT64_SHIFT_RIGHT_UNSIGNED INT64_OF_INT INT64_TO_INT);
boxed!(INT32 i32 u32: INT32_ADD INT32_SUB INT32_MUL INT32_AND INT32_OR INT32_XOR INT32_SHIFT_LEFT INT32_SHIFT_RIGHT INT32_SHIFT_RIGHT_UNSIGNED INT32_OF_INT INT32_TO_INT);
boxed!(NATIVEINT i64 u64: NATIVEINT_ADD NATIVEINT_SUB NATIVEINT_MUL NATIVEINT_AND NATIVEINT_OR NATIVEINT_XOR NATIVEINT_SHIFT_LEFT NATIVEINT_SHIFT_RIGHT NATIVEINT_SHIFT_RIGHT_UNSIGNED NATIVEINT_OF_INT NATIVEINT_TO_INT);

/// `Obj.tag` of an integer.
const INT_TAG: i64 = 1000;

/// The processor's conversion is not sufficient for floats of this magnitude and beyond.
const CONVERTIBLE: f64 = (1u64 << 62) as f64;

handlers! {
    INT64_TO_INT32(r, m) { return rebox::<T>(r, m, &INT64, &INT32, |a| a as i32 as i64); }
    INT64_OF_INT32(r, m) { return rebox::<T>(r, m, &INT32, &INT64, |a| a); }

    NEG_FLOAT(r, m) { return float1::<T>(r, m, |x| -x); }
    ABS_FLOAT(r, m) { return float1::<T>(r, m, f64::abs); }
    SQRT_FLOAT(r, m) { return float1::<T>(r, m, f64::sqrt); }
    FLOAT_OF_INT(r, m) {
        let p = r.operand_usize();
        let x = value_or_call!(r, m, 1, p, int::<T>(r.accu)) as f64;
        return put_float::<T>(r, m, 0, x);
    }
    INT_OF_FLOAT(r, m) {
        let p = r.operand_usize();
        let x = value_or_call!(r, m, 1, p, double::<T>(r.accu));
        check_or_call!(r, m, 1, p, x.abs() < CONVERTIBLE);
        r.accu = Value::int(x as i64);
    }
    ADD_FLOAT(r, m) { return float2::<T>(r, m, |x, y| x + y); }
    SUB_FLOAT(r, m) { return float2::<T>(r, m, |x, y| x - y); }
    MUL_FLOAT(r, m) { return float2::<T>(r, m, |x, y| x * y); }
    DIV_FLOAT(r, m) { return float2::<T>(r, m, |x, y| x / y); }
    EQ_FLOAT(r, m) { return float_test::<T>(r, m, |x, y| x == y); }
    NEQ_FLOAT(r, m) { return float_test::<T>(r, m, |x, y| x != y); }
    LT_FLOAT(r, m) { return float_test::<T>(r, m, |x, y| x < y); }
    LE_FLOAT(r, m) { return float_test::<T>(r, m, |x, y| x <= y); }
    GT_FLOAT(r, m) { return float_test::<T>(r, m, |x, y| x > y); }
    GE_FLOAT(r, m) { return float_test::<T>(r, m, |x, y| x >= y); }

    ARRAY_GET(r, m) {
        let p = r.operand_usize();
        let (i, h) = element!(r, m, 2, p);
        // `Obj.field` also reads strings and custom blocks, whose words may not be values.
        if h.tag() >= tag::NO_SCAN {
            check_or_call!(r, m, 2, p, h.tag() == tag::DOUBLE_ARRAY);
            return get_float::<T>(r, m, i, p);
        }
        r.accu = value_or_call!(r, m, 2, p, field::<T>(r.accu, i));
        r.drop(1);
    }
    ARRAY_GET_ADDR(r, m) {
        let p = r.operand_usize();
        let (i, _) = element!(r, m, 2, p);
        r.accu = value_or_call!(r, m, 2, p, field::<T>(r.accu, i));
        r.drop(1);
    }
    ARRAY_GET_FLOAT(r, m) {
        let p = r.operand_usize();
        let (i, _) = element!(r, m, 2, p);
        return get_float::<T>(r, m, i, p);
    }
    ARRAY_SET(r, m) {
        let p = r.operand_usize();
        let (i, h) = element!(r, m, 3, p);
        if h.tag() == tag::DOUBLE_ARRAY {
            return set_float::<T>(r, m, i, p);
        }
        return set_addr::<T>(r, m, i, p);
    }
    ARRAY_SET_ADDR(r, m) {
        let p = r.operand_usize();
        let (i, _) = element!(r, m, 3, p);
        return set_addr::<T>(r, m, i, p);
    }
    ARRAY_SET_FLOAT(r, m) {
        let p = r.operand_usize();
        let (i, _) = element!(r, m, 3, p);
        return set_float::<T>(r, m, i, p);
    }

    STRING_LENGTH(r, m) {
        let p = r.operand_usize();
        r.accu = Value::int(value_or_call!(r, m, 1, p, string_len::<T>(r.accu)) as i64);
    }
    STRING_GET(r, m) {
        let p = r.operand_usize();
        let i = value_or_call!(r, m, 2, p, int::<T>(r.peek(0)));
        check_or_call!(r, m, 2, p, (i as usize) < value_or_call!(r, m, 2, p, string_len::<T>(r.accu)));
        r.accu = Value::int(load_byte(value_or_call!(r, m, 2, p, byte::<T>(r.accu, i))) as i64);
        r.drop(1);
    }
    BYTES_SET(r, m) {
        let p = r.operand_usize();
        let i = value_or_call!(r, m, 3, p, int::<T>(r.peek(0)));
        let c = value_or_call!(r, m, 3, p, int::<T>(r.peek(1)));
        check_or_call!(r, m, 3, p, (i as usize) < value_or_call!(r, m, 3, p, string_len::<T>(r.accu)));
        store_byte(value_or_call!(r, m, 3, p, byte::<T>(r.accu, i)), c as u8);
        r.drop(2);
        r.accu = Value::UNIT;
    }

    CREATE_BYTES(r, m) {
        let p = r.operand_usize();
        let len = value_or_call!(r, m, 1, p, int::<T>(r.accu)) as usize;
        check_or_call!(r, m, 1, p, len < MAX_YOUNG_WOSIZE * 8);
        let wosize = len / 8 + 1;
        for_small!(wosize, {
            let b = alloc!(r, m, wosize, tag::STRING);
            init_string(b, wosize, len);
            r.accu = b;
        });
    }
    BLIT_BYTES(r, m) {
        let p = r.operand_usize();
        if T::QUICK {
            return SLOW;
        }
        let at = value_or_call!(r, m, 5, p, int::<T>(r.peek(0)));
        let to = value_or_call!(r, m, 5, p, int::<T>(r.peek(2)));
        let n = value_or_call!(r, m, 5, p, int::<T>(r.peek(3)));
        check_or_call!(r, m, 5, p, blit_bytes::<T>((r.accu, at), (r.peek(1), to), n));
        r.drop(4);
        r.accu = Value::UNIT;
    }
    /// Primitives that only change the type.
    IDENTITY(r, m) { r.operand(); }

    OBJ_TAG(r, m) {
        let p = r.operand_usize();
        if r.accu.is_int() {
            r.accu = Value::int(INT_TAG);
        } else {
            // A value outside the heap has a tag of its own, and perhaps no header.
            check_or_call!(r, m, 1, p, !m.heap.has_naked_pointers());
            let tag = value_or_call!(r, m, 1, p, header::<T>(r.accu)).tag();
            check_or_call!(r, m, 1, p, tag != tag::ABSTRACT);
            r.accu = Value::int(tag.into());
        }
    }
    /// Turns a suspended computation into a forced one.
    MAKE_FORWARD(r, m) {
        let p = r.operand_usize();
        check_or_call!(r, m, 2, p, r.accu.is_block());
        let h = value_or_call!(r, m, 2, p, header::<T>(r.accu));
        check_or_call!(r, m, 2, p, h.tag() == tag::LAZY && h.wosize() == 1);
        modify!(r, m, r.accu, 0, r.peek(0));
        set_forward(r.accu);
        r.drop(1);
        r.accu = Value::UNIT;
    }

    CONTINUATION_USE(r, m) {
        let p = r.operand_usize();
        let h = value_or_call!(r, m, 1, p, header::<T>(r.accu));
        check_or_call!(r, m, 1, p, h.tag() == tag::CONT && h.wosize() > 0);
        let fiber = value_or_call!(r, m, 1, p, field::<T>(r.accu, 0));
        modify!(r, m, r.accu, 0, Value::int(0));
        r.accu = fiber;
    }

    EQUAL(r, m) { return int_test::<T>(r, m, |a, b| (a == b) as i64); }
    NOTEQUAL(r, m) { return int_test::<T>(r, m, |a, b| (a != b) as i64); }
    LESSTHAN(r, m) { return int_test::<T>(r, m, |a, b| (a < b) as i64); }
    LESSEQUAL(r, m) { return int_test::<T>(r, m, |a, b| (a <= b) as i64); }
    GREATERTHAN(r, m) { return int_test::<T>(r, m, |a, b| (a > b) as i64); }
    GREATEREQUAL(r, m) { return int_test::<T>(r, m, |a, b| (a >= b) as i64); }
    COMPARE(r, m) { return int_test::<T>(r, m, |a, b| (a > b) as i64 - (a < b) as i64); }

    STRING_EQUAL(r, m) { return string_test::<T>(r, m, |a, b| (a == b) as i64); }
    STRING_NOTEQUAL(r, m) { return string_test::<T>(r, m, |a, b| (a != b) as i64); }
    STRING_COMPARE(r, m) { return string_test::<T>(r, m, |a, _| a); }

    ATOMIC_LOAD(r, m) { let p = r.operand_usize(); return atomic_load::<T>(r, m, p, 0, 0); }
    ATOMIC_EXCHANGE(r, m) { let p = r.operand_usize(); return atomic_exchange::<T>(r, m, p, 0, 1); }
    ATOMIC_CAS(r, m) { let p = r.operand_usize(); return atomic_cas::<T>(r, m, p, 0, 2); }
    ATOMIC_FETCH_ADD(r, m) { let p = r.operand_usize(); return atomic_fetch_add::<T>(r, m, p, 0, 1); }
    ATOMIC_LOAD_FIELD(r, m) {
        let p = r.operand_usize();
        let i = atomic_field!(r, m, 2, p);
        return atomic_load::<T>(r, m, p, i, 1);
    }
    ATOMIC_EXCHANGE_FIELD(r, m) {
        let p = r.operand_usize();
        let i = atomic_field!(r, m, 3, p);
        return atomic_exchange::<T>(r, m, p, i, 2);
    }
    ATOMIC_CAS_FIELD(r, m) {
        let p = r.operand_usize();
        let i = atomic_field!(r, m, 4, p);
        return atomic_cas::<T>(r, m, p, i, 3);
    }
    ATOMIC_FETCH_ADD_FIELD(r, m) {
        let p = r.operand_usize();
        let i = atomic_field!(r, m, 3, p);
        return atomic_fetch_add::<T>(r, m, p, i, 2);
    }

    READ_ONLY2(r, m) { let p = r.operand_usize(); return c_call_read_only::<T>(r, m, 2, p); }
    READ_ONLY4(r, m) { let p = r.operand_usize(); return c_call_read_only::<T>(r, m, 4, p); }
}
