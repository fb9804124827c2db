//! The demo without a terminal.

use crate::{outcome, spelter};

#[test]
fn one_chart_and_the_figures() {
    let (code, out, err) = outcome(spelter().args(["demo", "--versions", "3000"]));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(!out.contains('\x1b'), "no colours and no moving in a pipe");
    assert_eq!(out.matches('└').count(), 1, "one chart: {out}");
    assert!(out.lines().all(|line| line.chars().count() <= 100), "{out}");
    assert!(out.chars().any(|c| ('\u{2801}'..='\u{28ff}').contains(&c)), "{out}");
    let figure = |what: &str| {
        let line = out.lines().find(|line| line.trim_start().starts_with(what)).expect(what);
        line.split_whitespace().next_back().expect("a figure").to_owned()
    };
    assert_eq!(figure("versions loaded"), "3000");
    assert_eq!(figure("freed"), "2999");
    assert_eq!(figure("alive"), "1");
    assert_ne!(figure("major collections"), "0");
}

#[test]
fn at_least_one_version() {
    let (code, ..) = outcome(spelter().args(["demo", "--versions", "0"]));
    assert_eq!(code, Some(2));
    let (code, out, _) = outcome(spelter().args(["demo", "--versions", "1"]));
    assert_eq!(code, Some(0), "{out}");
}
