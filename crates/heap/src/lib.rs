//! (front page follows)

mod compact;
mod custom;
mod ephemeron;
mod finalise;
mod handle;
mod heap;
mod mark;
mod minor;
mod pace;
mod pages;
pub mod raw;
mod roots;
mod sweep;
mod value;
mod verify;
mod young;

pub use heap::{Config, Heap, Mode, OutOfMemory, Stats};
