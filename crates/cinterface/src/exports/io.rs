//! `caml/io.h`: channels. C gets a channel as the word behind a channel block's first one (`Channel(v)`), and passes it
//! back; all that it may read there is the descriptor, which comes first. Each function locks the channel, unless the
//! thread has it locked.

use std::ffi::c_void;

use spelter_heap::raw::Value;
use spelter_primitives::foreign::{self, Channel};

use super::items;
use crate::activation::set_locked;
use crate::arch::may_raise;
use crate::call::{Answer, UNIT, answer_outside};

may_raise! {
    /// Writes all that a channel has buffered.
    caml_flush(channel: *mut c_void) = flush;
    /// Writes some of what a channel has buffered, and returns whether nothing is left.
    caml_flush_partial(channel: *mut c_void) = flush_partial;
    /// Writes bytes, and returns how many: here, always all.
    caml_putblock(channel: *mut c_void, bytes: *const u8, len: isize) = putblock;
    /// Writes bytes.
    caml_really_putblock(channel: *mut c_void, bytes: *const u8, len: isize) = putblock;
    /// Reads at most `len` bytes, and returns how many: 0 at the end of the file.
    caml_getblock(channel: *mut c_void, into: *mut u8, len: isize) = getblock;
    /// Reads `len` bytes, and returns how many: fewer if the file ends.
    caml_really_getblock(channel: *mut c_void, into: *mut u8, len: isize) = really_getblock;
    /// Keeps other threads from a channel until `caml_channel_unlock`, or until the primitive raises (OCaml 5). A thread
    /// has one channel locked at a time.
    caml_channel_lock(channel: *mut c_void) = channel_lock;
    /// Ends that.
    caml_channel_unlock(channel: *mut c_void) = channel_unlock;
}

unsafe extern "C" fn channel_lock(to_lock: *mut c_void) -> Answer {
    let answer = answer_outside(|m| {
        // SAFETY: C's channel.
        unsafe { channel(to_lock) }.lock_for_long(m)?;
        Ok(Value::UNIT)
    });
    if answer.left == 0 {
        set_locked(to_lock);
    }
    answer
}

unsafe extern "C" fn channel_unlock(to_unlock: *mut c_void) -> Answer {
    set_locked(std::ptr::null_mut());
    // SAFETY: C's channel.
    unsafe { channel(to_unlock) }.unlock();
    UNIT
}

/// Unlocks a channel that a primitive has locked before it raised.
///
/// # Safety
/// The channel's block is alive, since C could have used it.
#[cold]
pub(crate) unsafe fn unlock_left(locked: *mut c_void) {
    // SAFETY: by contract.
    unsafe { channel(locked) }.unlock();
}

macro_rules! unset_hooks {
    ($($name:ident)*) => { $(
        /// One of OCaml 4's hooks for locking channels, which its library `threads` sets. Nothing has to be locked by C.
        #[unsafe(no_mangle)]
        pub static $name: Option<unsafe extern "C" fn(*mut c_void)> = None;
    )* };
}

unset_hooks! {
    caml_channel_mutex_free
    caml_channel_mutex_lock
    caml_channel_mutex_unlock
}

/// The hook that unlocks the channel which a primitive had locked before it raised.
#[unsafe(no_mangle)]
pub static caml_channel_mutex_unlock_exn: Option<unsafe extern "C" fn()> = None;

/// The channel that C has got from a block.
///
/// # Safety
/// The block is alive.
pub(super) unsafe fn channel<'a>(channel: *mut c_void) -> &'a Channel {
    // SAFETY: by contract.
    unsafe { &*channel.cast::<Channel>() }
}

unsafe extern "C" fn flush(to: *mut c_void) -> Answer {
    // SAFETY: C's channel.
    answer_outside(|m| foreign::flush(m, unsafe { channel(to) }, false).map(|_| Value::UNIT))
}

unsafe extern "C" fn flush_partial(to: *mut c_void) -> Answer {
    answer_outside(|m| {
        // SAFETY: C's channel.
        let all = foreign::flush(m, unsafe { channel(to) }, true)?;
        Ok(Value::from_bits(all.into()))
    })
}

unsafe extern "C" fn putblock(to: *mut c_void, bytes: *const u8, len: isize) -> Answer {
    answer_outside(|m| {
        // SAFETY: C's channel and memory.
        let (to, bytes) = unsafe { (channel(to), items(bytes, len.max(0) as usize)) };
        foreign::put(m, to, bytes)?;
        Ok(Value::from_bits(len as u64))
    })
}

unsafe extern "C" fn getblock(from: *mut c_void, into: *mut u8, len: isize) -> Answer {
    // SAFETY: C's arguments.
    unsafe { get(from, into, len, true) }
}

unsafe extern "C" fn really_getblock(from: *mut c_void, into: *mut u8, len: isize) -> Answer {
    // SAFETY: C's arguments.
    unsafe { get(from, into, len, false) }
}

unsafe fn get(from: *mut c_void, into: *mut u8, len: isize, some: bool) -> Answer {
    answer_outside(|m| {
        // SAFETY: C's channel and memory.
        let (from, into) = unsafe {
            let into = if len > 0 { std::slice::from_raw_parts_mut(into, len as usize) } else { &mut [] };
            (channel(from), into)
        };
        Ok(Value::from_bits(foreign::get(m, from, into, some)? as u64))
    })
}
