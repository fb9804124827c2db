//! A second judge of code: a machine of shapes that runs it.
//!
//! The verifier proves things about code without running it. This machine runs code without proving anything: its values are
//! shapes, every branch goes where chance says, and at each step it looks at what the checked machine does without
//! looking: reading and popping stack words, reading variables, finding frames. It was written from the reference of
//! OCaml's bytecode and from what `runtime/interp.c` does, by somebody who had not read the verifier, so that the two do
//! not share mistakes. What the verifier accepts must run here, for as long as one likes, without a [`Violation`].
//!
//! | file | what it says |
//! |---|---|
//! | [`table`] | what each instruction does: the table of the reference, in a form that runs |
//! | [`machine`] | the state, and the ways to touch it: each of them looks first |
//! | [`world`] | what is not in the code: chance, closures from elsewhere |
//! | [`lines`] | code as lines whose targets are lines: to change, to shrink, to read it |
//! | [`grow`] | programs that are mostly right, made by chance |
//! | [`mutate`] | what makes them wrong |
//! | [`judge`] | both judges asked about one program |

pub(crate) mod grow;
pub(crate) mod judge;
pub(crate) mod lines;
pub(crate) mod machine;
pub(crate) mod mutate;
mod table;
pub(crate) mod world;
