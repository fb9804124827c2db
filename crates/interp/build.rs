//! Decides whether this build can rely on sibling calls: optimised, on a processor with enough registers.

use std::env::var;

fn main() {
    println!("cargo::rustc-check-cfg=cfg(tail_dispatch)");
    let optimised = matches!(var("OPT_LEVEL").as_deref(), Ok("2" | "3"));
    let registers = matches!(var("CARGO_CFG_TARGET_ARCH").as_deref(), Ok("x86_64" | "aarch64"));
    if optimised && registers {
        println!("cargo::rustc-cfg=tail_dispatch");
    }
}
