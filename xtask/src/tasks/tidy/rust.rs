//! Extracts the code of a Rust file.

/// The text with comments and literals replaced by spaces. Line numbers do not change.
pub(super) fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = literal(rest, code.chars().next_back());
        if length == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            code.extend(rest[..length].chars().map(|c| if c == '\n' { c } else { ' ' }));
            rest = &rest[length..];
        }
    }
    code
}

/// The length of the comment or literal that `text` begins with, or 0. A raw string's `r` may also end a name.
fn literal(text: &str, before: Option<char>) -> usize {
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if text.starts_with("//") {
        text.find('\n').unwrap_or(text.len())
    } else if text.starts_with("/*") {
        block_comment(text)
    } else if text.starts_with('"') {
        quoted(text, '"')
    } else if text.starts_with('\'') {
        character(text)
    } else if text.starts_with('r') && (!in_word || before == Some('b')) {
        raw_string(text)
    } else {
        0
    }
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// The text between two delimiters, with backslash escapes.
fn quoted(text: &str, mark: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == mark => return at + 1,
            _ => (),
        }
    }
    text.len()
}

/// A character literal, as opposed to a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.chars().skip(1);
    match (chars.next(), chars.next()) {
        (Some('\\'), _) | (Some(_), Some('\'')) => quoted(text, '\''),
        _ => 0,
    }
}

fn raw_string(text: &str) -> usize {
    let hashes = text[1..].bytes().take_while(|b| *b == b'#').count();
    let start = 1 + hashes;
    if !text[start..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    text[start + 1..].find(&end).map_or(text.len(), |at| start + 1 + at + end.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_no_code() {
        let words = |text: &str| code_of(text).split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(words("a // unsafe\nb"), "a b");
        assert_eq!(words("a /* x /* y */ z */ b"), "a b");
        assert_eq!(words("f(\"say \\\"unsafe\\\"\", x)"), "f( , x)");
        assert_eq!(words("f(r#\"a \"quoted\" word\"#, x)"), "f( , x)");
        assert_eq!(words("r#extern for_r\"s\""), "r#extern for_r");
        assert_eq!(words("'\"' 'a' b'\\'' fn f<'a>(x: &'a str)"), "b fn f<'a>(x: &'a str)");
    }

    #[test]
    fn lines_stay_where_they_are() {
        let text = "a\n/* one\ntwo */ b\n\"three\nfour\" c\n";
        assert_eq!(code_of(text).lines().count(), text.lines().count());
        assert_eq!(code_of(text).lines().nth(4).map(str::trim), Some("c"));
    }
}
