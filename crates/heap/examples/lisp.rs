//! A small Lisp on the heap, in safe code. It has nothing to do with OCaml, and shows all that a client needs: a type for
//! its data, and scopes for the values that it works with. The tutorial in the crate's documentation explains it step
//! by step.
//!
//! Run it with a program on standard input: `echo "(+ 1 2)" | cargo run -p spelter-heap --example lisp`.

use spelter_heap::{Config, Handle, Heap, OutOfMemory, Peek, Root, Scope, View, WrongType};
use std::collections::HashMap;
use std::io::Read;
use std::ops::ControlFlow::{self, Break, Continue};
use std::process::ExitCode;

// Data. A number is an integer; everything else is a block, whose tag and size tell what it is.

/// The empty list, which is also false.
#[derive(View)]
#[view(tag = 0)]
struct Nil;

/// What lists, and so programs, are made of. `V` is `Handle` where the fields are kept, `Peek` where they are looked at.
#[derive(View)]
#[view(tag = 0)]
struct Pair<V> {
    head: V,
    tail: V,
}

/// A name, and the value of the global variable of that name.
#[derive(View)]
#[view(tag = 1)]
struct Symbol<V> {
    name: V,
    value: V,
}

/// The value of a symbol that is not defined.
#[derive(View)]
#[view(tag = 1)]
struct Undefined;

/// A local variable, and those around it: an environment.
#[derive(View)]
#[view(tag = 2)]
struct Binding<V> {
    symbol: V,
    value: V,
    next: V,
}

#[derive(View)]
#[view(tag = 3)]
struct Closure<V> {
    parameters: V,
    body: V,
    env: V,
}

/// What is defined from the start.
#[derive(View, Clone, Copy)]
enum Known {
    #[view(tag = 4)]
    Builtin(Builtin),
    #[view(tag = 5)]
    Form(Form),
}

/// Functions.
#[derive(View, Clone, Copy)]
enum Builtin {
    Add,
    Subtract,
    Multiply,
    Less,
    Same,
    Cons,
    Car,
    Cdr,
    IsPair,
    SetCdr,
}

/// What does not evaluate its arguments like a function.
#[derive(View, Clone, Copy)]
enum Form {
    Quote,
    If,
    Lambda,
    Define,
}

const KNOWN: [(&str, Known); 14] = [
    ("+", Known::Builtin(Builtin::Add)),
    ("-", Known::Builtin(Builtin::Subtract)),
    ("*", Known::Builtin(Builtin::Multiply)),
    ("<", Known::Builtin(Builtin::Less)),
    ("=", Known::Builtin(Builtin::Same)),
    ("cons", Known::Builtin(Builtin::Cons)),
    ("car", Known::Builtin(Builtin::Car)),
    ("cdr", Known::Builtin(Builtin::Cdr)),
    ("pair?", Known::Builtin(Builtin::IsPair)),
    ("set-cdr!", Known::Builtin(Builtin::SetCdr)),
    ("quote", Known::Form(Form::Quote)),
    ("if", Known::Form(Form::If)),
    ("lambda", Known::Form(Form::Lambda)),
    ("define", Known::Form(Form::Define)),
];

/// How deep expressions and calls may be nested: each level takes some of Rust's stack.
const MAX_DEPTH: usize = 1500;

