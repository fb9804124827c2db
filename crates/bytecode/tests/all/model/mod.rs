//! A second judge of code, independent of the verifier: a machine of shapes that runs it.
//!
//! The verifier proves properties of code without running it. This machine runs code without proving anything: its
//! values are shapes, branches are random, and each step checks what the checked machine assumes: reading and popping
//! stack words, reading variables, finding frames. It was written from the reference of OCaml's bytecode and the
//! behaviour of `runtime/interp.c`, without knowledge of the verifier, so that the two do not share mistakes. Code
//! that the verifier accepts must run here for any time without a [`Violation`].
//!
//! | file | content |
//! |---|---|
//! | [`table`] | the effect of each instruction: the table of the reference, in executable form |
//! | [`machine`] | the state, and the operations on it, with their checks |
//! | [`world`] | inputs that are not in the code: random choices, closures from elsewhere |
//! | [`lines`] | code as lines whose targets are lines: to mutate, minimise and print it |
//! | [`grow`] | random programs that are mostly correct |
//! | [`mutate`] | mutations that make them wrong |
//! | [`judge`] | both judges run on one program |

pub(crate) mod grow;
pub(crate) mod judge;
pub(crate) mod lines;
pub(crate) mod machine;
pub(crate) mod mutate;
mod table;
pub(crate) mod world;
