//! Interrupts stop the call that they are meant for, whatever it does, and no other.
//!
//! Waiting operations are woken, and the delay is printed. Long operations are interrupted just before they begin, so
//! that they must notice it themselves: if one ran to its end, the code after it would run.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use spelter::{Dispatch, Error, Grade, HeapConfig, HeapMode, InterruptHandle, Vm, VmBuilder, World};

use crate::{graded, raw};

macro_rules! fixture {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../fixtures/interrupts/", $name)).as_slice())
    };
}

/// Distinguishes "woken" from "not woken" (waiting for seconds or for ever), on any machine.
const SOON: Duration = Duration::from_secs(2);
/// The time that a call takes from its beginning until it waits.
const BEGINNING: Duration = Duration::from_millis(30);

/// A program, and the means to interrupt it.
struct Host {
    vm: Vm,
    begins: Receiver<()>,
    /// The handle with which the program interrupts itself, and the time when it did.
    own: Arc<Mutex<Own>>,
}

type Own = (Option<InterruptHandle>, Option<Instant>);

/// Both backends, trusted and checked.
fn builders() -> impl Iterator<Item = (String, VmBuilder)> {
    [Dispatch::Loop, Dispatch::Tail].into_iter().flat_map(|dispatch| {
        [Grade::Trusted, Grade::Checked]
            .map(|grade| (format!("{dispatch:?} {grade:?}"), graded(Vm::builder().dispatch(dispatch), grade)))
    })
}

impl Host {
    fn new(builder: VmBuilder) -> Host {
        Host::of(fixture!("host.byte"), builder)
    }

    fn of((name, bytes): (&str, &[u8]), builder: VmBuilder) -> Host {
        let (sender, begins): (Sender<()>, _) = channel();
        let own: Arc<Mutex<Own>> = Arc::default();
        let held = Arc::clone(&own);
        // It waits for the system: for files, processes, sockets.
        let mut vm = builder
            .world(World::process())
            .primitive("interrupts_begins", move |()| sender.send(()).expect("the test listens"))
            .primitive("interrupts_interrupt", move |()| {
                let mut own = held.lock().unwrap_or_else(PoisonError::into_inner);
                own.1 = Some(Instant::now());
                assert!(own.0.as_ref().expect("a handle").interrupt(), "the call is under way");
            })
            .build();
        vm.run_bytes(name, bytes).expect("the host program runs");
        Host { vm, begins, own }
    }

    /// Calls a function that waits, interrupts it, and returns how long it took to end.
    fn woken(&mut self, name: &str, arg: &str) -> Duration {
        let handle = self.vm.interrupt_handle();
        let Host { vm, begins, .. } = self;
        let (at, end) = std::thread::scope(|s| {
            let watchdog = s.spawn(move || {
                begins.recv().expect("it begins");
                std::thread::sleep(BEGINNING);
                let at = Instant::now();
                assert!(handle.interrupt(), "the call is under way");
                at
            });
            let outcome = vm.call::<()>(name, (arg,));
            let end = Instant::now();
            assert!(matches!(outcome, Err(Error::Interrupted)), "{name}: {outcome:?}");
            (watchdog.join().expect("it interrupts"), end)
        });
        let took = end.saturating_duration_since(at);
        assert!(took < SOON, "{name} took {took:?} to stop");
        // The machine still works.
        assert_eq!(self.call("identity", 7), 7, "{name}");
        took
    }

    /// Calls a function that is interrupted before its long operation, which then must not complete.
    fn stopped(&mut self, name: &str) -> Duration {
        let before = self.call("finished", 0);
        self.own.lock().unwrap().0 = Some(self.vm.interrupt_handle());
        let outcome = self.vm.call::<()>(name, ((),));
        let end = Instant::now();
        let at = self.own.lock().unwrap().1.take().expect("it interrupts itself");
        let took = end.saturating_duration_since(at);
        assert!(matches!(outcome, Err(Error::Interrupted)), "{name}: {outcome:?}");
        assert_eq!(self.call("finished", 0), before, "{name} came to its end");
        took
    }

