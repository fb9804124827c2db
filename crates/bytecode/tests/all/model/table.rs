//! The effect of each instruction on the state: the reference's table, in its order, in executable form.
//!
//! Only shapes are computed. The checked machine's run-time checks (that a value is a block, that an index is within
//! it) may raise, and the machine of shapes raises between any two instructions anyway.

use spelter_bytecode::Instr;
use spelter_bytecode::Opcode::{self, *};

use super::machine::{Machine, Step, Value, Wrong};

/// Executes one instruction; `pc` is already at the next one.
pub(super) fn execute(m: &mut Machine<'_>, i: &Instr<'_>) -> Step {
    let operand = |n: usize| i64::from(i.operands[n]);
    let count = |n: usize| usize::try_from(i.operands[n]).map_err(|_| Wrong::Operand);
    let size = |n: usize| count(n).and_then(|size| if size > 0 { Ok(size) } else { Err(Wrong::Operand) });
    let nth = |first: Opcode| i64::from(i.op.word() - first.word());
    match i.op {
        // The stack.
        ACC0 | ACC1 | ACC2 | ACC3 | ACC4 | ACC5 | ACC6 | ACC7 => m.acc(nth(ACC0))?,
        ACC => m.acc(operand(0))?,
        PUSH => m.push(),
        PUSHACC0 | PUSHACC1 | PUSHACC2 | PUSHACC3 | PUSHACC4 | PUSHACC5 | PUSHACC6 | PUSHACC7 => {
            m.push();
            m.acc(nth(PUSHACC0))?;
        }
        PUSHACC => {
            m.push();
            m.acc(operand(0))?;
        }
        POP => m.pop(count(0)?)?,
        ASSIGN => m.assign(operand(0))?,

        // The environment.
        ENVACC1 | ENVACC2 | ENVACC3 | ENVACC4 => m.envacc(1 + nth(ENVACC1))?,
        ENVACC => m.envacc(operand(0))?,
        PUSHENVACC1 | PUSHENVACC2 | PUSHENVACC3 | PUSHENVACC4 => {
            m.push();
            m.envacc(1 + nth(PUSHENVACC1))?;
        }
        PUSHENVACC => {
            m.push();
            m.envacc(operand(0))?;
        }

        // Calls.
        PUSH_RETADDR => m.push_return_frame(target(i)),
        APPLY => m.apply(size(0)?)?,
        APPLY1 => m.apply_few(1)?,
        APPLY2 => m.apply_few(2)?,
        APPLY3 => m.apply_few(3)?,
        APPTERM => m.appterm(size(0)?, count(1)?)?,
        APPTERM1 => m.appterm(1, count(0)?)?,
        APPTERM2 => m.appterm(2, count(0)?)?,
        APPTERM3 => m.appterm(3, count(0)?)?,
        RETURN => m.return_(count(0)?)?,
        RESTART => m.restart()?,
        GRAB => m.grab(i.pos as i64, count(0)?)?,

        // Closures.
        CLOSURE => m.closures(i).map(|_| ())?,
        CLOSUREREC => {
            let block = m.closures(i)?;
            for index in 0..block.entries.len() {
                m.accu = Value::Closure(block.clone(), index);
                m.push();
            }
            m.accu = Value::Closure(block, 0);
        }
        OFFSETCLOSUREM3 => m.offset_closure(-3)?,
        OFFSETCLOSURE0 => m.offset_closure(0)?,
        OFFSETCLOSURE3 => m.offset_closure(3)?,
        OFFSETCLOSURE => m.offset_closure(operand(0))?,
        PUSHOFFSETCLOSUREM3 => {
            m.push();
            m.offset_closure(-3)?;
        }
        PUSHOFFSETCLOSURE0 => {
            m.push();
            m.offset_closure(0)?;
        }
        PUSHOFFSETCLOSURE3 => {
            m.push();
            m.offset_closure(3)?;
        }
        PUSHOFFSETCLOSURE => {
            m.push();
            m.offset_closure(operand(0))?;
        }

        // Globals.
        GETGLOBAL => global(m, count(0)?)?,
        PUSHGETGLOBAL => {
            m.push();
            global(m, count(0)?)?;
        }
        GETGLOBALFIELD => {
            count(1)?;
            global(m, count(0)?)?;
        }
        PUSHGETGLOBALFIELD => {
            count(1)?;
            m.push();
            global(m, count(0)?)?;
        }
        SETGLOBAL => {
            global(m, count(0)?)?;
            m.accu = Value::Int;
        }

        // Blocks.
        ATOM0 => m.accu = Value::Block,
        ATOM => {
            tag(operand(0))?;
            m.accu = Value::Block;
        }
        PUSHATOM0 => {
            m.push();
            m.accu = Value::Block;
        }
        PUSHATOM => {
            tag(operand(0))?;
            m.push();
            m.accu = Value::Block;
        }
        MAKEBLOCK => {
            tag(operand(1))?;
            combine(m, size(0)? - 1, Value::Block)?;
        }
        MAKEBLOCK1 | MAKEBLOCK2 | MAKEBLOCK3 => {
            tag(operand(0))?;
            combine(m, nth(MAKEBLOCK1) as usize, Value::Block)?;
        }
        MAKEFLOATBLOCK => combine(m, size(0)? - 1, Value::Block)?,
        GETFIELD0 | GETFIELD1 | GETFIELD2 | GETFIELD3 => m.accu = Value::Unknown,
        GETFIELD => {
            count(0)?;
            m.accu = Value::Unknown;
        }
        GETFLOATFIELD => {
            count(0)?;
            m.accu = Value::Block;
        }
        SETFIELD0 | SETFIELD1 | SETFIELD2 | SETFIELD3 => combine(m, 1, Value::Int)?,
        SETFIELD | SETFLOATFIELD => {
            count(0)?;
            combine(m, 1, Value::Int)?;
        }
        VECTLENGTH => m.accu = Value::Int,
        GETVECTITEM => combine(m, 1, Value::Unknown)?,
        SETVECTITEM => combine(m, 2, Value::Int)?,
        GETBYTESCHAR => combine(m, 1, Value::Int)?,
        SETBYTESCHAR => combine(m, 2, Value::Int)?,

        // Branches. Values are unknown, so both directions are possible.
        BRANCH => m.jump(target(i)),
        BRANCHIF | BRANCHIFNOT => m.choose(&[target(i), i.next() as i64]),
        SWITCH => {
            let cases: Vec<i64> = i.targets().collect();
            if cases.is_empty() {
                m.raise()?;
            } else {
                m.choose(&cases);
            }
        }
        BOOLNOT => m.accu = Value::Int,

        // Exceptions.
        PUSHTRAP => m.push_trap(target(i)),
        POPTRAP => m.pop_trap()?,
        RAISE | RERAISE | RAISE_NOTRACE => m.raise()?,
        CHECK_SIGNALS => {}

        // Primitives: the last argument of `C_CALL`k is the k-th, so k − 1 of them are on the stack.
        C_CALL1 | C_CALL2 | C_CALL3 | C_CALL4 | C_CALL5 => {
            primitive(m, count(0)?)?;
            combine(m, nth(C_CALL1) as usize, Value::Unknown)?;
        }
        C_CALLN => {
            primitive(m, count(1)?)?;
            combine(m, size(0)? - 1, Value::Unknown)?;
        }

        // Integers.
        CONST0 | CONST1 | CONST2 | CONST3 | CONSTINT => m.accu = Value::Int,
        PUSHCONST0 | PUSHCONST1 | PUSHCONST2 | PUSHCONST3 | PUSHCONSTINT => {
            m.push();
            m.accu = Value::Int;
        }
        NEGINT | OFFSETINT | OFFSETREF | ISINT => m.accu = Value::Int,
        ADDINT | SUBINT | MULINT | DIVINT | MODINT => combine(m, 1, Value::Int)?,
        ANDINT | ORINT | XORINT | LSLINT | LSRINT | ASRINT => combine(m, 1, Value::Int)?,
        EQ | NEQ | LTINT | LEINT | GTINT | GEINT | ULTINT | UGEINT => combine(m, 1, Value::Int)?,
        BEQ | BNEQ | BLTINT | BLEINT | BGTINT | BGEINT | BULTINT | BUGEINT => {
            m.choose(&[target(i), i.next() as i64]);
        }

        // Methods: the object stays on the stack.
        GETMETHOD | GETDYNMET => {
            m.acc(0)?;
            m.accu = Value::Unknown;
        }
        GETPUBMET => {
            m.push();
            m.accu = Value::Unknown;
        }
        STOP => m.stop()?,
        GETSTRINGCHAR => combine(m, 1, Value::Int)?,

        // Effects, in the form since 5.2. Other stacks are not modelled: what runs there ends, never returns, or raises.
        PERFORM => m.elsewhere()?,
        RESUME => {
            m.pop(3)?;
            m.elsewhere()?;
        }
        RESUMETERM => m.leave_for_fiber(3, count(0)?)?,
        REPERFORMTERM => m.leave_for_fiber(2, count(0)?)?,

        // Instructions of the debugger and of the patcher do not occur in files.
        _ => return Err(Wrong::NoInstruction),
    }
    Ok(())
}

/// Its only target.
fn target(i: &Instr<'_>) -> i64 {
    i.targets().next().expect("an instruction with an offset")
}

/// Computes a value from the accumulator and this many words of the stack.
fn combine(m: &mut Machine<'_>, words: usize, result: Value) -> Step {
    m.pop(words)?;
    m.accu = result;
    Ok(())
}

fn global(m: &mut Machine<'_>, index: usize) -> Step {
    m.accu = Value::Unknown;
    if index < m.code.globals { Ok(()) } else { Err(Wrong::Operand) }
}

fn primitive(m: &mut Machine<'_>, index: usize) -> Step {
    if index < m.code.prims { Ok(()) } else { Err(Wrong::Operand) }
}

/// Tags that code may set on blocks of values. Closures (247) and infix headers (249) hold code addresses; from 251
/// on, the collector does not scan blocks, and primitives expect bytes, numbers and C pointers there.
fn tag(tag: i64) -> Step {
    match tag {
        0..=246 | 248 | 250 => Ok(()),
        _ => Err(Wrong::Operand),
    }
}
