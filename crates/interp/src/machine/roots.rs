//! The roots: all places outside the heap where the machine holds values. There is one enumeration: collections scan
//! the roots that it yields, and `inspect::reachability` names them.

use std::any::Any;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indexmap::IndexMap;
use spelter_heap::raw::{Phase, Roots, Sample, Value, Visitor};

use crate::code::registry::{Registry, SharedRegistry};
use crate::exec::regs::Regs;
use crate::machine::fibers::{self, Fibers};
use crate::machine::handles::KeptValues;
use crate::prim::foreign::Loader;
use crate::threads::Threads;
use crate::threads::interrupt::Calls;
use crate::threads::state::ThreadState;

/// Everything outside the heap that holds values.
pub(crate) struct MachineRoots {
    /// The running thread.
    pub(crate) thread: ThreadState,
    /// The threads, with the states of those that are not running.
    pub(crate) threads: Threads,
    /// The global table, a block.
    pub(crate) globals: Value,
    /// Values registered by name (`Callback.register`).
    pub(crate) named: IndexMap<Vec<u8>, Value>,
    /// The bytes that those names take.
    pub(crate) named_bytes: usize,
    /// Values that Rust code keeps.
    pub(crate) kept: KeptValues,
    /// Maximum depth of the call stack that is recorded with a sample of an allocation.
    pub(crate) sample_depth: usize,
    /// What fibers share.
    pub(crate) fibers: Fibers,
    /// Knows the values that only foreign libraries hold.
    pub(crate) loader: Option<&'static Loader>,
    pub(super) registry: SharedRegistry,
    pub(super) action: Arc<AtomicBool>,
    pub(super) calls: Arc<Calls>,
}

/// Where some values are among the roots.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RootPlace {
    /// A thread's stack, top first, with its innermost trap frame at the depth `trap`.
    Stack { owner: Owner, trap: usize },
    /// The running fiber of a thread.
    Fiber(Owner),
    /// The fiber that a thread's first stack is.
    FirstFiber(Owner),
    /// A thread's register, while an instruction is in progress.
    Register(Owner, Register),
    /// The exception that a thread raised last.
    Exception(Owner),
    /// The exception to which a thread's backtrace belongs.
    BacktraceException(Owner),
    /// The descriptor of a thread.
    Descriptor(u64),
    /// The root of a domain's local storage, by the domain's id.
    DomainStorage(u64),
    /// The global table.
    Globals,
    /// A value registered by name, by its number.
    Named(usize),
    /// The values that handles keep, in the order of their numbers.
    Kept,
    /// What a foreign library holds.
    Foreign,
}

/// A register that may hold a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Register {
    Accu,
    Env,
    /// An integer to the collector, like all code addresses.
    Pc,
}

/// The thread to which a root belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Owner {
    /// The running thread.
    Running,
    /// A thread that is not running, by its number.
    Suspended(u64),
}

impl Owner {
    /// The number of a thread that is not running.
    pub(crate) fn suspended(self) -> Option<u64> {
        match self {
            Owner::Running => None,
            Owner::Suspended(id) => Some(id),
        }
    }
}

impl MachineRoots {
    /// Calls `show` with each place and the values there.
    pub(crate) fn each(&mut self, mut show: impl FnMut(RootPlace, &mut [Value])) {
        each_of_thread(Owner::Running, &mut self.thread, &mut show);
        for (id, thread) in self.threads.suspended_mut() {
            each_of_thread(Owner::Suspended(id), thread, &mut show);
        }
        for (id, descriptor) in self.threads.descriptors_mut() {
            show(RootPlace::Descriptor(id), std::slice::from_mut(descriptor));
        }
        for (id, storage) in self.threads.domains.storage_mut() {
            show(RootPlace::DomainStorage(id), std::slice::from_mut(storage));
        }
        show(RootPlace::Globals, std::slice::from_mut(&mut self.globals));
        for (number, v) in self.named.values_mut().enumerate() {
            show(RootPlace::Named(number), std::slice::from_mut(v));
        }
        show(RootPlace::Kept, self.kept.all());
        if let Some(loader) = self.loader {
            (loader.show)(&mut |values| show(RootPlace::Foreign, values));
        }
    }
}

