//! Explains why a unit is alive: the shortest paths from the roots to its code object.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::iter::repeat_n;
use std::mem::discriminant;

use indexmap::IndexMap;
use spelter_interp::inspect::backtrace::Place;
use spelter_interp::inspect::reachability::{FiberPart, Graph, Hop, RootSite as Found, tag};
use spelter_interp::prim::foreign::Holder;
use spelter_interp::{Machine, ObjectField, PARTIAL_FUNCTION, Unit, UnitId, Val};

use crate::linker::Linker;

/// Why one unit is alive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WhyAlive {
    /// The unit's number.
    pub id: UnitId,
    /// The module's name.
    pub name: String,
    /// One path for each kind of root; empty if the next full major collection will free the unit.
    pub paths: Vec<Path>,
}

/// The shortest path from one kind of root to a unit's code object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Path {
    /// Where it starts.
    pub root: Root,
    /// How many other roots of this kind also reach the unit.
    pub others: usize,
    /// The blocks on the path; the last is the code object.
    pub steps: Vec<Step>,
}

/// A block on the path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// What it is.
    pub block: Block,
    /// The field that refers to the next block; `None` for the last block, and for ephemerons, where it is the data.
    pub field: Option<usize>,
    /// The purpose of that field, if the block is a code object.
    pub part: Option<ObjectField>,
}

/// What can keep a unit alive.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Root {
    /// A value registered with `Callback.register`, by its name.
    Named(String),
    /// A public unit, by its name.
    PublicName(String),
    /// A handle that the host holds.
    Handle,
    /// A module of the program, or one that OCaml's own `Dynlink` or toplevel loaded: the slot of the global table, and
    /// the module's name if known.
    Global(usize, Option<String>),
    /// The handler of a signal (the system's number).
    Signal(usize),
    /// The function of a finaliser that waits for its value to die.
    Finaliser,
    /// A finaliser that is due, or its argument.
    DueFinaliser,
    /// A call that has not returned.
    Frame(Code),
    /// An installed exception handler.
    Trap(Code),
    /// A local variable, an argument or an intermediate value of a function that has not returned.
    Local(Code),
    /// A call, a handler or a variable of a thread that is not running, by the thread's number; with the code if known.
    Suspended(u64, Option<Code>),
    /// The descriptor of a thread (`Thread.t`), which refers to the function that it will start with.
    Thread(u64),
    /// The local storage of a domain, by the domain's id.
    DomainStorage(u64),
    /// A value that Rust code is using: a primitive, or the host.
    Primitive,
    /// A local variable of a function of a library in C that has not returned, or an argument of it.
    ForeignLocal,
    /// A global root of a library in C: the library's file, if the variable is one of the file's.
    ForeignGlobal(Option<String>),
    /// The value that a library in C has got for this name.
    ForeignNamed(String),
    /// The running fiber, which refers to the one to which it returns.
    Fiber,
    /// A register of the current instruction.
    Register(&'static str),
    /// The exception last raised.
    Exception,
    /// The exception that the last backtrace belongs to.
    BacktraceException,
    /// A rooted handle of the heap that has no name.
    HeapHandle,
}

/// A place in loaded code or in the program's code.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Code {
    /// The unit's name.
    pub unit: String,
    /// The byte offset in its code.
    pub offset: usize,
    /// The enclosing definition (`Module.f`), the file and the line, if the debug data contains them.
    pub source: Option<(String, String, i64)>,
}

/// What a block is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Block {
    /// A closure, and the function that it runs.
    Closure(Code),
    /// A function, applied to too few arguments.
    PartialApplication(Code),
    /// The closure of a unit's code as a whole.
    Initialiser(String),
    /// A closure whose code is no longer known.
    UnknownClosure,
    /// A unit's code object.
    CodeObject(UnitId, String),
    /// The global and constant slots of a unit.
    Globals(String),
    /// The slots of a unit that another one imports.
    ImportedGlobals,
    /// A module in its slot of the global table.
    Module,
    /// An object.
    Object,
    /// A suspension that has not been forced.
    Lazy,
    /// A suspension that has been forced.
    Forced,
    /// An ephemeron, all of whose keys are alive.
    Ephemeron,
    /// A continuation.
    Continuation,
    /// A fiber, and what on it refers to the next block.
    Fiber(Held),
    /// Any other block of values: tuples, records, constructors, arrays.
    Fields {
        /// Its tag: for a constructor, which one.
        tag: u8,
        /// How many fields.
        size: usize,
    },
}

