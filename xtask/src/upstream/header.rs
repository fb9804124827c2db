//! The headers of OCaml's own tests: the little language of `ocamltest`, read from a source's first comment.
//!
//! Up to OCaml 5.1 a header is a list of settings, then a tree of actions; the number of stars before an action is its
//! depth.
//!
//! ```ocaml
//! (* TEST
//!    flags = "-g"
//!    * hasunix
//!    include unix
//!    ** bytecode
//! *)
//! ```
//!
//! From 5.2 on it is a list of statements, each with a semicolon, then the branches of the tree in braces; a branch is
//! written like a header.
//!
//! ```ocaml
//! (* TEST
//!    flags = "-g";
//!    hasunix;
//!    include unix;
//!    {
//!      bytecode;
//!    }{
//!      native;
//!    }
//! *)
//! ```

use std::iter::Peekable;

use anyhow::{Context, Result, bail, ensure};

/// The parsed header of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Settings for the whole.
    pub settings: Vec<Setting>,
    /// The actions at depth one.
    pub tests: Vec<Node>,
}

/// An action, with the actions that follow if it passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The action's name, or that of a test, which is a list of actions.
    pub name: String,
    /// Settings that apply from here on.
    pub settings: Vec<Setting>,
    /// The following actions, in order.
    pub then: Vec<Node>,
}

/// A change to the variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// `name = "value"`, also with `set` before it.
    Set(String, String),
    /// `name += "value"`.
    Append(String, String),
    /// `include name`, or `with name` after an action.
    Include(String),
    /// `unset name`.
    Unset(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Stars(usize),
    Open,
    Close,
    Semicolon,
    Word(String),
    Text(String),
    Comma,
    Equal,
    PlusEqual,
}

impl Header {
    /// Reads the header of a source; `None` if it has none.
    ///
    /// # Errors
    ///
    /// If the header is malformed.
    pub fn of_source(source: &str) -> Result<Option<Self>> {
        let Some((text, end)) = start(source) else { return Ok(None) };
        let tokens = tokens(text, end)?;
        let has_statements = tokens.iter().any(|token| matches!(token, Token::Semicolon | Token::Open));
        let mut rest = tokens.into_iter().peekable();
        if has_statements {
            let (settings, tests) = branch(&mut rest)?;
            ensure!(rest.next().is_none(), "a brace is closed that has not been opened");
            return Ok(Some(Self { settings, tests }));
        }
        let settings = settings(&mut rest)?;
        let tests = nodes(&mut rest, 1)?;
        ensure!(rest.next().is_none(), "an action is deeper than the one before it allows");
        Ok(Some(Self { settings, tests }))
    }
}

/// The text after the word that begins a header, and the text that ends it.
fn start(source: &str) -> Option<(&str, &'static str)> {
    let source = source.trim_start();
    for (begin, end) in [("(*", "*)"), ("/*", "*/")] {
        let Some(text) = source.strip_prefix(begin) else { continue };
        let text = text.trim_start().strip_prefix("TEST")?;
        // TEST_BELOW: the actual header comes later, so that it does not shift the program's line numbers.
        let Some(below) = text.strip_prefix("_BELOW") else { return Some((text, end)) };
        let place = below.rfind(&format!("{begin} TEST"))?;
        return Some((&below[place + begin.len() + " TEST".len()..], end));
    }
    None
}

const SIGNS: [(char, Token); 5] = [
    (',', Token::Comma),
    ('=', Token::Equal),
    ('{', Token::Open),
    ('}', Token::Close),
    (';', Token::Semicolon),
];

fn tokens(text: &str, end: &str) -> Result<Vec<Token>> {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if rest.starts_with(end) {
            return Ok(found);
        }
        let first = rest.chars().next().context("the header has no end")?;
        if rest.starts_with("(*") {
            rest = after_comment(rest)?;
        } else if let Some(after) = rest.strip_prefix("+=") {
            found.push(Token::PlusEqual);
            rest = after;
        } else if let Some(after) = rest.strip_prefix('"') {
            let (value, after) = quoted(after)?;
            found.push(Token::Text(value));
            rest = after;
        } else if first == '*' {
            let after = rest.trim_start_matches('*');
            // `*14` stands for that many stars.
            let beyond = after.trim_start_matches(|c: char| c.is_ascii_digit());
            let stars = after[..after.len() - beyond.len()].parse();
            found.push(Token::Stars(stars.unwrap_or(rest.len() - after.len())));
            rest = beyond;
        } else if let Some((_, token)) = SIGNS.iter().find(|(sign, _)| *sign == first) {
            found.push(token.clone());
            rest = &rest[1..];
        } else {
            let in_word = |c: char| c.is_ascii_alphanumeric() || "_.-'".contains(c);
            let after = rest.trim_start_matches(in_word);
            let word = &rest[..rest.len() - after.len()];
            ensure!(!word.is_empty(), "unexpected character {first:?} in the header");
            found.push(Token::Word(word.to_owned()));
            rest = after;
        }
    }
}

