//! Calls from a host to its guest and back, without work of their own: processor time of each, less that of the loop.
//!
//! ```sh
//! cargo run --release -p spelter-benches --example host_calls
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect='*host_calls::measured*' \
//!     target/release/examples/host_calls add 1000
//! ```
//!
//! With arguments, only that many calls of this kind are made, so that callgrind counts their instructions.

use std::cell::Cell;
use std::hint::black_box;

use nix::time::{ClockId, clock_gettime};
use spelter::{Context, Host, Value, Vm};

const PROGRAM: &[u8] = include_bytes!("fixtures/host_calls.byte");
/// Each is a kind of calls: its name, and what is measured.
const KINDS: [(&str, &str); 8] = [
    ("loop", "the loop itself, which calls a function of the guest"),
    ("add", "a host function of two integers"),
    ("count", "one that changes what it captures"),
    ("length", "one of a text of 12 bytes"),
    ("look", "one of a value of the host"),
    ("back", "one that calls back"),
    ("value", "a function of the guest, called by the host by its value"),
    ("name", "the same by its name"),
];

struct Looked(Cell<i64>);

fn machine(trusted: bool) -> Vm {
    let mut calls = 0;
    let count = move |n: i64| {
        calls += 1;
        n + calls
    };
    let builder = Vm::builder()
        .primitive("bench_add", |a: i64, b: i64| a + b)
        .primitive_mut("bench_count", count)
        .primitive("bench_length", |text: &str| text.len())
        .primitive("bench_look", |looked: &Host<Looked>| looked.0.get())
        .primitive("bench_create", || Host::new(Looked(Cell::new(1))))
        .primitive("bench_back", |cx: &mut Context<'_>, f: Value, n: i64| cx.call_value::<i64>(&f, (n,)));
    // SAFETY: `ocamlc` compiled the program, and it is called with values of its types.
    let builder = if trusted { unsafe { builder.trusted() } } else { builder };
    let mut vm = builder.build();
    vm.run_bytes("host_calls.byte", PROGRAM).expect("the program runs");
    vm
}

/// Makes `n` calls.
#[inline(never)]
fn measured(vm: &mut Vm, kind: &str, nothing: &Value, n: i64) {
    match kind {
        "value" => {
            (0..n).for_each(|i| _ = black_box(vm.call_value::<i64>(nothing, (i,)).expect("it returns")))
        }
        "name" => (0..n).for_each(|i| _ = black_box(vm.call::<i64>("nothing", (i,)).expect("it returns"))),
        kind => _ = black_box(vm.call::<i64>(kind, (n,)).expect("it returns")),
    }
}

fn now() -> f64 {
    let time = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("the clock");
    time.tv_sec() as f64 * 1e9 + time.tv_nsec() as f64
}

/// The least time of a call, in ns.
fn time(vm: &mut Vm, kind: &str, nothing: &Value) -> f64 {
    const CALLS: i64 = 100_000;
    let run = |_| {
        let start = now();
        measured(vm, kind, nothing, CALLS);
        (now() - start) / CALLS as f64
    };
    (0..20).map(run).fold(f64::INFINITY, f64::min)
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [kind, n] = args.as_slice() {
        let mut vm = machine(false);
        let nothing: Value = vm.value("nothing").expect("it is registered");
        measured(&mut vm, kind, &nothing, n.parse().expect("a number"));
        return;
    }
    for trusted in [false, true] {
        let mut vm = machine(trusted);
        let nothing: Value = vm.value("nothing").expect("it is registered");
        let empty = time(&mut vm, "loop", &nothing);
        println!("{}, ns of a call:", if trusted { "trusted" } else { "checked" });
        for (kind, what) in KINDS {
            let own_loop = matches!(kind, "loop" | "value" | "name");
            let ns = time(&mut vm, kind, &nothing) - if own_loop { 0.0 } else { empty };
            println!("{kind:8} {ns:6.1}  {what}");
        }
    }
}
