//! Domains (`runtime/domain.c`): groups of threads with data of their own. All threads of all domains take turns with
//! the machine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use spelter_heap::Val;
use spelter_heap::raw::{Parked, Value};

use crate::Machine;
use crate::prim::{Raise, Slot};
use crate::threads::master_lock::Turns;
use crate::threads::{Body, HOME};

/// The id of the domain with which a program begins.
const MAIN: u64 = 0;
/// The maximum number of domains, unless `OCAMLRUNPARAM=d` says otherwise, and how large that may make it.
const DEFAULT_LIMIT: u64 = 128;
const LARGEST_LIMIT: u64 = 4096;
/// How long a thread may run while others wait, once there are several domains: programs have domains that wait for each
/// other in loops, so it is shorter than a turn of threads.
const TURN: Duration = Duration::from_micros(100);
/// The same, for a thread that was at the same place with the same words on its stack when its last turns ended: it
/// probably waits in a loop for another domain.
const IDLE_TURN: Duration = Duration::from_micros(20);
/// At how many safe points such a thread is looked at, when it has the machine again; and from when it has got further.
const LOOKS: u32 = 8;
const MORE_LOOKS: u32 = 48;
/// After how many of them without a change it waits again.
const UNCHANGED: u32 = 12;
/// How many words on the stack are compared.
const COMPARED: usize = 8;

/// Where a thread was when its turn ended. Words may be stale: they are only compared.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Place {
    depth: usize,
    words: [u64; COMPARED],
}

/// Looks at the running thread at its next safe points: whether it finds what it waits for, and then waits again.
#[derive(Clone, Copy, Default)]
pub(super) struct Looks {
    /// How many are left; 0 if it is not looked at.
    left: u32,
    /// Whether it got further.
    moved: bool,
    /// How many times it was where it had been.
    unchanged: u32,
}

impl Looks {
    fn new() -> Looks {
        Looks { left: LOOKS, ..Looks::default() }
    }

    /// After one more look, which found the thread where it was, or did not: whether it has got further, and waits again.
    fn waits_again(&mut self, is_where_it_was: bool) -> bool {
        self.left -= 1;
        if is_where_it_was {
            self.unchanged += 1;
        } else {
            self.unchanged = 0;
            if !std::mem::replace(&mut self.moved, true) {
                self.left = MORE_LOOKS;
            }
        }
        self.moved && self.unchanged == UNCHANGED
    }
}

/// One domain's own data.
pub(crate) struct Domain {
    /// Never used again.
    id: u64,
    /// A number that no other living domain has.
    index: usize,
    /// The root of its local storage.
    dls: Value,
    /// Whether exceptions record a backtrace, and whether a finaliser runs: while another domain has the machine, which
    /// holds these for the running one.
    backtrace_active: bool,
    in_finaliser: bool,
    /// What it had allocated when another domain last got the machine.
    allocated: Allocated,
    /// The profile for which its threads take samples, or took them.
    profile: Option<u64>,
    /// The heap's sampler, while another domain has the machine.
    sampler: Parked,
}

impl Domain {
    fn new(id: u64, index: usize, backtrace_active: bool, profile: Option<u64>) -> Domain {
        let (dls, allocated, sampler) = (Value::UNIT, Allocated::default(), Parked::default());
        Domain { id, index, dls, backtrace_active, in_finaliser: false, allocated, profile, sampler }
    }
}

/// Words allocated: `Gc.counters`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Allocated {
    /// In the nursery.
    pub minor: u64,
    /// Promoted from there.
    pub promoted: u64,
    /// In the old generation, promoted ones included.
    pub major: u64,
}

impl Allocated {
    /// These words, and those from `start` to `now`.
    fn and_since(self, start: Allocated, now: Allocated) -> Allocated {
        Allocated {
            minor: self.minor + now.minor - start.minor,
            promoted: self.promoted + now.promoted - start.promoted,
            major: self.major + now.major - start.major,
        }
    }
}

/// The domains of one machine's program.
pub(crate) struct Domains {
    /// That of the running thread.
    current: Domain,
    /// What all domains had allocated when it became the running one.
    entered_at: Allocated,
    /// The others, by id.
    others: BTreeMap<u64, Domain>,
    /// The next id.
    next: u64,
    /// A permutation of the first indices: those of living domains, then those that new domains get. Indices that are
    /// not in it have not been used yet.
    indices: Vec<usize>,
}

