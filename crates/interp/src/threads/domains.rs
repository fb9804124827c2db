//! Domains (`runtime/domain.c`): groups of threads with data of their own. All of them take turns with the machine, as
//! threads do.

use std::collections::BTreeMap;

use spelter_heap::raw::Value;

use crate::Machine;
use crate::prim::Slot;

/// One domain's own data.
pub(crate) struct Domain {
    /// The main domain has 0. Never used again.
    id: u64,
    /// A number that no other living domain has.
    index: usize,
    /// The root of its domain-local storage.
    dls: Value,
}

impl Domain {
    /// The domain with which a program begins.
    fn main() -> Domain {
        Domain { id: 0, index: 0, dls: Value::UNIT }
    }
}

/// The domains of one machine's program.
pub(crate) struct Domains {
    /// That of the running thread.
    current: Domain,
    /// The others, by id.
    others: BTreeMap<u64, Domain>,
}

impl Default for Domains {
    fn default() -> Self {
        Domains { current: Domain::main(), others: BTreeMap::new() }
    }
}

impl Domains {
    /// The roots of domain-local storage, by the domains' ids.
    pub(crate) fn storage_mut(&mut self) -> impl Iterator<Item = (u64, &mut Value)> {
        std::iter::once(&mut self.current).chain(self.others.values_mut()).map(|d| (d.id, &mut d.dls))
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

    /// The number of domains.
    pub fn domain_count(&self) -> usize {
        1 + self.roots.threads.domains.others.len()
    }

    /// The root of domain-local storage of the running thread's domain; `()` before it is set.
    pub fn domain_storage(&self) -> spelter_heap::Val<'_> {
        self.as_val(self.roots.threads.domains.current.dls)
    }

    /// Sets the root of domain-local storage of the running thread's domain.
    pub fn set_domain_storage(&mut self, v: Slot) {
        self.roots.threads.domains.current.dls = self.raw(v);
    }

    /// Sets the root of domain-local storage if it is `old`, and returns whether it was.
    pub fn replace_domain_storage(&mut self, old: Slot, new: Slot) -> bool {
        let unchanged = self.roots.threads.domains.current.dls == self.raw(old);
        if unchanged {
            self.set_domain_storage(new);
        }
        unchanged
    }

    /// Lets the other threads run, if any of them waits for the machine. Signals are not handled.
    pub fn relax(&mut self) {
        if !self.is_alone() && self.roots.threads.lock.wanted() {
            self.give_way();
        }
    }
}
