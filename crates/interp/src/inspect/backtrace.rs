//! Backtraces: places in code recorded while an exception passes, and the events that give them names.
//!
//! Recording follows `runtime/backtrace_byt.c`: the address that raised, then every code address between
//! `sp` and the trap frame.

use spelter_bytecode::debug::{Event, EventTable};
use spelter_heap::raw::Value;

use crate::Machine;
use crate::code::{Registry, Unit, UnitId};
use crate::exec::regs::Regs;
use crate::layout::{Item, Items};
use crate::threads::state::ThreadState;

/// Addresses that one backtrace holds at most.
pub const MAX_BACKTRACE: usize = 1024;

/// A place in code that stays one: a unit's number and a position, not an address, which the next unit may get when
/// this one has been freed. OCaml programs keep these as integers, without the collector's knowledge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CodePoint(i64);

impl CodePoint {
    /// Bits of the position in words. The unit's number has the others of a positive OCaml integer.
    const POSITION_BITS: u32 = 28;
    const UNIT_BITS: u32 = 62 - Self::POSITION_BITS;

    /// No number is that of unit 0, so a point that does not fit is one of nowhere.
    fn new(unit: &Unit, address: usize) -> CodePoint {
        let position = unit.position(address);
        let fits = position >> Self::POSITION_BITS == 0 && unit.id.0 >> Self::UNIT_BITS == 0;
        CodePoint(if fits { (unit.id.0 << Self::POSITION_BITS) as i64 | position as i64 } else { 0 })
    }

    /// The integer that OCaml code sees.
    pub fn to_int(self) -> i64 {
        self.0
    }

    /// The point that some integer stands for: any is one, if of nowhere.
    pub fn from_int(n: i64) -> CodePoint {
        CodePoint(n)
    }

    fn unit(self) -> UnitId {
        UnitId((self.0 >> Self::POSITION_BITS) as u64)
    }

    fn position(self) -> usize {
        (self.0 & ((1 << Self::POSITION_BITS) - 1)) as usize
    }
}

/// A unit's debug events: read when first asked for.
#[derive(Default)]
pub enum DebugInfo {
    /// Compiled without `-g`.
    #[default]
    None,
    /// To be read: nothing, if there are none.
    Later(Box<dyn FnOnce() -> Result<Option<EventTable>, DebugFault>>),
    /// Read.
    Events(EventTable),
    /// They could not be read.
    Failed(DebugFault),
}

/// Why debug events could not be read. Programs get the numbers (`caml/startup.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DebugFault {
    /// The program's file cannot be opened, or is not there any more.
    FileNotFound = -1,
    /// The file is too short for an executable, or its table of contents makes no sense.
    BadBytecode = -2,
    /// The file does not end with the magic number.
    WrongMagic = -3,
    /// The process has too many files open.
    NoDescriptors = -4,
}

