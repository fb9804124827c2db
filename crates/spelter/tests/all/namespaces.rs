//! Namespaces: which modules their units can name, and what their names keep alive.

use spelter::{Error, LinkError, Vm};

use crate::raw;

use crate::service::{API_1, API_2, API_OTHER, CLIENT, alive, forget, machine, on_each, tables};

fn missing(outcome: Result<spelter::Unit, Error>) -> String {
    match outcome {
        Err(Error::Link { source: LinkError::MissingImport { import, .. }, .. }) => import,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_sees_its_own_units_and_no_others() {
    on_each(|builder| {
        let mut vm = machine(builder);
        let (one, two) = (vm.namespace(), vm.namespace());
        vm.load_in(&one, API_1.0, API_1.1).unwrap();
        assert_eq!(missing(vm.load_in(&two, CLIENT.0, CLIENT.1)), "Api");
        assert_eq!(missing(vm.load_bytes(CLIENT.0, CLIENT.1)), "Api", "the default one is but another");
        vm.load_in(&two, API_2.0, API_2.1).unwrap();
        let version = |vm: &mut Vm| vm.call::<i64>("version", ((),)).unwrap();
        vm.load_private_in(&one, CLIENT.0, CLIENT.1).unwrap();
        assert_eq!(version(&mut vm), 1);
        vm.load_private_in(&two, CLIENT.0, CLIENT.1).unwrap();
        assert_eq!(version(&mut vm), 2);
        assert_eq!((one.names(), two.names()), (vec!["Api".to_owned()], vec!["Api".to_owned()]));
    });
}

#[test]
fn public_units_of_the_default_namespace_are_not_seen_from_others() {
    let mut vm = machine(Vm::builder());
    let api = vm.load_public(API_1.0, API_1.1).unwrap();
    let space = vm.namespace();
    assert_eq!(missing(vm.load_in(&space, CLIENT.0, CLIENT.1)), "Api");
    space.grant("Api", &api);
    drop(api);
    vm.load_private_in(&space, CLIENT.0, CLIENT.1).unwrap();
    assert_eq!(vm.call::<String>("describe", ((),)).unwrap(), "the first version, 1");
}

#[test]
fn a_grant_keeps_alive_and_can_be_withdrawn() {
    on_each(|builder| {
        let mut vm = machine(builder);
        let space = vm.namespace();
        let before = tables(&mut vm);
        let api = vm.load_bytes(API_1.0, API_1.1).unwrap();
        space.grant("Api", &api);
        drop(api);
        assert_eq!(alive(&mut vm), 1);
        assert!(space.withdraw("Api"));
        assert!(!space.withdraw("Api"));
        assert_eq!(alive(&mut vm), 0);
        assert_eq!(tables(&mut vm), before);
    });
}

#[test]
fn a_dropped_namespace_withdraws_its_names() {
    on_each(|builder| {
        let mut vm = machine(builder);
        let before = tables(&mut vm);
        let space = vm.namespace();
        vm.load_in(&space, API_1.0, API_1.1).unwrap();
        vm.load_in(&space, CLIENT.0, CLIENT.1).unwrap();
        assert_eq!(alive(&mut vm), 2);
        drop(space);
        assert_eq!(alive(&mut vm), 2, "its functions are registered");
        assert_eq!(vm.call::<i64>("version", ((),)).unwrap(), 1);
        forget(&mut vm, &["version", "describe"]);
        assert_eq!(alive(&mut vm), 0);
        assert_eq!(tables(&mut vm), before);
    });
}

#[test]
fn what_a_restricted_one_does_not_show_cannot_be_named() {
    on_each(|builder| {
        let mut vm = machine(builder);
        let before = tables(&mut vm);
        let stdlib = vm.namespace_showing(["Stdlib"]);
        let api = vm.load_in(&stdlib, API_1.0, API_1.1).unwrap();
        assert_eq!(missing(vm.load_in(&stdlib, CLIENT.0, CLIENT.1)), "Stdlib__Callback");
        let nothing = vm.namespace_showing::<&str>([]);
        assert_eq!(missing(vm.load_in(&nothing, API_1.0, API_1.1)), "Stdlib");
        nothing.grant("Api", &api);
        assert_eq!(missing(vm.load_in(&nothing, CLIENT.0, CLIENT.1)), "Stdlib__Callback");
        drop((stdlib, nothing, api));
        assert_eq!(tables(&mut vm), before);
    });
}

#[test]
fn a_grant_of_another_interface_is_refused_when_it_is_used() {
    let mut vm = machine(Vm::builder());
    let space = vm.namespace();
    let other = vm.load_bytes(API_OTHER.0, API_OTHER.1).unwrap();
    space.grant("Api", &other);
    let refused = vm.load_in(&space, CLIENT.0, CLIENT.1).unwrap_err();
    assert!(matches!(refused, Error::Link { source: LinkError::InterfaceMismatch { .. }, .. }), "{refused}");
}

#[test]
fn a_thousand_leave_nothing() {
    let mut vm = machine(Vm::builder());
    let before = tables(&mut vm);
    for _ in 0..1000 {
        let space = vm.namespace();
        vm.load_in(&space, API_1.0, API_1.1).unwrap();
    }
    assert_eq!(tables(&mut vm), before);
    assert_eq!(spelter_dynlink::Linker::of(raw(&mut vm)).namespace_count(), 1);
}

#[test]
#[should_panic(expected = "a namespace of another machine")]
fn of_another_machine() {
    let (mut one, mut two) = (machine(Vm::builder()), machine(Vm::builder()));
    let space = one.namespace();
    let _ = two.load_in(&space, API_1.0, API_1.1);
}

#[test]
#[should_panic(expected = "a unit of another machine")]
fn a_unit_of_another_machine() {
    let (mut one, mut two) = (machine(Vm::builder()), machine(Vm::builder()));
    let unit = one.load_bytes(API_1.0, API_1.1).unwrap();
    two.namespace().grant("Api", &unit);
}
