//! Chains: sequences of instructions that run as one, and how the translator recognises them.
//!
//! A chain's cell replaces that of its first instruction. All other cells stay unchanged, so that jumps may go to any
//! of them.

use spelter_bytecode::Opcode;
use spelter_bytecode::opcode::{Flow, Since};

use super::own::{FIRST_INLINE, code};

// `for_each_chain!` passes the chains, `[FIRST SECOND …]` each, to the macro `$callback`. build.rs generates it from
// chains.txt.
include!(concat!(env!("OUT_DIR"), "/chains.rs"));
pub(super) use for_each_chain;

/// The maximum number of instructions in a chain.
const LONGEST: usize = 7;
/// Fills the entries after the last instruction of a chain.
const NONE: u16 = u16::MAX;

const fn padded(codes: &[u16]) -> [u16; LONGEST] {
    let mut chain = [NONE; LONGEST];
    let mut i = 0;
    while i < codes.len() {
        chain[i] = codes[i];
        i += 1;
    }
    chain
}

const fn len(chain: &[u16; LONGEST]) -> usize {
    let mut len = 0;
    while len < LONGEST && chain[len] != NONE {
        len += 1;
    }
    len
}

macro_rules! chain_codes {
    ($([$($name:ident)+])*) => {
        /// The instructions of each chain.
        static CHAINS: [[u16; LONGEST]; [$(stringify!($($name)+)),*].len()] =
            [$(padded(&[$(code::$name),+])),*];
    };
}
for_each_chain!(chain_codes);

// A chain does not check where its instructions continue: all but the last must continue with the next one.
const _: () = {
    let mut i = 0;
    while i < CHAINS.len() {
        let mut k = 0;
        while k + 1 < len(&CHAINS[i]) {
            assert!(goes_on(CHAINS[i][k]), "an instruction within a chain may go elsewhere: see `goes_on`");
            k += 1;
        }
        i += 1;
    }
};

/// Whether the quick form of an instruction either continues with the next instruction or gives up.
pub(crate) const fn goes_on(code: u16) -> bool {
    // An instruction for a primitive leaves everything that may raise to the primitive.
    let Some(op) = Opcode::from_word(code as i32) else { return code >= FIRST_INLINE };
    let facts = op.facts();
    let straight = match facts.flow {
        Flow::Next | Flow::PushRetaddr | Flow::Restart | Flow::Closure | Flow::ClosureRec => true,
        Flow::PushTrap | Flow::PopTrap => true,
        // The quick form of the other one returns partial applications.
        Flow::Grab => matches!(op, Opcode::GRAB),
        _ => false,
    };
    // Instructions that call continue elsewhere, except those whose quick form first tests whether there is anything to
    // call.
    let calls = facts.may_call() && !matches!(op, Opcode::CHECK_SIGNALS | Opcode::POPTRAP);
    straight && !calls && !matches!(facts.since, Since::Debugger)
}

/// Finds chains by their first two instructions, at each instruction that is translated.
pub(super) struct Index {
    /// For each chain, the number plus one of the next chain that begins with the same two and is not longer.
    next: [u16; CHAINS.len()],
    /// The first of these chains, by hash.
    first: [u16; ENTRIES],
}

/// The size of the hash table: a power of two, at least twice as many as there are chains.
const ENTRIES: usize = 2048;
const _: () = assert!(2 * CHAINS.len() <= ENTRIES, "ENTRIES is too small for the number of chains");

/// Computed at compile time.
pub(super) static INDEX: Index = Index::new();

impl Index {
    const fn new() -> Index {
        let mut index = Index { next: [0; CHAINS.len()], first: [0; ENTRIES] };
        let mut i = 0;
        while i < CHAINS.len() {
            index.insert(i);
            i += 1;
        }
        index
    }

    const fn insert(&mut self, i: usize) {
        let entry = self.entry(CHAINS[i][0], CHAINS[i][1]);
        let (mut before, mut at) = (0, self.first[entry]);
        while at != 0 && len(&CHAINS[at as usize - 1]) > len(&CHAINS[i]) {
            before = at;
            at = self.next[at as usize - 1];
        }
        self.next[i] = at;
        if before == 0 {
            self.first[entry] = i as u16 + 1;
        } else {
            self.next[before as usize - 1] = i as u16 + 1;
        }
    }

    /// The hash table index of the first chain that begins with these two, or of the free entry for it.
    const fn entry(&self, first: u16, second: u16) -> usize {
        let both = (first as u32) << 16 | second as u32;
        // Knuth's multiplicative hash, whose upper bits are better distributed.
        let mut entry = (both.wrapping_mul(0x9E37_79B1) >> 8) as usize % ENTRIES;
        while self.first[entry] != 0 {
            let chain = &CHAINS[self.first[entry] as usize - 1];
            if chain[0] == first && chain[1] == second {
                break;
            }
            entry = (entry + 1) % ENTRIES;
        }
        entry
    }

    /// The number of the longest chain that is a prefix of these instructions, which come with their positions.
    pub(super) fn find(&self, codes: &[(usize, u16)]) -> Option<usize> {
        let mut at = self.first[self.entry(codes.first()?.1, codes.get(1)?.1)];
        while let Some(i) = usize::from(at).checked_sub(1) {
            let mut chain = CHAINS[i].iter().take_while(|code| **code != NONE).enumerate();
            if chain.all(|(k, code)| codes.get(k).is_some_and(|(_, here)| here == code)) {
                return Some(i);
            }
            at = self.next[i];
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_chain_is_found_as_the_longest() {
        for (i, chain) in CHAINS.iter().enumerate() {
            let codes: Vec<(usize, u16)> = chain[..len(chain)].iter().copied().enumerate().collect();
            assert_eq!(INDEX.find(&codes), Some(i), "{chain:?}");
            // An instruction that continues no chain makes no difference.
            let longer = [codes.as_slice(), &[(codes.len(), code::STOP)]].concat();
            assert_eq!(INDEX.find(&longer), Some(i), "{chain:?}");
        }
    }

    #[test]
    fn instructions_that_may_go_elsewhere_only_end_chains() {
        for inner in
            [code::PUSHACC1, code::GRAB, code::RESTART, code::POPTRAP, code::CHECK_SIGNALS, code::ADD_FLOAT]
        {
            assert!(goes_on(inner), "{inner}");
        }
        let last = [code::BRANCH, code::BRANCHIF, code::SWITCH, code::APPLY1, code::APPTERM2, code::RETURN];
        let others = [code::GRAB_DYN, code::C_CALL1, code::RAISE, code::STOP, code::EVENT, code::REVOKED];
        for other in last.into_iter().chain(others) {
            assert!(!goes_on(other), "{other}");
        }
    }
}
