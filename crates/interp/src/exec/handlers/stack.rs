//! Stack and environment access, and constants.

use spelter_heap::raw::Value;

use super::handlers;
use crate::exec::regs::variable;

handlers! {
    ACC0(r, m) { r.accu = r.peek(0); }
    ACC1(r, m) { r.accu = r.peek(1); }
    ACC2(r, m) { r.accu = r.peek(2); }
    ACC3(r, m) { r.accu = r.peek(3); }
    ACC4(r, m) { r.accu = r.peek(4); }
    ACC5(r, m) { r.accu = r.peek(5); }
    ACC6(r, m) { r.accu = r.peek(6); }
    ACC7(r, m) { r.accu = r.peek(7); }
    ACC(r, m) { let n = r.operand_usize(); r.accu = r.peek(n); }
    PUSH(r, m) { r.push(r.accu); }
    PUSHACC0(r, m) { r.push(r.accu); }
    PUSHACC1(r, m) { r.push(r.accu); r.accu = r.peek(1); }
    PUSHACC2(r, m) { r.push(r.accu); r.accu = r.peek_alone(2); }
    PUSHACC3(r, m) { r.push(r.accu); r.accu = r.peek_alone(3); }
    PUSHACC4(r, m) { r.push(r.accu); r.accu = r.peek_alone(4); }
    PUSHACC5(r, m) { r.push(r.accu); r.accu = r.peek_alone(5); }
    PUSHACC6(r, m) { r.push(r.accu); r.accu = r.peek_alone(6); }
    PUSHACC7(r, m) { r.push(r.accu); r.accu = r.peek_alone(7); }
    PUSHACC(r, m) { r.push(r.accu); let n = r.operand_usize(); r.accu = r.peek(n); }
    POP(r, m) { let n = r.operand_usize(); r.drop(n); }
    ASSIGN(r, m) { let n = r.operand_usize(); r.poke(n, r.accu); r.accu = Value::UNIT; }

    ENVACC1(r, m) { r.accu = variable(r.env, 1); }
    ENVACC2(r, m) { r.accu = variable(r.env, 2); }
    ENVACC3(r, m) { r.accu = variable(r.env, 3); }
    ENVACC4(r, m) { r.accu = variable(r.env, 4); }
    ENVACC(r, m) { let n = r.operand_usize(); r.accu = variable(r.env, n); }
    PUSHENVACC1(r, m) { r.push(r.accu); r.accu = variable(r.env, 1); }
    PUSHENVACC2(r, m) { r.push(r.accu); r.accu = variable(r.env, 2); }
    PUSHENVACC3(r, m) { r.push(r.accu); r.accu = variable(r.env, 3); }
    PUSHENVACC4(r, m) { r.push(r.accu); r.accu = variable(r.env, 4); }
    PUSHENVACC(r, m) {
        r.push(r.accu);
        let n = r.operand_usize();
        r.accu = variable(r.env, n);
    }

    CONST0(r, m) { r.accu = Value::int(0); }
    CONST1(r, m) { r.accu = Value::int(1); }
    CONST2(r, m) { r.accu = Value::int(2); }
    CONST3(r, m) { r.accu = Value::int(3); }
    CONSTINT(r, m) { r.accu = Value::int(r.operand()); }
    PUSHCONST0(r, m) { r.push(r.accu); r.accu = Value::int(0); }
    PUSHCONST1(r, m) { r.push(r.accu); r.accu = Value::int(1); }
    PUSHCONST2(r, m) { r.push(r.accu); r.accu = Value::int(2); }
    PUSHCONST3(r, m) { r.push(r.accu); r.accu = Value::int(3); }
    PUSHCONSTINT(r, m) { r.push(r.accu); r.accu = Value::int(r.operand()); }
}
