//! The Lisp of `crates/heap/examples/lisp.rs` on gc-arena: the same functions in the same order, with the same names.
//! Values are an enum whose variants point to what it does not hold itself, as gc-arena's users write it.

use gc_arena::lock::Lock;
use gc_arena::{Arena, Collect, Gc, Mutation, Rootable, barrier};
use std::collections::HashMap;

#[derive(Collect, Clone, Copy)]
#[collect(no_drop)]
enum Datum<'gc> {
    Number(i64),
    Nil,
    Pair(Gc<'gc, Pair<'gc>>),
    Symbol(Gc<'gc, Symbol<'gc>>),
    Closure(Gc<'gc, Closure<'gc>>),
    Builtin(Builtin),
    Form(Form),
    Undefined,
}

#[derive(Collect)]
#[collect(no_drop)]
struct Pair<'gc> {
    head: Datum<'gc>,
    tail: Lock<Datum<'gc>>,
}

#[derive(Collect)]
#[collect(no_drop)]
struct Symbol<'gc> {
    name: String,
    value: Lock<Datum<'gc>>,
}

#[derive(Collect)]
#[collect(no_drop)]
struct Closure<'gc> {
    parameters: Datum<'gc>,
    body: Datum<'gc>,
    env: Env<'gc>,
}

#[derive(Collect)]
#[collect(no_drop)]
struct Binding<'gc> {
    symbol: Gc<'gc, Symbol<'gc>>,
    value: Datum<'gc>,
    next: Env<'gc>,
}

type Env<'gc> = Option<Gc<'gc, Binding<'gc>>>;

#[derive(Collect, Clone, Copy)]
#[collect(require_static)]
enum Form {
    Quote,
    If,
    Lambda,
    Define,
}

#[derive(Collect, Clone, Copy)]
#[collect(require_static)]
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

/// What is defined from the start: a function, as a constant could not be used with any arena.
fn known<'gc>() -> [(&'static str, Datum<'gc>); 14] {
    [
        ("+", Datum::Builtin(Builtin::Add)),
        ("-", Datum::Builtin(Builtin::Subtract)),
        ("*", Datum::Builtin(Builtin::Multiply)),
        ("<", Datum::Builtin(Builtin::Less)),
        ("=", Datum::Builtin(Builtin::Same)),
        ("cons", Datum::Builtin(Builtin::Cons)),
        ("car", Datum::Builtin(Builtin::Car)),
        ("cdr", Datum::Builtin(Builtin::Cdr)),
        ("pair?", Datum::Builtin(Builtin::IsPair)),
        ("set-cdr!", Datum::Builtin(Builtin::SetCdr)),
        ("quote", Datum::Form(Form::Quote)),
        ("if", Datum::Form(Form::If)),
        ("lambda", Datum::Form(Form::Lambda)),
        ("define", Datum::Form(Form::Define)),
    ]
}

const MAX_DEPTH: usize = 1500;

/// Why a program stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// An operation on a value of the wrong kind.
    #[error("wrong type: expected {0}")]
    Type(&'static str),
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

#[derive(Collect)]
#[collect(no_drop)]
struct Symbols<'gc>(HashMap<String, Gc<'gc, Symbol<'gc>>>);

/// An interpreter with its arena.
pub(crate) struct Lisp {
    arena: Arena<Rootable![Symbols<'_>]>,
}

impl Lisp {
    /// An interpreter with forms and builtins defined.
    pub(crate) fn new() -> Lisp {
        Lisp {
            arena: Arena::new(|mc| {
                let mut symbols = Symbols(HashMap::new());
                for (name, value) in known() {
                    let symbol = intern(mc, &mut symbols, name);
                    barrier::unlock!(Gc::write(mc, symbol), Symbol, value).set(value);
                }
                symbols
            }),
        }
    }

    /// Evaluates all expressions of a program, prints the last value, and collects as much as is due: the arena cannot
    /// collect in between.
    pub(crate) fn run(&mut self, program: &str) -> Result<String> {
        let spaced = program.replace('(', " ( ").replace(')', " ) ").replace('\'', " ' ");
        let mut tokens = spaced.split_whitespace().peekable();
        let text = self.arena.mutate_root(|mc, symbols| {
            let mut last = Datum::Nil;
            while tokens.peek().is_some() {
                let expression = Reader { tokens: &mut tokens, symbols }.read(mc, 0)?;
                last = eval(mc, expression, None, 0)?;
            }
            let mut text = String::new();
            print(last, &mut text, 0)?;
            Ok(text)
        });
        self.arena.collect_debt();
        text
    }
}

// Reading.

fn intern<'gc>(mc: &Mutation<'gc>, symbols: &mut Symbols<'gc>, name: &str) -> Gc<'gc, Symbol<'gc>> {
    if let Some(&symbol) = symbols.0.get(name) {
        return symbol;
    }
    let symbol = Gc::new(mc, Symbol { name: name.to_owned(), value: Lock::new(Datum::Undefined) });
    symbols.0.insert(name.to_owned(), symbol);
    symbol
}

struct Reader<'a, 't, 'gc> {
    tokens: &'a mut std::iter::Peekable<std::str::SplitWhitespace<'t>>,
    symbols: &'a mut Symbols<'gc>,
}

