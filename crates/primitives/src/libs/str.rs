//! Matching for the `str` library (OCaml's `otherlibs/str/strstubs.c`): a backtracking interpreter of the programs that
//! `str.ml` compiles regular expressions to.
//!
//! A compiled expression is an ordinary OCaml block, so nothing in it is trusted: indices outside its program, pool or
//! text are refused. The interpreter's stack has a limit that compiled expressions never reach, and a match that takes
//! too long can be interrupted.

use spelter_interp::{Machine, Raise, Res, Slot, Val, fallible, families, prims};

/// Registers that a program may have.
const REGISTERS: usize = 64;
/// Rounds between two checks for an interrupt.
const ROUNDS: u32 = 1 << 16;

#[cold]
fn bad_regexp() -> Raise {
    Raise::invalid("Str: not a compiled regular expression")
}

/// Instructions, in the low byte of an integer; the argument is in the others.
mod op {
    pub(super) const CHAR: u8 = 0;
    pub(super) const CHARNORM: u8 = 1;
    pub(super) const STRING: u8 = 2;
    pub(super) const STRINGNORM: u8 = 3;
    pub(super) const CHARCLASS: u8 = 4;
    pub(super) const BOL: u8 = 5;
    pub(super) const EOL: u8 = 6;
    pub(super) const WORDBOUNDARY: u8 = 7;
    pub(super) const BEGGROUP: u8 = 8;
    pub(super) const ENDGROUP: u8 = 9;
    pub(super) const REFGROUP: u8 = 10;
    pub(super) const ACCEPT: u8 = 11;
    pub(super) const SIMPLEOPT: u8 = 12;
    pub(super) const SIMPLESTAR: u8 = 13;
    pub(super) const SIMPLEPLUS: u8 = 14;
    pub(super) const GOTO: u8 = 15;
    pub(super) const PUSHBACK: u8 = 16;
    pub(super) const SETMARK: u8 = 17;
    pub(super) const CHECKPROGRESS: u8 = 18;
}

/// A compiled regular expression.
struct Regexp<'m> {
    prog: Val<'m>,
    pool: Val<'m>,
    /// The normal form of each byte, if case does not matter.
    norm: &'m [u8],
    groups: usize,
    registers: usize,
    /// For each byte, whether a match may begin with it; `None` if a match may begin with any byte.
    start: Option<&'m [u8]>,
}

/// A set of bytes: a string of 32, with a bit for each.
#[derive(Clone, Copy)]
struct Set<'m>(&'m [u8; 32]);

impl Set<'_> {
    #[inline]
    fn has(self, byte: u8) -> bool {
        self.0[usize::from(byte >> 3)] >> (byte & 7) & 1 != 0
    }
}

impl<'m> Regexp<'m> {
    fn read(m: &'m Machine, re: Slot) -> Result<Self, Raise> {
        let re = m.val(re);
        let (prog, pool) = (re.field(0)?, re.field(1)?);
        let count = |i| Ok::<_, Raise>(usize::try_from(re.field(i)?.int()?).unwrap_or(usize::MAX));
        let (groups, registers) = (count(3)?, count(4)?);
        // Each group needs instructions.
        if groups > prog.wosize()? + 1 || registers > REGISTERS {
            return Err(bad_regexp());
        }
        let start = match re.field(5)?.int()? {
            -1 => None,
            i => Some(pool.field(i as usize)?.bytes()?),
        };
        Ok(Regexp { prog, pool, norm: re.field(2)?.bytes()?, groups, registers, start })
    }

