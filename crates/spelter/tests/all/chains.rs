//! Checks that chains do what their separate instructions do. The loop has no chains, so it is the reference.
//!
//! Each chain of the table is a function of one large program: the host provides words of the stack, variables, a
//! global and the accumulator, then the chain runs, and the resulting state is returned to the host. The function is
//! called in many *worlds*, which differ in the kinds of these values, until it has run to its end in some. Checked
//! machines check values, so they may be called in any world; trusted machines are called only in worlds in which no
//! check failed.

use std::sync::Arc;

use spelter::{Context, Dispatch, Error, Grade, HeapMode, Local, Raise, Value, Vm};
use spelter_bytecode::code::bytes_of_words;
use spelter_bytecode::opcode::{Amount, Flow, OperandKind};
use spelter_bytecode::{Executable, Opcode, Opcode::*};

use spelter_interp::{Val, WrongType};

use crate::{Shared, graded};

#[path = "../../../interp/build/patterns.rs"]
mod patterns;

// ---- worlds --------------------------------------------------------------------------------------------

/// The kinds of values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Int,
    Block,
    Float,
    Floats,
    Str,
    /// A function of one argument more than that.
    Function(usize),
    Object,
    /// A block of a function and arrays of floats.
    Holder,
    /// A block of functions.
    Functions,
}

const KINDS: [Kind; 11] = [
    Kind::Int,
    Kind::Block,
    Kind::Float,
    Kind::Floats,
    Kind::Str,
    Kind::Function(0),
    Kind::Function(1),
    Kind::Function(2),
    Kind::Object,
    Kind::Holder,
    Kind::Functions,
];

/// The kinds of all values.
#[derive(Clone, Copy, Debug)]
struct World {
    accu: Kind,
    /// The words of the stack, the variables, and the fields of the global.
    others: Kind,
    /// An exception for this stack word, counted from the top.
    odd: Option<(i64, Kind)>,
    /// One of three sets of numbers, which compare differently.
    numbers: i64,
}

/// The simple ones first.
fn worlds() -> impl Iterator<Item = World> {
    let odds = [None].into_iter().chain((0..4).flat_map(|at| KINDS.map(|kind| Some((at, kind)))));
    odds.flat_map(|odd| {
        KINDS.into_iter().flat_map(move |accu| {
            KINDS
                .into_iter()
                .flat_map(move |others| (0..3).map(move |numbers| World { accu, others, odd, numbers }))
        })
    })
}

/// Positions that the host fills: words of the stack from the top, then others.
const STACK: i64 = 12;
const ACCU: i64 = 100;

impl World {
    fn kind(&self, place: i64) -> Kind {
        match self.odd {
            _ if place == ACCU => self.accu,
            Some((at, kind)) if at == place => kind,
            _ => self.others,
        }
    }
}

// ---- the host --------------------------------------------------------------------------------

/// The host's side of a machine.
struct Host {
    world: Shared<World>,
    /// The functions that the program has: its helpers, then those of the chains.
    functions: Shared<Vec<Value>>,
    /// The values created in this world, to inspect them afterwards.
    made: Shared<Vec<Value>>,
    /// Whether the function that contains the chain has not been called yet.
    first: Shared<bool>,
    /// The state after the chain.
    seen: Shared<Vec<String>>,
}

/// The method that objects have, by its tag.
const METHOD: i32 = 77;

