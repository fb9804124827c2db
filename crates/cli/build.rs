//! Links the unwinder into the command, where the C compiler has it as an archive: loading `libgcc_s.so` takes a tenth of
//! the time of a program that only says hello.

use std::env::var;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |key: &str, value: &str| var(key).is_ok_and(|v| v == value);
    let is_native = var("HOST").is_ok_and(|host| is("TARGET", &host));
    if !is_native || !is("CARGO_CFG_TARGET_OS", "linux") || !is("CARGO_CFG_TARGET_ENV", "gnu") {
        return;
    }
    let Ok(answer) = Command::new("cc").arg("-print-file-name=libgcc_eh.a").output() else { return };
    let archive = String::from_utf8_lossy(&answer.stdout);
    let archive = Path::new(archive.trim());
    // A name without a folder means that there is none.
    if let (true, Some(folder)) = (archive.is_file(), archive.parent().and_then(Path::to_str)) {
        println!("cargo::rustc-link-search=native={folder}");
        println!("cargo::rustc-link-lib=static:-bundle=gcc_eh");
    }
}
