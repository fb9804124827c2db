//! The program's threads (`otherlibs/systhreads`), of all its domains: each is a thread of the system, and one of them at
//! a time holds the machine.
//!
//! While another thread runs, a thread's own state (its stack, registers, exception, backtrace) is in the machine's
//! table of threads, where the collector finds it.

pub(crate) mod blocking;
pub mod domains;
pub(crate) mod errands;
pub(crate) mod guests;
pub(crate) mod interrupt;
pub(crate) mod master_lock;
pub mod signals;
pub(crate) mod state;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use spelter_heap::raw::Value;

use crate::Machine;
use crate::machine::stack::Stack;
use crate::prim::{Raise, Slot, fallible};
use crate::threads::domains::{Domains, Looks, Place};
use crate::threads::interrupt::Interruption;
use crate::threads::master_lock::{Absence, Call, MasterLock, Taker};
use crate::threads::state::ThreadState;

/// Initial stack size of additional threads, in words (`st_stubs.c`).
const INITIAL_WORDS: usize = 1024;
/// Native stack size of additional threads in bytes, the system's usual size: nested callbacks use it.
const NATIVE_STACK: usize = 8 << 20;
/// How long a machine that is dropped waits for threads whose waits cannot be ended, such as that for a disk.
const PATIENCE: Duration = Duration::from_secs(1);
/// What a system thread takes: the part of that stack which is used, and the system's own data.
pub(crate) const THREAD_BYTES: usize = 64 << 10;
/// The number of the program's first thread, which is the thread of the machine's host.
pub(crate) const HOME: u64 = 0;

struct Thread {
    /// The program's `Thread.t`; `()` if the program does not use the library `threads`.
    descriptor: Value,
    /// Its own state while another thread runs.
    state: Option<Box<ThreadState>>,
    /// The id of its domain.
    domain: u64,
    /// What to do when it has ended.
    at_end: Option<AtEnd>,
    /// Where it was when its last turn ended.
    place: Option<Place>,
}

/// The function that a thread runs. Its arguments are in the slots.
pub type Body = fn(&mut Machine, &[Slot]) -> Result<(), Raise>;
/// What to do when a thread has ended, with the machine still held.
pub type AtEnd = Box<dyn FnOnce()>;
/// What to do when a thread other than the host's ends the whole program: it ends the process.
pub type EndHook = Box<dyn FnOnce(Machine, Raise) + Send>;

/// The threads of one machine's program.
pub(crate) struct Threads {
    /// By number. Empty until the program asks for threads or domains.
    known: BTreeMap<u64, Thread>,
    /// The thread whose state is in the machine.
    current: u64,
    next: u64,
    /// Threads that this machine started and that have not ended.
    started: usize,
    lock: Arc<MasterLock>,
    /// Why the program ends, recorded by another thread for the host's.
    ending: Option<Raise>,
    /// The host is dropping the machine, so the other threads must end.
    closing: bool,
    hook: Option<EndHook>,
    pub(crate) domains: Domains,
    limit: Option<usize>,
    /// The running thread's turn is over.
    tick: Arc<AtomicBool>,
    /// Whether the running thread is looked at.
    looks: Looks,
}

impl Threads {
    /// What the system threads take.
    pub(crate) fn native_bytes(&self) -> usize {
        self.started * THREAD_BYTES
    }

    pub(crate) fn new(limit: Option<usize>) -> Self {
        Threads {
            known: BTreeMap::new(),
            current: HOME,
            next: HOME,
            started: 0,
            lock: Arc::default(),
            ending: None,
            closing: false,
            hook: None,
            domains: Domains::new(),
            limit,
            tick: Arc::default(),
            looks: Looks::default(),
        }
    }

    /// The states of the threads that are not running, by number.
    pub(crate) fn suspended(&self) -> impl Iterator<Item = (u64, &ThreadState)> {
        self.known.iter().filter_map(|(id, thread)| Some((*id, thread.state.as_deref()?)))
    }

    pub(crate) fn suspended_mut(&mut self) -> impl Iterator<Item = (u64, &mut ThreadState)> {
        self.known.iter_mut().filter_map(|(id, thread)| Some((*id, thread.state.as_deref_mut()?)))
    }

    pub(crate) fn descriptors_mut(&mut self) -> impl Iterator<Item = (u64, &mut Value)> {
        self.known.iter_mut().map(|(id, thread)| (*id, &mut thread.descriptor))
    }
}

impl Machine {
    // ---- switching threads ---------------------------------------------------------------------------

