//! `spelter run --sandbox`.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;

use crate::{file, outcome, spelter};

/// A program that tries what a guest can; its arguments say which groups.
fn probe() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../spelter/tests/fixtures/world/probe.byte"))
}

/// Runs the probe in a folder with a file, and with another folder that has one.
fn run(grants: &[&str], groups: &[&str]) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("data")).expect("a folder");
    fs::write(folder.path().join("data/in"), "inside\n").expect("a file");
    fs::write(folder.path().join("cfg"), "one\ntwo\n").expect("a file");
    let mut command = spelter();
    command.current_dir(&folder).env("LANG", "de").args(["run", "--sandbox"]);
    command.args(grants.iter().map(|grant| format!("--grant={grant}")));
    outcome(command.arg(probe()).args(groups))
}

#[test]
fn a_sandbox_grants_nothing_by_itself() {
    let (code, out, err) = run(&[], &["files"]);
    let told = "spelter: the program wrote to stdout, which the sandbox does not grant; see --grant=stdout\n";
    assert_eq!((code, out.as_str(), err.as_str()), (Some(2), "", told));
    let (code, out, err) = run(&["stdout"], &["files", "settings", "process", "streams"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let granted = |line: &&str| !line.contains("not granted") && line.starts_with("read ");
    let expected = [r#"read data/a"#, "read : Sys_error(\": No such file or directory\")"];
    for (line, expected) in out.lines().filter(granted).zip(expected) {
        assert!(line.starts_with(expected), "{line}");
    }
}

#[test]
fn each_grant_is_found() {
    let grants = ["stdout", "stderr", "dir=data:rw", "file=cfg", "env=LANG", "env=A=b", "clock", "random"];
    let (code, out, err) = run(&grants, &["files", "settings", "chance", "streams"]);
    assert_eq!((code, err.as_str()), (Some(0), "a message\n"));
    for line in [
        "read cfg: \"one\\ntwo\\n\", again \"ne\"",
        "read data/in: \"inside\\n\", again \"nside\"",
        "write data/out: done",
        "list .: cfg data",
        "getenv LANG: de",
        "environment: A=b LANG=de",
        "stdin: End_of_file",
    ] {
        assert!(out.lines().any(|found| found == line), "{line}: {out}");
    }
    let refused = |name: &str| out.lines().any(|line| line.starts_with(name) && line.contains("not granted"));
    assert!(refused("read /etc/passwd") && !refused("gettimeofday") && !refused("random"), "{out}");
}

#[test]
fn standard_input_is_passed_on() {
    let mut command = spelter();
    command.args(["run", "--sandbox", "--grant=stdin", "--grant=stdout"]).arg(probe()).arg("streams");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    child.stdin.take().expect("a pipe").write_all(b"x\ny\n").expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.stdout.starts_with(b"stdin: x, y\nstdin: End_of_file\n"), "{output:?}");
}

#[test]
fn an_uncaught_refusal_says_what_to_grant() {
    let (code, _, err) = run(&["stdout"], &["uncaught"]);
    let told = "Fatal error: exception Sys_error(\"absent: not granted (World::file, World::dir)\")\n\
                spelter: the sandbox does not grant that; see --grant=file=PATH, --grant=dir=PATH\n";
    assert_eq!((code, err.as_str()), (Some(2), told));
    let (code, _, err) = run(&["stdout"], &["nonsense"]);
    assert_eq!((code, err.as_str()), (Some(2), "Fatal error: exception Not_found\n"));
}

#[test]
fn exit_codes_are_the_programs() {
    let mut command = spelter();
    let command = command.args(["run", "--sandbox", "--grant=stdout"]).arg(file("program.byte"));
    let (code, _, err) = outcome(command.args(["exit", "7"]));
    assert_eq!((code, err.as_str()), (Some(7), ""));
}

#[test]
fn grants_that_cannot_be_had_are_refused() {
    let (code, _, err) = run(&["dir=absent"], &[]);
    assert_eq!(
        (code, err.as_str()),
        (Some(2), "spelter: --grant=dir=absent: No such file or directory (os error 2)\n")
    );
    let (code, _, err) = run(&["everything"], &[]);
    assert_eq!(code, Some(2));
    assert!(err.contains("invalid value 'everything' for '--grant <WHAT>': it is one of stdin"), "{err}");
    let (code, _, err) = outcome(spelter().args(["run", "--grant=stdout"]).arg(probe()));
    assert_eq!(code, Some(2));
    assert!(err.contains("--sandbox"), "{err}");
}
