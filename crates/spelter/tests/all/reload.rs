//! Hot reload: the new version takes the old one's names, or nothing changes.

use spelter::{Error, LinkError, Vm};

use crate::service::{API_1, API_2, API_BROKEN, API_OTHER, CLIENT, alive, forget, machine, on_each, tables};

fn describe(vm: &mut Vm) -> String {
    vm.call("describe", ((),)).unwrap()
}

#[test]
fn importers_keep_their_version_and_later_ones_get_the_new_one() {
    on_each(|builder| {
        let mut vm = machine(builder);
        let before = tables(&mut vm);
        let first = vm.load_public(API_1.0, API_1.1).unwrap().id();
        vm.load_bytes(CLIENT.0, CLIENT.1).unwrap();
        let reloaded = vm.reload(API_2.0, API_2.1).unwrap();
        assert_eq!(reloaded.previous.id(), first);
        assert_eq!((reloaded.current.name(), reloaded.previous.name()), ("Api", "Api"));
        assert_eq!(describe(&mut vm), "the first version, 1", "linked with it");
        drop(reloaded);
        assert_eq!(alive(&mut vm), 3, "the client keeps the first version, its name the second");
        vm.load_bytes(CLIENT.0, CLIENT.1).unwrap();
        assert_eq!(describe(&mut vm), "the second version");
        assert_eq!(alive(&mut vm), 2, "the first version has drained away with its client");
        assert!(!vm.is_alive(first));
        assert!(vm.withdraw("Api"));
        forget(&mut vm, &["version", "describe"]);
        assert_eq!(alive(&mut vm), 0);
        assert_eq!(tables(&mut vm), before);
    });
}

#[test]
fn another_interface_needs_there_to_be_no_importers() {
    on_each(|builder| {
        let mut vm = machine(builder);
        vm.load_public(API_1.0, API_1.1).unwrap();
        vm.load_bytes(CLIENT.0, CLIENT.1).unwrap();
        let before = tables(&mut vm);
        let refused = vm.reload(API_OTHER.0, API_OTHER.1).unwrap_err();
        let Error::Link { source: LinkError::InterfaceChanged { unit, importer }, .. } = &refused else {
            panic!("{refused}");
        };
        assert_eq!((unit.as_str(), importer.as_str()), ("Api", "Client"));
        assert_eq!(tables(&mut vm), before);
        assert_eq!(describe(&mut vm), "the first version, 1");
        forget(&mut vm, &["version", "describe"]);
        alive(&mut vm);
        let reloaded = vm.reload(API_OTHER.0, API_OTHER.1).unwrap();
        assert_eq!(vm.field::<String>(&reloaded.current, 0).unwrap(), "three");
    });
}

#[test]
fn a_failure_at_any_stage_changes_nothing() {
    on_each(|builder| {
        let mut vm = machine(builder);
        let first = vm.load_public(API_1.0, API_1.1).unwrap().id();
        let before = tables(&mut vm);
        let (_, whole) = API_2;
        let mut outcomes = vec![vm.reload("cut.cmo", &whole[..whole.len() / 2]).unwrap_err()];
        outcomes.push(vm.reload("text.cmo", b"let x = 1").unwrap_err());
        outcomes.push(vm.reload(CLIENT.0, CLIENT.1).unwrap_err());
        outcomes.push(vm.reload(API_BROKEN.0, API_BROKEN.1).unwrap_err());
        assert!(matches!(outcomes[0], Error::Format { .. }), "{outcomes:?}");
        assert!(matches!(outcomes[1], Error::Format { .. }), "{outcomes:?}");
        assert!(
            matches!(&outcomes[2], Error::Link { source: LinkError::NotLoaded { unit }, .. } if unit == "Client"),
            "{outcomes:?}"
        );
        assert!(matches!(outcomes[3], Error::Uncaught { .. }), "{outcomes:?}");
        assert_eq!(tables(&mut vm), before);
        assert_eq!(vm.versions("Api").iter().map(|unit| unit.id).collect::<Vec<_>>(), [first]);
        vm.load_bytes(CLIENT.0, CLIENT.1).unwrap();
        assert_eq!(vm.call::<i64>("version", ((),)).unwrap(), 1);
    });
}

#[test]
fn every_name_changes_at_once() {
    on_each(|builder| {
        let mut vm = machine(builder);
        let (one, two, other) = (vm.namespace(), vm.namespace(), vm.namespace());
        let api = vm.load_in(&one, API_1.0, API_1.1).unwrap();
        two.grant("Api", &api);
        vm.load_in(&other, API_1.0, API_1.1).unwrap();
        drop(api);
        let missing = vm.reload(API_2.0, API_2.1).unwrap_err();
        assert!(missing.to_string().contains("the namespace has no unit of that name"), "{missing}");
        vm.reload_in(&one, API_2.0, API_2.1).unwrap();
        assert_eq!(alive(&mut vm), 2);
        for (space, version) in [(&one, 2), (&two, 2), (&other, 1)] {
            vm.load_private_in(space, CLIENT.0, CLIENT.1).unwrap();
            assert_eq!(vm.call::<i64>("version", ((),)).unwrap(), version);
        }
    });
}

#[test]
fn two_thousand_reloads_leave_one_version() {
    let mut vm = machine(Vm::builder());
    vm.load_public(API_1.0, API_1.1).unwrap();
    let before = tables(&mut vm);
    for _ in 0..1000 {
        vm.reload(API_2.0, API_2.1).unwrap();
        vm.reload(API_1.0, API_1.1).unwrap();
    }
    assert_eq!(tables(&mut vm), before);
}
