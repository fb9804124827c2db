//! The list of instructions, and what edits it.

use std::ops::{Index, IndexMut};

use super::events::Events;
use super::{Instruction, Label, Operand};
use crate::debug::Event;
use crate::obj::{CompilationUnit, Constant, Reloc};

/// An instruction of a body. It stays valid, whatever is inserted or removed elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstructionId(pub(super) u32);

impl InstructionId {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// An instruction in the list.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) instruction: Instruction,
    pub(super) labels: Vec<Label>,
    before: Option<InstructionId>,
    after: Option<InstructionId>,
    removed: bool,
}

/// The code of a unit, to be edited.
#[derive(Debug, Clone)]
pub struct Body {
    /// The unit: what is not code may be edited here. Its code, relocations and debug data are those before lifting;
    /// [`lower`](Body::lower) returns the new ones.
    pub unit: CompilationUnit,
    pub(super) lines: Vec<Line>,
    first: Option<InstructionId>,
    last: Option<InstructionId>,
    /// Where each label is: `Some(None)` is the end of the code.
    pub(super) places: Vec<Option<Option<InstructionId>>>,
    pub(super) end_labels: Vec<Label>,
    pub(super) events: Events,
}

impl Index<InstructionId> for Body {
    type Output = Instruction;

    /// # Panics
    ///
    /// When the instruction belongs to another body that has more of them.
    fn index(&self, id: InstructionId) -> &Instruction {
        &self.lines[id.index()].instruction
    }
}

impl IndexMut<InstructionId> for Body {
    fn index_mut(&mut self, id: InstructionId) -> &mut Instruction {
        &mut self.lines[id.index()].instruction
    }
}

/// Methods that take an instruction panic when it belongs to another body that has more of them.
impl Body {
    /// A body without code for a unit, whose code is not looked at.
    pub fn new(unit: CompilationUnit) -> Body {
        Body {
            unit,
            lines: Vec::new(),
            first: None,
            last: None,
            places: Vec::new(),
            end_labels: Vec::new(),
            events: Events::default(),
        }
    }

    /// The first instruction.
    pub fn first(&self) -> Option<InstructionId> {
        self.first
    }

    /// The last instruction.
    pub fn last(&self) -> Option<InstructionId> {
        self.last
    }

    /// The instruction after another one.
    pub fn next(&self, id: InstructionId) -> Option<InstructionId> {
        self.lines[id.index()].after
    }

    /// The instruction before another one.
    pub fn previous(&self, id: InstructionId) -> Option<InstructionId> {
        self.lines[id.index()].before
    }

