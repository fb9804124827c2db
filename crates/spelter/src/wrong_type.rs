//! The error for an OCaml value of an unexpected type.

use std::fmt;

use spelter_interp::inspect::reachability::tag;
use spelter_interp::{Raise, Val};

/// A value does not have the expected type.
///
/// Prints as one line: the value's position inside the value to be read, what was expected, and what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongType {
    /// From the inside out.
    path: Vec<Step>,
    expected: String,
    found: String,
}

/// How many steps of a long path are shown at each end.
const SHOWN: usize = 4;

/// A step on the path to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Field(usize),
    Element(usize),
    Argument(usize),
    /// A field of a record: its name, and that of the record's type or of the constructor.
    Named(&'static str, &'static str),
    /// An argument of a constructor.
    OfConstructor(usize, &'static str),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Field(i) => write!(f, "field {i}"),
            Step::Element(i) => write!(f, "element {i}"),
            Step::Argument(i) => write!(f, "argument {}", i + 1),
            Step::Named(field, of) => write!(f, "field {field} of {of}"),
            Step::OfConstructor(i, constructor) => write!(f, "argument {} of {constructor}", i + 1),
        }
    }
}

impl WrongType {
    /// The error that `found` is not what was expected.
    pub fn new(found: Val<'_>, expected: impl Into<String>) -> WrongType {
        WrongType { path: Vec::new(), expected: expected.into(), found: describe(found) }
    }

    fn inside(mut self, step: Step) -> WrongType {
        self.path.push(step);
        self
    }

    /// Adds that the value is field `i` of the value to be read.
    pub fn in_field(self, i: usize) -> WrongType {
        self.inside(Step::Field(i))
    }

    /// Adds that the value is element `i` of the list to be read.
    pub fn in_element(self, i: usize) -> WrongType {
        self.inside(Step::Element(i))
    }

    /// Adds that the value is the field of this name, of a record or of a constructor's inline record; `of` is the name
    /// of the type or of the constructor.
    pub fn in_record(self, field: &'static str, of: &'static str) -> WrongType {
        self.inside(Step::Named(field, of))
    }

    /// Adds that the value is argument `i` of this constructor.
    pub fn in_constructor(self, i: usize, constructor: &'static str) -> WrongType {
        self.inside(Step::OfConstructor(i, constructor))
    }

    pub(crate) fn in_argument(self, i: usize) -> WrongType {
        self.inside(Step::Argument(i))
    }

    /// The path to the value, from the value to be read; empty if they are the same. Of a long one, the middle is left
    /// out.
    pub fn path(&self) -> String {
        let mut steps: Vec<String> = self.path.iter().rev().map(Step::to_string).collect();
        if let Some(more) = steps.len().checked_sub(2 * SHOWN).filter(|more| *more > 1) {
            steps.splice(SHOWN..SHOWN + more, [format!("{more} more")]);
        }
        steps.join(", ")
    }

    /// The expectation, such as "an integer".
    pub fn expected(&self) -> &str {
        &self.expected
    }

    /// A description of the value found, such as "a string of 3 bytes".
    pub fn found(&self) -> &str {
        &self.found
    }
}

impl fmt::Display for WrongType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path())?;
        }
        write!(f, "expected {}, found {}", self.expected, self.found)
    }
}

impl std::error::Error for WrongType {}

/// `Invalid_argument`
impl From<WrongType> for Raise {
    fn from(e: WrongType) -> Raise {
        Raise::invalid(e.to_string())
    }
}

fn describe(v: Val<'_>) -> String {
    let plural = |n: usize, one: &str| format!("{n} {one}{}", if n == 1 { "" } else { "s" });
    let size = v.wosize().unwrap_or(0);
    match (v.int(), v.tag()) {
        (Ok(n), _) => format!("the integer {n}"),
        (_, Ok(tag::CLOSURE | tag::INFIX)) => "a function".to_owned(),
        (_, Ok(tag::STRING)) => format!("a string of {}", plural(v.bytes().map_or(0, <[u8]>::len), "byte")),
        (_, Ok(tag::DOUBLE)) => "a float".to_owned(),
        (_, Ok(tag::DOUBLE_ARRAY)) => format!("an array of {}", plural(size, "float")),
        (_, Ok(tag::OBJECT)) => "an object".to_owned(),
        (_, Ok(tag::CUSTOM | tag::ABSTRACT)) => "a block without fields".to_owned(),
        (_, tag) => format!("a block of {} with tag {}", plural(size, "field"), tag.unwrap_or(0)),
    }
}
