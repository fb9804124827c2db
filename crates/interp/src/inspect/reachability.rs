//! Why a block is alive: the graph of everything that is reachable from the roots, each with its place. It can be
//! searched from any block back to the roots. It is built only on request.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use spelter_bytecode::Opcode;
pub use spelter_heap::raw::tag;
use spelter_heap::raw::{NoRoots, RootKind, Value};
use spelter_heap::{Heap, Val};

use crate::Machine;
use crate::code::{Registry, Unit, UnitId};
use crate::exec::regs::{Regs, enclosing};
use crate::inspect::backtrace::Place;
use crate::layout::{Item, Items};
use crate::machine::roots::{Owner, Register, RootPlace};
use crate::prim::foreign::Holder;
use crate::threads::signals::NSIG;

/// Where the machine holds a value. Places on the stack are distinguished by their depths.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RootSite {
    /// A function that is being called, or has called another: identified by its return address, or by the closure
    /// saved beside it.
    Frame {
        /// Its depth on the stack.
        depth: usize,
        /// Where it will continue.
        address: usize,
    },
    /// The frame of an exception handler.
    Trap {
        /// Its depth on the stack.
        depth: usize,
        /// The handler's address.
        address: usize,
    },
    /// A local variable, an argument or an intermediate value.
    Local {
        /// Its depth on the stack.
        depth: usize,
        /// Where the function to which it belongs will continue. `None` for what Rust code has pushed.
        address: Option<usize>,
    },
    /// A value on the stack or in the registers of a thread that is not running.
    Suspended {
        /// The thread's number.
        thread: u64,
        /// Its depth on the thread's stack; 0 for registers.
        depth: usize,
        /// Where the function will continue, as for frames and locals.
        address: Option<usize>,
    },
    /// The descriptor of a thread (`Thread.t`), by the thread's number.
    Thread(u64),
    /// The fiber that is running, which holds the one to which it returns; or that of a thread's first stack.
    Fiber,
    /// What a domain stores for itself (`Domain.DLS`), by the domain's id.
    DomainStorage(u64),
    /// A register of the instruction in progress.
    Register(&'static str),
    /// The exception last raised.
    Exception,
    /// The exception to which the backtrace buffer belongs.
    BacktraceException,
    /// A slot of the global table.
    Global(usize),
    /// A value registered under a name, by its number: see [`Graph::name`].
    Named(usize),
    /// What a library of a loader holds, by the variable's address: see [`Graph::holder`].
    Foreign(usize),
    /// A value kept by handles ([`Kept`](crate::Kept)), by its number.
    Kept(usize),
    /// The handler of a signal (the system's number).
    Signal(usize),
    /// Another handle of the heap.
    Handle(usize),
    /// The function of a registered finaliser.
    Finaliser(usize),
    /// A finaliser that is due, or its argument.
    DueFinaliser(usize),
}

/// What a fiber that is not running holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FiberPart {
    /// A function that has performed an effect, or called another: where it will continue.
    Frame(usize),
    /// The frame of an exception handler: the handler's address.
    Trap(usize),
    /// A local variable, an argument or an intermediate value of the function that will continue at this address. `None`
    /// for what the machine has pushed.
    Local(Option<usize>),
    /// Its own handler for a result (0), an exception (1) or an effect (2).
    Handler(usize),
    /// The fiber to which it returns.
    Parent,
}

/// What the roots hold.
type Found<T> = Vec<(RootSite, T)>;

impl RootSite {
    /// The root for a thread's owner: all values of a thread that is not running are of one kind.
    fn of(self, owner: Owner) -> Self {
        let Some(thread) = owner.suspended() else { return self };
        let (depth, address) = match self {
            RootSite::Frame { depth, address } | RootSite::Trap { depth, address } => (depth, Some(address)),
            RootSite::Local { depth, address } => (depth, address),
            _ => (0, None),
        };
        RootSite::Suspended { thread, depth, address }
    }
}

