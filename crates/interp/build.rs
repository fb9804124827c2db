//! Decides whether this build can rely on sibling calls (it must be optimised, for a processor with enough registers),
//! and generates the table of chains.
//!
//! `RUSTFLAGS='--cfg spelter_portable'` turns tail dispatch off on any machine, so that the portable loop can be tested
//! everywhere.

#[path = "build/patterns.rs"]
mod patterns;

use std::env::{var, var_os};
use std::fs;
use std::path::Path;

use patterns::Pattern;

/// The patterns of chains.
const CHAINS: &str = "src/exec/dispatch/chains.txt";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed={CHAINS}");
    if let Err(error) = write_chains() {
        println!("cargo::error={CHAINS}: {error}");
    }
    choose_dispatch();
}

/// Writes the macro that passes the chains to another macro.
fn write_chains() -> Result<(), String> {
    let text = fs::read_to_string(CHAINS).map_err(|error| error.to_string())?;
    let mut made =
        "macro_rules! for_each_chain {\n    ($callback:ident) => {\n        $callback! {\n".to_owned();
    for Pattern { line, text, rows } in patterns::read(&text)? {
        made += &format!("            // {line}: {text}\n");
        made.extend(rows.iter().map(|row| format!("            [{}]\n", row.join(" "))));
    }
    made += "        }\n    };\n}\n";
    let folder = var("OUT_DIR").map_err(|error| error.to_string())?;
    fs::write(Path::new(&folder).join("chains.rs"), made).map_err(|error| error.to_string())
}

fn choose_dispatch() {
    println!("cargo::rustc-check-cfg=cfg(tail_dispatch, unoptimised)");
    let level = var("OPT_LEVEL").unwrap_or_default();
    // Without optimisation, inlined functions do not share stack space: the loop would have a frame of 140 kB.
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
