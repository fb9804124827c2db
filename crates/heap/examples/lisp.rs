//! A small Lisp on the heap, in safe code. It has nothing to do with OCaml, and shows all that a client needs: a layout
//! for its data, and roots for the values that it holds.
//!
//! ```text
//! number  : integer          symbol  : Block(1; name)      builtin : Block(3; index)
//! ()      : empty block 0    pair    : Block(0; car, cdr)  closure : Block(2; parameters, body, env)
//! ```
//!
//! An environment is a list of pairs `(symbol . value)`; the global ones are in one mutable pair.
//!
//! Run it with a program on standard input: `echo "(+ 1 2)" | cargo run -p spelter-heap --example lisp`.

use spelter_heap::{Config, Heap, OutOfMemory, Root, WrongType};
use std::collections::HashMap;
use std::io::Read;
use std::process::ExitCode;

const PAIR: u8 = 0;
const SYMBOL: u8 = 1;
const CLOSURE: u8 = 2;
const BUILTIN: u8 = 3;

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

type Tokens<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;
type Result<T = Root> = std::result::Result<T, Error>;

fn fail<T>(what: impl Into<String>) -> Result<T> {
    Err(Error::Other(what.into()))
}

const BUILTINS: [&str; 10] = ["+", "-", "*", "<", "=", "cons", "car", "cdr", "pair?", "set-cdr!"];

/// An interpreter with its heap.
pub(crate) struct Lisp {
    heap: Heap,
    symbols: HashMap<String, Root>,
    nil: Root,
    globals: Root,
}

impl Lisp {
    /// An interpreter with the builtins defined.
    pub(crate) fn new(config: Config) -> Result<Lisp> {
        let mut heap = Heap::new(config);
        let nil = heap.block(PAIR, &[])?;
        let globals = heap.block(PAIR, &[(&nil).into(), (&nil).into()])?;
        let mut lisp = Lisp { heap, symbols: HashMap::new(), nil, globals };
        for (i, name) in (0..).zip(BUILTINS) {
            let symbol = lisp.symbol(name)?;
            let builtin = lisp.heap.block(BUILTIN, &[i.into()])?;
            lisp.define(&symbol, &builtin)?;
        }
        Ok(lisp)
    }

    /// The heap, for inspection.
    pub(crate) fn heap(&mut self) -> &mut Heap {
        &mut self.heap
    }

    /// Evaluates all expressions of a program, and prints the last value.
    pub(crate) fn run(&mut self, program: &str) -> Result<String> {
        let spaced = program.replace('(', " ( ").replace(')', " ) ").replace('\'', " ' ");
        let mut tokens = spaced.split_whitespace().peekable();
        let mut last = self.nil.clone();
        while tokens.peek().is_some() {
            let expression = self.read(&mut tokens)?;
            last = self.eval(expression, self.nil.clone())?;
        }
        self.print(&last)
    }

    // Data.

    fn symbol(&mut self, name: &str) -> Result {
        if let Some(symbol) = self.symbols.get(name) {
            return Ok(symbol.clone());
        }
        let string = self.heap.string(name.as_bytes())?;
        let symbol = self.heap.block(SYMBOL, &[(&string).into()])?;
        self.symbols.insert(name.to_owned(), symbol.clone());
        Ok(symbol)
    }
    fn cons(&mut self, car: &Root, cdr: &Root) -> Result {
        Ok(self.heap.block(PAIR, &[car.into(), cdr.into()])?)
    }
    fn car(&self, pair: &Root) -> Result {
        Ok(self.heap.field(pair, 0)?)
    }
    fn cdr(&self, pair: &Root) -> Result {
        Ok(self.heap.field(pair, 1)?)
    }
    fn nth(&self, list: &Root, n: usize) -> Result {
        let mut list = list.clone();
        for _ in 0..n {
            list = self.cdr(&list)?;
        }
        self.car(&list)
    }
    fn is_nil(&self, v: &Root) -> bool {
        self.same(v, &self.nil)
    }
    fn same(&self, a: &Root, b: &Root) -> bool {
        self.heap.get(a).same(self.heap.get(b))
    }
    fn is(&self, v: &Root, tag: u8) -> bool {
        self.heap.get(v).tag() == Ok(tag) && !self.is_nil(v)
    }
    fn name(&self, symbol: &Root) -> Result<String> {
        Ok(String::from_utf8_lossy(self.heap.get(symbol).field(0)?.bytes()?).into_owned())
    }
    fn bool(&self, b: bool) -> Root {
        if b { self.heap.int(1) } else { self.nil.clone() }
    }

    // Reading and printing.

    fn read(&mut self, tokens: &mut Tokens<'_>) -> Result {
        match tokens.next() {
            None => fail("the program ends inside an expression"),
            Some("(") => self.read_list(tokens),
            Some(")") => fail("a closing parenthesis has no opening one"),
            Some("'") => {
                let quoted = self.read(tokens)?;
                let rest = self.cons(&quoted, &self.nil.clone())?;
                let quote = self.symbol("quote")?;
                self.cons(&quote, &rest)
            }
            Some(token) => match token.parse() {
                Ok(n) => Ok(self.heap.int(n)),
                Err(_) => self.symbol(token),
            },
        }
    }
    /// After the opening parenthesis: items, perhaps a dot and a tail, and the closing one.
    fn read_list(&mut self, tokens: &mut Tokens<'_>) -> Result {
        let mut items = Vec::new();
        let mut list = self.nil.clone();
        while tokens.next_if_eq(&")").is_none() {
            if tokens.peek().is_none() {
                return fail("the program ends inside a list");
            }
            if tokens.next_if_eq(&".").is_some() {
                list = self.read(tokens)?;
            } else {
                items.push(self.read(tokens)?);
            }
        }
        for item in items.iter().rev() {
            list = self.cons(item, &list)?;
        }
        Ok(list)
    }

