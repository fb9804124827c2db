//! Budgets of a call: fuel, which is the same everywhere, and time.

use std::time::{Duration, Instant};

use spelter::{Dispatch, Error, Function, HeapMode, Limit, Strategy, Vm, VmBuilder};

use crate::{every_builder, fixture, host};

/// More than any program here burns.
const PLENTY: u64 = 1 << 40;

/// What a machine has burnt.
fn burnt(vm: &Vm) -> u64 {
    PLENTY - vm.fuel().expect("it is metered")
}

/// What the host program, a unit and a call burn, one after the other.
fn stages(builder: VmBuilder) -> [u64; 3] {
    let mut vm = host(builder.fuel(PLENTY));
    let program = burnt(&vm);
    let (name, bytes) = fixture!("greet.cmo");
    let _unit = vm.load_bytes(name, bytes).expect("a unit");
    let loaded = burnt(&vm);
    let greeting: String = vm.call("greet", ("fuel",)).expect("a string");
    assert_eq!(greeting, "hello, fuel");
    [program, loaded, burnt(&vm)]
}

#[test]
fn code_burns_the_same_on_every_engine_and_heap() {
    let expected = stages(Vm::builder());
    assert!(0 < expected[0] && expected[0] < expected[2], "{expected:?}");
    for (name, builder) in every_builder() {
        assert_eq!(stages(builder), expected, "{name}");
    }
}

#[test]
fn every_group_of_instructions_burns_the_same_on_both_backends() {
    let [first, second] = [Dispatch::Loop, Dispatch::Tail].map(|dispatch| {
        let mut vm = Vm::builder().dispatch(dispatch).fuel(PLENTY).build();
        let (name, bytes) = fixture!("spin.byte");
        vm.run_bytes(name, bytes).expect("a program");
        burnt(&vm)
    });
    assert_eq!(first, second);
    assert!(first > 5_000_000, "{first}");
}

#[test]
fn a_call_ends_exactly_when_its_fuel_does() {
    for dispatch in [Dispatch::Loop, Dispatch::Tail] {
        let needed = stages(Vm::builder().dispatch(dispatch))[0];
        let run = |units| {
            let mut vm = Vm::builder().dispatch(dispatch).fuel(units).build();
            let (name, bytes) = fixture!("host.byte");
            (vm.run_bytes(name, bytes), vm.fuel())
        };
        assert!(matches!(run(needed), (Ok(_), Some(0))));
        for less in [1, 2, needed / 2, needed] {
            assert!(matches!(run(needed - less), (Err(Error::Limit(Limit::Fuel)), Some(0))), "{less}");
        }
    }
}

#[test]
fn a_function_that_calls_nothing_burns_one() {
    for dispatch in [Dispatch::Loop, Dispatch::Tail] {
        let mut vm = Vm::builder().dispatch(dispatch).fuel(PLENTY).build();
        let (name, bytes) = fixture!("typed/host.byte");
        vm.run_bytes(name, bytes).expect("a program");
        let (name, bytes) = fixture!("typed/rule.cmo");
        let unit = vm.load_bytes(name, bytes).expect("a unit");
        let unit = unit.with_interface(fixture!("typed/rule.cmi").1).expect("its interface");
        let same: Function<(i64,), i64> = vm.function(&unit, "same").expect("a function");
        let before = burnt(&vm);
        assert_eq!(same.call(&mut vm, (7,)).expect("its argument"), 7);
        assert_eq!(burnt(&vm), before + 1);
        vm.set_fuel(0).expect("it is metered");
        assert!(matches!(same.call(&mut vm, (7,)), Err(Error::Limit(Limit::Fuel))));
    }
}

#[test]
fn after_a_limit_the_machine_works() {
    for strategy in [Strategy::Stub, Strategy::Carry] {
        for dispatch in [Dispatch::Loop, Dispatch::Tail] {
            for heap in [HeapMode::Plain, HeapMode::Torture] {
                let builder = Vm::builder().strategy(strategy).dispatch(dispatch).heap_mode(heap);
                let mut vm = host(builder.fuel(PLENTY));
                let (name, bytes) = fixture!("greet.cmo");
                let _unit = vm.load_bytes(name, bytes).expect("a unit");
                for _ in 0..3 {
                    vm.set_fuel(0).expect("it is metered");
                    let stopped = vm.call::<String>("greet", ("nobody",));
                    assert!(matches!(stopped, Err(Error::Limit(Limit::Fuel))), "{stopped:?}");
                    vm.set_fuel(PLENTY).expect("it is metered");
                    assert_eq!(vm.call::<String>("greet", ("you",)).expect("a string"), "hello, you");
                }
            }
        }
    }
}

