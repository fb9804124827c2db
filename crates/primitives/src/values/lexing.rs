//! The automata of lexers made by `ocamllex` (OCaml's `lexing.c`).

use spelter_interp::{Machine, Raise, Res, Slot, Val, fallible, prims};

/// Fields of `Lexing.lexbuf`.
mod field {
    pub(super) const BUFFER: usize = 1;
    pub(super) const BUFFER_LEN: usize = 2;
    pub(super) const START_POS: usize = 4;
    pub(super) const CURR_POS: usize = 5;
    pub(super) const LAST_POS: usize = 6;
    pub(super) const LAST_ACTION: usize = 7;
    pub(super) const EOF_REACHED: usize = 8;
    pub(super) const MEM: usize = 9;
}

/// The code for the end of the input in the tables.
const EOF: i64 = 256;

/// A table of 16-bit little-endian numbers in a string.
#[derive(Clone, Copy)]
struct Shorts<'m>(&'m [u8]);

impl Shorts<'_> {
    #[inline]
    fn get(self, i: i64) -> Result<i64, Raise> {
        let at = usize::try_from(i).unwrap_or(usize::MAX / 2) * 2;
        match self.0.get(at..).and_then(<[u8]>::first_chunk) {
            Some(bytes) => Ok(i64::from(i16::from_le_bytes(*bytes))),
            None => Err(bad_tables()),
        }
    }
}

#[cold]
fn bad_tables() -> Raise {
    Raise::invalid("lexing: an index in the automaton's tables is out of bounds")
}

/// The transitions of an automaton, or of its memory moves.
struct Tables<'m> {
    base: Shorts<'m>,
    backtrack: Shorts<'m>,
    default: Shorts<'m>,
    trans: Shorts<'m>,
    check: Shorts<'m>,
}

impl<'m> Tables<'m> {
    fn read(tables: Val<'m>, first: usize) -> Result<Self, Raise> {
        let table = |i| Ok::<_, Raise>(Shorts(tables.field(first + i)?.bytes()?));
        Ok(Tables {
            base: table(0)?,
            backtrack: table(1)?,
            default: table(2)?,
            trans: table(3)?,
            check: table(4)?,
        })
    }

    /// The transition for `c` from `state`, whose row begins at `base`.
    #[inline]
    fn step(&self, state: i64, base: i64, c: i64) -> Result<i64, Raise> {
        if self.check.get(base + c)? == state { self.trans.get(base + c) } else { self.default.get(state) }
    }
}

/// The registers of an automaton that remembers positions, and the code that moves them.
struct Memory<'m> {
    tables: Tables<'m>,
    code: &'m [u8],
    mem: Vec<i64>,
}

/// The number of bytes consumed between two checks for an interrupt.
const STEPS: u32 = 1 << 16;

/// Counts the work since the last check.
struct Looks<'m> {
    m: &'m Machine,
    steps: u32,
}

impl Looks<'_> {
    #[inline]
    fn step(&mut self) -> Result<(), Raise> {
        self.steps = self.steps.wrapping_add(1);
        if self.steps.is_multiple_of(STEPS) { self.m.check_interrupt() } else { Ok(()) }
    }
}

impl Memory<'_> {
    /// Runs the moves at `pc`: pairs of destination and source, ended by 255; a source of 255 means `value`.
    fn run(&mut self, pc: i64, value: i64, looks: &mut Looks<'_>) -> Result<(), Raise> {
        let mut code = usize::try_from(pc).ok().and_then(|pc| self.code.get(pc..)).ok_or_else(bad_tables)?;
        loop {
            looks.step()?;
            match *code {
                [0xFF, ..] => return Ok(()),
                [dst, src, ..] => {
                    let v = if src == 0xFF { Some(value) } else { self.mem.get(usize::from(src)).copied() };
                    let dst = self.mem.get_mut(usize::from(dst));
                    *dst.ok_or_else(bad_tables)? = v.ok_or_else(bad_tables)?;
                    code = &code[2..];
                }
                _ => return Err(bad_tables()),
            }
        }
    }
}

/// The part of a lexbuf that a run changes.
struct Position {
    start: i64,
    curr: i64,
    last: i64,
    last_action: i64,
    eof_reached: bool,
}

/// Runs from `start_state` until an action is found, or more input is needed (a negative result, which encodes the
/// state in which to continue). `None` means that no action matches.
fn run(
    tables: &Tables<'_>,
    memory: &mut Option<Memory<'_>>,
    start_state: i64,
    buffer: &[u8],
    p: &mut Position,
    looks: &mut Looks<'_>,
) -> Result<Option<i64>, Raise> {
    let mut state = start_state;
    if state >= 0 {
        p.start = p.curr;
        p.last = p.curr;
        p.last_action = -1;
    } else {
        state = -state - 1;
    }
    loop {
        looks.step()?;
        let base = tables.base.get(state)?;
        if base < 0 {
            if let Some(memory) = memory {
                memory.run(memory.tables.base.get(state)?, -1, looks)?;
            }
            return Ok(Some(-base - 1));
        }
        let backtrack = tables.backtrack.get(state)?;
        if backtrack >= 0 {
            if let Some(memory) = memory {
                memory.run(memory.tables.backtrack.get(state)?, -1, looks)?;
            }
            p.last = p.curr;
            p.last_action = backtrack;
        }
        let c = match usize::try_from(p.curr).ok().and_then(|at| buffer.get(at)) {
            Some(c) => {
                p.curr += 1;
                i64::from(*c)
            }
            None if p.eof_reached => EOF,
            None => return Ok(Some(-state - 1)),
        };
        let before = state;
        state = tables.step(state, base, c)?;
        if state < 0 {
            p.curr = p.last;
            return Ok((p.last_action != -1).then_some(p.last_action));
        }
        if let Some(memory) = memory {
            let base = memory.tables.base.get(before)?;
            let pc = memory.tables.step(before, base, c)?;
            if pc > 0 {
                memory.run(pc, p.curr, looks)?;
            }
        }
        // The end of the input counts as consumed only now that the automaton has gone past it.
        if c == EOF {
            p.eof_reached = false;
        }
    }
}

