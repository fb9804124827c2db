//! Domains from their host's point of view: limits, interrupts, and loaded units that run in another domain than the
//! one that loaded, drops or revokes them.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use spelter::{Args, Error, FromOcaml, HeapConfig, HeapMode, Strategy, Unit, Value, Vm, VmBuilder};

use crate::every_builder;
use crate::kept::keeping;

macro_rules! fixture {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../fixtures/domains/", $name)).as_slice())
    };
}

/// Distinguishes "at once" from "when the other domain is done", which is never, on any machine.
const SOON: Duration = Duration::from_secs(5);

/// A machine with a guest that spawns domains, and the guest's functions.
struct Host {
    vm: Vm,
    functions: BTreeMap<String, Value>,
}

impl Host {
    fn new(builder: VmBuilder) -> Host {
        let (builder, functions) = keeping(builder);
        let mut vm = builder.build();
        let (name, bytes) = fixture!("host.byte");
        vm.run_bytes(name, bytes).unwrap();
        let (name, bytes) = fixture!("guest.cmo");
        vm.load_public(name, bytes).unwrap();
        let functions = std::mem::take(&mut *functions.lock());
        Host { vm, functions }
    }

    fn call<T: FromOcaml>(&mut self, name: &str, args: impl Args) -> Result<T, Error> {
        self.vm.call_value(&self.functions[name], args)
    }

    fn work(&mut self) -> Unit {
        let (name, bytes) = fixture!("worker.cmo");
        self.vm.load_bytes(name, bytes).unwrap()
    }

    /// Lets the others run until one of them has been seen.
    fn wait_for_a_beat(&mut self) {
        let start = Instant::now();
        while self.call::<i64>("beats", ((),)).unwrap() == 0 {
            assert!(start.elapsed() < SOON, "no other domain runs");
            self.vm.blocking(|| thread::sleep(Duration::from_millis(1))).unwrap();
        }
    }
}

#[test]
fn a_domain_that_spins_does_not_keep_the_machine() {
    for (name, builder) in every_builder() {
        eprintln!("{name}");
        let mut host = Host::new(builder);
        let spin = host.functions["spin"].clone();
        let running: Value = host.call("start", (&spin,)).unwrap();
        host.wait_for_a_beat();
        host.vm.collect_once().unwrap();
        host.call::<()>("open", ((),)).unwrap();
        assert_eq!(host.call::<i64>("join", (&running,)).unwrap(), 1, "the domain's id");
    }
}

#[test]
fn a_call_is_interrupted_while_another_domain_spins() {
    for (name, builder) in every_builder() {
        eprintln!("{name}");
        let mut host = Host::new(builder);
        for function in ["spin and join", "spin"] {
            let handle = host.vm.interrupt_handle();
            let watchdog = thread::spawn(move || {
                thread::sleep(Duration::from_millis(30));
                assert!(handle.interrupt(), "the call is under way");
                Instant::now()
            });
            let outcome = host.call::<i64>(function, ((),));
            assert!(watchdog.join().unwrap().elapsed() < SOON);
            assert!(matches!(outcome, Err(Error::Interrupted)), "{outcome:?}");
        }
        // The machine is in order, and the domain that was not joined still runs.
        assert!(host.call::<i64>("beats", ((),)).unwrap() > 0);
        host.call::<()>("open", ((),)).unwrap();
    }
}

#[test]
fn a_machine_is_dropped_with_domains_under_way() {
    for (name, builder) in every_builder() {
        eprintln!("{name}");
        let mut host = Host::new(builder);
        let (spin, join) = (host.functions["spin"].clone(), host.functions["join"].clone());
        let running: Value = host.call("start", (&spin,)).unwrap();
        host.call::<Value>("start", (&spin,)).unwrap();
        host.wait_for_a_beat();
        // Values may outlive their machine.
        drop(host);
        drop((running, join));
    }
}

#[test]
fn a_domains_memory_counts_towards_the_hosts_limit() {
    for mode in [HeapMode::Plain, HeapMode::Torture] {
        let heap = HeapConfig { max_words: Some(1 << 19), mode, ..HeapConfig::default() };
        let mut host = Host::new(Vm::builder().heap(heap));
        assert_eq!(host.call::<i64>("hoard", ((),)).unwrap(), 1);
        assert_eq!(host.call::<i64>("hoard", ((),)).unwrap(), 1, "the first one's memory is free again");
    }
}

#[test]
fn stacks_are_limited_in_fibers_and_domains() {
    for (name, builder) in every_builder() {
        eprintln!("{name}");
        let mut host = Host::new(builder.stack_limit_words(1 << 14));
        let deep = [("deep", 7), ("deep in a fiber", 7), ("deep out of a fiber", 8), ("deep in a domain", 9)];
        for (function, expected) in deep {
            assert_eq!(host.call::<i64>(function, ((),)).unwrap(), expected, "{function}");
        }
    }
}

#[test]
fn a_program_has_no_more_domains_than_it_may_have_threads() {
    let mut host = Host::new(Vm::builder().thread_limit(4));
    assert_eq!(host.call::<i64>("crowd", ((),)).unwrap(), 3);
    assert_eq!(host.call::<i64>("crowd", ((),)).unwrap(), 0);
    // Without such a limit, OCaml's own holds.
    let mut host = Host::new(Vm::builder());
    assert_eq!(host.call::<i64>("crowd", ((),)).unwrap(), 127);
    drop(host);
}