fn each_of_thread(owner: Owner, thread: &mut ThreadState, show: &mut impl FnMut(RootPlace, &mut [Value])) {
    use RootPlace::{BacktraceException, Exception, Register as InRegister};
    let mut pc = Regs::code_value(thread.pc);
    show(RootPlace::Stack { owner, trap: thread.trap_depth }, thread.stack.live());
    for (place, v) in [
        (RootPlace::Fiber(owner), &mut thread.fiber),
        (RootPlace::FirstFiber(owner), &mut thread.first_fiber),
        (InRegister(owner, Register::Pc), &mut pc),
        (InRegister(owner, Register::Accu), &mut thread.accu),
        (InRegister(owner, Register::Env), &mut thread.env),
        (Exception(owner), thread.exn.get_mut()),
        (BacktraceException(owner), &mut thread.backtrace_exn),
    ] {
        show(place, std::slice::from_mut(v));
    }
}

impl Roots for MachineRoots {
    fn sampled(&mut self, sample: Sample) -> bool {
        let callstack = self.thread.callstack(&self.registry.borrow(), self.sample_depth);
        self.action.store(true, Ordering::Relaxed);
        let profile = self.threads.domains.profile();
        callstack.is_ok_and(|callstack| self.thread.sampled(sample, profile, callstack))
    }

    fn trace(&mut self, data: &mut dyn Any, visitor: &mut Visitor<'_>) {
        let Some(fiber) = fibers::of_data(data) else { return };
        if visitor.phase() == Phase::Mark {
            keep_code(&self.registry.borrow(), visitor, fiber.words());
        }
        self.fibers.show(fiber, visitor);
    }

    fn held_bytes(&self) -> usize {
        let threads = self.threads.suspended().map(|(_, thread)| thread).chain([&self.thread]);
        let stacks: usize = threads.map(|thread| self.fibers.uncharged_bytes(thread)).sum();
        stacks + self.fibers.spare_bytes() + self.threads.native_bytes() + self.named_bytes
    }

    fn cannot_wait(&self) -> bool {
        self.calls.is_stopping()
    }

    fn scan(&mut self, visitor: &mut Visitor<'_>) {
        let marking = visitor.phase() == Phase::Mark;
        if marking {
            self.registry.borrow_mut().note_major();
        }
        match visitor.phase() {
            Phase::Minor | Phase::Mark => self.fibers.settle(visitor),
            Phase::Update => self.fibers.update(visitor),
            Phase::Verify => {}
        }
        let registry = Rc::clone(&self.registry);
        let parts = self.thread.part_sizes();
        self.each(|place, values| {
            // A safety net for the frame invariant: a program can overwrite a closure's slots through `Obj`, so the
            // code that the stack and `pc` point to is kept alive whatever `env` refers to.
            if marking && matches!(place, RootPlace::Stack { .. } | RootPlace::Register(_, Register::Pc)) {
                keep_code(&registry.borrow(), visitor, values);
            }
            match place {
                // Frames of running code reload each word. A primitive or the host may have read a value earlier and
                // still use it.
                RootPlace::Stack { owner: Owner::Running, .. } => {
                    let (temporaries, rest) = values.split_at_mut(parts.0);
                    let (frames, outer) = rest.split_at_mut(parts.1);
                    visitor.slice(temporaries);
                    visitor.slice_of_any(frames);
                    visitor.slice(outer);
                }
                _ => visitor.slice(values),
            }
        });
        // A collection may leave finalisers to run, or more work due: request a check at the next safe point.
        self.action.store(true, Ordering::Relaxed);
    }
}

/// Keeps alive the units into whose code these words point.
fn keep_code(registry: &Registry, visitor: &mut Visitor<'_>, words: &[Value]) {
    for v in words {
        if Regs::is_code_value(*v)
            && let Some(unit) = registry.find(Regs::code_address(*v) as usize)
            && let Some(object) = unit.object
        {
            visitor.keep(object);
        }
    }
}
