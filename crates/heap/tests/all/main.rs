//! Tests of the heap through its public interface.

mod blocks;
mod client;
mod compaction;
mod customs;
mod ephemerons;
mod finalisers;
mod generations;
mod lisp;
mod naked;
mod pace;
mod panics;
mod put_off;
mod random;
mod safe;
mod sampling;
mod scopes;
mod short_cuts;
