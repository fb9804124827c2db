//! The machine: a heap, a stack, the program's globals, its code and its primitives. It holds all state; no state is
//! global to the process.

mod alloc;
pub(crate) mod behaviour;
mod collect;
pub(crate) mod fibers;
mod fuel;
pub(crate) mod handles;
pub(crate) mod nesting;
pub(crate) mod params;
mod pending;
pub(crate) mod raise;
pub(crate) mod roots;
pub mod stack;

use std::any::{Any, TypeId};
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use indexmap::IndexMap;
use rustc_hash::FxHashMap;
use spelter_bytecode::Dialect;
use spelter_heap::raw::{CustomOps, Value};
use spelter_heap::{Config, Heap, OutOfMemory};

use crate::code::registry::{Registry, SharedRegistry};
use crate::code::translate::Translator;
use crate::exec::dispatch::{self, Engine};
use crate::exec::exit::{Flow, leave};
use crate::exec::fault::{Fault, Stopped};
use crate::exec::pausable::Pausing;
use crate::exec::profile::Profile;
use crate::exec::regs::Regs;
use crate::inspect::debugger::Debugging;
use crate::inspect::memprof::Memprof;
use crate::machine::behaviour::Behaviour;
use crate::machine::fibers::Fibers;
use crate::machine::handles::KeptValues;
use crate::machine::params::Params;
use crate::machine::raise::Leaving;
use crate::machine::roots::MachineRoots;
use crate::machine::stack::Stack;
use crate::prim::custom::Customs;
use crate::prim::families::Families;
use crate::prim::screen::Screen;
use crate::prim::table::PrimTable;
use crate::prim::{HostFn, Library, Raise};
use crate::threads::Threads;
use crate::threads::interrupt::{Calls, Limit};
use crate::threads::signals::Signals;
use crate::threads::state::ThreadState;

/// The settings from which a machine is made.
#[derive(Default)]
pub struct Settings {
    /// How code runs.
    pub engine: Engine,
    /// The heap's sizes and mode.
    pub heap: Config,
    /// The maximum size of the stack in words, whatever the program sets. If `None`, OCaml's default limit applies,
    /// which the program may raise.
    pub stack_limit_words: Option<usize>,
    /// The maximum number of threads of the program, including the first one. If `None`, only the system limits them.
    pub thread_limit: Option<usize>,
    /// What the program can query about how it was started.
    pub params: Params,
}

/// Finds out which names have been hidden since code was loaded.
pub type Settler = fn(&mut Machine) -> Result<(), Raise>;

