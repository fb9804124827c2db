//! Why a block is alive: the graph of all that the roots lead to, each root with its place, to be searched from any
//! block back to the roots. Made only when somebody asks.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use spelter_bytecode::Opcode;
use spelter_heap::Val;
pub use spelter_heap::raw::tag;
use spelter_heap::raw::{NoRoots, RootKind, Value};

use crate::Machine;
use crate::backtrace::Place;
use crate::code::{Unit, UnitId};
use crate::regs::{Regs, enclosing};
use crate::signals::NSIG;

/// Where the machine holds a value. Depths tell places on the stack apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Root<'m> {
    /// A function that is being called, or has called: by its return address, or the closure saved beside it.
    Frame {
        /// Where on the stack.
        depth: usize,
        /// Where it will go on.
        address: usize,
    },
    /// An exception handler in waiting.
    Trap {
        /// Where on the stack.
        depth: usize,
        /// Where it handles.
        address: usize,
    },
    /// A local variable, an argument or an intermediate value.
    Local {
        /// Where on the stack.
        depth: usize,
        /// Where the function that it belongs to will go on; nothing for what Rust code has pushed.
        address: Option<usize>,
    },
    /// What a thread that does not run has on its stack or in its registers.
    Suspended {
        /// The thread's number.
        thread: u64,
        /// Where on its stack; 0 for registers.
        depth: usize,
        /// Where it will go on, as for frames and locals.
        address: Option<usize>,
    },
    /// The descriptor of a thread (`Thread.t`), by the thread's number.
    Thread(u64),
    /// A register of the instruction under way.
    Register(&'static str),
    /// The exception last raised.
    Exception,
    /// The exception that the backtrace buffer belongs to.
    BacktraceException,
    /// A slot of the global table.
    Global(usize),
    /// A value registered under a name.
    Named(&'m [u8]),
    /// A handle ([`Kept`](crate::Kept)), by its number.
    Kept(usize),
    /// The handler of a signal (the system's number).
    Signal(usize),
    /// Another handle of the heap's.
    Handle(usize),
    /// The function of a finaliser that waits.
    Finaliser(usize),
    /// A finaliser that is due, or its argument.
    DueFinaliser(usize),
}

/// What roots hold.
type Places<T> = Vec<(Root<'static>, T)>;

impl Root<'_> {
    /// The same on the stack of a thread that does not run.
    fn of_thread(self, thread: u64) -> Self {
        let (depth, address) = match self {
            Root::Frame { depth, address } | Root::Trap { depth, address } => (depth, Some(address)),
            Root::Local { depth, address } => (depth, address),
            _ => (0, None),
        };
        Root::Suspended { thread, depth, address }
    }
}

/// All blocks that are alive, and how they lead to one another. Nothing can move while it is there.
pub struct Graph<'m> {
    machine: &'m Machine,
    roots: Vec<(Root<'m>, Value)>,
    /// No infix pointers among these.
    blocks: Vec<Value>,
    index: HashMap<Value, u32>,
    /// From the second to the first; sorted.
    edges: Vec<(u32, u32)>,
    objects: HashMap<UnitId, u32>,
}

/// The shortest ways from everywhere to one block.
pub struct Ways {
    /// For each block that leads there, the next one.
    next: HashMap<u32, u32>,
    target: u32,
    /// The roots that lead there, as numbers of [`Graph::root`], with the number of blocks on the way.
    pub roots: Vec<(usize, usize)>,
}

/// A block on a way.
#[derive(Clone, Copy)]
pub struct Hop<'g> {
    /// The block, or the entry of a closure in it.
    pub block: Val<'g>,
    /// Which field leads on; nothing for the last block, and for ephemerons, whose data it is.
    pub field: Option<usize>,
}

/// A function that a closure runs.
#[derive(Clone)]
pub struct Entry {
    /// Whose code.
    pub unit: Rc<Unit>,
    /// Byte offset in the code.
    pub offset: usize,
    /// Whether the closure is an application to too few arguments: its field 2 is then the function.
    pub partial: bool,
}

/// How far behind a position, in bytes, an event is still about it: functions begin with `GRAB n`, handlers with a look
/// at the exception.
const NEAR: usize = 64;

impl Unit {
    /// The source of the instruction at a byte offset, or of the first behind it that has one.
    pub fn place_near(&self, offset: usize) -> Option<Place> {
        let mut debug = self.debug.borrow_mut();
        let events = debug.events().ok()??.events();
        let event = events.get(events.partition_point(|event| event.pos < offset))?;
        (event.pos <= offset + NEAR).then(|| Place::of(event).ok()).flatten()
    }
}

