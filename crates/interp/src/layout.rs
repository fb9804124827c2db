//! The layout of code in the heap and on the stack: closures, code objects and frames.
//!
//! ```text
//! closure              code  closinfo  variable…                                     [code object]
//! of several functions code  closinfo  {infix header  code  closinfo}…  variable…    [code object]
//! through the stub     CALL_DYN  closinfo  …  variable…  offset of each function, last first…  code object
//! partial application  code of RESTART  closinfo  closure  argument…
//! code object          ()  closinfo  owner  code address  slots  import…  slots of each import…
//!
//! return frame         pc  env  extra_args
//! frame of a primitive pc  env
//! trap frame           handler  depth of the previous trap frame  env  extra_args
//! event frame          accu  pc  env  extra_args
//! callback             STOP
//! ```
//!
//! Frames have OCaml's layout (`runtime/interp.c`), top word first. So do closures (`runtime/caml/mlvalues.h`), except
//! for the words that loaded code adds at their ends.
//!
//! A code object owns loaded code. Its owner field is an external that drops the unit when the object dies; nothing
//! else refers to that external. The slots (literals, and the unit's definitions) are a separate pinned block, which
//! the unit's code reads by address. They live exactly as long as the code, because only the code object refers to
//! them. To programs, a code object is a closure without code, like one that `let rec` has not filled in yet. So
//! nothing calls it, and in checked code nothing reads, writes, copies or retags it, and no value of a program refers
//! to the slots.

use spelter_heap::Val;
use spelter_heap::raw::Value;

use crate::code::Registry;
use crate::exec::regs::Regs;

/// Words from one function of a closure block to the next: code, closinfo, infix header.
pub(crate) const SIBLING_WORDS: usize = 3;

/// The field of a partial application that holds the function.
pub const PARTIAL_FUNCTION: usize = 2;

/// Fields of a partial application in front of its arguments.
pub(crate) const PARTIAL_PREFIX: usize = PARTIAL_FUNCTION + 1;

/// Fields of a code object.
pub(crate) const OBJECT_OWNER: usize = 2;
pub(crate) const OBJECT_CODE: usize = 3;
pub(crate) const OBJECT_SLOTS: usize = 4;
pub(crate) const OBJECT_IMPORTS: usize = 5;

/// Words of a return frame.
pub(crate) const RETURN_FRAME: usize = 3;

/// Words of a trap frame.
pub(crate) const TRAP_FRAME: usize = 4;

/// The second word of a function in a closure block whose variables begin `variables` words after the function's code.
/// Bytecode has arity 0.
#[inline(always)]
pub(crate) fn closinfo(variables: usize) -> Value {
    Value::int(variables as i64)
}

/// Extracts from such a word where the variables begin: the bits above the eight bits of the arity.
#[inline(always)]
pub(crate) fn variables_at(closinfo: Value) -> usize {
    (closinfo.bits() << 8 >> 9) as usize
}

/// How many functions a closure block has.
pub(crate) fn function_count(block: Value) -> usize {
    // SAFETY: callers pass closure blocks, whose second word is a closinfo.
    variables_at(unsafe { block.field(1) }).div_ceil(SIBLING_WORDS).max(1)
}

/// The code word of a function in a closure block.
pub(crate) fn function_code(block: Value, function: usize) -> Value {
    // SAFETY: callers pass closure blocks with that many functions, at this distance.
    unsafe { block.field(function * SIBLING_WORDS) }
}

/// The purpose of a code object's field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ObjectField {
    /// Marks the block as one that owns code.
    Own,
    /// The unit's slots.
    Slots,
    /// The code object of the import with that number.
    Import(usize),
    /// The slots of the import with that number.
    ImportSlots(usize),
}

impl ObjectField {
    /// The purpose of field `i` of this code object.
    pub fn of(object: Val<'_>, i: usize) -> ObjectField {
        let imports = object.wosize().unwrap_or(0).saturating_sub(OBJECT_IMPORTS) / 2;
        match i.checked_sub(OBJECT_IMPORTS) {
            Some(import) if import < imports => ObjectField::Import(import),
            Some(import) => ObjectField::ImportSlots(import - imports),
            None if i == OBJECT_SLOTS => ObjectField::Slots,
            None => ObjectField::Own,
        }
    }
}

/// An item on a stack, listed from the top.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Item {
    /// The frame of an exception handler: its address, and `env`.
    Trap { handler: usize, env: Value },
    /// A function that has called, or was interrupted for a primitive or an action: where it continues, and `env`. Only
    /// these two words of its frame are part of the item; those below follow as words.
    Frame { pc: usize, env: Value },
    /// Any other word, including the return address of a callback, which is in no unit.
    Word(Value),
}

/// Walks a stack. Each item comes with its depth, the number of words from its first word to the bottom of the stack.
pub(crate) struct Items<'a> {
    words: &'a [Value],
    trap: usize,
    registry: &'a Registry,
}

impl<'a> Items<'a> {
    /// Walks these words, top first. `trap` is the depth of the innermost trap frame.
    pub(crate) fn new(words: &'a [Value], trap: usize, registry: &'a Registry) -> Self {
        Items { words, trap, registry }
    }
}

impl Iterator for Items<'_> {
    type Item = (usize, Item);

    fn next(&mut self) -> Option<(usize, Item)> {
        let (words, depth) = (self.words, self.words.len());
        let v = *words.first()?;
        let beside = |n: usize| words.get(n).copied().unwrap_or(Value::UNIT);
        let address = Regs::code_address(v) as usize;
        let (item, size) = if depth == self.trap {
            self.trap = beside(1).as_int() as usize;
            (Item::Trap { handler: address, env: beside(2) }, TRAP_FRAME)
        } else if Regs::is_code_value(v) && self.registry.find(address).is_some() {
            (Item::Frame { pc: address, env: beside(1) }, 2)
        } else {
            (Item::Word(v), 1)
        };
        self.words = &words[size.min(depth)..];
        Some((depth, item))
    }
}
