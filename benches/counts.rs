//! Runs one operation in [`measured`], so that callgrind counts only its instructions:
//!
//! ```sh
//! cargo build --release -p spelter-benches --example counts
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect='*counts::measured*' \
//!     target/release/examples/counts call static fib 20 1000
//! ```
//!
//! `call HOW FUNCTION SIZE UNITS`: a call of a function of the fixtures, static or loaded (`carry`, `stub`), while
//! UNITS other loaded units are alive. `free HOW FUNCTIONS`: a full collection that frees a unit of FUNCTIONS
//! functions; nothing if 0. `frees HOW UNITS`: one that frees UNITS small units. Without callgrind, the processor
//! time is printed.
//!
//! `slices HOW UNITS`: drops UNITS small units, and keeps running until the collector has freed them by itself. It
//! prints by how much the longest of its many short calls exceeds the others; that call contains the collector's
//! longest slice.

mod machines;

use std::time::Duration;

use machines::{UNIT, call, large_unit, machine, machine_with_plugin};
use nix::time::ClockId;
use spelter::{Strategy, Vm};

#[inline(never)]
fn measured(vm: &mut Vm, what: &dyn Fn(&mut Vm)) {
    what(vm);
}

/// Loads the units, drops them, and measures the full collection that frees them.
fn free<'a>(mut vm: Vm, units: impl Iterator<Item = &'a [u8]>) -> (Vm, Duration) {
    let handles: Vec<_> = units.map(|bytes| vm.load_bytes("unit.cmo", bytes).expect("it loads")).collect();
    vm.collect_once().expect("it collects");
    assert_eq!(vm.units().len(), handles.len());
    for name in ["unit", "large"] {
        vm.unregister(name);
    }
    drop(handles);
    let start = processor_time();
    measured(&mut vm, &|vm| vm.collect_once().expect("it collects"));
    let time = processor_time() - start;
    assert!(vm.units().is_empty(), "they have been freed");
    (vm, time)
}

/// The processor time of this thread, which is independent of other load.
fn processor_time() -> Duration {
    ClockId::CLOCK_THREAD_CPUTIME_ID.now().expect("a clock").into()
}

/// Keeps calling until the dropped units are freed, and returns by how much the longest call exceeds the median.
fn longest_call(mut vm: Vm, units: usize) -> (Vm, Duration) {
    let mut handles: Vec<_> =
        (0..units).map(|_| vm.load_bytes("unit.cmo", UNIT).expect("it loads")).collect();
    vm.collect_once().expect("it collects");
    vm.unregister("unit");
    handles.clear();
    let mut times = Vec::new();
    while !vm.units().is_empty() || times.len() < 1000 {
        let start = processor_time();
        call(&mut vm, "keep", 10);
        times.push(processor_time() - start);
    }
    times.sort_unstable();
    (vm, times[times.len() - 1] - times[times.len() / 2])
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<usize>().expect("a number");
    let strategy = |how: &str| match how {
        "static" | "carry" => Strategy::Carry,
        "stub" => Strategy::Stub,
        _ => panic!("static, carry or stub, not {how}"),
    };
    let (vm, time) = match args[..] {
        ["call", how, function, size, units] => {
            let build = if how == "static" { machine } else { machine_with_plugin };
            let mut vm = build(strategy(how));
            let others: Vec<_> =
                (0..number(units)).map(|_| vm.load_bytes("unit.cmo", UNIT).expect("it loads")).collect();
            let size = number(size) as i64;
            // Call once before, so that the stack has grown and the code is translated. Then no collector slice is
            // due.
            call(&mut vm, function, size);
            vm.collect_once().expect("it collects");
            let start = processor_time();
            measured(&mut vm, &|vm| _ = call(vm, function, size));
            let time = processor_time() - start;
            drop(others);
            (vm, time)
        }
        ["free", how, functions] => {
            let unit = (number(functions) > 0).then(|| large_unit(number(functions)));
            free(machine(strategy(how)), unit.iter().map(Vec::as_slice))
        }
        ["frees", how, units] => free(machine(strategy(how)), std::iter::repeat_n(UNIT, number(units))),
        ["slices", how, units] => longest_call(machine(strategy(how)), number(units)),
        _ => panic!("the arguments are described at the top of counts.rs"),
    };
    println!("{:.1} µs, {} units alive", time.as_secs_f64() * 1e6, vm.units().len());
}