impl Machine {
    /// The graph of all that is alive.
    pub fn heap_graph(&mut self) -> Graph<'_> {
        let on_stack = self.stack_roots();
        let mut handles = Vec::new();
        self.heap.each_root(&mut NoRoots, |kind, v| handles.push((kind, v)));
        let machine: &Machine = self;
        let mut roots = on_stack;
        machine.fixed_roots(&mut roots);
        machine.heap_roots(handles, &mut roots);
        let empty = (Vec::new(), HashMap::new(), Vec::new(), HashMap::new());
        let (blocks, index, edges, objects) = empty;
        let mut graph = Graph { machine, roots, blocks, index, edges, objects };
        graph.grow();
        graph
    }

    /// What the stacks and `pc`s of all threads hold. Code addresses stand for the code objects that they keep alive.
    fn stack_roots(&mut self) -> Places<Value> {
        let (mut found, mut code) = self.roots_on(self.roots.stack.words(), self.trap_depth, self.roots.pc);
        for (id, thread) in self.roots.threads.suspended() {
            let (words, addresses) = self.roots_on(thread.stack.words(), thread.trap_depth, thread.pc);
            let registers = thread.values().map(|v| (Root::Register("saved"), v));
            found.extend(words.into_iter().chain(registers).map(|(root, v)| (root.of_thread(id), v)));
            code.extend(addresses.into_iter().map(|(root, address)| (root.of_thread(id), address)));
        }
        let registry = self.registry.borrow();
        for (root, address) in code {
            if let Some(weak) = registry.find(address).and_then(|unit| unit.object) {
                found.extend(self.heap.weak_get(weak).map(|object| (root, object)));
            }
        }
        found
    }

    /// What one thread's stack, with its innermost trap frame at the depth `trap`, and its `pc` hold: values, and
    /// code addresses.
    fn roots_on(&self, words: &[Value], mut trap: usize, pc: *const u64) -> (Places<Value>, Places<usize>) {
        let mut found = Vec::new();
        let mut code = Vec::new();
        let stop = self.stop_code();
        let registry = self.registry.borrow();
        let is_code =
            |v: Value| Regs::is_code_value(v) && registry.find(Regs::code_address(v) as usize).is_some();
        let (mut i, mut caller) = (0, None);
        while i < words.len() {
            let (v, depth) = (words[i], words.len() - i);
            let address = Regs::code_address(v) as usize;
            let beside = |n: usize| words.get(i + n).copied().unwrap_or(Value::UNIT);
            if depth == trap {
                // {handler, depth of the previous trap frame, env, extra_args}
                let root = Root::Trap { depth, address };
                code.push((root, address));
                found.push((root, beside(2)));
                trap = beside(1).as_int() as usize;
                i += 4;
            } else if v == stop {
                caller = None;
                i += 1;
            } else if is_code(v) {
                // {pc, env, …}, with `extra_args` behind it in return frames.
                let root = Root::Frame { depth, address };
                code.push((root, address));
                found.push((root, beside(1)));
                caller = Some(address);
                i += 2;
            } else {
                found.push((Root::Local { depth, address: caller }, v));
                i += 1;
            }
        }
        code.push((Root::Register("pc"), pc as usize));
        (found, code)
    }

    /// What the machine's own fields and tables hold.
    fn fixed_roots<'m>(&'m self, found: &mut Vec<(Root<'m>, Value)>) {
        let r = &self.roots;
        found.extend([
            (Root::Register("accu"), r.accu),
            (Root::Register("env"), r.env),
            (Root::Exception, r.exn),
            (Root::BacktraceException, r.backtrace_exn),
        ]);
        found.extend(r.threads.descriptors().map(|(id, v)| (Root::Thread(id), v)));
        let globals = self.globals();
        let slots = 0..globals.wosize().unwrap_or(0);
        found.extend(slots.filter_map(|i| Some((Root::Global(i), globals.field(i).ok()?.raw()))));
        found.extend(r.named.iter().map(|(name, v)| (Root::Named(name), *v)));
        found.extend(r.kept.borrow().values().iter().enumerate().map(|(i, v)| (Root::Kept(i), *v)));
        let handlers =
            (0..NSIG).filter_map(|n| Some((Root::Signal(n), self.signals.handler(n as i32, &self.heap)?)));
        found.extend(handlers);
    }

    /// What the heap's own tables hold, but for signal handlers.
    fn heap_roots<'m>(&'m self, handles: Vec<(RootKind, Value)>, found: &mut Vec<(Root<'m>, Value)>) {
        let signals: HashSet<Value> =
            (0..NSIG).filter_map(|n| self.signals.handler(n as i32, &self.heap)).collect();
        for (i, (kind, v)) in handles.into_iter().enumerate() {
            let root = match kind {
                RootKind::Handle if signals.contains(&v) => continue,
                RootKind::Handle | RootKind::Client => Root::Handle(i),
                RootKind::Finaliser => Root::Finaliser(i),
                RootKind::DueFinaliser => Root::DueFinaliser(i),
            };
            found.push((root, v));
        }
    }

    /// The unit whose code is at an address, and the byte offset there.
    pub fn code_at(&self, address: usize) -> Option<(Rc<Unit>, usize)> {
        let registry = self.registry.borrow();
        let unit = registry.find(address)?;
        Some((Rc::clone(unit), 4 * unit.position(address)))
    }

    /// The function that a closure, or one of the entries in its block, runs; nothing for what is no closure.
    pub fn closure_entry(&self, closure: Val<'_>) -> Option<Entry> {
        if !closure.is_block() {
            return None;
        }
        let (block, at) = enclosing(closure.raw());
        // SAFETY: the block that holds a valid value is valid as long as that.
        let view = self.closure_view(unsafe { Val::from_raw(block) })?;
        let (_, offset) = *view.functions.iter().find(|(field, _)| *field == at)?;
        let op = view.unit.word(offset / 4).and_then(Opcode::from_word);
        let partial = matches!(op, Some(Opcode::RESTART | Opcode::RESTART_DYN));
        Some(Entry { unit: view.unit, offset, partial })
    }
}

