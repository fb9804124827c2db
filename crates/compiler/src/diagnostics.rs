//! What the compiler says about a source, and where: its own text, taken apart.

use std::fmt;

/// How serious a message is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// The source is refused.
    Error,
    /// A warning, also of the kind that OCaml calls an alert.
    Warning,
}

/// A part of a source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// The first line; lines count from 1.
    pub line: usize,
    /// Where it begins in its first line, in bytes from 0. None if the compiler names only lines.
    pub column: Option<usize>,
    /// The last line.
    pub end_line: usize,
    /// Where it ends in its last line: the column after it.
    pub end_column: Option<usize>,
}

/// One message of the compiler.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// How serious it is.
    pub severity: Severity,
    /// The warning's number and name, as the compiler gives them: `26 [unused-var]`; of an alert `alert deprecated`.
    pub code: Option<String>,
    /// The source's file, `rule.ml`; none for phrases of a toplevel.
    pub file: Option<String>,
    /// What it is about.
    pub span: Option<Span>,
    /// The message, without place, source line and the word `Error`.
    pub message: String,
    /// The whole text that the compiler prints, with the source line.
    pub text: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What the compiler says about a source that it refuses. Prints as the compiler's own text.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// The errors among them.
    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter().filter(|one| one.severity == Severity::Error)
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<&str> = self.0.iter().map(|one| one.text.trim_end()).collect();
        f.write_str(&texts.join("\n"))
    }
}

impl std::error::Error for Diagnostics {}

/// A place, as its line names it: `File "rule.ml", lines 3-4, characters 2-7:`, or `Line 1, characters 0-3:`.
fn place(line: &str) -> Option<(Option<String>, Span)> {
    let line = line.strip_suffix(':')?;
    let (file, rest) = match line.strip_prefix("File \"") {
        Some(rest) => {
            let (file, rest) = rest.split_once("\", ")?;
            (Some(file.to_owned()), rest)
        }
        None => (None, line),
    };
    let (lines, columns) = match rest.split_once(", characters ") {
        Some((lines, columns)) => (lines, Some(range(columns)?)),
        None => (rest, None),
    };
    let (word, lines) = lines.split_once(' ')?;
    let (line, end_line) = match word {
        "line" | "Line" => lines.parse().ok().map(|line| (line, line))?,
        "lines" | "Lines" => range(lines)?,
        _ => return None,
    };
    let (column, end_column) = columns.unzip();
    Some((file, Span { line, column, end_line, end_column }))
}

fn range(text: &str) -> Option<(usize, usize)> {
    let (from, to) = text.split_once('-')?;
    Some((from.parse().ok()?, to.parse().ok()?))
}

/// The kind of a message by its first line, its code, and the rest of the line.
fn kind(line: &str) -> Option<(Severity, Option<String>, &str)> {
    let (head, message) = line.split_once(": ").or_else(|| Some((line.strip_suffix(':')?, "")))?;
    let some = |code: &str| Some(code.to_owned());
    let (severity, code) = match head.split_once(' ') {
        None if head == "Error" => (Severity::Error, None),
        Some(("Error", code)) => {
            let code = code.strip_prefix('(')?.strip_suffix(')')?;
            (Severity::Error, some(code.strip_prefix("warning ").unwrap_or(code)))
        }
        Some(("Warning", code)) if code.starts_with(|c: char| c.is_ascii_digit()) => {
            (Severity::Warning, some(code))
        }
        Some(("Alert", code)) if !code.contains(' ') => (Severity::Warning, Some(format!("alert {code}"))),
        _ => return None,
    };
    Some((severity, code, message))
}

/// A message that is being read: its place, and its lines so far.
#[derive(Default)]
struct Open<'a> {
    place: Option<(Option<String>, Span)>,
    kind: Option<(Severity, Option<String>, &'a str)>,
    /// Lines of the message after its first one.
    more: Vec<&'a str>,
    lines: Vec<&'a str>,
}

