//! From instructions with labels to code words, relocations and debug events.

use super::{Body, InstructionId, Operand};
use crate::code::{WORD, bytes_of_words, decode_at};
use crate::error::{Error, ErrorKind, Result};
use crate::obj::{CompilationUnit, Reloc};
use crate::opcode::{Flow, OperandKind};

impl Body {
    /// The unit with the code of this body: offsets, relocations and positions of debug events are computed again.
    ///
    /// Debug data is written uncompressed if any event has moved.
    ///
    /// # Errors
    ///
    /// When an instruction has the wrong operands, or a label that was not placed.
    pub fn lower(&self) -> Result<CompilationUnit> {
        let mut starts = vec![0; self.lines.len()];
        let mut end = 0;
        for id in self.ids() {
            starts[id.index()] = end;
            end += self[id].size();
        }
        let mut words = Vec::with_capacity(end);
        let mut relocs = Vec::new();
        for id in self.ids() {
            self.instruction(id, &starts, end, &mut words, &mut relocs)
                .map_err(|error| error.in_section("code"))?;
        }
        let debug = self.events.lower(self, end, &starts);
        let mut unit = self.unit.clone();
        unit.code = bytes_of_words(&words);
        unit.relocs = relocs;
        unit.debug = debug.or(unit.debug);
        Ok(unit)
    }

    fn instruction(
        &self,
        id: InstructionId,
        starts: &[usize],
        end: usize,
        words: &mut Vec<i32>,
        relocs: &mut Vec<(Reloc, usize)>,
    ) -> Result<()> {
        let instruction = &self[id];
        let pos = words.len();
        let malformed = |what: String| Error::at(pos * WORD, ErrorKind::Malformed(what));
        let kinds = instruction.op.operands();
        // In a table, offsets count from its start.
        let table = matches!(instruction.op.facts().flow, Flow::Switch | Flow::ClosureRec);
        let table_start = pos + kinds.len();
        words.push(instruction.op.word());
        for (index, operand) in instruction.operands.iter().enumerate() {
            let kind = kinds.get(index).or(kinds.last()).map(|operand| operand.kind);
            let takes_label = matches!(kind, Some(OperandKind::Offset | OperandKind::Offsets));
            let here = words.len();
            let word = match operand {
                Operand::Int(n) if !takes_label => *n,
                Operand::Label(label) if takes_label => {
                    let target = match self.places.get(label.0 as usize).copied().flatten() {
                        Some(Some(id)) => starts[id.index()],
                        Some(None) => end,
                        None => {
                            return Err(malformed(format!("{} has a label without a place", instruction.op)));
                        }
                    };
                    let base = if table { table_start } else { here };
                    (target as i64 - base as i64) as i32
                }
                Operand::Reloc(reloc) if matches!(kind, Some(OperandKind::Global | OperandKind::Prim)) => {
                    relocs.push((reloc.clone(), here * WORD));
                    0
                }
                _ => {
                    return Err(malformed(format!("{} cannot have such an operand {index}", instruction.op)));
                }
            };
            words.push(word);
        }
        let decoded = decode_at(&words[pos..], 0, self.unit.dialect.opcodes)
            .map_err(|error| Error::at(pos * WORD, error.kind().clone()))?;
        if decoded.size() == instruction.size() {
            return Ok(());
        }
        let (has, needs) = (instruction.operands.len(), decoded.operands.len());
        Err(malformed(format!("{} with {has} operands, where {needs} belong", instruction.op)))
    }
}