#[test]
fn a_machine_without_fuel_says_so() {
    let mut vm = Vm::builder().build();
    assert_eq!(vm.fuel(), None);
    assert!(matches!(vm.set_fuel(1), Err(Error::Unmetered)));
}

/// A machine whose program is `spin.byte`, which runs for a second or more.
fn spinning(builder: VmBuilder) -> (Result<spelter::Outcome, Error>, Vm, Duration) {
    let mut vm = builder.build();
    let (name, bytes) = fixture!("spin.byte");
    let start = Instant::now();
    (vm.run_bytes(name, bytes), vm, start.elapsed())
}

#[test]
fn a_call_ends_when_its_time_does() {
    for dispatch in [Dispatch::Loop, Dispatch::Tail] {
        let limit = Duration::from_millis(5);
        let (outcome, mut vm, _) = spinning(Vm::builder().dispatch(dispatch).time_limit(limit));
        assert!(matches!(outcome, Err(Error::Limit(Limit::Time))), "{outcome:?}");
        vm.set_time_limit(None);
        vm.collect().expect("the machine works");
    }
}

#[test]
fn many_calls_have_their_own_ends() {
    let threads: Vec<_> = (0..8)
        .map(|i| {
            std::thread::spawn(move || {
                let limit = Duration::from_millis(if i % 2 == 0 { 3 } else { 60_000 });
                let mut vm = host(Vm::builder().time_limit(Duration::from_secs(60)));
                let (name, bytes) = fixture!("greet.cmo");
                let _unit = vm.load_bytes(name, bytes).expect("a unit");
                vm.set_time_limit(Some(limit));
                let (outcome, ..) = spinning(Vm::builder().time_limit(Duration::from_millis(3)));
                assert!(matches!(outcome, Err(Error::Limit(Limit::Time))), "{outcome:?}");
                if i % 2 == 1 {
                    assert_eq!(vm.call::<String>("greet", ("you",)).expect("in time"), "hello, you");
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no thread panics");
    }
}

#[test]
fn an_interrupt_is_no_limit() {
    let mut vm = host(Vm::builder().fuel(PLENTY).time_limit(Duration::from_secs(60)));
    let (name, bytes) = fixture!("greet.cmo");
    let _unit = vm.load_bytes(name, bytes).expect("a unit");
    vm.set_fuel(0).expect("it is metered");
    assert!(matches!(vm.call::<String>("greet", ("you",)), Err(Error::Limit(Limit::Fuel))));
    vm.set_fuel(PLENTY).expect("it is metered");
    assert!(vm.interrupt_handle().interrupt());
    assert!(matches!(vm.call::<String>("greet", ("you",)), Err(Error::Interrupted)));
}

/// A call that writes as many bytes as it is asked to.
fn writing(builder: VmBuilder) -> Vm {
    let mut vm = builder.build();
    let (name, bytes) = fixture!("patterns.byte");
    vm.run_bytes(name, bytes).expect("it registers its functions");
    vm
}

#[test]
fn a_call_writes_no_more_than_it_may() {
    for dispatch in [Dispatch::Loop, Dispatch::Tail] {
        let mut vm = writing(Vm::builder().dispatch(dispatch).output_limit(1000));
        for _ in 0..3 {
            for length in [10, 990] {
                vm.call::<()>("write", (length,)).expect("it may");
                assert_eq!(vm.output().len(), length as usize);
            }
            vm.call::<()>("write", (1000,)).expect("each call may");
            let outcome = vm.call::<()>("write", (1001,));
            assert!(matches!(outcome, Err(Error::Limit(Limit::Output))), "{outcome:?}");
            assert_eq!(vm.output().len(), 1000);
        }
    }
}

#[test]
fn a_call_that_needs_more_memory_than_there_is_ends() {
    for (name, builder) in every_builder() {
        let mut vm = writing(builder.memory_limit(8 << 20));
        for _ in 0..2 {
            let outcome = vm.call::<()>("fill", (1 << 17,));
            assert!(matches!(outcome, Err(Error::Limit(Limit::Memory))), "{name}: {outcome:?}");
            vm.call::<()>("write", (1,)).expect("the machine works");
        }
    }
}
