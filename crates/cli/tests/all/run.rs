//! `spelter run`: arguments, exit codes, streams, and what goes wrong at the start.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use crate::{file, outcome, spelter};

const SIGABRT: i32 = 6;
const SIGPIPE: i32 = 13;

#[test]
fn what_follows_the_program_belongs_to_it() {
    let args = ["args", "--stats", "--", "--help", "-b", ""];
    let (code, out, err) = outcome(spelter().arg("run").arg(file("program.byte")).args(args));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let name = file("program.byte").display().to_string();
    let expected = [&[name.as_str()], &args[..], &[name.as_str(), ""]].concat().join("\n");
    assert_eq!(out, expected);
}

#[test]
fn exit_codes() {
    for (args, expected) in [(["exit", "0"], 0), (["exit", "7"], 7), (["exit", "-1"], 255)] {
        let (code, ..) = outcome(spelter().arg("run").arg(file("program.byte")).args(args));
        assert_eq!(code, Some(expected), "{args:?}");
    }
}

#[test]
fn an_uncaught_exception_is_exit_code_2_after_at_exit() {
    let (code, out, err) = outcome(spelter().arg("run").arg(file("program.byte")).arg("raise"));
    assert_eq!(code, Some(2));
    assert_eq!(out, "bye\n", "at_exit functions run");
    assert_eq!(err, "Fatal error: exception Failure(\"on purpose\")\n");
}

#[test]
fn ocamlrunparam_is_obeyed() {
    let raise = |name, value| {
        let mut command = spelter();
        outcome(command.env(name, value).arg("run").arg(file("program.byte")).arg("raise")).2
    };
    let expected = "Fatal error: exception Failure(\"on purpose\")\n";
    // It has no debug data, but one sees that it was asked for.
    let with_backtrace = format!("{expected}Called from unknown location\n");
    assert_eq!(raise("OCAMLRUNPARAM", "v=0,b"), with_backtrace);
    assert_eq!(raise("CAMLRUNPARAM", "b=1"), with_backtrace);
    assert_eq!(raise("OCAMLRUNPARAM", "b=0"), expected);

    let deep = |limit| {
        let mut command = spelter();
        outcome(command.env("OCAMLRUNPARAM", limit).arg("run").arg(file("program.byte")).arg("deep")).1
    };
    assert_eq!(deep("l=64k"), "Stack_overflow\n");
    assert_eq!(deep("l=0x8M"), "100000\n");
}

#[test]
fn every_engine_gives_the_same_answer() {
    for dispatch in ["loop", "tail"] {
        for dynamic in ["stub", "carry"] {
            for heap in ["plain", "torture", "null"] {
                let (dispatch, dynamic) = (format!("--dispatch={dispatch}"), format!("--dyn={dynamic}"));
                let heap = format!("--heap={heap}");
                let mut command = spelter();
                let options = ["run", "--checked", &dispatch, &dynamic, &heap];
                let (code, out, err) = outcome(command.args(options).arg(file("program.byte")).arg("sum"));
                assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "500500\n", ""), "{options:?}");
            }
        }
    }
}

#[test]
fn statistics_on_stderr() {
    let (code, _, err) = outcome(spelter().args(["run", "--stats"]).arg(file("program.byte")).arg("sum"));
    assert_eq!(code, Some(0));
    assert!(err.starts_with("minor_collections: ") && err.ends_with("\ncode_bytes_alive: 0\n"), "{err}");
    let (_, _, err) = outcome(spelter().args(["run", "--stats=json"]).arg(file("program.byte")).arg("sum"));
    let json: serde_json::Value = serde_json::from_str(&err).expect("one JSON object");
    assert_eq!(json["units_loaded"], 0);
    assert!(json["allocated_words"].as_u64().is_some_and(|words| words > 0), "{json}");
}

