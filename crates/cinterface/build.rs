//! Tells the build scripts of executables where the list of exported names is: `DEP_SPELTER_CINTERFACE_EXPORTS`. And this
//! crate whether `arch` has something for the target: `with_arch`, and whether an address sanitizer looks on:
//! `address_sanitizer`.

use std::env::var;

fn main() {
    println!("cargo::rerun-if-changed=src/exports.list");
    let folder = var("CARGO_MANIFEST_DIR").unwrap_or_default();
    println!("cargo::metadata=EXPORTS={folder}/src/exports.list");

    println!("cargo::rustc-check-cfg=cfg(with_arch, address_sanitizer)");
    let arch = var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    if var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") && ["x86_64", "aarch64"].contains(&&*arch) {
        println!("cargo::rustc-cfg=with_arch");
    }
    // Only a nightly compiler tells.
    if var("CARGO_CFG_SANITIZE").is_ok_and(|which| which == "address") {
        println!("cargo::rustc-cfg=address_sanitizer");
    }
}
