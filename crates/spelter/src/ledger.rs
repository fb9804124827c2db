//! The leak ledger: every table of the runtime in which a loaded unit may have entries, with its owner and current
//! size. After a unit has been freed, each table must have the size that it had before the unit was loaded.
//!
//! A new table needs a row in [`Vm::ledger`] only; tests and the soak compare whole ledgers.

use std::fmt;

use spelter_dynlink::Linker;
use spelter_interp::Machine;

use crate::vm::Vm;

/// One table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What the table holds.
    pub table: &'static str,
    /// The part of the runtime that it belongs to: a crate, and a module of it.
    pub owner: &'static str,
    /// Its number of entries, or of bytes if the name says so.
    pub size: usize,
}

/// The sizes of all tables at one moment.
///
/// To compare two ledgers, collect first ([`Vm::collect`](crate::Vm::collect)): dead entries count until they are
/// freed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger(Vec<Entry>);

impl Vm {
    /// The sizes of all tables in which units have entries.
    pub fn ledger(&mut self) -> Ledger {
        Ledger::of(self.raw())
    }
}

impl Ledger {
    fn of(m: &mut Machine) -> Ledger {
        let linker = Linker::of(m);
        let (names, spaces) = (linker.name_count(), linker.namespace_count());
        let modules = linker.module_slot_count();
        let units = m.units();
        let code_units = units.iter().count();
        let (numbers, digests) = (units.number_count(), units.digest_count());
        let loaded = units.counts.alive() as usize;
        let (code, debug) = units
            .loaded()
            .map(|unit| unit.bytes())
            .fold((0, 0), |(code, debug), bytes| (code + bytes.code, debug + bytes.debug));
        drop(units);
        let entry = |table, owner, size| Entry { table, owner, size };
        Ledger(vec![
            // Data keyed by code belongs to the unit: its debug events, its digest, its method caches.
            entry("code by address", "interp::code", code_units),
            entry("code by number", "interp::code", numbers),
            entry("code by digest", "interp::code", digests),
            entry("loaded units", "interp::code", loaded),
            entry("bytes of loaded code", "interp::code", code),
            entry("bytes of debug data", "interp::code", debug),
            entry("numbered primitives", "interp::prim", m.prims().count()),
            entry("values kept by Rust", "interp::kept", m.kept_count()),
            entry("roots of libraries in C", "interp::prim", m.loader().map_or(0, |loader| (loader.held)())),
            entry("registered values", "interp::machine", m.named_count()),
            entry("words of stacks in use", "interp::stack", m.stack_usage()),
            entry("threads", "interp::threads", m.thread_count()),
            entry("fibers", "interp::machine", m.fiber_count()),
            entry("words of the global table", "interp::units", m.globals().wosize().unwrap_or(0)),
            entry("global slots in use", "interp::units", global_slots_in_use(m)),
            entry("namespaces", "dynlink::linker", spaces),
            entry("names of public units", "dynlink::namespace", names),
            entry("global slots of modules", "dynlink::linker", modules),
            entry("rooted handles", "heap::root", m.heap().root_count()),
            entry("weak references", "heap::root", m.heap().weak_count()),
            entry("finalisers", "heap::finalise", m.heap().finaliser_count()),
            entry("ephemerons", "heap::ephemeron", m.heap().ephemeron_count()),
            entry("bytes outside the heap", "heap::pace", m.heap().outside_bytes()),
        ])
    }

    /// All tables.
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// The size of one table, by its name.
    pub fn size(&self, table: &str) -> Option<usize> {
        self.0.iter().find(|entry| entry.table == table).map(|entry| entry.size)
    }

    /// The tables whose sizes differ, with their sizes in `other`.
    pub fn differences<'a>(&'a self, other: &'a Ledger) -> impl Iterator<Item = (Entry, usize)> + 'a {
        let pairs = self.0.iter().zip(&other.0);
        pairs.filter(|(a, b)| a.size != b.size).map(|(a, b)| (*a, b.size))
    }
}

fn global_slots_in_use(m: &Machine) -> usize {
    let globals = m.globals();
    (0..globals.wosize().unwrap_or(0)).filter(|i| globals.field(*i).is_ok_and(|v| v.is_block())).count()
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Entry { table, owner, size } in &self.0 {
            writeln!(f, "{table:<28}{owner:<18}{size:>10}")?;
        }
        Ok(())
    }
}