fn make<'c>(cx: &mut Context<'c>, host: &Host, place: i64) -> Result<Local<'c>, Raise> {
    let world = *host.world.lock();
    let number = (place * 7 + world.numbers * 5) % 3;
    let floats = [1.5, number as f64, -2.25, 1e9];
    let function = |cx: &mut Context<'c>, i: usize| cx.kept(&host.functions.lock()[i]);
    let v = match world.kind(place) {
        Kind::Int => cx.int(number),
        Kind::Float => cx.float(number as f64 + 0.5)?,
        Kind::Floats => cx.float_array(&floats)?,
        Kind::Holder => {
            let floats = cx.float_array(&floats)?;
            let function = function(cx, 1);
            cx.block(0, &[function, floats, floats, floats])?
        }
        Kind::Functions => {
            let functions = [2, 1, 0, 0].map(|arity| function(cx, arity));
            cx.block(0, &functions)?
        }
        Kind::Str => cx.string(format!("{number} words"))?,
        Kind::Function(arity) => function(cx, arity),
        Kind::Block => {
            let fields = [number, 1, 2, 0].map(|n| cx.int(n));
            let inner = [cx.block(number as u8, &fields)?, cx.block(1, &fields)?];
            cx.block(number as u8, &[inner[0], inner[1], fields[0], inner[0]])?
        }
        Kind::Object => {
            let (one, mask, tag) = (cx.int(1), cx.int(0), cx.int(METHOD.into()));
            let methods = [one, mask, function(cx, 0), tag];
            let methods = cx.block(0, &methods)?;
            cx.block(0, &[methods, one])?
        }
    };
    let kept = cx.keep(v);
    host.made.lock().push(kept);
    Ok(v)
}

/// A value as text.
fn shown<'c>(cx: &Context<'c>, v: Local<'c>) -> String {
    fn text(v: Val<'_>, depth: usize) -> Result<String, WrongType> {
        let Ok(tag) = v.tag() else { return Ok(format!("{v:?}")) };
        Ok(match tag {
            247 | 249 => "a function".to_owned(),
            252 => format!("{:?}", String::from_utf8_lossy(v.bytes()?)),
            253 => format!("{:?}", v.float()?),
            254 => {
                format!("{:?}", (0..v.float_len()?).map(|i| v.float_field(i)).collect::<Result<Vec<_>, _>>()?)
            }
            _ if depth == 0 => "…".to_owned(),
            _ => {
                let fields: Result<Vec<_>, _> =
                    v.fields()?.iter().map(|field| text(*field, depth - 1)).collect();
                format!("{tag}({})", fields?.join(", "))
            }
        })
    }
    text(cx.get(v), 5).unwrap_or_else(|error| error.to_string())
}

fn observe<'c>(cx: &mut Context<'c>, host: &Host, v: Local<'c>) {
    let mut seen = vec![shown(cx, v)];
    for made in host.made.lock().iter() {
        let v = cx.kept(made);
        seen.push(shown(cx, v));
    }
    host.seen.lock().extend(seen);
}

// ---- the program ---------------------------------------------------------------------------------------

/// A primitive that the machine implements as an instruction, and the number of its arguments.
fn primitive(name: &str) -> (String, u32) {
    let arity = if name.contains("_SET") { 3 } else { 2 };
    match name {
        "ARRAY_GET_FLOAT" => ("caml_floatarray_get".to_owned(), 2),
        "STRING_LENGTH" => ("caml_ml_string_length".to_owned(), 1),
        _ => (format!("caml_{}", name.to_lowercase()), arity),
    }
}

#[derive(Clone, Copy)]
struct Label(usize);

/// A program under construction.
#[derive(Default)]
struct Code {
    words: Vec<i32>,
    labels: Vec<Option<usize>>,
    /// Words that will hold distances to labels.
    jumps: Vec<(usize, usize, usize)>,
    prims: Vec<String>,
}

impl Code {
    fn op(&mut self, op: Opcode, operands: &[i32]) {
        self.words.push(op.word());
        self.words.extend_from_slice(operands);
    }

    fn jump(&mut self, op: Opcode, operands: &[i32], targets: &[Label]) {
        self.op(op, operands);
        let base = self.words.len();
        for (i, target) in targets.iter().enumerate() {
            self.jumps.push((base + i, base, target.0));
            self.words.push(0);
        }
    }

    fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    fn place(&mut self, label: Label) {
        self.labels[label.0] = Some(self.words.len());
    }

