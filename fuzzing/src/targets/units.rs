//! The life of units: loaded, named, replaced, revoked, called, dropped and collected in any order.

use spelter::{Ledger, Namespace, Unit, Value, Vm, WeakUnit};
use spelter_bytecode::Dialect;

use crate::engine::{Engine, Notes, machine};
use crate::generate::{self, CodeInfo};
use crate::source::Source;
use crate::watchdog::Watch;

/// Tables that must have their original size when all units have been freed.
const TABLES: [&str; 6] = [
    "code by address",
    "code by number",
    "loaded units",
    "bytes of loaded code",
    "namespaces",
    "names of public units",
];

struct Host<'s, 'b> {
    source: &'s mut Source<'b>,
    dialect: &'static Dialect,
    vm: Vm,
    notes: Notes,
    infos: Vec<CodeInfo>,
    units: Vec<Unit>,
    weak: Vec<WeakUnit>,
    spaces: Vec<Namespace>,
    values: Vec<Value>,
}

/// Performs up to forty operations, then drops everything.
pub(crate) fn run(bytes: &[u8]) {
    let mut source = Source::of_bytes(bytes);
    let source = &mut source;
    let engine = Engine::of(source);
    let dialect = generate::dialect(source);
    let program = generate::host(dialect);
    let (mut vm, notes) = machine(engine);
    let watch = Watch::new(&vm);
    if vm.run_bytes("program", &program.bytes).is_err() {
        assert!(watch.has_fired(), "the host program runs");
        return;
    }
    let _ = vm.collect();
    let before = vm.ledger();
    let mut host = Host {
        source,
        dialect,
        vm,
        notes,
        infos: vec![program.info],
        units: Vec::new(),
        weak: Vec::new(),
        spaces: Vec::new(),
        values: Vec::new(),
    };
    for _ in 0..40 {
        if host.source.is_empty() {
            break;
        }
        host.notes.refuel();
        watch.next(&host.vm);
        host.step();
    }
    let Host { vm, units, weak, spaces, values, .. } = host;
    drop((units, weak, spaces, values));
    end(vm, &before, &watch);
}

/// After everything has been dropped, remaining units must be reachable; if there are none, tables must have their
/// original size.
fn end(mut vm: Vm, before: &Ledger, watch: &Watch) {
    vm.unregister("a");
    vm.unregister("b");
    for i in 0..4 {
        vm.withdraw(&format!("U{i}"));
    }
    for _ in 0..3 {
        if vm.collect().is_err() {
            return;
        }
    }
    let _ = vm.compact();
    if watch.has_fired() {
        return;
    }
    for unit in vm.units() {
        let paths = vm.why_alive(&unit);
        assert!(!paths.is_empty(), "{unit:?} is unreachable, but has not been freed");
    }
    if vm.units().is_empty() {
        let now = vm.ledger();
        for table in TABLES {
            assert_eq!(now.size(table), before.size(table), "{table} of\n{now}");
        }
    }
}

impl Host<'_, '_> {
    fn file(&mut self) -> Vec<u8> {
        let number = self.source.below(4);
        let version = self.source.below(2) as u8;
        let unit = generate::unit(self.source, self.dialect, number, version, &self.infos);
        self.infos.push(unit.info);
        unit.bytes
    }

    fn space(&mut self) -> Option<usize> {
        let n = self.spaces.len();
        (n > 0).then(|| self.source.below(n))
    }

    fn take(&mut self) -> Option<Unit> {
        let n = self.units.len();
        (n > 0).then(|| self.source.below(n)).map(|i| self.units.swap_remove(i))
    }

    fn keep(&mut self, unit: Unit) {
        self.weak.push(unit.downgrade());
        if !self.source.one_in(3) {
            self.units.push(unit);
        }
    }

    fn step(&mut self) {
        match self.source.below(24) {
            0..4 => {
                let bytes = self.file();
                if let Ok(unit) = self.vm.load_public("unit", &bytes) {
                    self.keep(unit);
                }
            }
            4 | 5 => {
                let bytes = self.file();
                if let Ok(unit) = self.vm.load_bytes("unit", &bytes) {
                    self.keep(unit);
                }
            }
            6 | 7 => {
                let bytes = self.file();
                let Some(i) = self.space() else { return };
                let loaded = match self.source.one_in(3) {
                    true => self.vm.load_private_in(&self.spaces[i], "unit", &bytes),
                    false => self.vm.load_in(&self.spaces[i], "unit", &bytes),
                };
                if let Ok(unit) = loaded {
                    self.keep(unit);
                }
            }
            8 | 9 => {
                let bytes = self.file();
                let reloaded = match self.space() {
                    Some(i) if self.source.one_in(2) => self.vm.reload_in(&self.spaces[i], "unit", &bytes),
                    _ => self.vm.reload("unit", &bytes),
                };
                if let Ok(reloaded) = reloaded {
                    self.keep(reloaded.current);
                    self.keep(reloaded.previous);
                }
            }
            10 => {
                if let Some(unit) = self.take() {
                    let _ = self.vm.revoke(unit);
                }
            }
            11 => {
                self.vm.withdraw(["U0", "U1", "U2", "U3"][self.source.below(4)]);
            }
            12 => {
                if let Some(unit) = self.take() {
                    self.vm.withdraw_unit(&unit);
                }
            }
            13 => {
                let space = match self.source.one_in(2) {
                    true => self.vm.namespace_showing(["R0", "R1"]),
                    false => self.vm.namespace(),
                };
                self.spaces.push(space);
            }
            14 => {
                if let (Some(i), Some(unit)) = (self.space(), self.take()) {
                    self.spaces[i].grant("U1", &unit);
                    self.units.push(unit);
                }
            }
            15 => {
                if let Some(i) = self.space() {
                    self.spaces.swap_remove(i);
                }
            }
            16 => drop(self.take()),
            17 => {
                let _ = self.vm.collect();
            }
            18 => {
                let _ = self.vm.compact();
            }
            19..22 => self.call(),
            22 => {
                for weak in &self.weak {
                    let _ = weak.upgrade(&mut self.vm).map(|unit| unit.info(&self.vm));
                }
                let _ = (self.vm.why_all_alive(), self.vm.ledger(), self.vm.stats());
            }
            _ => {
                let n = self.values.len();
                let n = self.source.below(n + 1);
                self.values.truncate(n);
            }
        }
    }

    /// A value out of a module, called if it can be.
    fn call(&mut self) {
        let Some(unit) = self.take() else { return };
        let i = self.source.below(4);
        if let Ok(value) = self.vm.field::<Value>(&unit, i) {
            if let Ok(result) = self.vm.call_value::<Value>(&value, (1, "two")) {
                self.values.push(result);
            }
            self.values.push(value);
        }
        for name in ["a", "b"] {
            let _ = self.vm.call::<Value>(name, (3,));
        }
        if !self.source.one_in(3) {
            self.units.push(unit);
        }
    }
}
