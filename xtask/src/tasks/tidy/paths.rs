//! Checks that files and folders named in documents exist.

use std::path::Path;

use regex::Regex;

use super::{Source, prose};

/// Kinds of our files that a document may name without a folder. (Users' files are `.ml`, `.byte`, `.cmo`…)
const KINDS: [&str; 6] = ["rs", "toml", "ld", "svg", "yml", "md"];

/// Prefixes of paths outside this repository: system paths, cargo's output, OCaml's sources (all C files are
/// OCaml's).
const ELSEWHERE: [&str; 5] = ["/", "./", "../", "target/", "otherlibs/"];

pub(super) fn check(doc: &Source, files: &[String], wrong: &mut Vec<String>) {
    check_names(&doc.path, &doc.text, files, wrong);
    let folder = Path::new(&doc.path).parent().unwrap_or(Path::new(""));
    for (line, link) in prose::links(&doc.text) {
        if !files.contains(&plain(&folder.join(link))) {
            wrong.push(format!("{}:{line}: broken link: {link}", doc.path));
        }
    }
}

/// The same for comments in Rust files.
pub(super) fn check_comments(source: &Source, files: &[String], wrong: &mut Vec<String>) {
    check_names(&source.path, &prose::comments(&source.text), files, wrong);
}

fn check_names(path: &str, text: &str, files: &[String], wrong: &mut Vec<String>) {
    for (line, name) in prose::names(text) {
        if is_path(name) && !exists(name, files) {
            wrong.push(format!("{path}:{line}: there is no `{name}`"));
        }
    }
}

/// A path without `..`.
fn plain(path: &Path) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.iter().filter_map(|part| part.to_str()) {
        match part {
            ".." => drop(parts.pop()),
            "." => (),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Whether a text in backticks looks like one of our files or folders.
fn is_path(name: &str) -> bool {
    let shape = name.chars().all(|c| c.is_ascii_alphanumeric() || "_-./*".contains(c));
    let kind = Path::new(name).extension().and_then(|kind| kind.to_str());
    let elsewhere = ELSEWHERE.iter().any(|start| name.starts_with(start)) || matches!(kind, Some("c" | "h"));
    shape && !elsewhere && (name.contains('/') || kind.is_some_and(|kind| KINDS.contains(&kind)))
}

/// Whether a file has that path or one that ends with it, with or without the kind; or whether a folder has.
/// A `*` stands for any part of a name.
fn exists(name: &str, files: &[String]) -> bool {
    let pattern = regex::escape(name.trim_end_matches('/')).replace(r"\*", "[^/]*");
    let rest = if name.ends_with('/') { "/" } else { r"(\.\w+$|/|$)" };
    // The name has been escaped.
    Regex::new(&format!("(^|/){pattern}{rest}"))
        .is_ok_and(|regex| files.iter().any(|file| regex.is_match(file)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_path() {
        let paths = ["a/b.rs", "b.rs", "handlers/", "Cargo.toml", "tests/ui", ".ci/run", "crates/*/tests"];
        assert!(paths.into_iter().all(is_path));
        let others = [
            "stub",
            "prog.byte",
            "a b/c",
            "/usr/bin/ocaml",
            "target/release/spelter",
            "Vm::call",
            "cdoor*",
            "runtime/sys.c",
            "caml/misc.h",
            "otherlibs/unix",
        ];
        assert!(!others.into_iter().any(is_path));
    }

    #[test]
    fn a_file_that_has_moved_is_found() {
        let files = ["crates/interp/src/exec/regs.rs", "docs/security.md", "xtask/fixtures/data/a.ml"];
        let files = files.map(String::from);
        let text = "`interp/src/exec/regs.rs` `regs.rs` `exec/` `data/a` `r*s.rs` [s](security.md) [x](../docs/security.md#a)\n\
                    `interp/src/regs.rs` `egs.rs` `regs/` `data/b` [y](secure.md)\n";
        let doc = Source { path: "docs/a.md".into(), text: text.into() };
        let mut wrong = Vec::new();
        check(&doc, &files, &mut wrong);
        assert_eq!(wrong.len(), 5, "{wrong:?}");
        assert!(wrong.iter().all(|line| line.starts_with("docs/a.md:2: ")), "{wrong:?}");
    }
}