    /// Exchanges the state of the running thread.
    fn swap_state(&mut self, s: &mut ThreadState) {
        std::mem::swap(&mut self.roots.thread, s);
        self.heap.pause_sampling(self.roots.thread.in_tracker);
    }

    /// Stores the state of the running thread in the table, and returns its number.
    fn suspend(&mut self) -> u64 {
        let mut state = Box::new(ThreadState::new(Stack::absent()));
        self.swap_state(&mut state);
        let threads = &mut self.roots.threads;
        let thread = threads.known.get_mut(&threads.current).expect("a thread is known until it ends");
        thread.state = Some(state);
        threads.current
    }

    /// Makes thread `id` the running one.
    fn resume(&mut self, id: u64) {
        self.roots.threads.current = id;
        self.roots.threads.looks = Looks::default();
        if let Some(thread) = self.roots.threads.known.get_mut(&id) {
            let (state, domain) = (thread.state.take(), thread.domain);
            self.enter_domain(domain);
            if let Some(mut state) = state {
                self.swap_state(&mut state);
            }
        }
        if self.roots.threads.closing || self.roots.threads.ending.is_some() {
            self.request_action();
        }
    }

    /// The running thread, when it is about to wait for the machine.
    fn taker(&self) -> Taker {
        let (calls, home) = (Arc::clone(&self.calls), self.is_home());
        let interruption = if home { self.interruption() } else { Interruption::never() };
        Taker { calls, home, interruption }
    }

