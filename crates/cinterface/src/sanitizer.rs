//! What an address sanitizer has to be told (`cargo xtask sanitize`).

/// C is about to be left, so its functions will not return: the variables in their frames are not there any more.
/// Without this, the sanitizer would take later frames at the same place for accesses out of bounds.
#[inline(always)]
pub(crate) fn leave_frames() {
    #[cfg(address_sanitizer)]
    {
        unsafe extern "C" {
            fn __asan_handle_no_return();
        }
        // SAFETY: it changes nothing but the sanitizer's notes about this stack.
        unsafe { __asan_handle_no_return() }
    }
}