    #[inline]
    fn string(&self, i: usize) -> Result<&'m [u8], Raise> {
        Ok(self.pool.field(i)?.bytes()?)
    }

    #[inline]
    fn set(&self, i: usize) -> Result<Set<'m>, Raise> {
        self.string(i)?.first_chunk().map(Set).ok_or_else(bad_regexp)
    }

    /// The function that normalises a byte.
    #[inline]
    fn normal(&self) -> impl Fn(u8) -> Result<u8, Raise> + use<'m> {
        let norm = self.norm;
        move |byte| norm.get(usize::from(byte)).copied().ok_or_else(bad_regexp)
    }

    /// Whether a match may begin with this byte.
    fn may_start(&self, byte: u8) -> Result<bool, Raise> {
        match self.start {
            None => Ok(true),
            Some(table) => Ok(*table.get(usize::from(byte)).ok_or_else(bad_regexp)? != 0),
        }
    }

    /// More entries than backtracking ever needs: in a compiled program, a match reaches an instruction at one place of
    /// the text only once, plus once for each enclosing loop that must check its progress.
    fn most_entries(&self, text: usize) -> Result<usize, Raise> {
        let ways = self.prog.wosize()?.saturating_mul(self.registers + 1);
        Ok(ways.saturating_mul(text.saturating_add(1)))
    }
}

/// Whether this is a letter of Latin-1, a digit or `_`.
fn is_word_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0xC0 && byte != 0xD7 && byte != 0xF7
}

/// An entry of the backtracking stack.
#[derive(Clone, Copy)]
enum Back {
    /// Continue at an instruction, at this place of the text.
    Point(usize, usize),
    /// Restore the start of a group, its end, or a register.
    Start(usize, Option<usize>),
    End(usize, Option<usize>),
    Mark(usize, Option<usize>),
}

/// The state of a match, and the alternatives that remain.
struct Matcher<'m> {
    m: &'m Machine,
    re: Regexp<'m>,
    text: &'m [u8],
    /// Whether the text may end early (`Str.string_partial_match`).
    partial: bool,
    groups: Vec<[Option<usize>; 2]>,
    registers: [Option<usize>; REGISTERS],
    stack: Vec<Back>,
    most_entries: usize,
    rounds: u32,
}

/// The outcome of an instruction.
enum Step {
    Next,
    Fail,
    /// The text ended where more was needed.
    Ended,
    Accept,
}

impl<'m> Matcher<'m> {
    fn new(m: &'m Machine, [re, text]: [Slot; 2], partial: bool) -> Result<Self, Raise> {
        let (re, text) = (Regexp::read(m, re)?, m.bytes(text)?);
        Ok(Matcher {
            m,
            text,
            partial,
            groups: fallible::filled([None; 2], re.groups.max(1))?,
            registers: [None; REGISTERS],
            stack: Vec::new(),
            most_entries: re.most_entries(text.len())?,
            rounds: 0,
            re,
        })
    }

    fn push(&mut self, back: Back) -> Result<Step, Raise> {
        if self.stack.len() >= self.most_entries {
            return Err(bad_regexp());
        }
        fallible::reserve(&mut self.stack, 1)?;
        self.stack.push(back);
        Ok(Step::Next)
    }

    /// Called for each loop iteration and each backtracking step.
    #[inline]
    fn round(&mut self) -> Result<(), Raise> {
        self.rounds(1)
    }

    /// The same for an operation that takes at most as long as this many rounds.
    #[inline]
    fn rounds(&mut self, count: usize) -> Result<(), Raise> {
        self.rounds = self.rounds.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        if self.rounds < ROUNDS {
            return Ok(());
        }
        self.rounds = 0;
        self.m.check_interrupt()
    }

    /// Whether the text at `at` continues with these bytes, after normalisation.
    #[inline]
    fn literal(
        &mut self,
        at: &mut usize,
        bytes: &[u8],
        normal: impl Fn(u8) -> Result<u8, Raise>,
    ) -> Result<Step, Raise> {
        for piece in bytes.chunks(ROUNDS as usize) {
            self.rounds(piece.len())?;
            for byte in piece {
                match self.text.get(*at) {
                    None => return Ok(Step::Ended),
                    Some(found) if normal(*found)? != *byte => return Ok(Step::Fail),
                    Some(_) => *at += 1,
                }
            }
        }
        Ok(Step::Next)
    }

