//! Lifetimes of units: handles, names, registered values.

use spelter::{Error, LinkError};

use crate::{every_builder, fixture, host, plugin};

#[test]
fn the_example_gives_back_what_it_took() {
    let [before, during, after] = plugin::run().expect("the example runs");
    assert_eq!(before, (0, 0));
    assert!(during.0 == 1 && during.1 > 0);
    assert_eq!(after, before);
}

#[test]
fn a_handle_keeps_a_unit_alive() {
    for (name, builder) in every_builder() {
        let mut vm = host(builder);
        let (file, bytes) = fixture!("supply.cmo");
        let unit = vm.load_bytes(file, bytes).expect("it loads");
        vm.collect().expect(&name);
        assert_eq!(vm.units().len(), 1, "{name}");
        assert_eq!(vm.field::<i64>(&unit, 0).expect(&name), 42);
        drop(unit);
        vm.collect().expect(&name);
        assert_eq!(vm.units().len(), 0, "{name}");
    }
}

#[test]
fn a_public_unit_lives_until_it_is_withdrawn_and_nobody_imports_it() {
    for (name, builder) in every_builder() {
        let mut vm = host(builder);
        let ((supply, supplied), (demand, demanded)) = (fixture!("supply.cmo"), fixture!("demand.cmo"));
        drop(vm.load_public(supply, supplied).expect("it loads"));
        vm.collect().expect(&name);
        assert_eq!(vm.units().len(), 1, "its name keeps it, {name}");
        drop(vm.load_bytes(demand, demanded).expect("it finds Supply"));
        assert!(vm.withdraw("Supply"));
        assert!(!vm.withdraw("Supply"));
        vm.collect().expect(&name);
        assert_eq!(vm.units().len(), 2, "its importer keeps it, {name}");
        assert_eq!(vm.call::<i64>("answer", ((),)).expect(&name), 42);
        let refused = vm.load_bytes(demand, demanded).expect_err("the name is gone");
        let Error::Link { source: LinkError::MissingImport { import, .. }, .. } = refused else {
            panic!("{refused}, {name}")
        };
        assert_eq!(import, "Supply", "{name}");
        vm.unregister("answer");
        vm.collect().expect(&name);
        assert_eq!(vm.units().len(), 0, "{name}");
    }
}

#[test]
fn a_new_public_version_shadows_the_old_one() {
    let mut vm = host(spelter::Vm::builder());
    let (file, bytes) = fixture!("supply.cmo");
    let old = vm.load_public(file, bytes).expect("it loads").id();
    let new = vm.load_public(file, bytes).expect("it loads").id();
    assert_ne!(old, new);
    vm.collect().expect("it collects");
    let alive: Vec<_> = vm.units().iter().map(|unit| unit.id).collect();
    assert_eq!(alive, [new]);
}

#[test]
fn counts_add_up() {
    let mut vm = host(spelter::Vm::builder());
    let (file, bytes) = fixture!("greet.cmo");
    for _ in 0..100 {
        vm.load_bytes(file, bytes).expect("it loads");
    }
    vm.collect().expect("it collects");
    let stats = vm.stats();
    assert_eq!((stats.units_loaded, stats.units_freed, stats.units_alive), (100, 99, 1));
    assert_eq!(stats.code_bytes_loaded, stats.code_bytes_freed + stats.code_bytes_alive);
    assert_eq!(stats.code_bytes_alive, vm.units().iter().map(|unit| unit.code_bytes as u64).sum::<u64>());
}