    /// Runs `f` while other threads may have the machine.
    pub(crate) fn without_machine<T>(&mut self, f: impl FnOnce() -> T) -> T {
        let (lock, taker) = (Arc::clone(&self.roots.threads.lock), self.taker());
        let id = self.suspend();
        let result = master_lock::without(self, &lock, &taker, f);
        self.resume(id);
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Puts down the machine at `place`, for a thread that will come back for it.
    ///
    /// # Safety
    /// As [`Absence::begin`].
    pub(crate) unsafe fn leave_machine(place: *mut Machine) -> Absence {
        // SAFETY: the machine is still there.
        let m = unsafe { &mut *place };
        let (lock, taker) = (Arc::clone(&m.roots.threads.lock), m.taker());
        let id = m.suspend();
        // SAFETY: the caller guarantees it.
        unsafe { Absence { lock, taker, id }.begin(place) }
    }

    /// Takes the machine again, to the same place.
    ///
    /// # Safety
    /// As [`Absence::end`].
    pub(crate) unsafe fn retake_machine(place: *mut Machine, absence: Absence) {
        // SAFETY: the caller guarantees it; then the machine is there.
        unsafe {
            let id = absence.end(place);
            (*place).resume(id);
        }
    }

    /// Whether no other thread can wait for the machine.
    pub(crate) fn is_alone(&self) -> bool {
        self.roots.threads.started == 0 && !self.may_have_guests()
    }

    /// Lets another thread run, if one is waiting (`Thread.yield`). Signals are handled before and after.
    ///
    /// # Errors
    /// What a signal handler raised.
    pub fn yield_thread(&mut self) -> Result<(), Raise> {
        if self.is_alone() || !self.roots.threads.lock.wanted() {
            return Ok(());
        }
        self.process_pending_signals()?;
        self.give_way(false);
        self.process_pending_signals()
    }

    /// The flags to set, in this order, when the running thread's turn is over, for versions whose threads do not take
    /// turns by a signal.
    pub fn tick_flags(&self) -> [Arc<AtomicBool>; 2] {
        [Arc::clone(&self.roots.threads.tick), Arc::clone(&self.action)]
    }

    /// Waits for a call while other threads have the machine.
    pub(crate) fn sleep(&mut self, call: &Arc<Call>) {
        let lock = Arc::clone(&self.roots.threads.lock);
        let taker = Taker { interruption: self.interruption(), ..self.taker() };
        let id = self.suspend();
        master_lock::sleep(self, &lock, &taker, call);
        self.resume(id);
    }

    /// Lends the machine to the thread that has waited longest. `idles`: this one's last turn brought it no further.
    fn give_way(&mut self, idles: bool) {
        let (lock, taker) = (Arc::clone(&self.roots.threads.lock), self.taker());
        let id = self.suspend();
        master_lock::give_way(self, &lock, &taker, idles);
        self.resume(id);
    }

    // ---- life cycle ----------------------------------------------------------------------------------

    /// The number of the next thread.
    pub fn new_thread_id(&mut self) -> u64 {
        let id = self.roots.threads.next;
        self.roots.threads.next += 1;
        id
    }

    /// Registers the running thread as number `id`, with the descriptor in a slot.
    pub fn register_first_thread(&mut self, id: u64, descriptor: Slot) {
        let descriptor = self.raw(descriptor);
        self.roots.threads.current = id;
        let domain = self.roots.threads.domains.current();
        self.roots
            .threads
            .known
            .insert(id, Thread { descriptor, state: None, domain, at_end: None, place: None });
    }

    /// Pushes the descriptor of the running thread into a new slot. `None` until the program uses the library
    /// `threads`.
    pub fn push_current_thread(&mut self) -> Option<Slot> {
        let descriptor = self.roots.threads.known.get(&self.roots.threads.current)?.descriptor;
        descriptor.is_block().then(|| self.push_raw(descriptor))
    }

    /// The number of the running thread.
    pub fn current_thread(&self) -> u64 {
        self.roots.threads.current
    }

    /// The number of threads, including the first one once the program uses threads.
    pub fn thread_count(&self) -> usize {
        self.roots.threads.known.len()
    }

    /// Whether the running thread is the host's, which made the machine.
    pub fn is_home(&self) -> bool {
        self.roots.threads.current == HOME
    }

    /// Starts thread `id`, which runs `body` on its descriptor as soon as it gets the machine. For primitives only:
    /// what they start must obey their [contract](crate::Prim), too.
    ///
    /// # Errors
    /// When the system or the program's limit allows no further thread, or no primitive is running.
    pub fn start_thread(&mut self, id: u64, descriptor: Slot, body: Body) -> std::io::Result<()> {
        self.start_in(self.domain_id(), id, descriptor, &[descriptor], body)
    }

    /// Starts a thread of a domain, which runs `body` on what is in `args`.
    fn start_in(
        &mut self,
        domain: u64,
        id: u64,
        descriptor: Slot,
        args: &[Slot],
        body: Body,
    ) -> std::io::Result<()> {
        if self.roots.thread.nesting.is_none() {
            return Err(std::io::Error::other("no code runs that could start a thread"));
        }
        let threads = &self.roots.threads;
        if threads.limit.is_some_and(|limit| threads.known.len() >= limit) {
            // The error that the system returns at its limit.
            return Err(std::io::ErrorKind::WouldBlock.into());
        }
        self.take(THREAD_BYTES + 8 * INITIAL_WORDS).map_err(|_| std::io::ErrorKind::OutOfMemory)?;
        let mut stack =
            self.roots.thread.stack.sibling(INITIAL_WORDS).map_err(|_| std::io::ErrorKind::OutOfMemory)?;
        let args = args.iter().map(|arg| stack.try_push_temp(self.raw(*arg)));
        let args: Vec<Slot> =
            args.collect::<Result<_, Raise>>().map_err(|_| std::io::ErrorKind::OutOfMemory)?;
        let state = Some(Box::new(ThreadState::new(stack)));
        let descriptor = self.raw(descriptor);
        let threads = &mut self.roots.threads;
        threads.known.insert(id, Thread { descriptor, state, domain, at_end: None, place: None });
        let lock = Arc::clone(&threads.lock);
        let taker =
            Taker { calls: Arc::clone(&self.calls), home: false, interruption: Interruption::never() };
        let life = move || run_thread(&lock, &taker, id, &args, body);
        let started = std::thread::Builder::new()
            .name("spelter thread".to_owned())
            .stack_size(NATIVE_STACK)
            .spawn(life);
        match started {
            Ok(_) => threads.started += 1,
            Err(_) => drop(threads.known.remove(&id)),
        }
        started.map(drop)
    }

    /// Sets what to do when the running thread has ended.
    pub fn at_thread_end(&mut self, f: AtEnd) {
        let threads = &mut self.roots.threads;
        if let Some(thread) = threads.known.get_mut(&threads.current) {
            thread.at_end = Some(f);
        }
    }

    /// Removes the running thread, which [`Machine::start_thread`] started.
    fn end_thread(&mut self) {
        let mut state = ThreadState::new(Stack::absent());
        self.swap_state(&mut state);
        let threads = &mut self.roots.threads;
        let ended = threads.known.remove(&threads.current);
        threads.started -= 1;
        self.leave_empty_domain();
        if let Some(at_end) = ended.and_then(|thread| thread.at_end) {
            at_end();
        }
    }

    /// Waits until all threads but this one, the host's, have ended.
    ///
    /// # Errors
    /// If one of them ended the program: why.
    pub fn join_threads(&mut self) -> Result<(), Raise> {
        while self.roots.threads.started > 0 {
            let lock = Arc::clone(&self.roots.threads.lock);
            let (ends, interruption) = (lock.ends(), self.interruption());
            self.without_machine(|| lock.wait_for_end(ends, &interruption));
            self.check_interrupt()?;
            self.check_ending()?;
        }
        Ok(())
    }

    /// In the child after `fork`: the calling thread is the only one left.
    pub fn forget_other_threads(&mut self) {
        let threads = &mut self.roots.threads;
        let current = threads.current;
        threads.known.retain(|id, _| *id == current);
        threads.started = usize::from(current != HOME);
        threads.lock = Arc::default();
        if let Some(loader) = self.loader() {
            (loader.forked)(self.entrance());
        }
    }

    // ---- ending the program --------------------------------------------------------------------------

    /// Sets what to do when a thread ends the whole program (by `exit`, or because the machine cannot continue) while
    /// the host's thread is waiting. Without it, the host's call is interrupted: see [`Machine::why_interrupted`].
    pub fn on_end_elsewhere(&mut self, hook: EndHook) {
        self.roots.threads.hook = Some(hook);
    }

    /// Whether another thread can end the call of the host's thread.
    pub(crate) fn may_be_ended(&self) -> bool {
        !self.is_alone() && self.roots.threads.hook.is_none()
    }

    /// Why a call of the host ends: if it was interrupted, another thread may have ended the program.
    pub fn why_interrupted(&mut self, raise: Raise) -> Raise {
        match raise {
            Raise::Interrupted => self.roots.threads.ending.take().unwrap_or(raise),
            raise => raise,
        }
    }

    /// Whether the host is dropping the machine, and this is another thread.
    pub(crate) fn must_end(&self) -> bool {
        self.roots.threads.closing && !self.is_home()
    }

    /// Lets the other threads end, as they do when they get the machine that is being dropped.
    #[cold]
    fn end_other_threads(&mut self) {
        self.calls.end_waits();
        let until = Instant::now() + PATIENCE;
        while self.roots.threads.started > 0 {
            if self.roots.threads.lock.wanted() {
                self.give_way(false);
            } else if !self.is_home() || !self.roots.threads.lock.await_thread(until) {
                break;
            }
        }
    }

    /// Checks whether this thread must end, because another thread ended the program or the host is dropping the
    /// machine.
    pub(crate) fn check_ending(&mut self) -> Result<(), Raise> {
        let home = self.is_home();
        let threads = &mut self.roots.threads;
        match threads.ending.take_if(|_| home) {
            Some(raise) => Err(raise),
            None if threads.closing && !home => Err(Raise::EndThread),
            None => Ok(()),
        }
    }
}

impl Drop for Machine {
    /// Ends the other threads, whatever they wait for. If a wait cannot be ended, and takes longer than this is patient,
    /// its thread stops for good when it ends: the system keeps its native stack.
    fn drop(&mut self) {
        self.roots.threads.closing = true;
        if self.roots.threads.started > 0 {
            self.end_other_threads();
        }
        self.roots.threads.lock.close();
        self.calls.close();
    }
}

/// The main function of a thread.
fn run_thread(lock: &Arc<MasterLock>, taker: &Taker, id: u64, args: &[Slot], body: Body) {
    let Some(mut m) = lock.take_first(taker) else { return };
    m.resume(id);
    fallible::replace_lender(m.lender());
    let outcome = catch_unwind(AssertUnwindSafe(|| body(&mut m, args)));
    let ending = match outcome {
        Ok(Err(raise @ (Raise::Exit(_) | Raise::Fatal(_) | Raise::Fault(_) | Raise::Panic(_)))) => {
            Some(raise)
        }
        Ok(_) => None,
        Err(_) => Some(Raise::Fatal(format!("thread {id} panicked"))),
    };
    match (ending, m.roots.threads.hook.take()) {
        (Some(raise), Some(hook)) => {
            hook(m, raise);
            std::process::abort(); // the hook must not return
        }
        (ending, hook) => {
            let threads = &mut m.roots.threads;
            threads.hook = hook;
            threads.ending = threads.ending.take().or(ending);
            if threads.ending.is_some() {
                // The host's thread may be waiting, even for this thread.
                m.calls.stop();
            }
            let threads = &mut m.roots.threads;
            // If the thread has forked, this is another lock than at the start.
            let lock = Arc::clone(&threads.lock);
            m.end_thread();
            lock.put(m);
            lock.end();
        }
    }
}
