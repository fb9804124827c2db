//! The generator of `Random` (OCaml's `prng.c`): L64X128 of the LXM family (Steele and Vigna, "LXM: Better Splittable
//! Pseudorandom Number Generators (and Almost as Fast)", figure 1).

use spelter_interp::prim::bigarray::Kind;
use spelter_interp::{Machine, Raise, Res, Slot, prims};

/// The multiplier of the linear congruential part.
const MULTIPLIER: u64 = 0xd134_2543_de82_ef95;
/// The multiplier of the mixing function.
const MIX: u64 = 0xdaba_0b6e_b093_22e3;

/// The state: the addend (odd), the linear congruential part, and the two words of the part that is linear over bits.
type State = [u64; 4];

/// The next number, and the state after it.
fn next([a, s, x0, x1]: State) -> (u64, State) {
    let mixed = s.wrapping_add(x0);
    let mixed = (mixed ^ mixed >> 32).wrapping_mul(MIX);
    let mixed = (mixed ^ mixed >> 32).wrapping_mul(MIX);
    let both = x0 ^ x1;
    let next = [
        a,
        s.wrapping_mul(MULTIPLIER).wrapping_add(a),
        x0.rotate_left(24) ^ both ^ both << 16,
        both.rotate_left(37),
    ];
    (mixed ^ mixed >> 32, next)
}

/// The state is a big array of four 64-bit integers.
fn lxm_next(m: &mut Machine, [state]: [Slot; 1]) -> Res<'_> {
    let wrong = || Raise::invalid("caml_lxm_next: not a state");
    let kind = m.numbers(state)?.kind();
    let (words, rest) = m.elements_mut(state)?.as_chunks_mut::<8>();
    let words: &mut [_; 4] = words.try_into().map_err(|_| wrong())?;
    if kind != Kind::Int64 || !rest.is_empty() {
        return Err(wrong());
    }
    let (number, next) = next(words.map(u64::from_le_bytes));
    *words = next.map(u64::to_le_bytes);
    m.new_int64(number as i64)
}

prims! {
    "caml_lxm_next" P1 lxm_next => since(V5_0),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of OCaml 5.1's `caml_lxm_next`.
    #[test]
    fn draws_the_numbers_of_ocaml() {
        let mut state = [1, 2, 3, 4];
        let mut draw = || {
            let number;
            (number, state) = next(state);
            number
        };
        assert_eq!(
            [draw(), draw(), draw()],
            [0x3594_601c_ea32_0f0e, 0x004b_667f_da28_5b58, 0x3095_a454_1b86_0473]
        );
    }
}
