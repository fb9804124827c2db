//! Translation: from code words to cells.
//!
//! Loaded code is translated as a whole. A program's functions are translated when they are first called, because most
//! of a large program's code never runs. Until then their cells are zero, in memory that the system has not even
//! allocated.

use spelter_bytecode::code::decode_at;
use spelter_bytecode::opcode::{Flow, OpcodeSet, OperandKind, Shape};
use spelter_bytecode::{Error, Instr, Opcode};

use crate::Machine;
use crate::code::Unit;
use crate::exec::dispatch::{self, Engine, own};
use crate::prim::Raise;
use crate::prim::table::PrimTable;

/// The instructions allowed in code of any version, including those that the patcher writes.
const EVERYWHERE: OpcodeSet = OpcodeSet::V5_2.with_internal();
/// One more than the largest number of an instruction.
const OPS: usize = 256;

/// The number of words of each instruction; 0 if it depends on the operands.
static SIZES: [u8; OPS] = sizes(false);
/// The same for instructions whose operands are copied unchanged and that simply continue with the next instruction; 0
/// for others.
static PLAIN: [u8; OPS] = sizes(true);

const fn sizes(plain: bool) -> [u8; OPS] {
    let mut sizes = [0; OPS];
    let mut i = 0;
    while i < Opcode::ALL.len() {
        let op = Opcode::ALL[i];
        if let Shape::Fixed(operands) = op.shape()
            && EVERYWHERE.contains(op)
            && !matches!(op, Opcode::GETPUBMET)
            && (!plain || is_plain(op))
        {
            sizes[op as usize] = 1 + operands as u8;
        }
        i += 1;
    }
    sizes
}

const fn is_plain(op: Opcode) -> bool {
    let operands = op.operands();
    let mut i = 0;
    while i < operands.len() {
        if matches!(operands[i].kind, OperandKind::Slot | OperandKind::Cache | OperandKind::Prim) {
            return false;
        }
        i += 1;
    }
    matches!(op.facts().flow, Flow::Next | Flow::Grab | Flow::PopTrap)
}

/// The tables for translation for one engine.
pub(crate) struct Translator {
    /// The cells of instructions, by number.
    cells: [u64; OPS],
    own: own::Cells,
}

/// Separates instructions that are not consecutive, in place of a position.
const BREAK: usize = usize::MAX;

/// Appends to a list of results about code.
#[inline(always)]
fn note<T>(v: &mut Vec<T>, found: T) -> Result<(), Error> {
    if v.len() == v.capacity() {
        v.try_reserve(1)?;
    }
    v.push(found);
    Ok(())
}

/// How far to translate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent<'a> {
    /// To the end of a unit that refers to these slots.
    All(&'a [u64]),
    /// As far as control reaches without a call.
    Function,
}

impl Translator {
    pub(crate) fn new(engine: Engine) -> Translator {
        let mut cells = [0; OPS];
        for op in Opcode::ALL {
            cells[*op as usize] = dispatch::cell(engine, *op);
        }
        Translator { cells, own: dispatch::own_cells(engine) }
    }

    /// A translator without chains or lazy functions, for debuggers: they may cover any instruction.
    pub(crate) fn word_by_word(engine: Engine) -> Translator {
        Translator { own: own::Cells::default(), ..Translator::new(engine) }
    }

    /// Whether translation of a function can wait until its first call.
    pub(crate) fn is_lazy(&self) -> bool {
        self.own.lazy
    }

    /// Checks all instructions, and counts those that have a method cache.
    ///
    /// # Errors
    /// When the words are not valid instructions.
    pub(crate) fn method_caches(words: &[i32], opcodes: OpcodeSet) -> Result<usize, Error> {
        let (mut pos, mut caches) = (0, 0);
        while let Some(word) = words.get(pos) {
            let size = SIZES.get(*word as usize).map_or(0, |size| usize::from(*size));
            if size == 0 || size > words.len() - pos {
                let instr = decode_at(words, pos, opcodes)?;
                caches += usize::from(instr.op == Opcode::GETPUBMET);
                pos = instr.next();
            } else {
                pos += size;
            }
        }
        Ok(caches)
    }

    /// Translates a unit that refers to these slots.
    ///
    /// # Errors
    /// When code refers to a slot that does not exist.
    pub(crate) fn all(
        &self,
        unit: &Unit,
        words: &[i32],
        slots: &[u64],
        prims: &PrimTable,
    ) -> Result<(), Error> {
        self.stretch(unit, words, 0, Extent::All(slots), prims, &mut Vec::new())
    }

    /// Translates the function that begins at a position, or the rest of it from there on.
    ///
    /// # Errors
    /// When there is no valid instruction at the position.
    pub(crate) fn function(&self, unit: &Unit, position: usize, prims: &PrimTable) -> Result<(), Error> {
        let mut codes = Vec::new();
        let words = unit.words().map_err(|_| Error::out_of_memory())?;
        let outcome = self.stretch(unit, &words, position, Extent::Function, prims, &mut codes);
        if outcome.is_err() {
            // Undo the translation, so that another call fails in the same way and does not run a part of it.
            for cell in codes.iter().filter_map(|(pos, _)| unit.cells.get(*pos)) {
                cell.set(0);
            }
        }
        outcome
    }