/// Why a domain could not be spawned.
#[derive(Debug)]
pub enum SpawnError {
    /// There are as many domains as the program may have.
    TooMany,
    /// The system, or the host, allows no further thread.
    Thread(std::io::Error),
}

impl Domains {
    pub(crate) fn new() -> Self {
        Domains {
            current: Domain::new(MAIN, 0, false, None),
            entered_at: Allocated::default(),
            others: BTreeMap::new(),
            next: MAIN + 1,
            indices: vec![0],
        }
    }

    /// The id of the running thread's domain.
    pub(crate) fn current(&self) -> u64 {
        self.current.id
    }

    /// The number of the profile for which the running thread's domain takes samples, or took them; if there is none, of
    /// no profile.
    pub(crate) fn profile(&self) -> u64 {
        self.current.profile.unwrap_or(u64::MAX)
    }

    /// Lets the running thread's domain take samples for a profile.
    pub(crate) fn set_profile(&mut self, number: u64) {
        self.current.profile = Some(number);
    }

    /// Whether some domain takes samples for a profile, or took them.
    pub(crate) fn knows_profile(&self, number: u64) -> bool {
        std::iter::once(&self.current).chain(self.others.values()).any(|d| d.profile == Some(number))
    }

    fn count(&self) -> usize {
        1 + self.others.len()
    }

    /// The roots of local storage, by the domains' ids.
    pub(crate) fn storage_mut(&mut self) -> impl Iterator<Item = (u64, &mut Value)> {
        std::iter::once(&mut self.current).chain(self.others.values_mut()).map(|d| (d.id, &mut d.dls))
    }

    /// Adds a domain, which shares the running one's profile, and returns its id. Its index is the one that became free
    /// last (`next_free_domain`).
    fn add(&mut self, backtrace_active: bool) -> u64 {
        let living = self.count();
        if self.indices.len() == living {
            self.indices.push(living);
        }
        let id = self.next;
        self.next += 1;
        self.others.insert(id, Domain::new(id, self.indices[living], backtrace_active, self.current.profile));
        id
    }

    /// Removes a domain that is not the running one.
    fn remove(&mut self, id: u64) {
        if let Some(domain) = self.others.remove(&id)
            && let Some(at) = self.indices.iter().position(|index| *index == domain.index)
        {
            // `remove_from_stw_domains`
            let living = self.count();
            self.indices.swap(at, living);
        }
    }
}

impl Machine {
    /// The id of the running thread's domain.
    pub fn domain_id(&self) -> u64 {
        self.roots.threads.domains.current.id
    }

    /// The index of the running thread's domain: no other living domain has the same.
    pub fn domain_index(&self) -> usize {
        self.roots.threads.domains.current.index
    }

    /// The words that the running thread's domain has allocated.
    pub fn domain_allocated(&self) -> Allocated {
        let domains = &self.roots.threads.domains;
        domains.current.allocated.and_since(domains.entered_at, self.allocated())
    }

    fn allocated(&self) -> Allocated {
        let stats = self.heap.quick_stats();
        Allocated { minor: stats.minor_words, promoted: stats.promoted_words, major: stats.major_words }
    }

    /// The number of domains.
    pub fn domain_count(&self) -> usize {
        self.roots.threads.domains.count()
    }

    /// The maximum number of domains.
    pub fn domain_limit(&self) -> usize {
        let limit = if self.behaviour.sets_domain_limit { self.params.max_domains } else { None };
        limit.unwrap_or(DEFAULT_LIMIT) as usize
    }

    /// Checks the maximum number of domains with which the program was started.
    ///
    /// # Errors
    /// [`Raise::Fatal`] if it is out of range.
    pub fn check_domain_limit(&self) -> Result<(), Raise> {
        match self.params.max_domains.filter(|_| self.behaviour.sets_domain_limit) {
            Some(0) => Err(Raise::Fatal("OCAMLRUNPARAM: max_domains(d) must be at least 1".into())),
            Some(n) if n > LARGEST_LIMIT => Err(Raise::Fatal(format!(
                "OCAMLRUNPARAM: max_domains(d) is too large. The maximum value is {LARGEST_LIMIT}."
            ))),
            _ => Ok(()),
        }
    }

    /// Whether the program has ever spawned a domain.
    pub fn domains_ever_spawned(&self) -> bool {
        self.roots.threads.domains.next > MAIN + 1
    }

