//! Inputs that are not in the code: random choices, and the possible closures of unknown values.

use std::rc::Rc;

use spelter_bytecode::opcode::OpcodeSet;
use spelter_bytecode::verify::{Entry, Limits};
use spelter_bytecode::{Instr, Instructions, Opcode};

use super::machine::{Closures, Partial, Value};

/// The maximum number of arguments of a partial application: more would test nothing new.
const MANY: usize = 300;

/// Random numbers, reproducible by seed (SplitMix64).
#[derive(Debug, Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `n`, which is not 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// Code, decoded from its first word to its last.
#[derive(Debug)]
pub(crate) struct Code<'a> {
    instrs: Vec<Instr<'a>>,
    /// For each word, the index of the instruction that begins there.
    starts: Vec<Option<usize>>,
    /// The blocks of closures that its instructions create, even unreachable ones, because marshalled data can create
    /// them, too.
    closures: Vec<Rc<Closures>>,
    restarts: Vec<usize>,
    pub(crate) entry: Entry,
    pub(crate) globals: usize,
    pub(crate) prims: usize,
}

impl<'a> Code<'a> {
    /// `None` when it does not decode.
    pub(crate) fn new(words: &'a [i32], entry: Entry, limits: &Limits) -> Option<Code<'a>> {
        let instrs: Vec<Instr<'a>> =
            Instructions::new(words, OpcodeSet::V5_2).collect::<Result<_, _>>().ok()?;
        let mut starts = vec![None; words.len()];
        let mut restarts = Vec::new();
        let mut closures = Vec::new();
        if matches!(entry, Entry::Unit) {
            closures.push(Rc::new(Closures { entries: vec![0], vars: 0 }));
        }
        for (index, instr) in instrs.iter().enumerate() {
            starts[instr.pos] = Some(index);
            match instr.op {
                Opcode::RESTART => restarts.push(instr.pos),
                Opcode::CLOSURE | Opcode::CLOSUREREC => closures.extend(Closures::of(instr).map(Rc::new)),
                _ => {}
            }
        }
        Some(Code { instrs, starts, closures, restarts, entry, globals: limits.globals, prims: limits.prims })
    }

    pub(crate) fn at(&self, pc: i64) -> Option<&Instr<'a>> {
        let index = (*self.starts.get(usize::try_from(pc).ok()?)?)?;
        Some(&self.instrs[index])
    }

    pub(crate) fn len(&self) -> usize {
        self.starts.len()
    }

    /// A random callable value of this code: the shape of an unknown value when it is called. `None` is a function of
    /// other code.
    ///
    /// Marshalled data can hold every closure that the code can make, with as many variables as the code gives it, and
    /// every partial application of those: of fewer arguments than the function wants.
    pub(crate) fn any_callable(&self, chance: &mut Chance) -> Option<Value> {
        if !self.restarts.is_empty() && chance.one_in(3) {
            let restart = *chance.pick(&self.restarts);
            return self.any_partial(restart, chance);
        }
        if self.closures.is_empty() || chance.one_in(16) {
            return None;
        }
        let block = chance.pick(&self.closures);
        Some(Value::Closure(block.clone(), chance.below(block.entries.len())))
    }

    /// A partial application that restarts there. The `GRAB` after it limits the number of saved arguments; without
    /// one, there is no limit.
    fn any_partial(&self, restart: usize, chance: &mut Chance) -> Option<Value> {
        let behind = restart as i64 + 1;
        let grab = self.at(behind).filter(|instr| instr.op == Opcode::GRAB);
        let args = match grab {
            Some(grab) => {
                1 + chance.below(usize::try_from(grab.operands[0]).ok().filter(|n| *n > 0)?.min(MANY))
            }
            None => 1 + chance.below(MANY),
        };
        let mut functions = Vec::new();
        for block in &self.closures {
            for (index, entry) in block.entries.iter().enumerate() {
                if *entry == behind || grab.is_none() {
                    functions.push(Value::Closure(block.clone(), index));
                }
            }
        }
        if functions.is_empty() && grab.is_some() {
            return None;
        }
        let env = if functions.is_empty() { Value::Block } else { chance.pick(&functions).clone() };
        Some(Value::Partial(Rc::new(Partial { restart: restart as i64, env, args })))
    }
}