/// Why a program stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// An operation on a value of the wrong kind.
    #[error(transparent)]
    Type(#[from] WrongType),
    /// The heap is full.
    #[error(transparent)]
    Memory(#[from] OutOfMemory),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

type Result<T> = std::result::Result<T, Error>;

#[cold]
fn fail<T>(what: impl Into<String>) -> Result<T> {
    Err(Error::Other(what.into()))
}

fn deeper(depth: usize) -> Result<usize> {
    if depth < MAX_DEPTH { Ok(depth + 1) } else { fail("too many levels of nesting") }
}

/// An interpreter with its heap.
pub(crate) struct Lisp {
    heap: Heap,
    /// What lives between programs is in roots.
    symbols: HashMap<String, Root>,
}

impl Lisp {
    /// An interpreter with forms and builtins defined.
    pub(crate) fn new(config: Config) -> Result<Lisp> {
        let mut lisp = Lisp { heap: Heap::new(config), symbols: HashMap::new() };
        let Lisp { heap, symbols } = &mut lisp;
        heap.scope(|s| {
            for (name, value) in KNOWN {
                let (symbol, value) = (intern(s, symbols, name)?, s.make(value)?);
                s.set_field(symbol, 1, value)?;
            }
            Ok::<_, Error>(())
        })?;
        Ok(lisp)
    }

    /// The heap, for inspection.
    pub(crate) fn heap(&self) -> &Heap {
        &self.heap
    }

    /// Evaluates all expressions of a program, and prints the last value.
    pub(crate) fn run(&mut self, program: &str) -> Result<String> {
        let Lisp { heap, symbols } = self;
        let spaced = program.replace('(', " ( ").replace(')', " ) ").replace('\'', " ' ");
        let mut tokens = spaced.split_whitespace().peekable();
        heap.scope(|s| {
            let nil = s.make(Nil)?;
            let last = s.var(nil);
            while tokens.peek().is_some() {
                // A scope for each expression: only its value remains.
                s.scope(|s| {
                    let expression = Reader { tokens: &mut tokens, symbols }.read(s, 0)?;
                    let value = eval(s, expression, nil, 0)?;
                    s.set(last, value);
                    Ok::<_, Error>(())
                })?;
            }
            let mut text = String::new();
            print(s.peek_var(last), &mut text, 0)?;
            Ok(text)
        })
    }
}

// Reading.

/// The symbol of this name: there is one per name, so that symbols can be compared as blocks.
fn intern<'s>(s: &mut Scope<'s>, symbols: &mut HashMap<String, Root>, name: &str) -> Result<Handle<'s>> {
    if let Some(root) = symbols.get(name) {
        return Ok(s.handle(root));
    }
    let (text, value) = (s.make(name)?, s.make(Undefined)?);
    let symbol = s.make(Symbol { name: text, value })?;
    symbols.insert(name.to_owned(), s.root(symbol));
    Ok(symbol)
}

struct Reader<'a, 't> {
    tokens: &'a mut std::iter::Peekable<std::str::SplitWhitespace<'t>>,
    symbols: &'a mut HashMap<String, Root>,
}

impl Reader<'_, '_> {
    fn read<'s>(&mut self, s: &mut Scope<'s>, depth: usize) -> Result<Handle<'s>> {
        let depth = deeper(depth)?;
        match self.tokens.next() {
            None => fail("the program ends inside an expression"),
            Some("(") => self.read_list(s, depth),
            Some(")") => fail("a closing parenthesis has no opening one"),
            Some("'") => {
                let (quote, nil) = (intern(s, self.symbols, "quote")?, s.make(Nil)?);
                let quoted = self.read(s, depth)?;
                let rest = s.make(Pair { head: quoted, tail: nil })?;
                Ok(s.make(Pair { head: quote, tail: rest })?)
            }
            Some(token) => match token.parse() {
                Ok(n) => Ok(Handle::int(n)),
                Err(_) => intern(s, self.symbols, token),
            },
        }
    }

    /// After the opening parenthesis: items, perhaps a dot and a tail, and the closing one.
    fn read_list<'s>(&mut self, s: &mut Scope<'s>, depth: usize) -> Result<Handle<'s>> {
        let mut items = Vec::new();
        let mut list = s.make(Nil)?;
        while self.tokens.next_if_eq(&")").is_none() {
            if self.tokens.peek().is_none() {
                return fail("the program ends inside a list");
            }
            if self.tokens.next_if_eq(&".").is_some() {
                list = self.read(s, depth)?;
            } else {
                items.push(self.read(s, depth)?);
            }
        }
        for item in items.into_iter().rev() {
            list = s.make(Pair { head: item, tail: list })?;
        }
        Ok(list)
    }
}

