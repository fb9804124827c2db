//! The automata of parsers made by `ocamlyacc` (OCaml's `parsing.c`).
//!
//! The automaton runs until it needs the OCaml side: to read a token, to grow the stacks, to compute a semantic action
//! or to report an error. It then saves its registers, and is called again with the result.

use spelter_heap::raw::tag;
use spelter_interp::{Machine, Raise, Res, Slot, Val, fallible, prims};

use crate::boolean;
use crate::ffi;
use crate::ffi::floats::DoubleDirective;
use crate::io::channels::Io;
use crate::io::errors::complain;

/// Fields of `Parsing.parse_tables`.
mod table {
    pub(super) const TRANSL_CONST: usize = 1;
    pub(super) const TRANSL_BLOCK: usize = 2;
    pub(super) const LHS: usize = 3;
    pub(super) const LEN: usize = 4;
    pub(super) const DEFRED: usize = 5;
    pub(super) const DGOTO: usize = 6;
    pub(super) const SINDEX: usize = 7;
    pub(super) const RINDEX: usize = 8;
    pub(super) const GINDEX: usize = 9;
    pub(super) const TABLESIZE: usize = 10;
    pub(super) const TABLE: usize = 11;
    pub(super) const CHECK: usize = 12;
    pub(super) const NAMES_CONST: usize = 14;
    pub(super) const NAMES_BLOCK: usize = 15;
}

/// Fields of `Parsing.parser_env`.
mod env {
    pub(super) const S_STACK: usize = 0;
    pub(super) const V_STACK: usize = 1;
    pub(super) const SYMB_START_STACK: usize = 2;
    pub(super) const SYMB_END_STACK: usize = 3;
    pub(super) const STACKSIZE: usize = 4;
    pub(super) const STACKBASE: usize = 5;
    pub(super) const CURR_CHAR: usize = 6;
    pub(super) const LVAL: usize = 7;
    pub(super) const SYMB_START: usize = 8;
    pub(super) const SYMB_END: usize = 9;
    pub(super) const ASP: usize = 10;
    pub(super) const RULE_LEN: usize = 11;
    pub(super) const RULE_NUMBER: usize = 12;
    pub(super) const SP: usize = 13;
    pub(super) const STATE: usize = 14;
    pub(super) const ERRFLAG: usize = 15;
}

/// The token code for an error in the tables.
const ERRCODE: i64 = 256;
/// Tokens to read after an error before the next one is reported.
const ERROR_DISTANCE: i64 = 3;

/// The input from the OCaml side: the constructors of `Parsing.parser_input`.
mod input {
    pub(super) const START: i64 = 0;
    pub(super) const TOKEN_READ: i64 = 1;
    pub(super) const STACKS_GROWN_1: i64 = 2;
    pub(super) const STACKS_GROWN_2: i64 = 3;
    pub(super) const SEMANTIC_ACTION_COMPUTED: i64 = 4;
    pub(super) const ERROR_DETECTED: i64 = 5;
}

/// The request to the OCaml side: the constructors of `Parsing.parser_output`.
#[derive(Clone, Copy)]
enum Output {
    ReadToken = 0,
    RaiseParseError = 1,
    GrowStacks1 = 2,
    GrowStacks2 = 3,
    ComputeSemanticAction = 4,
    CallErrorFunction = 5,
}

/// The automaton's position within one round.
enum Step {
    /// Check whether the state reduces without looking at a token.
    Loop,
    /// A token is available.
    TestShift,
    /// Go to this state.
    Shift(i64),
    /// Push the state on the stacks.
    Push,
    /// Apply this rule.
    Reduce(i64),
    /// An error is being recovered from.
    Recover,
}

/// Whether automata trace what they do.
#[derive(Default)]
struct Trace(Option<bool>);

fn trace(m: &mut Machine) -> bool {
    let from_start = m.params().parser_trace;
    m.ext::<Trace>().0.unwrap_or(from_start)
}

/// Whether the program itself has turned tracing on.
pub(crate) fn program_traces(m: &mut Machine) -> bool {
    m.ext::<Trace>().0 == Some(true)
}