/// All live blocks, and the references between them. Nothing can move while the graph exists.
pub struct Graph<'m> {
    machine: &'m Machine,
    roots: Found<Value>,
    /// Contains no infix pointers.
    blocks: Vec<Value>,
    index: HashMap<Value, u32>,
    /// References from the second block to the first, sorted.
    edges: Vec<(u32, u32)>,
    objects: HashMap<UnitId, u32>,
}

/// The shortest paths from all blocks to one block.
pub struct Ways {
    /// For each block from which it is reachable, the next block on the path.
    next: HashMap<u32, u32>,
    target: u32,
    /// The roots from which it is reachable, as numbers for [`Graph::root`], with the number of blocks on the path.
    pub roots: Vec<(usize, usize)>,
}

/// A block on a path.
#[derive(Clone, Copy)]
pub struct Hop<'g> {
    /// The block, or the entry of a closure in it.
    pub block: Val<'g>,
    /// The field that refers to the next block. `None` for the last block, and for ephemerons, which refer to it by
    /// their data.
    pub field: Option<usize>,
    /// For a fiber, what it is that refers to the next block.
    pub part: Option<FiberPart>,
}

/// The function that a closure runs.
#[derive(Clone)]
pub struct ClosureEntry {
    /// The unit that contains its code.
    pub unit: Rc<Unit>,
    /// Byte offset in the code.
    pub offset: usize,
    /// Whether the closure is a partial application: its field 2 is then the function.
    pub partial: bool,
}

/// How many bytes after a position a debug event still belongs to it: functions begin with `GRAB n`, handlers with a
/// test of the exception.
const NEAR: usize = 64;

impl Unit {
    /// The source place of the instruction at a byte offset, or of the first instruction after it that has one.
    pub fn place_near(&self, offset: usize) -> Option<Place> {
        let mut debug = self.debug.borrow_mut();
        let events = debug.events().ok()??.events();
        let event = events.get(events.partition_point(|event| event.pos < offset))?;
        (event.pos <= offset + NEAR).then(|| Place::of(event).ok()).flatten()
    }
}