    fn prim(&mut self, name: &str) -> i32 {
        let known = self.prims.iter().position(|prim| prim == name);
        known.unwrap_or_else(|| {
            self.prims.push(name.to_owned());
            self.prims.len() - 1
        }) as i32
    }

    /// accu ← the host's value for a position.
    fn make(&mut self, place: i64) {
        self.op(CONSTINT, &[place as i32]);
        self.call("make");
    }

    fn make_and_push(&mut self, place: i64) {
        self.make(place);
        self.op(PUSH, &[]);
    }

    /// accu ← a host primitive's result for accu.
    fn call(&mut self, name: &str) {
        let prim = self.prim(name);
        self.op(C_CALL1, &[prim]);
    }

    /// The file, with some real program's data.
    fn finish(mut self) -> Vec<u8> {
        for (at, base, label) in self.jumps {
            self.words[at] = self.labels[label].expect("it was placed") as i32 - base as i32;
        }
        let bytes = include_bytes!("../../../../xtask/fixtures/closures/tail_calls.byte");
        let exe = Executable::read(bytes).expect("a fixture");
        let mut sections = exe.sections().to_vec();
        for section in &mut sections {
            match &section.name {
                b"CODE" => section.data = bytes_of_words(&self.words),
                b"PRIM" => section.data = self.prims.iter().flat_map(|p| p.bytes().chain([0])).collect(),
                _ => {}
            }
        }
        Executable::from_parts(exe.dialect(), Vec::new(), sections).expect("the same sections").write()
    }
}

/// The global that code reads.
const GLOBAL: i32 = 12;
/// Operands for chains: an index into the stack, a function's number of further arguments, a variable.
const DEPTH: i32 = 4;
const GRABBED: i32 = 6;
const VARIABLE: i32 = 4;
/// The variables of a closure.
const VARIABLES: i32 = 6;

/// Whether an instruction is in the chain, by a part of its name.
fn has(chain: &[String], part: &str) -> bool {
    chain.iter().any(|name| name.contains(part))
}

/// The number of arguments of the function that contains the chain: if the chain calls it, as many as it passes.
fn arity(chain: &[String]) -> i32 {
    let called = chain.last().and_then(|name| name.strip_prefix("APP")?.bytes().last());
    match called {
        _ if has(chain, "GRAB") => GRABBED + 1,
        Some(digit) if has(chain, "OFFSETCLOSURE") => i32::from(digit - b'0'),
        _ => 1,
    }
}

/// Writes the function of a chain: it creates a closure of another function, which contains the chain, and calls it.
/// Returns the label of its entry.
fn write_chain(code: &mut Code, chain: &[String]) -> Label {
    let [entry, inner, first, second] = [(); 4].map(|()| code.label());
    let siblings = [code.label(), code.label()];
    code.place(entry);
    (0..3).for_each(|i| code.make_and_push(50 + i));
    code.op(MAKEBLOCK, &[3, 0]);
    code.op(POP, &[1]);
    code.op(SETGLOBAL, &[GLOBAL]);
    (1..VARIABLES).for_each(|i| code.make_and_push(60 + i64::from(i)));
    code.make(60);
    let recursive = has(chain, "OFFSETCLOSURE");
    if recursive {
        code.jump(CLOSUREREC, &[3, VARIABLES], &[siblings[0], inner, siblings[1]]);
        code.op(ACC1, &[]);
    } else {
        code.jump(CLOSURE, &[VARIABLES], &[inner]);
    }
    code.op(PUSH, &[]);
    // For RESTART, a separate call passes two arguments first.
    let (arity, early) = (arity(chain), if has(chain, "RESTART") { 2 } else { 0 });
    code.jump(PUSH_RETADDR, &[], &[first]);
    (early..arity).rev().for_each(|i| code.make_and_push(i.into()));
    if early > 0 {
        code.jump(PUSH_RETADDR, &[], &[second]);
        (0..early).rev().for_each(|i| code.make_and_push(i.into()));
        code.op(ACC, &[3 + arity + 3]);
        code.op(APPLY, &[early]);
        code.place(second);
    } else {
        code.op(ACC, &[3 + arity]);
    }
    code.op(APPLY, &[arity - early]);
    code.place(first);
    code.call("observe");
    code.op(RETURN, &[if recursive { 5 } else { 2 }]);
    for sibling in siblings {
        code.place(sibling);
        code.op(ACC0, &[]);
        code.op(RETURN, &[1]);
    }
    write_inner(code, chain, inner, siblings[0], arity);
    entry
}