fn pair<'gc>(mc: &Mutation<'gc>, head: Datum<'gc>, tail: Datum<'gc>) -> Datum<'gc> {
    Datum::Pair(Gc::new(mc, Pair { head, tail: Lock::new(tail) }))
}

impl<'gc> Reader<'_, '_, 'gc> {
    fn read(&mut self, mc: &Mutation<'gc>, depth: usize) -> Result<Datum<'gc>> {
        let depth = deeper(depth)?;
        match self.tokens.next() {
            None => fail("the program ends inside an expression"),
            Some("(") => self.read_list(mc, depth),
            Some(")") => fail("a closing parenthesis has no opening one"),
            Some("'") => {
                let quote = intern(mc, self.symbols, "quote");
                let quoted = self.read(mc, depth)?;
                Ok(pair(mc, Datum::Symbol(quote), pair(mc, quoted, Datum::Nil)))
            }
            Some(token) => match token.parse() {
                Ok(n) => Ok(Datum::Number(n)),
                Err(_) => Ok(Datum::Symbol(intern(mc, self.symbols, token))),
            },
        }
    }

    fn read_list(&mut self, mc: &Mutation<'gc>, depth: usize) -> Result<Datum<'gc>> {
        let mut items = Vec::new();
        let mut list = Datum::Nil;
        while self.tokens.next_if_eq(&")").is_none() {
            if self.tokens.peek().is_none() {
                return fail("the program ends inside a list");
            }
            if self.tokens.next_if_eq(&".").is_some() {
                list = self.read(mc, depth)?;
            } else {
                items.push(self.read(mc, depth)?);
            }
        }
        for item in items.into_iter().rev() {
            list = pair(mc, item, list);
        }
        Ok(list)
    }
}

// Printing.

fn print(value: Datum<'_>, text: &mut String, depth: usize) -> Result<()> {
    let depth = deeper(depth)?;
    match value {
        Datum::Number(n) => *text += &n.to_string(),
        Datum::Nil => *text += "()",
        Datum::Pair(_) => {
            let mut before = '(';
            let mut rest = value;
            while let Datum::Pair(pair) = rest {
                text.push(before);
                print(pair.head, text, depth)?;
                (before, rest) = (' ', pair.tail.get());
            }
            if !matches!(rest, Datum::Nil) {
                *text += " . ";
                print(rest, text, depth)?;
            }
            text.push(')');
        }
        Datum::Symbol(symbol) => *text += &symbol.name,
        _ => *text += "#<function>",
    }
    Ok(())
}

// Evaluation.

enum Next<'gc> {
    Done(Datum<'gc>),
    Again(Datum<'gc>, Env<'gc>),
}

fn eval<'gc>(mc: &Mutation<'gc>, expression: Datum<'gc>, env: Env<'gc>, depth: usize) -> Result<Datum<'gc>> {
    match expression {
        Datum::Symbol(symbol) => return lookup(symbol, env),
        Datum::Pair(_) => {}
        _ => return Ok(expression),
    }
    let depth = deeper(depth)?;
    let (mut expression, mut env) = (expression, env);
    loop {
        match step(mc, expression, env, depth)? {
            Next::Done(value) => return Ok(value),
            Next::Again(next, inner) => (expression, env) = (next, inner),
        }
    }
}

fn lookup<'gc>(symbol: Gc<'gc, Symbol<'gc>>, mut env: Env<'gc>) -> Result<Datum<'gc>> {
    while let Some(binding) = env {
        if Gc::ptr_eq(binding.symbol, symbol) {
            return Ok(binding.value);
        }
        env = binding.next;
    }
    match symbol.value.get() {
        Datum::Undefined => fail(format!("{} is not defined", symbol.name)),
        value => Ok(value),
    }
}