    /// Translates from a position on, and records the instructions that it finds.
    fn stretch(
        &self,
        unit: &Unit,
        words: &[i32],
        from: usize,
        extent: Extent<'_>,
        prims: &PrimTable,
        codes: &mut Vec<(usize, u16)>,
    ) -> Result<(), Error> {
        let slots = if let Extent::All(slots) = extent { slots } else { &[] };
        let mut pending = vec![from];
        while let Some(mut pos) = pending.pop() {
            note(codes, (BREAK, u16::MAX))?;
            while pos < words.len() && !(extent == Extent::Function && unit.cells[pos].get() != 0) {
                if let Some(code) = self.plain(unit, words, pos) {
                    note(codes, (pos, code))?;
                    pos += usize::from(PLAIN[usize::from(code)]);
                    continue;
                }
                let instr = decode_at(words, pos, unit.opcodes)?;
                let (code, cell) = self.cell(&instr, prims);
                unit.cells[pos].set(cell);
                note(codes, (pos, code))?;
                self.operands(unit, &instr, slots)?;
                pos = instr.next();
                if extent == Extent::Function {
                    let flow = instr.op.facts().flow;
                    // Other targets of control; functions wait until they are called.
                    if !matches!(flow, Flow::Closure | Flow::ClosureRec) {
                        for target in instr.targets() {
                            note(&mut pending, usize::try_from(target).unwrap_or(usize::MAX))?;
                        }
                    }
                    if flow.ends_block() {
                        break;
                    }
                }
            }
        }
        for (i, (pos, _)) in codes.iter().enumerate() {
            if let Some(cell) = self.own.chain(&codes[i..]) {
                unit.cells[*pos].set(cell);
            }
        }
        Ok(())
    }

    /// Translates an instruction of the `PLAIN` table, and returns its number.
    #[inline]
    fn plain(&self, unit: &Unit, words: &[i32], pos: usize) -> Option<u16> {
        let code = words[pos] as usize;
        let size = usize::from(*PLAIN.get(code)?);
        let operands = words.get(pos + 1..pos + size)?;
        unit.cells[pos].set(self.cells[code]);
        for (cell, operand) in unit.cells[pos + 1..].iter().zip(operands) {
            cell.set(i64::from(*operand) as u64);
        }
        Some(code as u16)
    }

    /// An instruction's number and cell: its own, or those of the instruction that replaces a call of a primitive.
    fn cell(&self, instr: &Instr<'_>, prims: &PrimTable) -> (u16, u64) {
        use Opcode::{C_CALL1, C_CALL2, C_CALL3, C_CALL4, C_CALL5};
        let inline = match instr.op {
            C_CALL1 | C_CALL2 | C_CALL3 | C_CALL4 | C_CALL5 => {
                prims.inline(instr.operands[0] as usize, instr.op)
            }
            _ => None,
        };
        inline
            .and_then(|primitive| self.own.inline(primitive, instr.op))
            .unwrap_or((instr.op as u16, self.cells[instr.op as usize]))
    }

    fn operands(&self, unit: &Unit, instr: &Instr<'_>, slots: &[u64]) -> Result<(), Error> {
        let kinds = instr.op.operands();
        for (i, operand) in instr.operands.iter().enumerate() {
            let cell = match kinds[i.min(kinds.len() - 1)].kind {
                OperandKind::Slot if instr.op != Opcode::SETSLOT => {
                    let no_slot = || Error::malformed(4 * instr.pos, "there is no such slot");
                    *usize::try_from(*operand).ok().and_then(|i| slots.get(i)).ok_or_else(no_slot)?
                }
                OperandKind::Cache => unit.next_cache() as u64,
                _ => i64::from(*operand) as u64,
            };
            unit.cells[instr.pos + 1 + i].set(cell);
        }
        Ok(())
    }
}

impl Machine {
    /// Translates the function at a code address whose cell is zero, if it has not been translated yet. Returns false
    /// when there is no function, in which case the machine must be left.
    #[cold]
    #[inline(never)]
    pub(crate) fn translate_at(&mut self, pc: *const u64) -> bool {
        let outcome = self.translate_function(pc);
        outcome.map_err(|raise| self.leave_exn(raise)).is_ok()
    }

    /// Like [`Machine::translate_at`], for a primitive.
    ///
    /// # Errors
    /// When there is no function at the address.
    pub(crate) fn translate_function(&self, pc: *const u64) -> Result<(), Raise> {
        if !self.translator().is_lazy() {
            return Ok(());
        }
        let registry = self.registry.borrow();
        let unit = registry.find(pc as usize);
        let unit = unit.ok_or_else(|| Raise::Fatal("code outside any unit".to_owned()))?;
        let outcome = self.translator().function(unit, unit.position(pc as usize), &self.prims);
        outcome.map_err(|e| Raise::Fatal(format!("{}: {e}", unit.name)))
    }
}
