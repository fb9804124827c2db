//! Instructions: their numbers, names, operands, and their effects on the stack and on control flow.

mod table;

use std::fmt;

/// What an operand word means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OperandKind {
    /// An index into the stack, from the top.
    Depth,
    /// A number of words, arguments, variables or functions; not negative.
    Count,
    /// A number of fields or arguments; at least 1.
    Size,
    /// The size of the current frame in words, arguments included.
    FrameSize,
    /// A field of the environment block.
    EnvField,
    /// A displacement in words within a block of mutually recursive closures.
    Words,
    /// A code address, in code words relative to the word that holds it.
    Offset,
    /// The variable rest of `SWITCH` and `CLOSUREREC`: code addresses relative to the first of them.
    Offsets,
    /// Two 16-bit sizes: constant cases in the low half, block cases in the high half.
    TableSize,
    /// A slot of the global block.
    Global,
    /// A slot of the unit's own list (internal instructions only).
    Slot,
    /// A field of a block.
    Field,
    /// The tag of a block.
    Tag,
    /// A primitive.
    Prim,
    /// A signed integer constant.
    Int,
    /// The hash of a method name.
    MethodTag,
    /// Room for the inline method cache; 0 in files.
    Cache,
}

/// One operand of an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Operand {
    /// Its name in the table.
    pub name: &'static str,
    /// What it means.
    pub kind: OperandKind,
}

/// A number of stack words, possibly given by an operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Amount {
    /// Always this many.
    Fixed(u32),
    /// The value of the operand with that index.
    Operand(u8),
    /// One less than the operand's value (the accumulator holds the other one), and none for 0.
    LessOne(u8),
}

impl Amount {
    /// The number of words for an instruction with these operands; `None` when the operand is negative.
    pub fn of(self, operands: &[i32]) -> Option<u32> {
        let operand = |i: u8| u32::try_from(*operands.get(usize::from(i))?).ok();
        match self {
            Amount::Fixed(n) => Some(n),
            Amount::Operand(i) => operand(i),
            Amount::LessOne(i) => Some(operand(i)?.saturating_sub(1)),
        }
    }
}

/// An index that is part of the instruction or an operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Index {
    /// Part of the instruction.
    Is(i32),
    /// The operand of that index.
    Op(u8),
}

impl Index {
    /// The index for an instruction with these operands.
    pub fn of(self, operands: &[i32]) -> i32 {
        match self {
            Index::Is(n) => n,
            Index::Op(i) => operands.get(usize::from(i)).copied().unwrap_or(-1),
        }
    }
}

/// Which part of the frame or the environment an instruction reads or writes by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// None.
    Nothing,
    /// A stack word, counted after the accumulator was pushed.
    Stack(Index),
    /// A field of the environment.
    Env(Index),
    /// A closure of the same block, that many words from the environment.
    Sibling(Index),
}

/// Where control goes after an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flow {
    /// To the next instruction.
    Next,
    /// To the target.
    Jump,
    /// To the target or the next instruction.
    Branch,
    /// To one of the targets.
    Switch,
    /// To the next instruction; the target is where the matching `APPLY` returns to.
    PushRetaddr,
    /// To the return address below the arguments, once the call returns.
    Apply,
    /// To another function, as a tail call: the frame (size in operand `frame`) is replaced by `args` words.
    TailCall {
        /// How many words replace the frame.
        args: Amount,
        /// The index of the operand that holds the size of the frame.
        frame: u8,
    },
    /// Out of the function; the operand is the size of the frame.
    Return,
    /// To the `GRAB` that follows, with saved arguments pushed.
    Restart,
    /// To the next instruction; used at the entry of functions with several arguments.
    Grab,
    /// To the next instruction; the target is the entry of a function.
    Closure,
    /// To the next instruction; the targets are entries of functions.
    ClosureRec,
    /// To the next instruction; the target is an exception handler.
    PushTrap,
    /// To the next instruction; ends the scope of an exception handler.
    PopTrap,
    /// To the innermost exception handler.
    Raise,
    /// Out of the interpreter.
    Stop,
    /// To the code that the environment refers to.
    Stub,
}