fn step<'gc>(mc: &Mutation<'gc>, expression: Datum<'gc>, env: Env<'gc>, depth: usize) -> Result<Next<'gc>> {
    let Datum::Pair(call_pair) = expression else {
        return Ok(Next::Done(eval(mc, expression, env, depth)?));
    };
    let rest = call_pair.tail.get();
    let function = eval(mc, call_pair.head, env, depth)?;
    let value = match function {
        Datum::Form(Form::Quote) => nth(rest, 0)?,
        Datum::Form(Form::If) => {
            let test = eval(mc, nth(rest, 0)?, env, depth)?;
            let is_false = matches!(test, Datum::Nil);
            return Ok(Next::Again(nth(rest, if is_false { 2 } else { 1 })?, env));
        }
        Datum::Form(Form::Lambda) => {
            let (parameters, body) = (nth(rest, 0)?, nth(rest, 1)?);
            Datum::Closure(Gc::new(mc, Closure { parameters, body, env }))
        }
        Datum::Form(Form::Define) => {
            let Datum::Symbol(symbol) = nth(rest, 0)? else { return fail("only symbols can be defined") };
            let value = eval(mc, nth(rest, 1)?, env, depth)?;
            barrier::unlock!(Gc::write(mc, symbol), Symbol, value).set(value);
            value
        }
        Datum::Builtin(builtin) => {
            let a = eval(mc, nth(rest, 0)?, env, depth)?;
            let b = match nth(rest, 1) {
                Ok(b) => eval(mc, b, env, depth)?,
                Err(_) => Datum::Number(0),
            };
            call(mc, builtin, a, b)?
        }
        Datum::Closure(closure) => {
            let inner = bind(mc, closure.parameters, rest, closure.env, env, depth)?;
            return Ok(Next::Again(closure.body, inner));
        }
        _ => {
            let mut text = String::new();
            print(function, &mut text, depth)?;
            return fail(format!("{text} is not a function"));
        }
    };
    Ok(Next::Done(value))
}

fn nth<'gc>(mut list: Datum<'gc>, n: usize) -> Result<Datum<'gc>> {
    for _ in 0..n {
        list = tail(list)?;
    }
    head(list)
}

fn head<'gc>(pair: Datum<'gc>) -> Result<Datum<'gc>> {
    let Datum::Pair(pair) = pair else { return Err(Error::Type("a pair")) };
    Ok(pair.head)
}

fn tail<'gc>(pair: Datum<'gc>) -> Result<Datum<'gc>> {
    let Datum::Pair(pair) = pair else { return Err(Error::Type("a pair")) };
    Ok(pair.tail.get())
}

fn int(value: Datum<'_>) -> Result<i64> {
    let Datum::Number(n) = value else { return Err(Error::Type("an integer")) };
    Ok(n)
}

fn bind<'gc>(
    mc: &Mutation<'gc>,
    mut parameters: Datum<'gc>,
    mut arguments: Datum<'gc>,
    mut inner: Env<'gc>,
    env: Env<'gc>,
    depth: usize,
) -> Result<Env<'gc>> {
    while let Datum::Pair(parameter) = parameters {
        let Datum::Symbol(symbol) = parameter.head else { return fail("parameters are symbols") };
        let Datum::Pair(argument) = arguments else { return fail("too few arguments") };
        let value = eval(mc, argument.head, env, depth)?;
        inner = Some(Gc::new(mc, Binding { symbol, value, next: inner }));
        (parameters, arguments) = (parameter.tail.get(), argument.tail.get());
    }
    Ok(inner)
}

fn call<'gc>(mc: &Mutation<'gc>, builtin: Builtin, a: Datum<'gc>, b: Datum<'gc>) -> Result<Datum<'gc>> {
    let truth = |holds: bool| if holds { Datum::Number(1) } else { Datum::Nil };
    Ok(match builtin {
        Builtin::Add => Datum::Number(int(a)?.wrapping_add(int(b)?)),
        Builtin::Subtract => Datum::Number(int(a)?.wrapping_sub(int(b)?)),
        Builtin::Multiply => Datum::Number(int(a)?.wrapping_mul(int(b)?)),
        Builtin::Less => truth(int(a)? < int(b)?),
        Builtin::Same => truth(match (a, b) {
            (Datum::Number(a), Datum::Number(b)) => a == b,
            (Datum::Nil, Datum::Nil) => true,
            (Datum::Pair(a), Datum::Pair(b)) => Gc::ptr_eq(a, b),
            (Datum::Symbol(a), Datum::Symbol(b)) => Gc::ptr_eq(a, b),
            (Datum::Closure(a), Datum::Closure(b)) => Gc::ptr_eq(a, b),
            _ => false,
        }),
        Builtin::Cons => pair(mc, a, b),
        Builtin::Car => head(a)?,
        Builtin::Cdr => tail(a)?,
        Builtin::IsPair => truth(matches!(a, Datum::Pair(_))),
        Builtin::SetCdr => {
            let Datum::Pair(pair) = a else { return Err(Error::Type("a pair")) };
            barrier::unlock!(Gc::write(mc, pair), Pair, tail).set(b);
            a
        }
    })
}