// Printing. Nothing is allocated, so it needs no handles.

fn print(value: Peek<'_, '_>, text: &mut String, depth: usize) -> Result<()> {
    let depth = deeper(depth)?;
    if let Ok(n) = value.int() {
        *text += &n.to_string();
    } else if let Ok(Symbol { name, .. }) = symbol(value) {
        *text += name.view()?;
    } else if is_pair(value) {
        let (mut before, mut rest) = ('(', value);
        while let Ok(Pair { head, tail }) = pair(rest) {
            text.push(before);
            print(head, text, depth)?;
            (before, rest) = (' ', tail);
        }
        if !is_nil(rest) {
            *text += " . ";
            print(rest, text, depth)?;
        }
        text.push(')');
    } else {
        *text += if is_nil(value) { "()" } else { "#<function>" };
    }
    Ok(())
}

fn is_nil(value: Peek<'_, '_>) -> bool {
    value.view::<Nil>().is_ok()
}

fn is_pair(value: Peek<'_, '_>) -> bool {
    pair(value).is_ok()
}

fn pair<'p, 's>(value: Peek<'p, 's>) -> Result<Pair<Peek<'p, 's>>> {
    value.view().map_err(|_| WrongType { expected: "a pair" }.into())
}

fn symbol<'p, 's>(value: Peek<'p, 's>) -> Result<Symbol<Peek<'p, 's>>> {
    value.view().map_err(|_| WrongType { expected: "a symbol" }.into())
}

// Evaluation.

fn eval<'s>(s: &mut Scope<'s>, expression: Handle<'s>, env: Handle<'s>, depth: usize) -> Result<Handle<'s>> {
    if is_pair(s.peek(expression)) {
        let depth = deeper(depth)?;
        s.repeat([expression, env], |s, [expression, env]| step(s, expression, env, depth))
    } else if symbol(s.peek(expression)).is_ok() {
        lookup(s, expression, env)
    } else {
        Ok(expression)
    }
}

fn lookup<'s>(s: &Scope<'s>, wanted: Handle<'s>, env: Handle<'s>) -> Result<Handle<'s>> {
    let wanted = s.peek(wanted);
    let mut env = s.peek(env);
    while let Ok(Binding { symbol, value, next }) = env.view::<Binding<Peek<'_, '_>>>() {
        if symbol.same(*wanted) {
            return Ok(value.keep());
        }
        env = next;
    }
    let Symbol { name, value } = symbol(wanted)?;
    match value.view::<Undefined>() {
        Ok(_) => fail(format!("{} is not defined", name.view::<&str>()?)),
        Err(_) => Ok(value.keep()),
    }
}

