//! All code of a machine, found by address, number or digest.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rustc_hash::FxHashMap;
use spelter_heap::OutOfMemory;

use crate::code::history::{CodeEventKind, CodeEvents};
use crate::code::unit::{Unit, UnitId, UnloadCallback, Unloaded};
use crate::fallible;

/// What has been loaded and freed so far.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct UnitCounts {
    /// Number of units loaded at run time.
    pub loaded: u64,
    /// How many of them were freed.
    pub freed: u64,
    /// Code bytes of all units loaded at run time.
    pub loaded_bytes: u64,
    /// Code bytes of the freed ones.
    pub freed_bytes: u64,
}

impl UnitCounts {
    /// Number of units alive now.
    pub fn alive(&self) -> u64 {
        self.loaded - self.freed
    }

    /// Code bytes of the units alive now.
    pub fn alive_bytes(&self) -> u64 {
        self.loaded_bytes - self.freed_bytes
    }
}

/// All code of a machine, by address.
#[derive(Default)]
pub struct Registry {
    /// Whether call stacks list exception handlers
    /// ([`Behaviour::callstacks_list_handlers`](crate::Behaviour::callstacks_list_handlers)).
    pub(crate) callstacks_list_handlers: bool,
    by_start: BTreeMap<usize, Rc<Unit>>,
    by_id: FxHashMap<UnitId, Rc<Unit>>,
    /// Digests, with the addresses of their units. Created on first use, because most programs never read a marshalled
    /// closure.
    by_digest: Option<BTreeSet<([u8; 16], usize)>>,
    /// Counts of loads and frees so far.
    pub counts: UnitCounts,
    /// The history, if it is being recorded.
    pub(crate) recording: Option<Box<CodeEvents>>,
    /// Units whose code objects have been freed, and that are still in the tables.
    pub(super) dead: Vec<Rc<Unit>>,
    /// Callbacks to run for units that have died.
    pub(crate) unloaded: Vec<(Unloaded, Vec<UnloadCallback>)>,
}

/// A table with more room than this shrinks when it is mostly empty.
const ROOMY: usize = 256;

/// The registry is shared with the owners of units, which mark their units as dead.
pub(crate) type SharedRegistry = Rc<RefCell<Registry>>;

impl Registry {
    /// Reserves room for another unit in the tables, except single nodes of trees, and in the list of dead units.
    pub(crate) fn reserve(&mut self) -> Result<(), OutOfMemory> {
        self.by_id.try_reserve(1).map_err(|_| OutOfMemory { words: self.by_id.len() })?;
        fallible::reserve(&mut self.dead, self.by_id.len() + 1)
    }

    pub(crate) fn add(&mut self, unit: Rc<Unit>) {
        if unit.is_loaded() {
            self.counts.loaded += 1;
            self.counts.loaded_bytes += unit.bytes().code as u64;
            self.note(CodeEventKind::Loaded, &unit);
        }
        if let Some(by_digest) = &mut self.by_digest {
            by_digest.insert((unit.digest(), unit.start() as usize));
        }
        self.by_id.insert(unit.id, Rc::clone(&unit));
        self.by_start.insert(unit.start() as usize, unit);
    }

    /// Removes up to `most` dead units, whose code objects have been freed, from all tables. The caller, who has access to the
    /// heap, drops their weak references.
    pub(crate) fn take_dead(&mut self, most: usize) -> Vec<Rc<Unit>> {
        let most = most.min(self.dead.len());
        // Without memory for the list, all dead units wait for the next call.
        let Ok(mut dead) = fallible::with_capacity(most) else { return Vec::new() };
        dead.extend(self.dead.drain(self.dead.len() - most..));
        // For many units, one pass over all entries is cheaper than a lookup for each unit to remove.
        let (all, node) = (self.by_start.len(), 4 * size_of::<(usize, Rc<Unit>)>());
        if dead.len() > all / 8 && fallible::afford(node * all).is_ok() {
            self.by_start =
                std::mem::take(&mut self.by_start).into_iter().filter(|(_, unit)| !unit.is_dead()).collect();
            self.by_id.retain(|_, unit| !unit.is_dead());
        } else {
            for unit in &dead {
                self.by_start.remove(&(unit.start() as usize));
                self.by_id.remove(&unit.id);
            }
        }
        if self.by_id.capacity() > ROOMY && self.by_id.len() < self.by_id.capacity() / 8 {
            self.by_id.shrink_to(self.by_id.len() * 2);
        }
        for unit in &dead {
            if let Some(by_digest) = &mut self.by_digest {
                by_digest.remove(&(unit.digest(), unit.start() as usize));
            }
            self.counts.freed += 1;
            self.counts.freed_bytes += unit.bytes().code as u64;
            self.note(CodeEventKind::Freed, unit);
            let callbacks = unit.on_unload.take();
            if !callbacks.is_empty() {
                let unloaded = Unloaded { id: unit.id, name: unit.name.clone(), bytes: unit.bytes() };
                self.unloaded.push((unloaded, callbacks));
            }
        }
        dead
    }

    /// Whether there are units for [`Registry::take_dead`].
    pub(crate) fn has_dead(&self) -> bool {
        !self.dead.is_empty()
    }

    /// The unit whose code holds this address.
    pub fn find(&self, address: usize) -> Option<&Rc<Unit>> {
        let (_, unit) = self.by_start.range(..=address).next_back()?;
        (unit.position(address) < unit.len()).then_some(unit)
    }

    /// The units with this digest, by address, without those that have been revoked.
    ///
    /// # Errors
    /// When there is no memory for the table of digests.
    pub(crate) fn find_digest(
        &mut self,
        digest: &[u8; 16],
    ) -> Result<impl Iterator<Item = &Rc<Unit>>, OutOfMemory> {
        if self.by_digest.is_none() {
            // Building a tree sorts a vector: at its peak, both are in memory.
            fallible::afford(4 * size_of::<([u8; 16], usize)>() * self.by_start.len())?;
        }
        let all = || self.by_start.iter().map(|(start, unit)| (unit.digest(), *start)).collect();
        let starts = self.by_digest.get_or_insert_with(all).range((*digest, 0)..=(*digest, usize::MAX));
        let units = starts.filter_map(|(_, start)| self.by_start.get(start));
        Ok(units.filter(|unit| !unit.is_revoked()))
    }

    /// The unit with that number, if it is alive.
    pub fn get(&self, id: UnitId) -> Option<&Rc<Unit>> {
        self.by_id.get(&id).filter(|unit| !unit.is_dead())
    }

    /// The number of digests of loaded units in the table: 0 until the first lookup by digest.
    pub fn digest_count(&self) -> usize {
        let by_digest = self.by_digest.iter().flatten();
        by_digest.filter(|(_, start)| self.by_start.get(start).is_none_or(|unit| unit.is_loaded())).count()
    }

    /// The number of entries in the table of unit numbers: one for each unit.
    pub fn number_count(&self) -> usize {
        self.by_id.len()
    }

    /// All units, by address.
    pub fn iter(&self) -> impl Iterator<Item = &Rc<Unit>> {
        self.by_start.values()
    }

    /// Units loaded at run time that are alive, by address.
    pub fn loaded(&self) -> impl Iterator<Item = &Rc<Unit>> {
        self.iter().filter(|unit| unit.is_loaded() && !unit.is_dead())
    }
}
