//! The guarantee of the checked grade: any bytes are refused or run within limits.
//!
//! Mutants of compiled programs and units, most of which the verifier accepts, run with a limit on their memory and
//! time; a crash or a panic fails the test. `SPELTER_MUTANTS=FIRST..LAST` runs seeds other than the usual ones, and
//! prints each, to identify a crash.

use std::ops::Range;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use spelter::{Context, Dispatch, Error, HeapConfig, HeapMode, InterruptHandle, Local, Raise, Strategy, Vm};
use spelter_bytecode::code::bytes_of_words;
use spelter_bytecode::obj::{CompilationUnit, Constant, Reloc};
use spelter_bytecode::opcode::{OpcodeSet, OperandKind};
use spelter_bytecode::{Executable, Instructions, Opcode, Opcode::*};
use spelter_interp::LoadError;

use crate::{fixture, raw};

/// The limits of a mutant.
const TIME: Duration = Duration::from_millis(30);
const HEAP_WORDS: usize = 1 << 21;
const STACK_WORDS: usize = 1 << 15;

macro_rules! corpus {
    ($($name:literal),*) => {
        [$(($name, include_bytes!(concat!("../../../../xtask/fixtures/", $name)).as_slice())),*]
    };
}

/// Programs that together contain most instructions and many primitives.
fn programs() -> Vec<(&'static str, &'static [u8])> {
    corpus![
        "closures/tail_calls.byte",
        "closures/currying.byte",
        "closures/let_rec.byte",
        "exceptions/uncaught.byte",
        "exceptions/overflow.byte",
        "objects/dynamic.byte",
        "data/records.byte",
        "data/arrays.byte",
        "data/floatarray.byte",
        "match/switches.byte",
        "stdlib/obj.byte",
        "stdlib/compare.byte",
        "stdlib/callback.byte",
        "stdlib/marshal.byte",
        "stdlib/bigarray.byte",
        "stdlib/calculator.byte",
        "lazy/lazy.byte",
        "gc/weak.byte",
        "gc/gc.byte"
    ]
    .to_vec()
}

fn units() -> Vec<(&'static str, &'static [u8])> {
    let of_corpus = corpus![
        "dynlink/simple.cmo",
        "dynlink/let_rec.cmo",
        "dynlink/partial.cmo",
        "dynlink/exn.cmo",
        "dynlink/objects.cmo",
        "dynlink/recursive.cmo",
        "dynlink/retained.cmo",
        "dynlink/marshalled.cmo"
    ];
    let mut all = of_corpus.to_vec();
    all.extend([
        fixture!("greet.cmo"),
        fixture!("raises.cmo"),
        fixture!("calls.cmo"),
        fixture!("shapes.cmo"),
    ]);
    all
}

// ---- random choices ----------------------------------------------------------------------------------

/// SplitMix64: the same mutants everywhere.
struct Choices(u64);

impl Choices {
    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.word() % n.max(1) as u64) as usize
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// A number that is usually a boundary value.
    fn number(&mut self, near: i32) -> i32 {
        match self.below(8) {
            0 => near.wrapping_add(1),
            1 => near.wrapping_sub(1),
            2 => self.below(300) as i32,
            3 => self.of(&[i32::MIN, i32::MAX, -1, 255, 1 << 16]),
            4 => self.word() as i32,
            _ => self.below(8) as i32,
        }
    }
}

// ---- mutation ----------------------------------------------------------------------------------------

/// Groups of instructions with the same effect on the stack and on control, which the verifier does not distinguish.
fn siblings(op: Opcode) -> Vec<Opcode> {
    let of = op.facts();
    (0..=255)
        .filter_map(Opcode::from_word)
        .filter(|other| OpcodeSet::V4.contains(*other) && other.shape() == op.shape())
        .filter(|other| {
            let facts = other.facts();
            (facts.push_accu, facts.pops, facts.pushes, facts.flow)
                == (of.push_accu, of.pops, of.pushes, of.flow)
        })
        .collect()
}