fn after_comment(text: &str) -> Result<&str> {
    let mut depth = 0usize;
    let mut rest = text;
    loop {
        if let Some(after) = rest.strip_prefix("(*") {
            depth += 1;
            rest = after;
        } else if let Some(after) = rest.strip_prefix("*)") {
            depth -= 1;
            rest = after;
            if depth == 0 {
                return Ok(rest);
            }
        } else {
            let mut chars = rest.chars();
            chars.next().context("a comment in the header has no end")?;
            rest = chars.as_str();
        }
    }
}

/// The value of a string, and the rest. A backslash at the end of a line removes the line break and the blanks after
/// it, except a blank after another backslash; elsewhere a backslash is literal.
fn quoted(text: &str) -> Result<(String, &str)> {
    let mut value = String::new();
    let mut rest = text;
    loop {
        let mut chars = rest.chars();
        match chars.next().context("a string in the header has no end")? {
            '"' => return Ok((value, chars.as_str())),
            '\\' if chars.as_str().trim_start_matches('\r').starts_with('\n') => {
                rest = chars.as_str().trim_start_matches('\r')[1..].trim_start_matches([' ', '\t', '\x0c']);
                if rest.starts_with("\\ ") {
                    value.push(' ');
                    rest = &rest[2..];
                }
            }
            c => {
                value.push(c);
                rest = chars.as_str();
            }
        }
    }
}

type Tokens = Peekable<std::vec::IntoIter<Token>>;

fn word(rest: &mut Tokens) -> Result<String> {
    match rest.next() {
        Some(Token::Word(word)) => Ok(word),
        other => bail!("a word is missing in the header before {other:?}"),
    }
}

fn settings(rest: &mut Tokens) -> Result<Vec<Setting>> {
    let mut settings = Vec::new();
    while matches!(rest.peek(), Some(Token::Word(_))) {
        let name = word(rest)?;
        settings.push(setting(name, rest)?);
    }
    Ok(settings)
}

/// A setting that begins with this word.
fn setting(mut name: String, rest: &mut Tokens) -> Result<Setting> {
    match name.as_str() {
        "include" => return Ok(Setting::Include(word(rest)?)),
        "unset" => return Ok(Setting::Unset(word(rest)?)),
        "set" => name = word(rest)?,
        _ => {}
    }
    let appends = match rest.next() {
        Some(Token::Equal) => false,
        Some(Token::PlusEqual) => true,
        other => bail!("{name} is followed by {other:?} in the header"),
    };
    let Some(Token::Text(value)) = rest.next() else { bail!("{name} has no value in the header") };
    Ok(if appends { Setting::Append(name, value) } else { Setting::Set(name, value) })
}

/// The modifiers after an action's name.
fn with(rest: &mut Tokens) -> Result<Vec<Setting>> {
    let mut with = Vec::new();
    if rest.next_if_eq(&Token::Word("with".to_owned())).is_some() {
        with.push(Setting::Include(word(rest)?));
        while rest.next_if_eq(&Token::Comma).is_some() {
            with.push(Setting::Include(word(rest)?));
        }
    }
    Ok(with)
}

fn nodes(rest: &mut Tokens, depth: usize) -> Result<Vec<Node>> {
    let mut nodes = Vec::new();
    while rest.next_if_eq(&Token::Stars(depth)).is_some() {
        let name = word(rest)?;
        let mut with = with(rest)?;
        let mut settings = settings(rest)?;
        settings.append(&mut with);
        nodes.push(Node { name, settings, then: self::nodes(rest, depth + 1)? });
    }
    Ok(nodes)
}

