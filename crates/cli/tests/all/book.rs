//! What the book's sessions show is what the command prints.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::clean;

/// A command of a session, and the lines that it prints.
struct Step<'a> {
    command: &'a str,
    shown: Vec<&'a str>,
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The commands in the blocks marked as `console`.
fn steps(page: &str) -> Vec<Step<'_>> {
    let mut steps: Vec<Step<'_>> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        match (inside, line.strip_prefix("$ ")) {
            (false, _) => inside = line == "```console",
            (true, _) if line == "```" => inside = false,
            (true, Some(command)) => steps.push(Step { command, shown: Vec::new() }),
            (true, None) => steps.last_mut().expect("first a command").shown.push(line),
        }
    }
    steps
}

/// Whether a session shows these lines. `…` stands for any number of lines.
fn matches(shown: &[&str], printed: &[&str]) -> bool {
    match shown.split_first() {
        None => printed.is_empty(),
        Some((&"…", rest)) => (0..=printed.len()).any(|from| matches(rest, &printed[from..])),
        Some((line, rest)) => printed.first() == Some(line) && matches(rest, &printed[1..]),
    }
}

#[test]
fn sessions_of_the_book_are_real() {
    let folder = tempfile::tempdir().expect("a folder");
    for entry in fs::read_dir(repository().join("xtask/fixtures/book")).expect("the book's programs") {
        let path = entry.expect("a file").path();
        fs::copy(&path, folder.path().join(path.file_name().expect("a name"))).expect("a copy");
    }
    let command = Path::new(env!("CARGO_BIN_EXE_spelter")).parent().expect("a folder");
    let path = format!("{}:/usr/bin:/bin", command.display());
    let mut count = 0;
    for entry in fs::read_dir(repository().join("docs/book/src/ocaml")).expect("the chapters") {
        let page = fs::read_to_string(entry.expect("a file").path()).expect("a page");
        for Step { command, shown } in steps(&page) {
            let mut shell = clean(Command::new("sh"));
            shell.args(["-c", &format!("{{ {command}; }} 2>&1")]).current_dir(&folder).env("PATH", &path);
            let printed = String::from_utf8(shell.output().expect("a shell").stdout).expect("text");
            let printed: Vec<&str> = printed.lines().collect();
            assert!(matches(&shown, &printed), "$ {command}\n{}", printed.join("\n"));
            count += 1;
        }
    }
    assert!(count >= 7, "{count} commands");
}
