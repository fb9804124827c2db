//! Describes the first difference between two answers concisely.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::process::Answer;

/// Lines shown before the first difference, and at most after it on each side.
const CONTEXT: usize = 3;

/// Describes the first difference between expected and actual bytes, or returns nothing if they agree.
pub fn answers(expected: &Answer, got: &Answer) -> Option<String> {
    let mut text = String::new();
    if expected.exit != got.exit {
        let _ = writeln!(text, "exit code: expected {}, got {}", expected.exit, got.exit);
    }
    if let Some(lines) = bytes(&expected.stdout, &got.stdout) {
        let _ = write!(text, "stdout:\n{lines}");
    }
    if let Some(lines) = bytes(&expected.stderr, &got.stderr) {
        let _ = write!(text, "stderr:\n{lines}");
    }
    let names: BTreeSet<&String> = expected.files.keys().chain(got.files.keys()).collect();
    for name in names {
        let _ = match (expected.files.get(name), got.files.get(name)) {
            (Some(expected), Some(got)) if expected == got => Ok(()),
            (Some(_), Some(_)) => writeln!(text, "file {name} differs"),
            (Some(_), None) => writeln!(text, "file {name} is missing"),
            (None, _) => writeln!(text, "file {name} is extra"),
        };
    }
    (!text.is_empty()).then_some(text)
}

/// An excerpt in the manner of a unified diff, around the first line that differs.
pub fn bytes(expected: &[u8], got: &[u8]) -> Option<String> {
    if expected == got {
        return None;
    }
    let expected = lines(expected);
    let got = lines(got);
    let first = expected.iter().zip(&got).take_while(|(a, b)| a == b).count();
    let start = first.saturating_sub(CONTEXT);
    let mut text = format!("  @@ line {} @@\n", first + 1);
    for line in &expected[start..first] {
        let _ = writeln!(text, "   {line}");
    }
    side(&mut text, '-', &expected[first..]);
    side(&mut text, '+', &got[first..]);
    Some(text)
}

fn side(text: &mut String, mark: char, lines: &[String]) {
    for line in lines.iter().take(CONTEXT) {
        let _ = writeln!(text, "  {mark}{line}");
    }
    if lines.len() > CONTEXT {
        let _ = writeln!(text, "  {mark}… {} more", lines.len() - CONTEXT);
    }
}

/// Lines with their invisible characters escaped; a missing last newline is marked.
fn lines(bytes: &[u8]) -> Vec<String> {
    bytes
        .split_inclusive(|&byte| byte == b'\n')
        .map(|line| {
            let (line, end) = line.strip_suffix(b"\n").map_or((line, "⏎ missing"), |line| (line, ""));
            let shown: String = line.escape_ascii().to_string().replace("\\\"", "\"").replace("\\'", "'");
            let cut: String = shown.chars().take(200).collect();
            format!("{cut}{}{end}", if cut.len() < shown.len() { "…" } else { "" })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_bytes_have_no_difference() {
        assert_eq!(bytes(b"a\nb", b"a\nb"), None);
    }

    #[test]
    fn the_first_difference_is_shown_with_context() {
        let text = bytes(b"1\n2\n3\n4\n5\n", b"1\n2\n3\n4\nfive\n").unwrap();
        assert_eq!(text, "  @@ line 5 @@\n   2\n   3\n   4\n  -5\n  +five\n");
    }

    #[test]
    fn a_missing_newline_and_a_missing_tail_show() {
        assert!(bytes(b"a\n", b"a").unwrap().contains("+a⏎ missing"));
        assert!(bytes(b"a\nb\n", b"a\n").unwrap().contains("-b"));
    }

    #[test]
    fn exit_codes_count() {
        let good = Answer::default();
        let bad = Answer { exit: 2, ..Answer::default() };
        assert_eq!(answers(&good, &good), None);
        assert!(answers(&good, &bad).unwrap().contains("expected 0, got 2"));
    }

    #[test]
    fn files_count() {
        let with = |files: &[(&str, &str)]| Answer {
            files: files.iter().map(|(name, digest)| ((*name).to_owned(), (*digest).to_owned())).collect(),
            ..Answer::default()
        };
        let text = answers(
            &with(&[("a", "1"), ("b", "1"), ("c", "1")]),
            &with(&[("a", "1"), ("b", "2"), ("d", "1")]),
        );
        assert_eq!(text.unwrap(), "file b differs\nfile c is missing\nfile d is extra\n");
    }
}