/// A running automaton.
struct Parser<'a> {
    m: &'a mut Machine,
    tables: Slot,
    env: Slot,
    s_stack: Slot,
    v_stack: Slot,
    symb_start_stack: Slot,
    symb_end_stack: Slot,
    trace: bool,
    sp: i64,
    state: i64,
    errflag: i64,
}

fn bad_tables() -> Raise {
    Raise::invalid("parsing: an index in the automaton's tables is out of bounds")
}

impl Parser<'_> {
    /// Number `i` of a table of 16-bit little-endian numbers in a string.
    fn short(&self, table: usize, i: i64) -> Result<i64, Raise> {
        let bytes = self.m.val(self.tables).field(table)?.bytes()?;
        let at = usize::try_from(i).unwrap_or(usize::MAX / 2) * 2;
        let short = bytes.get(at..).and_then(<[u8]>::first_chunk).ok_or_else(bad_tables)?;
        Ok(i64::from(i16::from_le_bytes(*short)))
    }

    /// Entry `n` of the row whose base is entry `row` of the table `index`, if there is one.
    fn lookup(&self, index: usize, row: i64, n: i64) -> Result<Option<i64>, Raise> {
        let base = self.short(index, row)?;
        let at = base + n;
        let size = self.m.val(self.tables).field(table::TABLESIZE)?.int()?;
        if base != 0 && at >= 0 && at <= size && self.short(table::CHECK, at)? == n {
            return Ok(Some(self.short(table::TABLE, at)?));
        }
        Ok(None)
    }

    fn get(&self, field: usize) -> Result<i64, Raise> {
        Ok(self.m.val(self.env).field(field)?.int()?)
    }

    fn set(&mut self, field: usize, n: i64) -> Result<(), Raise> {
        self.m.set_field_int(self.env, field, n)
    }

    /// The state at a position of the stack.
    fn stacked_state(&self, at: i64) -> Result<i64, Raise> {
        Ok(self.m.val(self.s_stack).field(at as usize)?.int()?)
    }

    /// Copies field `from` of a block to field `to` of another.
    fn copy(&mut self, src: Slot, from: usize, dst: Slot, to: usize) -> Result<(), Raise> {
        let mark = self.m.mark();
        let v = self.m.push_field(src, from)?;
        self.m.set_field(dst, to, v)?;
        self.m.release(mark);
        Ok(())
    }

    fn save(&mut self) -> Result<(), Raise> {
        self.set(env::SP, self.sp)?;
        self.set(env::STATE, self.state)?;
        self.set(env::ERRFLAG, self.errflag)
    }

    fn restore(&mut self) -> Result<(), Raise> {
        self.sp = self.get(env::SP)?;
        self.state = self.get(env::STATE)?;
        self.errflag = self.get(env::ERRFLAG)?;
        Ok(())
    }

    /// Prints a line on stderr, if tracing.
    fn say(&mut self, text: std::fmt::Arguments<'_>) {
        if self.trace {
            // As in C, a failure to write is ignored.
            complain(self.m, text);
        }
    }

    /// Takes the token that was read.
    fn token_read(&mut self, token: Slot) -> Result<(), Raise> {
        let v = self.m.val(token);
        let tables = self.m.val(self.tables);
        if v.is_block() {
            let translated = tables.field(table::TRANSL_BLOCK)?.field(usize::from(v.tag()?))?.int()?;
            self.set(env::CURR_CHAR, translated)?;
            self.copy(token, 0, self.env, env::LVAL)?;
        } else {
            let translated = tables.field(table::TRANSL_CONST)?.field(v.int()? as usize)?.int()?;
            self.set(env::CURR_CHAR, translated)?;
            self.set(env::LVAL, 0)?;
        }
        if self.trace {
            let mut line = format!("State {}: read token ", self.state).into_bytes();
            self.describe(token, &mut line)?;
            fallible::push(&mut line, b'\n')?;
            self.m.ext::<Io>().stderr.print(&line);
        }
        Ok(())
    }

    fn describe(&self, token: Slot, line: &mut Vec<u8>) -> Result<(), Raise> {
        let v = self.m.val(token);
        let tables = self.m.val(self.tables);
        if v.is_int() {
            fallible::extend(line, name(tables.field(table::NAMES_CONST)?.bytes()?, v.int()?))?;
            return Ok(());
        }
        fallible::extend(line, name(tables.field(table::NAMES_BLOCK)?.bytes()?, v.tag()?.into()))?;
        fallible::push(line, b'(')?;
        let v = v.field(0)?;
        match v.int() {
            Ok(n) => fallible::extend(line, n.to_string().as_bytes())?,
            Err(_) => match v.tag()? {
                tag::STRING => {
                    fallible::extend(line, v.bytes()?.split(|c| *c == 0).next().unwrap_or_default())?;
                }
                tag::DOUBLE => {
                    if let Some(g) = DoubleDirective::new(b"", None, None, b'g') {
                        ffi::floats::format_double(&g, v.float()?, line);
                    }
                }
                _ => fallible::push(line, b'_')?,
            },
        }
        Ok(fallible::push(line, b')')?)
    }

    fn run(&mut self, command: i64, arg: Slot) -> Result<Output, Raise> {
        let mut step = match command {
            input::START => {
                self.sp = self.get(env::SP)?;
                Step::Loop
            }
            input::TOKEN_READ => {
                self.restore()?;
                self.token_read(arg)?;
                Step::TestShift
            }
            input::ERROR_DETECTED => {
                self.restore()?;
                Step::Recover
            }
            input::STACKS_GROWN_1 => {
                self.restore()?;
                Step::Push
            }
            input::STACKS_GROWN_2 => {
                self.restore()?;
                return Ok(Output::ComputeSemanticAction);
            }
            input::SEMANTIC_ACTION_COMPUTED => {
                self.restore()?;
                self.store_action(arg)?;
                Step::Loop
            }
            _ => return Ok(Output::RaiseParseError),
        };
        loop {
            step = match step {
                Step::Loop => match self.short(table::DEFRED, self.state)? {
                    0 if self.get(env::CURR_CHAR)? >= 0 => Step::TestShift,
                    0 => {
                        self.save()?;
                        return Ok(Output::ReadToken);
                    }
                    rule => Step::Reduce(rule),
                },
                Step::TestShift => {
                    let token = self.get(env::CURR_CHAR)?;
                    if let Some(to) = self.lookup(table::SINDEX, self.state, token)? {
                        self.set(env::CURR_CHAR, -1)?;
                        self.errflag = (self.errflag - 1).max(0);
                        Step::Shift(to)
                    } else if let Some(rule) = self.lookup(table::RINDEX, self.state, token)? {
                        Step::Reduce(rule)
                    } else if self.errflag > 0 {
                        Step::Recover
                    } else {
                        self.save()?;
                        return Ok(Output::CallErrorFunction);
                    }
                }
                Step::Recover => match self.recover()? {
                    Some(step) => step,
                    None => return Ok(Output::RaiseParseError),
                },
                Step::Shift(to) => {
                    let state = self.state;
                    self.say(format_args!("State {state}: shift to state {to}"));
                    self.state = to;
                    self.sp += 1;
                    if self.sp >= self.get(env::STACKSIZE)? {
                        self.save()?;
                        return Ok(Output::GrowStacks1);
                    }
                    Step::Push
                }
                Step::Push => {
                    self.push()?;
                    Step::Loop
                }
                Step::Reduce(rule) => {
                    self.reduce(rule)?;
                    self.save()?;
                    let full = self.sp >= self.get(env::STACKSIZE)?;
                    return Ok(if full { Output::GrowStacks2 } else { Output::ComputeSemanticAction });
                }
            };
        }
    }

    /// Discards states until one can shift an error; or, soon after the last error, discards the token. `None` if that
    /// fails.
    fn recover(&mut self) -> Result<Option<Step>, Raise> {
        if self.errflag >= ERROR_DISTANCE {
            if self.get(env::CURR_CHAR)? == 0 {
                return Ok(None);
            }
            self.say(format_args!("Discarding last token read"));
            self.set(env::CURR_CHAR, -1)?;
            return Ok(Some(Step::Loop));
        }
        self.errflag = ERROR_DISTANCE;
        loop {
            let state = self.stacked_state(self.sp)?;
            if let Some(to) = self.lookup(table::SINDEX, state, ERRCODE)? {
                self.say(format_args!("Recovering in state {state}"));
                return Ok(Some(Step::Shift(to)));
            }
            self.say(format_args!("Discarding state {state}"));
            if self.sp <= self.get(env::STACKBASE)? {
                self.say(format_args!("No more states to discard"));
                return Ok(None);
            }
            self.sp -= 1;
        }
    }

    fn push(&mut self) -> Result<(), Raise> {
        let at = self.sp as usize;
        self.m.set_field_int(self.s_stack, at, self.state)?;
        self.copy(self.env, env::LVAL, self.v_stack, at)?;
        self.copy(self.env, env::SYMB_START, self.symb_start_stack, at)?;
        self.copy(self.env, env::SYMB_END, self.symb_end_stack, at)
    }

    /// Pops a rule's right-hand side off the stack, and finds the state after its left-hand side.
    fn reduce(&mut self, rule: i64) -> Result<(), Raise> {
        let state = self.state;
        self.say(format_args!("State {state}: reduce by rule {rule}"));
        let len = self.short(table::LEN, rule)?;
        self.set(env::ASP, self.sp)?;
        self.set(env::RULE_NUMBER, rule)?;
        self.set(env::RULE_LEN, len)?;
        self.sp += 1 - len;
        let lhs = self.short(table::LHS, rule)?;
        let below = self.stacked_state(self.sp - 1)?;
        self.state = match self.lookup(table::GINDEX, lhs, below)? {
            Some(state) => state,
            None => self.short(table::DGOTO, lhs)?,
        };
        Ok(())
    }

    /// Stores what a semantic action computed.
    fn store_action(&mut self, result: Slot) -> Result<(), Raise> {
        let (at, asp) = (self.sp as usize, self.get(env::ASP)?);
        self.m.set_field_int(self.s_stack, at, self.state)?;
        self.m.set_field(self.v_stack, at, result)?;
        self.copy(self.symb_end_stack, asp as usize, self.symb_end_stack, at)?;
        if self.sp > asp {
            // An empty right-hand side begins where it ends.
            self.copy(self.symb_end_stack, asp as usize, self.symb_start_stack, at)?;
        }
        Ok(())
    }
}

