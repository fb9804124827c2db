//! Revoking: every way into the unit raises, and nothing keeps its code alive.

use std::path::Path;

use spelter::{Error, Grade, ModuleSlots, Params, Strategy, Value, Vm, World};

use crate::{Shared, graded};

use crate::service::{
    API_1, CALLER, CLIENT, WORKER, alive, forget, machine, machine_that_revokes, on_each, tables,
};

const REGISTERED: [&str; 9] =
    ["plain", "partial", "odd", "method", "counter", "stubborn", "suspended", "inside", "table"];

fn registered(vm: &mut Vm, name: &str) -> Value {
    vm.value(name).unwrap()
}

/// The result of a caller's function that calls into the worker.
fn protect(vm: &mut Vm, f: &str, n: i64) -> String {
    let f = registered(vm, f);
    vm.call("protect", (&f, n)).unwrap()
}

#[test]
fn every_way_in_raises_and_nothing_keeps_the_code() {
    on_each(|builder| {
        let (mut vm, _) = machine_that_revokes(builder);
        vm.load_bytes(CALLER.0, CALLER.1).unwrap();
        let worker = vm.load_bytes(WORKER.0, WORKER.1).unwrap();
        assert_eq!(protect(&mut vm, "plain", 4), "7");
        let (id, weak) = (worker.id(), worker.downgrade());
        assert!(vm.revoke(worker).unwrap());
        assert!(vm.versions("Worker").iter().all(|unit| unit.revoked));
        for f in ["plain", "partial", "odd", "method", "stubborn"] {
            assert_eq!(protect(&mut vm, f, 4), "Spelter.Revoked(\"Worker\")", "{f}");
        }
        let counter = registered(&mut vm, "counter");
        assert_eq!(vm.call::<String>("send", (&counter,)).unwrap(), "Spelter.Revoked(\"Worker\")");
        let suspended = registered(&mut vm, "suspended");
        assert_eq!(vm.call::<String>("force", (&suspended,)).unwrap(), "Spelter.Revoked(\"Worker\")");
        let uncaught = vm.call::<i64>("plain", (4,)).unwrap_err();
        assert_eq!(uncaught.to_string(), "uncaught exception Spelter.Revoked(\"Worker\")");
        assert_eq!(vm.call::<i64>("plain", (4,)).unwrap_err().to_string(), uncaught.to_string());

        // All its closures are still registered, and yet:
        assert_eq!(alive(&mut vm), 1, "only the caller");
        assert!(!vm.is_alive(id) && weak.upgrade(&mut vm).is_none());
        assert_eq!(protect(&mut vm, "partial", 4), "Spelter.Revoked(\"Worker\")");
        // Data that it created is still valid.
        let table: Vec<(i64, String)> = vm.value("table").unwrap();
        assert_eq!(table[2], (3, "3".to_owned()));
        forget(&mut vm, &REGISTERED);
    });
}

#[test]
fn a_unit_that_is_running_cannot_go_on() {
    on_each(|builder| {
        let (mut vm, condemned) = machine_that_revokes(builder);
        vm.load_bytes(CALLER.0, CALLER.1).unwrap();
        let before = tables(&mut vm);
        let worker = vm.load_bytes(WORKER.0, WORKER.1).unwrap();
        *condemned.lock() = Some(worker);
        // It handles every exception, and would otherwise restart for ever.
        assert_eq!(protect(&mut vm, "stubborn", 1), "Spelter.Revoked(\"Worker\")");
        forget(&mut vm, &REGISTERED);
        assert!(vm.unregister(spelter_interp::REVOKED));
        assert_eq!(alive(&mut vm), 1);
        for (before, after) in before.entries().iter().zip(tables(&mut vm).entries()) {
            // Numbers of primitives are not reused.
            if before.table != "numbered primitives" {
                assert_eq!(before, after);
            }
        }
    });
}

#[test]
fn a_frame_below_others_unwinds_when_they_return() {
    on_each(|builder| {
        let chosen = crate::service::Condemned::default();
        let condemned = chosen.clone();
        let alive_meanwhile = Shared::new(0);
        let seen = alive_meanwhile.clone();
        let builder = builder.primitive_in_context("service_stop", 1, move |cx, _| {
            if let Some(unit) = condemned.lock().take() {
                cx.revoke(unit)?;
            }
            cx.collect();
            *seen.lock() = cx.units().len();
            Ok(cx.unit())
        });
        let (mut vm, _) = machine_that_revokes(builder);
        vm.load_bytes(CALLER.0, CALLER.1).unwrap();
        *chosen.lock() = Some(vm.load_bytes(WORKER.0, WORKER.1).unwrap());
        vm.load_bytes("stopper.cmo", crate::service::service!("stopper.cmo").1).unwrap();
        let (inside, stop) = (registered(&mut vm, "inside"), registered(&mut vm, "stop"));
        let outcome: String = vm.call("nested", (&inside, &stop)).unwrap();
        assert_eq!(outcome, "Spelter.Revoked(\"Worker\")");
        assert_eq!(*alive_meanwhile.lock(), 3, "the worker's frame still needs its code");
        assert_eq!(alive(&mut vm), 2, "it has unwound");
    });
}

