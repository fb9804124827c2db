//! Debug data: the source positions of instructions, read and written.

mod encode;

use std::collections::HashMap;
use std::sync::Arc;

pub use encode::encode;

use crate::dialect::Dialect;
use crate::error::{Error, ErrorKind, Result};
use crate::marshal::{Graph, GraphBuilder, Header, Item, NodeId};
use crate::room;
use crate::view::{Budget, View, add_strings};

/// A position in a source file (`Lexing.position`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// The line, from 1.
    pub line: i64,
    /// The offset of the line's start in the file.
    pub line_start: i64,
    /// The offset in the file.
    pub offset: i64,
}

/// A range of a source file (`Location.t`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Location {
    /// The file where it starts.
    pub file: Arc<str>,
    /// Where it starts.
    pub start: Position,
    /// Where it ends.
    pub end: Position,
    /// Whether the compiler invented it (a ghost location).
    pub ghost: bool,
}

impl Location {
    /// The column where it starts, in bytes.
    pub fn start_col(&self) -> i64 {
        self.start.offset.wrapping_sub(self.start.line_start)
    }

    /// Where it ends, in bytes from the start of its *first* line: what backtraces show up to 5.1.
    pub fn end_col(&self) -> i64 {
        self.end.offset.wrapping_sub(self.start.line_start)
    }
}

/// When an event happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// Before an expression.
    Before,
    /// After an expression, usually a call.
    After,
    /// A pseudo-event, for the debugger's internal use only.
    Pseudo,
}

/// The subject of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventInfo {
    /// The start of a function.
    Function,
    /// The return from an application to that many arguments.
    Return(i64),
    /// Anything else.
    Other,
}

/// One debug event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Event {
    /// The byte offset in the unit's code.
    pub pos: usize,
    /// The unit.
    pub module: Arc<str>,
    /// The source.
    pub loc: Location,
    /// When.
    pub kind: EventKind,
    /// The enclosing definition, such as `Ex.g`.
    pub defname: Arc<str>,
    /// Its subject.
    pub info: EventInfo,
    /// The size of the stack frame in words.
    pub stack_size: i64,
}

/// The encoded debug data of one unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebugUnit {
    code_offset: usize,
    bytes: Vec<u8>,
    dialect: &'static Dialect,
}

impl DebugUnit {
    /// Debug data as `.cmo` files hold it (two marshalled values) for code that starts at a byte offset.
    pub fn new(code_offset: usize, bytes: Vec<u8>, dialect: &'static Dialect) -> DebugUnit {
        DebugUnit { code_offset, bytes, dialect }
    }

    /// Where the unit's code starts, in bytes; the positions of events count from here.
    pub fn code_offset(&self) -> usize {
        self.code_offset
    }

    /// The marshalled values.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Decodes the events, in the order of the file (that is usually from the end of the code to its start).
    ///
    /// # Errors
    ///
    /// When the data is malformed.
    pub fn events(&self) -> Result<Vec<Event>> {
        let (graph, _) = Graph::decode(&self.bytes)?;
        room::collect(read_events(&graph)?.into_iter().map(|(_, event)| Ok(event)))
    }

    /// The marshalled values, decompressed if they were compressed: what executables hold. If a folder is given, it is
    /// put before the source directories, unless it is one of them.
    ///
    /// # Errors
    ///
    /// When the data is malformed.
    pub fn plain(&self, folder: Option<&str>) -> Result<Vec<u8>> {
        let header = Header::parse(&self.bytes)?;
        let events = header.whole(&self.bytes)?;
        let mut plain = match header.decompressed_len {
            Some(_) => Graph::decode(events)?.0.encode(self.dialect.colour),
            None => room::to_vec(events)?,
        };
        let mut dirs = self.dirs()?;
        if let Some(folder) = folder.filter(|folder| dirs.iter().all(|known| known != folder)) {
            dirs.insert(0, room::to_string(folder)?);
        }
        let mut graph = GraphBuilder::default();
        let root = add_strings(&mut graph, &dirs);
        room::extend(&mut plain, &graph.finish(root).encode(self.dialect.colour))?;
        Ok(plain)
    }

    /// Decodes the source directories.
    ///
    /// # Errors
    ///
    /// When the data is malformed.
    pub fn dirs(&self) -> Result<Vec<String>> {
        let events = Header::parse(&self.bytes)?.total_len();
        let rest = usize::try_from(events).ok().and_then(|len| self.bytes.get(len..));
        let rest = rest.ok_or_else(|| {
            let needed = events - self.bytes.len() as u64;
            Error::at(self.bytes.len(), ErrorKind::Truncated { needed })
        })?;
        let (graph, _) = Graph::decode(rest)?;
        View::root(&graph, &Budget::of(&graph), "list of directories").strings()
    }
}

