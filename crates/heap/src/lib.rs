//! A garbage-collected heap for language runtimes, with OCaml's representation of values: 63-bit
//! tagged integers, and blocks with a one-word header (size, colour, tag).
//!
//! It is precise, generational and incremental: a bump-allocated nursery with a copying collection; an old generation
//! of size-classed pages, marked and swept in slices; compaction; finalisers of both kinds, weak references,
//! ephemerons, and blocks that own Rust data. Heaps have no global state: a process may have many.
//!
//! # The safe interface
//!
//! The safe interface is [`Heap`], [`Root`] and [`Val`]. A [`Val`] borrows the heap, so it cannot be
//! used after anything that might collect; a [`Root`] keeps its value alive, and follows it, for as
//! long as it exists.
//!
//! ```
//! use spelter_heap::{Config, Heap};
//!
//! let mut heap = Heap::new(Config::default());
//! let name = heap.string(b"zinc")?;
//! let pair = heap.block(0, &[(&name).into(), 30.into()])?;
//! drop(name);
//! heap.collect();
//! let value = heap.get(&pair);
//! assert_eq!(value.field(0)?.bytes()?, b"zinc");
//! assert_eq!(value.field(1)?.int()?, 30);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `examples/lisp.rs` is a small Lisp built on it.
//!
//! No sequence of safe calls can make the heap read or write out of bounds or through a stale pointer: values are only
//! reached through roots and borrows, and blocks of values hold only values. If dropping the data of an external
//! panics, the panic resumes after the collection.
//!
//! # For language runtimes
//!
//! The interface in [`raw`] has no checks: values are plain words, and the client implements one trait, [`raw::Roots`],
//! which tells the collector where the client keeps its values. All else that the collector must know (how large is
//! this block, where are its pointers) stands in the headers, as in OCaml: all fields of a block with a tag below
//! [`raw::tag::NO_SCAN`] are values, and every even word among them is a pointer to a block of this heap.
//!
//! # What it leaves to the client
//!
//! The heap does not know what closures are for, nor instructions, nor files. It has no threads, and the client runs
//! the finalisers.
//!
//! # Finding bugs
//!
//! [`Mode::Never`] tells a client's bugs from the collector's. [`Mode::Torture`] collects at every allocation, moves
//! all blocks, poisons freed memory and checks the whole heap repeatedly.
//!
//! # Unsafe code
//!
//! A collector reads and writes memory that no Rust type owns, so nearly all modules here contain unsafe code. It is
//! correct under the contract in [`raw`]. The safe interface keeps that contract by construction, since it holds values
//! only in roots; other clients promise to keep it.

mod charge;
mod compact;
mod custom;
mod ephemeron;
mod finalise;
mod heap;
mod mark;
mod minor;
mod observe;
mod pace;
mod page_table;
mod pages;
pub mod raw;
mod root;
mod roots;
mod sampling;
mod stock;
mod sweep;
mod system;
mod val;
mod value;
mod verify;
mod young;

pub use charge::Charge;
pub use heap::{Config, Heap, Mode, OutOfMemory, Stats};
pub use observe::{Figure, Observer, Work};
pub use root::{Arg, Root};
pub use val::{Val, WrongType};
pub use verify::BrokenHeap;