/// What a fiber that is not running refers to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Held {
    /// A function that will continue when the fiber is resumed.
    Frame(Code),
    /// An exception handler that is installed there.
    Trap(Code),
    /// A variable or an argument of a function that will continue.
    Local(Code),
    /// Its function for a result, an exception or an effect.
    Handler(&'static str),
    /// The fiber to which it returns.
    Parent,
    /// Something else.
    Other,
}

/// Explains why a unit is alive; `None` if no live unit has this number.
///
/// Walks the heap: takes time and memory in proportion to the live data.
pub fn why_alive(m: &mut Machine, unit: UnitId) -> Option<WhyAlive> {
    let name = m.units().loaded().find(|known| known.id == unit)?.name.clone();
    let mut explainer = Explainer::new(m);
    Some(explainer.explain(unit, name))
}

/// Explains why each unit is alive, in the order of loading, with a single walk over the heap.
pub fn why_all_alive(m: &mut Machine) -> Vec<WhyAlive> {
    let mut units: Vec<_> = m.units().loaded().map(|unit| (unit.id, unit.name.clone())).collect();
    units.sort_unstable();
    let mut explainer = Explainer::new(m);
    units.into_iter().map(|(id, name)| explainer.explain(id, name)).collect()
}

struct Explainer<'m> {
    /// Public units' names, by the number of the kept value.
    public: HashMap<usize, Vec<String>>,
    /// Names of global slots.
    globals: IndexMap<usize, String>,
    graph: Graph<'m>,
}

impl<'m> Explainer<'m> {
    fn new(m: &'m mut Machine) -> Self {
        let linker = Linker::of(m);
        let public = linker.public_handles();
        let globals =
            linker.program().symbols.slots.iter().map(|(id, slot)| (*slot, id.name().to_owned())).collect();
        Explainer { public, globals, graph: m.heap_graph() }
    }

    fn explain(&mut self, id: UnitId, name: String) -> WhyAlive {
        let Some(ways) = self.graph.ways_to(id) else { return WhyAlive { id, name, paths: Vec::new() } };
        // The nearest root of each kind, and all roots of that kind.
        let (mut kinds, mut seen) = (IndexMap::new(), HashSet::new());
        for (number, far) in &ways.roots {
            let found = self.graph.root(*number);
            let is_new = seen.insert(found);
            for root in self.roots(found) {
                let new = (*far, root, *number);
                let kind = kinds.entry(discriminant(&new.1)).or_insert_with(|| (new.clone(), 0));
                if new < kind.0 {
                    kind.0 = new;
                }
                kind.1 += usize::from(is_new);
            }
        }
        let mut paths: Vec<Path> = kinds
            .into_values()
            .map(|((_, root, number), all)| {
                let steps = self.steps(&root, &self.graph.hops(&ways, number));
                Path { root, others: all - 1, steps }
            })
            .collect();
        paths.sort_by(|a, b| a.root.cmp(&b.root));
        WhyAlive { id, name, paths }
    }

    /// A kept value is a root for each of its handles.
    fn roots(&self, found: Found) -> Vec<Root> {
        let Found::Kept(number) = found else { return vec![self.root(found)] };
        let names = self.public.get(&number).map_or(&[][..], Vec::as_slice);
        let handles = self.graph.machine().handles_of(number).saturating_sub(names.len());
        let named = names.iter().cloned().map(Root::PublicName);
        named.chain(repeat_n(Root::Handle, handles)).collect()
    }

