//! `cargo xtask tails`: checks that all handlers of tail dispatch end in a jump, at each optimisation level at which
//! the build relies on it.
//!
//! There are two checks. First, the machine code of every handler is read: a call that is followed only by a return
//! should have been a jump. Second, a program runs many millions of instructions of every group on a native stack of
//! 96 KiB, which a missed jump would overflow at once.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use xtask::process::path_text;
use xtask::workspace;

/// The levels at which `crates/interp/build.rs` turns tail dispatch on.
const LEVELS: [&str; 2] = ["2", "3"];
/// The functions that are handlers: of instructions, of primitives that are instructions, of chains.
const HANDLERS: [&str; 5] = ["quick::", "full::", "quick_inline::", "full_inline::", "chain_functions::"];
/// Where they are.
const MODULE: &str = "spelter_interp::exec::dispatch::tail::";
/// The minimum number of handlers: fewer mean that they were not found.
const LEAST: usize = 1000;
/// The native stack, in KiB. The command takes up to 64 of it, depending on where the system lets the stack begin.
const STACK: &str = "96";

#[derive(clap::Args)]
pub(crate) struct Options {
    /// A spelter binary to check, instead of one built for each level
    #[arg(long, value_name = "PATH")]
    bin: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> Result<bool> {
    ensure!(cfg!(target_arch = "x86_64"), "it reads the machine code of x86-64 only");
    if let Some(bin) = &options.bin {
        return check(bin, "as it is");
    }
    let mut good = true;
    for level in LEVELS {
        good &= check(&built(level)?, &format!("opt-level {level}"))?;
    }
    Ok(good)
}

/// Builds the command at that optimisation level, in a separate folder, so that the usual build is kept.
fn built(level: &str) -> Result<PathBuf> {
    let folder = workspace::root().join("target/tails").join(level);
    let status = workspace::cargo()
        .args(["build", "--quiet", "--release", "--package", "spelter-cli", "--target-dir"])
        .arg(&folder)
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", level)
        .env("CARGO_PROFILE_RELEASE_DEBUG", "none")
        .status()?;
    ensure!(status.success(), "cargo could not build spelter at opt-level {level}; see above");
    Ok(folder.join("release/spelter"))
}

fn check(bin: &Path, what: &str) -> Result<bool> {
    let (handlers, lost) = lost_jumps(bin)?;
    ensure!(handlers >= LEAST, "{what}: only {handlers} handlers found in {}", bin.display());
    for handler in &lost {
        println!("{what}: {handler} calls where it should jump");
    }
    let spins = spin(bin)?;
    if !spins {
        println!("{what}: {STACK} KiB of native stack are not enough");
    }
    if lost.is_empty() && spins {
        println!("{what}: {handlers} handlers, all of which end in jumps");
    }
    Ok(lost.is_empty() && spins)
}

/// How many handlers a binary has, and those that end in a call.
fn lost_jumps(bin: &Path) -> Result<(usize, Vec<String>)> {
    let mut child = Command::new("objdump")
        .args(["--disassemble", "--demangle", "--no-show-raw-insn"])
        .arg(bin)
        .stdout(Stdio::piped())
        .spawn()
        .context("objdump cannot be started; it is in the package binutils")?;
    let listing = BufReader::new(child.stdout.take().context("no pipe")?);
    let mut reader = Listing::default();
    for line in listing.lines() {
        reader.line(&line?);
    }
    ensure!(child.wait()?.success(), "objdump failed on {}", bin.display());
    Ok((reader.handlers, reader.lost))
}

/// The state of reading a disassembly.
#[derive(Default)]
struct Listing {
    handlers: usize,
    lost: Vec<String>,
    /// The handler that is being read, if it is one.
    handler: Option<String>,
    /// Whether the code after a call of a possible handler has so far only released the frame.
    only_leaving: bool,
}

impl Listing {
    fn line(&mut self, line: &str) {
        if let Some(name) =
            line.strip_suffix(">:").and_then(|head| head.split_once(" <")).map(|(_, name)| name)
        {
            self.handler = is_handler(name).then(|| name.to_owned());
            self.handlers += usize::from(self.handler.is_some());
            self.only_leaving = false;
        } else if let (Some(handler), Some((_, instruction))) = (&self.handler, line.split_once('\t')) {
            let mut words = instruction.split_whitespace();
            match (words.next().unwrap_or_default(), words.next().unwrap_or_default()) {
                ("call", target) => self.only_leaving = target.starts_with('*') || is_handler(instruction),
                ("ret", _) if self.only_leaving => {
                    self.lost.push(handler.clone());
                    self.only_leaving = false;
                }
                ("pop" | "leave" | "vzeroupper", _) => {}
                ("add" | "lea", operands) if operands.ends_with("%rsp") => {}
                _ => self.only_leaving = false,
            }
        }
    }
}

fn is_handler(name: &str) -> bool {
    let rest = name.split_once(MODULE).map_or("", |(_, rest)| rest);
    HANDLERS.iter().any(|handlers| rest.starts_with(handlers))
}

/// Whether a program of many millions of instructions runs on a small native stack.
fn spin(bin: &Path) -> Result<bool> {
    let program = workspace::root().join("crates/spelter/tests/fixtures/spin.byte");
    let script = format!(r#"ulimit -s {STACK} && exec "$0" run "$1""#);
    // The environment would take stack space.
    let status = Command::new("sh")
        .args(["-c", &script, &path_text(bin)?, &path_text(&program)?])
        .env_clear()
        .stdout(Stdio::null())
        .status()?;
    Ok(status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(code: &[&str]) -> usize {
        let mut listing = Listing::default();
        listing.line("0000000000001000 <spelter_interp::exec::dispatch::tail::quick::ACC0>:");
        code.iter().for_each(|instruction| listing.line(&format!("  1000:\t{instruction}")));
        assert_eq!(listing.handlers, 1);
        listing.lost.len()
    }

    #[test]
    fn a_call_at_the_end_is_a_lost_jump() {
        assert_eq!(lost(&["mov    (%rdi),%rax", "jmp    *%rax"]), 0);
        assert_eq!(lost(&["push   %rbx", "call   *%rax", "pop    %rbx", "ret"]), 1);
        assert_eq!(lost(&["call   *(%rdi)", "add    $0x8,%rsp", "ret"]), 1);
        let full = "call   2000 <spelter_interp::exec::dispatch::tail::full::ACC0>";
        assert_eq!(lost(&[full, "pop    %rcx", "ret"]), 1);
        assert_eq!(lost(&[full, "mov    $0x1,%al", "pop    %rcx", "ret"]), 0);
        assert_eq!(lost(&["call   2000 <raise>", "pop    %rcx", "ret"]), 0);
    }

    #[test]
    fn other_functions_are_none_of_its_business() {
        let mut listing = Listing::default();
        for line in [
            "0000000000001000 <spelter_interp::exec::dispatch::tail::run>:",
            "  1000:\tcall   *%rax",
            "  1002:\tret",
        ] {
            listing.line(line);
        }
        assert_eq!((listing.handlers, listing.lost.len()), (0, 0));
    }
}