#[test]
fn importers_keep_the_data_and_not_the_code() {
    on_each(|builder| {
        let mut vm = machine(builder);
        let api = vm.load_public(API_1.0, API_1.1).unwrap();
        vm.load_bytes(CLIENT.0, CLIENT.1).unwrap();
        assert!(vm.revoke(api.clone()).unwrap());
        assert!(!vm.revoke(api.clone()).unwrap(), "once is enough");
        assert_eq!(vm.call::<i64>("version", ((),)).unwrap(), 1);
        let refused = vm.call::<String>("describe", ((),)).unwrap_err();
        assert_eq!(refused.to_string(), "uncaught exception Spelter.Revoked(\"Api\")");
        let refused = vm.field::<i64>(&api, 0).unwrap_err();
        assert_eq!(refused.to_string(), "uncaught exception Spelter.Revoked(\"Api\")");
        assert_eq!(api.info(&vm).debug_bytes, 0);
        let missing = vm.load_bytes(CLIENT.0, CLIENT.1).unwrap_err();
        assert!(matches!(missing, Error::Link { .. }), "its name is gone: {missing}");
        drop(api);
        vm.collect().unwrap();
        assert_eq!(vm.call::<i64>("version", ((),)).unwrap(), 1);
        forget(&mut vm, &["version", "describe"]);
        assert_eq!(alive(&mut vm), 0);
    });
}

/// Its code address is kept as an integer, and may be restored: it must not refer to freed memory.
#[test]
fn a_function_whose_code_has_been_exchanged_keeps_what_raises() {
    on_each(|builder| {
        let (mut vm, _) = machine_that_revokes(graded(builder, Grade::Trusted));
        vm.load_bytes(CALLER.0, CALLER.1).unwrap();
        vm.load_bytes("tracer.cmo", crate::service::service!("tracer.cmo").1).unwrap();
        let worker = vm.load_bytes(WORKER.0, WORKER.1).unwrap();
        let plain = registered(&mut vm, "plain");
        vm.call::<()>("trace", (&plain,)).unwrap();
        vm.revoke(worker).unwrap();
        assert_eq!(alive(&mut vm), 3);
        vm.call::<()>("untrace", (&plain,)).unwrap();
        assert_eq!(protect(&mut vm, "plain", 4), "Spelter.Revoked(\"Worker\")");
        assert_eq!(protect(&mut vm, "odd", 4), "Spelter.Revoked(\"Worker\")");
        drop(plain);
        forget(&mut vm, &["plain"]);
        assert_eq!(alive(&mut vm), 2);
    });
}

#[test]
fn ocaml_code_can_declare_the_exception_and_match_it() {
    on_each(|builder| {
        let (mut vm, _) = machine_that_revokes(builder);
        vm.load_bytes(CALLER.0, CALLER.1).unwrap();
        vm.call::<()>("declare", ((),)).unwrap();
        let worker = vm.load_bytes(WORKER.0, WORKER.1).unwrap();
        vm.revoke(worker).unwrap();
        assert_eq!(protect(&mut vm, "plain", 4), "revoked: Worker");
    });
}

#[test]
fn a_thousand_leave_nothing() {
    let mut vm = machine(Vm::builder());
    let unit = vm.load_bytes(API_1.0, API_1.1).unwrap();
    vm.revoke(unit).unwrap();
    let before = tables(&mut vm);
    for _ in 0..1000 {
        let unit = vm.load_public(API_1.0, API_1.1).unwrap();
        assert!(vm.revoke(unit).unwrap());
    }
    assert_eq!(tables(&mut vm), before);
}

/// Units loaded by OCaml's own `Dynlink` have numbers, but no handles.
#[test]
fn what_dynlink_loaded() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = here.join("../../xtask/fixtures/dynlink");
    let plugin = folder.join("retained.cmo").display().to_string();
    for builder in
        [Strategy::Stub, Strategy::Carry].map(|how| Vm::builder().strategy(how).world(World::process()))
    {
        let program = folder.join("host.byte");
        let params = Params {
            argv: ["host".to_owned(), format!("repeat:3:{plugin}")].map(String::into_bytes).to_vec(),
            executable_name: program.as_os_str().as_encoded_bytes().to_owned(),
            ..Params::default()
        };
        let mut vm = builder.module_slots(ModuleSlots::Strict).params(params).build();
        vm.run_file(program).unwrap();
        assert_eq!(alive(&mut vm), 3);
        for id in vm.units().into_iter().map(|unit| unit.id).collect::<Vec<_>>() {
            let unit = vm.unit(id).unwrap();
            assert!(vm.revoke(unit).unwrap());
        }
        assert_eq!(alive(&mut vm), 0);
    }
}
