//! Tests of the toplevel contain phrases and, in `[%%expect]`, the expected output; the toplevel must read only the
//! phrases.

/// The source without `[%%expect …]`. Phrase terminators are kept.
pub fn without_answers(source: &str) -> String {
    let mut text = String::new();
    let mut rest = source;
    while let Some(place) = rest.find("[%%expect") {
        text.push_str(&rest[..place]);
        rest = after_brackets(&rest[place..]);
    }
    text + rest
}

/// The text after the `]` that closes the first `[`; quoted strings, `{|…|}` and `{id|…|id}`, are skipped.
fn after_brackets(text: &str) -> &str {
    let mut rest = text;
    loop {
        let Some(place) = rest.find(['{', ']']) else { return "" };
        let after = &rest[place + 1..];
        if rest[place..].starts_with(']') {
            return after;
        }
        let bar = after.trim_start_matches(|c: char| c.is_ascii_lowercase() || c == '_');
        let id = &after[..after.len() - bar.len()];
        rest = match bar.strip_prefix('|') {
            Some(body) => {
                let end = format!("|{id}}}");
                body.find(&end).map_or("", |place| &body[place + end.len()..])
            }
            None => after,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_stay() {
        let source = "let x = 1;;\n[%%expect{|val x : int = 1 [a] |}];;\ntype t\n[%%expect{q||}|q}, Principal{||}];;\n[x]";
        assert_eq!(without_answers(source), "let x = 1;;\n;;\ntype t\n;;\n[x]");
    }
}
