//! Generated programs on several engines, which must agree.

use spelter::{Dispatch, HeapMode, Strategy, Value, Vm};
use spelter_bytecode::Executable;
use spelter_bytecode::disasm::{Listing, ProgramNames};
use spelter_bytecode::marshal::{Graph, Item, Node, NodeId};

use crate::engine::{End, Engine, end_of, machine};
use crate::generate::program;
use crate::source::Source;
use crate::watchdog::Watch;

/// The observations of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Seen {
    end: End,
    after: Vec<String>,
    notes: Vec<i64>,
}

/// Runs a program, calls the functions that it registered, and collects garbage. Returns None if it hit a limit. The
/// machine stays alive, so that the next one has different addresses.
fn observe(program: &[u8], engine: Engine) -> (Option<Seen>, Vm) {
    let (mut vm, notes) = machine(engine);
    let watch = Watch::new(&vm);
    let end = end_of(&vm.run_bytes("program", program));
    let mut after = Vec::new();
    let mut limited = matches!(end, End::Limit(_));
    for name in ["a", "b"] {
        notes.refuel();
        watch.next(&vm);
        let result = vm.call::<Value>(name, (1, 2));
        let told = match end_of(&result.map(drop)) {
            End::Told(text) => text,
            End::Limit(text) => {
                limited = true;
                text
            }
        };
        after.push(told);
    }
    notes.refuel();
    watch.next(&vm);
    let collected = vm.collect();
    limited |= collected.is_err();
    notes.refuel();
    watch.next(&vm);
    let _ = vm.compact();
    let limited = limited || watch.has_fired();
    ((!limited).then(|| Seen { end, after, notes: notes.all() }), vm)
}

/// Runs the encoded program on one engine, on one with the other dispatch, and on one with another heap.
pub(crate) fn run(bytes: &[u8]) {
    let mut source = Source::of_bytes(bytes);
    let engine = Engine::of(&mut source);
    let program = program(&mut source);
    let (Some(seen), _alive) = observe(&program.bytes, engine) else { return };
    // If a leak is known but not yet fixed, this still looks for crashes.
    if std::env::var_os("SPELTER_FUZZING_CRASHES_ONLY").is_some() {
        return;
    }
    if let (Some(other), _) = observe(&program.bytes, engine.other_dispatch()) {
        assert_eq!(seen, other, "{engine:?} and its other dispatch do not agree");
    }
    if !program.volatile
        && let (Some(other), _) = observe(&program.bytes, engine.other_memory())
    {
        assert_eq!(seen, other, "{engine:?} and one with other memory do not agree");
    }
}

/// Runs a program on every engine. Engines that differ only in dispatch must agree, and each with itself at different
/// addresses; all engines must agree if the program's behaviour does not depend on when the collector runs.
pub(crate) fn run_everywhere(program: &[u8], all_agree: bool) {
    let mut alive = Vec::new();
    let mut first: Option<Seen> = None;
    for strategy in [Strategy::Stub, Strategy::Carry] {
        for heap in [HeapMode::Plain, HeapMode::Torture] {
            let one = Engine { dispatch: Dispatch::Tail, strategy, heap };
            let mut last: Option<Seen> = None;
            for engine in [one, one.other_dispatch(), one] {
                let (seen, vm) = observe(program, engine);
                alive.push(vm);
                let Some(seen) = seen else { continue };
                if let Some(last) = &last {
                    assert_eq!(*last, seen, "{engine:?} does not agree with the one before");
                }
                if let (true, Some(first)) = (all_agree, &first) {
                    assert_eq!(*first, seen, "{engine:?} does not agree with the first one");
                }
                first.get_or_insert_with(|| seen.clone());
                last = Some(seen);
            }
        }
    }
}

/// The engine and the program encoded by the bytes.
pub(crate) fn show(bytes: &[u8]) -> String {
    let mut source = Source::of_bytes(bytes);
    let engine = Engine::of(&mut source);
    let program = program(&mut source);
    let exe = Executable::read(&program.bytes).expect("it was just made");
    let names = ProgramNames::new(&exe).expect("it has names");
    let code = exe.code().expect("it has code");
    let listing = Listing::new(&code, exe.dialect().opcodes, &names).to_string();
    let (graph, _) = Graph::decode(exe.data()).expect("it has data");
    let Item::Obj(root) = graph.root() else { return listing };
    let Node::Block { fields, .. } = graph.node(root) else { return listing };
    let global = |(i, item): (usize, &Item<NodeId>)| match item {
        Item::Obj(id) => format!("global {i}: {:?}\n", graph.node(*id)),
        item => format!("global {i}: {item:?}\n"),
    };
    let globals: String = fields.iter().enumerate().skip(12).map(global).collect();
    format!("{engine:?}\n{listing}\n{globals}")
}

/// A short description of how the encoded program ended, and how many notes it sent before.
pub(crate) fn ending(bytes: &[u8]) -> (String, usize) {
    let mut source = Source::of_bytes(bytes);
    let engine = Engine::of(&mut source);
    let program = program(&mut source);
    let (mut vm, notes) = machine(engine);
    let _watch = Watch::new(&vm);
    let (End::Told(told) | End::Limit(told)) = end_of(&vm.run_bytes("program", &program.bytes));
    let text = told.split(|c: char| c == '(' || c.is_ascii_digit()).next().unwrap_or_default();
    let why = told.starts_with("checked").then(|| why_stopped(&told));
    (why.unwrap_or_else(|| text.to_owned()), notes.all().len())
}

fn why_stopped(text: &str) -> String {
    let why = text.rsplit(": ").next().unwrap_or_default();
    let why = why.split(|c: char| c.is_ascii_digit()).next().unwrap_or_default();
    format!("stopped: {why}")
}
