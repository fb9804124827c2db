//! Programs that once found a bug, as files that are independent of changes to the generator: a line that describes
//! the bug, and the executable in hexadecimal.

use std::fmt::Write;

use crate::engine::Engine;
use crate::generate;
use crate::source::Source;
use crate::targets::machine;

/// The prefix of the line if all engines must agree.
const EVERYWHERE: &str = "everywhere: ";

/// A program that found a bug.
#[derive(Clone, Debug)]
pub struct Case {
    /// The bug.
    pub found: String,
    /// Whether all engines must agree, including those with another heap.
    pub everywhere: bool,
    /// The executable.
    pub program: Vec<u8>,
}

impl Case {
    /// The program that the target `machine` generates from an input.
    pub fn of_input(found: &str, input: &[u8]) -> Case {
        let mut source = Source::of_bytes(input);
        Engine::of(&mut source);
        let program = generate::program(&mut source);
        Case { found: found.to_owned(), everywhere: !program.volatile, program: program.bytes }
    }

    /// Reads the file's text; `None` if it is not a case.
    pub fn read(text: &str) -> Option<Case> {
        let (found, hex) = text.strip_prefix("# ")?.split_once('\n')?;
        let digits: Vec<u8> = hex.bytes().filter(|c| !c.is_ascii_whitespace()).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let program = digits.chunks(2).map(byte).collect::<Option<Vec<u8>>>()?;
        let (found, everywhere) = match found.strip_prefix(EVERYWHERE) {
            Some(rest) => (rest, true),
            None => (found, false),
        };
        Some(Case { found: found.to_owned(), everywhere, program })
    }

    /// The file's text.
    pub fn write(&self) -> String {
        let everywhere = if self.everywhere { EVERYWHERE } else { "" };
        let mut text = format!("# {everywhere}{}\n", self.found);
        for line in self.program.chunks(60) {
            line.iter().for_each(|byte| write!(text, "{byte:02x}").expect("a string takes everything"));
            text.push('\n');
        }
        text
    }

    /// Runs it on every engine, and checks that those agree that must.
    ///
    /// # Panics
    /// When they do not agree.
    pub fn run(&self) {
        machine::run_everywhere(&self.program, self.everywhere);
    }
}