    fn print(&self, v: &Root) -> Result<String> {
        let val = self.heap.get(v);
        if let Ok(n) = val.int() {
            return Ok(n.to_string());
        }
        if self.is_nil(v) {
            return Ok("()".into());
        }
        match val.tag()? {
            SYMBOL => self.name(v),
            PAIR => {
                let mut text = format!("({}", self.print(&self.car(v)?)?);
                let mut rest = self.cdr(v)?;
                while self.is(&rest, PAIR) {
                    text += &format!(" {}", self.print(&self.car(&rest)?)?);
                    rest = self.cdr(&rest)?;
                }
                if !self.is_nil(&rest) {
                    text += &format!(" . {}", self.print(&rest)?);
                }
                Ok(text + ")")
            }
            _ => Ok("#<function>".into()),
        }
    }

    // Environments.

    fn bind(&mut self, symbol: &Root, value: &Root, env: &Root) -> Result {
        let binding = self.cons(symbol, value)?;
        self.cons(&binding, env)
    }
    fn define(&mut self, symbol: &Root, value: &Root) -> Result<()> {
        let globals = self.car(&self.globals)?;
        let globals = self.bind(symbol, value, &globals)?;
        Ok(self.heap.set(&self.globals, 0, &globals)?)
    }
    fn lookup(&self, symbol: &Root, env: &Root) -> Result {
        for mut env in [env.clone(), self.car(&self.globals)?] {
            while !self.is_nil(&env) {
                let binding = self.car(&env)?;
                if self.same(&self.car(&binding)?, symbol) {
                    return self.cdr(&binding);
                }
                env = self.cdr(&env)?;
            }
        }
        fail(format!("{} is not defined", self.name(symbol)?))
    }

    // Evaluation.

    fn eval(&mut self, mut expression: Root, mut env: Root) -> Result {
        loop {
            if self.is(&expression, SYMBOL) {
                return self.lookup(&expression, &env);
            }
            if !self.is(&expression, PAIR) {
                return Ok(expression);
            }
            let head = self.car(&expression)?;
            let rest = self.cdr(&expression)?;
            let form = if self.is(&head, SYMBOL) { self.name(&head)? } else { String::new() };
            match form.as_str() {
                "quote" => return self.car(&rest),
                "lambda" => {
                    let (parameters, body) = (self.car(&rest)?, self.nth(&rest, 1)?);
                    let fields = [(&parameters).into(), (&body).into(), (&env).into()];
                    return Ok(self.heap.block(CLOSURE, &fields)?);
                }
                "if" => {
                    let test = self.eval(self.car(&rest)?, env.clone())?;
                    expression = self.nth(&rest, if self.is_nil(&test) { 2 } else { 1 })?;
                }
                "define" => {
                    let value = self.eval(self.nth(&rest, 1)?, env)?;
                    self.define(&self.car(&rest)?, &value)?;
                    return Ok(value);
                }
                _ => {
                    let function = self.eval(head, env.clone())?;
                    let mut args = Vec::new();
                    let mut list = rest;
                    while !self.is_nil(&list) {
                        args.push(self.eval(self.car(&list)?, env.clone())?);
                        list = self.cdr(&list)?;
                    }
                    if self.is(&function, BUILTIN) {
                        return self.call_builtin(&function, &args);
                    }
                    if !self.is(&function, CLOSURE) {
                        return fail(format!("{} is not a function", self.print(&function)?));
                    }
                    // A tail call: evaluation continues with the closure's body.
                    env = self.heap.field(&function, 2)?;
                    let mut parameters = self.heap.field(&function, 0)?;
                    for arg in &args {
                        env = self.bind(&self.car(&parameters)?, arg, &env)?;
                        parameters = self.cdr(&parameters)?;
                    }
                    expression = self.heap.field(&function, 1)?;
                }
            }
        }
    }

    fn call_builtin(&mut self, builtin: &Root, args: &[Root]) -> Result {
        let [a, rest @ ..] = args else { return fail("a builtin needs an argument") };
        let b = rest.first().unwrap_or(&self.nil);
        let int = |v: &Root| self.heap.get(v).int();
        let index = self.heap.get(builtin).field(0)?.int()?;
        Ok(match BUILTINS[index as usize] {
            "+" => self.heap.int(int(a)?.wrapping_add(int(b)?)),
            "-" => self.heap.int(int(a)?.wrapping_sub(int(b)?)),
            "*" => self.heap.int(int(a)?.wrapping_mul(int(b)?)),
            "<" => self.bool(int(a)? < int(b)?),
            "=" => self.bool(self.same(a, b)),
            "cons" => self.cons(a, &b.clone())?,
            "car" => self.car(a)?,
            "cdr" => self.cdr(a)?,
            "pair?" => self.bool(self.is(a, PAIR)),
            _ => {
                self.heap.set(a, 1, &b.clone())?;
                a.clone()
            }
        })
    }
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
