//! The standard input of a toplevel on a terminal: lines that the user edits, until a phrase is complete.

use std::io::{self, Read};
use std::path::PathBuf;

use rustyline::Helper;
use rustyline::completion::Completer;
use rustyline::config::Config;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};

const PROMPT: &str = "# ";
/// The prompt in a phrase that the editor took for complete.
const CONTINUED: &str = "  ";

/// As many phrases does the history keep.
const PHRASES: usize = 10_000;

/// Continues a phrase after Enter.
struct Phrases;

impl Completer for Phrases {
    type Candidate = String;
}

impl Hinter for Phrases {
    type Hint = String;
}

impl Highlighter for Phrases {}
impl Helper for Phrases {}

impl Validator for Phrases {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let text = context.input();
        let done = text.trim().is_empty() || is_complete(text);
        Ok(if done { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

/// A line editor as a file.
pub(crate) struct Editor {
    lines: rustyline::Editor<Phrases, FileHistory>,
    history: Option<PathBuf>,
    /// What has been typed and not read yet.
    pending: Vec<u8>,
    /// Whether what was typed last ends a phrase.
    complete: bool,
}

impl Editor {
    pub(crate) fn new(history: Option<PathBuf>) -> rustyline::Result<Editor> {
        let config = Config::builder().max_history_size(PHRASES)?.auto_add_history(true).build();
        let entries = FileHistory::with_config(&config);
        let mut lines = rustyline::Editor::with_history(config, entries)?;
        lines.set_helper(Some(Phrases));
        if let Some(path) = &history {
            // There is none the first time.
            let _ = lines.load_history(path);
        }
        Ok(Editor { lines, history, pending: Vec::new(), complete: true })
    }

    fn save(&mut self) {
        let Some(path) = &self.history else { return };
        // A history that cannot be written is not worth an error in a session.
        let _ = path.parent().map(std::fs::create_dir_all);
        let _ = self.lines.append_history(path);
    }
}

impl Read for Editor {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.pending.is_empty() {
            match self.lines.readline(if self.complete { PROMPT } else { CONTINUED }) {
                Ok(line) => {
                    if !line.trim().is_empty() {
                        self.complete = is_complete(&line);
                        self.save();
                    }
                    self.pending = line.into_bytes();
                    self.pending.push(b'\n');
                }
                // Ctrl-C drops what was typed.
                Err(ReadlineError::Interrupted) => {}
                Err(ReadlineError::Eof) => return Ok(0),
                Err(ReadlineError::Io(e)) => return Err(e),
                Err(e) => return Err(io::Error::other(e)),
            }
        }
        let n = self.pending.len().min(into.len());
        into[..n].copy_from_slice(&self.pending[..n]);
        self.pending.drain(..n);
        Ok(n)
    }
}

/// Whether a text ends a phrase: there is a `;;` outside of strings and comments, and after it only blanks or comments.
fn is_complete(text: &str) -> bool {
    let mut rest = text;
    let mut ended = false;
    while let Some(c) = rest.chars().next() {
        let skipped = if let Some(after) = rest.strip_prefix(";;") {
            ended = true;
            rest = after;
            continue;
        } else if rest.starts_with("(*") {
            comment(rest)
        } else if c == '"' {
            string(rest)
        } else if c == '{' && quoted(rest).is_some() {
            quoted(rest).unwrap_or_default()
        } else if c == '\'' {
            Some(character(rest))
        } else {
            Some(c.len_utf8())
        };
        let Some(skipped) = skipped else { return false };
        ended &= c.is_whitespace() || rest.starts_with("(*");
        rest = &rest[skipped..];
    }
    ended
}

/// The length of the string at the start of a text; none if it does not end.
fn string(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// The same of a string such as `{id|text|id}`. The outer result is none if there is no such string.
fn quoted(text: &str) -> Option<Option<usize>> {
    let (id, _) = text[1..].split_once('|')?;
    if !id.chars().all(|c| c == '_' || c.is_lowercase()) {
        return None;
    }
    let end = format!("|{id}}}");
    let body = 1 + id.len() + 1;
    Some(text[body..].find(&end).map(|at| body + at + end.len()))
}

/// The same of a comment, in which there may be comments and strings.
fn comment(text: &str) -> Option<usize> {
    let mut at = 2;
    loop {
        let rest = &text[at..];
        at += match rest.chars().next()? {
            _ if rest.starts_with("*)") => return Some(at + 2),
            _ if rest.starts_with("(*") => comment(rest)?,
            '"' => string(rest)?,
            '\'' => character(rest),
            c => c.len_utf8(),
        };
    }
}

/// The length of a character such as `'"'`; 1 for a quote that is part of a name or of a type variable.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((at, c))) => match text[at + c.len_utf8()..].find('\'') {
            Some(end) => at + c.len_utf8() + end + 1,
            None => 1,
        },
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::is_complete;

    #[test]
    fn a_phrase_ends_outside_of_strings_and_comments() {
        for text in [
            "1;;",
            "let f () =\n  ();;\n",
            "\"a;;\";;",
            "(* ;; (* \"*)\" *) ;; *) 1;; (* after *) ",
            "'\"';;",
            "let f x' = 'a' :: '\\'' :: x';; ",
            "{id|\" |} |id};;",
            "{ a with b };;",
            "type 'a t = 'a;;",
            "#quit;;",
            "\"\u{e9}\" ;;",
        ] {
            assert!(is_complete(text), "{text}");
        }
        for text in [
            "1",
            "1;",
            "\";;",
            "(* ;;",
            "{|;;",
            "\"\\\";;",
            "1;; 2",
            "1;; (* x",
            "(* \";; *) ;;",
            "'\"' \";;",
            "{x|;;|y}",
        ] {
            assert!(!is_complete(text), "{text}");
        }
    }
}