/// Changes one word of the code, in a way that often leaves it well formed.
fn mutate_code(choices: &mut Choices, words: &mut [i32], prims: usize) {
    let starts: Vec<usize> =
        Instructions::new(words, OpcodeSet::V4).flatten().map(|instr| instr.pos).collect();
    // The program itself comes after the library, most of which never runs.
    let from = if choices.below(3) == 0 { 0 } else { starts.len() - starts.len() / 5 };
    let Some(pos) = starts.get(from + choices.below(starts.len() - from)).copied() else { return };
    let instr = spelter_bytecode::code::decode_at(words, pos, OpcodeSet::V4).expect("it was just decoded");
    let (op, operands) = (instr.op, instr.operands.len());
    if operands == 0 || choices.below(2) == 0 {
        words[pos] = choices.of(&siblings(op)).word();
        return;
    }
    let i = choices.below(operands);
    let kinds = op.operands();
    let kind = kinds[i.min(kinds.len() - 1)].kind;
    let old = words[pos + 1 + i];
    words[pos + 1 + i] = match kind {
        OperandKind::Prim => choices.below(prims) as i32,
        OperandKind::Offset | OperandKind::Offsets => {
            let near = starts.partition_point(|start| *start < pos);
            let target = choices.of(&starts[near.saturating_sub(20)..(near + 20).min(starts.len())]);
            let base = if kind == OperandKind::Offset { pos + 1 + i } else { pos + 1 + operands_before(op) };
            target as i32 - base as i32
        }
        _ => choices.number(old),
    };
}

/// The number of operands before an instruction's table, from which its offsets count.
fn operands_before(op: Opcode) -> usize {
    op.operands().len() - 1
}

fn mutate_program(choices: &mut Choices, bytes: &[u8], known: &[String]) -> Vec<u8> {
    let exe = Executable::read(bytes).expect("a fixture");
    let mut words = exe.code().expect("code");
    let mut prims = exe.prims().expect("primitives");
    let mut sections = exe.sections().to_vec();
    let section = |name: &[u8; 4]| sections.iter().position(|s| s.name == *name).expect("it is there");
    let (code, data, prim) = (section(b"CODE"), section(b"DATA"), section(b"PRIM"));
    for _ in 0..1 + choices.below(3) {
        match choices.below(8) {
            0 => {
                let data = &mut sections[data].data;
                let at = choices.below(data.len());
                data[at] = choices.number(data[at].into()) as u8;
            }
            1 => {
                let at = choices.below(prims.len());
                prims[at] = &known[choices.below(known.len())];
            }
            _ => mutate_code(choices, &mut words, prims.len()),
        }
    }
    sections[code].data = bytes_of_words(&words);
    sections[prim].data = prims.iter().flat_map(|p| p.bytes().chain([0])).collect();
    Executable::from_parts(exe.dialect(), Vec::new(), sections).expect("the same sections").write()
}

fn mutate_unit(choices: &mut Choices, bytes: &[u8], known: &[String]) -> Vec<u8> {
    let mut unit = CompilationUnit::read(bytes).expect("a fixture");
    let mut words = unit.words().expect("code");
    for _ in 0..1 + choices.below(3) {
        match choices.below(8) {
            0 if !unit.relocs.is_empty() => {
                let at = choices.below(unit.relocs.len());
                match choices.below(3) {
                    0 => unit.relocs[at].1 = 4 * choices.below(words.len()),
                    1 => unit.relocs[at].0 = Reloc::Primitive(known[choices.below(known.len())].clone()),
                    _ => {
                        let other = choices.below(unit.relocs.len());
                        unit.relocs[at].0 = unit.relocs[other].0.clone();
                    }
                }
            }
            1 => {
                let mut bytes = unit.write();
                let at = choices.below(bytes.len());
                bytes[at] = choices.number(bytes[at].into()) as u8;
                return bytes;
            }
            _ => mutate_code(choices, &mut words, 1),
        }
    }
    unit.code = bytes_of_words(&words);
    unit.write()
}

