//! The reasons why code is refused.

use crate::opcode::Opcode;

/// Why code is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A target that is not the start of an instruction.
    #[error("{op} refers to byte offset {target}, which is not the start of an instruction")]
    Target {
        /// The instruction.
        op: Opcode,
        /// Its target.
        target: i64,
    },
    /// Control reaches the end of the code.
    #[error("control runs off the end of the code")]
    FallsOff,
    /// An operand beyond its limit.
    #[error("{op}: {what} {value} does not exist, there are {limit}")]
    Limit {
        /// The instruction.
        op: Opcode,
        /// The kind of thing that the operand refers to.
        what: &'static str,
        /// The operand.
        value: i32,
        /// How many there are.
        limit: usize,
    },
    /// An operand that is negative or too small.
    #[error("{op} cannot have the operand {value}")]
    Operand {
        /// The instruction.
        op: Opcode,
        /// The operand.
        value: i32,
    },
    /// A tag that no constructor or record can have.
    #[error("{op} would make a block of tag {tag}, which could forge a closure or raw data")]
    Tag {
        /// The instruction.
        op: Opcode,
        /// The tag.
        tag: i32,
    },
    /// An access outside the frame, or to a word of a return or trap frame.
    #[error("{op} accesses a word that is not a value of the frame (index {index}, height {height})")]
    Stack {
        /// The instruction.
        op: Opcode,
        /// The index from the top of the stack.
        index: i64,
        /// The height of the frame.
        height: u64,
    },
    /// More words popped than there are above the innermost return or trap frame.
    #[error("{op} pops {count} words, but only {available} may be popped")]
    Underflow {
        /// The instruction.
        op: Opcode,
        /// How many it pops.
        count: u64,
        /// How many there are.
        available: u64,
    },
    /// `RETURN`, `APPTERM` or similar with a wrong frame size, or with frames still open.
    #[error("{op} states a frame of {size} words, but the frame has {height}{}", open(*.frames))]
    FrameSize {
        /// The instruction.
        op: Opcode,
        /// The size in its operand.
        size: i32,
        /// The actual size.
        height: u64,
        /// Whether a return or trap frame is still open.
        frames: bool,
    },
    /// `APPLY` or `POPTRAP` without the frame that it needs on top.
    #[error("{op} does not find the {frame} frame that it needs")]
    NoFrame {
        /// The instruction.
        op: Opcode,
        /// `return` or `trap`.
        frame: &'static str,
    },
    /// Two paths meet with different stacks.
    #[error("paths meet here with different stacks (heights {one} and {other})")]
    Merge {
        /// The height on the path seen first.
        one: u64,
        /// The height on the other.
        other: u64,
    },
    /// Code that belongs to two functions.
    #[error("this code belongs to two functions, those at byte offsets {one:#x} and {other:#x}")]
    SharedCode {
        /// The entry of one function.
        one: usize,
        /// The entry of the other.
        other: usize,
    },
    /// A read of the environment where it has no variable or sibling.
    #[error("{op}: the environment has nothing at {index}")]
    Env {
        /// The instruction.
        op: Opcode,
        /// The field or the distance in words.
        index: i32,
    },
    /// `GRAB` without `RESTART` before it.
    #[error("the function at this place has no {0} before its entry")]
    NoRestart(Opcode),
    /// An instruction that control must not reach in this way.
    #[error("{op} is not allowed here: {why}")]
    Misplaced {
        /// The instruction.
        op: Opcode,
        /// Why not.
        why: &'static str,
    },
}

fn open(frames: bool) -> &'static str {
    if frames { " and a return or trap frame is still open" } else { "" }
}