impl Open<'_> {
    fn close(self) -> Option<Diagnostic> {
        let (severity, code, first) = self.kind?;
        let (file, span) = self.place.map_or((None, None), |(file, span)| (file, Some(span)));
        let mut message = first.to_owned();
        for line in self.more {
            message.push('\n');
            message.push_str(line.trim_start());
        }
        let text = self.lines.iter().map(|line| format!("{line}\n")).collect();
        Some(Diagnostic { severity, code, file, span, message: message.trim_end().to_owned(), text })
    }
}

/// The messages in what the compiler has printed. What is before the first one is left out.
pub(crate) fn read(printed: &str) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut open: Option<Open<'_>> = None;
    for line in printed.lines() {
        if let Some(place) = place(line) {
            found.extend(open.take().and_then(Open::close));
            open = Some(Open { place: Some(place), lines: vec![line], ..Open::default() });
            continue;
        }
        match (kind(line), &mut open) {
            (Some(kind), Some(open)) if open.kind.is_none() => {
                open.kind = Some(kind);
                open.lines.push(line);
            }
            (Some(kind), _) => {
                found.extend(open.take().and_then(Open::close));
                open = Some(Open { kind: Some(kind), lines: vec![line], ..Open::default() });
            }
            (None, Some(open)) => {
                if open.kind.is_some() {
                    open.more.push(line);
                }
                open.lines.push(line);
            }
            (None, None) => {}
        }
    }
    found.extend(open.and_then(Open::close));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_taken_apart() {
        let printed = "\
File \"rule.ml\", lines 2-3, characters 2-7:
2 | ..match x with
3 |   | 1 -> 2
Warning 8 [partial-match]: this pattern-matching is not exhaustive.
Here is an example of a case that is not matched:
0
File \"rule.ml\", line 5, characters 8-9:
5 | let a = x
            ^
Error: This expression has type int
       but an expression was expected of type string
";
        let found = read(printed);
        assert_eq!(found.len(), 2, "{found:#?}");
        assert_eq!(found[0].severity, Severity::Warning);
        assert_eq!(found[0].code.as_deref(), Some("8 [partial-match]"));
        assert!(found[0].message.ends_with("not matched:\n0"), "{}", found[0].message);
        let span = Span { line: 2, column: Some(2), end_line: 3, end_column: Some(7) };
        assert_eq!(found[0].span, Some(span));
        assert_eq!(found[1].severity, Severity::Error);
        assert_eq!(
            found[1].message,
            "This expression has type int\nbut an expression was expected of type string"
        );
        assert!(
            found[1].text.starts_with("File \"rule.ml\", line 5")
                && found[1].text.contains("            ^\n")
        );
    }

    #[test]
    fn every_form_of_a_message_is_known() {
        let one = |text: &str| read(text).pop().expect(text);
        let error = one("File \"a.ml\", line 1:\nError: Could not find the .cmi file for interface a.mli.\n");
        assert_eq!(error.span, Some(Span { line: 1, column: None, end_line: 1, end_column: None }));
        let error = one("Line 1, characters 0-3:\n1 | x y\n    ^^^\nError: Unbound value x\n");
        assert_eq!((error.file, error.message.as_str()), (None, "Unbound value x"));
        let error = one(
            "File \"a.ml\", line 1, characters 0-3:\nError (warning 26 [unused-var]): unused variable x.\n",
        );
        assert_eq!((error.severity, error.code.as_deref()), (Severity::Error, Some("26 [unused-var]")));
        let alert = one("File \"a.ml\", line 1, characters 0-3:\nAlert deprecated: old\n");
        assert_eq!((alert.severity, alert.code.as_deref()), (Severity::Warning, Some("alert deprecated")));
        assert_eq!(one("Error: Cannot find file x.cma\n").span, None);
        assert_eq!(read("val x : int = 1\nException: Failure \"Error: x\".\n"), []);
    }
}