impl Machine {
    /// The graph of all live blocks.
    pub fn heap_graph(&mut self) -> Graph<'_> {
        let mut roots = self.machine_roots();
        let mut handles = Vec::new();
        self.heap.each_root(&mut NoRoots, |kind, v| handles.push((kind, v)));
        let machine: &Machine = self;
        machine.heap_roots(handles, &mut roots);
        let empty = (Vec::new(), HashMap::new(), Vec::new(), HashMap::new());
        let (blocks, index, edges, objects) = empty;
        let mut graph = Graph { machine, roots, blocks, index, edges, objects };
        graph.grow();
        graph
    }

    /// What the machine's own roots hold. Code addresses are replaced by the code objects that they keep alive.
    fn machine_roots(&mut self) -> Found<Value> {
        let (registry, stop) = (Rc::clone(&self.registry), self.stop_code());
        let registry = registry.borrow();
        let (mut found, mut code) = (Vec::new(), Vec::new());
        self.roots.each(|place, values| match place {
            RootPlace::Stack { owner, trap } => {
                let (words, addresses) = on_stack(Items::new(values, trap, &registry), stop);
                found.extend(words.into_iter().map(|(root, v)| (root.of(owner), v)));
                code.extend(addresses.into_iter().map(|(root, address)| (root.of(owner), address)));
            }
            RootPlace::Fiber(owner) | RootPlace::FirstFiber(owner) => {
                found.push((RootSite::Fiber.of(owner), values[0]));
            }
            RootPlace::Register(owner, Register::Pc) => {
                code.push((RootSite::Register("pc").of(owner), Regs::code_address(values[0]) as usize));
            }
            RootPlace::Register(owner, Register::Accu) => {
                found.push((RootSite::Register("accu").of(owner), values[0]))
            }
            RootPlace::Register(owner, Register::Env) => {
                found.push((RootSite::Register("env").of(owner), values[0]))
            }
            RootPlace::Exception(owner) => found.push((RootSite::Exception.of(owner), values[0])),
            RootPlace::BacktraceException(owner) => {
                found.push((RootSite::BacktraceException.of(owner), values[0]))
            }
            RootPlace::Descriptor(id) => found.push((RootSite::Thread(id), values[0])),
            RootPlace::DomainStorage(id) => found.push((RootSite::DomainStorage(id), values[0])),
            RootPlace::Globals => {
                found.extend(fields(values[0]).enumerate().map(|(i, v)| (RootSite::Global(i), v)))
            }
            RootPlace::Named(number) => found.push((RootSite::Named(number), values[0])),
            RootPlace::Kept => {
                found.extend(values.iter().enumerate().map(|(number, v)| (RootSite::Kept(number), *v)));
            }
            RootPlace::Foreign => {
                found.extend(values.iter().map(|v| (RootSite::Foreign(std::ptr::from_ref(v) as usize), *v)));
            }
        });
        for (root, address) in code {
            found.extend(self.object_at(&registry, address).map(|object| (root, object)));
        }
        found
    }

    /// The code object of the loaded unit whose code contains an address.
    fn object_at(&self, registry: &Registry, address: usize) -> Option<Value> {
        self.heap.weak_peek(registry.find(address)?.object?)
    }

    /// What the fiber in a block holds, apart from its stack while it is running. `None` for other blocks.
    fn fiber_content(&self, block: Value) -> Option<Vec<(FiberPart, Value)>> {
        let (words, trap, handlers, parent) = self.fiber_parts(block)?;
        let registry = self.registry.borrow();
        let (found, code) = on_stack(Items::new(words, trap, &registry), self.stop_code());
        let part = |root| match root {
            RootSite::Frame { address, .. } => FiberPart::Frame(address),
            RootSite::Trap { address, .. } => FiberPart::Trap(address),
            RootSite::Local { address, .. } => FiberPart::Local(address),
            _ => FiberPart::Local(None),
        };
        let objects =
            code.into_iter().filter_map(|(root, at)| Some((part(root), self.object_at(&registry, at)?)));
        let handlers = handlers.into_iter().enumerate().map(|(i, v)| (FiberPart::Handler(i), v));
        let mut all: Vec<_> = objects.collect();
        all.extend(found.into_iter().map(|(root, v)| (part(root), v)));
        all.extend(handlers);
        all.push((FiberPart::Parent, parent));
        Some(all)
    }

    /// What the tables of the heap hold.
    fn heap_roots(&self, handles: Vec<(RootKind, Value)>, found: &mut Found<Value>) {
        let signals: HashMap<Value, usize> =
            (0..NSIG).filter_map(|n| Some((self.signals.handler(n as i32, &self.heap)?, n))).collect();
        for (i, (kind, v)) in handles.into_iter().enumerate() {
            let root = match kind {
                RootKind::Handle | RootKind::Owned(_) | RootKind::Client => {
                    signals.get(&v).map_or(RootSite::Handle(i), |n| RootSite::Signal(*n))
                }
                RootKind::Finaliser => RootSite::Finaliser(i),
                RootKind::DueFinaliser => RootSite::DueFinaliser(i),
            };
            found.push((root, v));
        }
    }

    /// The unit whose code contains an address, and the byte offset in it.
    pub fn code_at(&self, address: usize) -> Option<(Rc<Unit>, usize)> {
        let registry = self.registry.borrow();
        let unit = registry.find(address)?;
        Some((Rc::clone(unit), 4 * unit.position(address)))
    }

    /// The function that a closure, or an entry in its block, runs. `None` if the value is not a closure.
    pub fn closure_entry(&self, closure: Val<'_>) -> Option<ClosureEntry> {
        if !closure.is_block() {
            return None;
        }
        let (block, at) = enclosing(closure.raw());
        // SAFETY: the block that contains a valid value is valid as long as the value.
        let view = self.closure_view(unsafe { Val::from_raw(block) })?;
        let (_, offset) = *view.functions.iter().find(|(field, _)| *field == at)?;
        let op = view.unit.word(offset / 4).and_then(Opcode::from_word);
        let partial = matches!(op, Some(Opcode::RESTART | Opcode::RESTART_DYN));
        Some(ClosureEntry { unit: view.unit, offset, partial })
    }
}

