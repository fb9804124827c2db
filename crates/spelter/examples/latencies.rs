//! Measures how long an interrupt takes to stop a long-running primitive: the table in docs/performance.md.
//!
//! `latencies MB TIMES [NAME…]` runs each operation of `tests/fixtures/interrupts/long.ml` (or those whose names
//! contain one of the given words) on MB megabytes: first to its end, then interrupted TIMES times, at moments spread
//! over its duration. A latency is the time from just before the interrupt is requested until the call has returned
//! to the host. It is wall-clock time, so other load on the machine counts, too; the load is printed.

use std::error::Error;
use std::io::Write;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use spelter::{InterruptHandle, Vm, World};

type Done<T> = Result<T, Box<dyn Error>>;

/// Operations that take longer are abandoned.
const LONGEST: Duration = Duration::from_secs(4);
/// The guaranteed latency.
const PROMISED: Duration = Duration::from_millis(10);

fn main() -> Done<()> {
    let mut args = std::env::args().skip(1);
    let megabytes: i64 = args.next().map_or(Ok(256), |n| n.parse())?;
    let times: u32 = args.next().map_or(Ok(8), |n| n.parse())?;
    let wanted: Vec<String> = args.collect();
    let mut out = std::io::stdout();
    writeln!(out, "{megabytes} MB, {times} times; load {}", load())?;
    writeln!(
        out,
        "| operation | alone, ms | interrupted | median, ms | longest, ms |\n|---|---:|---:|---:|---:|"
    )?;
    let mut names: Vec<String> = Guest::new()?.vm.call("names", ((),))?;
    names.retain(|name| wanted.is_empty() || wanted.iter().any(|word| name.contains(word)));
    names.sort();
    let mut late = 0;
    for name in &names {
        let (alone, mut latencies) = measure(name, megabytes, times)?;
        latencies.sort();
        let ms = |d: Option<&Duration>| d.map_or("-".into(), |d| format!("{:.2}", d.as_secs_f64() * 1000.0));
        let longest = latencies.last();
        late += usize::from(longest.is_some_and(|d| *d > PROMISED));
        let (count, median) = (latencies.len(), latencies.get(latencies.len() / 2));
        writeln!(out, "| {name} | {} | {count} | {} | {} |", ms(Some(&alone)), ms(median), ms(longest))?;
    }
    writeln!(out, "{late} of {} took longer than {PROMISED:?} at worst; load {}", names.len(), load())?;
    Ok(())
}

/// The system's load averages.
fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned()
}

/// Measures how long an operation takes uninterrupted, and how long after each interrupt it ends.
fn measure(name: &str, megabytes: i64, times: u32) -> Done<(Duration, Vec<Duration>)> {
    let mut guest = Guest::new()?;
    guest.vm.call::<()>("size", (megabytes << 17,))?;
    let (alone, _) = guest.run(name, LONGEST)?;
    let mut latencies = Vec::new();
    for i in 0..times {
        let at = alone * (2 * i + 1) / (2 * times);
        let (_, latency) = guest.run(name, at)?;
        latencies.extend(latency);
    }
    Ok((alone, latencies))
}

/// A machine with the program.
struct Guest {
    vm: Vm,
    /// Receives the time at which the operation begins.
    begins: Receiver<Instant>,
}

impl Guest {
    fn new() -> Done<Guest> {
        let (sender, begins): (Sender<Instant>, _) = channel();
        let begin = move |()| sender.send(Instant::now()).expect("the guest receives");
        let mut vm = Vm::builder().world(World::process()).primitive("interrupts_interrupt", begin).build();
        vm.run_bytes("long.byte", include_bytes!("../tests/fixtures/interrupts/long.byte"))?;
        Ok(Guest { vm, begins })
    }

    /// Runs an operation, interrupts it after a while, and returns how long it took, and how long after the interrupt
    /// it ended, if it had not ended before.
    fn run(&mut self, name: &str, after: Duration) -> Done<(Duration, Option<Duration>)> {
        self.vm.call::<()>("prepare", (name,))?;
        let handle: InterruptHandle = self.vm.interrupt_handle();
        let Guest { vm, begins } = self;
        let (ended, watch) = channel::<()>();
        std::thread::scope(|s| {
            let watchdog = s.spawn(move || {
                let begun = begins.recv().expect("the operation begins");
                // Wait until it ends by itself, or it is time to interrupt.
                let _ = watch.recv_timeout((begun + after).saturating_duration_since(Instant::now()));
                let asked = Instant::now();
                (begun, handle.interrupt().then_some(asked))
            });
            let outcome = vm.call::<()>("go", ((),));
            let end = Instant::now();
            drop(ended);
            let (begun, asked) = watchdog.join().expect("the watchdog does not panic");
            let stopped = match outcome {
                Ok(()) => None,
                Err(spelter::Error::Interrupted) => asked,
                Err(e) => return Err(format!("{name}: {e}").into()),
            };
            Ok((end - begun, stopped.map(|asked| end - asked)))
        })
    }
}
