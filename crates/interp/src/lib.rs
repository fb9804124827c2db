//! The OCaml bytecode machine: frames, dispatch, exceptions, the table of primitives.
//!
//! A [`Machine`] runs code that [`spelter_bytecode`] has read, on a heap of [`spelter_heap`]'s. It never opens
//! a file or touches a socket: primitives do, and they are handed in as tables. Loading is `spelter-dynlink`'s
//! business; this crate offers it [`Machine::load_program`] and [`Machine::install_unit`].
//!
//! ```
//! use spelter_interp::{Machine, Settings};
//!
//! let mut m = Machine::new(Settings::default());
//! let name = m.push(|m| m.new_string(b"zinc"))?; // a slot on the stack, which the collector knows
//! let some = m.push(|m| m.new_some(name))?;
//! m.full_major()?;
//! assert_eq!(m.val(some).field(0)?.bytes()?, b"zinc");
//! # Ok::<(), spelter_interp::Raise>(())
//! ```
//!
//! # The frame invariant
//!
//! Whenever `pc` is inside a loaded unit, `env` leads to that unit's code object; a call saves `env` in its
//! frame. So each frame keeps its own code alive, tail calls too, with no word more than OCaml's frames have.
//! Debug builds assert it at each call.
//!
//! # What the safe API promises
//!
//! A machine that has been made by [`Machine::new`] checks its code: what it loads is verified, what that cannot tell is
//! tested. No call that is not `unsafe`, with whatever slots and bytes, makes it read or write what it should not; a slot
//! that was released, or is another machine's, is some value or a panic. Three things are promised by whoever does
//! them, through `unsafe` doors:
//!
//! - to trust code: [`Engine::trusted`];
//! - to install a unit's code: [`Machine::install_unit`], whose caller has verified and patched it;
//! - to be given a machine that runs: primitives and what is like them, whose contract is that of [`Prim`].
//!
//! # Builds
//!
//! At opt-level 2 or 3, on x86-64 and aarch64, each instruction's function jumps to the next one's. Anywhere else, and so in
//! development builds, a portable loop runs the same instructions; [`Dispatch::TAIL_CALLS`] says which it is.
//! `[profile.dev.package.spelter-interp]` with `opt-level = 3` brings the jumps to a development build, and `spelter-heap`
//! wants the same: without, seven programs took 10 to 25 times as long.
//!
//! # Unsafe code
//!
//! The machine follows raw pointers, as a machine must. The files in which it does are listed in one place,
//! `xtask/src/tasks/tidy/fences.rs`, and `cargo xtask tidy` fails for any other: above all `exec/regs.rs` (what handlers
//! read and write), `exec/dispatch` (how they are reached), `machine` (the stack and the roots), `code` (where code is
//! installed and revoked) and `prim` (what primitives may do, all checked). Each block says why it holds.
#![cfg_attr(
    not(tail_dispatch),
    allow(
        dead_code,
        unused_imports,
        reason = "the loop runs none of the machine's own instructions (`dispatch/own.rs`)"
    )
)]

pub mod code;
mod exec;
pub mod inspect;
mod layout;
pub mod machine;
pub mod prim;
pub mod threads;

pub use code::history::{CodeEvent, CodeEventKind, CodeEvents};
pub use code::install::{Installed, SlotRef, Strategy, UnitSource};
pub use code::program::{LoadError, LoadedProgram, Program};
pub use code::revoke::REVOKED;
pub use code::{ClosureView, Registry, Unit, UnitBytes, UnitCounts, UnitFacts, UnitId, Unloaded};
pub use exec::dispatch::{Dispatch, Engine, Grade};
pub use exec::fault::Fault;
pub use exec::profile::Profile;
pub use layout::{ObjectField, PARTIAL_FUNCTION};
pub use machine::handles::Kept;
pub use machine::params::Params;
pub use machine::{Machine, Settings};
pub use prim::families::{Families, NameTable, Row, Table};
pub use prim::slots::MAX_WOSIZE;
pub use prim::table::PrimTable;
pub use prim::{HostFn, Library, Panicked, Prim, Raise, ReadRes, Res, Slot, fallible};
pub use spelter_heap::raw::CustomOps;
pub use spelter_heap::{OutOfMemory, Val, WrongType};
pub use threads::EndHook;
pub use threads::interrupt::{CallScope, InterruptHandle, Interrupted, Interruption, PIECE_BYTES, Wake};
