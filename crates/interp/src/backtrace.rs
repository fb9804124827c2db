//! Backtraces: code addresses recorded while an exception passes, and the events that give them names.
//!
//! Recording follows `runtime/backtrace_byt.c`: the address that raised, then every code address between
//! `sp` and the trap frame.

use spelter_bytecode::debug::{Event, EventTable};

use crate::Machine;
use crate::regs::Regs;

/// Addresses that one backtrace holds at most.
pub const MAX_BACKTRACE: usize = 1024;

/// The backtrace of the exception last raised.
#[derive(Default)]
pub struct Backtrace {
    /// Whether exceptions record where they pass.
    pub active: bool,
    /// Code addresses, innermost first.
    pub addresses: Vec<usize>,
}

/// A unit's debug events: read when first asked for.
#[derive(Default)]
pub enum DebugInfo {
    /// Compiled without `-g`.
    #[default]
    None,
    /// To be read: nothing, if that fails.
    Later(Box<dyn FnOnce() -> Option<EventTable>>),
    /// Read.
    Events(EventTable),
}

impl DebugInfo {
    /// The events, read now if they were not before.
    pub(crate) fn events(&mut self) -> Option<&EventTable> {
        if let DebugInfo::Later(_) = self
            && let DebugInfo::Later(read) = std::mem::take(self)
        {
            *self = read().map_or(DebugInfo::None, DebugInfo::Events);
        }
        match self {
            DebugInfo::Events(table) => Some(table),
            _ => None,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        match self {
            DebugInfo::Events(table) => size_of_val(table.events()),
            _ => 0,
        }
    }
}

impl Machine {
    /// Records the stack between `sp` and the trap frame on behalf of the exception left in the machine. The
    /// raising address has been pushed.
    pub(crate) fn record_backtrace(&mut self, reraise: bool) {
        if !self.backtrace.active {
            return;
        }
        if !reraise || self.roots.exn != self.roots.backtrace_exn {
            self.backtrace.addresses.clear();
            self.roots.backtrace_exn = self.roots.exn;
        }
        let depth = self.roots.stack.depth().saturating_sub(self.trap_depth);
        let words = &self.roots.stack.live()[..depth];
        let registry = self.registry.borrow();
        for v in words {
            if self.backtrace.addresses.len() == MAX_BACKTRACE {
                break;
            }
            if Regs::is_code_value(*v) && registry.find(Regs::code_address(*v) as usize).is_some() {
                self.backtrace.addresses.push(Regs::code_address(*v) as usize);
            }
        }
    }

    /// Clears the buffer if it belongs to another exception than the current one, which is about to get
    /// `addresses` (`caml_restore_raw_backtrace`).
    pub fn restore_backtrace(&mut self, exn: crate::Slot, addresses: Vec<usize>) {
        self.roots.backtrace_exn = self.raw(exn);
        self.backtrace.addresses = addresses;
        self.backtrace.addresses.truncate(MAX_BACKTRACE);
    }

    /// The code addresses on the stack, innermost first: return addresses without trap handlers.
    pub fn current_callstack(&mut self, max: usize) -> Vec<usize> {
        let registry = self.registry.borrow();
        let base = self.roots.stack.depth();
        let mut trap = self.trap_depth;
        let mut found = Vec::new();
        let words = self.roots.stack.live();
        for (i, v) in words.iter().enumerate() {
            if found.len() == max {
                break;
            }
            if base - i == trap {
                // The handler of a trap frame; the next word links to the frame below.
                trap = words[i + 1].as_int() as usize;
            } else if Regs::is_code_value(*v) && registry.find(Regs::code_address(*v) as usize).is_some() {
                found.push(Regs::code_address(*v) as usize);
            }
        }
        found
    }

    /// Where a code address is in the source, and whether it raises.
    pub fn locate(&self, address: usize) -> Located {
        let registry = self.registry.borrow();
        let Some(unit) = registry.find(address) else { return Located { is_raise: false, place: None } };
        let position = unit.position(address);
        let op = unit.word(position).and_then(spelter_bytecode::Opcode::from_word);
        let is_raise =
            matches!(op, Some(spelter_bytecode::Opcode::RAISE | spelter_bytecode::Opcode::RERAISE));
        let mut debug = unit.debug.borrow_mut();
        let place = debug.events().and_then(|table| table.find(4 * position)).map(Place::of);
        Located { is_raise, place }
    }

    /// Whether any unit's debug events can be had.
    pub fn has_debug_info(&self) -> bool {
        self.registry.borrow().iter().any(|unit| unit.debug.borrow_mut().events().is_some())
    }
}

/// What is known of a code address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// Whether the instruction there raises.
    pub is_raise: bool,
    /// Where it stands in the source.
    pub place: Option<Place>,
}

/// A place in a source file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as the compiler was told.
    pub file: String,
    /// The line, from 1.
    pub line: i64,
    /// The column of the first character, from 0.
    pub start: i64,
    /// The column behind the last, counted from the start's line.
    pub end: i64,
    /// The enclosing definition, `Module.f`.
    pub definition: String,
}

impl Place {
    pub(crate) fn of(event: &Event) -> Place {
        Place {
            file: event.loc.file.to_string(),
            line: event.loc.start.line,
            start: event.loc.start_col(),
            end: event.loc.end_col(),
            definition: event.defname.to_string(),
        }
    }
}