    fn root(&self, found: Found) -> Root {
        let code = |address| self.code_at(address);
        match found {
            Found::Frame { address, .. } => code(address).map_or(Root::Primitive, Root::Frame),
            Found::Trap { address, .. } => self.handler_at(address).map_or(Root::Primitive, Root::Trap),
            Found::Local { address, .. } => address.and_then(code).map_or(Root::Primitive, Root::Local),
            Found::Suspended { thread, address, .. } => Root::Suspended(thread, address.and_then(code)),
            Found::Thread(thread) => Root::Thread(thread),
            Found::Fiber => Root::Fiber,
            Found::DomainStorage(domain) => Root::DomainStorage(domain),
            Found::Register(name) => Root::Register(name),
            Found::Exception => Root::Exception,
            Found::BacktraceException => Root::BacktraceException,
            Found::Global(slot) => Root::Global(slot, self.globals.get(&slot).cloned()),
            Found::Named(number) => {
                Root::Named(String::from_utf8_lossy(self.graph.name(number)).into_owned())
            }
            Found::Kept(_) => Root::Handle,
            Found::Signal(number) => Root::Signal(number),
            Found::Handle(_) => Root::HeapHandle,
            Found::Finaliser(_) => Root::Finaliser,
            Found::DueFinaliser(_) => Root::DueFinaliser,
            Found::Foreign(variable) => match self.graph.holder(variable) {
                Holder::Local => Root::ForeignLocal,
                Holder::Global(library) => Root::ForeignGlobal(library),
                Holder::Named(name) => Root::ForeignNamed(name),
            },
        }
    }

    fn code_at(&self, address: usize) -> Option<Code> {
        let m = self.graph.machine();
        let (unit, offset) = m.code_at(address)?;
        Some(code(&unit, offset, m.locate_address(address)))
    }

    /// The start of an exception handler has no debug event.
    fn handler_at(&self, address: usize) -> Option<Code> {
        let (unit, offset) = self.graph.machine().code_at(address)?;
        Some(code_of(&unit, offset))
    }

