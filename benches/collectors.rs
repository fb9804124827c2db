//! Compares the heap crate with other published collectors for Rust, and with plain boxes, which need no collector:
//! `cargo bench -p spelter-benches --bench collectors`.
//!
//! Each builds the same binary trees. They offer different things: gc-arena and this heap are tracing collectors for
//! language runtimes; boa_gc traces too, and counts roots; dumpster counts references and traces for cycles.

use std::hint::black_box;

use criterion::{BatchSize, Criterion};
use spelter_benches::raw_trees::{self, Trees};
use spelter_heap::Config;

/// Trees built with each of the other collectors.
mod others {
    /// Plain boxes.
    pub(crate) mod boxes {
        pub(crate) type Tree = Option<Box<Node>>;
        pub(crate) struct Node(Tree, Tree);

        pub(crate) fn make(depth: usize) -> Tree {
            (depth > 0).then(|| Box::new(Node(make(depth - 1), make(depth - 1))))
        }
        pub(crate) fn check(tree: &Tree) -> u64 {
            tree.as_ref().map_or(1, |node| check(&node.0) + check(&node.1) + 1)
        }
    }

    /// gc-arena.
    pub(crate) mod arena {
        use gc_arena::{Arena, Collect, Gc, Mutation, Rootable};

        #[derive(Collect, Clone, Copy)]
        #[collect(no_drop)]
        pub(crate) struct Tree<'gc>(Option<Gc<'gc, (Tree<'gc>, Tree<'gc>)>>);
        pub(crate) type Forest = Arena<Rootable![Tree<'_>]>;

        pub(crate) fn new(depth: usize) -> Forest {
            Forest::new(|mc| make(mc, depth))
        }
        pub(crate) fn make<'gc>(mc: &Mutation<'gc>, depth: usize) -> Tree<'gc> {
            Tree((depth > 0).then(|| Gc::new(mc, (make(mc, depth - 1), make(mc, depth - 1)))))
        }
        pub(crate) fn check(tree: Tree<'_>) -> u64 {
            tree.0.map_or(1, |node| check(node.0) + check(node.1) + 1)
        }
    }

    /// boa_gc.
    pub(crate) mod boa {
        use boa_gc::{Finalize, Gc, Trace};

        #[derive(Trace, Finalize)]
        pub(crate) struct Node(Tree, Tree);
        pub(crate) type Tree = Option<Gc<Node>>;

        pub(crate) fn make(depth: usize) -> Tree {
            (depth > 0).then(|| Gc::new(Node(make(depth - 1), make(depth - 1))))
        }
        pub(crate) fn check(tree: &Tree) -> u64 {
            tree.as_ref().map_or(1, |node| check(&node.0) + check(&node.1) + 1)
        }
    }

    /// dumpster.
    pub(crate) mod dumpster {
        use dumpster::Trace;
        use dumpster::unsync::Gc;

        #[derive(Trace)]
        pub(crate) struct Node(Tree, Tree);
        pub(crate) type Tree = Option<Gc<Node>>;

        pub(crate) fn make(depth: usize) -> Tree {
            (depth > 0).then(|| Gc::new(Node(make(depth - 1), make(depth - 1))))
        }
        pub(crate) fn check(tree: &Tree) -> u64 {
            tree.as_ref().map_or(1, |node| check(&node.0) + check(&node.1) + 1)
        }
    }
}
use others::{arena, boa, boxes, dumpster as counting};

/// Blocks of two fields that die immediately.
fn allocation(c: &mut Criterion) {
    const DEPTH: usize = 8;
    let mut group = c.benchmark_group("heap/short-lived trees of 255 blocks");
    let mut trees = Trees::new(Config::default());
    group.bench_function("spelter-heap", |b| b.iter(|| raw_trees::check(trees.make(DEPTH))));
    group.bench_function("boxes", |b| b.iter(|| boxes::check(&boxes::make(DEPTH))));
    let mut forest = arena::new(0);
    group.bench_function("gc-arena", |b| {
        b.iter(|| {
            let sum = forest.mutate(|mc, _| arena::check(arena::make(mc, DEPTH)));
            forest.collect_debt();
            sum
        })
    });
    group.bench_function("boa_gc", |b| b.iter(|| boa::check(&boa::make(DEPTH))));
    group.bench_function("dumpster", |b| b.iter(|| counting::check(&counting::make(DEPTH))));
    group.finish();
}