/// An OCaml bytecode machine.
///
/// Not `Send`: what is put into it need not be. The crate `spelter` sees to that, and has a `Send` machine.
pub struct Machine {
    /// The heap.
    pub(crate) heap: Heap,
    /// The known primitives, and their numbers in the program.
    pub(crate) prims: PrimTable,
    /// The known kinds of custom blocks.
    pub(crate) customs: Customs,
    /// What the program can query about how it was started.
    pub(crate) params: Params,
    /// Whether exceptions record a backtrace.
    pub(crate) backtrace_active: bool,
    /// Signals that have arrived, and their handlers.
    pub(crate) signals: Signals,
    /// Counts of executed instructions, under [`Dispatch::Profile`](crate::Dispatch::Profile).
    pub(crate) profile: Profile,
    pub(crate) roots: MachineRoots,
    pub(crate) debugging: Option<Box<Debugging>>,
    pub(crate) memprof: Option<Box<Memprof>>,
    /// Number of profiles started so far.
    pub(crate) profiles: u64,
    pub(crate) engine: Engine,
    /// Whether the host has set limits.
    is_limited: bool,
    /// The version of the program's files; in a machine without a program, that of the units that it loads.
    pub(crate) dialect: &'static Dialect,
    /// How the runtime behaves for that version.
    pub(crate) behaviour: &'static Behaviour,
    /// Created when there is something to translate, which code that machines share is already.
    pub(crate) translator: OnceCell<Box<Translator>>,
    pub(crate) registry: SharedRegistry,
    pub(crate) next_unit: u64,
    /// Instructions that belong to no unit: `CALL_DYN`, to which closures of loaded code point under the stub
    /// strategy; `STOP`, the return address of callbacks; `REVOKED`, to which closures of revoked units point.
    /// `FIBER_RETURN` and `FIBER_RAISE`, to which the frames at the base of a fiber point; `ACC0; RAISE`, which raises an
    /// effect that has no handler.
    snippets: Box<[u64; 7]>,
    pub(crate) leaving: Option<Leaving>,
    /// The fault for which checked code is about to be stopped, and where.
    fault: Option<(*const u64, Fault)>,
    result: Value,
    /// What a read-only primitive raised.
    pub(crate) raised: Option<Box<Raise>>,
    /// What a primitive of a foreign library raised.
    pub(crate) raised_by_foreign: Cell<Option<Raise>>,
    pub(crate) action: Arc<AtomicBool>,
    /// The host's calls, and which of them must stop.
    pub(crate) calls: Arc<Calls>,
    /// The reference to them that the last call used, for the next one.
    pub(crate) spare_calls: Cell<Option<Arc<Calls>>>,
    /// The fuel that is left, in a metered machine.
    pub(crate) fuel: u64,
    /// The call that can pause, while one runs.
    pub(crate) pausing: Pausing,
    pub(crate) in_finaliser: bool,
    pub(crate) next_oo_id: i64,
    extensions: FxHashMap<TypeId, Box<dyn Any>>,
    /// What waits for a quiet moment; see [`Machine::settle_names`].
    names_settler: Option<Settler>,
}

impl Machine {
    /// A machine without a program.
    pub fn new(settings: Settings) -> Self {
        let Settings { engine, heap, stack_limit_words, thread_limit, params } = settings;
        let is_limited = heap.max_words.is_some()
            || heap.max_bytes.is_some()
            || stack_limit_words.is_some()
            || thread_limit.is_some();
        let registry: SharedRegistry = Rc::new(RefCell::new(Registry::default()));
        let mut heap = Heap::not_limited_yet(heap);
        let action = Arc::new(AtomicBool::new(false));
        heap.set_attention(Arc::clone(&action));
        let calls = Arc::new(Calls::new(Arc::clone(&action)));
        let limited = Arc::clone(&calls);
        heap.on_refusal(Box::new(move || limited.exceed(Limit::Memory)));
        let signals = Signals::new(Arc::clone(&action));
        let roots = MachineRoots {
            thread: ThreadState::new(Stack::new(stack_limit_words)),
            globals: heap.atom(0),
            named: IndexMap::new(),
            named_bytes: 0,
            kept: KeptValues::default(),
            threads: Threads::new(thread_limit),
            sample_depth: 0,
            fibers: Fibers::default(),
            loader: None,
            registry: Rc::clone(&registry),
            action: Arc::clone(&action),
            calls: Arc::clone(&calls),
        };
        let snippets = Box::new([
            dispatch::cell(engine, spelter_bytecode::Opcode::CALL_DYN),
            dispatch::cell(engine, spelter_bytecode::Opcode::STOP),
            dispatch::cell(engine, spelter_bytecode::Opcode::REVOKED),
            dispatch::cell(engine, spelter_bytecode::Opcode::FIBER_RETURN),
            dispatch::cell(engine, spelter_bytecode::Opcode::FIBER_RAISE),
            dispatch::cell(engine, spelter_bytecode::Opcode::ACC0),
            dispatch::cell(engine, spelter_bytecode::Opcode::RAISE),
        ]);
        let mut machine = Machine {
            heap,
            prims: PrimTable::new(Dialect::V4_13),
            customs: Customs::default(),
            params,
            backtrace_active: false,
            profile: Profile::default(),
            signals,
            roots,
            debugging: None,
            memprof: None,
            profiles: 0,
            engine,
            dialect: Dialect::V4_13,
            behaviour: Behaviour::of(Dialect::V4_13),
            translator: OnceCell::new(),
            registry,
            next_unit: 0,
            snippets,
            leaving: None,
            fault: None,
            result: Value::UNIT,
            raised: None,
            raised_by_foreign: Cell::new(None),
            calls,
            spare_calls: Cell::new(None),
            action,
            fuel: u64::MAX,
            pausing: Pausing::default(),
            in_finaliser: false,
            next_oo_id: 0,
            is_limited,
            extensions: FxHashMap::default(),
            names_settler: None,
        };
        if let Some(words) = machine.params.stack_limit_words {
            machine.roots.thread.stack.begin_with(words);
        }
        machine.roots.thread.stack.limit_memory(machine.heap.account());
        machine.install_predefined_exceptions();
        if machine.heap.account().is_limited() {
            machine.heap.enforce_limit();
            machine.collect_minor();
        }
        machine
    }