impl DebugInfo {
    /// The events, read now if they were not before.
    pub(crate) fn events(&mut self) -> Option<&EventTable> {
        if let DebugInfo::Later(_) = self
            && let DebugInfo::Later(read) = std::mem::take(self)
        {
            *self = match read() {
                Ok(events) => events.map_or(DebugInfo::None, DebugInfo::Events),
                Err(fault) => DebugInfo::Failed(fault),
            };
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

/// The place in code that a word of the stack leads to, if it is a code address.
pub(crate) fn code_point(registry: &Registry, word: Value) -> Option<CodePoint> {
    let address = Regs::is_code_value(word).then(|| Regs::code_address(word) as usize)?;
    registry.find(address).map(|unit| CodePoint::new(unit, address))
}

impl ThreadState {
    /// The places in code on its stack, innermost first: where functions go on, not where handlers are.
    pub(crate) fn callstack(&self, registry: &Registry, max: usize) -> Vec<CodePoint> {
        let items = Items::new(self.stack.words(), self.trap_depth, registry);
        let frames = items.filter_map(|(_, item)| match item {
            Item::Frame { pc, .. } => registry.find(pc).map(|unit| CodePoint::new(unit, pc)),
            _ => None,
        });
        frames.take(max).collect()
    }
}

impl Machine {
    /// Whether exceptions record where they pass.
    pub fn backtrace_active(&self) -> bool {
        self.backtrace_active
    }

    /// Sets whether exceptions record where they pass; says what was so before.
    pub fn set_backtrace_active(&mut self, active: bool) -> bool {
        std::mem::replace(&mut self.backtrace_active, active)
    }

    /// Where the running thread's last exception passed, innermost first.
    pub fn backtrace(&self) -> &[CodePoint] {
        &self.roots.thread.points
    }

    /// Makes the backtrace another one, of the same exception.
    pub fn set_backtrace(&mut self, points: Vec<CodePoint>) {
        self.roots.thread.points = points;
    }

    /// Records the stack between `sp` and the trap frame on behalf of the exception left in the machine. The
    /// raising address has been pushed.
    pub(crate) fn record_backtrace(&mut self, reraise: bool) {
        if !self.backtrace_active {
            return;
        }
        if !reraise || self.roots.thread.exn != self.roots.thread.backtrace_exn {
            self.roots.thread.points.clear();
            self.roots.thread.backtrace_exn = self.roots.thread.exn;
        }
        let depth = self.roots.thread.stack.depth().saturating_sub(self.roots.thread.trap_depth);
        let words = &self.roots.thread.stack.live()[..depth];
        let registry = self.registry.borrow();
        for v in words {
            if self.roots.thread.points.len() == MAX_BACKTRACE {
                break;
            }
            self.roots.thread.points.extend(code_point(&registry, *v));
        }
    }

    /// Clears the buffer if it belongs to another exception than the current one, which is about to get
    /// `points` (`caml_restore_raw_backtrace`).
    pub fn restore_backtrace(&mut self, exn: crate::Slot, points: Vec<CodePoint>) {
        self.roots.thread.backtrace_exn = self.raw(exn);
        self.roots.thread.points = points;
        self.roots.thread.points.truncate(MAX_BACKTRACE);
    }

    /// The places in code on the stack, innermost first: return addresses without trap handlers.
    pub fn current_callstack(&self, max: usize) -> Vec<CodePoint> {
        self.roots.thread.callstack(&self.registry.borrow(), max)
    }

    /// Where a place in code is in the source, and whether it raises. Of code that has been freed nothing is known.
    pub fn locate(&self, point: CodePoint) -> Located {
        let registry = self.registry.borrow();
        let position = point.position();
        let Some(unit) = registry.get(point.unit()) else { return Located { is_raise: false, place: None } };
        let op = unit.word(position).and_then(spelter_bytecode::Opcode::from_word);
        let is_raise =
            matches!(op, Some(spelter_bytecode::Opcode::RAISE | spelter_bytecode::Opcode::RERAISE));
        let mut debug = unit.debug.borrow_mut();
        let place = debug.events().and_then(|table| table.find(4 * position)).map(Place::of);
        Located { is_raise, place }
    }

    /// Where an address that is code now is in the source.
    pub fn locate_address(&self, address: usize) -> Option<Place> {
        let point = self.registry.borrow().find(address).map(|unit| CodePoint::new(unit, address));
        self.locate(point?).place
    }

    /// Reads the debug events that have not been read.
    pub fn read_debug_info(&self) {
        for unit in self.registry.borrow().iter() {
            unit.debug.borrow_mut().events();
        }
    }

    /// Why the program's debug events could not be read, if that has been tried.
    pub fn debug_fault(&self) -> Option<DebugFault> {
        self.registry.borrow().iter().find_map(|unit| match &*unit.debug.borrow() {
            DebugInfo::Failed(fault) => Some(*fault),
            _ => None,
        })
    }

    /// Whether any unit's debug events can be had.
    pub fn has_debug_info(&self) -> bool {
        self.registry.borrow().iter().any(|unit| unit.debug.borrow_mut().events().is_some())
    }
}

/// What is known of a place in code.
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