/// Writes the function that contains the chain.
fn write_inner(code: &mut Code, chain: &[String], entry: Label, other: Label, arity: i32) {
    let mut height = arity;
    if has(chain, "GRAB") {
        if !has(chain, "RESTART") {
            code.op(RESTART, &[]);
            code.place(entry);
        }
    } else {
        if arity > 1 {
            code.op(RESTART, &[]);
        }
        code.place(entry);
        if arity > 1 {
            code.op(GRAB, &[arity - 1]);
        }
        // A chain that calls this function itself does so once.
        let go_on = code.label();
        code.call("first");
        code.jump(BRANCHIF, &[], &[go_on]);
        write_end(code, height, 100);
        code.place(go_on);
        (0..STACK).rev().for_each(|place| code.make_and_push(place));
        height += STACK as i32;
    }
    let (handler, trapped) = (code.label(), chain[0] == "POPTRAP");
    if trapped {
        code.jump(PUSHTRAP, &[], &[handler]);
        height += 4;
    }
    if !has(chain, "GRAB") {
        code.make(ACCU);
    }
    // The stack heights at the chain's targets.
    let mut targets = Vec::new();
    let (mut trap, mut frame) = (None, None);
    for name in chain {
        if name == "GRAB" && has(chain, "RESTART") {
            code.place(entry);
        }
        let Some(op) = (0..256).filter_map(Opcode::from_word).find(|op| op.name() == name) else {
            let (prim, arguments) = primitive(name);
            let prim = code.prim(&prim);
            code.op([C_CALL1, C_CALL2, C_CALL3][arguments as usize - 1], &[prim]);
            height -= arguments as i32 - 1;
            continue;
        };
        let target = write_instruction(code, op, height);
        match op.facts().flow {
            Flow::PushTrap => trap = target.first().map(|label| (*label, height)),
            Flow::PushRetaddr => frame = target.first().map(|label| (*label, height)),
            _ => targets.extend(target),
        }
        height = height_after(op, &code.words, height);
    }
    let last = Opcode::ALL.iter().find(|op| Some(op.name()) == chain.last().map(String::as_str));
    if !last.is_some_and(|op| op.facts().flow.ends_block()) {
        if trap.is_some() {
            code.op(POPTRAP, &[]);
            height -= 4;
        }
        if let Some((back, before)) = frame {
            code.op(PUSHATOM0, &[]);
            code.jump(CLOSURE, &[0], &[other]);
            code.op(APPLY, &[1 + height - before - 3]);
            code.place(back);
            height = before;
        }
        write_end(code, height, 101);
    }
    for (i, target) in targets.iter().enumerate() {
        code.place(*target);
        write_end(code, height, 102 + i as i32);
    }
    if let Some((handler, height)) = trap {
        code.place(handler);
        write_end(code, height, 110);
    }
    if trapped {
        code.place(handler);
        write_end(code, arity + STACK as i32, 111);
    }
}

