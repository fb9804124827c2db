//! The machine: a heap, a stack, the program's globals, its code and its primitives. All state is here; the
//! process has none.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indexmap::IndexMap;
use rustc_hash::FxHashMap;
use spelter_heap::raw::{CustomOps, MAX_YOUNG_WOSIZE, Phase, Roots, Sample, Value, Visitor, tag};
use spelter_heap::{Charge, Config, Heap, OutOfMemory, Val};

use crate::backtrace::{Backtrace, callstack};
use crate::boxed::Customs;
use crate::code::{Registry, SharedRegistry};
use crate::debugger::Debugging;
use crate::dispatch::{self, Engine};
use crate::exit::{Flow, leave};
use crate::families::Families;
use crate::fault::Fault;
use crate::interrupt::Calls;
use crate::kept::SharedKept;
use crate::memprof::{Memprof, Samples, Source};
use crate::nesting::Nesting;
use crate::params::Params;
use crate::prim::{HostFn, Library, NO_PRIMITIVE, Panicked, PrimTable, Raise, Slot};
use crate::profile::Profile;
use crate::regs::Regs;
use crate::signals::Signals;
use crate::stack::Stack;
use crate::threads::Threads;
use crate::translate::Translator;

/// The depth at which no activation begins.
pub(crate) const NO_ACTIVATION: usize = usize::MAX;

/// Everything outside the heap that holds values.
pub(crate) struct MachineRoots {
    pub(crate) stack: Stack,
    /// `accu` and `env` while no instruction runs but one is under way.
    pub(crate) accu: Value,
    pub(crate) env: Value,
    /// `pc`, likewise; null while it is not in use.
    pub(crate) pc: *const u64,
    /// Depth of the stack where the current activation began: traps below it belong to others. No depth while none runs.
    pub(crate) base_depth: usize,
    /// The number of the running primitive.
    pub(crate) running: usize,
    /// Depth of the stack below the running primitive's arguments.
    pub(crate) floor: usize,
    /// The exception last raised.
    pub(crate) exn: Value,
    /// The exception that the backtrace buffer belongs to.
    pub(crate) backtrace_exn: Value,
    /// The global table, a block.
    pub(crate) globals: Value,
    pub(crate) named: IndexMap<Vec<u8>, Value>,
    pub(crate) kept: SharedKept,
    pub(crate) threads: Threads,
    /// Samples on allocations that nobody has heard of yet.
    pub(crate) samples: Samples,
    registry: SharedRegistry,
    action: Arc<AtomicBool>,
    calls: Arc<Calls>,
}

impl Roots for MachineRoots {
    fn sampled(&mut self, sample: Sample) -> bool {
        let callstack = callstack(&self.registry.borrow(), self.stack.live(), self.samples.depth);
        self.action.store(true, Ordering::Relaxed);
        callstack.is_ok_and(|callstack| self.samples.add(sample, callstack))
    }

    fn cannot_wait(&self) -> bool {
        self.calls.is_stopping()
    }

    fn scan(&mut self, visitor: &mut Visitor<'_>) {
        // The safe net under the frame invariant: a closure's slots can be overwritten through `Obj`, so what the
        // stack and pc say of running code is believed whatever `env` says.
        if visitor.phase() == Phase::Mark {
            self.registry.borrow_mut().note_major();
            let registry = self.registry.borrow();
            keep_code(&registry, visitor, self.stack.live(), self.pc);
            for thread in self.threads.suspended_mut() {
                keep_code(&registry, visitor, thread.stack.live(), thread.pc);
            }
        }
        // Frames of running code read each word anew. What a primitive has, or the host, it may have looked at before.
        let (base, running, floor) = (self.base_depth, self.running, self.floor);
        let stack = self.stack.live();
        let base = base.min(stack.len());
        let top = if running == NO_PRIMITIVE { stack.len() } else { floor.clamp(base, stack.len()) };
        let (temporaries, rest) = stack.split_at_mut(stack.len() - top);
        let (frames, outer) = rest.split_at_mut(top - base);
        visitor.slice(temporaries);
        visitor.slice_of_any(frames);
        visitor.slice(outer);
        for thread in self.threads.suspended_mut() {
            visitor.slice(thread.stack.live());
            for v in thread.values_mut() {
                visitor.value(v);
            }
        }
        for v in self.threads.descriptors_mut() {
            visitor.value(v);
        }
        for v in [&mut self.accu, &mut self.env, &mut self.exn, &mut self.backtrace_exn, &mut self.globals] {
            visitor.value(v);
        }
        self.kept.borrow_mut().scan(visitor);
        for v in self.named.values_mut() {
            visitor.value(v);
        }
        // A collection may leave finalisers to run, or more work due: look at the next safe point.
        self.action.store(true, Ordering::Relaxed);
    }
}

