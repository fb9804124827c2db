//! Texts that C formats (`printf`).

use std::ffi::{c_char, c_int};

use crate::arch::VaList;

// SAFETY: C's declaration, in <stdio.h>. A `va_list` is passed by its address.
unsafe extern "C" {
    fn vsnprintf(into: *mut c_char, room: usize, format: *const c_char, arguments: *mut VaList) -> c_int;
}

/// The formatted text. It is empty if the format is invalid.
///
/// # Safety
/// C's format, and arguments as it says.
pub(crate) unsafe fn format(format: *const c_char, arguments: *const VaList) -> Vec<u8> {
    // Formatting uses up the list, so each attempt gets a copy.
    let attempt = |text: &mut Vec<u8>| {
        // SAFETY: as much room as the text has; the rest by contract.
        unsafe {
            let mut list = *arguments;
            vsnprintf(text.as_mut_ptr().cast(), text.len(), format, &raw mut list).max(0) as usize
        }
    };
    let mut text = vec![0; 128];
    let len = attempt(&mut text);
    if len >= text.len() {
        // With the NUL at the end.
        text.resize(len + 1, 0);
        attempt(&mut text);
    }
    text.truncate(len);
    text
}
