//! Backtraces: the code points recorded while an exception propagates, and the debug events that map them to source
//! places.
//!
//! Recording follows `runtime/backtrace_byt.c`: first the address that raised, then every code address between `sp` and
//! the trap frame.

use spelter_bytecode::debug::{Event, EventTable};
use spelter_heap::OutOfMemory;
use spelter_heap::raw::Value;

use crate::Machine;
pub use crate::code::point::CodePoint;
use crate::code::{Registry, Unit};
use crate::exec::regs::Regs;
use crate::fallible;
use crate::prim::Raise;

/// The maximum number of addresses in a backtrace.
pub const MAX_BACKTRACE: usize = 1024;

/// A unit's debug events, read on first use.
#[derive(Default)]
pub enum DebugInfo {
    /// Compiled without `-g`.
    #[default]
    None,
    /// To be read on first use. The function returns `None` if there are none.
    Later(Box<dyn Fn() -> Result<Option<EventTable>, Unread>>),
    /// Read.
    Events(EventTable),
    /// They could not be read.
    Failed(DebugFault),
}

/// Why debug events could not be read. The numbers are those that programs receive (`caml/startup.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DebugFault {
    /// The program's file cannot be opened, or no longer exists.
    FileNotFound = -1,
    /// The file is too short for an executable, or its table of contents is invalid.
    BadBytecode = -2,
    /// The file does not end with the magic number.
    WrongMagic = -3,
    /// The process has too many files open.
    NoDescriptors = -4,
}

/// Why debug events have not been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// They cannot be read.
    Fault(DebugFault),
    /// There is not enough memory now; a later attempt may succeed.
    OutOfMemory,
}

impl From<DebugFault> for Unread {
    fn from(fault: DebugFault) -> Unread {
        Unread::Fault(fault)
    }
}

impl DebugInfo {
    /// The events, which are read now if they were not before.
    pub(crate) fn events(&mut self) -> Result<Option<&EventTable>, OutOfMemory> {
        if let DebugInfo::Later(read) = self {
            *self = match read() {
                Ok(events) => events.map_or(DebugInfo::None, DebugInfo::Events),
                Err(Unread::Fault(fault)) => DebugInfo::Failed(fault),
                Err(Unread::OutOfMemory) => return Err(OutOfMemory { words: 0 }),
            };
        }
        Ok(match self {
            DebugInfo::Events(table) => Some(table),
            _ => None,
        })
    }

    pub(crate) fn bytes(&self) -> usize {
        match self {
            DebugInfo::Events(table) => size_of_val(table.events()),
            _ => 0,
        }
    }
}

/// The code point to which a word of the stack refers, if it is a code address.
pub(crate) fn code_point(registry: &Registry, word: Value) -> Option<CodePoint> {
    let address = Regs::is_code_value(word).then(|| Regs::code_address(word) as usize)?;
    registry.find(address).map(|unit| CodePoint::new(unit, address))
}

impl Machine {
    /// Whether exceptions record a backtrace.
    pub fn backtrace_active(&self) -> bool {
        self.backtrace_active
    }

    /// Sets whether exceptions record a backtrace, and returns the previous setting.
    pub fn set_backtrace_active(&mut self, active: bool) -> bool {
        std::mem::replace(&mut self.backtrace_active, active)
    }

    /// The backtrace of the running thread's last exception, innermost first.
    pub fn backtrace(&self) -> &[CodePoint] {
        &self.roots.thread.points
    }

    /// Replaces the backtrace, for the same exception.
    pub fn set_backtrace(&mut self, points: Vec<CodePoint>) {
        self.roots.thread.points = points;
    }

    /// Records the stack between `sp` and the trap frame for the machine's current exception. The raising address has
    /// been pushed.
    pub(crate) fn record_backtrace(&mut self, reraise: bool) {
        if !self.backtrace_active {
            return;
        }
        if !reraise || self.roots.thread.exn.get() != self.roots.thread.backtrace_exn {
            self.roots.thread.points.clear();
            self.roots.thread.backtrace_exn = self.roots.thread.exn.get();
        }
        let depth = self.roots.thread.stack.depth().saturating_sub(self.roots.thread.trap_depth);
        let words = &self.roots.thread.stack.live()[..depth];
        let registry = self.registry.borrow();
        for v in words {
            if self.roots.thread.points.len() == MAX_BACKTRACE {
                break;
            }
            // Without memory, the backtrace is shorter.
            if let Some(point) = code_point(&registry, *v)
                && fallible::push(&mut self.roots.thread.points, point).is_err()
            {
                break;
            }
        }
    }

