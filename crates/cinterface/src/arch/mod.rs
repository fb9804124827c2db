//! What depends on the processor.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod x86_64;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(crate) use x86_64::{ba_alloc_dims, call_c, leave, may_raise, set_thread_state};
