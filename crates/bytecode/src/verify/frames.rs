//! Return and trap frames within a function's frame, as a stack shared between all paths.

use crate::error::Result;
use crate::room;

/// A stack of frames, as a number: stacks pushed by the same instructions have the same number.
pub(super) type Stack = u32;

/// The stack without frames.
pub(super) const NONE: Stack = 0;

/// The kind of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Pushed by `PUSH_RETADDR`; the matching `APPLY` returns to that word index.
    Return(u32),
    /// Pushed by `PUSHTRAP`.
    Trap,
}

impl Kind {
    fn size(self) -> u64 {
        match self {
            Kind::Return(_) => 3,
            Kind::Trap => 4,
        }
    }
}

/// A frame, and the stack below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) below: Stack,
    pub(super) kind: Kind,
    /// The height of the function's frame before it was pushed.
    pub(super) base: u64,
}

impl Frame {
    /// The height after it was pushed.
    pub(super) fn end(&self) -> u64 {
        self.base + self.kind.size()
    }
}

/// All stacks that occur.
#[derive(Default)]
pub(super) struct Frames {
    nodes: Vec<Node>,
}

struct Node {
    frame: Frame,
    depth: u32,
    /// A stack further below; following these jump pointers reaches any depth in logarithmic time.
    jump: Stack,
}

impl Frames {
    /// The top frame of a stack.
    pub(super) fn top(&self, stack: Stack) -> Option<&Frame> {
        self.node(stack).map(|node| &node.frame)
    }

    fn node(&self, stack: Stack) -> Option<&Node> {
        self.nodes.get((stack as usize).checked_sub(1)?)
    }

    fn depth(&self, stack: Stack) -> u32 {
        self.node(stack).map_or(0, |node| node.depth)
    }

    fn jump(&self, stack: Stack) -> Stack {
        self.node(stack).map_or(NONE, |node| node.jump)
    }

    /// The lowest height to which words may be popped without touching a frame.
    pub(super) fn floor(&self, stack: Stack) -> u64 {
        self.top(stack).map_or(0, Frame::end)
    }

    /// The stack with another frame. Called once for each instruction that pushes a frame.
    pub(super) fn push(&mut self, below: Stack, kind: Kind, base: u64) -> Result<Stack> {
        let frame = Frame { below, kind, base };
        // Skew-binary jump pointers: two jumps of equal length merge into one.
        let over = self.jump(below);
        let merges = self.depth(below) - self.depth(over) == self.depth(over) - self.depth(self.jump(over));
        let jump = if merges && below != NONE { self.jump(over) } else { below };
        let depth = self.depth(below) + 1;
        room::push(&mut self.nodes, Node { frame, depth, jump })?;
        Ok(self.nodes.len() as Stack)
    }

    /// Whether the word at that height (from the bottom) is part of a frame.
    pub(super) fn covers(&self, mut stack: Stack, word: u64) -> bool {
        while let Some(node) = self.node(stack) {
            if node.frame.base <= word {
                return word < node.frame.end();
            }
            let jump_is_above = self.top(node.jump).is_some_and(|frame| frame.base > word);
            stack = if jump_is_above { node.jump } else { node.frame.below };
        }
        false
    }
}