    /// Makes `points` the backtrace, as that of the exception in `exn`, which is about to be raised
    /// (`caml_restore_raw_backtrace`).
    pub fn restore_backtrace(&mut self, exn: crate::Slot, points: Vec<CodePoint>) {
        self.roots.thread.backtrace_exn = self.raw(exn);
        self.roots.thread.points = points;
        self.roots.thread.points.truncate(MAX_BACKTRACE);
    }

    /// The code points on the stack, innermost first: return addresses, without those of exception handlers.
    ///
    /// # Errors
    /// When there is not enough memory.
    pub fn current_callstack(&self, max: usize) -> Result<Vec<CodePoint>, Raise> {
        Ok(self.roots.thread.callstack(&self.registry.borrow(), max)?)
    }

    /// The backtrace of the exception last raised; empty if exceptions do not record one.
    ///
    /// # Errors
    /// When there is no memory for a copy.
    pub fn recorded_points(&self) -> Result<Vec<CodePoint>, Raise> {
        let points = if self.backtrace_active { self.backtrace() } else { &[] };
        Ok(fallible::to_vec(points)?)
    }

    /// Where a code point is in the source, and whether its instruction raises. Nothing is known about code that has
    /// been freed.
    ///
    /// # Errors
    /// When there is no memory to read the debug events.
    pub fn locate(&self, point: CodePoint) -> Result<Located, OutOfMemory> {
        let registry = self.registry.borrow();
        let position = point.position();
        let Some(unit) = registry.get(point.unit()) else {
            return Ok(Located { is_raise: false, place: None });
        };
        let op = unit.word(position).and_then(spelter_bytecode::Opcode::from_word);
        let is_raise =
            matches!(op, Some(spelter_bytecode::Opcode::RAISE | spelter_bytecode::Opcode::RERAISE));
        let mut debug = unit.debug.borrow_mut();
        let event = debug.events()?.and_then(|table| table.find(4 * position));
        Ok(Located { is_raise, place: event.map(Place::of).transpose()? })
    }

    /// Where the code at an address is in the source.
    pub fn locate_address(&self, address: usize) -> Option<Place> {
        let point = self.registry.borrow().find(address).map(|unit| CodePoint::new(unit, address));
        self.locate(point?).ok()?.place
    }

    /// Reads the debug events that have not been read yet.
    pub fn read_debug_info(&self) {
        for unit in self.registry.borrow().iter() {
            // Events for which there is no memory now are read on first use.
            let _ = unit.debug.borrow_mut().events();
        }
    }

    /// Why the program's debug events could not be read, if that was attempted.
    pub fn debug_fault(&self) -> Option<DebugFault> {
        self.registry.borrow().iter().find_map(|unit| match &*unit.debug.borrow() {
            DebugInfo::Failed(fault) => Some(*fault),
            _ => None,
        })
    }

    /// Whether any unit has debug events.
    pub fn has_debug_info(&self) -> bool {
        self.registry.borrow().iter().any(|unit| matches!(unit.debug.borrow_mut().events(), Ok(Some(_))))
    }
}

impl Unit {
    /// The place of the last debug event before the instruction at a byte offset, or at it: every function begins with
    /// one.
    ///
    /// # Errors
    /// When there is no memory to read the events.
    pub(crate) fn place_before(&self, byte: usize) -> Result<Option<Place>, OutOfMemory> {
        let mut debug = self.debug.borrow_mut();
        let Some(table) = debug.events()? else { return Ok(None) };
        let events = table.events();
        let before = events.partition_point(|event| event.pos <= byte).checked_sub(1);
        before.map(|i| Place::of(&events[i])).transpose()
    }
}

/// What is known about a code point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// Whether the instruction there raises.
    pub is_raise: bool,
    /// Its place in the source.
    pub place: Option<Place>,
}

/// A place in a source file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file name, as it was given to the compiler.
    pub file: String,
    /// The line, from 1.
    pub line: i64,
    /// The column of the first character, from 0.
    pub start: i64,
    /// The column after the last character, counted from the start of the first line.
    pub end: i64,
    /// The last line.
    pub end_line: i64,
    /// The column after the last character, in its own line.
    pub end_in_line: i64,
    /// The enclosing definition, `Module.f`.
    pub definition: String,
}

impl Place {
    pub(crate) fn of(event: &Event) -> Result<Place, OutOfMemory> {
        Ok(Place {
            file: fallible::to_string(&event.loc.file)?,
            line: event.loc.start.line,
            start: event.loc.start_col(),
            end: event.loc.end_col(),
            end_line: event.loc.end.line,
            end_in_line: event.loc.end.offset.wrapping_sub(event.loc.end.line_start),
            definition: fallible::to_string(&event.defname)?,
        })
    }
}