impl<'m> Graph<'m> {
    /// The machine that this is the graph of.
    pub fn machine(&self) -> &'m Machine {
        self.machine
    }

    /// A root, by its number.
    pub fn root(&self, i: usize) -> Root<'m> {
        self.roots[i].0
    }

    /// The shortest ways from all roots to a unit's code object; nothing when no root leads there.
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
        let far = |v: Value| distance.get(self.index.get(&block_of(v)?)?).copied();
        let roots = self.roots.iter().enumerate().filter_map(|(i, (_, v))| Some((i, far(*v)?))).collect();
        Some(Ways { next, target, roots })
    }

    /// The blocks on the way from a root, one of `ways.roots`, to the target.
    pub fn hops(&self, ways: &Ways, root: usize) -> Vec<Hop<'_>> {
        let mut hops = Vec::new();
        let mut v = self.roots[root].1;
        loop {
            // SAFETY: the graph holds values that are valid while the machine is borrowed.
            let block = unsafe { Val::from_raw(v) };
            let at =
                block_of(v).and_then(|outer| self.index.get(&outer)).expect("ways lead through the graph");
            let next = ways.next.get(at).filter(|_| *at != ways.target);
            let Some(next) = next.map(|next| self.blocks[*next as usize]) else {
                hops.push(Hop { block, field: None });
                return hops;
            };
            let outer = self.blocks[*at as usize];
            let leads_on = fields(outer).enumerate().find(|(_, field)| block_of(*field) == Some(next));
            hops.push(Hop { block, field: leads_on.map(|(i, _)| i) });
            v = leads_on.map_or(next, |(_, field)| field);
        }
    }

    /// Finds all blocks. Ephemerons lead to their data once their keys have been found.
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

    /// The number of the block that `v` leads to; nothing for integers and atoms.
    fn find(&mut self, v: Value) -> Option<u32> {
        let block = block_of(v)?;
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
        keys.all(|key| block_of(key).is_none_or(|key| self.index.contains_key(&key)))
    }
}

/// The block that `v` leads to, whole; nothing for integers and atoms.
fn block_of(v: Value) -> Option<Value> {
    if v.is_int() {
        return None;
    }
    let (block, _) = enclosing(v);
    // SAFETY: only called with values that roots lead to, while nothing can move.
    (unsafe { block.wosize() } > 0).then_some(block)
}

/// The values in a block; none in those without values.
fn fields(block: Value) -> impl Iterator<Item = Value> {
    // SAFETY: a block of the graph, which is valid while the machine is borrowed.
    let header = unsafe { block.header() };
    let count = if header.tag() < tag::NO_SCAN { header.wosize() } else { 0 };
    // SAFETY: as above, and the index is within the block.
    (0..count).map(move |i| unsafe { block.field(i) })
}