fn engine(m: &mut Machine, [tables, start, lexbuf]: [Slot; 3], with_memory: bool) -> Res<'_> {
    let start = m.int(start)?;
    let (action, position, mem) = {
        let (automaton, lexbuf) = (m.val(tables), m.val(lexbuf));
        let int = |i| lexbuf.field(i)?.int();
        let tables = Tables::read(automaton, 0)?;
        let mut memory = None;
        let mut looks = Looks { m, steps: 0 };
        if with_memory {
            let mem = lexbuf.field(field::MEM)?;
            let mut registers = fallible::with_capacity(mem.wosize()?)?;
            for i in 0..mem.wosize()? {
                registers.push(mem.field(i)?.int()?);
            }
            memory = Some(Memory {
                tables: Tables::read(automaton, 5)?,
                code: automaton.field(10)?.bytes()?,
                mem: registers,
            });
        }
        let buffer = lexbuf.field(field::BUFFER)?.bytes()?;
        let filled = usize::try_from(int(field::BUFFER_LEN)?).unwrap_or(0).min(buffer.len());
        let mut position = Position {
            start: int(field::START_POS)?,
            curr: int(field::CURR_POS)?,
            last: int(field::LAST_POS)?,
            last_action: int(field::LAST_ACTION)?,
            eof_reached: int(field::EOF_REACHED)? != 0,
        };
        let action = run(&tables, &mut memory, start, &buffer[..filled], &mut position, &mut looks)?;
        (action, position, memory.map(|memory| memory.mem))
    };
    m.set_field_int(lexbuf, field::START_POS, position.start)?;
    m.set_field_int(lexbuf, field::CURR_POS, position.curr)?;
    m.set_field_int(lexbuf, field::LAST_POS, position.last)?;
    m.set_field_int(lexbuf, field::LAST_ACTION, position.last_action)?;
    m.set_field_int(lexbuf, field::EOF_REACHED, position.eof_reached.into())?;
    if let Some(registers) = mem.filter(|registers| !registers.is_empty()) {
        let mem = m.push_field(lexbuf, field::MEM)?;
        for (i, v) in registers.into_iter().enumerate() {
            m.set_field_int(mem, i, v)?;
        }
    }
    match action {
        Some(action) => Ok(Val::from_int(action)),
        None => Err(Raise::failure("lexing: empty token")),
    }
}

fn lex_engine(m: &mut Machine, args: [Slot; 3]) -> Res<'_> {
    engine(m, args, false)
}

fn new_lex_engine(m: &mut Machine, args: [Slot; 3]) -> Res<'_> {
    engine(m, args, true)
}

prims! {
    "caml_lex_engine" P3 lex_engine,
    "caml_new_lex_engine" P3 new_lex_engine,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shorts(numbers: &[i16]) -> Vec<u8> {
        numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
    }

    /// An automaton for `a+`: state 0 is the start, state 1 is reached by each `a` and has action 0.
    #[test]
    fn runs_an_automaton() {
        let base = shorts(&[0, 0]);
        let backtrack = shorts(&[-1, 0]);
        let default = shorts(&[-1, -1]);
        let mut trans = vec![-1i16; 257];
        trans[usize::from(b'a')] = 1;
        let mut check = vec![-1i16; 257];
        check[usize::from(b'a')] = 0;
        let (trans, check) = (shorts(&trans), shorts(&check));
        let tables = Tables {
            base: Shorts(&base),
            backtrack: Shorts(&backtrack),
            default: Shorts(&default),
            trans: Shorts(&trans),
            check: Shorts(&check),
        };
        let m = Machine::new(spelter_interp::Settings::default());
        let mut looks = Looks { m: &m, steps: 0 };
        let mut p = Position { start: 0, curr: 1, last: 0, last_action: 7, eof_reached: false };
        // State 1 has no row in `check`, so that a second letter ends the token.
        assert_eq!(run(&tables, &mut None, 0, b"xaab", &mut p, &mut looks), Ok(Some(0)));
        assert_eq!((p.start, p.curr, p.last_action), (1, 2, 0));
        // Out of input: requests more, then continues at the end of the file.
        assert_eq!(
            run(&tables, &mut None, 0, b"xa", &mut Position { curr: 2, ..p }, &mut looks),
            Ok(Some(-1))
        );
        let mut p = Position { curr: 2, eof_reached: true, ..p };
        assert_eq!(run(&tables, &mut None, 0, b"xa", &mut p, &mut looks), Ok(None));
        // Invalid tables are an error, not a crash.
        assert_eq!(run(&tables, &mut None, 9, b"xa", &mut p, &mut looks), Err(bad_tables()));
    }
}
