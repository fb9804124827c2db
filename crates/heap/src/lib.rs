//! (front page follows)

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
mod sweep;
mod val;
mod value;
mod verify;
mod young;

pub use heap::{Config, Heap, Mode, OutOfMemory, Stats};
pub use root::{Arg, Root};
pub use val::{Val, WrongType};
pub use verify::BrokenHeap;
