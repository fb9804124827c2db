//! Help texts and the version.

use crate::{outcome, spelter};

#[test]
fn every_help_has_examples() {
    let commands = ["run", "dis", "info", "verify", "demo", "eval", "repl", "new"].map(|name| vec![name]);
    for command in commands.into_iter().chain([vec![], vec!["new", "plugin"]]) {
        let (code, out, err) = outcome(spelter().args(&command).arg("--help"));
        assert_eq!((code, err.as_str()), (Some(0), ""), "{command:?}");
        assert!(out.contains("Examples:\n  "), "{command:?}: {out}");
        assert!(!out.contains('\x1b'), "no colours in a pipe, {command:?}");
    }
}

#[test]
fn the_version_says_how_this_build_dispatches() {
    let (code, out, _) = outcome(spelter().arg("--version"));
    assert_eq!(code, Some(0));
    let able = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));
    let dispatch = if able && !cfg!(spelter_portable) { "tail calls" } else { "portable loop" };
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        out,
        format!(
            "spelter {version} (OCaml 4.13, 4.14, 5.0, 5.1, 5.2, 5.3, 5.4, 5.5 bytecode; dispatch: {dispatch})\n"
        )
    );
}

#[test]
fn an_option_that_is_none_is_refused() {
    let (code, out, err) = outcome(spelter().args(["run", "--bogus", "prog"]));
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(err.starts_with("error: unexpected argument '--bogus'"), "{err}");
}
