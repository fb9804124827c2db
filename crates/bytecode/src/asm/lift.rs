//! From code words to instructions with labels.

use std::collections::HashMap;

use super::events::{Events, Positions};
use super::{Body, Instruction, Label, Operand};
use crate::code::{Instr, Instructions, WORD};
use crate::error::{Error, Result};
use crate::obj::{CompilationUnit, Reloc};
use crate::opcode::{Flow, OperandKind};
use crate::room;

impl Body {
    /// Turns a unit's code into instructions.
    ///
    /// # Errors
    ///
    /// When the code does not decode, something jumps elsewhere than to the start of an instruction, a relocation is
    /// on no operand that takes one, or the debug data is malformed or about something between instructions.
    pub fn lift(unit: &CompilationUnit) -> Result<Body> {
        let words = unit.words()?;
        let mut relocs = HashMap::new();
        for (reloc, offset) in &unit.relocs {
            if relocs.contains_key(offset) {
                return Err(Error::malformed(*offset, "two relocations are at one place").in_section("code"));
            }
            room::insert(&mut relocs, *offset, reloc)?;
        }
        let mut body = Body::new(unit.clone());
        let mut starts = Vec::new();
        let mut jumps = Vec::new();
        for instr in Instructions::new(&words, unit.dialect.opcodes) {
            let instr = instr.map_err(|error| error.in_section("code"))?;
            let operands = operands(&instr, &mut relocs)?;
            let id = body.push(Instruction { op: instr.op, operands });
            room::push(&mut starts, (instr.pos, id))?;
            let first = instr.operands.len() - instr.targets().count();
            for (index, target) in instr.targets().enumerate() {
                room::push(&mut jumps, (id, first + index, instr.pos, target))?;
            }
        }
        if let Some(offset) = relocs.keys().min() {
            return Err(
                Error::malformed(*offset, "a relocation is on no operand that takes one").in_section("code")
            );
        }
        let positions = Positions { starts: &starts, end: words.len() };
        let mut labels: HashMap<usize, Label> = HashMap::new();
        for (id, operand, pos, target) in jumps {
            let place = usize::try_from(target).ok().and_then(|word| match positions.at(word) {
                Some(index) => Some((word, Some(starts[index].1))),
                None => (word == words.len()).then_some((word, None)),
            });
            let Some((word, place)) = place else {
                let what = format!("{} refers to a place between instructions", body[id].op);
                return Err(Error::malformed(pos * WORD, what).in_section("code"));
            };
            let label = match labels.get(&word) {
                Some(label) => *label,
                None => {
                    let label = body.new_label();
                    body.place(label, place);
                    room::insert(&mut labels, word, label)?;
                    label
                }
            };
            body[id].operands[operand] = Operand::Label(label);
        }
        body.events = Events::lift(&body, &positions).map_err(|error| error.in_section("debug data"))?;
        Ok(body)
    }
}

/// The operands of an instruction. Targets are numbers for now.
fn operands(instr: &Instr<'_>, relocs: &mut HashMap<usize, &Reloc>) -> Result<Vec<Operand>> {
    let kinds = instr.op.operands();
    let table = matches!(instr.op.facts().flow, Flow::Switch | Flow::ClosureRec);
    room::collect(instr.operands.iter().enumerate().map(|(index, word)| {
        let kind = kinds.get(index).map(|operand| operand.kind);
        let takes_reloc = matches!(kind, Some(OperandKind::Global | OperandKind::Prim)) && !table;
        let offset = (instr.pos + 1 + index) * WORD;
        // What is left in the table at the end is on no operand.
        match if takes_reloc { relocs.remove(&offset) } else { None } {
            Some(reloc) => Ok(Operand::Reloc(reloc.clone())),
            None => Ok(Operand::Int(*word)),
        }
    }))
}
