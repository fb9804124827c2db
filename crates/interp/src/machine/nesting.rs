//! Limits how deep activations nest. Each uses native stack, and running out of that cannot be caught.

use crate::Raise;

/// The maximum number of activations, if each uses little.
const MOST: usize = 1000;
/// The native stack that they may use together: half of a Rust thread's default. How much one activation uses depends
/// on how the machine, and the host function that called it, were optimised.
const MOST_BYTES: usize = 1 << 20;

/// What is left of a stack whose end is known, for an activation and what it calls.
const RESERVE: usize = 512 << 10;

/// The activations of one thread.
#[derive(Clone, Copy, Default)]
pub(crate) struct Nesting {
    activations: usize,
    /// The address of the native stack at the outermost activation.
    outermost: usize,
}

impl Nesting {
    /// Whether no code is running.
    pub(crate) fn is_none(self) -> bool {
        self.activations == 0
    }

    /// Whether the only activation is the one that runs.
    pub(crate) fn is_single(self) -> bool {
        self.activations == 1
    }

    /// The nesting of one more activation inside these. A machine with libraries in C owns its threads' stacks, and
    /// knows where they end: there OCaml's runtime nests as deep as they allow.
    ///
    /// # Errors
    /// [`Raise::StackOverflow`] if there are too many.
    pub(crate) fn deeper(self, stack_end: Option<fn() -> usize>) -> Result<Self, Raise> {
        let local = 0u8;
        let here = (&raw const local).addr();
        let outermost = if self.activations == 0 { here } else { self.outermost };
        if self.activations >= MOST || outermost.abs_diff(here) > MOST_BYTES {
            match stack_end {
                Some(end) if here.saturating_sub(end()) > RESERVE => {}
                _ => return Err(Raise::StackOverflow),
            }
        }
        Ok(Self { activations: self.activations + 1, outermost })
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::thread;

    use super::*;

    /// How many activations fit that use at least `FRAME` bytes each, in a thread with Rust's default stack.
    fn deepest<const FRAME: usize>() -> usize {
        fn dive<const FRAME: usize>(nesting: Nesting) -> usize {
            let frame = [1u8; FRAME];
            let below = match nesting.deeper(None) {
                Ok(nesting) => 1 + dive::<FRAME>(nesting),
                Err(_) => 0,
            };
            below + usize::from(black_box(&frame)[0] == 0)
        }
        let thread = thread::Builder::new().stack_size(2 << 20).spawn(|| dive::<FRAME>(Nesting::default()));
        thread.unwrap().join().unwrap()
    }

    #[test]
    fn activations_reach_their_limit_before_the_native_stack_ends() {
        let large = deepest::<{ 64 << 10 }>();
        assert!((8..=17).contains(&large), "{large}");
        assert_eq!(deepest::<16>(), MOST);
    }

    #[test]
    fn where_the_end_is_known_they_go_on_until_shortly_before_it() {
        let local = 0u8;
        let here = (&raw const local).addr();
        let full = Nesting { activations: MOST, outermost: here };
        assert!(full.deeper(Some(|| 0)).is_ok());
        assert!(full.deeper(Some(|| usize::MAX)).is_err());
        assert!(full.deeper(None).is_err());
    }
}