// ---- running -----------------------------------------------------------------------------------------

/// Stops machines that take too long.
struct Watchdog(mpsc::Sender<(Instant, InterruptHandle)>);

impl Watchdog {
    fn new() -> Watchdog {
        let (sender, receiver) = mpsc::channel::<(Instant, InterruptHandle)>();
        std::thread::spawn(move || {
            let mut watched: Option<(Instant, InterruptHandle)> = None;
            loop {
                let wait = watched.as_ref().map_or(Duration::from_secs(3600), |(until, _)| {
                    until.saturating_duration_since(Instant::now())
                });
                match receiver.recv_timeout(wait) {
                    Ok(next) => watched = Some(next),
                    Err(mpsc::RecvTimeoutError::Disconnected) => return,
                    Err(mpsc::RecvTimeoutError::Timeout) => {
                        if let Some((_, handle)) = watched.take() {
                            handle.interrupt();
                        }
                    }
                }
            }
        });
        Watchdog(sender)
    }

    /// Interrupts the next call when its time is over.
    fn watch(&self, vm: &Vm) {
        self.0.send((Instant::now() + TIME, vm.interrupt_handle())).expect("the watchdog lives");
    }
}

fn refuse<'c>(_: &mut Context<'c>, _: &[Local<'c>]) -> Result<Local<'c>, Raise> {
    Err(Raise::Sys(b"not in a test".to_vec()))
}

fn ignore<'c>(cx: &mut Context<'c>, _: &[Local<'c>]) -> Result<Local<'c>, Raise> {
    Ok(cx.unit())
}

/// Primitives that mutants may call although their names suggest that they affect the outside world.
const HARMLESS: [&str; 9] = [
    "caml_ml_open_descriptor_in",
    "caml_ml_open_descriptor_out",
    "caml_ml_out_channels_list",
    "caml_ml_string_length",
    "caml_ml_bytes_length",
    "caml_sys_argv",
    "caml_sys_get_config",
    "caml_sys_executable_name",
    "caml_sys_exit",
];

/// A checked machine whose primitives do not affect the outside world.
fn confined(choices: &mut Choices) -> Vm {
    let mode = if choices.below(40) == 0 { HeapMode::Torture } else { HeapMode::Plain };
    let heap =
        HeapConfig { nursery_words: 1 << 13, max_words: Some(HEAP_WORDS), mode, ..HeapConfig::default() };
    let names: Vec<String> = {
        let vm = Vm::builder().build();
        vm.primitive_names().into_iter().map(str::to_owned).collect()
    };
    let mut builder = Vm::builder()
        .dispatch(choices.of(&[Dispatch::Loop, Dispatch::Tail]))
        .strategy(choices.of(&[Strategy::Stub, Strategy::Carry]))
        .heap(heap)
        .stack_limit_words(STACK_WORDS);
    for name in names {
        let worldly =
            ["caml_ml_", "caml_sys_", "caml_install_signal", "unix_", "caml_md5_chan", "caml_runtime_events"];
        let constant = name.starts_with("caml_sys_const");
        if worldly.iter().any(|prefix| name.starts_with(prefix)) && !constant && !HARMLESS.contains(&&*name) {
            builder = builder.primitive_in_context(&name, 1, refuse);
        }
    }
    for (name, arity) in [("caml_ml_output", 4), ("caml_ml_output_char", 2), ("caml_ml_flush", 1)] {
        builder = builder.primitive_in_context(name, arity, ignore);
    }
    builder.build()
}

/// How a mutant's run ended.
#[derive(PartialEq, Eq, Debug)]
enum End {
    /// Refused before it ran.
    Refused,
    /// It ended by itself.
    Ran,
    /// It tried something that the checks stopped.
    Stopped,
    /// It ran for too long.
    Interrupted,
}

fn end_of<T>(result: Result<T, Error>) -> End {
    match result {
        Err(Error::Fault { .. }) => End::Stopped,
        Err(Error::Interrupted) => End::Interrupted,
        Err(
            Error::Format { .. }
            | Error::Load { .. }
            | Error::Link { .. }
            | Error::MissingPrimitive { .. }
            | Error::MissingLibrary { .. }
            | Error::Library { .. },
        ) => End::Refused,
        _ => End::Ran,
    }
}

fn run_mutant(seed: u64, watchdog: &Watchdog) -> End {
    let mut choices = Choices(seed);
    let mut vm = confined(&mut choices);
    let known: Vec<String> = vm.primitive_names().into_iter().map(str::to_owned).collect();
    let end = if choices.below(3) > 0 {
        let (name, bytes) = choices.of(&programs());
        let mutant = mutate_program(&mut choices, bytes, &known);
        watchdog.watch(&vm);
        end_of(vm.run_bytes(name, &mutant))
    } else {
        let (host, bytes) = fixture!("host.byte");
        vm.run_bytes(host, bytes).expect("the host program runs");
        let (name, bytes) = choices.of(&units());
        let mutant = mutate_unit(&mut choices, bytes, &known);
        watchdog.watch(&vm);
        let loaded = vm.load_public(name, &mutant);
        if let Ok(unit) = &loaded {
            for i in 0..4 {
                // A field may be anything, such as a function of any type.
                if let Ok(f) = vm.field::<spelter::Value>(unit, i) {
                    watchdog.watch(&vm);
                    let _ = vm.call_value::<spelter::Value>(&f, (1,));
                }
            }
        }
        end_of(loaded)
    };
    // Afterwards, the heap must be collectable and the machine usable.
    watchdog.watch(&vm);
    let _ = vm.collect();
    end
}

/// The seeds to run, and whether to name each.
fn seeds() -> (Range<u64>, bool) {
    match std::env::var("SPELTER_MUTANTS") {
        Ok(range) => {
            let (first, last) = range.split_once("..").expect("SPELTER_MUTANTS=FIRST..LAST");
            (first.parse().expect("a number")..last.parse().expect("a number"), true)
        }
        Err(_) => (0..if cfg!(debug_assertions) { 1000 } else { 3000 }, false),
    }
}

/// Names the mutant that panicked.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("mutant {} panicked; SPELTER_MUTANTS={0}..{}", self.0, self.0 + 1);
        }
    }
}

