//! The shapes of closures that a unit's own instructions make. Closures from elsewhere (`Marshal`) must have one of
//! these shapes.

use spelter_bytecode::Opcode;
use spelter_bytecode::opcode::{Flow, OpcodeSet};
use spelter_heap::OutOfMemory;

use crate::code::Unit;
use crate::fallible;

/// What must be known of a unit's code to read its closures. It is computed once, because there may be many.
pub(crate) struct Shapes {
    /// The functions of each closure block and the number of its variables, in order.
    blocks: Vec<(Vec<i64>, usize)>,
    /// The positions of functions that closures may refer to, sorted.
    functions: Vec<i64>,
    /// The positions that partial applications refer to, sorted.
    restarts: Vec<i64>,
    /// Whether closures refer to the code through the stub.
    pub(crate) through_stub: bool,
}

impl Shapes {
    pub(crate) fn of_code(words: &[i32], opcodes: OpcodeSet) -> Result<Shapes, OutOfMemory> {
        use Opcode::{CLOSURE_DYN, CLOSUREREC_DYN, GRAB_DYN};
        let (mut blocks, mut functions, mut restarts) = (Vec::new(), Vec::new(), Vec::new());
        let mut through_stub = false;
        for i in Unit::instructions(words, opcodes) {
            through_stub |= matches!(i.op, CLOSURE_DYN | CLOSUREREC_DYN | GRAB_DYN);
            match i.op.facts().flow {
                flow @ (Flow::Closure | Flow::ClosureRec) => {
                    let targets: Vec<i64> = fallible::collect(i.targets())?;
                    fallible::extend(&mut functions, &targets)?;
                    let variables = i.operands[usize::from(flow == Flow::ClosureRec)];
                    if let Ok(variables) = usize::try_from(variables) {
                        fallible::push(&mut blocks, (targets, variables))?;
                    }
                }
                // Other `RESTART`s are ignored: no instruction makes a partial application that refers to them.
                Flow::Restart if grabs(i.op, words.get(i.next())) => {
                    fallible::push(&mut restarts, i.pos as i64)?;
                }
                _ => {}
            }
        }
        fallible::extend(&mut functions, &restarts)?;
        functions.sort_unstable();
        functions.dedup();
        blocks.sort_unstable();
        blocks.dedup();
        Ok(Shapes { blocks, functions, restarts, through_stub })
    }

    /// Whether closures may refer to this position.
    pub(crate) fn is_function(&self, position: usize) -> bool {
        self.functions.binary_search(&(position as i64)).is_ok()
    }

    /// Whether the code makes closures of exactly these functions with that many variables.
    pub(crate) fn has_closure(&self, functions: &[i64], variables: usize) -> bool {
        // A partial application: the closure, and arguments.
        let partial = functions.len() == 1 && self.restarts.binary_search(&functions[0]).is_ok();
        let order = |block: &(Vec<i64>, usize)| block.0[..].cmp(functions).then(block.1.cmp(&variables));
        (partial && variables >= 2) || self.blocks.binary_search_by(order).is_ok()
    }
}

/// Whether the instruction after a `RESTART` is the `GRAB` to which it belongs.
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
        let shapes = Shapes::of_code(&words.concat(), CODE).unwrap();
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
            let shapes = Shapes::of_code(&[restart.word(), next.word(), 1], CODE).unwrap();
            assert_eq!(shapes.is_function(0), is_one, "{restart} {next}");
            assert_eq!(shapes.has_closure(&[0], 2), is_one, "{restart} {next}");
        }
        assert!(!Shapes::of_code(&[RESTART.word()], CODE).unwrap().is_function(0));
    }
}
