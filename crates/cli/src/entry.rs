//! The process's entry point: C's `main` instead of Rust's. Rust's start-up code would open `/dev/null` for each
//! closed standard descriptor, but a program must see closed descriptors as under `ocamlrun`. It would also ignore
//! SIGPIPE, regardless of the disposition inherited from the parent, and read `/proc/self/maps`.

use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The exit code after a panic, the same as Rust's.
const PANICKED: c_int = 101;

// SAFETY: the program has no other function of this name, and its signature is C's.
#[unsafe(no_mangle)]
extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    let count = usize::try_from(argc).unwrap_or(0);
    // SAFETY: the system passes `argc` strings.
    let arg = |i| unsafe { OsStr::from_bytes(CStr::from_ptr(*argv.add(i)).to_bytes()).to_owned() };
    let args: Vec<OsString> = (0..count).map(arg).collect();
    let code = match catch_unwind(AssertUnwindSafe(|| crate::run(args))) {
        Ok(()) => 0,
        Err(_) => PANICKED,
    };
    // Exit instead of returning, which would not flush a partial line of output.
    std::process::exit(code)
}