#[test]
fn mutants_are_refused_or_run_within_limits() {
    let watchdog = Watchdog::new();
    let (range, loud) = seeds();
    let all = range.end - range.start;
    let mut ends = [End::Refused, End::Ran, End::Stopped, End::Interrupted].map(|end| (end, 0u64));
    for seed in range {
        if loud {
            eprintln!("mutant {seed}");
        }
        let named = Named(seed);
        let end = run_mutant(seed, &watchdog);
        drop(named);
        for (kind, count) in &mut ends {
            *count += u64::from(*kind == end);
        }
    }
    if loud {
        eprintln!("{ends:?}");
    } else {
        // Each kind of end must occur; otherwise the mutations are too weak or too strong to find anything.
        assert!(ends.iter().all(|(_, count)| *count > all / 1000), "{ends:?}");
    }
}

// ---- fixed holes ----------------------------------------------------------------------------

/// A program of these words and primitives, with some real program's data.
fn program(words: &[i32], prims: &[&str]) -> Vec<u8> {
    let [(_, bytes)] = corpus!["closures/tail_calls.byte"];
    let exe = Executable::read(bytes).expect("a fixture");
    let mut sections = exe.sections().to_vec();
    for section in &mut sections {
        match &section.name {
            b"CODE" => section.data = bytes_of_words(words),
            b"PRIM" => section.data = prims.iter().flat_map(|p| p.bytes().chain([0])).collect(),
            _ => {}
        }
    }
    Executable::from_parts(exe.dialect(), Vec::new(), sections).expect("the same sections").write()
}