    fn string(&self, i: usize) -> Result<&'m [u8], Raise> {
        let string = self.re.string(i)?;
        Ok(string.split(|byte| *byte == 0).next().unwrap_or_default())
    }

    fn at_word_boundary(&self, at: usize) -> Step {
        let letter = |at: usize| self.text.get(at).copied().map(is_word_letter);
        let before = at.checked_sub(1).and_then(letter);
        match (before, letter(at)) {
            (None, None) => Step::Ended,
            (before, after) if before.unwrap_or(false) != after.unwrap_or(false) => Step::Next,
            _ => Step::Fail,
        }
    }

    /// Skips bytes that are in a set.
    fn skip(&mut self, at: &mut usize, set: Set<'_>, most: usize) -> Result<(), Raise> {
        let rest = self.text.get(*at..).unwrap_or_default();
        for piece in rest[..rest.len().min(most)].chunks(ROUNDS as usize) {
            let n = piece.iter().take_while(|byte| set.has(**byte)).count();
            *at += n;
            self.rounds(n)?;
            if n < piece.len() {
                break;
            }
        }
        Ok(())
    }

    /// Runs the instruction at `*pc`.
    #[inline]
    fn step(&mut self, pc: &mut usize, at: &mut usize) -> Result<Step, Raise> {
        let word = self.re.prog.field(*pc)?.int()?;
        *pc += 1;
        let (arg, target) = ((word as u64 >> 8) as usize, pc.wrapping_add_signed((word >> 8) as isize));
        match word as u8 {
            op::CHAR => match self.text.get(*at) {
                None => return Ok(Step::Ended),
                Some(byte) if usize::from(*byte) != arg => return Ok(Step::Fail),
                Some(_) => *at += 1,
            },
            op::CHARNORM => return self.literal(at, &[arg as u8], self.re.normal()),
            op::STRING => return self.literal(at, self.string(arg)?, Ok),
            op::STRINGNORM => return self.literal(at, self.string(arg)?, self.re.normal()),
            op::CHARCLASS => match self.text.get(*at) {
                None => return Ok(Step::Ended),
                Some(byte) if !self.re.set(arg)?.has(*byte) => return Ok(Step::Fail),
                Some(_) => *at += 1,
            },
            op::BOL => {
                let before = at.checked_sub(1).and_then(|i| self.text.get(i));
                return Ok(if before.is_none_or(|byte| *byte == b'\n') { Step::Next } else { Step::Fail });
            }
            op::EOL => {
                let next = self.text.get(*at);
                return Ok(if next.is_none_or(|byte| *byte == b'\n') { Step::Next } else { Step::Fail });
            }
            op::WORDBOUNDARY => return Ok(self.at_word_boundary(*at)),
            op::BEGGROUP => {
                let [start, _] = self.groups.get_mut(arg).ok_or_else(bad_regexp)?;
                let back = Back::Start(arg, start.replace(*at));
                return self.push(back);
            }
            op::ENDGROUP => {
                let [_, end] = self.groups.get_mut(arg).ok_or_else(bad_regexp)?;
                let back = Back::End(arg, end.replace(*at));
                return self.push(back);
            }
            op::REFGROUP => {
                let [Some(start), Some(end)] = *self.groups.get(arg).ok_or_else(bad_regexp)? else {
                    return Ok(Step::Fail);
                };
                let text = self.text;
                return self.literal(at, text.get(start..end).unwrap_or_default(), Ok);
            }
            op::ACCEPT => return Ok(Step::Accept),
            op::SIMPLEOPT => self.skip(at, self.re.set(arg)?, 1)?,
            op::SIMPLESTAR => self.skip(at, self.re.set(arg)?, usize::MAX)?,
            op::SIMPLEPLUS => {
                let (set, before) = (self.re.set(arg)?, *at);
                self.skip(at, set, usize::MAX)?;
                if *at == before {
                    return Ok(if before == self.text.len() { Step::Ended } else { Step::Fail });
                }
            }
            op::GOTO => {
                self.round()?;
                *pc = target;
            }
            op::PUSHBACK => return self.push(Back::Point(target, *at)),
            op::SETMARK => {
                let register = self.registers.get_mut(arg).ok_or_else(bad_regexp)?;
                let back = Back::Mark(arg, register.replace(*at));
                return self.push(back);
            }
            op::CHECKPROGRESS => {
                let mark = self.registers.get(arg).ok_or_else(bad_regexp)?;
                return Ok(if *mark == Some(*at) { Step::Fail } else { Step::Next });
            }
            _ => return Err(bad_regexp()),
        }
        Ok(Step::Next)
    }

    /// Undoes the changes since the last alternative, and returns the point at which that continues.
    fn backtrack(&mut self) -> Option<(usize, usize)> {
        loop {
            match self.stack.pop()? {
                Back::Point(pc, at) => return Some((pc, at)),
                Back::Start(group, old) => self.groups[group][0] = old,
                Back::End(group, old) => self.groups[group][1] = old,
                Back::Mark(register, old) => self.registers[register] = old,
            }
        }
    }

    /// Whether the expression matches at `from`; the groups then hold the match.
    fn matches(&mut self, from: usize) -> Result<bool, Raise> {
        self.groups.fill([None; 2]);
        self.registers = [None; REGISTERS];
        self.stack.clear();
        self.groups[0][0] = Some(from);
        let (mut pc, mut at) = (0, from);
        loop {
            let step = self.step(&mut pc, &mut at)?;
            match step {
                Step::Next => continue,
                Step::Accept => break,
                Step::Ended if self.partial => break,
                Step::Fail | Step::Ended => {}
            }
            self.round()?;
            match self.backtrack() {
                Some(point) => (pc, at) = point,
                None => return Ok(false),
            }
        }
        self.groups[0][1] = Some(at);
        Ok(true)
    }

    /// The groups' places in the form that `Str` expects: -1 for unmatched groups. When a partial match ends within a
    /// group that has matched before, that group has a new start and an old end.
    fn places(&self) -> Result<Vec<i64>, Raise> {
        let drops_reversed = self.m.behaviour().str_drops_reversed_groups;
        let place = |group: &[Option<usize>; 2]| match *group {
            [Some(start), Some(end)] if start > end && drops_reversed => [-1, -1],
            [Some(start), Some(end)] => [start as i64, end as i64],
            _ => [-1, -1],
        };
        Ok(fallible::collect(self.groups.iter().take(self.re.groups).flat_map(place))?)
    }
}