/// What a thread's stack holds: values, and code addresses. `stop` is the return address of callbacks.
fn on_stack(items: Items<'_>, stop: Value) -> (Found<Value>, Found<usize>) {
    let (mut found, mut code, mut caller) = (Vec::new(), Vec::new(), None);
    for (depth, item) in items {
        match item {
            Item::Trap { handler: address, env } => {
                code.push((RootSite::Trap { depth, address }, address));
                found.push((RootSite::Trap { depth, address }, env));
            }
            Item::Frame { pc: address, env } => {
                code.push((RootSite::Frame { depth, address }, address));
                found.push((RootSite::Frame { depth, address }, env));
                caller = Some(address);
            }
            Item::Word(v) if v == stop => caller = None,
            Item::Word(v) => found.push((RootSite::Local { depth, address: caller }, v)),
        }
    }
    (found, code)
}

impl<'m> Graph<'m> {
    /// The machine to which this graph belongs.
    pub fn machine(&self) -> &'m Machine {
        self.machine
    }

    /// The name of a registered value, by its number.
    pub fn name(&self, number: usize) -> &'m [u8] {
        self.machine.roots.named.get_index(number).map_or(&[], |(name, _)| name)
    }

    /// What a variable of a loader's library is, by its address.
    pub fn holder(&self, variable: usize) -> Holder {
        self.machine.loader().map_or(Holder::Local, |loader| (loader.holder)(variable))
    }

    /// The number of roots.
    pub fn root_count(&self) -> usize {
        self.roots.len()
    }

    /// A root, by its number.
    pub fn root(&self, i: usize) -> RootSite {
        self.roots[i].0
    }

    /// The shortest paths from all roots to a unit's code object. `None` when it is not reachable from any root.
    pub fn ways_to(&self, unit: UnitId) -> Option<Ways> {
        let target = *self.objects.get(&unit)?;
        let mut distance = HashMap::from([(target, 1)]);
        let mut next = HashMap::new();
        let mut level = vec![target];
        for far in 2.. {
            let mut wider = Vec::new();
            for to in level {
                let first = self.edges.partition_point(|edge| edge.0 < to);
                for (_, from) in self.edges[first..].iter().take_while(|edge| edge.0 == to) {
                    if let std::collections::hash_map::Entry::Vacant(new) = distance.entry(*from) {
                        new.insert(far);
                        next.insert(*from, to);
                        wider.push(*from);
                    }
                }
            }
            if wider.is_empty() {
                break;
            }
            level = wider;
        }
        let heap = &self.machine.heap;
        let far = |v: Value| distance.get(self.index.get(&block_of(heap, v)?)?).copied();
        let roots = self.roots.iter().enumerate().filter_map(|(i, (_, v))| Some((i, far(*v)?))).collect();
        Some(Ways { next, target, roots })
    }

    /// The blocks on the path from a root, one of `ways.roots`, to the target.
    pub fn hops(&self, ways: &Ways, root: usize) -> Vec<Hop<'_>> {
        let heap = &self.machine.heap;
        let mut hops = Vec::new();
        let mut v = self.roots[root].1;
        loop {
            // SAFETY: the graph holds values that are valid while the machine is borrowed.
            let block = unsafe { Val::from_raw(v) };
            let at = block_of(heap, v)
                .and_then(|outer| self.index.get(&outer))
                .expect("paths stay within the graph");
            let next = ways.next.get(at).filter(|_| *at != ways.target);
            let Some(next) = next.map(|next| self.blocks[*next as usize]) else {
                hops.push(Hop { block, field: None, part: None });
                return hops;
            };
            let outer = self.blocks[*at as usize];
            if let Some(content) = self.machine.fiber_content(outer) {
                let found = content.into_iter().find(|(_, v)| block_of(heap, *v) == Some(next));
                hops.push(Hop { block, field: None, part: found.map(|(part, _)| part) });
                v = found.map_or(next, |(_, v)| v);
                continue;
            }
            let leads_on = fields(outer).enumerate().find(|(_, field)| block_of(heap, *field) == Some(next));
            hops.push(Hop { block, field: leads_on.map(|(i, _)| i), part: None });
            v = leads_on.map_or(next, |(_, field)| field);
        }
    }

    /// Finds all blocks. Ephemerons refer to their data once their keys have been found.
    fn grow(&mut self) {
        let heap = &self.machine.heap;
        let ephemerons: HashSet<Value> = heap.ephemerons().iter().copied().collect();
        for i in 0..self.roots.len() {
            self.find(self.roots[i].1);
        }
        let (mut next, mut waiting) = (0, Vec::new());
        loop {
            while next < self.blocks.len() {
                let block = self.blocks[next];
                if ephemerons.contains(&block) {
                    waiting.push(next);
                } else {
                    fields(block).for_each(|field| self.lead(next, field));
                    for (_, v) in self.machine.fiber_content(block).into_iter().flatten() {
                        self.lead(next, v);
                    }
                    self.note_object(next);
                }
                next += 1;
            }
            let (ready, rest) =
                waiting.into_iter().partition::<Vec<_>, _>(|e| self.keys_found(self.blocks[*e]));
            waiting = rest;
            if ready.is_empty() {
                break;
            }
            for e in ready {
                // SAFETY: an ephemeron of the heap's table.
                if let Some(data) = unsafe { heap.ephe_peek_data(self.blocks[e]) } {
                    self.lead(e, data);
                }
            }
        }
        self.edges.sort_unstable();
    }

    /// The number of the block to which `v` refers. `None` for integers and atoms.
    fn find(&mut self, v: Value) -> Option<u32> {
        let block = block_of(&self.machine.heap, v)?;
        let count = u32::try_from(self.blocks.len()).expect("fewer than 2^32 blocks");
        let at = *self.index.entry(block).or_insert(count);
        if at == count {
            self.blocks.push(block);
        }
        Some(at)
    }

    fn lead(&mut self, from: usize, v: Value) {
        if let Some(to) = self.find(v) {
            self.edges.push((to, from as u32));
        }
    }

    fn note_object(&mut self, at: usize) {
        // SAFETY: the graph holds values that are valid while the machine is borrowed.
        let block = unsafe { Val::from_raw(self.blocks[at]) };
        if let Some(unit) = self.machine.unit_of_object(block) {
            self.objects.insert(unit.id, at as u32);
        }
    }

    fn keys_found(&self, e: Value) -> bool {
        let heap = &self.machine.heap;
        // SAFETY: an ephemeron of the heap's table; indices are below its number of keys.
        let mut keys = unsafe { (0..heap.ephe_keys(e)).filter_map(|i| heap.ephe_peek_key(e, i)) };
        keys.all(|key| block_of(heap, key).is_none_or(|key| self.index.contains_key(&key)))
    }
}

/// The whole block to which `v` refers. `None` for integers, atoms and pointers that lead elsewhere.
fn block_of(heap: &Heap, v: Value) -> Option<Value> {
    // SAFETY: only called with values that are reachable from roots, while nothing can move.
    if v.is_int() || unsafe { heap.is_outside(v) } {
        return None;
    }
    let (block, _) = enclosing(v);
    // SAFETY: only called with values that are reachable from roots, while nothing can move.
    (unsafe { block.wosize() } > 0).then_some(block)
}

/// The values in a block; none for blocks that do not contain values.
fn fields(block: Value) -> impl Iterator<Item = Value> {
    // SAFETY: a block of the graph, which is valid while the machine is borrowed.
    let header = unsafe { block.header() };
    let count = if header.tag() < tag::NO_SCAN { header.wosize() } else { 0 };
    // SAFETY: the block is valid while the machine is borrowed, and the index is within it.
    (0..count).map(move |i| unsafe { block.field(i) })
}
