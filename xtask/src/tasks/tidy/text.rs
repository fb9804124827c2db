//! Checks the text of each file.

/// Words that committed texts must not contain, and why. Split in two halves, so that this file passes its own check.
const WORDS: [(&str, &str, &str); 6] = [
    ("/wo", "rk/", "a path of somebody's machine"),
    ("/ro", "ot/", "a path of somebody's machine"),
    ("/ho", "me/", "a path of somebody's machine"),
    ("TO", "DO", "do it, or open an issue"),
    ("FIX", "ME", "fix it, or open an issue"),
    ("XX", "X:", "say what is meant"),
];

/// The width of comments, in characters from the left margin. (rustfmt's `comment_width` is not stable.)
const COMMENT_WIDTH: usize = 130;

pub(super) fn check(file: &str, text: &str, wrong: &mut Vec<String>) {
    let is_rust = file.ends_with(".rs");
    if is_rust && !text.starts_with("//!") {
        wrong.push(format!("{file} does not start with a //! header"));
    }
    for (number, line) in (1..).zip(text.lines()) {
        for (first, second, why) in WORDS {
            if line.contains(&format!("{first}{second}")) {
                wrong.push(format!("{file}:{number}: '{first}{second}': {why}"));
            }
        }
        let width = line.chars().count();
        // A table's row cannot be wrapped.
        let row = line.trim_start().trim_start_matches(['/', '!']).trim_start().starts_with('|');
        if is_rust && line.trim_start().starts_with("//") && !row && width > COMMENT_WIDTH {
            wrong.push(format!("{file}:{number}: a comment of {width} columns; {COMMENT_WIDTH} at most"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(file: &str, text: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        check(file, text, &mut wrong);
        wrong
    }

    #[test]
    fn a_file_without_header_and_a_leftover_are_found() {
        let wrong = complaints("a.rs", &format!("fn f() {{}} // {}{} later\n", "TO", "DO"));
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(wrong[1].starts_with("a.rs:1:"), "{wrong:?}");
    }

    #[test]
    fn good_text_passes() {
        assert_eq!(complaints("a.rs", "//! Header.\n"), [""; 0]);
        assert_eq!(complaints("b.md", "Prose.\n"), [""; 0]);
    }

    #[test]
    fn a_comment_that_is_too_wide_is_found() {
        let widest = format!("    // {}\n", "ü".repeat(COMMENT_WIDTH - 7));
        let row = format!("//! | {} |\n", "x".repeat(COMMENT_WIDTH));
        assert_eq!(complaints("a.rs", &format!("//! A.\n{widest}{row}")), [""; 0]);
        let wrong = complaints("a.rs", &format!("//! A.\n{}", widest.replace("// ", "/// ")));
        assert_eq!(wrong, ["a.rs:2: a comment of 131 columns; 130 at most"]);
    }
}