/// Keeps the units alive whose code a thread's stack and `pc` lead to.
fn keep_code(registry: &Registry, visitor: &mut Visitor<'_>, stack: &[Value], pc: *const u64) {
    for v in stack.iter().chain([&Regs::code_value(pc)]) {
        if Regs::is_code_value(*v)
            && let Some(unit) = registry.find(Regs::code_address(*v) as usize)
            && let Some(object) = unit.object
        {
            visitor.keep(object);
        }
    }
}

/// Why the machine is being left for good.
#[derive(Debug)]
pub(crate) enum Leaving {
    /// The program's thread called `Thread.exit`.
    Thread,
    /// The program called `exit`.
    Exit(i32),
    /// It cannot go on.
    Fatal(String),
    /// Something panicked.
    Panic(Box<Panicked>),
    /// The host wants its call to stop.
    Interrupted,
}

/// What a machine is made of.
#[derive(Default)]
pub struct Settings {
    /// How code runs.
    pub engine: Engine,
    /// The heap's sizes and mode.
    pub heap: Config,
    /// The most words that the stack may have, whatever the program sets for itself; if none, OCaml's default limit, which
    /// the program may raise.
    pub stack_limit_words: Option<usize>,
    /// The most threads that the program may have, its first one included; as many as the system gives if none.
    pub thread_limit: Option<usize>,
    /// What the program may ask about its start.
    pub params: Params,
}

/// An OCaml bytecode machine.
///
/// Not `Send`: a machine belongs to the thread that made it.
pub struct Machine {
    /// The heap.
    pub(crate) heap: Heap,
    /// The primitives known, and their numbers in the program.
    pub(crate) prims: PrimTable,
    /// The kinds of custom blocks known.
    pub(crate) customs: Customs,
    /// What the program may ask about its start.
    pub(crate) params: Params,
    /// The last exception's backtrace.
    pub(crate) backtrace: Backtrace,
    /// Signals that arrived, and their handlers.
    pub(crate) signals: Signals,
    /// What has run, under [`Dispatch::Profile`](crate::Dispatch::Profile).
    pub(crate) profile: Profile,
    pub(crate) roots: MachineRoots,
    pub(crate) debugging: Option<Box<Debugging>>,
    pub(crate) memprof: Option<Box<Memprof>>,
    /// Profiles begun so far.
    pub(crate) profiles: u64,
    /// The running thread is in a function of the profile's tracker.
    pub(crate) hushed: bool,
    pub(crate) engine: Engine,
    pub(crate) translator: Rc<Translator>,
    pub(crate) registry: SharedRegistry,
    pub(crate) next_unit: u64,
    /// `CALL_DYN`, where the closures of loaded code point under the stub strategy; `STOP`, where the frames of
    /// callbacks return to; `REVOKED`, where the closures of revoked units lead.
    snippets: Box<[u64; 3]>,
    /// Depth of the innermost trap frame; 0 for none.
    pub(crate) trap_depth: usize,
    /// `extra_args` while no instruction runs but one is under way.
    pub(crate) extra: usize,
    pub(crate) leaving: Option<Leaving>,
    /// What checked code is about to be stopped for, and where.
    fault: Option<(*const u64, Fault)>,
    /// Words that the running primitive has put under its frame.
    pub(crate) inserted: usize,
    result: Value,
    /// What the primitive that only looked raised.
    pub(crate) raised: Option<Box<Raise>>,
    action: Arc<AtomicBool>,
    /// The host's calls, and which of them is to stop.
    pub(crate) calls: Arc<Calls>,
    in_finaliser: bool,
    pub(crate) nesting: Nesting,
    pub(crate) next_oo_id: i64,
    extensions: FxHashMap<TypeId, Box<dyn Any>>,
}