impl Flow {
    /// Whether control never falls through to the next instruction.
    pub const fn ends_block(self) -> bool {
        matches!(
            self,
            Flow::Jump
                | Flow::Switch
                | Flow::Apply
                | Flow::TailCall { .. }
                | Flow::Return
                | Flow::Raise
                | Flow::Stop
                | Flow::Stub
        )
    }
}

/// The effect flag for instructions that may allocate on the heap.
pub const ALLOC: u8 = 1;
/// The effect flag for instructions that may raise an exception.
pub const RAISE: u8 = 2;
/// The effect flag for instructions that may run other code: closures, primitives, signal handlers.
pub const CALL: u8 = 4;

/// Where an instruction may occur.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Since {
    /// In files of every version.
    All,
    /// In files of OCaml 5.0 and later.
    V5_0,
    /// In memory only, written by the debugger.
    Debugger,
    /// In memory only, written by the patcher of dynamically loaded code.
    Internal,
    /// In no code: the machine itself jumps there.
    Snippet,
}

/// The table's facts about an instruction.
///
/// The order of stack effects is: push the accumulator (if `push_accu`), do the work (`access` counts from
/// here), pop `pops` words, push `pushes` words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Facts {
    /// Whether the accumulator is pushed first.
    pub push_accu: bool,
    /// What is read or written by index.
    pub access: Access,
    /// How many words are popped.
    pub pops: Amount,
    /// How many words are pushed last.
    pub pushes: Amount,
    /// Where control goes.
    pub flow: Flow,
    /// [`ALLOC`], [`RAISE`] and [`CALL`].
    pub effects: u8,
    /// Where it may occur.
    pub since: Since,
}

impl Facts {
    /// The facts of an instruction that changes only the accumulator: the default for a row without facts.
    pub const PLAIN: Facts = Facts {
        push_accu: false,
        access: Access::Nothing,
        pops: Amount::Fixed(0),
        pushes: Amount::Fixed(0),
        flow: Flow::Next,
        effects: 0,
        since: Since::All,
    };

    /// Whether it may allocate on the heap (and so start a collection).
    pub const fn may_allocate(&self) -> bool {
        self.effects & ALLOC != 0
    }

    /// Whether it may raise an OCaml exception.
    pub const fn may_raise(&self) -> bool {
        self.effects & RAISE != 0
    }

    /// Whether it may run closures, primitives or signal handlers.
    pub const fn may_call(&self) -> bool {
        self.effects & CALL != 0
    }
}

/// How many words an instruction has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// The opcode and this many operands.
    Fixed(usize),
    /// `SWITCH s`: the number of offsets that follow is the sum of both halves of `s`.
    Switch,
    /// `CLOSUREREC f v`: `f` offsets follow.
    ClosureRec,
}

macro_rules! opcodes {
    ($($number:literal $name:ident ($($operand:ident: $kind:ident),*) { $($fact:ident: $value:expr),* } $doc:literal;)*) => {
        /// An instruction.
        #[allow(non_camel_case_types, reason = "these are the names that OCaml gives them")]
        #[allow(clippy::upper_case_acronyms, reason = "these are the names that OCaml gives them")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum Opcode {
            $(#[doc = concat!("`", $doc, "`")] $name = $number,)*
        }

        impl Opcode {
            /// Every instruction, in the order of the numbers.
            pub const ALL: &'static [Opcode] = &[$(Opcode::$name),*];

            /// The instruction with that number.
            pub const fn from_word(word: i32) -> Option<Opcode> {
                match word {
                    $($number => Some(Opcode::$name),)*
                    _ => None,
                }
            }

            /// OCaml's name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Opcode::$name => stringify!($name),)*
                }
            }

            /// What it does, in a few words.
            pub const fn doc(self) -> &'static str {
                match self {
                    $(Opcode::$name => $doc,)*
                }
            }

            /// Its operands. A last operand of kind [`OperandKind::Offsets`] stands for several words.
            pub const fn operands(self) -> &'static [Operand] {
                match self {
                    $(Opcode::$name => &[
                        $(Operand { name: stringify!($operand), kind: OperandKind::$kind }),*
                    ],)*
                }
            }

            /// The table's facts about it. [`OpcodeSet::facts`] has those for one version.
            pub const fn facts(self) -> &'static Facts {
                use {Access::*, Amount::*, Flow::*, Index::*, Since::*};
                match self {
                    $(Opcode::$name => {
                        const FACTS: Facts = Facts { $($fact: $value,)* ..Facts::PLAIN };
                        &FACTS
                    })*
                }
            }
        }
    };
}