/// Runs instructions, each with its operands.
fn run(instructions: &[(Opcode, &[i32])], prims: &[&str]) -> Result<spelter::Outcome, Error> {
    let mut words = Vec::new();
    for (op, operands) in instructions {
        words.push(op.word());
        words.extend_from_slice(operands);
    }
    let mut vm = confined(&mut Choices(1));
    let watchdog = Watchdog::new();
    watchdog.watch(&vm);
    vm.run_bytes("program", &program(&words, prims))
}

fn assert_stopped(result: Result<spelter::Outcome, Error>, why: &str) {
    match result {
        Err(Error::Fault { text, .. }) if text.contains(why) => {}
        other => panic!("{other:?}, where {why:?} was expected"),
    }
}

fn assert_interrupted(result: Result<spelter::Outcome, Error>) {
    assert!(matches!(result, Err(Error::Interrupted)), "{result:?}");
}

fn assert_raised(result: Result<spelter::Outcome, Error>, what: &str) {
    match result {
        Err(Error::Uncaught { exception, .. }) if exception.contains(what) => {}
        other => panic!("{other:?}, where {what:?} was expected"),
    }
}

#[test]
fn endless_code_can_be_interrupted() {
    assert_interrupted(run(&[(BRANCH, &[-1])], &[]));
    // Through its own exception handler.
    assert_interrupted(run(&[(PUSHTRAP, &[-1]), (RAISE, &[])], &[]));
    // In a primitive: two cyclic lists.
    let list: [(Opcode, &[i32]); 7] = [
        (CONST0, &[]),
        (PUSH, &[]),
        (CONST1, &[]),
        (MAKEBLOCK2, &[0]),
        (PUSH, &[]),
        (PUSH, &[]),
        (SETFIELD1, &[]),
    ];
    let mut two = [list, list].concat();
    two.extend([(ACC1, [].as_slice()), (C_CALL2, &[0]), (POP, &[1]), (STOP, &[])]);
    assert_interrupted(run(&two, &["caml_compare"]));
}

#[test]
fn endless_lists_are_refused_where_they_are_gone_through() {
    let list: [(Opcode, &[i32]); 9] = [
        (CONST0, &[]),
        (PUSH, &[]),
        (ATOM0, &[]),
        (MAKEBLOCK2, &[0]),
        (PUSH, &[]),
        (PUSH, &[]),
        (SETFIELD1, &[]),
        (ACC0, &[]),
        (C_CALL1, &[0]),
    ];
    let all = [&list[..], &[(POP, &[1]), (STOP, &[])]].concat();
    assert_raised(run(&all, &["caml_array_concat"]), "a list that ends");
}

#[test]
fn memory_is_limited() {
    // A list that grows for ever.
    let code: [(Opcode, &[i32]); 6] =
        [(CONST0, &[]), (PUSH, &[]), (CONST1, &[]), (MAKEBLOCK2, &[0]), (BRANCH, &[-5]), (STOP, &[])];
    let mut vm = confined(&mut Choices(1));
    let mut words = Vec::new();
    for (op, operands) in code {
        words.push(op.word());
        words.extend_from_slice(operands);
    }
    let outcome = vm.run_bytes("program", &program(&words, &[]));
    assert_raised(outcome, "Out_of_memory");
    assert!(vm.collect().is_ok());
}