/// Statements up to a closing brace or the end, then branches: the settings before the first action, and the tree.
fn branch(rest: &mut Tokens) -> Result<(Vec<Setting>, Vec<Node>)> {
    let mut first = Vec::new();
    // The actions so far, each with the settings before it; the settings after the last.
    let mut actions: Vec<Node> = Vec::new();
    let mut pending = Vec::new();
    while matches!(rest.peek(), Some(Token::Word(_))) {
        let name = word(rest)?;
        let sets = ["include", "set", "unset"].contains(&name.as_str())
            || matches!(rest.peek(), Some(Token::Equal | Token::PlusEqual));
        if sets {
            let settings = if actions.is_empty() { &mut first } else { &mut pending };
            settings.push(setting(name, rest)?);
        } else {
            let mut settings = std::mem::take(&mut pending);
            settings.extend(with(rest)?);
            actions.push(Node { name, settings, then: Vec::new() });
        }
        ensure!(rest.next() == Some(Token::Semicolon), "a statement in the header has no semicolon");
    }
    let mut nodes = Vec::new();
    while rest.next_if_eq(&Token::Open).is_some() {
        let (mut before, branches) = branch(rest)?;
        ensure!(rest.next() == Some(Token::Close), "a brace in the header is not closed");
        before.splice(0..0, pending.iter().cloned());
        for mut node in branches {
            node.settings.splice(0..0, before.iter().cloned());
            nodes.push(node);
        }
    }
    for mut action in actions.into_iter().rev() {
        action.then = nodes;
        nodes = vec![action];
    }
    Ok((first, nodes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, value: &str) -> Setting {
        Setting::Set(name.to_owned(), value.to_owned())
    }

    #[test]
    fn settings_and_a_tree() {
        let source =
            "(* TEST\n flags += \" -g\"\n * a\n x = \"1\"\n ** b with p, q (* why *)\n y=\"\"\n ** c\n* d *)";
        let header = Header::of_source(source).unwrap().unwrap();
        assert_eq!(header.settings, [Setting::Append("flags".to_owned(), " -g".to_owned())]);
        assert_eq!(header.tests.len(), 2);
        assert_eq!(header.tests[0].settings, [set("x", "1")]);
        let include = |name: &str| Setting::Include(name.to_owned());
        assert_eq!(header.tests[0].then[0].settings, [set("y", ""), include("p"), include("q")]);
        assert_eq!(header.tests[0].then[1].name, "c");
    }

    #[test]
    fn stars_may_be_counted() {
        let header = Header::of_source("(* TEST\n*01 a\nx = \"1\"\n*02 b\n*01 c *)").unwrap().unwrap();
        assert_eq!(header.tests.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(header.tests[0].then[0].name, "b");
    }

    #[test]
    fn strings_go_on_after_a_backslash() {
        let header = Header::of_source("(* TEST x = \"a\\\n   b\\c\\\n \\ d\" *)").unwrap().unwrap();
        assert_eq!(header.settings, [set("x", "ab\\c d")]);
    }

    #[test]
    fn other_sources_have_none() {
        assert_eq!(Header::of_source("(* A program. *)").unwrap(), None);
        assert_eq!(Header::of_source("(* TEST *)").unwrap(), Some(Header::default()));
    }

    #[test]
    fn the_header_may_stand_below() {
        let header = Header::of_source("(* TEST_BELOW *)\nlet x = 1\n(* TEST * native *)").unwrap().unwrap();
        assert_eq!(header.tests[0].name, "native");
    }

    #[test]
    fn statements_and_branches() {
        let source = "(* TEST\n flags += \" -g\";\n include p;\n a;\n x = \"1\";\n b with q, r; (* why *)\n unset x;\n \
                      {\n y=\"\"; c;\n d;\n }{\n e;\n }\n*)";
        let header = Header::of_source(source).unwrap().unwrap();
        let include = |name: &str| Setting::Include(name.to_owned());
        assert_eq!(header.settings, [Setting::Append("flags".to_owned(), " -g".to_owned()), include("p")]);
        let [a] = &header.tests[..] else { panic!("{:?}", header.tests) };
        assert!(a.settings.is_empty());
        let [b] = &a.then[..] else { panic!("{a:?}") };
        assert_eq!(b.settings, [set("x", "1"), include("q"), include("r")]);
        let [c, e] = &b.then[..] else { panic!("{b:?}") };
        assert_eq!(c.settings, [Setting::Unset("x".to_owned()), set("y", "")]);
        assert_eq!((c.then[0].name.as_str(), c.then[0].settings.len()), ("d", 0));
        assert_eq!(e.settings, [Setting::Unset("x".to_owned())]);
    }

    #[test]
    fn settings_alone_are_statements_too() {
        let header = Header::of_source("(* TEST\n flags = \"-g\";\n*)").unwrap().unwrap();
        assert_eq!(header, Header { settings: vec![set("flags", "-g")], tests: Vec::new() });
    }

    #[test]
    fn nonsense_is_refused() {
        for (source, why) in [
            ("(* TEST x *)", "x is followed by"),
            ("(* TEST ** deep *)", "deeper than the one before it allows"),
            ("(* TEST x = \"", "a string in the header has no end"),
            ("(* TEST * a with *)", "a word is missing"),
            ("(* TEST ! *)", "unexpected character '!'"),
            ("(* TEST ; *)", "a brace is closed that has not been opened"),
            ("(* TEST a; } *)", "a brace is closed that has not been opened"),
            ("(* TEST a; { b; *)", "a brace in the header is not closed"),
            ("(* TEST { b } *)", "no semicolon"),
        ] {
            let error = Header::of_source(source).unwrap_err();
            assert!(format!("{error:#}").contains(why), "{source}: {error:#}");
        }
    }
}