crate::for_each_op!(opcodes);

impl Opcode {
    /// Its code word.
    pub const fn word(self) -> i32 {
        self as i32
    }

    /// How many words it has.
    pub const fn shape(self) -> Shape {
        match self.facts().flow {
            Flow::Switch => Shape::Switch,
            Flow::ClosureRec => Shape::ClosureRec,
            _ => Shape::Fixed(self.operands().len()),
        }
    }
}

impl fmt::Display for Opcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A subset of the table's instructions: those that a reader accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OpcodeSet {
    effects: Effects,
    internal: bool,
}

/// Whether a set has the instructions for effects, and in which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Effects {
    None,
    /// `RESUME` and `RESUMETERM` find the last fiber themselves.
    TwoOperands,
    /// They get it as a third stack operand.
    ThreeOperands,
}

impl OpcodeSet {
    /// The instructions of OCaml 4.
    pub const V4: OpcodeSet = OpcodeSet { effects: Effects::None, internal: false };
    /// The instructions of OCaml 5.0 and 5.1.
    pub const V5_0: OpcodeSet = OpcodeSet { effects: Effects::TwoOperands, ..OpcodeSet::V4 };
    /// The instructions of OCaml 5.2 and later: `RESUME` and `RESUMETERM` take one more operand.
    pub const V5_2: OpcodeSet = OpcodeSet { effects: Effects::ThreeOperands, ..OpcodeSet::V4 };

    /// The same and the internal instructions, for code written by the patcher.
    #[must_use]
    pub const fn with_internal(self) -> OpcodeSet {
        OpcodeSet { internal: true, ..self }
    }

    /// Whether the set contains the instruction. The debugger's instructions and snippets are in no set.
    pub const fn contains(self, op: Opcode) -> bool {
        match op.facts().since {
            Since::All => true,
            Since::V5_0 => !matches!(self.effects, Effects::None),
            Since::Internal => self.internal,
            Since::Debugger | Since::Snippet => false,
        }
    }

    /// The facts about an instruction in code of this set. Only two instructions differ between versions: the table's
    /// facts about them are those since OCaml 5.2.
    pub const fn facts(self, op: Opcode) -> &'static Facts {
        const RESUME: Facts = Facts { pops: Amount::Fixed(2), ..*Opcode::RESUME.facts() };
        const RESUMETERM: Facts = Facts {
            flow: Flow::TailCall { args: Amount::Fixed(2), frame: 0 },
            ..*Opcode::RESUMETERM.facts()
        };
        match (self.effects, op) {
            (Effects::TwoOperands, Opcode::RESUME) => &RESUME,
            (Effects::TwoOperands, Opcode::RESUMETERM) => &RESUMETERM,
            _ => op.facts(),
        }
    }
}

const _: () = {
    // Callers index tables by opcode, and shorten `PUSH; ACC n` to neighbours: the numbers are OCaml's.
    assert!(Opcode::GETSTRINGCHAR as i32 == 148);
    assert!(Opcode::REPERFORMTERM as i32 == 152);
    assert!(Opcode::CALL_DYN as i32 == 160);
    // The patcher writes these over each other without moving code.
    assert!(Opcode::GETSLOT.operands().len() == Opcode::GETGLOBAL.operands().len());
    assert!(Opcode::GETSLOTFIELD.operands().len() == Opcode::GETGLOBALFIELD.operands().len());
    assert!(Opcode::SETSLOT.operands().len() == Opcode::SETGLOBAL.operands().len());
};
