//! Where the process begins: C's `main`, as Rust's would first open `/dev/null` for each standard descriptor that is
//! closed, and a program must be told of that as under `ocamlrun`. It would also ignore SIGPIPE, whatever whoever started
//! the process has arranged for it, and read `/proc/self/maps`.

use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The exit code after a panic, as Rust has it.
const PANICKED: c_int = 101;

// SAFETY: the program has no other function of this name, and its signature is C's.
#[unsafe(no_mangle)]
extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    let count = usize::try_from(argc).unwrap_or(0);
    // SAFETY: the system gives so many strings.
    let arg = |i| unsafe { OsStr::from_bytes(CStr::from_ptr(*argv.add(i)).to_bytes()).to_owned() };
    let args: Vec<OsString> = (0..count).map(arg).collect();
    let code = match catch_unwind(AssertUnwindSafe(|| crate::run(args))) {
        Ok(()) => 0,
        Err(_) => PANICKED,
    };
    // Not by returning: what has been printed in part would not be written.
    std::process::exit(code)
}
