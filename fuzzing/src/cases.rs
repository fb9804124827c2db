//! Programs that once found something, as files that the generator's changes do not touch: a line that says what it was,
//! and the executable in hexadecimal.

use std::fmt::Write;

use crate::engine::Engine;
use crate::generate;
use crate::source::Source;
use crate::targets::machine;

/// A program that found something.
#[derive(Clone, Debug)]
pub struct Case {
    /// What.
    pub found: String,
    /// The executable.
    pub program: Vec<u8>,
}

impl Case {
    /// The program that the target `machine` makes of an input.
    pub fn of_input(found: &str, input: &[u8]) -> Case {
        let mut source = Source::of_bytes(input);
        Engine::of(&mut source);
        Case { found: found.to_owned(), program: generate::program(&mut source).bytes }
    }

    /// Reads the file's text; `None` if it is not a case.
    pub fn read(text: &str) -> Option<Case> {
        let (found, hex) = text.strip_prefix("# ")?.split_once('\n')?;
        let digits: Vec<u8> = hex.bytes().filter(|c| !c.is_ascii_whitespace()).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let program = digits.chunks(2).map(byte).collect::<Option<Vec<u8>>>()?;
        Some(Case { found: found.to_owned(), program })
    }

    /// The file's text.
    pub fn write(&self) -> String {
        let mut text = format!("# {}\n", self.found);
        for line in self.program.chunks(60) {
            line.iter().for_each(|byte| write!(text, "{byte:02x}").expect("a string takes everything"));
            text.push('\n');
        }
        text
    }

    /// Runs it on every engine; all must agree. What depends on when the collector ran is compared with the other
    /// dispatch only.
    ///
    /// # Panics
    /// When they do not.
    pub fn run(&self) {
        machine::run_everywhere(&self.program);
    }
}