#[test]
fn the_end_of_the_program_in_a_domain_reaches_a_host_that_waits_for_it() {
    let mut host = Host::new(Vm::builder());
    for _ in 0..2 {
        let outcome = host.call::<i64>("call an integer", ((),));
        assert!(
            matches!(&outcome, Err(Error::Uncaught { name, .. }) if name == "Invalid_argument"),
            "{outcome:?}"
        );
        assert_eq!(host.call::<i64>("deep", ((),)).unwrap(), 7, "the next call is not affected");
    }
    let outcome = host.call::<i64>("exit in a domain", (3,));
    assert!(matches!(outcome, Err(Error::Exit(3))), "{outcome:?}");
}

#[test]
fn domains_that_cannot_tell_their_end_end() {
    for mode in [HeapMode::Plain, HeapMode::Torture] {
        let mut host = Host::new(Vm::builder().heap_mode(mode).thread_limit(9));
        assert_eq!(host.call::<i64>("forge", ((),)).unwrap(), 6, "five had no place for their result");
        // Those before it may still be ending.
        let start = Instant::now();
        while crate::raw(&mut host.vm).domain_count() > 1 {
            assert!(start.elapsed() < SOON, "a domain has not ended");
            host.vm.blocking(|| thread::sleep(Duration::from_millis(1))).unwrap();
        }
        assert_eq!(host.call::<i64>("crowd", ((),)).unwrap(), 8);
    }
}

#[test]
fn a_unit_that_a_domain_runs_is_alive_until_it_ends() {
    for (name, builder) in every_builder() {
        eprintln!("{name}");
        let mut host = Host::new(builder);
        let id = host.work().id();
        let running: Value = host.call("start work", ((),)).unwrap();
        host.call::<()>("forget work", ((),)).unwrap();
        host.wait_for_a_beat();
        host.vm.collect_once().unwrap();
        assert!(host.vm.is_alive(id), "a domain runs it");
        let why: String = host.vm.why_alive(id).iter().map(|path| format!("{path}\n")).collect();
        assert!(why.contains("thread 1, which waits") && why.contains("Worker"), "{why}");
        host.call::<()>("open", ((),)).unwrap();
        assert_eq!(host.call::<i64>("join", (&running,)).unwrap(), 42);
        host.vm.collect().unwrap();
        assert!(!host.vm.is_alive(id));
    }
}

#[test]
fn a_revoked_unit_raises_in_the_domain_that_runs_it() {
    for (name, builder) in every_builder() {
        eprintln!("{name}");
        let mut host = Host::new(builder);
        let unit = host.work();
        let id = unit.id();
        let running: Value = host.call("start work", ((),)).unwrap();
        host.wait_for_a_beat();
        host.vm.revoke(unit).unwrap();
        let error = host.call::<i64>("join", (&running,)).unwrap_err();
        assert!(error.to_string().contains("Revoked"), "{error}");
        drop(running);
        host.call::<()>("forget work", ((),)).unwrap();
        host.vm.collect().unwrap();
        assert!(!host.vm.is_alive(id));
    }
}

#[test]
fn domains_load_and_revoke_units_that_others_run() {
    for (name, builder) in every_builder() {
        eprintln!("{name}");
        let mut host = Host::new(builder);
        let (_, bytes) = fixture!("worker.cmo");
        assert_eq!(host.call::<i64>("load in a domain", (bytes,)).unwrap(), 1);
        host.vm.collect().unwrap();
        assert_eq!(host.vm.units().len(), 2, "the domain has ended, but what it loaded is referred to");
        host.call::<()>("open", ((),)).unwrap();
        assert_eq!(host.call::<i64>("work", ((),)).unwrap(), 42);
        // Often, so that some find the other domain at the safe point of a call.
        for _ in 0..20 {
            host.call::<()>("close", ((),)).unwrap();
            host.call::<()>("forget work", ((),)).unwrap();
            assert_eq!(host.call::<i64>("revoke in a domain", (bytes,)).unwrap(), 1000);
        }
        host.call::<()>("forget work", ((),)).unwrap();
        host.vm.collect().unwrap();
        assert_eq!(host.vm.units().len(), 1);
    }
}

#[test]
fn machines_of_two_versions_run_side_by_side() {
    for strategy in [Strategy::Stub, Strategy::Carry] {
        let mut old = crate::host(Vm::builder().strategy(strategy));
        let mut new = Host::new(Vm::builder().strategy(strategy));
        let spin = new.functions["spin"].clone();
        let running: Value = new.call("start", (&spin,)).unwrap();
        for _ in 0..20 {
            let (name, bytes) = crate::fixture!("greet.cmo");
            let unit = old.load_bytes(name, bytes).unwrap();
            assert_eq!(old.call::<String>("greet", ("world",)).unwrap(), "hello, world");
            drop(unit);
            old.unregister("greet");
            old.collect().unwrap();
            new.wait_for_a_beat();
            new.vm.collect_once().unwrap();
        }
        let (name, bytes) = crate::fixture!("greet.cmo");
        let refused = new.vm.load_bytes(name, bytes).unwrap_err().to_string();
        assert!(refused.contains("4.13") && refused.contains("5.4"), "{refused}");
        let (name, bytes) = fixture!("worker.cmo");
        let refused = old.load_bytes(name, bytes).unwrap_err().to_string();
        assert!(refused.contains("4.13") && refused.contains("5.4"), "{refused}");
        drop(old);
        new.call::<()>("open", ((),)).unwrap();
        assert_eq!(new.call::<i64>("join", (&running,)).unwrap(), 1);
    }
}