#[test]
fn start_up_errors_are_those_of_ocamlrun() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).expect("it is written");
    write("short", b"short");
    write("other", b"\0\0\0\0Caml1999X029");
    write("text", b"this is not bytecode at all");
    write("nosections", b"\0\0\0\0Caml1999X030");
    let magic = "has not the right magic number: expected Caml1999X030, got";
    for (name, expected) in [
        ("absent", "cannot find file './absent'\n".to_owned()),
        ("short", "the file './short' is not a bytecode executable file\n".to_owned()),
        (".", "the file './.' is not a bytecode executable file\n".to_owned()),
        ("other", format!("the file './other' {magic} Caml1999X029\n")),
        ("text", format!("the file './text' {magic} ecode at all\n")),
    ] {
        let mut command = spelter();
        let (code, out, err) = outcome(command.current_dir(&dir).args(["run", &format!("./{name}")]));
        assert_eq!((code, out.as_str(), err), (Some(127), "", expected), "{name}");
    }
    let output = spelter().current_dir(&dir).args(["run", "./nosections"]).output().expect("it starts");
    assert_eq!(output.status.signal(), Some(SIGABRT), "a fatal error aborts");
    assert!(output.stderr.starts_with(b"Fatal error: "));
}

#[test]
fn a_name_without_a_slash_is_looked_up_in_path_first() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::copy(file("program.byte"), dir.path().join("prog")).expect("it is copied");
    let (code, out, _) = outcome(spelter().env("PATH", dir.path()).args(["run", "prog", "args"]));
    assert_eq!(code, Some(0));
    assert_eq!(out, format!("prog\nargs\n{}\n", dir.path().join("prog").display()));
}

#[test]
fn a_closed_pipe_ends_the_program_by_its_signal() {
    let mut command = spelter();
    command.arg("run").arg(file("program.byte")).arg("forever").stdout(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("it ends").signal(), Some(SIGPIPE));
}

/// Runs the conformance corpus's host of `Dynlink`, which keeps what a plug-in registers.
fn with_plugin(options: &[String], actions: &[&str]) -> (Option<i32>, String, String) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../xtask/fixtures/dynlink");
    outcome(spelter().current_dir(folder).arg("run").args(options).arg("host.byte").args(actions))
}

#[test]
fn what_is_left_is_explained() {
    let actions = ["private:retained.cmo", "call:retained"];
    let plain = with_plugin(&[], &actions);
    let explained = with_plugin(&["--why-alive".to_owned()], &actions);
    assert_eq!((&explained.0, &explained.1), (&plain.0, &plain.1));
    let start = "unit (loaded code) (#2) is alive because of\n  the program's module Api\n    \u{2192} its block, field ";
    assert!(explained.2.starts_with(start), "{}", explained.2);
    assert!(explained.2.ends_with("\n    \u{2192} its code object\n"), "{}", explained.2);

    let other = with_plugin(&["--why-alive=Other".to_owned()], &actions);
    assert_eq!(other.2, "no loaded unit Other is alive\n");
    let none = with_plugin(&["--why-alive".to_owned()], &[]);
    assert_eq!(none.2, "no loaded unit is alive\n");
}

#[test]
fn a_page_about_loaded_code_needs_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("report.html");
    let option = format!("--code-report={}", page.display());
    let actions = ["repeat:50:simple.cmo", "private:retained.cmo"];
    let (code, out, err) = with_plugin(&[option], &actions);
    assert_eq!((code, out, err), with_plugin(&[], &actions));
    let page = fs::read_to_string(page).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
    for foreign in ["http", "<script", "<link", "<img", "@import", "url("] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert_eq!((page.matches("<svg").count(), page.matches("</svg>").count()), (3, 3));
    assert!(page.contains("<dt>units loaded</dt><dd>51</dd>"), "{page}");
    assert!(page.contains("<summary>the program's module Api"), "{page}");

    let (code, _, err) = with_plugin(&["--code-report=/nowhere/report.html".to_owned()], &[]);
    assert_eq!(code, Some(0));
    assert!(err.starts_with("spelter: /nowhere/report.html: "), "{err}");
}