    /// The root of the local storage of the running thread's domain; `()` before it is set.
    pub fn domain_storage(&self) -> Val<'_> {
        self.as_val(self.roots.threads.domains.current.dls)
    }

    /// Sets the root of the local storage of the running thread's domain.
    pub fn set_domain_storage(&mut self, v: Slot) {
        self.roots.threads.domains.current.dls = self.raw(v);
    }

    /// Sets the root of local storage if it is `old`, and returns whether it was.
    pub fn replace_domain_storage(&mut self, old: Slot, new: Slot) -> bool {
        let unchanged = self.roots.threads.domains.current.dls == self.raw(old);
        if unchanged {
            self.set_domain_storage(new);
        }
        unchanged
    }

    /// Starts a domain with one thread, number `thread`, whose descriptor is in a slot (`()` in a program without the
    /// library `threads`), and returns the domain's id. The thread runs `body` on what is in `args`. For primitives
    /// only: what they start must obey their [contract](crate::Prim), too.
    ///
    /// # Errors
    /// When there are too many domains or threads, or no primitive is running.
    pub fn spawn_domain(
        &mut self,
        thread: u64,
        descriptor: Slot,
        args: &[Slot],
        body: Body,
        backtrace_active: bool,
    ) -> Result<u64, SpawnError> {
        if self.domain_count() >= self.domain_limit() {
            return Err(SpawnError::TooMany);
        }
        let id = self.roots.threads.domains.add(backtrace_active);
        if let Err(e) = self.start_in(id, thread, descriptor, args, body) {
            let domains = &mut self.roots.threads.domains;
            domains.remove(id);
            domains.next = id;
            return Err(SpawnError::Thread(e));
        }
        Ok(id)
    }

    /// What a thread of its own has to run, from the first domain that is spawned on, so that a thread whose turn has
    /// been long enough lets others run, however seldom it waits. `None` if it runs already. It ends with the machine.
    pub fn turn_keeper(&self) -> Option<impl FnOnce() + Send + 'static> {
        let lock = Arc::clone(&self.roots.threads.lock);
        let flags = self.tick_flags();
        let over = move || flags.iter().for_each(|flag| flag.store(true, Ordering::Release));
        let lengths = Turns { usual: TURN, idle: IDLE_TURN };
        (!lock.is_timed()).then_some(move || lock.keep_time(&lengths, over))
    }

    /// Pushes the descriptor of another thread of the running one's domain into a new slot. `None` if there is none.
    pub fn push_companion(&mut self) -> Option<Slot> {
        let threads = &self.roots.threads;
        let domain = threads.domains.current();
        let mut companions = threads.known.iter().filter(|(id, _)| **id != threads.current);
        let (_, companion) = companions.find(|(_, thread)| thread.domain == domain)?;
        let descriptor = companion.descriptor;
        Some(self.push_raw(descriptor))
    }

    /// Makes a domain the running one.
    pub(super) fn enter_domain(&mut self, id: u64) {
        if self.domain_id() == id {
            return;
        }
        let (all, own) = (self.allocated(), self.domain_allocated());
        let domains = &mut self.roots.threads.domains;
        domains.entered_at = all;
        let entered = domains.others.remove(&id).expect("a domain exists as long as its threads");
        let mut left = std::mem::replace(&mut domains.current, entered);
        left.backtrace_active =
            std::mem::replace(&mut self.backtrace_active, domains.current.backtrace_active);
        left.in_finaliser = std::mem::replace(&mut self.in_finaliser, domains.current.in_finaliser);
        left.allocated = own;
        left.sampler = self.heap.exchange_sampler(std::mem::take(&mut domains.current.sampler));
        domains.others.insert(left.id, left);
        self.heap.tell_turn(domains.current.index);
        self.settle_sampling();
    }

    /// Ends the running domain if it has no threads left.
    pub(super) fn leave_empty_domain(&mut self) {
        let threads = &self.roots.threads;
        let id = threads.domains.current();
        if id != MAIN && threads.known.values().all(|thread| thread.domain != id) {
            self.enter_domain(MAIN);
            self.roots.threads.domains.remove(id);
        }
    }

    /// Lets the other threads run, if any of them waits for the machine. Signals are not handled.
    pub fn relax(&mut self) {
        self.relax_after(false);
    }

    /// Lets another thread run if the turn of this one is over, or if it waits in a loop again.
    pub(crate) fn end_turn(&mut self) {
        let looks = std::mem::take(&mut self.roots.threads.looks);
        if self.roots.threads.tick.swap(false, Ordering::Relaxed) {
            let idles = self.domain_count() > 1 && self.is_where_it_was();
            self.relax_after(idles);
        } else if looks.left > 0 {
            self.look(looks);
        }
    }

    /// Two domains that wait for each other in loops do little between two waits: they should not wait for the end of a
    /// turn. A loop that works in the same place, on memory that is not seen here, never seems to get further, so that
    /// it has turns that are worth while.
    fn look(&mut self, mut looks: Looks) {
        if looks.waits_again(self.is_where_it_was()) {
            self.relax_after(true);
        } else if looks.left > 0 {
            self.roots.threads.looks = looks;
            self.request_action();
        }
    }

    fn relax_after(&mut self, idles: bool) {
        if !self.is_alone() && self.roots.threads.lock.wanted() {
            self.give_way(idles);
            if idles {
                self.roots.threads.looks = Looks::new();
                self.request_action();
            }
        }
    }

    /// Whether the running thread is where it was when its last turn ended, as far as the top of its stack shows, to
    /// which the registers have been saved.
    fn is_where_it_was(&mut self) -> bool {
        let depth = self.mark();
        let word =
            |i: usize| depth.checked_sub(i).filter(|at| *at > 0).map_or(0, |at| self.raw(Slot(at)).bits());
        let place = Place { depth, words: std::array::from_fn(word) };
        let threads = &mut self.roots.threads;
        let thread = threads.known.get_mut(&threads.current);
        thread.is_some_and(|thread| thread.place.replace(place.clone()) == Some(place))
    }

    /// Registers the running thread as the program's first one, unless it is known.
    pub fn register_home(&mut self) {
        if self.roots.threads.known.is_empty() {
            debug_assert!(self.roots.threads.next == HOME, "the first thread has the first number");
            let id = self.new_thread_id();
            let none = self.push_int(0);
            self.register_first_thread(id, none);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_new_and_indices_are_used_again() {
        let mut domains = Domains::new();
        let ids: Vec<u64> = (0..3).map(|_| domains.add(false)).collect();
        assert_eq!(ids, [1, 2, 3]);
        let index = |domains: &Domains, id| domains.others[&id].index;
        assert_eq!([1, 2, 3].map(|id| index(&domains, id)), [1, 2, 3]);
        domains.remove(1);
        assert_eq!(domains.count(), 3);
        let again = domains.add(false);
        assert_eq!((again, index(&domains, again)), (4, 1));
        domains.remove(2);
        domains.remove(3);
        assert_eq!(domains.count(), 2);
        let [a, b, c] = [(); 3].map(|()| domains.add(false));
        assert_eq!([a, b, c].map(|id| index(&domains, id)), [3, 2, 4]);
    }

    #[test]
    fn a_thread_waits_again_after_it_has_got_further() {
        // How many looks it takes to find out that it waits again, if it is where it was except at some of them.
        let looks_until = |moves: &[u32]| {
            let mut looks = Looks::new();
            (0..).find_map(|i| match looks.waits_again(!moves.contains(&i)) {
                true => Some(Some(i + 1)),
                false if looks.left == 0 => Some(None),
                false => None,
            })
        };
        assert_eq!(looks_until(&[]), Some(None), "it may work where it is");
        assert_eq!(looks_until(&[0]), Some(Some(1 + UNCHANGED)));
        assert_eq!(looks_until(&[0, 2, 5]), Some(Some(6 + UNCHANGED)));
        assert_eq!(looks_until(&[LOOKS]), Some(None), "too late");
        let always: Vec<u32> = (0..100).collect();
        assert_eq!(looks_until(&always), Some(None));
    }

    #[test]
    fn each_domain_has_its_own_storage() {
        let mut m = Machine::new(crate::Settings::default());
        let (one, two) = (m.push_int(1), m.push_int(2));
        m.set_domain_storage(one);
        let id = m.roots.threads.domains.add(true);
        assert!(m.domains_ever_spawned() && m.domain_count() == 2);
        m.enter_domain(id);
        assert!(m.backtrace_active() && m.domain_storage().int() == Ok(0));
        m.set_domain_storage(two);
        m.set_backtrace_active(false);
        m.enter_domain(MAIN);
        assert_eq!(m.domain_storage().int(), Ok(1));
        assert!(!m.replace_domain_storage(two, two) && m.replace_domain_storage(one, two));
        m.enter_domain(id);
        assert_eq!((m.domain_storage().int(), m.domain_id(), m.domain_index()), (Ok(2), 1, 1));
        m.leave_empty_domain();
        assert_eq!((m.domain_id(), m.domain_count()), (MAIN, 1));
    }
}