    pub(crate) fn translator(&self) -> &Translator {
        self.translator.get_or_init(|| Box::new(Translator::new(self.engine)))
    }

    /// The engine that this machine was made for.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// The version of OCaml whose files this machine runs.
    pub fn dialect(&self) -> &'static Dialect {
        self.dialect
    }

    /// How the runtime behaves for that version.
    pub fn behaviour(&self) -> &'static Behaviour {
        self.behaviour
    }

    /// Makes this a machine for files of another version. It must have neither a program nor units yet.
    pub fn adopt(&mut self, dialect: &'static Dialect) {
        debug_assert!(self.prims.count() == 0, "code is bound to the primitives of its version");
        self.dialect = dialect;
        self.behaviour = Behaviour::of(dialect);
        self.prims.adopt(dialect);
        self.registry.borrow_mut().callstacks_list_handlers = self.behaviour.callstacks_list_handlers;
        if self.params.stack_limit_words.is_none() {
            self.roots.thread.stack.begin_with(self.behaviour.stack_limit_words);
        }
        self.roots.thread.stack.set_slack(self.behaviour.stack_slack_words);
        self.heap.keep_young_keys(!self.behaviour.minor_clears_weak);
        self.heap.keep_old_suspensions(!self.behaviour.marking_cuts_lazy);
    }

    /// Sets what [`Machine::settle_names`] calls.
    pub fn set_names_settler(&mut self, settler: Settler) {
        self.names_settler = Some(settler);
    }

    /// Lets the loader find out which names of loaded code OCaml's linker has hidden since the load. Called when a
    /// channel is closed, which ends a load, and before a collection that the program asks for.
    ///
    /// # Errors
    /// When there is not enough memory.
    pub fn settle_names(&mut self) -> Result<(), Raise> {
        match self.names_settler {
            Some(settler) => settler(self),
            None => Ok(()),
        }
    }

    /// The heap, for inspection.
    pub fn heap(&self) -> &Heap {
        &self.heap
    }

    /// See [`Config::space_overhead`]. The minimum is 1.
    pub fn set_space_overhead(&mut self, percent: u32) {
        self.heap.set_space_overhead(percent);
    }

    /// See [`Config::max_overhead`].
    pub fn set_max_overhead(&mut self, percent: u32) {
        self.heap.set_max_overhead(percent);
    }

    /// Lets `allowed` more allocations succeed and makes all later ones fail, to test running out of memory. `None`
    /// ends this.
    pub fn fail_allocations_after(&mut self, allowed: Option<usize>) {
        self.heap.fail_allocations_after(allowed);
    }

    /// The known primitives, and their numbers in the program.
    pub fn prims(&self) -> &PrimTable {
        &self.prims
    }

    /// Assigns the next primitive number to `name`, even if it already has one.
    ///
    /// # Errors
    /// When there is not enough memory.
    pub fn append_primitive(&mut self, name: &str) -> Result<usize, OutOfMemory> {
        self.prims.append(name)
    }

    /// Forgets the primitive numbers from `count` on: a failed load undoes what it appended. Code that calls them stops
    /// as with a missing primitive.
    pub fn truncate_primitives(&mut self, count: usize) {
        self.prims.truncate(count);
    }

    /// Adds families of primitives.
    ///
    /// # Safety
    /// Their functions keep the contract of [`Prim`](crate::Prim).
    pub unsafe fn add_families(&mut self, families: &'static Families) {
        self.prims.add_families(families);
    }

    /// Adds a library. Its primitives are found by name, but do not count as the runtime's own.
    ///
    /// # Safety
    /// Its functions keep the contract of [`Prim`](crate::Prim).
    pub unsafe fn add_library(&mut self, library: Library) {
        self.prims.add_library(library);
    }

    /// Adds a primitive of the host's. It takes precedence over a built-in one of that name.
    ///
    /// # Safety
    /// It keeps the contract of [`Prim`](crate::Prim).
    pub unsafe fn add_host_primitive(&mut self, name: &str, arity: usize, f: HostFn) {
        self.prims.add_host(name, arity, f);
    }

    /// Sets the screen between the program and the built-in primitives. It concerns the names that get their numbers
    /// later: all, before the program is loaded.
    ///
    /// # Safety
    /// Its primitives keep the contract of [`Prim`](crate::Prim), and none of them replaces one that the machine compiles
    /// to an instruction (arithmetic, comparison, reading and writing of blocks).
    pub unsafe fn set_screen(&mut self, screen: Screen) {
        self.prims.screen = Some(screen);
    }

    /// Registers a kind of custom block for unmarshalling. The last one registered under a name takes precedence.
    ///
    /// # Safety
    /// Its [`Behaviour`](crate::prim::custom::Behaviour) reads a block only as one of this kind, and its `deserialize` keeps the
    /// contract of [`Prim`](crate::Prim).
    pub unsafe fn add_custom(&mut self, ops: &'static CustomOps) {
        self.customs.add(ops);
    }

    /// What the program can query about how it was started.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Mutable access to [`Machine::params`].
    pub fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    /// Signals that have arrived.
    pub fn signals(&self) -> &Signals {
        &self.signals
    }

    /// Counts of executed instructions, under [`Dispatch::Profile`](crate::Dispatch::Profile).
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// All code of the machine.
    pub fn units(&self) -> std::cell::Ref<'_, Registry> {
        self.registry.borrow()
    }

    /// The maximum size of the stack, in words.
    pub fn stack_limit_words(&self) -> usize {
        self.roots.thread.stack.limit_words()
    }

    /// Sets the maximum size of the stack in words, as a program can (`Gc.set`), up to the host's limit.
    pub fn set_stack_limit_words(&mut self, words: usize) {
        self.roots.thread.stack.set_limit_words(words);
        for (_, thread) in self.roots.threads.suspended_mut() {
            thread.stack.set_limit_words(words);
        }
    }

    /// Makes room for a frame of `words` (`caml_ensure_stack_capacity`).
    ///
    /// # Errors
    /// `Stack_overflow` when that exceeds the limit, `Out_of_memory` when there is no memory for it.
    pub fn ensure_stack(&mut self, words: usize) -> Result<(), Raise> {
        self.grow_stack(|m| m.roots.thread.stack.ensure_entry(words))?;
        self.charge_growth()
    }

    /// Makes each function entry reserve room for the largest frame of the verified code.
    ///
    /// # Errors
    /// `Stack_overflow` when that exceeds the limit, `Out_of_memory` when there is no memory for it.
    pub fn reserve_frames(&mut self, words: usize) -> Result<(), Raise> {
        self.grow_stack(|m| {
            let suspended = m.roots.threads.suspended_mut().map(|(_, thread)| thread);
            let mut threads = suspended.chain([&mut m.roots.thread]);
            threads.try_for_each(|thread| thread.reserve_frames(words))
        })
    }

    /// Whether the host limits the memory, the stack or the threads ([`Settings`]).
    pub fn is_limited(&self) -> bool {
        self.is_limited
    }

    /// A family's own state: one value of each type, created on first use.
    pub fn ext<T: Any + Default>(&mut self) -> &mut T {
        self.extensions
            .entry(TypeId::of::<T>())
            .or_insert_with(|| Box::<T>::default())
            .downcast_mut()
            .expect("keyed by its own type")
    }

    /// The next object id.
    pub fn fresh_oo_id(&mut self) -> i64 {
        let id = self.next_oo_id;
        self.next_oo_id += 1;
        id
    }

    // ---- registers, while no handler runs ----------------------------------------------------------

    /// Saves the registers where the collector and slow paths find them.
    #[inline(always)]
    pub(crate) fn save(&mut self, r: &Regs) {
        self.roots.thread.stack.sp = r.sp;
        self.roots.thread.accu = r.accu;
        self.roots.thread.env = r.env;
        self.roots.thread.pc = r.pc;
        self.roots.thread.extra = r.extra;
    }

    /// Restores what [`Machine::save`] saved; the stack and values may have moved. They stop being roots, so that they
    /// do not outlive the code that uses them.
    #[inline(always)]
    pub(crate) fn reload(&mut self, r: &mut Regs) {
        r.sp = self.roots.thread.stack.sp;
        r.accu = std::mem::replace(&mut self.roots.thread.accu, Value::UNIT);
        r.env = std::mem::replace(&mut self.roots.thread.env, Value::UNIT);
        r.pc = std::mem::replace(&mut self.roots.thread.pc, std::ptr::null());
        r.extra = self.roots.thread.extra;
    }

    /// Stops checked code after a forbidden access. The fault is stored in memory: passing its address to a function
    /// that is not inlined would cost every handler its sibling call.
    #[inline(always)]
    pub(crate) fn fault(&mut self, pc: *const u64, fault: Fault) -> Flow {
        self.fault = Some((pc, fault));
        self.leave_for_fault();
        leave()
    }

    #[cold]
    #[inline(never)]
    fn leave_for_fault(&mut self) {
        let Some((pc, fault)) = self.fault.take() else { return };
        self.leaving = Some(Leaving::Fault(Box::new(self.stopped_at(pc as usize - 8, fault))));
    }

    /// What is known about an instruction that was stopped, at this address.
    fn stopped_at(&self, address: usize, fault: Fault) -> Stopped {
        let registry = self.registry.borrow();
        let Some(unit) = registry.find(address) else {
            return Stopped { unit: None, byte: 0, function: None, line: None, fault };
        };
        let byte = 4 * unit.position(address);
        // Without memory for the debug data, the place stays unknown.
        let place = unit.place_before(byte).ok().flatten();
        let (function, line) = place.map(|place| (place.definition, (place.file, place.line))).unzip();
        Stopped { unit: Some(unit.name.to_string()), byte, function, line, fault }
    }

    // ---- code that belongs to no unit ---------------------------------------------------------------

    /// The instruction to which closures of loaded code point under the stub strategy.
    #[inline(always)]
    pub(crate) fn stub_code(&self) -> Value {
        Regs::code_value(&raw const self.snippets[0])
    }

    pub(crate) fn stop_code(&self) -> Value {
        Regs::code_value(&raw const self.snippets[1])
    }

    pub(crate) fn revoked_code(&self) -> Value {
        Regs::code_value(&raw const self.snippets[2])
    }

    pub(crate) fn fiber_return_code(&self) -> Value {
        Regs::code_value(&raw const self.snippets[3])
    }

    pub(crate) fn fiber_raise_code(&self) -> Value {
        Regs::code_value(&raw const self.snippets[4])
    }

    pub(crate) fn raise_argument_code(&self) -> *const u64 {
        &raw const self.snippets[5]
    }
}
