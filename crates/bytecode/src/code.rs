//! Code words: decoding them into instructions, and encoding instructions into them.

use crate::error::{Error, ErrorKind, Result};
use crate::opcode::{Flow, Opcode, OpcodeSet, Shape};
use crate::room;

/// The size of a code word in bytes.
pub const WORD: usize = 4;

/// Reads little-endian code words.
///
/// # Errors
///
/// When the length is not a multiple of 4.
pub fn words_of_bytes(bytes: &[u8]) -> Result<Vec<i32>> {
    let mut words = room::with_capacity(bytes.len() / WORD)?;
    append_words(&mut words, bytes)?;
    Ok(words)
}

/// Reads and appends code words, for code that arrives in pieces.
///
/// # Errors
///
/// When the length is not a multiple of 4; then nothing is appended.
pub fn append_words(onto: &mut Vec<i32>, bytes: &[u8]) -> Result<()> {
    let (words, rest) = bytes.as_chunks::<WORD>();
    if !rest.is_empty() {
        return Err(Error::malformed(
            bytes.len() - rest.len(),
            "the code is not a whole number of 4-byte words",
        ));
    }
    onto.try_reserve(words.len())?;
    onto.extend(words.iter().map(|word| i32::from_le_bytes(*word)));
    Ok(())
}

/// Writes little-endian code words.
pub fn bytes_of_words(words: &[i32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// An instruction in a sequence of code words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instr<'a> {
    /// The index of its opcode word in the sequence.
    pub pos: usize,
    /// The instruction.
    pub op: Opcode,
    /// All words after the opcode, including the tables of `SWITCH` and `CLOSUREREC`.
    pub operands: &'a [i32],
}

impl<'a> Instr<'a> {
    /// Its size in words, including the opcode.
    pub fn size(&self) -> usize {
        1 + self.operands.len()
    }

    /// The index of the word after it.
    pub fn next(&self) -> usize {
        self.pos + self.size()
    }

    /// Where its opcode is, in bytes.
    pub fn byte_offset(&self) -> usize {
        self.pos * WORD
    }

    /// The table of a `SWITCH` (constant cases, then block cases) or the functions of a `CLOSUREREC`, as stored in
    /// the code; empty for others.
    pub fn table(&self) -> &'a [i32] {
        match self.op.shape() {
            Shape::Fixed(_) => &[],
            Shape::Switch => &self.operands[1..],
            Shape::ClosureRec => &self.operands[2..],
        }
    }

    /// How many constant cases a `SWITCH` has; the rest of its table are block cases.
    pub fn constant_cases(&self) -> usize {
        match self.op.shape() {
            Shape::Switch => (self.operands[0] & 0xFFFF) as usize,
            _ => 0,
        }
    }

    /// The code addresses among the operands, as absolute word indices. They are not checked.
    pub fn targets(&self) -> impl Iterator<Item = i64> + 'a {
        let (base, offsets, table) = match self.op.facts().flow {
            Flow::Switch | Flow::ClosureRec => {
                let table = self.table();
                (self.next() - table.len(), table, true)
            }
            Flow::Jump | Flow::Branch | Flow::PushRetaddr | Flow::Closure | Flow::PushTrap => {
                let last = self.operands.len() - 1;
                (self.pos + 1 + last, &self.operands[last..], false)
            }
            _ => (0, &self.operands[..0], false),
        };
        debug_assert!(table || offsets.len() <= 1);
        offsets.iter().map(move |&offset| base as i64 + i64::from(offset))
    }
}

/// Decodes the instruction whose opcode is at word `pos`.
///
/// # Errors
///
/// When `pos` is outside the code, the word there is not one of the `accepted` instructions, or the code ends before
/// the operands do.
pub fn decode_at(words: &[i32], pos: usize, accepted: OpcodeSet) -> Result<Instr<'_>> {
    let Some((&word, rest)) = words.get(pos..).and_then(<[i32]>::split_first) else {
        return Err(Error::malformed(pos.saturating_mul(WORD), "there is no code here"));
    };
    let op = Opcode::from_word(word)
        .filter(|op| accepted.contains(*op))
        .ok_or_else(|| Error::at(pos * WORD, ErrorKind::UnknownOpcode { word }))?;
    let size = match op.shape() {
        Shape::Fixed(size) => Some(size),
        Shape::Switch => rest.first().map(|&s| 1 + (s & 0xFFFF) as usize + (s as u32 >> 16) as usize),
        Shape::ClosureRec => match rest.first() {
            Some(&operand) if operand < 1 => {
                let why = "it must make at least one function";
                return Err(Error::at(pos * WORD, ErrorKind::BadOperand { op, operand, why }));
            }
            Some(&f) => Some(2 + f as usize),
            None => None,
        },
    };
    match size.and_then(|size| rest.get(..size)) {
        Some(operands) => Ok(Instr { pos, op, operands }),
        None => Err(Error::at(pos * WORD, ErrorKind::CutInstruction(op))),
    }
}

/// The instructions of a sequence of code words, one after the other.
///
/// After an error the iterator ends, because the position of the next instruction is not known.
#[derive(Debug, Clone)]
pub struct Instructions<'a> {
    words: &'a [i32],
    pos: usize,
    accepted: OpcodeSet,
}

impl<'a> Instructions<'a> {
    /// Decodes `words`, which may contain the `accepted` instructions.
    pub fn new(words: &'a [i32], accepted: OpcodeSet) -> Instructions<'a> {
        Instructions { words, pos: 0, accepted }
    }
}

impl<'a> Iterator for Instructions<'a> {
    type Item = Result<Instr<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.pos >= self.words.len() {
            return None;
        }
        let instr = decode_at(self.words, self.pos, self.accepted);
        self.pos = match &instr {
            Ok(instr) => instr.next(),
            Err(_) => self.words.len(),
        };
        Some(instr)
    }
}

/// Appends an instruction to `words`. Offsets are written unchanged: relative, in code words.
///
/// # Errors
///
/// When the number of operands is wrong for the instruction.
pub fn encode(op: Opcode, operands: &[i32], words: &mut Vec<i32>) -> Result<()> {
    let mut instr = Vec::with_capacity(1 + operands.len());
    instr.push(op.word());
    instr.extend_from_slice(operands);
    let every = OpcodeSet::V5_2.with_internal();
    let decoded = decode_at(&instr, 0, every)?;
    if decoded.size() != instr.len() {
        let what = format!("{op} with {} operands, where {} belong", operands.len(), decoded.operands.len());
        return Err(Error::malformed(words.len() * WORD, what));
    }
    words.extend_from_slice(&instr);
    Ok(())
}