/// Writes an instruction of a chain, and returns its possible targets.
fn write_instruction(code: &mut Code, op: Opcode, height: i32) -> Vec<Label> {
    let mut operands = Vec::new();
    let mut targets = Vec::new();
    for operand in op.operands() {
        operands.push(match operand.kind {
            OperandKind::Depth => DEPTH,
            OperandKind::Count if op == GRAB => GRABBED,
            OperandKind::FrameSize => height,
            OperandKind::EnvField => VARIABLE,
            OperandKind::Words => 3,
            OperandKind::Size => 3,
            OperandKind::TableSize => 2 | 2 << 16,
            OperandKind::Global => GLOBAL,
            OperandKind::MethodTag => METHOD,
            OperandKind::Tag | OperandKind::Cache => 0,
            OperandKind::Count | OperandKind::Field | OperandKind::Int => 1,
            OperandKind::Offset => {
                targets.push(code.label());
                continue;
            }
            OperandKind::Offsets => {
                targets.extend([code.label(), code.label(), code.label(), code.label()]);
                continue;
            }
            other => panic!("say here what {op} is to have for its {other:?}"),
        });
    }
    code.jump(op, &operands, &targets);
    targets
}

/// The height of the frame after an instruction that has just been written.
fn height_after(op: Opcode, words: &[i32], height: i32) -> i32 {
    let facts = op.facts();
    let operands = &words[words.len() - op.operands().len()..];
    let amount = |amount: Amount| amount.of(operands).expect("no chain has it otherwise") as i32;
    height + i32::from(facts.push_accu) - amount(facts.pops) + amount(facts.pushes)
}

/// Returns a block with the contents of the frame. It begins with an instruction that no chain contains, and leaves
/// one argument.
fn write_end(code: &mut Code, height: i32, tag: i32) {
    code.op(PUSHATOM0, &[]);
    code.op(CONSTINT, &[tag]);
    code.op(MAKEBLOCK, &[height + 1, 0]);
    code.op(RETURN, &[1]);
}

/// A function that returns its arguments.
fn write_helper(code: &mut Code, arguments: i32) -> Label {
    let entry = code.label();
    if arguments > 1 {
        code.op(RESTART, &[]);
    }
    code.place(entry);
    if arguments > 1 {
        code.op(GRAB, &[arguments - 1]);
    }
    code.op(ACC, &[arguments - 1]);
    code.op(MAKEBLOCK, &[arguments, 0]);
    code.op(RETURN, &[1]);
    entry
}

const HELPERS: usize = 3;

/// A program that passes its functions to the host: the helpers, and one for each chain.
fn program(chains: &[Vec<String>]) -> Vec<u8> {
    let mut code = Code::default();
    let labels: Vec<Label> = (0..HELPERS + chains.len()).map(|_| code.label()).collect();
    for label in &labels {
        code.jump(CLOSURE, &[0], &[*label]);
        code.call("hand_over");
    }
    code.op(STOP, &[]);
    for (i, label) in labels.into_iter().enumerate() {
        let entry = match i.checked_sub(HELPERS) {
            None => write_helper(&mut code, i as i32 + 1),
            Some(chain) => write_chain(&mut code, &chains[chain]),
        };
        code.labels[label.0] = code.labels[entry.0];
    }
    code.finish()
}

// ---- the comparison ------------------------------------------------------------------------------------

struct Machine {
    vm: Vm,
    host: Arc<Host>,
}

impl Machine {
    fn new(program: &[u8], dispatch: Dispatch, grade: Grade, heap: HeapMode) -> Machine {
        let world = World { accu: Kind::Int, others: Kind::Int, odd: None, numbers: 0 };
        let host = Arc::new(Host {
            world: Shared::new(world),
            first: Shared::new(true),
            functions: Shared::default(),
            made: Shared::default(),
            seen: Shared::default(),
        });
        let [a, b, c, d] = [(); 4].map(|()| Arc::clone(&host));
        let builder = Vm::builder().dispatch(dispatch).heap_mode(heap);
        let builder = builder.primitive_in_context("make", 1, move |cx, args| {
            let place = cx.read(args[0]).unwrap_or_default();
            make(cx, &a, place)
        });
        let builder = builder.primitive_in_context("observe", 1, move |cx, args| {
            observe(cx, &b, args[0]);
            Ok(cx.unit())
        });
        let builder = builder.primitive_in_context("hand_over", 1, move |cx, args| {
            let function = cx.keep(args[0]);
            c.functions.lock().push(function);
            Ok(cx.unit())
        });
        let builder = builder.primitive_in_context("first", 1, move |cx, _| {
            let first = std::mem::take(&mut *d.first.lock());
            Ok(cx.int(first.into()))
        });
        let mut vm = graded(builder, grade).build();
        vm.run_bytes("chains.byte", program).expect("the program");
        Machine { vm, host }
    }

