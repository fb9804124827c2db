//! Translation: from code words to cells.
//!
//! Loaded code is translated as a whole. A program is read through once, to know that it is made of instructions; its
//! functions are translated when they are first entered, for most of a large program's code never runs. Until then their
//! first cell holds `LAZY`, and the rest are zero: memory that the system has not even given out.

use spelter_bytecode::code::decode_at;
use spelter_bytecode::opcode::{Flow, OpcodeSet, OperandKind, Shape};
use spelter_bytecode::{Error, Instr, Opcode};

use crate::code::Unit;
use crate::dispatch::{self, Engine, own};
use crate::prim::PrimTable;

/// What code may hold: the patcher has written some of it.
const ACCEPTED: OpcodeSet = OpcodeSet::V4.with_internal();
/// One more than the largest number of an instruction.
const OPS: usize = 256;

/// All that translation looks up, for one engine.
pub(crate) struct Translator {
    /// The cells of instructions, by number.
    cells: [u64; OPS],
    own: own::Cells,
    /// How many words each instruction takes; 0 where one must look closer.
    sizes: [u8; OPS],
}

/// Stands between instructions that do not follow each other, in place of a position.
const BREAK: usize = usize::MAX;

/// How far to translate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// To the end.
    All,
    /// As far as control goes without a call.
    Function,
}

impl Translator {
    pub(crate) fn new(engine: Engine) -> Translator {
        let (mut cells, mut sizes) = ([0; OPS], [0; OPS]);
        for op in Opcode::ALL {
            cells[*op as usize] = dispatch::cell(engine, *op);
            let simple = ACCEPTED.contains(*op) && *op != Opcode::GETPUBMET;
            if let (Shape::Fixed(operands), true) = (op.shape(), simple) {
                sizes[*op as usize] = 1 + operands as u8;
            }
        }
        Translator { cells, own: dispatch::own_cells(engine), sizes }
    }

    /// One that translates each word by itself, and all at once: a debugger may cover any instruction.
    pub(crate) fn word_by_word(engine: Engine) -> Translator {
        Translator { own: own::Cells::default(), ..Translator::new(engine) }
    }

    /// Whether functions can wait until they are entered.
    pub(crate) fn is_lazy(&self) -> bool {
        self.own.lazy.is_some()
    }

    /// Makes an address lead to code that is not translated yet, if it is not.
    pub(crate) fn prepare(&self, unit: &Unit, position: usize) {
        if let (Some(lazy), Some(cell)) = (self.own.lazy, unit.code().get(position))
            && cell.get() == 0
        {
            cell.set(lazy);
        }
    }

    /// Looks at all instructions, and says how many of them have a method cache.
    ///
    /// # Errors
    /// When the words are no instructions.
    pub(crate) fn method_caches(&self, words: &[i32]) -> Result<usize, Error> {
        let (mut pos, mut caches) = (0, 0);
        while let Some(word) = words.get(pos) {
            let size = self.sizes.get(*word as usize).map_or(0, |size| usize::from(*size));
            if size == 0 || size > words.len() - pos {
                let instr = decode_at(words, pos, ACCEPTED)?;
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
    /// When there is no such slot.
    pub(crate) fn all(
        &self,
        unit: &Unit,
        words: &[i32],
        slots: &[u64],
        prims: &PrimTable,
    ) -> Result<(), Error> {
        self.stretch(unit, words, 0, Extent::All, slots, prims)
    }

    /// Translates the function that begins at a position, or what is left of it from there.
    ///
    /// # Errors
    /// When what stands there is no instruction.
    pub(crate) fn function(&self, unit: &Unit, position: usize, prims: &PrimTable) -> Result<(), Error> {
        self.stretch(unit, &unit.words(), position, Extent::Function, &[], prims)
    }

    fn stretch(
        &self,
        unit: &Unit,
        words: &[i32],
        from: usize,
        extent: Extent,
        slots: &[u64],
        prims: &PrimTable,
    ) -> Result<(), Error> {
        let mut codes = Vec::new();
        let mut pending = vec![from];
        while let Some(mut pos) = pending.pop() {
            codes.push((BREAK, u16::MAX));
            while pos < words.len() && !(extent == Extent::Function && self.is_translated(unit, pos)) {
                let instr = decode_at(words, pos, ACCEPTED)?;
                let (code, cell) = self.cell(&instr, prims);
                unit.cells[pos].set(cell);
                self.operands(unit, &instr, slots)?;
                codes.push((pos, code));
                pos = instr.next();
                if extent == Extent::Function {
                    self.follow(unit, &instr, &mut pending);
                    if instr.op.facts().flow.ends_block() {
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

    /// Notes where else control may go from an instruction; functions wait until it does.
    fn follow(&self, unit: &Unit, instr: &Instr<'_>, pending: &mut Vec<usize>) {
        let flow = instr.op.facts().flow;
        for target in instr.targets() {
            let target = usize::try_from(target).unwrap_or(usize::MAX);
            match flow {
                Flow::Closure | Flow::ClosureRec => self.prepare(unit, target),
                _ => pending.push(target),
            }
        }
        if flow == Flow::Grab {
            self.restart_before(unit, instr.pos);
        }
    }

    fn is_translated(&self, unit: &Unit, pos: usize) -> bool {
        let cell = unit.cells[pos].get();
        cell != 0 && Some(cell) != self.own.lazy
    }

    /// A partial application leads to the `RESTART` in front of its `GRAB`, where nothing else does.
    fn restart_before(&self, unit: &Unit, grab: usize) {
        if let Some(at) = grab.checked_sub(1)
            && unit.word(at) == Some(Opcode::RESTART.word())
        {
            unit.cells[at].set(self.cells[Opcode::RESTART as usize]);
        }
    }

    /// An instruction's number and cell: its own, or those of the instruction that stands in for the primitive it calls.
    fn cell(&self, instr: &Instr<'_>, prims: &PrimTable) -> (u16, u64) {
        use Opcode::{C_CALL1, C_CALL2, C_CALL3, C_CALL4, C_CALL5};
        let inline = match instr.op {
            C_CALL1 | C_CALL2 | C_CALL3 | C_CALL4 | C_CALL5 => {
                prims.inline.get(instr.operands[0] as usize).copied().flatten()
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
                OperandKind::Cache => {
                    let missing = || Error::malformed(4 * instr.pos, "there is no method cache for it");
                    std::ptr::from_ref(unit.next_cache().ok_or_else(missing)?) as u64
                }
                _ => i64::from(*operand) as u64,
            };
            unit.cells[instr.pos + 1 + i].set(cell);
        }
        Ok(())
    }
}