#[test]
fn closures_cannot_be_forged() {
    // A block that `let rec` has not filled in yet.
    let dummy: [(Opcode, &[i32]); 8] = [
        (CONST0, &[]),
        (PUSH, &[]),
        (CONSTINT, &[3]),
        (PUSH, &[]),
        (CONSTINT, &[8]),
        (C_CALL2, &[0]),
        (APPLY1, &[]),
        (STOP, &[]),
    ];
    assert_stopped(run(&dummy, &["caml_alloc_dummy_infix"]), "closure");
    // Blocks that only look like closures, strings and custom blocks.
    for tag in [247, 249, 252, 255] {
        let block: [(Opcode, &[i32]); 5] =
            [(CONSTINT, &[4]), (PUSH, &[]), (CONSTINT, &[tag]), (C_CALL2, &[0]), (STOP, &[])];
        if tag != 252 {
            assert_raised(run(&block, &["caml_obj_block"]), "Invalid_argument");
        }
        let retagged: [(Opcode, &[i32]); 5] =
            [(ATOM0, &[]), (PUSH, &[]), (CONSTINT, &[tag]), (C_CALL2, &[0]), (STOP, &[])];
        assert_raised(run(&retagged, &["caml_obj_with_tag"]), "Invalid_argument");
    }
}

