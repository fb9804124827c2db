//! A garbage-collected heap for language runtimes, with OCaml's representation of values: 63-bit
//! tagged integers, and blocks with a one-word header (size, colour, tag).
//!
//! It is precise, generational and incremental: a bump-allocated nursery with a copying collection;
//! an old generation of size-classed pages, marked and swept in slices; compaction; finalisers of both
//! kinds, weak references, ephemerons, and blocks that own Rust data. A heap has no state outside
//! itself: a process may have many.
//!
//! # For everybody
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
//! No safe call can make the heap read or write what it should not, in whatever order: values are only reached through
//! roots and borrows, and blocks of values hold values. What an external drops may panic: the panic goes on when the
//! collection is over.
//!
//! # For language runtimes
//!
//! The interface in [`raw`] leaves out what costs time: values are plain words, and the client
//! answers one question, [`raw::Roots`]: where are your values? The other questions a collector has
//! (how large is this block, where are its pointers) are answered by headers, as in OCaml: all fields of
//! a block with a tag below [`raw::tag::NO_SCAN`] are values, and every even word among them is a pointer to a block of
//! this heap.
//!
//! # Absences
//!
//! The heap never learns what a closure is for, knows no instructions and no files, runs no finaliser by itself, and
//! has no threads.
//!
//! # Finding bugs
//!
//! [`Mode::Never`] tells a client's bugs from the collector's; [`Mode::Torture`] collects at every
//! allocation, moves everything about, poisons what is freed and checks the whole heap again and again.
//!
//! # Unsafe code
//!
//! A collector reads and writes memory that no Rust type owns, so nearly all modules here contain unsafe code. What makes
//! it correct is the contract in [`raw`]: the safe interface keeps it by construction, with values that are
//! only ever held in roots; other clients promise to.

mod charge;
mod compact;
mod custom;
mod ephemeron;
mod finalise;
mod heap;
mod mark;
mod minor;
mod pace;
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
pub use root::{Arg, Root};
pub use val::{Val, WrongType};
pub use verify::BrokenHeap;
