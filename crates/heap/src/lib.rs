//! A garbage-collected heap for language runtimes, with OCaml's representation of values: 63-bit
//! tagged integers, and blocks with a one-word header (size, colour, tag).
//!
//! It is precise, generational and incremental: a bump-allocated nursery with a copying collection; an old generation
//! of size-classed pages, marked and swept in slices; compaction; finalisers of both kinds, weak references,
//! ephemerons, and blocks that own Rust data. Heaps have no global state: a process may have many.
//!
//! # The safe interface
//!
//! [`Heap::scope`] opens a scope. Values in it are named by [`Handle`]s, which may be copied freely and follow their blocks
//! when these move, until the scope ends.
//!
//! ```
//! use spelter_heap::{Heap, ScopeError};
//!
//! let mut heap = Heap::default();
//! heap.scope(|s| {
//!     let name = s.string(b"zinc")?;
//!     let pair = s.block(0, [name, 30.into()])?;
//!     s.collect();
//!     let pair = s.peek(pair);
//!     assert_eq!(pair.field(0)?.bytes()?, b"zinc");
//!     assert_eq!(pair.field(1)?.int()?, 30);
//!     Ok::<_, ScopeError>(())
//! })?;
//! # Ok::<(), ScopeError>(())
//! ```
//!
//! The module [`scope`] describes scopes, and why they are sound. The [`tutorial`] leads to a small Lisp, which is also in
//! `examples/lisp.rs`.
//!
//! What Rust structures keep from one scope to the next are [`Root`]s: each keeps its value alive until it is dropped. The
//! methods of [`Heap`] work on roots where scopes are not worth while; a [`Val`] is a value that is only read, and borrows
//! the heap.
//!
//! With the feature `derive`, `#[derive(View)]` makes Rust structs and enums readable from blocks and writable to them
//! ([`View`](trait@View)).
//!
//! No sequence of safe calls can make the heap read or write out of bounds or through a stale pointer: values are only
//! reached through handles, roots and borrows, and blocks of values hold only values. If dropping the data of an external
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
//! only in roots and on the stack of scopes; other clients promise to keep it.

mod account;
mod charge;
mod compact;
mod custom;
mod ephemeron;
mod finalise;
mod heap;
mod limited;
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
pub mod scope;
mod stock;
mod sweep;
mod system;
pub mod tutorial;
mod val;
mod value;
mod verify;
mod young;

pub use account::{Account, OnRefusal};
pub use charge::Charge;
pub use heap::{Config, Heap, Mode, OutOfMemory, Stats};
pub use observe::{Figure, Observer, Work};
pub use root::{Arg, Root};
pub use scope::{Handle, Inner, Peek, Scope, ScopeError, Shape, Var, View, Weak};
#[cfg(feature = "derive")]
pub use spelter_heap_derive::View;
pub use val::{Val, WrongType};
pub use verify::BrokenHeap;