/// The program of the benchmarks game: one long-lived tree, many short-lived ones.
fn trees(c: &mut Criterion) {
    const LIVING: usize = 14;
    const DEPTH: usize = 10;
    const TIMES: usize = 64;
    let mut group = c.benchmark_group("heap/binary trees");
    group.sample_size(20);
    group.bench_function("spelter-heap", |b| {
        b.iter(|| {
            let mut trees = Trees::new(Config::default());
            let living = trees.make(LIVING);
            trees.push(living);
            let sum: u64 = (0..TIMES).map(|_| raw_trees::check(trees.make(DEPTH))).sum();
            sum + raw_trees::check(trees.pop())
        })
    });
    group.bench_function("boxes", |b| {
        b.iter(|| {
            let living = boxes::make(LIVING);
            let sum: u64 = (0..TIMES).map(|_| boxes::check(&boxes::make(DEPTH))).sum();
            sum + boxes::check(&living)
        })
    });
    group.bench_function("gc-arena", |b| {
        b.iter(|| {
            let mut forest = arena::new(LIVING);
            let mut sum = 0;
            for _ in 0..TIMES {
                sum += forest.mutate(|mc, _| arena::check(arena::make(mc, DEPTH)));
                forest.collect_debt();
            }
            sum + forest.mutate(|_, root| arena::check(*root))
        })
    });
    group.bench_function("boa_gc", |b| {
        b.iter(|| {
            let living = boa::make(LIVING);
            let sum: u64 = (0..TIMES).map(|_| boa::check(&boa::make(DEPTH))).sum();
            sum + boa::check(&living)
        })
    });
    group.bench_function("dumpster", |b| {
        b.iter(|| {
            let living = counting::make(LIVING);
            let sum: u64 = (0..TIMES).map(|_| counting::check(&counting::make(DEPTH))).sum();
            sum + counting::check(&living)
        })
    });
    group.finish();
}

/// A full collection in which all blocks are alive (mostly marking), or all are dead (sweeping).
fn collection(c: &mut Criterion) {
    const DEPTH: usize = 17;
    let mut group = c.benchmark_group("heap/whole collection");
    group.sample_size(20);
    let living = || {
        let mut trees = Trees::new(Config::default());
        let tree = trees.make(DEPTH);
        trees.push(tree);
        trees.full_major();
        trees
    };
    let mut trees = living();
    group.bench_function("131071 live blocks/spelter-heap", |b| b.iter(|| trees.full_major()));
    let mut forest = arena::new(DEPTH);
    group.bench_function("131071 live blocks/gc-arena", |b| b.iter(|| forest.collect_all()));
    let tree = boa::make(DEPTH);
    group.bench_function("131071 live blocks/boa_gc", |b| b.iter(boa_gc::force_collect));
    drop(black_box(tree));
    boa_gc::force_collect();
    let dying = || {
        let mut trees = living();
        trees.pop();
        trees
    };
    group.bench_function("131071 dead blocks/spelter-heap", |b| {
        b.iter_batched(dying, |mut trees| trees.full_major(), BatchSize::PerIteration)
    });
    let dying = || {
        let mut forest = arena::new(DEPTH);
        forest.collect_all();
        forest.mutate_root(|mc, root| *root = arena::make(mc, 0));
        forest
    };
    group.bench_function("131071 dead blocks/gc-arena", |b| {
        b.iter_batched(dying, |mut forest| forest.collect_all(), BatchSize::PerIteration)
    });
    group.bench_function("131071 dead blocks/boxes", |b| {
        b.iter_batched(|| boxes::make(DEPTH), drop, BatchSize::PerIteration)
    });
    group.finish();
}

/// Moving survivors out of the nursery.
fn promotion(c: &mut Criterion) {
    const DEPTH: usize = 14;
    let mut group = c.benchmark_group("heap/minor collection");
    let full = || {
        let mut trees = Trees::new(Config::default());
        let tree = trees.make(DEPTH);
        trees.push(tree);
        trees
    };
    group.bench_function("16383 survivors/spelter-heap", |b| {
        b.iter_batched(full, |mut trees| trees.minor(), BatchSize::PerIteration)
    });
    group.finish();
}

fn main() {
    let mut c = Criterion::default().configure_from_args();
    allocation(&mut c);
    trees(&mut c);
    collection(&mut c);
    promotion(&mut c);
    c.final_summary();
}