/// The place in the text where matching begins.
fn start(m: &Machine, text: Slot, pos: Slot, who: &'static str) -> Result<usize, Raise> {
    let (len, pos) = (m.bytes(text)?.len(), m.index(pos)?);
    if pos > len { Err(Raise::invalid(who)) } else { Ok(pos) }
}

/// An array of the groups' places; empty if there is no match.
fn answer(m: &mut Machine, places: Option<Vec<i64>>) -> Res<'_> {
    m.new_array(places.unwrap_or_default(), |_, place| Ok(Val::from_int(place)))
}

fn match_at(m: &mut Machine, [re, text]: [Slot; 2], at: usize, partial: bool) -> Res<'_> {
    let places = m.with_room(|m| {
        let mut matcher = Matcher::new(m, [re, text], partial)?;
        matcher.matches(at)?.then(|| matcher.places()).transpose()
    })?;
    answer(m, places)
}

fn string_match(m: &mut Machine, [re, text, pos]: [Slot; 3]) -> Res<'_> {
    let at = start(m, text, pos, "Str.string_match")?;
    match_at(m, [re, text], at, false)
}

fn partial_match(m: &mut Machine, [re, text, pos]: [Slot; 3]) -> Res<'_> {
    let at = start(m, text, pos, "Str.string_partial_match")?;
    match_at(m, [re, text], at, true)
}