impl Machine {
    /// A machine without a program.
    pub fn new(settings: Settings) -> Self {
        let Settings { engine, heap, stack_limit_words, thread_limit, params } = settings;
        let registry: SharedRegistry = Rc::new(RefCell::new(Registry::default()));
        let mut heap = Heap::new(heap);
        let action = Arc::new(AtomicBool::new(false));
        let calls = Arc::new(Calls::new(Arc::clone(&action)));
        let signals = Signals::new(Arc::clone(&action), &mut heap);
        let roots = MachineRoots {
            stack: Stack::new(stack_limit_words),
            accu: Value::UNIT,
            env: Value::UNIT,
            pc: std::ptr::null(),
            base_depth: NO_ACTIVATION,
            running: NO_PRIMITIVE,
            floor: 0,
            exn: Value::UNIT,
            backtrace_exn: Value::UNIT,
            globals: heap.atom(0),
            named: IndexMap::new(),
            kept: SharedKept::default(),
            threads: Threads::new(thread_limit),
            samples: Samples::default(),
            registry: Rc::clone(&registry),
            action: Arc::clone(&action),
            calls: Arc::clone(&calls),
        };
        let snippets = Box::new([
            dispatch::cell(engine, spelter_bytecode::Opcode::CALL_DYN),
            dispatch::cell(engine, spelter_bytecode::Opcode::STOP),
            dispatch::cell(engine, spelter_bytecode::Opcode::REVOKED),
        ]);
        let mut machine = Machine {
            heap,
            prims: PrimTable::default(),
            customs: Customs::default(),
            params,
            backtrace: Backtrace::default(),
            profile: Profile::default(),
            signals,
            roots,
            debugging: None,
            memprof: None,
            profiles: 0,
            hushed: false,
            engine,
            translator: Rc::new(Translator::new(engine)),
            registry,
            next_unit: 0,
            snippets,
            trap_depth: 0,
            extra: 0,
            leaving: None,
            fault: None,
            inserted: 0,
            result: Value::UNIT,
            raised: None,
            calls,
            action,
            in_finaliser: false,
            nesting: Nesting::default(),
            next_oo_id: 0,
            extensions: FxHashMap::default(),
        };
        if let Some(words) = machine.params.stack_limit_words {
            machine.roots.stack.begin_with(words);
        }
        machine.install_predefined_exceptions();
        machine
    }

    /// The engine that this machine was made for.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// The heap, to be looked at.
    pub fn heap(&self) -> &Heap {
        &self.heap
    }

    /// See [`Config::space_overhead`]. At least 1 is used.
    pub fn set_space_overhead(&mut self, percent: u32) {
        self.heap.set_space_overhead(percent);
    }

    /// See [`Config::max_overhead`].
    pub fn set_max_overhead(&mut self, percent: u32) {
        self.heap.set_max_overhead(percent);
    }

    /// Lets so many allocations succeed and fails those after them, for tests of what becomes of that; none fails for want
    /// of permission if none is given.
    pub fn fail_allocations_after(&mut self, allowed: Option<usize>) {
        self.heap.fail_allocations_after(allowed);
    }

    /// The primitives known, and their numbers in the program.
    pub fn prims(&self) -> &PrimTable {
        &self.prims
    }

