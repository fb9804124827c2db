//! Spelter beside other languages that a Rust program can embed.
//!
//!     cargo run --release --manifest-path benches/peers/Cargo.toml [ROUNDS]
//!
//! Each measure is taken of each runtime in turn, so that other load on the machine affects all. Times are processor times,
//! the least of all rounds and the median. Memory is what a process with a thousand idle instances has more than one
//! without, divided by a thousand. With `--json`, the results are for `cargo xtask bench --peers`.
#![forbid(unsafe_code)]

mod guests;

use std::hint::black_box;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use guests::{Guest, Lua, Piccolo, Rhai, Spelter, Wasm};
use nix::time::ClockId;
use serde_json::json;

/// How many instances a process has to measure their memory.
const INSTANCES: usize = 1_000;

/// What is measured: a name, how many are timed together, the unit, and its nanoseconds.
const MEASURES: [(&str, i64, &str, f64); 5] = [
    ("first instance", 20, "µs", 1e3),
    ("another instance", 200, "µs", 1e3),
    ("call of the guest", 20_000, "ns", 1.0),
    ("call of the host", 200_000, "ns", 1.0),
    ("fib 27", 1, "ms", 1e6),
];

/// One runtime: its name, and what runs each measure so many times.
struct Peer {
    name: &'static str,
    runs: [Box<dyn FnMut(i64) -> Result<()>>; MEASURES.len()],
    /// Makes idle instances, and returns by how many bytes the process has grown.
    memory: fn() -> Result<usize>,
}

fn peer<G: Guest>() -> Result<Peer> {
    let shared = G::share()?;
    let mut callee = G::instance(&shared)?;
    let mut caller = G::instance(&shared)?;
    let mut fib = G::instance(&shared)?;
    Ok(Peer {
        name: G::NAME,
        runs: [
            Box::new(|n| (0..n).try_for_each(|_| G::instance(&G::share()?).map(|it| drop(black_box(it))))),
            Box::new(move |n| (0..n).try_for_each(|_| G::instance(&shared).map(|it| drop(black_box(it))))),
            Box::new(move |n| (0..n).try_for_each(|i| check(callee.add(i, 1)?, i + 1))),
            Box::new(move |n| check(caller.rounds(n)?, n)),
            Box::new(move |n| (0..n).try_for_each(|_| check(fib.fib(27)?, 196_418))),
        ],
        memory: memory::<G>,
    })
}

fn check(found: i64, expected: i64) -> Result<()> {
    ensure!(found == expected, "{found} instead of {expected}");
    Ok(())
}

fn peers() -> Result<Vec<Peer>> {
    Ok(vec![peer::<Spelter>()?, peer::<Lua>()?, peer::<Wasm>()?, peer::<Rhai>()?, peer::<Piccolo>()?])
}

/// The processor time of `f`.
fn time(f: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let now = || ClockId::CLOCK_THREAD_CPUTIME_ID.now().map(Duration::from);
    let start = now()?;
    f()?;
    Ok(now()? - start)
}

/// The bytes of a process that are in memory.
fn resident() -> Result<usize> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages: usize = text.split_whitespace().nth(1).context("statm")?.parse()?;
    Ok(pages * 4096)
}

fn memory<G: Guest>() -> Result<usize> {
    let shared = G::share()?;
    let first = G::instance(&shared)?; // what only the first one needs
    let before = resident()?;
    let mut all = Vec::with_capacity(INSTANCES);
    for _ in 0..INSTANCES {
        let mut guest = G::instance(&shared)?;
        check(guest.add(1, 1)?, 2)?;
        all.push(guest);
    }
    let grown = resident()?.saturating_sub(before);
    drop((first, all));
    Ok(grown)
}

/// The results of one runtime: the least and the median time of each measure, and the bytes of an instance.
struct Row {
    name: &'static str,
    times: Vec<(f64, f64)>,
    bytes: usize,
}

fn rows(rounds: usize) -> Result<Vec<Row>> {
    let mut peers = peers()?;
    let mut rows: Vec<Row> =
        peers.iter().map(|peer| Row { name: peer.name, times: Vec::new(), bytes: 0 }).collect();
    for (which, (_, count, _, scale)) in MEASURES.iter().enumerate() {
        let mut times = vec![Vec::new(); peers.len()];
        for _ in 0..rounds {
            for (peer, times) in peers.iter_mut().zip(&mut times) {
                let taken = time(|| peer.runs[which](*count)).with_context(|| peer.name)?;
                times.push(taken.as_nanos() as f64 / *count as f64 / scale);
            }
        }
        for (row, times) in rows.iter_mut().zip(&mut times) {
            times.sort_by(f64::total_cmp);
            row.times.push((times[0], times[times.len() / 2]));
        }
    }
    for row in &mut rows {
        row.bytes = in_a_process_of_its_own(row.name)?;
    }
    Ok(rows)
}

fn in_a_process_of_its_own(name: &str) -> Result<usize> {
    let out = Command::new(std::env::current_exe()?).args(["--memory", name]).output()?;
    ensure!(out.status.success(), "{name}: {}", String::from_utf8_lossy(&out.stderr));
    let grown: usize = String::from_utf8(out.stdout)?.trim().parse()?;
    Ok(grown / INSTANCES)
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--memory", name] => {
            let found = peers()?.into_iter().find(|peer| peer.name == name);
            println!("{}", (found.context("no such runtime")?.memory)()?);
        }
        [] => print(&rows(15)?),
        ["--json"] => print_json(&rows(15)?),
        [rounds] => print(&rows(rounds.parse::<usize>()?.max(1))?),
        ["--json", rounds] => print_json(&rows(rounds.parse::<usize>()?.max(1))?),
        _ => bail!("usage: spelter-peers [--json] [ROUNDS]"),
    }
    Ok(())
}

fn print(rows: &[Row]) {
    print!("{:<20}", "");
    for (name, _, unit, _) in MEASURES {
        print!(" {:>24}", format!("{name}, {unit}"));
    }
    println!(" {:>20}", "idle instance, kB");
    for row in rows {
        print!("{:<20}", row.name);
        for (least, median) in &row.times {
            print!(" {:>24}", format!("{least:.2} ({median:.2})"));
        }
        println!(" {:>20.1}", row.bytes as f64 / 1024.0);
    }
}

fn print_json(rows: &[Row]) {
    let rows: Vec<_> =
        rows.iter().map(|row| json!({ "name": row.name, "times": row.times, "bytes": row.bytes })).collect();
    let measures: Vec<_> = MEASURES.iter().map(|(name, _, unit, _)| json!([name, unit])).collect();
    println!("{}", json!({ "measures": measures, "rows": rows }));
}