    fn steps(&self, root: &Root, hops: &[Hop<'_>]) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::with_capacity(hops.len());
        for hop in hops {
            let block = match steps.last() {
                Some(Step { block: Block::CodeObject(_, name), part: Some(ObjectField::Slots), .. }) => {
                    Block::Globals(name.clone())
                }
                Some(Step { part: Some(ObjectField::ImportSlots(_)), .. }) => Block::ImportedGlobals,
                None if matches!(root, Root::Global(..)) => match self.block(hop.block) {
                    Block::Fields { tag: 0, .. } => Block::Module,
                    block => block,
                },
                _ => match hop.part {
                    Some(part) => Block::Fiber(self.held(part)),
                    None => self.block(hop.block),
                },
            };
            let part = match block {
                Block::CodeObject(..) => hop.field.map(|i| ObjectField::of(hop.block, i)),
                _ => None,
            };
            steps.push(Step { block, field: hop.field, part });
        }
        steps
    }

    fn held(&self, part: FiberPart) -> Held {
        let code = |address| self.code_at(address);
        match part {
            FiberPart::Frame(address) => code(address).map_or(Held::Other, Held::Frame),
            FiberPart::Trap(address) => self.handler_at(address).map_or(Held::Other, Held::Trap),
            FiberPart::Local(address) => address.and_then(code).map_or(Held::Other, Held::Local),
            FiberPart::Handler(0) => Held::Handler("result"),
            FiberPart::Handler(1) => Held::Handler("exception"),
            FiberPart::Handler(_) => Held::Handler("effects"),
            FiberPart::Parent => Held::Parent,
        }
    }

    fn block(&self, v: Val<'_>) -> Block {
        let m = self.graph.machine();
        let size = v.wosize().unwrap_or(0);
        if let Some(unit) = m.unit_of_object(v) {
            return Block::CodeObject(unit.id, unit.name.clone());
        }
        match v.tag().unwrap_or(0) {
            tag::CLOSURE | tag::INFIX => match m.closure_entry(v) {
                Some(entry) if entry.partial => {
                    let function = v
                        .scanned_field(PARTIAL_FUNCTION)
                        .ok()
                        .and_then(|f| m.closure_entry(f))
                        .unwrap_or(entry);
                    Block::PartialApplication(code_of(&function.unit, function.offset))
                }
                Some(entry) if entry.offset == 0 && entry.unit.is_loaded() => {
                    Block::Initialiser(entry.unit.name.clone())
                }
                Some(entry) => Block::Closure(code_of(&entry.unit, entry.offset)),
                None => Block::UnknownClosure,
            },
            tag::OBJECT => Block::Object,
            tag::CONT => Block::Continuation,
            tag::LAZY | tag::FORCING => Block::Lazy,
            tag::FORWARD => Block::Forced,
            tag::ABSTRACT => Block::Ephemeron,
            tag => Block::Fields { tag, size },
        }
    }
}

fn code_of(unit: &Unit, offset: usize) -> Code {
    code(unit, offset, unit.place_near(offset))
}

fn code(unit: &Unit, offset: usize, place: Option<Place>) -> Code {
    let source = place.map(|place| (place.definition, place.file, place.line));
    Code { unit: unit.name.clone(), offset, source }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some((definition, file, line)) => write!(f, "{definition} ({file}, line {line})"),
            None => write!(f, "{} (byte {:#x} of its code)", self.unit, self.offset),
        }
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Root::Named(name) => write!(f, "the value registered as {name:?}"),
            Root::PublicName(name) => write!(f, "the public name {name}"),
            Root::Handle => f.write_str("a handle that the host holds"),
            Root::Global(_, Some(name)) => write!(f, "the program's module {name}"),
            Root::Global(slot, None) => write!(f, "slot {slot} of the global table"),
            Root::Signal(number) => write!(f, "the handler of signal {number}"),
            Root::Finaliser => f.write_str("the function of a finaliser"),
            Root::DueFinaliser => f.write_str("a finaliser that is due"),
            Root::ForeignLocal => f.write_str("a local root of a function in C that has not returned"),
            Root::ForeignGlobal(Some(library)) => write!(f, "a global root of {library}"),
            Root::ForeignGlobal(None) => f.write_str("a global root in C's memory"),
            Root::ForeignNamed(name) => write!(f, "the value that C has got as {name:?}"),
            Root::Frame(code) => write!(f, "a call that has not returned, in {code}"),
            Root::Trap(code) => write!(f, "an exception handler in waiting, in {code}"),
            Root::Local(code) => write!(f, "a variable or an argument in {code}"),
            Root::Suspended(thread, Some(code)) => write!(f, "thread {thread}, which waits, in {code}"),
            Root::Suspended(thread, None) => write!(f, "thread {thread}, which waits"),
            Root::Thread(thread) => write!(f, "the descriptor of thread {thread}"),
            Root::DomainStorage(domain) => write!(f, "the local storage of domain {domain}"),
            Root::Primitive => f.write_str("a value that a primitive or the host works with"),
            Root::Fiber => f.write_str("the running fiber"),
            Root::Register(name) => write!(f, "the register {name}"),
            Root::Exception => f.write_str("the exception last raised"),
            Root::BacktraceException => f.write_str("the exception of the last backtrace"),
            Root::HeapHandle => f.write_str("a handle of the heap's"),
        }
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Block::Closure(code) => write!(f, "closure {code}"),
            Block::PartialApplication(code) => write!(f, "partial application of {code}"),
            Block::Initialiser(unit) => write!(f, "the initialiser of {unit}"),
            Block::UnknownClosure => f.write_str("closure of unknown code"),
            Block::CodeObject(id, unit) => write!(f, "the code object of {unit} (#{})", id.0),
            Block::Globals(unit) => write!(f, "the globals of {unit}"),
            Block::ImportedGlobals => f.write_str("the globals of the import"),
            Block::Module => f.write_str("its block"),
            Block::Object => f.write_str("object"),
            Block::Lazy => f.write_str("suspension"),
            Block::Forced => f.write_str("forced suspension"),
            Block::Ephemeron => f.write_str("ephemeron whose keys are alive"),
            Block::Continuation => f.write_str("continuation"),
            Block::Fiber(held) => match held {
                Held::Frame(code) => write!(f, "suspended fiber, which will continue in {code}"),
                Held::Trap(code) => write!(f, "suspended fiber, an exception handler in {code}"),
                Held::Local(code) => write!(f, "suspended fiber, a variable or an argument in {code}"),
                Held::Handler(what) => write!(f, "fiber, its handler of the {what}"),
                Held::Parent => f.write_str("fiber, the fiber to which it returns"),
                Held::Other => f.write_str("suspended fiber"),
            },
            Block::Fields { tag, size } => {
                match tag {
                    0 => f.write_str("block")?,
                    tag => write!(f, "block with tag {tag}")?,
                }
                write!(f, " of {size} {}", if *size == 1 { "field" } else { "fields" })
            }
        }
    }
}