/// The first match at one of these places, skipping places where none can begin, except `last`, where the search ends.
fn search(
    m: &mut Machine,
    [re, text]: [Slot; 2],
    places: impl Iterator<Item = usize> + Clone,
    last: usize,
) -> Res<'_> {
    let found = m.with_room(|m| {
        let mut matcher = Matcher::new(m, [re, text], false)?;
        for at in places.clone() {
            // After its last byte, a string has a zero.
            let byte = matcher.text.get(at).copied().unwrap_or(0);
            matcher.round()?;
            if at != last && !matcher.re.may_start(byte)? {
                continue;
            }
            if matcher.matches(at)? {
                return Ok(Some(matcher.places()?));
            }
        }
        Ok(None)
    })?;
    answer(m, found)
}

fn search_forward(m: &mut Machine, [re, text, pos]: [Slot; 3]) -> Res<'_> {
    let from = start(m, text, pos, "Str.search_forward")?;
    let end = m.bytes(text)?.len();
    search(m, [re, text], from..=end, end)
}

fn search_backward(m: &mut Machine, [re, text, pos]: [Slot; 3]) -> Res<'_> {
    let from = start(m, text, pos, "Str.search_backward")?;
    search(m, [re, text], (0..=from).rev(), 0)
}

/// A replacement with its references to groups replaced.
fn replacement_text(m: &mut Machine, [replacement, groups, text]: [Slot; 3]) -> Res<'_> {
    let unmatched = || Raise::failure("Str.replace: reference to unmatched group");
    let mut bytes = m.bytes(replacement)?.iter().copied();
    let (groups, text) = (m.val(groups), m.bytes(text)?);
    let mut out = fallible::with_capacity(bytes.len())?;
    while let Some(byte) = bytes.next() {
        fallible::reserve(&mut out, 2)?;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next() {
            None => return Err(Raise::failure("Str.replace: illegal backslash sequence")),
            Some(b'\\') => out.push(b'\\'),
            Some(digit @ b'0'..=b'9') => {
                let i = 2 * usize::from(digit - b'0');
                if i >= groups.wosize()? || groups.field(i)?.int()? == -1 {
                    return Err(unmatched());
                }
                let place = groups.field(i)?.int()? as usize..groups.field(i + 1)?.int()? as usize;
                fallible::extend(&mut out, text.get(place).ok_or_else(Raise::bounds)?)?;
            }
            Some(other) => out.extend([b'\\', other]),
        }
    }
    m.new_string(&out)
}

families! {
    /// All primitives of the library.
    pub(crate) static PRIMITIVES = [TABLE];
}

prims! {
    "re_string_match" P3 string_match,
    "re_partial_match" P3 partial_match,
    "re_search_forward" P3 search_forward,
    "re_search_backward" P3 search_backward,
    "re_replacement_text" P3 replacement_text,
}

#[cfg(test)]
mod tests {
    use spelter_interp::Settings;

    use super::*;

    /// An instruction with its argument.
    fn word(op: u8, arg: i64) -> i64 {
        arg << 8 | i64::from(op)
    }