#[test]
fn closures_are_sealed() {
    // The function is `fun x -> x`, behind the program.
    let with = |body: &[(Opcode, &'static [i32])], offset: i32, prim: &str| {
        let offset = [0, offset];
        let mut all: Vec<(Opcode, &[i32])> = vec![(CONST0, &[]), (PUSH, &[]), (CLOSURE, &offset)];
        all.extend_from_slice(body);
        all.extend([(POP, [1].as_slice()), (STOP, &[]), (ACC0, &[]), (RETURN, &[1])]);
        run(&all, &[prim])
    };
    assert_stopped(with(&[(GETFIELD0, &[])], 5, "caml_compare"), "a block of values");
    assert_stopped(with(&[(PUSH, &[]), (SETFIELD0, &[])], 6, "caml_compare"), "a block of values");
    for prim in ["caml_array_get", "caml_array_unsafe_get", "caml_array_append", "caml_obj_truncate"] {
        // Its two arguments are the closure and 0, or twice the closure.
        let (body, offset): (&[(Opcode, &[i32])], i32) = match prim {
            "caml_array_append" => (&[(PUSH, &[]), (C_CALL2, &[0])], 7),
            _ => (&[(C_CALL2, &[0]), (PUSH, &[])], 7),
        };
        assert_raised(with(body, offset, prim), "Invalid_argument");
    }
}

#[test]
fn inner_closures_are_no_arrays() {
    // Two functions `fun x -> x`, the second of which is an inner closure of five words less three.
    let with = |body: &[(Opcode, &'static [i32])], words: i32, prim: &str| {
        let functions = [2, 0, 2 + words, 5 + words];
        let mut all: Vec<(Opcode, &[i32])> = vec![(CLOSUREREC, &functions)];
        all.extend_from_slice(body);
        all.extend([(POP, [2].as_slice()), (STOP, &[])]);
        all.extend([(ACC0, [].as_slice()), (RETURN, &[1]), (ACC0, &[]), (RETURN, &[1])]);
        run(&all, &[prim])
    };
    let push_two: [(Opcode, &[i32]); 4] = [(CONST2, &[]), (PUSH, &[]), (CONST0, &[]), (PUSH, &[])];
    let sub = [&push_two[..], &[(ACC2, &[]), (C_CALL3, &[0])]].concat();
    assert_raised(with(&sub, 10, "caml_array_sub"), "Invalid_argument");
    let onto_itself: [(Opcode, &[i32]); 6] =
        [(ACC2, &[]), (PUSH, &[]), (CONST0, &[]), (PUSH, &[]), (ACC1, &[]), (C_CALL5, &[0])];
    let blit = [&push_two[..], &onto_itself].concat();
    assert_raised(with(&blit, 14, "caml_array_blit"), "Invalid_argument");
    let raw: [(Opcode, &[i32]); 4] = [(CONST2, &[]), (PUSH, &[]), (ACC1, &[]), (C_CALL2, &[0])];
    assert_raised(with(&raw, 8, "caml_obj_raw_field"), "out of bounds");
}

#[test]
fn globals_keep_their_shape() {
    // Code reads them without a test.
    let with = |prim: &str, argument: i32| {
        let code: [(Opcode, &[i32]); 6] = [
            (CONSTINT, &[argument]),
            (PUSH, &[]),
            (CONST0, &[]),
            (C_CALL1, &[0]),
            (C_CALL2, &[1]),
            (STOP, &[]),
        ];
        run(&code, &["caml_get_global_data", prim])
    };
    assert_raised(with("caml_obj_truncate", 1), "Invalid_argument");
    assert_raised(with("caml_obj_set_tag", 254), "Invalid_argument");
    let copy: [(Opcode, &[i32]); 8] = [
        (CONST0, &[]),
        (C_CALL1, &[0]),
        (C_CALL1, &[1]),
        (PUSH, &[]),
        (CONST0, &[]),
        (C_CALL1, &[0]),
        (C_CALL2, &[2]),
        (STOP, &[]),
    ];
    assert_raised(
        run(&copy, &["caml_get_global_data", "caml_obj_dup", "caml_update_dummy"]),
        "Invalid_argument",
    );
}

#[test]
fn there_are_as_many_globals_as_names_say() {
    let [(_, few), (_, many)] = corpus!["closures/tail_calls.byte", "stdlib/calculator.byte"];
    let [few, many] = [few, many].map(|bytes| Executable::read(bytes).expect("a fixture"));
    let symbols = many.sections().iter().find(|section| &section.name == b"SYMB").expect("it is there");
    let mut sections = few.sections().to_vec();
    for section in sections.iter_mut().filter(|section| section.name == symbols.name) {
        section.data = symbols.data.clone();
    }
    let exe = Executable::from_parts(few.dialect(), Vec::new(), sections).expect("the same sections");
    let mut vm = confined(&mut Choices(1));
    let refused = vm.run_bytes("program", &exe.write());
    assert!(matches!(refused, Err(Error::Load { .. })), "{refused:?}");
}

#[test]
fn large_frames_find_room() {
    // let rec f x = … 3000 words … f 0
    const FRAME: i32 = 3000;
    let mut code: Vec<(Opcode, &[i32])> = Vec::new();
    code.extend([(CLOSURE, [0, 9].as_slice()), (PUSH, &[]), (CONST0, &[]), (PUSH, &[]), (ACC1, &[])]);
    code.extend([(APPLY1, [].as_slice()), (POP, &[1]), (STOP, &[])]);
    code.extend((0..FRAME).map(|_| (PUSH, [].as_slice())));
    code.extend([(CONST0, [].as_slice()), (PUSH, &[]), (OFFSETCLOSURE0, &[]), (APPLY1, &[])]);
    code.extend([(POP, [FRAME].as_slice()), (RETURN, &[1])]);
    assert_raised(run(&code, &[]), "Stack_overflow");
}

#[test]
fn data_cannot_hold_what_programs_could_not_make() {
    let mut vm = confined(&mut Choices(1));
    for tag in [247u32, 249, 252, 253, 255] {
        let mut bytes = vec![0x84, 0x95, 0xA6, 0xBE, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8];
        bytes.extend_from_slice(&tag.to_be_bytes());
        let refused = raw(&mut vm).push_unmarshalled(&bytes).expect_err("an empty block");
        assert!(matches!(refused, LoadError::Format(_) | LoadError::Globals), "tag {tag}: {refused}");
    }
    let (host, bytes) = fixture!("host.byte");
    vm.run_bytes(host, bytes).expect("the host program runs");
    let (name, bytes) = fixture!("greet.cmo");
    let mut unit = CompilationUnit::read(bytes).expect("a fixture");
    let field = unit.literals.add(Constant::Int(1));
    let forged = unit.literals.add(Constant::Block { tag: 247, fields: vec![field, field] });
    for (reloc, _) in &mut unit.relocs {
        if let Reloc::Literal(id) = reloc {
            *id = forged;
        }
    }
    assert!(matches!(vm.load_bytes(name, &unit.write()), Err(Error::Link { .. } | Error::Format { .. })));
}
