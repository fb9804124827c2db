//! Calls that pause and go on, and calls that wait for futures: on every engine they do what calls in one piece do.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context as Task, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use spelter::{
    Args, Async, Context, Dispatch, Error, FromOcaml, HeapMode, Limit, Outcome, Paused, Program, Raise,
    Reply, Step, Unit, Value, Vm, VmBuilder,
};

use crate::{Shared, every_builder};

const HOST: &[u8] = include_bytes!("../fixtures/pauses/host.byte");
const GUEST: (&str, &[u8]) = ("guest.cmo", include_bytes!("../fixtures/pauses/guest.cmo"));
const SCRIPT: &[u8] = include_bytes!("../fixtures/pauses/script.byte");
const HOST5: &[u8] = include_bytes!("../fixtures/pauses/host5.byte");
const PERFORMS: (&str, &[u8]) = ("performs.cmo", include_bytes!("../fixtures/pauses/performs.cmo"));

/// More than any call here burns.
const PLENTY: u64 = 1 << 40;

/// A future that is ready when it is polled for the second time.
async fn soon() {
    let mut polled = false;
    poll_fn(|task| {
        task.waker().wake_by_ref();
        match std::mem::replace(&mut polled, true) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
}

async fn wait(n: i64) -> Result<i64, Raise> {
    soon().await;
    match n {
        -1 => Err(Raise::NotFound),
        -2 => Err(Raise::failure("no such page")),
        -3 => panic!("lost the connection"),
        n => Ok(10 * n),
    }
}

fn each(cx: &mut Context<'_>, f: Value, n: i64) -> Result<i64, Raise> {
    let mut sum = 0;
    for i in 0..n {
        sum += cx.call_value::<i64>(&f, (i,))?;
    }
    Ok(sum)
}

/// A machine with the functions that the guests call, and what these note.
fn functions(builder: VmBuilder) -> (VmBuilder, Shared<Vec<String>>) {
    let notes = Shared::<Vec<String>>::default();
    let noted = notes.clone();
    let sum = |a: i64, b: i64, c: i64, d: i64, e: i64, f: i64| {
        Async(async move {
            soon().await;
            a + b + c + d + e + f
        })
    };
    let builder = builder
        .primitive("host_wait", |n: i64| Async(wait(n)))
        .primitive("host_wait_six", sum)
        .primitive("host_wait_six_of_array", sum)
        .primitive("host_each", each)
        .primitive("host_note", move |text: String| noted.lock().push(text));
    (builder, notes)
}

fn machine(builder: VmBuilder) -> (Vm, Unit, Shared<Vec<String>>) {
    let (builder, notes) = functions(builder);
    let mut vm = builder.build();
    vm.run_bytes("host.byte", HOST).expect("a program");
    let unit = vm.load_bytes(GUEST.0, GUEST.1).expect("a unit");
    (vm, unit, notes)
}

/// Runs a call in steps of so much fuel. Returns how many there were.
fn in_steps<T>(vm: &mut Vm, mut call: Paused<T>, fuel: u64) -> (Result<T, Error>, usize) {
    for steps in 1.. {
        match call.resume(vm, fuel) {
            Ok(Step::Done(result)) => return (Ok(result), steps),
            Ok(Step::Paused(paused)) => call = paused,
            Err(error) => return (Err(error), steps),
        }
    }
    unreachable!("fuel ends")
}

/// No call has left a fiber.
fn assert_only_first_stack(vm: &mut Vm, kind: &str) {
    vm.collect().expect("no finaliser raises");
    assert_eq!(vm.stats().fibers, 1, "{kind}");
}

/// What a call returns and burns, in one piece and in steps of some sizes.
fn compare<T: FromOcaml + PartialEq + std::fmt::Debug>(
    builder: impl Fn() -> VmBuilder,
    kind: &str,
    name: &str,
    args: impl Args + Copy,
) {
    let (mut vm, _unit, _) = machine(builder().fuel(PLENTY));
    let before = vm.fuel().expect("it is metered");
    let expected: T = vm.call(name, args).expect("a result");
    let burnt = before - vm.fuel().expect("it is metered");
    for fuel in [1, 7, 100, burnt - 1, burnt, PLENTY] {
        let before = vm.fuel().expect("it is metered");
        let call = vm.start::<T>(name, args).expect("a call");
        let (result, steps) = in_steps(&mut vm, call, fuel);
        assert_eq!(result.expect("a result"), expected, "{kind}: {name} in steps of {fuel}");
        assert_eq!(before - vm.fuel().expect("it is metered"), burnt, "{kind}: {name} in steps of {fuel}");
        assert_eq!(steps as u64, burnt.div_ceil(fuel), "{kind}: {name} in steps of {fuel}, burns {burnt}");
    }
    assert_only_first_stack(&mut vm, kind);
}

/// Each kind of machine whose code is checked: only they count fuel.
fn every_metered(test: impl Fn(&dyn Fn() -> VmBuilder, &str)) {
    for dispatch in [Dispatch::Loop, Dispatch::Tail] {
        for heap in [HeapMode::Plain, HeapMode::Torture] {
            let builder = || Vm::builder().dispatch(dispatch).heap_mode(heap);
            test(&builder, &format!("{dispatch:?} {heap:?}"));
        }
    }
}

#[test]
fn steps_of_any_size_give_the_same_result_and_burn_the_same() {
    every_metered(|builder, kind| {
        compare::<String>(builder, kind, "count", (200i64,));
        compare::<i64>(builder, kind, "fib", (9i64,));
        compare::<i64>(builder, kind, "loops", (12i64,));
        compare::<i64>(builder, kind, "handlers", (40i64,));
        compare::<String>(builder, kind, "text", (400i64,));
    });
}

#[test]
fn calls_of_one_machine_are_resumed_in_any_order() {
    every_metered(|builder, kind| {
        let (mut vm, _unit, _) = machine(builder().fuel(PLENTY));
        let mut calls: Vec<(i64, Option<Paused<String>>)> =
            (0..20).map(|n| (n, Some(vm.start("text", (10 + n,)).expect("a call")))).collect();
        let mut done = 0;
        for round in 0.. {
            let n = (round * 7) % calls.len();
            let Some(call) = calls[n].1.take() else { continue };
            match call.resume(&mut vm, 5).expect("a step") {
                Step::Paused(call) => calls[n].1 = Some(call),
                Step::Done(text) => {
                    let expected: Vec<String> = (1..=10 + calls[n].0).rev().map(|n| n.to_string()).collect();
                    assert_eq!(text, expected.join(","), "{kind}");
                    done += 1;
                }
            }
            // Other calls come in between.
            assert_eq!(vm.call::<i64>("fib", (5i64,)).expect("a number"), 5);
            if round % 50 == 0 {
                vm.compact().expect("no finaliser raises");
            }
            if done == calls.len() {
                break;
            }
        }
        assert_only_first_stack(&mut vm, kind);
    });
}

#[test]
fn the_machines_fuel_is_the_limit_of_all_steps() {
    let (mut vm, _unit, _) = machine(Vm::builder().fuel(PLENTY));
    vm.set_fuel(250).expect("it is metered");
    let call = vm.start::<String>("count", (1000i64,)).expect("a call");
    let (result, steps) = in_steps(&mut vm, call, 100);
    assert!(matches!(result, Err(Error::Limit(Limit::Fuel))));
    assert_eq!((steps, vm.fuel()), (3, Some(0)));
    vm.set_fuel(PLENTY).expect("it is metered");
    assert_eq!(vm.call::<i64>("fib", (10i64,)).expect("the machine works"), 55);
}

#[test]
fn a_step_without_fuel_does_nothing() {
    let (mut vm, _unit, _) = machine(Vm::builder().fuel(PLENTY));
    let mut call = vm.start::<i64>("fib", (10i64,)).expect("a call");
    for _ in 0..3 {
        let Step::Paused(paused) = call.resume(&mut vm, 0).expect("a step") else { panic!("it ran") };
        call = paused;
    }
    assert_eq!(in_steps(&mut vm, call, PLENTY).0.expect("a number"), 55);
}

#[test]
fn a_machine_that_counts_no_fuel_refuses_steps() {
    let (mut vm, _unit, _) = machine(Vm::builder());
    let call = vm.start::<i64>("fib", (10i64,)).expect("a call");
    let refused = call.resume(&mut vm, 10).expect_err("no fuel");
    assert_eq!(refused.to_string(), "this machine does not count fuel: build it with `VmBuilder::fuel`");
}

#[test]
fn what_runs_inside_of_host_functions_goes_on_and_the_call_pauses_afterwards() {
    every_metered(|builder, kind| {
        let (mut vm, _unit, _) = machine(builder().fuel(PLENTY));
        let expected: i64 = vm.call("callbacks", (12i64,)).expect("a number");
        let before = vm.fuel();
        let call = vm.start::<i64>("callbacks", (12i64,)).expect("a call");
        let (result, _) = in_steps(&mut vm, call, 1);
        assert_eq!(result.expect("a number"), expected, "{kind}");
        let in_steps_burnt = before.zip(vm.fuel()).map(|(before, now)| before - now);
        let before = vm.fuel();
        vm.call::<i64>("callbacks", (12i64,)).expect("a number");
        assert_eq!(in_steps_burnt, before.zip(vm.fuel()).map(|(before, now)| before - now), "{kind}");
        // It borrows, but no more than there is.
        vm.set_fuel(20).expect("it is metered");
        let call = vm.start::<i64>("callbacks", (12i64,)).expect("a call");
        assert!(matches!(in_steps(&mut vm, call, 5).0, Err(Error::Limit(Limit::Fuel))), "{kind}");
        vm.set_fuel(PLENTY).expect("it is metered");
        let call = vm.start::<i64>("finalised", (10i64,)).expect("a call");
        assert_eq!(in_steps(&mut vm, call, 3).0.expect("a number"), 10, "{kind}");
    });
}

#[test]
fn exceptions_and_deep_recursion_end_a_call_as_usual() {
    every_metered(|builder, kind| {
        let (mut vm, _unit, _) = machine(builder().fuel(PLENTY).stack_limit_words(1 << 14));
        let call = vm.start::<i64>("half", (7i64,)).expect("a call");
        match in_steps(&mut vm, call, 1).0 {
            Err(Error::Uncaught { name, .. }) => assert_eq!(name, "Guest.Odd", "{kind}"),
            other => panic!("{kind}: {other:?}"),
        }
        let call = vm.start::<i64>("overflow", (0i64,)).expect("a call");
        match in_steps(&mut vm, call, 100).0 {
            Err(Error::Uncaught { name, .. }) => assert_eq!(name, "Stack_overflow", "{kind}"),
            other => panic!("{kind}: {other:?}"),
        }
        assert_only_first_stack(&mut vm, kind);
    });
}

#[test]
fn an_endless_loop_is_dropped_and_its_code_freed() {
    every_metered(|builder, kind| {
        let (mut vm, unit, _) = machine(builder().fuel(PLENTY));
        let mut call = vm.start::<()>("spin", ((),)).expect("a call");
        for _ in 0..5 {
            let Step::Paused(paused) = call.resume(&mut vm, 10).expect("a step") else { panic!("{kind}") };
            call = paused;
        }
        let id = unit.id();
        drop(unit);
        for name in [
            "count",
            "fib",
            "loops",
            "handlers",
            "text",
            "waits",
            "wait_text",
            "many",
            "protected",
            "callbacks",
            "waits_inside",
            "finalised",
            "overflow",
            "spin",
            "note_and_spin",
            "half",
        ] {
            assert!(vm.unregister(name));
        }
        vm.collect().expect("no finaliser raises");
        assert_eq!(vm.units().len(), 1, "{kind}: the paused call keeps its code");
        let why: Vec<String> = vm.why_alive(id).iter().map(ToString::to_string).collect();
        assert!(why.iter().any(|why| why.contains("Guest.spin")), "{kind}: {why:?}");
        let Step::Paused(call) = call.resume(&mut vm, 10).expect("a step") else { panic!("{kind}") };
        drop(call);
        vm.collect().expect("no finaliser raises");
        assert_eq!((vm.units().len(), vm.stats().fibers), (0, 1), "{kind}");
    });
}

#[test]
fn a_revoked_units_paused_calls_end() {
    every_metered(|builder, kind| {
        let (mut vm, unit, notes) = machine(builder().fuel(PLENTY));
        let call = vm.start::<i64>("handlers", (1000i64,)).expect("a call");
        let Step::Paused(call) = call.resume(&mut vm, 50).expect("a step") else { panic!("{kind}") };
        let fresh = vm.start::<i64>("fib", (10i64,)).expect("a call");
        assert!(vm.revoke(unit).expect("memory"));
        for call in [call, fresh] {
            match in_steps(&mut vm, call, 50).0 {
                Err(Error::Uncaught { name, .. }) => assert_eq!(name, "Spelter.Revoked", "{kind}"),
                other => panic!("{kind}: {other:?}"),
            }
        }
        assert!(notes.lock().is_empty());
    });
}

#[test]
fn another_thread_revokes_what_runs_or_is_about_to() {
    for (kind, builder) in every_builder() {
        let (builder, _) = functions(builder);
        let (start, started) = std::sync::mpsc::channel::<()>();
        let builder =
            builder.primitive("host_note", move |_: String| start.send(()).expect("the watchdog waits"));
        let mut vm = builder.build();
        vm.run_bytes("host.byte", HOST).expect("a program");
        let unit = vm.load_bytes(GUEST.0, GUEST.1).expect("a unit");
        let (id, handle) = (unit.id(), vm.revoke_handle(&unit));
        drop(unit);
        let watchdog = thread::spawn({
            let handle = handle.clone();
            move || {
                started.recv().expect("a note");
                handle.revoke();
            }
        });
        for name in ["note_and_spin", "fib"] {
            match vm.call::<i64>(name, (1i64,)) {
                Err(Error::Uncaught { exception, .. }) => {
                    assert_eq!(exception, "Spelter.Revoked(\"Guest\")", "{kind}: {name}");
                }
                other => panic!("{kind}: {name}: {other:?}"),
            }
        }
        watchdog.join().expect("no panic");
        vm.collect().expect("no finaliser raises");
        assert!(!vm.is_alive(id), "{kind}");

        // Between two calls: it takes effect before the next one, and a unit that has been freed is no matter.
        let unit = vm.load_bytes(GUEST.0, GUEST.1).expect("a unit");
        let late = vm.revoke_handle(&unit);
        drop(unit);
        thread::scope(|s| s.spawn(|| (handle.revoke(), late.revoke())).join()).expect("no panic");
        let error = vm.call::<i64>("half", (2i64,)).expect_err("it has been revoked");
        assert_eq!(error.to_string(), "uncaught exception Spelter.Revoked(\"Guest\")", "{kind}");
    }
}

#[test]
fn a_call_goes_on_in_another_thread() {
    let (mut vm, _unit, _) = machine(Vm::builder().fuel(PLENTY));
    let call = vm.start::<i64>("fib", (15i64,)).expect("a call");
    let Step::Paused(call) = call.resume(&mut vm, 50).expect("a step") else { panic!("it ended") };
    let (result, _) = thread::spawn(move || in_steps(&mut vm, call, 50)).join().expect("no panic");
    assert_eq!(result.expect("a number"), 610);
}

#[test]
#[should_panic(expected = "this call belongs to another machine")]
fn a_call_of_another_machine_is_a_bug() {
    let (mut vm, _unit, _) = machine(Vm::builder().fuel(PLENTY));
    let call = vm.start::<i64>("fib", (15i64,)).expect("a call");
    let (mut other, _unit, _) = machine(Vm::builder().fuel(PLENTY));
    let _ = call.resume(&mut other, 50);
}

/// The machine's own way to pause, used by a host in every place where it can be.
#[test]
fn a_host_that_pauses_by_itself_ends_the_call_and_breaks_nothing() {
    let fatal = |outcome: Result<i64, Error>| match outcome {
        Err(Error::Fatal(why)) => why,
        other => panic!("{other:?}"),
    };
    every_metered(|builder, kind| {
        let (builder, _) = functions(builder().fuel_per_poll(20).fuel(PLENTY));
        let builder =
            builder.primitive_in_context("host_wait", 1, |cx, args| match cx.read::<i64>(args[0])? {
                // Only looked at: later pauses are as usual.
                1 => {
                    cx.exception(Raise::Pause);
                    Ok(cx.int(1))
                }
                2 => Err(Raise::Pause),
                n => Async(async move { Err::<i64, _>(if n == 3 { Raise::Pause } else { Raise::NotFound }) })
                    .reply(cx),
            });
        let builder = builder.primitive("host_each", |cx: &mut Context<'_>, f: Value, n: i64| {
            cx.call_value::<i64>(&f, (n,)).or_else(|_| cx.call_value::<i64>(&f, (1i64,)))
        });
        let mut vm = builder.build();
        vm.run_bytes("host.byte", HOST).expect("a program");
        let unit = vm.load_bytes(GUEST.0, GUEST.1).expect("a unit");
        // A call after it, in steps, on the same stack.
        let works = |vm: &mut Vm| {
            let call = vm.start::<i64>("handlers", (40i64,)).expect("a call");
            assert_eq!(in_steps(vm, call, 3).0.expect("a number"), 400, "{kind}");
            vm.collect().expect("no finaliser raises");
        };
        let call = vm.start::<String>("wait_text", (1i64,)).expect("a call");
        let (text, _) = in_steps(&mut vm, call, 1);
        assert_eq!(text.expect("a text"), "1+2 1 code is garbage", "{kind}");
        works(&mut vm);
        for n in [2i64, 3] {
            let ended = fatal(smol::block_on(vm.call_async::<i64>("protected", (n,))));
            assert!(ended.contains("pause"), "{kind}: {ended}");
            works(&mut vm);
            let call = vm.start::<i64>("protected", (n,)).expect("a call");
            assert!(in_steps(&mut vm, call, 100).0.is_err(), "{kind}");
            works(&mut vm);
            assert!(vm.call::<i64>("protected", (n,)).is_err(), "{kind}");
            works(&mut vm);
        }
        // The host ignores that the first call back has ended.
        let text = smol::block_on(vm.call_async::<String>("waits_inside", (2i64,)));
        assert_eq!(text.expect("a text"), "1", "{kind}");
        works(&mut vm);
        assert!(matches!(vm.with::<()>(|_| Err(Raise::Pause)), Err(Error::Fatal(_))), "{kind}");
        works(&mut vm);
        drop(unit);
        assert_only_first_stack(&mut vm, kind);
    });
}

// ---- futures ---------------------------------------------------------------------------------------

#[test]
fn calls_wait_for_futures_on_every_engine() {
    for (kind, builder) in every_builder() {
        let (mut vm, _unit, _) = machine(builder);
        let sum: i64 = smol::block_on(vm.call_async("waits", (10i64,))).expect("a number");
        assert_eq!(sum, 550, "{kind}");
        for (n, expected) in [(4, "4+5 40 code is garbage"), (-1, "-1+0 Not_found code is garbage")] {
            let text: String = smol::block_on(vm.call_async("wait_text", (n,))).expect("a text");
            assert_eq!(text, expected, "{kind}");
        }
        let text: String = smol::block_on(vm.call_async("wait_text", (-2i64,))).expect("a text");
        assert_eq!(text, "-2+-1 Failure no such page code is garbage", "{kind}");
        assert_eq!(
            smol::block_on(vm.call_async::<i64>("many", (6i64,))).expect("a number"),
            21_006,
            "{kind}"
        );
        assert_eq!(smol::block_on(vm.call_async::<i64>("fib", (10i64,))).expect("a number"), 55, "{kind}");
        assert_only_first_stack(&mut vm, &kind);
    }
}

#[test]
fn a_future_that_panics_ends_the_call() {
    let (mut vm, _unit, notes) = machine(Vm::builder());
    match smol::block_on(vm.call_async::<i64>("protected", (-3i64,))) {
        Err(Error::Panic { primitive, message }) => {
            assert_eq!((primitive.as_deref(), message.as_str()), (Some("host_wait"), "lost the connection"));
        }
        other => panic!("{other:?}"),
    }
    assert!(notes.lock().is_empty(), "no handler has run");
    let error = smol::block_on(vm.call_async::<i64>("protected", (-1i64,))).expect_err("an exception");
    assert!(matches!(error, Error::Uncaught { name, .. } if name == "Not_found"));
    assert_eq!(*notes.lock(), ["handled"]);
    assert_eq!(smol::block_on(vm.call_async::<i64>("waits", (2i64,))).expect("the machine works"), 30);
}

#[test]
fn what_cannot_wait_says_so() {
    let (mut vm, _unit, _) = machine(Vm::builder().fuel(PLENTY));
    let expected = "host_wait waits: only code that `Vm::call_async` or `Vm::run_async` runs itself can";
    let refused = vm.call::<i64>("waits", (1i64,)).expect_err("it cannot wait");
    assert_eq!(refused.to_string(), format!("uncaught exception Failure({expected:?})"));
    let call = vm.start::<i64>("waits", (1i64,)).expect("a call");
    let refused = call.resume(&mut vm, 1000).expect_err("it cannot wait");
    assert_eq!(refused.to_string(), format!("uncaught exception Failure({expected:?})"));
    let refused: String = smol::block_on(vm.call_async("waits_inside", (1i64,))).expect("a text");
    assert_eq!(refused, expected);
    let missing = smol::block_on(vm.call_async::<i64>("nothing", (1i64,))).expect_err("no such value");
    assert!(matches!(missing, Error::NoSuchValue(_)));
}

#[test]
fn dropping_a_call_drops_what_it_waits_for() {
    struct Told(Arc<AtomicBool>);
    impl Drop for Told {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let dropped = Arc::new(AtomicBool::new(false));
    let told = Mutex::new(Some(Told(Arc::clone(&dropped))));
    let builder = Vm::builder().primitive("host_wait", move |n: i64| {
        let told = told.lock().expect("no panic").take();
        Async(async move {
            std::future::pending::<()>().await;
            drop(told);
            n
        })
    });
    let builder = builder.primitive("host_note", |_: &str| ());
    let mut vm = builder.build();
    let program = Program::new("script.byte", SCRIPT).expect("a program");
    let mut call = Box::pin(vm.run_async(&program));
    let task = &mut Task::from_waker(Waker::noop());
    assert!(call.as_mut().poll(task).is_pending() && call.as_mut().poll(task).is_pending());
    assert!(!dropped.load(Ordering::SeqCst));
    drop(call);
    assert!(dropped.load(Ordering::SeqCst));
}

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicU64);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_poll_ends_when_its_fuel_does() {
    let (mut vm, _unit, _) = machine(Vm::builder().fuel_per_poll(100));
    let mut call = Box::pin(vm.call_async::<String>("count", (1000i64,)));
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let task = &mut Task::from_waker(&waker);
    let mut polls = 1;
    let result = loop {
        match call.as_mut().poll(task) {
            Poll::Ready(result) => break result,
            Poll::Pending => assert_eq!(count.0.load(Ordering::SeqCst), polls),
        }
        polls += 1;
    };
    assert_eq!((result.expect("a text").as_str(), polls), ("done", 11));
}

#[test]
fn guests_take_turns_in_one_thread() {
    let turns = Shared::<Vec<i64>>::default();
    let executor = smol::LocalExecutor::new();
    let tasks: Vec<_> = (0..3i64)
        .map(|guest| {
            let turns = turns.clone();
            let builder = Vm::builder().fuel_per_poll(50).primitive("host_wait", move |n: i64| {
                turns.lock().push(guest);
                Async(async move {
                    smol::Timer::after(Duration::from_millis(1)).await;
                    n
                })
            });
            let builder = builder.primitive("host_note", |_: &str| ());
            executor.spawn(async move {
                let mut vm = builder.build();
                let program = Program::new("script.byte", SCRIPT).expect("a program");
                vm.run_async(&program).await
            })
        })
        .collect();
    let outcomes = smol::block_on(executor.run(async {
        let mut outcomes = Vec::new();
        for task in tasks {
            outcomes.push(task.await.expect("a program"));
        }
        outcomes
    }));
    assert_eq!(outcomes, [Outcome::Finished; 3]);
    let turns = turns.lock();
    assert_eq!(turns.len(), 9);
    assert!(!turns.is_sorted(), "nobody has waited for another one to end: {turns:?}");
}

#[test]
fn programs_pause_and_wait() {
    every_metered(|builder, kind| {
        let program = Program::new("script.byte", SCRIPT).expect("a program");
        let (functions, notes) = functions(builder().fuel(PLENTY).args(["script", "exit"]));
        let mut vm = functions.build();
        let outcome = smol::block_on(vm.run_async(&program)).expect("a program");
        assert_eq!(outcome, Outcome::Exited(3), "{kind}");
        assert_eq!(*notes.lock(), ["1 1000 10", "2 1000 20", "3 1000 30", "at_exit"], "{kind}");
        let refused = vm.start_program(&program).expect_err("a second program");
        assert!(matches!(refused, Error::SecondProgram { .. }));
        let mut vm = builder().fuel(PLENTY).build();
        let call = vm.start_program(&Program::new("host.byte", HOST).expect("a program")).expect("a call");
        let (outcome, steps) = in_steps(&mut vm, call, 5);
        assert_eq!(outcome.expect("a program"), Outcome::Finished, "{kind}");
        assert!(steps > 1, "{kind}: {steps}");
    });
}

#[test]
fn handlers_of_effects_pause_and_wait() {
    for (kind, builder) in every_builder() {
        let (builder, _) = functions(builder);
        let mut vm = builder.build();
        vm.run_bytes("host5.byte", HOST5).expect("a program");
        let _unit = vm.load_bytes(PERFORMS.0, PERFORMS.1).expect("a unit");
        for n in [1i64, 5, 30] {
            let expected = n * 30 + 10 * n * (n + 1) / 2 + 10;
            let sum: i64 = smol::block_on(vm.call_async("asks", (n,))).expect("a number");
            assert_eq!(sum, expected, "{kind}");
        }
        let text: String = smol::block_on(vm.call_async("unhandled", ((),))).expect("a text");
        assert_eq!(text, "unhandled", "{kind}");
    }
    every_metered(|builder, kind| {
        let (builder, _) = functions(builder().fuel_per_poll(3));
        let mut vm = builder.build();
        vm.run_bytes("host5.byte", HOST5).expect("a program");
        let _unit = vm.load_bytes(PERFORMS.0, PERFORMS.1).expect("a unit");
        let sum: i64 = smol::block_on(vm.call_async("asks", (10i64,))).expect("a number");
        assert_eq!(sum, 300 + 550 + 10, "{kind}");
        assert_only_first_stack(&mut vm, kind);
        let mut call = Box::pin(vm.call_async::<i64>("asks", (10i64,)));
        let task = &mut Task::from_waker(Waker::noop());
        for _ in 0..20 {
            assert!(call.as_mut().poll(task).is_pending(), "{kind}");
        }
        drop(call);
        assert_only_first_stack(&mut vm, kind);
    });
}