/// Evaluates an expression, or finds another one and an environment that have the same value: a tail call.
fn step<'s>(
    s: &mut Scope<'s>,
    expression: Handle<'s>,
    env: Handle<'s>,
    depth: usize,
) -> Result<ControlFlow<Handle<'s>, [Handle<'s>; 2]>> {
    let Ok(Pair { head, tail }) = pair(s.peek(expression)) else {
        return Ok(Break(eval(s, expression, env, depth)?));
    };
    let (head, rest) = (head.keep(), tail.keep());
    let function = eval(s, head, env, depth)?;
    if let Ok(Closure { parameters, body, env: outer }) = s.view(function) {
        let inner = bind(s, parameters, rest, outer, env, depth)?;
        return Ok(Continue([body, inner]));
    }
    let Ok(known) = s.view(function) else {
        let mut text = String::new();
        print(s.peek(function), &mut text, depth)?;
        return fail(format!("{text} is not a function"));
    };
    let value = match known {
        Known::Builtin(builtin) => {
            let a = eval(s, nth(s, rest, 0)?, env, depth)?;
            let b = match nth(s, rest, 1) {
                Ok(b) => eval(s, b, env, depth)?,
                Err(_) => Handle::ZERO,
            };
            call(s, builtin, a, b)?
        }
        Known::Form(Form::If) => {
            let test = eval(s, nth(s, rest, 0)?, env, depth)?;
            let chosen = nth(s, rest, if is_nil(s.peek(test)) { 2 } else { 1 })?;
            return Ok(Continue([chosen, env]));
        }
        Known::Form(Form::Quote) => nth(s, rest, 0)?,
        Known::Form(Form::Lambda) => {
            let (parameters, body) = (nth(s, rest, 0)?, nth(s, rest, 1)?);
            s.make(Closure { parameters, body, env })?
        }
        Known::Form(Form::Define) => {
            let name = nth(s, rest, 0)?;
            symbol(s.peek(name))?;
            let value = eval(s, nth(s, rest, 1)?, env, depth)?;
            s.set_field(name, 1, value)?;
            value
        }
    };
    Ok(Break(value))
}

/// Item `n` of a list.
fn nth<'s>(s: &Scope<'s>, list: Handle<'s>, n: usize) -> Result<Handle<'s>> {
    let mut list = s.peek(list);
    for _ in 0..n {
        list = pair(list)?.tail;
    }
    Ok(pair(list)?.head.keep())
}

/// The environment of a closure's body: that of the closure, and its parameters with the values of the arguments.
fn bind<'s>(
    s: &mut Scope<'s>,
    mut parameters: Handle<'s>,
    mut arguments: Handle<'s>,
    mut inner: Handle<'s>,
    env: Handle<'s>,
    depth: usize,
) -> Result<Handle<'s>> {
    while let Ok(Pair { head: symbol, tail: more }) = s.view(parameters) {
        let Ok(Pair { head, tail: others }) = s.view(arguments) else { return fail("too few arguments") };
        let value = eval(s, head, env, depth)?;
        inner = s.make(Binding { symbol, value, next: inner })?;
        (parameters, arguments) = (more, others);
    }
    Ok(inner)
}

fn call<'s>(s: &mut Scope<'s>, builtin: Builtin, a: Handle<'s>, b: Handle<'s>) -> Result<Handle<'s>> {
    let truth = |s: &mut Scope<'s>, holds: bool| if holds { Ok(Handle::int(1)) } else { s.make(Nil) };
    Ok(match builtin {
        Builtin::Add => Handle::int(s.int(a)?.wrapping_add(s.int(b)?)),
        Builtin::Subtract => Handle::int(s.int(a)?.wrapping_sub(s.int(b)?)),
        Builtin::Multiply => Handle::int(s.int(a)?.wrapping_mul(s.int(b)?)),
        Builtin::Less => truth(s, s.int(a)? < s.int(b)?)?,
        Builtin::Same => truth(s, s.same(a, b))?,
        Builtin::Cons => s.make(Pair { head: a, tail: b })?,
        Builtin::Car => pair(s.peek(a))?.head.keep(),
        Builtin::Cdr => pair(s.peek(a))?.tail.keep(),
        Builtin::IsPair => truth(s, is_pair(s.peek(a)))?,
        Builtin::SetCdr => {
            pair(s.peek(a))?;
            s.set_field(a, 1, b)?;
            a
        }
    })
}

fn main() -> ExitCode {
    let run = || {
        let mut program = String::new();
        std::io::stdin()
            .read_to_string(&mut program)
            .map_err(|e| Error::Other(format!("standard input: {e}")))?;
        let mut lisp = Lisp::new(Config::default())?;
        println!("{}", lisp.run(&program)?);
        if std::env::args().any(|arg| arg == "--stats") {
            eprintln!("{:#?}", lisp.heap().stats());
        }
        Ok(())
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err::<_, Error>(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