/// Lines shown at each end of a long path.
const SHOWN: usize = 8;

impl Path {
    /// The steps in words, one per line. Equal steps in a row, as through a list, share a line, and the middle of a
    /// long path is left out.
    pub fn lines(&self) -> Vec<String> {
        let all: Vec<String> = (0..self.steps.len()).filter_map(|i| self.line(i)).collect();
        let runs = all.chunk_by(|one, two| one == two);
        let mut lines: Vec<String> = runs
            .map(|run| match run.len() {
                1 => run[0].clone(),
                times => format!("{} ({times} times)", run[0]),
            })
            .collect();
        if lines.len() > 2 * SHOWN + 1 {
            let middle = SHOWN..lines.len() - SHOWN;
            let left_out = format!("({} more)", middle.len());
            lines.splice(middle, [left_out]);
        }
        lines
    }

    /// A step in words; `None` if the next step's line covers it.
    fn line(&self, i: usize) -> Option<String> {
        let step = &self.steps[i];
        let before = i.checked_sub(1).map(|before| &self.steps[before].block);
        Some(match (before, &step.block, step.field) {
            (Some(before), Block::CodeObject(..), None) if before.is_closure() => {
                "its code object".to_owned()
            }
            (_, block @ Block::CodeObject(..), Some(_)) => match step.part {
                Some(ObjectField::Slots) => return None,
                Some(ObjectField::Import(import)) => format!("{block}, import {import}"),
                Some(ObjectField::ImportSlots(import)) => format!("{block}, slots of import {import}"),
                _ => block.to_string(),
            },
            (Some(Block::PartialApplication(_)), Block::Closure(_), _) => return None,
            (_, block @ Block::PartialApplication(_), Some(PARTIAL_FUNCTION)) => block.to_string(),
            (_, block @ Block::Globals(_), Some(i)) => format!("{block}, slot {i}"),
            (_, Block::Continuation, _) => step.block.to_string(),
            (_, Block::Ephemeron, _) => format!("{}, data", step.block),
            (_, block, Some(_)) if block.is_closure() && self.steps[i + 1].is_object() => block.to_string(),
            (_, block, Some(i)) => format!("{block}, field {i}"),
            (_, block, None) => block.to_string(),
        })
    }
}

impl Step {
    fn is_object(&self) -> bool {
        matches!(self.block, Block::CodeObject(..))
    }
}

impl Block {
    fn is_closure(&self) -> bool {
        matches!(self, Block::Closure(_) | Block::PartialApplication(_) | Block::Initialiser(_))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.fmt(f)?;
        match self.others {
            0 => {}
            1 => f.write_str(", and another of its kind")?,
            others => write!(f, ", and {others} others of its kind")?,
        }
        self.lines().iter().try_for_each(|line| write!(f, "\n  → {line}"))
    }
}

impl fmt::Display for WhyAlive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unit {} (#{})", self.name, self.id.0)?;
        if self.paths.is_empty() {
            return f.write_str(" is not reachable: the next full major collection frees it");
        }
        f.write_str(" is alive because of")?;
        for path in &self.paths {
            for line in path.to_string().lines() {
                write!(f, "\n  {line}")?;
            }
        }
        Ok(())
    }
}
