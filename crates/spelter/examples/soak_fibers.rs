//! Loads, suspends and drops units that handle effects; `cargo xtask soak` runs this to check that memory stays flat.
//!
//! `soak_fibers N STEP` runs N cycles and prints, after each STEP of them and a compaction, the cycles so far and the
//! resident memory in kB.
//! Each cycle loads one unit and suspends one of its functions: with a small stack or a large one, below two handlers
//! that hand the effect on, in a `try`, after a callback with an effect of its own. The continuation is dropped,
//! resumed, discontinued, kept for a while, or resumed after its unit has been revoked. At the end every table of the
//! ledger must be as large as it was at the start, fibers included.

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use spelter::{Unit, Value, Vm};

macro_rules! fixture {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../tests/fixtures/soak/", $name)).as_slice())
    };
}

type Done = Result<(), Box<dyn Error>>;
type Things = Arc<Mutex<BTreeMap<String, Value>>>;

/// The functions of the unit that are suspended, with their argument.
const WAYS: [(&str, i64); 5] = [("simple", 3), ("deep", 2000), ("nested", 4), ("caught", 5), ("called", 6)];
/// What is done with the continuations, for each of these.
const KINDS: u64 = 5 * WAYS.len() as u64;
/// How many continuations are kept at a time.
const KEPT: usize = 40;

struct Host {
    vm: Vm,
    things: Things,
    resume: Value,
    discontinue: Value,
    kept: VecDeque<Value>,
}

fn main() -> Done {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>());
    let cycles = args.next().unwrap_or(Ok(10_000))?;
    let step = args.next().unwrap_or(Ok(1_000))?.max(1);
    let mut host = Host::new()?;
    // Each kind once: the first stack becomes a fiber and stays one, and the exception for revoked units is registered.
    for i in 0..KINDS {
        host.cycle(i)?;
    }
    host.kept.clear();
    host.vm.collect()?;
    let before = host.vm.ledger();
    for i in 1..=cycles {
        host.cycle(i)?;
        if i % step == 0 {
            host.vm.compact()?;
            let fibers = host.vm.stats().fibers;
            // The longest chain has three.
            if fibers > 1 + 3 * KEPT as u64 {
                return Err(format!("{fibers} fibers after {i} cycles").into());
            }
            writeln!(std::io::stdout(), "{i} {}", resident_kb()?)?;
        }
    }
    host.kept.clear();
    host.vm.collect()?;
    let after = host.vm.ledger();
    let grown: Vec<_> = after.differences(&before).collect();
    if grown.is_empty() { Ok(()) } else { Err(format!("tables differ from before: {grown:?}").into()) }
}

fn take(things: &Things, name: &str) -> Result<Value, Box<dyn Error>> {
    things
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .remove(name)
        .ok_or_else(|| format!("nobody kept {name}").into())
}

impl Host {
    fn new() -> Result<Host, Box<dyn Error>> {
        let things = Things::default();
        let kept = Arc::clone(&things);
        let mut vm = Vm::builder()
            .backtrace(true)
            .primitive_in_context("host_keep", 2, move |cx, args| {
                let name = cx.read::<String>(args[0])?;
                let value = cx.keep(args[1]);
                kept.lock().unwrap_or_else(PoisonError::into_inner).insert(name, value);
                Ok(cx.unit())
            })
            .primitive_in_context("host_call", 1, |cx, args| {
                let unit = cx.unit();
                cx.call(args[0], &[unit])
            })
            .build();
        let (name, bytes) = fixture!("resume.cmo");
        vm.load_bytes(name, bytes)?;
        let (resume, discontinue) = (take(&things, "resume")?, take(&things, "discontinue")?);
        Ok(Host { vm, things, resume, discontinue, kept: VecDeque::new() })
    }

    fn cycle(&mut self, i: u64) -> Done {
        let (name, bytes) = fixture!("fibers.cmo");
        let unit = self.vm.load_bytes(name, bytes)?;
        let ways = WAYS.len() as u64;
        let (way, n) = WAYS[(i % ways) as usize];
        let start = take(&self.things, way)?;
        let suspended: i64 = self.vm.call_value(&start, (n,))?;
        let cont = take(&self.things, "continuation")?;
        let stop = take(&self.things, "discontinued")?;
        self.things.lock().unwrap_or_else(PoisonError::into_inner).clear();
        if suspended != 0 {
            return Err(format!("{way} was not suspended, but said {suspended}").into());
        }
        match i / ways % 5 {
            0 => drop(cont),
            1 => self.resumed(way, n, &cont)?,
            2 => self.discontinued(way, &cont, &stop)?,
            3 => self.keep(cont),
            _ => self.revoked(way, unit, &cont)?,
        }
        Ok(())
    }

    fn resumed(&mut self, way: &str, n: i64, cont: &Value) -> Done {
        let result: i64 = self.vm.call_value(&self.resume, (cont, 10))?;
        // The callback of `called` was suspended, too, and returned 0.
        let expected = if way == "called" { 10 } else { n + 10 + i64::from(way == "nested") };
        if result == expected { Ok(()) } else { Err(format!("{way} said {result}").into()) }
    }

    fn discontinued(&mut self, way: &str, cont: &Value, stop: &Value) -> Done {
        match (way, self.vm.call_value::<i64>(&self.discontinue, (cont, stop))) {
            ("caught", Ok(5)) => Ok(()),
            (_, Err(spelter::Error::Uncaught { .. })) if way != "caught" => Ok(()),
            (_, other) => Err(format!("{way} was discontinued with {other:?}").into()),
        }
    }

    fn keep(&mut self, cont: Value) {
        self.kept.push_back(cont);
        if self.kept.len() > KEPT {
            self.kept.pop_front();
        }
    }

    fn revoked(&mut self, way: &str, unit: Unit, cont: &Value) -> Done {
        self.vm.revoke(unit)?;
        match self.vm.call_value::<i64>(&self.resume, (cont, 10)) {
            Err(error) if error.to_string().contains("Revoked") => Ok(()),
            other => Err(format!("{way} of a revoked unit ended in {other:?}").into()),
        }
    }
}

/// Resident memory, from the second number of `/proc/self/statm`, in pages of 4 kB.
fn resident_kb() -> Result<u64, Box<dyn Error>> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages = statm.split_whitespace().nth(1).ok_or("no second number in /proc/self/statm")?;
    Ok(4 * pages.parse::<u64>()?)
}