    /// Gives out the next primitive number to `name`, whether it has one or not.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn append_primitive(&mut self, name: &str) -> Result<usize, OutOfMemory> {
        self.prims.append(name)
    }

    /// Forgets the primitive numbers from `count` on: a load that failed takes back what it appended. Code that calls them
    /// is stopped as by a missing primitive.
    pub fn truncate_primitives(&mut self, count: usize) {
        self.prims.truncate(count);
    }

    /// Makes families of primitives known.
    ///
    /// # Safety
    /// Their functions keep the contract of [`Prim`](crate::Prim).
    pub unsafe fn add_families(&mut self, families: &'static Families) {
        self.prims.add_families(families);
    }

    /// Makes a library known. Its primitives are found by whoever names them, but are none of the runtime's own.
    ///
    /// # Safety
    /// Its functions keep the contract of [`Prim`](crate::Prim).
    pub unsafe fn add_library(&mut self, library: Library) {
        self.prims.add_library(library);
    }

    /// Makes one primitive of the host's known; it wins over a built-in one of that name.
    ///
    /// # Safety
    /// It keeps the contract of [`Prim`](crate::Prim).
    pub unsafe fn add_host_primitive(&mut self, name: &str, arity: usize, f: HostFn) {
        self.prims.add_host(name, arity, f);
    }

    /// Makes a kind of custom block known to unmarshalling; the last of a name wins.
    ///
    /// # Safety
    /// Its [`Behaviour`](crate::boxed::Behaviour) reads a block only as one of this kind, and its `deserialize` keeps the
    /// contract of [`Prim`](crate::Prim).
    pub unsafe fn add_custom(&mut self, ops: &'static CustomOps) {
        self.customs.add(ops);
    }

    /// What the program may ask about its start.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The same, to be changed.
    pub fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    /// The last exception's backtrace.
    pub fn backtrace(&self) -> &Backtrace {
        &self.backtrace
    }

    /// The same, to be changed.
    pub fn backtrace_mut(&mut self) -> &mut Backtrace {
        &mut self.backtrace
    }

    /// Signals that arrived.
    pub fn signals(&self) -> &Signals {
        &self.signals
    }

    /// What has run, under [`Dispatch::Profile`](crate::Dispatch::Profile).
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// All code.
    pub fn units(&self) -> std::cell::Ref<'_, Registry> {
        self.registry.borrow()
    }

    /// The words that the stack may grow to.
    pub fn stack_limit_words(&self) -> usize {
        self.roots.stack.limit_words()
    }

    /// Sets the words that the stack may grow to, as a program can (`Gc.set`): not beyond what the host has set.
    pub fn set_stack_limit_words(&mut self, words: usize) {
        self.roots.stack.set_limit_words(words);
        for thread in self.roots.threads.suspended_mut() {
            thread.stack.set_limit_words(words);
        }
    }

    /// Makes room for a frame of `words` (`caml_ensure_stack_capacity`).
    ///
    /// # Errors
    /// `Stack_overflow` when that exceeds the limit, `Out_of_memory` when there is no memory for it.
    pub fn ensure_stack(&mut self, words: usize) -> Result<(), Raise> {
        self.roots.stack.ensure_entry(words)
    }

    /// Makes each function entry find room for the largest frame that verified code has.
    ///
    /// # Errors
    /// `Stack_overflow` when that exceeds the limit, `Out_of_memory` when there is no memory for it.
    pub fn reserve_frames(&mut self, words: usize) -> Result<(), Raise> {
        let suspended = self.roots.threads.suspended_mut().map(|thread| &mut thread.stack);
        let mut stacks = suspended.chain([&mut self.roots.stack]);
        stacks.try_for_each(|stack| stack.reserve_frames(words))
    }

    /// A family's own state: one value of each type, made when first asked for.
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

    /// Puts the registers where the collector and slow paths find them.
    #[inline(always)]
    pub(crate) fn save(&mut self, r: &Regs) {
        self.roots.stack.sp = r.sp;
        self.roots.accu = r.accu;
        self.roots.env = r.env;
        self.roots.pc = r.pc;
        self.extra = r.extra;
    }

    /// Takes back what [`Machine::save`] put away: the stack may have moved, and so may values. They are roots no
    /// longer, lest they outlive what runs.
    #[inline(always)]
    pub(crate) fn reload(&mut self, r: &mut Regs) {
        r.sp = self.roots.stack.sp;
        r.accu = std::mem::replace(&mut self.roots.accu, Value::UNIT);
        r.env = std::mem::replace(&mut self.roots.env, Value::UNIT);
        r.pc = std::mem::replace(&mut self.roots.pc, std::ptr::null());
        r.extra = self.extra;
    }

    /// Ends checked code that tried something it may not. The fault goes through memory: passed to a function that is
    /// not inlined, its address would cost every handler its sibling call.
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
        let registry = self.registry.borrow();
        let place = match registry.find(pc as usize - 8) {
            Some(unit) => format!("{} near byte {:#x}", unit.name, 4 * (unit.position(pc as usize) - 1)),
            None => "code outside any unit".to_owned(),
        };
        drop(registry);
        self.leaving = Some(Leaving::Fatal(format!("checked code was stopped in {place}: {fault}")));
    }

    // ---- allocation in handlers --------------------------------------------------------------------

    /// A block in the nursery, or nothing when it is full or the block is large.
    #[inline(always)]
    pub(crate) fn alloc_young(&mut self, wosize: usize, tag: u8) -> Option<Value> {
        if wosize > MAX_YOUNG_WOSIZE {
            return None;
        }
        // SAFETY: sizes in code are at least 1, and handlers fill each field before anything else.
        unsafe { self.heap.alloc_small(wosize, tag) }
    }

    /// The same after collecting, with the registers saved. Nothing when memory is exhausted: the exception is
    /// left to be raised.
    #[cold]
    #[inline(never)]
    pub(crate) fn alloc_slow(&mut self, wosize: usize, tag: u8) -> Option<Value> {
        // SAFETY: the saved registers are roots, and the handler fills the fields.
        let block = unsafe {
            if wosize <= MAX_YOUNG_WOSIZE {
                self.heap.make_room(&mut self.roots, wosize);
                if self.heap.is_sampling() {
                    return self.alloc_sampled(wosize, tag);
                }
                if self.heap.exhausted() { None } else { self.heap.alloc_small(wosize, tag) }
            } else {
                let block = self.heap.alloc_major(wosize, tag).ok();
                self.action.store(true, Ordering::Relaxed);
                if let Some(block) = block.filter(|_| self.heap.is_sampling()) {
                    self.sample_block(block, wosize, Source::Normal);
                }
                block
            }
        };
        if block.is_none() {
            self.leave_exn(Raise::OutOfMemory);
        }
        block
    }

    /// A young block, on which samples may fall.
    fn alloc_sampled(&mut self, wosize: usize, tag: u8) -> Option<Value> {
        let sampled = match self.sample_before(wosize) {
            Ok(sampled) => sampled,
            Err(raise) => {
                self.leave_exn(raise);
                return None;
            }
        };
        // SAFETY: as above.
        let block = unsafe {
            self.heap.make_room(&mut self.roots, wosize);
            if self.heap.exhausted() { None } else { self.heap.alloc_small(wosize, tag) }
        };
        match sampled {
            Some(id) => self.sampled_block(id, block),
            None => self.heap.draw_young_sample(),
        }
        if block.is_none() {
            self.leave_exn(Raise::OutOfMemory);
        }
        block
    }

    /// Translates the function at a code address whose cell is zero, if that means that it has not been translated. False
    /// when there is none: the machine is to be left.
    #[cold]
    #[inline(never)]
    pub(crate) fn translate_at(&mut self, pc: *const u64) -> bool {
        let outcome = self.translate_function(pc);
        outcome.map_err(|raise| self.leave_exn(raise)).is_ok()
    }

    /// The same, for a primitive.
    ///
    /// # Errors
    /// When there is no function.
    pub(crate) fn translate_function(&self, pc: *const u64) -> Result<(), Raise> {
        if !self.translator.is_lazy() {
            return Ok(());
        }
        let registry = self.registry.borrow();
        let unit = registry.find(pc as usize);
        let unit = unit.ok_or_else(|| Raise::Fatal("code outside any unit".to_owned()))?;
        let outcome = self.translator.function(unit, unit.position(pc as usize), &self.prims);
        outcome.map_err(|e| Raise::Fatal(format!("{}: {e}", unit.name)))
    }

    /// Where closures of loaded code point under the stub strategy.
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

    // ---- pending actions ---------------------------------------------------------------------------

    /// Whether signals, finalisers or the collector want to be heard.
    #[inline(always)]
    pub(crate) fn action_due(&self) -> bool {
        self.action.load(Ordering::Relaxed)
    }

    /// Asks for a look at the next safe point.
    pub fn request_action(&self) {
        self.action.store(true, Ordering::Relaxed);
    }

    /// At a function's entry, with the registers saved: the stack grows if it must, and pending actions run.
    /// False when that leaves an exception to be raised.
    #[cold]
    #[inline(never)]
    pub(crate) fn safe_point(&mut self) -> bool {
        if self.roots.stack.sp < self.roots.stack.threshold
            && let Err(raise) = self.roots.stack.ensure_entry(0)
        {
            self.leave_exn(raise);
            return false;
        }
        !self.action_due() || self.process_actions()
    }

    /// Runs what is pending, with the registers saved; they are the same afterwards. False when a signal handler
    /// or a finaliser raised: the exception is left.
    #[cold]
    #[inline(never)]
    pub(crate) fn process_actions(&mut self) -> bool {
        // An event frame: {accu, pc, env, extra_args}, so that a backtrace from a handler shows where it struck.
        let depth = self.roots.stack.depth();
        let frame =
            [Value::int(self.extra as i64), self.roots.env, Regs::code_value(self.roots.pc), self.roots.accu];
        for v in frame {
            self.push_raw(v);
        }
        let outcome = self.run_pending().map_err(|raise| self.settle_exn(raise));
        let at = |i: usize| Slot(depth + i);
        self.extra = self.raw(at(1)).as_int() as usize;
        self.roots.env = self.raw(at(2));
        self.roots.pc = Regs::code_address(self.raw(at(3)));
        self.roots.accu = self.raw(at(4));
        self.roots.stack.release(depth);
        match outcome {
            Ok(()) => true,
            Err(settled) => {
                self.leave_settled(settled);
                false
            }
        }
    }

    /// Runs due collector work, signal handlers and finalisers now: primitives call this where OCaml's do.
    ///
    /// # Errors
    /// What a handler or finaliser raised.
    pub fn run_pending(&mut self) -> Result<(), Raise> {
        self.take_action()?;
        self.check_ending()?;
        while self.heap.due() {
            // SAFETY: no handler runs; the registers are saved or not in use.
            unsafe { self.heap.poll(&mut self.roots) };
            self.resume_heap_panic();
            // The collection itself asks for a look; so may whoever interrupts, at the same time.
            self.take_action()?;
            if self.heap.exhausted() {
                return Err(Raise::OutOfMemory);
            }
        }
        self.free_some_units();
        self.run_signals()?;
        self.run_tracker()?;
        self.run_finalisers()
    }

    /// Takes notice that something wants to be heard, first of all an interrupt. One that comes from now on is seen next time:
    /// the flag and what it stands for are read in the other order than they are written.
    fn take_action(&mut self) -> Result<(), Raise> {
        self.action.swap(false, Ordering::AcqRel);
        self.stop_or_wait()
    }

    /// Runs the finalisers that the collector has found due. One at a time: a finaliser is not interrupted by
    /// another.
    ///
    /// # Errors
    /// What a finaliser raised; those after it stay due.
    pub fn run_finalisers(&mut self) -> Result<(), Raise> {
        if self.in_finaliser {
            return Ok(());
        }
        while let Some((f, v)) = self.heap.next_finaliser() {
            let mark = self.mark();
            let f = self.push_raw(f);
            let v = self.push_raw(v);
            self.in_finaliser = true;
            let outcome = self.call(f, &[v]).map(drop);
            self.in_finaliser = false;
            self.release(mark);
            if outcome.is_err() {
                self.request_action();
                return outcome;
            }
        }
        Ok(())
    }

    /// Lets finalisers run although one is running (`Gc.finalise_release`).
    pub fn release_finalisers(&mut self) {
        self.in_finaliser = false;
    }

    // ---- results and exceptions --------------------------------------------------------------------

    pub(crate) fn set_result(&mut self, v: Value) {
        self.result = v;
    }

    /// The result of the primitive that just returned.
    #[inline(always)]
    pub(crate) fn take_result(&self) -> Value {
        self.result
    }

    /// Makes what a primitive asked to raise into an exception value, or into a reason to leave, and leaves it
    /// for `raise_left`; with the backtrace that starts here.
    #[cold]
    pub(crate) fn leave_exn(&mut self, raise: Raise) {
        let settled = self.settle_exn(raise);
        self.leave_settled(settled);
    }

    fn leave_settled(&mut self, settled: Result<(), Leaving>) {
        let settled = settled.and_then(|()| match self.debug_trap() {
            Ok(()) => Ok(()),
            Err(raise) => self.materialise(raise),
        });
        match settled {
            Ok(()) => self.record_backtrace(false),
            Err(leaving) => self.leaving = Some(leaving),
        }
    }

    /// Makes the exception that is to be raised, and runs first what is due (`caml_raise`): what that raises takes the
    /// exception's place.
    fn settle_exn(&mut self, raise: Raise) -> Result<(), Leaving> {
        self.materialise(raise)?;
        if !self.action_due() {
            return Ok(());
        }
        let mark = self.mark();
        let exn = self.push_raw(self.roots.exn);
        let outcome = match self.run_pending() {
            Ok(()) => {
                self.roots.exn = self.raw(exn);
                Ok(())
            }
            Err(raise) => self.materialise(raise),
        };
        self.release(mark);
        outcome
    }

    /// Makes the exception value that `raise` stands for the machine's current exception.
    pub(crate) fn materialise(&mut self, raise: Raise) -> Result<(), Leaving> {
        let (number, message) = match raise {
            Raise::Exn => return Ok(()),
            Raise::Exit(code) => return Err(Leaving::Exit(code)),
            Raise::EndThread => return Err(Leaving::Thread),
            Raise::Fatal(message) => return Err(Leaving::Fatal(message)),
            Raise::Panic(panicked) => return Err(Leaving::Panic(panicked)),
            Raise::Interrupted => return Err(Leaving::Interrupted),
            Raise::OutOfMemory => (0, None),
            Raise::Sys(message) => (1, Some(message)),
            Raise::Failure(message) => (2, Some(message.into_owned().into_bytes())),
            Raise::Invalid(message) => (3, Some(message.into_owned().into_bytes())),
            Raise::EndOfFile => (4, None),
            Raise::DivisionByZero => (5, None),
            Raise::NotFound => (6, None),
            Raise::StackOverflow => (8, None),
            Raise::BlockedIo => (9, None),
        };
        let Some(message) = message else {
            self.roots.exn = self.predefined(number);
            return Ok(());
        };
        let mark = self.mark();
        let made = self
            .push(|m| m.new_string(&message))
            .and_then(|text| {
                let v = self.predefined(number);
                let id = self.push_raw(v);
                self.new_block(0, &[id, text]).map(|v| v.raw())
            })
            .unwrap_or_else(|_| self.predefined(0));
        self.release(mark);
        self.roots.exn = made;
        Ok(())
    }

    /// The exception value behind a wish to raise, in a new slot; `()` where there is none ([`Raise::Exit`],
    /// [`Raise::EndThread`], [`Raise::Fatal`], [`Raise::Panic`] and [`Raise::Interrupted`]).
    pub fn push_exception(&mut self, raise: Raise) -> Slot {
        match self.materialise(raise) {
            Ok(()) => self.push_raw(self.roots.exn),
            Err(_) => self.push_int(0),
        }
    }

    /// The predefined exception of a number (`runtime/caml/fail.h`): the first globals.
    fn predefined(&self, number: usize) -> Value {
        // Every global table starts with them when it is made, but the program can reach it
        // (`caml_get_global_data`) and cut it off.
        self.globals().field(number).map_or(Value::UNIT, Val::raw)
    }

    fn install_predefined_exceptions(&mut self) {
        let table = self
            .new_array(PREDEFINED.iter().enumerate(), |m, (i, name)| {
                let name = m.push(|m| m.new_string(name.as_bytes()))?;
                let id = m.push_int(-(i as i64) - 1);
                m.new_block(tag::OBJECT, &[name, id])
            })
            .map(|v| v.raw())
            .expect("an empty heap has room for the predefined exceptions");
        self.roots.globals = table;
    }

    // ---- collections -------------------------------------------------------------------------------

    /// Collects all garbage: full major collections until finalisers leave no more, as `Gc.full_major`.
    ///
    /// # Errors
    /// What a finaliser raised.
    pub fn full_major(&mut self) -> Result<(), Raise> {
        let _call = self.begin_call();
        for _ in 0..3 {
            self.heed_interrupt()?;
            self.collect_full();
            self.heed_interrupt()?;
            self.run_finalisers()?;
        }
        Ok(())
    }

    /// Counts memory outside the heap, which a program owns, towards the limit that the host set for the heap, for as long as
    /// what this gives exists. May collect, to find out whether there is so much left.
    ///
    /// # Errors
    /// When there is not.
    pub fn charge(&mut self, bytes: usize) -> Result<Charge, Raise> {
        // SAFETY: the machine's roots are complete whenever a primitive runs.
        Ok(unsafe { self.heap.charge(&mut self.roots, bytes) }?)
    }

    // ---- named values ------------------------------------------------------------------------------

    /// How many values are registered.
    pub fn named_count(&self) -> usize {
        self.roots.named.len()
    }

    /// The same for a program, whose names may be of any size and number.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn try_register_named(&mut self, name: &[u8], v: Slot) -> Result<(), Raise> {
        crate::fallible::afford(name.len())?;
        self.roots.named.try_reserve(1)?;
        self.register_named(name, v);
        Ok(())
    }

    /// Registers a value under a name (`Callback.register`).
    pub fn register_named(&mut self, name: &[u8], v: Slot) {
        let v = self.raw(v);
        self.roots.named.insert(name.to_owned(), v);
    }

    /// Forgets the value registered under a name. False when there was none.
    pub fn unregister_named(&mut self, name: &[u8]) -> bool {
        self.roots.named.shift_remove(name).is_some()
    }

    /// Keeps the value registered under a name in a new slot.
    pub fn named_value(&mut self, name: &str) -> Option<Slot> {
        let v = *self.roots.named.get(name.as_bytes())?;
        Some(self.push_raw(v))
    }
}
/// The predefined exceptions, in the order of their global slots.
pub const PREDEFINED: [&str; 12] = [
    "Out_of_memory",
    "Sys_error",
    "Failure",
    "Invalid_argument",
    "End_of_file",
    "Division_by_zero",
    "Not_found",
    "Match_failure",
    "Stack_overflow",
    "Sys_blocked_io",
    "Assert_failure",
    "Undefined_recursive_module",
];