/// Reads the `DBUG` section: a count, then for each unit the offset of its code and its debug data.
pub(crate) fn read_dbug(bytes: &[u8], dialect: &'static Dialect) -> Result<Vec<DebugUnit>> {
    let mut pos = 0;
    let word = |pos: &mut usize| match bytes[*pos..].first_chunk() {
        Some(word) => {
            *pos += 4;
            Ok(u32::from_be_bytes(*word) as usize)
        }
        None => {
            let needed = (4 - (bytes.len() - *pos)) as u64;
            Err(Error::at(bytes.len(), ErrorKind::Truncated { needed }))
        }
    };
    let mut units = Vec::new();
    for _ in 0..word(&mut pos)? {
        let code_offset = word(&mut pos)?;
        let start = pos;
        for _value in ["events", "directories"] {
            let header = Header::parse(&bytes[pos..]).map_err(|error| {
                let offset = pos + error.offset().unwrap_or(0);
                Error::at(offset, error.kind().clone())
            })?;
            let left = (bytes.len() - pos) as u64;
            if header.total_len() > left {
                let needed = header.total_len() - left;
                return Err(Error::at(bytes.len(), ErrorKind::Truncated { needed }));
            }
            pos += header.total_len() as usize;
        }
        room::push(&mut units, DebugUnit::new(code_offset, room::to_vec(&bytes[start..pos])?, dialect))?;
    }
    Ok(units)
}

/// The events of a marshalled list, each with its record.
pub(crate) fn read_events(graph: &Graph) -> Result<Vec<(NodeId, Event)>> {
    let budget = Budget::of(graph);
    let mut reader = EventReader { names: HashMap::new() };
    let events = View::root(graph, &budget, "list of debug events").list()?;
    room::collect(events.iter().map(|view| match view.item {
        Item::Obj(node) => Ok((node, reader.event(*view)?)),
        _ => Err(view.not("a record")),
    }))
}

/// Decodes events; shared names stay shared.
struct EventReader {
    names: HashMap<NodeId, Arc<str>>,
}

impl EventReader {
    fn name(&mut self, view: View<'_>) -> Result<Arc<str>> {
        let Item::Obj(node) = view.item else { return Err(view.not("a string")) };
        if let Some(name) = self.names.get(&node) {
            return Ok(name.clone());
        }
        // File names may be in any encoding, and are only displayed.
        let name = room::shared(view.bytes()?)?;
        room::insert(&mut self.names, node, name.clone())?;
        Ok(name)
    }

    fn event(&mut self, view: View<'_>) -> Result<Event> {
        let [pos, module, loc, kind, defname, info, _env, _subst, _compenv, stack_size, _repr] =
            *view.tuple()?;
        let kind = match view.of(kind, "kind of an event").item {
            Item::Int(0) => EventKind::Before,
            Item::Int(1) => EventKind::Pseudo,
            Item::Obj(_) => EventKind::After,
            _ => return Err(view.not("of a known kind")),
        };
        let info = match info {
            Item::Int(0) => EventInfo::Function,
            Item::Int(1) => EventInfo::Other,
            _ => match view.of(info, "information of an event").block()? {
                (0, [n]) => EventInfo::Return(view.of(*n, "number of arguments").int()?),
                _ => return Err(view.not("about something known")),
            },
        };
        Ok(Event {
            pos: view.of(pos, "position of an event").size()?,
            module: self.name(view.of(module, "unit of an event"))?,
            loc: self.location(view.of(loc, "location of an event"))?,
            kind,
            defname: self.name(view.of(defname, "definition of an event"))?,
            info,
            stack_size: view.of(stack_size, "stack size of an event").int()?,
        })
    }

    fn location(&mut self, view: View<'_>) -> Result<Location> {
        let [start, end, ghost] = *view.tuple()?;
        let (file, start) = self.position(view.of(start, "start of a location"))?;
        let (_, end) = self.position(view.of(end, "end of a location"))?;
        Ok(Location { file, start, end, ghost: view.of(ghost, "ghost flag").bool()? })
    }

    fn position(&mut self, view: View<'_>) -> Result<(Arc<str>, Position)> {
        let [file, line, line_start, offset] = *view.tuple()?;
        let position = Position {
            line: view.of(line, "line").int()?,
            line_start: view.of(line_start, "start of a line").int()?,
            offset: view.of(offset, "offset in the source").int()?,
        };
        Ok((self.name(view.of(file, "name of a source file"))?, position))
    }
}

/// Events in the order of the code, for looking up addresses.
#[derive(Debug, Clone, Default)]
pub struct EventTable {
    events: Vec<Event>,
}

impl EventTable {
    /// Sorts events; their positions do not change.
    ///
    /// # Errors
    ///
    /// When there is no memory to sort them in.
    pub fn new(mut events: Vec<Event>) -> Result<EventTable> {
        // The standard library's stable sort needs at most the same amount of memory again.
        room::afford::<Event>(events.len() + 64)?;
        events.sort_by_key(|event| {
            let loc = &event.loc;
            (event.pos, loc.start.line, loc.start_col(), loc.end_col())
        });
        Ok(EventTable { events })
    }

    /// The events of several units, at positions counted from the start of the whole code.
    ///
    /// # Errors
    ///
    /// When the data of one of them is malformed.
    pub fn of_units(units: &[DebugUnit]) -> Result<EventTable> {
        let mut all = Vec::new();
        for unit in units {
            let events = unit.events()?;
            all.try_reserve(events.len())?;
            all.extend(events.into_iter().map(|event| {
                let pos = event.pos.saturating_add(unit.code_offset);
                Event { pos, ..event }
            }));
        }
        EventTable::new(all)
    }

    /// All events, sorted.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The event for the instruction at a byte offset: at exactly that offset, or moved by `ocamlc` past the next
    /// word.
    pub fn find(&self, pos: usize) -> Option<&Event> {
        let after = self.events.partition_point(|event| event.pos <= pos);
        let exact = after.checked_sub(1).map(|last| &self.events[last]).filter(|event| event.pos == pos);
        exact.or_else(|| self.events.get(after).filter(|event| event.pos == pos + 4))
    }
}
