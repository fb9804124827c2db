//! Link options of the command, for a fast start and low memory use.
//!
//! The unwinder is linked statically if the C compiler has it as an archive: loading `libgcc_s.so` takes a tenth of
//! the time of a program that only prints hello. Relocations are packed if the C library supports it: 190 kB become
//! two. (Code at a fixed address needs no relocations and would start 7 % faster, but address randomisation is worth
//! more to a program that runs other people's code.) Functions that most programs run are placed together: scattered,
//! they take a megabyte more.

use std::env::var;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=layout.ld");
    let is = |key: &str, value: &str| var(key).is_ok_and(|v| v == value);
    let is_native = var("HOST").is_ok_and(|host| is("TARGET", &host));
    if is_native && is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        link_unwinder();
        pack_relocations();
        lay_out();
        export();
    }
}

fn answer(command: &str, argument: &str) -> Option<String> {
    let output = Command::new(command).arg(argument).output().ok()?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

fn link_unwinder() {
    let Some(archive) = answer("cc", "-print-file-name=libgcc_eh.a") else { return };
    let archive = Path::new(&archive);
    // Without the archive, the compiler prints the name without a folder.
    if let (true, Some(folder)) = (archive.is_file(), archive.parent().and_then(Path::to_str)) {
        println!("cargo::rustc-link-search=native={folder}");
        println!("cargo::rustc-link-lib=static:-bundle=gcc_eh");
    }
}

fn pack_relocations() {
    // "glibc 2.36"
    let version = answer("getconf", "GNU_LIBC_VERSION");
    let minor = version.as_deref().and_then(|v| v.strip_prefix("glibc 2.")).and_then(|v| v.parse().ok());
    if minor.is_some_and(|minor: u32| minor >= 36) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// Exports the names that shared libraries of C primitives need.
fn export() {
    if let Ok(list) = var("DEP_SPELTER_CINTERFACE_EXPORTS") {
        println!("cargo::rustc-link-arg-bins=-Wl,--dynamic-list={list}");
    }
    // Libraries that are compiled for an address sanitizer use the command's.
    if var("CARGO_CFG_SANITIZE").is_ok_and(|which| which == "address") {
        println!("cargo::rustc-link-arg-bins=-Wl,--export-dynamic-symbol=__asan_*");
    }
}

/// `cargo xtask bench --layout` writes the list.
fn lay_out() {
    if let Ok(folder) = var("CARGO_MANIFEST_DIR") {
        println!("cargo::rustc-link-arg-bins=-T{folder}/layout.ld");
    }
}
