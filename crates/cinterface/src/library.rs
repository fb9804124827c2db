//! Opening libraries, and finding functions in them (`runtime/dynlink.c`). `search` tells which file a library is.

use std::ffi::{CStr, CString, c_char};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use spelter_interp::Machine;
use spelter_interp::prim::foreign::Foreign;

use crate::call::CALLS;
use crate::loader;

/// The handles of the libraries that have been opened, in that order. They are never closed: values, roots and kinds of
/// custom blocks may lead to them.
static OPEN: Mutex<Vec<usize>> = Mutex::new(Vec::new());

/// Whether any library has been opened.
pub(crate) fn is_any_open() -> bool {
    !OPEN.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
}

/// Opens the library in a file, so that its names can be found by libraries that are opened later, and returns its
/// handle. A file without a slash is looked up by the system.
///
/// # Errors
/// The system's reason, which names what is missing.
pub(crate) fn open(m: &mut Machine, file: &Path) -> Result<usize, String> {
    let name = CString::new(file.as_os_str().as_bytes())
        .map_err(|_| format!("{}: a name with a NUL", file.display()))?;
    loader::prepare(m);
    // SAFETY: opening a library runs its initialisers, which whoever names it answers for.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) } as usize;
    if handle == 0 {
        return Err(last_error());
    }
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    if !open.contains(&handle) {
        open.push(handle);
    }
    Ok(handle)
}

fn last_error() -> String {
    // SAFETY: the system's message for this thread, copied at once.
    unsafe {
        let message = libc::dlerror();
        match message.is_null() {
            true => "unknown error".to_owned(),
            false => CStr::from_ptr(message).to_string_lossy().into_owned(),
        }
    }
}

/// The function of that name in an open library, or in the first of all open ones that has it.
pub(crate) fn find(library: Option<usize>, name: &str) -> Option<Foreign> {
    let name = CString::new(name).ok()?;
    let address = |handle: &usize| {
        // SAFETY: the handle of a library that is open: they are never closed.
        let at = unsafe { libc::dlsym(*handle as *mut _, name.as_ptr()) } as usize;
        (at != 0).then_some(Foreign { calls: &CALLS, entry: at })
    };
    let open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    match library {
        Some(handle) => open.contains(&handle).then(|| address(&handle))?,
        None => open.iter().find_map(address),
    }
}

/// The file of the library to which an address of a variable belongs.
pub(crate) fn file_of(address: usize) -> Option<String> {
    found_at(address, |found| found.dli_fname)
}

/// The name of the exported function or variable to which an address belongs.
pub(crate) fn symbol_of(address: usize) -> Option<String> {
    found_at(address, |found| found.dli_sname)
}

/// One of the texts that the system knows about an address, if it knows it.
fn found_at(address: usize, text: impl FnOnce(&libc::Dl_info) -> *const c_char) -> Option<String> {
    let mut found = MaybeUninit::<libc::Dl_info>::uninit();
    // SAFETY: any address may be asked for. The system fills in what it knows if it knows something, and the texts last as
    // long as the library is open.
    unsafe {
        if libc::dladdr(address as *const _, found.as_mut_ptr()) == 0 {
            return None;
        }
        let text = text(found.assume_init_ref());
        (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
    }
}