    /// All instructions, in order.
    pub fn ids(&self) -> impl Iterator<Item = InstructionId> + '_ {
        std::iter::successors(self.first, |id| self.next(*id))
    }

    /// Adds an instruction at the end. Labels at the end of the code move to it.
    pub fn push(&mut self, instruction: Instruction) -> InstructionId {
        let labels = std::mem::take(&mut self.end_labels);
        let id = self.add(instruction, self.last, None);
        self.move_labels(labels, Some(id));
        id
    }

    /// Adds several instructions at the end, and returns the first of them.
    pub fn extend(&mut self, all: impl IntoIterator<Item = Instruction>) -> Option<InstructionId> {
        all.into_iter().fold(None, |first, instruction| {
            let id = self.push(instruction);
            first.or(Some(id))
        })
    }

    /// Adds a literal to the unit, and returns the operand that stands for it.
    ///
    /// # Panics
    ///
    /// When a part of it has not been added yet.
    pub fn literal(&mut self, constant: Constant) -> Operand {
        Operand::Reloc(Reloc::Literal(self.unit.literals.add(constant)))
    }

    /// Inserts an instruction before another one. What jumps to that one will jump to the new one; debug events stay.
    pub fn insert_before(&mut self, id: InstructionId, instruction: Instruction) -> InstructionId {
        let labels = std::mem::take(&mut self.lines[id.index()].labels);
        let new = self.add(instruction, self.previous(id), Some(id));
        self.move_labels(labels, Some(new));
        new
    }

    /// Inserts several instructions before another one, in this order; as [`insert_before`](Body::insert_before).
    pub fn insert_all_before(&mut self, id: InstructionId, all: impl IntoIterator<Item = Instruction>) {
        let mut all = all.into_iter();
        let Some(first) = all.next() else { return };
        let mut last = self.insert_before(id, first);
        for instruction in all {
            last = self.insert_after(last, instruction);
        }
    }

    /// Inserts an instruction after another one. What jumps to the one that followed still does, so control reaches the
    /// new one only from the one before.
    pub fn insert_after(&mut self, id: InstructionId, instruction: Instruction) -> InstructionId {
        self.add(instruction, Some(id), self.next(id))
    }

    /// Puts an instruction in the place of another one, and returns that.
    pub fn replace(&mut self, id: InstructionId, instruction: Instruction) -> Instruction {
        std::mem::replace(&mut self[id], instruction)
    }

    /// Removes an instruction; does nothing if it has been removed. What jumps to it will jump to the one after it,
    /// where its debug events move, too.
    pub fn remove(&mut self, id: InstructionId) {
        let line = &mut self.lines[id.index()];
        if std::mem::replace(&mut line.removed, true) {
            return;
        }
        let (before, after, labels) = (line.before, line.after, std::mem::take(&mut line.labels));
        match before {
            Some(before) => self.lines[before.index()].after = after,
            None => self.first = after,
        }
        match after {
            Some(after) => self.lines[after.index()].before = before,
            None => self.last = before,
        }
        self.move_labels(labels, after);
    }

    /// Whether an instruction has been removed.
    pub fn is_removed(&self, id: InstructionId) -> bool {
        self.lines[id.index()].removed
    }

    /// A label that is nowhere yet.
    pub fn new_label(&mut self) -> Label {
        let label = Label(u32::try_from(self.places.len()).expect("fewer than 2^32 labels"));
        self.places.push(None);
        label
    }

    /// Puts a label at the start of an instruction, or at the end of the code, wherever it was before.
    ///
    /// # Panics
    ///
    /// When the label belongs to another body that has more of them.
    pub fn place(&mut self, label: Label, at: Option<InstructionId>) {
        if let Some(before) = self.places[label.0 as usize] {
            self.labels_mut(before).retain(|other| *other != label);
        }
        self.move_labels(vec![label], at);
    }

    /// A label at the start of an instruction: one that is there, or a new one.
    pub fn label_at(&mut self, id: InstructionId) -> Label {
        if let Some(label) = self.lines[id.index()].labels.first() {
            return *label;
        }
        let label = self.new_label();
        self.place(label, Some(id));
        label
    }

    /// The instruction at which a label is; `None` for the end of the code and for a label that has no place.
    ///
    /// # Panics
    ///
    /// When the label belongs to another body that has more of them.
    pub fn target(&self, label: Label) -> Option<InstructionId> {
        self.places[label.0 as usize].flatten()
    }

    /// The unit's debug events, in the order of the file, with the instruction that each is about: the one that it
    /// comes before, or the call that it comes after. `None` stands for the end of the code. Positions are those
    /// before lifting.
    pub fn events(&self) -> impl Iterator<Item = (Option<InstructionId>, &Event)> + '_ {
        self.events.all.iter().map(|placed| (placed.subject(), &placed.event))
    }

    pub(super) fn labels_mut(&mut self, at: Option<InstructionId>) -> &mut Vec<Label> {
        match at {
            Some(id) => &mut self.lines[id.index()].labels,
            None => &mut self.end_labels,
        }
    }

    fn move_labels(&mut self, labels: Vec<Label>, to: Option<InstructionId>) {
        for label in &labels {
            self.places[label.0 as usize] = Some(to);
        }
        self.labels_mut(to).extend(labels);
    }

    fn add(
        &mut self,
        instruction: Instruction,
        before: Option<InstructionId>,
        after: Option<InstructionId>,
    ) -> InstructionId {
        let id = InstructionId(u32::try_from(self.lines.len()).expect("fewer than 2^32 instructions"));
        self.lines.push(Line { instruction, labels: Vec::new(), before, after, removed: false });
        match before {
            Some(before) => self.lines[before.index()].after = Some(id),
            None => self.first = Some(id),
        }
        match after {
            Some(after) => self.lines[after.index()].before = Some(id),
            None => self.last = Some(id),
        }
        id
    }
}
