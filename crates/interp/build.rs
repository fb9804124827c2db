//! Decides whether this build can rely on sibling calls: optimised, on a processor with enough registers.
//!
//! `RUSTFLAGS='--cfg spelter_portable'` says no on any machine, so that the loop, which runs where tail dispatch cannot, is
//! tested where it could.

use std::env::{var, var_os};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(tail_dispatch, unoptimised)");
    let level = var("OPT_LEVEL").unwrap_or_default();
    // Without optimisation, what is inlined keeps its variables apart: the loop would have a frame of 140 kB.
    if level == "0" {
        println!("cargo::rustc-cfg=unoptimised");
    }
    let optimised = matches!(level.as_str(), "2" | "3");
    let registers = matches!(var("CARGO_CFG_TARGET_ARCH").as_deref(), Ok("x86_64" | "aarch64"));
    let portable = var_os("CARGO_CFG_SPELTER_PORTABLE").is_some();
    if optimised && registers && !portable {
        println!("cargo::rustc-cfg=tail_dispatch");
    }
}
