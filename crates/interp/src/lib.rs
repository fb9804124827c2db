//! The OCaml bytecode machine: frames, dispatch, exceptions, the table of primitives.
//!
//! A [`Machine`] runs code that [`spelter_bytecode`] has read, on a heap of [`spelter_heap`]. It performs no I/O
//! itself: primitives do, and the embedder supplies them as tables. Loading is the task of `spelter-dynlink`, for which
//! this crate offers [`Machine::load_program`] and [`Machine::install_unit`].
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
//! Whenever `pc` is inside a loaded unit, `env` refers to that unit's code object, and a call saves `env` in its frame.
//! So each frame keeps its own code alive, also after tail calls, and is no larger than OCaml's. Debug builds assert
//! the invariant at each call.
//!
//! # What the safe API promises
//!
//! A machine made by [`Machine::new`] checks its code: it verifies what it loads, and tests at run time what
//! verification cannot establish. No safe call, with any slots and bytes, makes it access memory that it should not.
//! Using a slot that was released, or belongs to another machine, yields some value or panics. Three conditions are the
//! responsibility of callers, behind `unsafe` functions:
//!
//! - to trust code: [`Engine::trusted`];
//! - to install a unit's code: the caller of [`Machine::install_unit`] has verified and patched it;
//! - to run with access to a running machine: primitives and similar functions obey the contract of [`Prim`].
//!
//! # Builds
//!
//! At opt-level 2 or 3, on x86-64 and aarch64, each instruction's function jumps to that of the next one. Elsewhere,
//! and so in development builds, a portable loop runs the same instructions; [`Dispatch::TAIL_CALLS`] says which of the
//! two a build has. `[profile.dev.package.spelter-interp]` with `opt-level = 3` enables the jumps in a development
//! build, and `spelter-heap` should have the same: without these, seven programs took 10 to 25 times as long.
//!
//! # Unsafe code
//!
//! The machine follows raw pointers. The files that may contain unsafe code are listed in one place,
//! `xtask/src/tasks/tidy/fences.rs`, and `cargo xtask tidy` fails if any other file does. They are mainly
//! `exec/regs.rs` (what handlers read and write), `exec/dispatch` (how they are reached), `machine` (the stack and the
//! roots), `code` (where code is installed and revoked) and `prim` (what primitives may do, all checked). Each block
//! states why it is sound.
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
pub use code::program::{LoadError, LoadedProgram, Program, SharedCode};
pub use code::revoke::REVOKED;
pub use code::{ClosureView, Registry, Unit, UnitBytes, UnitCounts, UnitFacts, UnitId, Unloaded};
pub use exec::dispatch::{Dispatch, Engine, Grade};
pub use exec::fault::{Fault, Stopped};
pub use exec::pausable::{Paused, Progress, Resumption};
pub use exec::profile::Profile;
pub use layout::{ObjectField, PARTIAL_FUNCTION};
pub use machine::behaviour::{
    Behaviour, ClosedChannel, DebuggerAddress, EventNames, MemprofKind, RuntimeParameters,
};
pub use machine::handles::Kept;
pub use machine::params::{CollectorParams, Params};
pub use machine::{Machine, Settings};
pub use prim::families::{Families, NameTable, Row, Table, Versions};
pub use prim::screen::Screen;
pub use prim::slots::MAX_WOSIZE;
pub use prim::table::PrimTable;
pub use prim::{HostFn, Library, Panicked, Prim, Raise, ReadRes, Res, Slot, fallible};
pub use spelter_bytecode::dialect::Release;
pub use spelter_heap::raw::CustomOps;
pub use spelter_heap::{Account, Charge, OutOfMemory, Val, WrongType};
pub use threads::domains::{Allocated, SpawnError};
pub use threads::errands::ErrandSender;
pub use threads::interrupt::{
    CallScope, InterruptHandle, Interrupted, Interruption, Limit, OutputMeter, PIECE_BYTES, Wake,
};
pub use threads::master_lock::Call;
pub use threads::{AtEnd, Body, EndHook};
