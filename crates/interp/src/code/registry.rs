//! All code of a machine: found by address, number and digest.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rustc_hash::FxHashMap;

use crate::code::history::{CodeEventKind, CodeEvents};
use crate::code::unit::{Unit, UnitId, UnloadCallback, Unloaded};

/// What has been loaded and freed so far.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct UnitCounts {
    /// Units loaded at run time.
    pub loaded: u64,
    /// Of these, freed.
    pub freed: u64,
    /// Code bytes of all loaded ones.
    pub loaded_bytes: u64,
    /// Code bytes of the freed ones.
    pub freed_bytes: u64,
}

impl UnitCounts {
    /// Units alive now.
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
    by_start: BTreeMap<usize, Rc<Unit>>,
    by_id: FxHashMap<UnitId, Rc<Unit>>,
    /// Digests, with the addresses of the units that have them: made when first asked for, as most programs never
    /// read a marshalled closure.
    by_digest: Option<BTreeSet<([u8; 16], usize)>>,
    /// Loads and frees so far.
    pub counts: UnitCounts,
    /// What has happened, when somebody wants to know.
    pub(crate) recording: Option<Box<CodeEvents>>,
    /// Units whose code objects have been freed, and that are still in the tables.
    pub(super) dead: Vec<Rc<Unit>>,
    /// Who wants to be told about units that have died.
    pub(crate) unloaded: Vec<(Unloaded, Vec<UnloadCallback>)>,
}

/// A table with room for more than this gives room back when it is mostly empty.
const ROOMY: usize = 256;

/// The registry is shared with the owners of units, which strike them out when they die.
pub(crate) type SharedRegistry = Rc<RefCell<Registry>>;

impl Registry {
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

    /// Takes some units whose code objects have been freed out of all tables: `most` of them. The caller, who has the
    /// heap at hand, drops their weak references.
    pub(crate) fn take_dead(&mut self, most: usize) -> Vec<Rc<Unit>> {
        let dead = self.dead.split_off(self.dead.len().saturating_sub(most));
        // Of many, it is cheaper to look at all that stay than to look for each that goes.
        if dead.len() > self.by_start.len() / 8 {
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

    /// The units of this digest, by address; not those that have been revoked.
    pub(crate) fn find_digest(&mut self, digest: &[u8; 16]) -> impl Iterator<Item = &Rc<Unit>> {
        let all = || self.by_start.iter().map(|(start, unit)| (unit.digest(), *start)).collect();
        let starts = self.by_digest.get_or_insert_with(all).range((*digest, 0)..=(*digest, usize::MAX));
        starts.filter_map(|(_, start)| self.by_start.get(start)).filter(|unit| !unit.is_revoked())
    }

    /// The unit of that number, if it is alive.
    pub fn get(&self, id: UnitId) -> Option<&Rc<Unit>> {
        self.by_id.get(&id).filter(|unit| !unit.is_dead())
    }

    /// How many digests of loaded units are known: none while nobody has asked for any.
    pub fn digest_count(&self) -> usize {
        let by_digest = self.by_digest.iter().flatten();
        by_digest.filter(|(_, start)| self.by_start.get(start).is_none_or(|unit| unit.is_loaded())).count()
    }

    /// How many numbers of units are known: as many as there are units.
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
