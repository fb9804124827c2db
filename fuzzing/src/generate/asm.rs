//! Code words with labels, and references that are resolved at the end.

use spelter_bytecode::Opcode;

/// A label in the code, which may not be placed yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Label(usize);

/// The target of an operand's reference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ref {
    /// A constant, by its index.
    Const(usize),
    /// A global that code writes.
    Register(usize),
    /// A predefined exception.
    Predef(usize),
    /// The module itself, when it is defined.
    Own,
    /// Another unit's module, by its number.
    Import(usize),
    /// A primitive, by its index.
    Prim(usize),
}

/// Code under construction.
#[derive(Clone, Default, Debug)]
pub(crate) struct Asm {
    pub(crate) words: Vec<i32>,
    pub(crate) refs: Vec<(usize, Ref)>,
    places: Vec<Option<usize>>,
    /// Words that hold distances from a base to a label.
    jumps: Vec<(usize, usize, Label)>,
}

impl Asm {
    pub(crate) fn label(&mut self) -> Label {
        self.places.push(None);
        Label(self.places.len() - 1)
    }

    /// Places the label here.
    pub(crate) fn place(&mut self, label: Label) {
        self.places[label.0] = Some(self.words.len());
    }

    pub(crate) fn position(&self, label: Label) -> Option<usize> {
        self.places[label.0]
    }

    pub(crate) fn op(&mut self, op: Opcode, operands: &[i32]) {
        self.words.push(op.word());
        self.words.extend_from_slice(operands);
    }

    /// An instruction whose last operand is a distance.
    pub(crate) fn jump(&mut self, op: Opcode, operands: &[i32], target: Label) {
        self.op(op, operands);
        self.table(&[target]);
    }

    /// Words that are distances to labels, all from the first of them.
    pub(crate) fn table(&mut self, targets: &[Label]) {
        let base = self.words.len();
        for (i, target) in targets.iter().enumerate() {
            self.jumps.push((base + i, base, *target));
            self.words.push(0);
        }
    }

    /// An operand with a reference.
    pub(crate) fn reference(&mut self, what: Ref) {
        self.refs.push((self.words.len(), what));
        self.words.push(0);
    }

    /// Fills in the distances. Labels that were never placed refer to the end.
    pub(crate) fn resolve(&mut self) {
        let end = self.words.len();
        for (at, base, label) in std::mem::take(&mut self.jumps) {
            let target = self.places[label.0].unwrap_or(end);
            self.words[at] = target as i32 - base as i32;
        }
    }
}