    fn call(&mut self, name: &str, arg: i64) -> i64 {
        self.vm.call(name, (arg,)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }
}

// ---- which call is interrupted --------------------------------------------------------------------------------

#[test]
fn a_late_interrupt_stops_nothing() {
    for (engine, builder) in builders() {
        eprintln!("{engine}");
        let mut host = Host::new(builder);
        let handle = host.vm.interrupt_handle();
        assert_eq!(host.call("identity", 1), 1);
        assert!(!handle.interrupt());
        assert_eq!(host.call("identity", 2), 2);
        assert!(!handle.clone().interrupt());
        host.vm.collect().unwrap();
        // A handle that has stopped its call stops no other call.
        let handle = host.vm.interrupt_handle();
        assert!(handle.interrupt());
        assert!(matches!(host.vm.call::<i64>("identity", (3,)), Err(Error::Interrupted)));
        assert!(!handle.interrupt());
        assert_eq!(host.call("identity", 4), 4);
        drop(host);
        assert!(!handle.interrupt());
    }
}

#[test]
fn an_early_interrupt_stops_the_next_call_whatever_it_is() {
    for (engine, builder) in builders() {
        eprintln!("{engine}");
        let mut host = Host::new(builder);
        // An operation that is not a call does not consume it.
        assert!(host.vm.interrupt_handle().interrupt());
        host.vm.stats();
        assert!(matches!(host.vm.value::<i64>("nothing"), Err(Error::NoSuchValue(_))));
        assert!(matches!(host.vm.call::<i64>("identity", (1,)), Err(Error::Interrupted)));
        assert!(host.vm.interrupt_handle().interrupt());
        assert!(matches!(host.vm.collect(), Err(Error::Interrupted)));
        assert_eq!(host.call("identity", 1), 1);
    }
}

#[test]
fn a_load_is_a_call() {
    for (engine, builder) in builders() {
        eprintln!("{engine}");
        let mut vm = crate::host(builder);
        let (name, bytes) = crate::fixture!("greet.cmo");
        vm.collect().unwrap();
        let before = vm.ledger();
        assert!(vm.interrupt_handle().interrupt());
        assert!(matches!(vm.load_bytes(name, bytes), Err(Error::Interrupted)));
        vm.collect().unwrap();
        assert_eq!(vm.ledger(), before, "nothing is left of it");
        let handle = vm.interrupt_handle();
        vm.load_bytes(name, bytes).unwrap();
        assert!(!handle.interrupt());
        vm.load_bytes(name, bytes).unwrap();
    }
}

#[test]
fn a_program_is_a_call() {
    for (engine, builder) in builders() {
        eprintln!("{engine}");
        let mut vm = builder.build();
        assert!(vm.interrupt_handle().interrupt());
        let (name, bytes) = crate::fixture!("host.byte");
        let outcome = vm.run_bytes(name, bytes);
        assert!(matches!(outcome, Err(Error::Interrupted)), "{outcome:?}");
    }
}

// ---- what can be stopped ---------------------------------------------------------------------------------

#[test]
fn code_is_stopped_and_cannot_catch_that() {
    for (engine, builder) in builders() {
        let mut host = Host::new(builder);
        let depth = raw(&mut host.vm).stack_depth();
        for name in ["loop", "catch"] {
            println!("{engine}: {name} stopped in {:?}", host.woken(name, ""));
        }
        assert_eq!(host.call("caught", 0), 0);
        assert_eq!(raw(&mut host.vm).stack_depth(), depth, "its frames are gone");
    }
}

#[test]
fn what_waits_for_the_system_is_woken() {
    const WAITS: [&str; 17] = [
        "read",
        "input",
        "write",
        "output",
        "select",
        "select for a time",
        "sleep",
        "sigsuspend",
        "wait_signal",
        "recv",
        "read of a socket",
        "write to a socket",
        "accept",
        "connect",
        "waitpid",
        "Sys.command",
        "open of a FIFO",
    ];
    for (engine, builder) in builders() {
        let mut host = Host::new(builder);
        for name in WAITS {
            let fifo = std::env::temp_dir().join(format!("spelter-{}-{engine}", std::process::id()));
            let took = host.woken(name, fifo.to_str().expect("a path of characters"));
            println!("{engine}: {name} stopped in {took:?}");
            let _ = std::fs::remove_file(fifo);
        }
        // The channel that waited is unlocked, and loses no data.
        assert_eq!(host.call("input again", 0), i64::from(b'x'));
    }
}

#[test]
fn what_waits_for_threads_is_woken() {
    for (engine, builder) in builders() {
        let mut host = Host::new(builder);
        for name in ["Condition.wait", "Thread.join", "Mutex.lock", "the machine"] {
            println!("{engine}: {name} stopped in {:?}", host.woken(name, ""));
        }
        // The other threads continue with the next call.
        let count = host.call("count", 0);
        assert!(host.call("count", 0) > count);
        assert_eq!(host.call("after Condition.wait", 0), 1);
    }
}

/// Another thread keeps the machine busy: it yields to this one, continues when it has the machine again, and ends
/// with it.
#[test]
fn a_thread_that_keeps_the_machine_makes_room() {
    for name in ["a loop elsewhere", "a comparison elsewhere"] {
        for (engine, builder) in builders() {
            let mut host = Host::new(builder);
            for _ in 0..2 {
                println!("{engine}: {name} stopped in {:?}", host.woken(name, ""));
            }
        }
    }
}

#[test]
fn what_takes_long_stops_by_itself() {
    const LONG: [&str; 29] = [
        "Bytes.fill",
        "Bytes.blit",
        "Bytes.equal",
        "compare of strings",
        "compare of cycles",
        "compare of arrays",
        "%2000000000d",
        "%.2000000000f",
        "%h",
        "Array.make",
        "Array.make of floats",
        "Array.fill",
        "Array.blit",
        "Array.sub",
        "Array.concat",
        "Obj.dup",
        "Digest.string",
        "Marshal of a string",
        "Marshal.to_bytes",
        "Marshal.from_bytes",
        "int_of_string",
        "Bigarray.fill",
        "Bigarray.blit",
        "compare of big arrays",
        "Gc.full_major",
        "Bytes.fill",
        "%2000000000d",
        "Array.make",
        "Marshal.to_bytes",
    ];
    for (engine, builder) in builders() {
        let mut host = Host::new(builder);
        for name in LONG {
            println!("{engine}: {name} stopped in {:?}", host.stopped(name));
        }
        assert_eq!(host.call("filled", 0), 256 * i64::from(b'z'), "some is filled, and not all");
    }
}

/// Every long primitive checks for interrupts, and its partial work leaves the heap consistent.
#[test]
fn what_is_as_long_as_a_program_likes_stops_by_itself() {
    // These are fast, or empty the nursery, whose size the host limits.
    const SHORT: [&str; 5] =
        ["Bytes.create", "Float.Array.create", "Bigarray.create", "Gc.minor", "a file's name"];
    let engines = [(Dispatch::Loop, Grade::Checked), (Dispatch::Tail, Grade::Trusted)];
    for (dispatch, grade) in engines {
        let mut host = Host::of(fixture!("long.byte"), graded(Vm::builder().dispatch(dispatch), grade));
        host.vm.call::<()>("size", (1_i64 << 21,)).unwrap();
        let mut names: Vec<String> = host.vm.call("names", ((),)).unwrap();
        names.retain(|name| !SHORT.iter().any(|short| name.starts_with(short)));
        names.sort();
        assert!(names.len() > 50);
        for name in names {
            host.vm.call::<()>("prepare", (name.as_str(),)).unwrap_or_else(|e| panic!("{name}: {e}"));
            println!("{dispatch:?} {grade:?}: {name} stopped in {:?}", host.stopped("go"));
        }
        host.vm.compact().unwrap();
    }
}

/// The same at random moments, with a collector that would detect an inconsistent heap.
#[test]
fn what_is_stopped_on_the_way_leaves_a_heap_in_order() {
    const NAMES: [&str; 12] = [
        "Array.make",
        "Array.append",
        "Array.concat",
        "Array.fill with something young",
        "Obj.dup",
        "Obj.new_block",
        "Obj.truncate",
        "let rec",
        "Weak.create",
        "Marshal.from_bytes",
        "Gc.full_major of ephemerons",
        "Gc.full_major of what a finaliser has",
    ];
    for (mode, words) in [(HeapMode::Torture, 200_000), (HeapMode::Plain, 2_000_000_i64)] {
        let heap = HeapConfig { mode, nursery_words: 4096, ..HeapConfig::default() };
        let (sender, mut begins) = channel();
        let mut vm = graded(Vm::builder().heap(heap), Grade::Checked)
            .primitive("interrupts_interrupt", move |()| {
                sender.send(()).expect("the watchdog waits");
            })
            .build();
        let (name, bytes) = fixture!("long.byte");
        vm.run_bytes(name, bytes).expect("the program runs");
        vm.call::<()>("size", (words,)).unwrap();
        let (mut calls, mut interrupted) = (0, 0);
        for name in NAMES {
            for delay in [0, 20, 100, 400, 1600].map(Duration::from_micros) {
                vm.call::<()>("prepare", (name,)).unwrap_or_else(|e| panic!("{name}: {e}"));
                let (handle, begins) = (vm.interrupt_handle(), &mut begins);
                let outcome = std::thread::scope(|s| {
                    s.spawn(move || {
                        begins.recv().expect("it begins");
                        std::thread::sleep(delay);
                        handle.interrupt()
                    });
                    vm.call::<()>("go", ((),))
                });
                calls += 1;
                match outcome {
                    Ok(()) => {}
                    Err(Error::Interrupted) => interrupted += 1,
                    Err(e) => panic!("{name}: {e}"),
                }
                vm.collect().unwrap();
            }
        }
        // How many were in time is the system's doing. That an interrupt in time stops them is tested above.
        println!("{mode:?}: {interrupted} of {calls} were interrupted");
    }
}

// ---- from one thread to another ----------------------------------------------------------------------

/// Interrupts at random moments: each call ends normally or is interrupted, and only if the interrupt came in time.
#[test]
fn watchdogs_and_calls_race() {
    for (engine, builder) in builders() {
        eprintln!("{engine}");
        let mut host = Host::new(builder);
        let mut interrupted = 0;
        for i in 0..200 {
            let handle = host.vm.interrupt_handle();
            let outcome = std::thread::scope(|s| {
                let watchdog = s.spawn(move || {
                    std::thread::sleep(Duration::from_micros(5 * i));
                    handle.interrupt()
                });
                let outcome = host.vm.call::<i64>("turns", (20_000,));
                (outcome, watchdog.join().expect("it interrupts"))
            });
            match outcome {
                (Ok(20_000), _) => {}
                (Err(Error::Interrupted), true) => interrupted += 1,
                other => panic!("{other:?}"),
            }
            // An interrupt that came too late does not stop a later call.
            assert_eq!(host.call("turns", 100), 100);
        }
        eprintln!("{interrupted} of 200 were interrupted");
    }
}
