//! Globals of the program, and slots of loaded units.

use spelter_heap::raw::Value;

use super::{access, handlers, modify};
use crate::exec::regs::{field, global, object_field, slot_at, writable};
use crate::layout::OBJECT_SLOTS;

handlers! {
    GETGLOBAL(r, m) {
        let g = r.operand_usize();
        r.accu = global(m.roots.globals, g);
    }
    PUSHGETGLOBAL(r, m) {
        r.push(r.accu);
        let g = r.operand_usize();
        r.accu = global(m.roots.globals, g);
    }
    GETGLOBALFIELD(r, m) {
        let g = r.operand_usize();
        let n = r.operand_usize();
        let module = global(m.roots.globals, g);
        r.accu = access!(r, m, field::<T>(module, n));
    }
    PUSHGETGLOBALFIELD(r, m) {
        r.push(r.accu);
        let g = r.operand_usize();
        let n = r.operand_usize();
        let module = global(m.roots.globals, g);
        r.accu = access!(r, m, field::<T>(module, n));
    }
    SETGLOBAL(r, m) {
        let g = r.operand_usize();
        modify!(r, m, m.roots.globals, g, r.accu);
        r.accu = Value::UNIT;
    }

    GETSLOT(r, m) {
        let at = r.operand();
        r.accu = slot_at(at);
    }
    PUSHGETSLOT(r, m) {
        r.push(r.accu);
        let at = r.operand();
        r.accu = slot_at(at);
    }
    GETSLOTFIELD(r, m) {
        let at = r.operand();
        let n = r.operand_usize();
        r.accu = access!(r, m, field::<T>(slot_at(at), n));
    }
    PUSHGETSLOTFIELD(r, m) {
        r.push(r.accu);
        let at = r.operand();
        let n = r.operand_usize();
        r.accu = access!(r, m, field::<T>(slot_at(at), n));
    }
    SETSLOT(r, m) {
        let s = r.operand_usize();
        let slots = object_field(r.env, OBJECT_SLOTS);
        access!(r, m, writable::<T>(slots, s));
        modify!(r, m, slots, s, r.accu);
        r.accu = Value::UNIT;
    }
}
