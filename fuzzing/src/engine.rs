//! Engines, and machines that cannot affect the outside world.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use spelter::{Dispatch, Error, HeapConfig, HeapMode, Raise, Strategy, Value, Vm, VmBuilder};

use crate::source::Source;

/// A way of running a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Engine {
    /// How instructions are dispatched.
    pub dispatch: Dispatch,
    /// How loaded code is patched.
    pub strategy: Strategy,
    /// How the heap collects.
    pub heap: HeapMode,
}

impl Engine {
    /// One of the engines.
    pub(crate) fn of(source: &mut Source<'_>) -> Engine {
        Engine {
            dispatch: source.of(&[Dispatch::Tail, Dispatch::Loop]),
            strategy: source.of(&[Strategy::Stub, Strategy::Carry]),
            heap: source.of(&[HeapMode::Plain, HeapMode::Plain, HeapMode::Torture]),
        }
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Engine> {
        let dispatches = [Dispatch::Tail, Dispatch::Loop].into_iter();
        dispatches.flat_map(|dispatch| {
            [Strategy::Stub, Strategy::Carry].into_iter().flat_map(move |strategy| {
                [HeapMode::Plain, HeapMode::Torture].map(|heap| Engine { dispatch, strategy, heap })
            })
        })
    }

    /// The same engine with the other dispatch.
    pub(crate) fn other_dispatch(self) -> Engine {
        let dispatch = match self.dispatch {
            Dispatch::Loop => Dispatch::Tail,
            _ => Dispatch::Loop,
        };
        Engine { dispatch, ..self }
    }

    /// The same engine with the other strategy and another heap.
    pub(crate) fn other_memory(self) -> Engine {
        let strategy = match self.strategy {
            Strategy::Stub => Strategy::Carry,
            _ => Strategy::Stub,
        };
        let heap = match self.heap {
            HeapMode::Plain => HeapMode::Torture,
            _ => HeapMode::Plain,
        };
        Engine { strategy, heap, ..self }
    }
}

/// The guest's memory limits.
const HEAP_WORDS: usize = 1 << 20;
const STACK_WORDS: usize = 1 << 12;
/// The number of function calls and loop iterations after which a program ends itself.
const FUEL: u32 = 600;

/// A builder of checked machines.
pub(crate) fn checked() -> VmBuilder {
    Vm::builder()
}

/// The notes that a machine sent to its host.
#[derive(Clone, Default)]
pub(crate) struct Notes {
    notes: Arc<Mutex<Vec<i64>>>,
    fuel: Arc<AtomicU32>,
    kept: Arc<Mutex<Option<Value>>>,
}

/// The maximum number of notes to compare.
const NOTES: usize = 2000;

impl Notes {
    /// All notes so far.
    pub(crate) fn all(&self) -> Vec<i64> {
        locked(&self.notes).clone()
    }

    /// Lets the guest take any number of steps: others limit it.
    pub(crate) fn unlimit(&self) {
        self.fuel.store(u32::MAX, Ordering::Relaxed);
    }

    /// Resets the guest's step limit.
    pub(crate) fn refuel(&self) {
        self.fuel.store(FUEL, Ordering::Relaxed);
    }
}

/// A machine with the functions of the host that generated code calls.
pub(crate) fn machine(engine: Engine) -> (Vm, Notes) {
    let heap = HeapConfig {
        nursery_words: 1 << 12,
        max_words: Some(HEAP_WORDS),
        mode: engine.heap,
        torture_period: 40,
        ..HeapConfig::default()
    };
    let builder = checked()
        .dispatch(engine.dispatch)
        .strategy(engine.strategy)
        .heap(heap)
        .args(["program"])
        .stack_limit_words(STACK_WORDS)
        .thread_limit(2);
    let notes = Notes::default();
    notes.refuel();
    (add_host_functions(builder, &notes).build(), notes)
}

fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn add_host_functions(builder: VmBuilder, notes: &Notes) -> VmBuilder {
    let (list, fuel, kept) = (notes.notes.clone(), notes.fuel.clone(), notes.kept.clone());
    builder
        .primitive("fuzz_note", move |n: i64| {
            let mut list = locked(&list);
            if list.len() < NOTES {
                list.push(n);
            }
            n
        })
        .primitive("fuzz_fuel", move |_: i64| {
            let left = fuel.load(Ordering::Relaxed);
            fuel.store(left.saturating_sub(1), Ordering::Relaxed);
            left > 0
        })
        .primitive("fuzz_same", |v: Value| v)
        .primitive("fuzz_swap", move |v: Value| locked(&kept).replace(v))
        .primitive("fuzz_sum", |list: Vec<i64>| list.iter().fold(0i64, |sum, n| sum.wrapping_add(*n)))
        .primitive_in_context("fuzz_apply", 2, |cx, args| cx.call(args[0], &[args[1]]))
        .primitive_in_context("fuzz_apply_twice", 2, |cx, args| {
            let once = cx.scope([args[0], args[1]], |cx, [f, v]| {
                let result = cx.call(f, &[v])?;
                Ok::<Value, Raise>(cx.keep(result))
            })?;
            let once = cx.kept(&once);
            cx.call(args[0], &[once])
        })
        .primitive_in_context("fuzz_field", 2, |cx, args| {
            let i: i64 = cx.read(args[1])?;
            Ok(cx.field(args[0], i as usize)?)
        })
        .primitive_in_context("fuzz_set_field", 3, |cx, args| {
            let i: i64 = cx.read(args[1])?;
            cx.set_field(args[0], i as usize, args[2])?;
            Ok(cx.unit())
        })
        .primitive("fuzz_int", |n: i64| n)
        .primitive("fuzz_float", |x: f64| x.to_bits() as i64 & 0xFFFF)
        .primitive("fuzz_string", |s: String| s.len() as i64)
        .primitive("fuzz_option", |o: Option<i64>| o.unwrap_or(-1))
        .primitive("fuzz_pair", |(a, b): (i64, bool)| if b { a } else { -a })
        .primitive("fuzz_list", |n: i64| (0..n.clamp(0, 50)).collect::<Vec<i64>>())
        .primitive("fuzz_fail", |n: i64| if n == 0 { Ok(n) } else { Err("the host says no") })
}

/// The result of a run, for comparison.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// A result on which every engine must agree.
    Told(String),
    /// A limit was hit, which differs between engines.
    Limit(String),
}

/// The result of a run.
pub(crate) fn end_of<T: std::fmt::Debug>(result: &Result<T, Error>) -> End {
    // The hosts of this crate do not panic, so the runtime did.
    if let Err(Error::Panic { .. }) = result {
        panic!("{result:?}");
    }
    let text = match result {
        Ok(outcome) => format!("{outcome:?}"),
        Err(error) => format!("{error}"),
    };
    let limits = ["Out_of_memory", "Out of memory", "Stack_overflow", "Stack overflow", "interrupted"];
    match limits.iter().any(|limit| text.contains(limit)) {
        true => End::Limit(text),
        false => End::Told(text),
    }
}
