//! `ocaml/trees.ml` on the heap crate, for comparison with the program compiled by ocamlopt: both print the same
//! lines.
//!
//!     ocamlopt -o trees benches/ocaml/trees.ml
//!     cargo run --release -p spelter-benches --example trees 16

use spelter_benches::raw_trees::{Trees, check};
use spelter_heap::Config;

fn main() {
    let n: usize = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(16);
    let mut trees = Trees::new(Config::default());
    let long_lived = trees.make(n);
    trees.push(long_lived);
    for depth in (4..=n).step_by(4) {
        let iterations = 1 << (n - depth + 2);
        let sum: u64 = (0..iterations).map(|_| check(trees.make(depth))).sum();
        println!("{iterations} trees of depth {depth}: {sum}");
    }
    println!("{}", check(trees.pop()));
}