/// Name `n` of a list of NUL-terminated names that ends with an empty one.
fn name(names: &[u8], n: i64) -> &[u8] {
    let mut rest = names.split(|c| *c == 0);
    let mut name = rest.next().unwrap_or_default();
    for _ in 0..n {
        if name.is_empty() {
            return b"<unknown token>";
        }
        name = rest.next().unwrap_or_default();
    }
    name
}

fn parse_engine(m: &mut Machine, [tables, env, command, arg]: [Slot; 4]) -> Res<'_> {
    let command = m.int(command)?;
    let trace = trace(m);
    let s_stack = m.push_field(env, env::S_STACK)?;
    let v_stack = m.push_field(env, env::V_STACK)?;
    let symb_start_stack = m.push_field(env, env::SYMB_START_STACK)?;
    let symb_end_stack = m.push_field(env, env::SYMB_END_STACK)?;
    let mut parser = Parser {
        m,
        tables,
        env,
        s_stack,
        v_stack,
        symb_start_stack,
        symb_end_stack,
        trace,
        sp: 0,
        state: 0,
        errflag: 0,
    };
    Ok(Val::from_int(parser.run(command, arg)? as i64))
}

fn set_parser_trace(m: &mut Machine, [on]: [Slot; 1]) -> Res<'_> {
    let (before, on) = (trace(m), m.bool(on));
    m.ext::<Trace>().0 = Some(on);
    Ok(boolean(before))
}

prims! {
    "caml_parse_engine" P4 parse_engine,
    "caml_set_parser_trace" P1 set_parser_trace,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tokens() {
        let names = b"EOF\0INT\0PLUS\0\0";
        assert_eq!(name(names, 0), b"EOF");
        assert_eq!(name(names, 2), b"PLUS");
        assert_eq!(name(names, 3), b"");
        assert_eq!(name(names, 4), b"<unknown token>");
        assert_eq!(name(names, i64::MAX), b"<unknown token>");
    }
}