    /// Matches "abcabc" at its start with a handwritten program; returns the groups' places.
    fn run(m: &mut Machine, prog: &[i64], groups: i64, registers: i64) -> Result<Vec<i64>, Raise> {
        let mark = m.mark();
        let prog = m.push(|m| m.new_array(prog.iter().copied(), |_, word| Ok(Val::from_int(word))))?;
        let set = m.push(|m| m.new_string(&[0xFF; 32]))?;
        let literal = m.push(|m| m.new_string(b"abc\0never"))?;
        let pool = m.push(|m| m.new_block(0, &[set, literal]))?;
        let norm = m.push(|m| m.new_string(b""))?;
        let [groups, registers, start] = [groups, registers, -1].map(|n| m.push_int(n));
        let re = m.push(|m| m.new_block(0, &[prog, pool, norm, groups, registers, start]))?;
        let text = m.push(|m| m.new_string(b"abcabc"))?;
        let pos = m.push_int(0);
        let places = string_match(m, [re, text, pos])
            .and_then(|v| (0..v.wosize()?).map(|i| Ok(v.field(i)?.int()?)).collect());
        m.release(mark);
        places
    }

    #[test]
    fn strings_of_the_pool_end_at_their_first_zero() {
        let mut m = Machine::new(Settings::default());
        let prog =
            [word(op::BEGGROUP, 1), word(op::STRING, 1), word(op::ENDGROUP, 1), word(op::REFGROUP, 1), 11];
        assert_eq!(run(&mut m, &prog, 2, 0), Ok(vec![0, 6, 0, 3]));
    }

    #[test]
    fn invalid_expressions_are_refused() {
        let mut m = Machine::new(Settings::default());
        let refused: &[(&[i64], i64, i64)] = &[
            (&[], 1, 0),
            (&[word(op::CHARNORM, 97), 11], 1, 0),
            (&[word(op::CHARCLASS, 1), 11], 1, 0),
            (&[word(op::STRING, 2)], 1, 0),
            (&[word(op::STRING, -1)], 1, 0),
            (&[word(op::BEGGROUP, 1), 11], 1, 0),
            (&[word(op::ENDGROUP, -1), 11], 1, 0),
            (&[word(op::REFGROUP, 7), 11], 1, 0),
            (&[word(op::SETMARK, 64), 11], 1, 1),
            (&[word(op::CHECKPROGRESS, 1 << 40), 11], 1, 1),
            (&[word(op::GOTO, 5)], 1, 0),
            (&[word(op::GOTO, -9)], 1, 0),
            (&[19], 1, 0),
            (&[11], 1 << 50, 0),
            (&[11], 1, 65),
            (&[11], -1, -1),
        ];
        for (prog, groups, registers) in refused {
            let outcome = run(&mut m, prog, *groups, *registers);
            assert!(matches!(outcome, Err(Raise::Invalid(_))), "{prog:?}: {outcome:?}");
        }
    }

    #[test]
    fn endless_matches_are_bounded_in_memory_and_can_be_interrupted() {
        let mut m = Machine::new(Settings::default());
        let grows = [word(op::PUSHBACK, 5), word(op::GOTO, -2)];
        assert_eq!(run(&mut m, &grows, 1, 0), Err(bad_regexp()));
        let turns = [word(op::GOTO, -1)];
        let comes_back = [word(op::PUSHBACK, -1), word(op::CHAR, 0)];
        for prog in [&turns[..], &comes_back] {
            assert!(m.interrupt_handle().interrupt());
            let _call = m.begin_call();
            assert_eq!(run(&mut m, prog, 1, 0), Err(Raise::Interrupted));
        }
    }

    #[test]
    fn random_programs_stay_within_bounds() {
        let mut m = Machine::new(Settings::default());
        // A linear congruential generator: the same programs each time.
        let mut state = 1u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        for _ in 0..5000 {
            let len = 1 + random(12);
            let prog: Vec<i64> = (0..len).map(|_| word(random(20) as u8, random(7) as i64 - 3)).collect();
            m.interrupt_handle().interrupt();
            let _call = m.begin_call();
            match run(&mut m, &prog, 1 + random(3) as i64, random(4) as i64) {
                Ok(places) => assert!(places.iter().all(|at| (-1..=6).contains(at)), "{prog:?}"),
                Err(Raise::Invalid(_) | Raise::Interrupted) => {}
                Err(other) => panic!("{prog:?}: {other:?}"),
            }
        }
    }
}
