//! Blocks, strings and float arrays.

use spelter_heap::raw::{Value, tag};

use super::{access, alloc, for_small, handlers, modify};
use crate::exec::regs::{
    byte, double, double_field, field, header, init_double, init_field, int, load_byte, set_double_field,
    store_byte, writable,
};

handlers! {
    ATOM0(r, m) { r.accu = m.heap.atom(0); }
    ATOM(r, m) { let t = r.operand_usize(); r.accu = m.heap.atom(t as u8); }
    PUSHATOM0(r, m) { r.push(r.accu); r.accu = m.heap.atom(0); }
    PUSHATOM(r, m) { r.push(r.accu); let t = r.operand_usize(); r.accu = m.heap.atom(t as u8); }

    MAKEBLOCK(r, m) {
        let wosize = r.operand_usize();
        let t = r.operand() as u8;
        for_small!(wosize, {
            let b = alloc!(r, m, wosize, t);
            init_field(&mut m.heap, b, wosize, 0, r.accu);
            for i in 1..wosize {
                init_field(&mut m.heap, b, wosize, i, r.peek_alone(i - 1));
            }
            r.drop(wosize - 1);
            r.accu = b;
        });
    }
    MAKEBLOCK1(r, m) {
        let t = r.operand() as u8;
        let b = alloc!(r, m, 1, t);
        init_field(&mut m.heap, b, 1, 0, r.accu);
        r.accu = b;
    }
    MAKEBLOCK2(r, m) {
        let t = r.operand() as u8;
        let b = alloc!(r, m, 2, t);
        init_field(&mut m.heap, b, 2, 0, r.accu);
        init_field(&mut m.heap, b, 2, 1, r.peek(0));
        r.drop(1);
        r.accu = b;
    }
    MAKEBLOCK3(r, m) {
        let t = r.operand() as u8;
        let b = alloc!(r, m, 3, t);
        init_field(&mut m.heap, b, 3, 0, r.accu);
        init_field(&mut m.heap, b, 3, 1, r.peek_alone(0));
        init_field(&mut m.heap, b, 3, 2, r.peek_alone(1));
        r.drop(2);
        r.accu = b;
    }
    MAKEFLOATBLOCK(r, m) {
        let size = r.operand_usize();
        let b = alloc!(r, m, size, tag::DOUBLE_ARRAY);
        init_double(b, 0, access!(r, m, double::<T>(r.accu)));
        for i in 1..size {
            init_double(b, i, access!(r, m, double::<T>(r.peek(i - 1))));
        }
        r.drop(size - 1);
        r.accu = b;
    }

    GETFIELD0(r, m) { r.accu = access!(r, m, field::<T>(r.accu, 0)); }
    GETFIELD1(r, m) { r.accu = access!(r, m, field::<T>(r.accu, 1)); }
    GETFIELD2(r, m) { r.accu = access!(r, m, field::<T>(r.accu, 2)); }
    GETFIELD3(r, m) { r.accu = access!(r, m, field::<T>(r.accu, 3)); }
    GETFIELD(r, m) { let n = r.operand_usize(); r.accu = access!(r, m, field::<T>(r.accu, n)); }
    GETFLOATFIELD(r, m) {
        let n = r.operand_usize();
        let f = access!(r, m, double_field::<T>(r.accu, n));
        let b = alloc!(r, m, 1, tag::DOUBLE);
        init_double(b, 0, f);
        r.accu = b;
    }

    SETFIELD0(r, m) {
        access!(r, m, writable::<T>(r.accu, 0));
        modify!(r, m, r.accu, 0, r.peek(0));
        r.drop(1);
        r.accu = Value::UNIT;
    }
    SETFIELD1(r, m) {
        access!(r, m, writable::<T>(r.accu, 1));
        modify!(r, m, r.accu, 1, r.peek(0));
        r.drop(1);
        r.accu = Value::UNIT;
    }
    SETFIELD2(r, m) {
        access!(r, m, writable::<T>(r.accu, 2));
        modify!(r, m, r.accu, 2, r.peek(0));
        r.drop(1);
        r.accu = Value::UNIT;
    }
    SETFIELD3(r, m) {
        access!(r, m, writable::<T>(r.accu, 3));
        modify!(r, m, r.accu, 3, r.peek(0));
        r.drop(1);
        r.accu = Value::UNIT;
    }
    SETFIELD(r, m) {
        let n = r.operand_usize();
        access!(r, m, writable::<T>(r.accu, n));
        modify!(r, m, r.accu, n, r.peek(0));
        r.drop(1);
        r.accu = Value::UNIT;
    }
    SETFLOATFIELD(r, m) {
        let n = r.operand_usize();
        let f = access!(r, m, double::<T>(r.peek(0)));
        access!(r, m, set_double_field::<T>(r.accu, n, f));
        r.drop(1);
        r.accu = Value::UNIT;
    }

    VECTLENGTH(r, m) {
        // A double is a word here, so both kinds of array have as many elements as words.
        r.accu = Value::int(access!(r, m, header::<T>(r.accu)).wosize() as i64);
    }
    GETVECTITEM(r, m) {
        let i = access!(r, m, int::<T>(r.peek(0)));
        r.accu = access!(r, m, field::<T>(r.accu, i as usize));
        r.drop(1);
    }
    SETVECTITEM(r, m) {
        let i = access!(r, m, int::<T>(r.peek(0))) as usize;
        access!(r, m, writable::<T>(r.accu, i));
        modify!(r, m, r.accu, i, r.peek(1));
        r.drop(2);
        r.accu = Value::UNIT;
    }

    GETBYTESCHAR(r, m) {
        let i = access!(r, m, int::<T>(r.peek(0)));
        r.accu = Value::int(load_byte(access!(r, m, byte::<T>(r.accu, i))) as i64);
        r.drop(1);
    }
    GETSTRINGCHAR(r, m) {
        let i = access!(r, m, int::<T>(r.peek(0)));
        r.accu = Value::int(load_byte(access!(r, m, byte::<T>(r.accu, i))) as i64);
        r.drop(1);
    }
    SETBYTESCHAR(r, m) {
        let i = access!(r, m, int::<T>(r.peek(0)));
        let b = access!(r, m, int::<T>(r.peek(1)));
        store_byte(access!(r, m, byte::<T>(r.accu, i)), b as u8);
        r.drop(2);
        r.accu = Value::UNIT;
    }
}