    /// The result of a chain's function in a world, and whether there was no error.
    fn run(&mut self, chain: usize, world: World) -> (bool, String) {
        *self.host.world.lock() = world;
        *self.host.first.lock() = true;
        let function = self.host.functions.lock()[HELPERS + chain].clone();
        let result: Result<(), Error> = self.vm.call_value(&function, ((),));
        self.host.made.lock().clear();
        let seen = std::mem::take(&mut *self.host.seen.lock());
        match result {
            Ok(()) => (true, seen.join("\n")),
            Err(error) => (false, format!("{error}\n{}", seen.join("\n"))),
        }
    }
}

/// The number of worlds in which a chain should run to its end; there may be fewer.
const ENOUGH: usize = 6;

#[test]
fn chains_do_what_their_instructions_do() {
    let patterns =
        patterns::read(include_str!("../../../interp/src/exec/dispatch/chains.txt")).expect("patterns");
    let (mut chains, mut names) = (Vec::new(), Vec::new());
    for patterns::Pattern { line, text, rows } in patterns {
        names.extend(rows.iter().map(|row| format!("{} (line {line}: {text})", row.join(" "))));
        chains.extend(rows);
    }
    let program = program(&chains);
    let machine = |dispatch, grade, heap| Machine::new(&program, dispatch, grade, heap);
    let mut reference = machine(Dispatch::Loop, Grade::Checked, HeapMode::Plain);
    let mut checked = machine(Dispatch::Tail, Grade::Checked, HeapMode::Plain);
    // A world without errors is safe on these machines, too. If each allocation collects, chains are left half-way.
    let mut others = [
        ("trusted loop", machine(Dispatch::Loop, Grade::Trusted, HeapMode::Plain)),
        ("trusted tail", machine(Dispatch::Tail, Grade::Trusted, HeapMode::Plain)),
        ("tortured tail", machine(Dispatch::Tail, Grade::Checked, HeapMode::Torture)),
    ];
    let mut profiled = machine(Dispatch::Profile, Grade::Checked, HeapMode::Plain);
    let mut wrong = Vec::new();
    for (i, name) in names.iter().enumerate() {
        let mut done = 0;
        for world in worlds() {
            let expected = reference.run(i, world);
            let mut compare = |engine: &str, got: (bool, String)| {
                if got != expected {
                    wrong.push(format!("{name}: {engine} in {world:?}\n{expected:?}\n{got:?}"));
                }
            };
            compare("checked tail", checked.run(i, world));
            if expected.0 {
                others.iter_mut().for_each(|(engine, machine)| compare(engine, machine.run(i, world)));
                if done == 0 {
                    profiled.run(i, world);
                }
                done += 1;
                if done == ENOUGH {
                    break;
                }
            }
        }
        if done == 0 {
            wrong.push(format!("{name}: there is no world in which it runs to its end"));
        }
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong[..wrong.len().min(5)].join("\n"));
    // Check that the program really ran the chains.
    let runs: Vec<String> =
        profiled.vm.profile().runs().into_iter().map(|(names, _)| format!(" {} ", names.join(" "))).collect();
    for chain in chains {
        let name = format!(" {} ", chain.join(" "));
        assert!(runs.iter().any(|run| run.contains(&name)), "{name} has not run");
    }
}
