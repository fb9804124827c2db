//! Which closures a unit's own instructions make. Whoever else makes some (`Marshal`) is held to that.

use spelter_bytecode::Opcode;
use spelter_bytecode::opcode::{Flow, OpcodeSet};

use crate::code::Unit;

/// What there is to know of a unit's code when its closures are read: found out once, as there may be many.
pub(crate) struct Shapes {
    /// The functions of each closure block and the number of its variables, in order.
    blocks: Vec<(Vec<i64>, usize)>,
    /// Where closures may lead, in order.
    functions: Vec<i64>,
    /// Where partial applications lead, in order.
    restarts: Vec<i64>,
    /// Whether closures lead to the code through the stub.
    pub(crate) through_stub: bool,
}

impl Shapes {
    pub(crate) fn of_code(words: &[i32], opcodes: OpcodeSet) -> Shapes {
        use Opcode::{CLOSURE_DYN, CLOSUREREC_DYN, GRAB_DYN};
        let (mut blocks, mut functions, mut restarts) = (Vec::new(), Vec::new(), Vec::new());
        let mut through_stub = false;
        for i in Unit::instructions(words, opcodes) {
            through_stub |= matches!(i.op, CLOSURE_DYN | CLOSUREREC_DYN | GRAB_DYN);
            match i.op.facts().flow {
                flow @ (Flow::Closure | Flow::ClosureRec) => {
                    let targets: Vec<i64> = i.targets().collect();
                    functions.extend_from_slice(&targets);
                    let variables = i.operands[usize::from(flow == Flow::ClosureRec)];
                    blocks.extend(usize::try_from(variables).ok().map(|variables| (targets, variables)));
                }
                // Of others nothing is known: no instruction makes a partial application that leads there.
                Flow::Restart if grabs(i.op, words.get(i.next())) => restarts.push(i.pos as i64),
                _ => {}
            }
        }
        functions.extend_from_slice(&restarts);
        functions.sort_unstable();
        functions.dedup();
        blocks.sort_unstable();
        blocks.dedup();
        Shapes { blocks, functions, restarts, through_stub }
    }

    /// Whether closures may lead to this position.
    pub(crate) fn is_function(&self, position: usize) -> bool {
        self.functions.binary_search(&(position as i64)).is_ok()
    }

    /// Whether there are closures of just these functions with that many variables.
    pub(crate) fn has_closure(&self, functions: &[usize], variables: usize) -> bool {
        let functions: Vec<i64> = functions.iter().map(|position| *position as i64).collect();
        // A partial application: the closure, and arguments.
        let partial = functions.len() == 1 && self.restarts.binary_search(&functions[0]).is_ok();
        (partial && variables >= 2) || self.blocks.binary_search(&(functions, variables)).is_ok()
    }
}

/// Whether the instruction behind a `RESTART` is the `GRAB` that leads to it.
fn grabs(restart: Opcode, next: Option<&i32>) -> bool {
    let grab = if restart == Opcode::RESTART_DYN { Opcode::GRAB_DYN } else { Opcode::GRAB };
    next == Some(&grab.word())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: OpcodeSet = OpcodeSet::V4.with_internal();

    #[test]
    fn closures_are_of_the_shapes_that_instructions_make() {
        let stop = Opcode::STOP.word();
        let words = [
            &[Opcode::CLOSURE.word(), 2, 9][..],
            &[Opcode::CLOSUREREC.word(), 2, 1, 8, 9],
            &[stop, stop, Opcode::RESTART.word()],
            &[Opcode::GRAB.word(), 1, stop, stop, stop],
        ];
        let shapes = Shapes::of_code(&words.concat(), CODE);
        let functions: Vec<usize> = (0..20).filter(|position| shapes.is_function(*position)).collect();
        assert_eq!(functions, [10, 11, 14, 15]);
        assert!(
            shapes.has_closure(&[11], 2) && !shapes.has_closure(&[11], 1) && !shapes.has_closure(&[14], 1)
        );
        assert!(shapes.has_closure(&[14, 15], 1) && !shapes.has_closure(&[15, 14], 1));
        assert!(
            shapes.has_closure(&[10], 2) && shapes.has_closure(&[10], 9) && !shapes.has_closure(&[10], 1)
        );
        assert!(!shapes.through_stub && !shapes.has_closure(&[], 0));
    }

    #[test]
    fn partial_applications_are_of_functions_that_grab() {
        use Opcode::{GRAB, GRAB_DYN, RESTART, RESTART_DYN, RETURN};
        for (restart, next, is_one) in [
            (RESTART, GRAB, true),
            (RESTART, RETURN, false),
            (RESTART, GRAB_DYN, false),
            (RESTART_DYN, GRAB_DYN, true),
            (RESTART_DYN, GRAB, false),
        ] {
            let shapes = Shapes::of_code(&[restart.word(), next.word(), 1], CODE);
            assert_eq!(shapes.is_function(0), is_one, "{restart} {next}");
            assert_eq!(shapes.has_closure(&[0], 2), is_one, "{restart} {next}");
        }
        assert!(!Shapes::of_code(&[RESTART.word()], CODE).is_function(0));
    }
}
