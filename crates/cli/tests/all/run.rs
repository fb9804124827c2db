//! `spelter run`: arguments, exit codes, streams, and start-up errors.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

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
    // It has no debug data, but the output shows that a backtrace was requested.
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
    assert!(
        err.starts_with("minor_collections: ") && err.ends_with("\ncode_bytes_alive: 0\nfibers: 0\n"),
        "{err}"
    );
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
    let magic = "has not the right magic number: expected Caml1999X037, got";
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

/// Runs the conformance corpus's host of `Dynlink`, which keeps the values that a plug-in registers.
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
    // It was compiled without -g, and its name was removed before its code was created: only the start of the digest
    // is known.
    let (name, rest) = explained.2.split_once(" (#2)").expect("its number");
    let digits = name.strip_prefix("unit code ").expect("no module's name");
    assert!(digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_hexdigit()), "{name}");
    let start = " is alive because of\n  the program's module Api\n    \u{2192} its block, field ";
    assert!(rest.starts_with(start), "{}", explained.2);
    assert!(explained.2.ends_with("\n    \u{2192} its code object\n"), "{}", explained.2);

    let other = with_plugin(&["--why-alive=Other".to_owned()], &actions);
    assert_eq!(other.2, "no loaded unit Other is alive\n");
    let none = with_plugin(&["--why-alive".to_owned()], &[]);
    assert_eq!(none.2, "no loaded unit is alive\n");
}

#[test]
fn code_without_debug_data_has_a_name() {
    let (_, _, public) = with_plugin(&["--why-alive".to_owned()], &["public:retained.cmo"]);
    assert!(public.starts_with("unit Retained (#2) is alive because of\n"), "{public}");

    let toplevel = std::path::Path::new("/usr/bin/ocaml");
    if !toplevel.exists() {
        eprintln!("skipped: needs {}", toplevel.display());
        return;
    }
    let folder = tempfile::tempdir().expect("a directory");
    let script = folder.path().join("phrases.ml");
    fs::write(&script, "let f x = x + 1;;\nlet g x = f (f x);;\n").expect("it is written");
    let mut command = spelter();
    let (_, _, phrases) =
        outcome(command.args(["run", "--why-alive"]).arg(toplevel).arg("-noinit").arg(&script));
    for name in ["unit phrase 1 (#2)", "\nunit phrase 2 (#3)"] {
        assert!(phrases.contains(name), "{phrases}");
    }
}

/// Starts the test program with standard error piped, and waits until it runs.
fn start(option: &str, what: &str) -> (Child, impl Fn(&Child)) {
    let mut command = spelter();
    command.args(["run", option]).arg(file("program.byte")).arg(what);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut first = String::new();
    BufReader::with_capacity(1, child.stdout.as_mut().expect("a pipe"))
        .read_line(&mut first)
        .expect("a line");
    let send = |child: &Child| {
        let kill = Command::new("kill").arg("-USR2").arg(child.id().to_string()).status();
        assert!(kill.expect("it starts").success());
    };
    (child, send)
}

#[test]
fn what_is_there_is_explained_at_a_signal_and_the_program_goes_on() {
    let (mut child, send) = start("--why-alive-on=USR2", "forever");
    // It continues to print.
    let mut stdout = child.stdout.take().expect("a pipe");
    let reader = std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    for _ in 0..3 {
        send(&child);
        let mut line = String::new();
        stderr.read_line(&mut line).expect("a line");
        assert_eq!(line, "no loaded unit is alive\n");
    }
    assert!(child.try_wait().expect("its state").is_none());
    child.kill().expect("it is there");
    child.wait().expect("it ends");
    reader.join().expect("a thread").expect("a pipe");
}

#[test]
fn a_signal_that_the_program_handles_is_the_programs() {
    let (child, send) = start("--why-alive-on=SIGUSR2", "handle");
    send(&child);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"handled\n"[..], &b""[..]));
}

#[test]
fn a_signal_that_cannot_be_handled_is_an_error() {
    for name in ["KILL", "SEGV", "nonsense"] {
        let option = format!("--why-alive-on={name}");
        let (code, out, err) = outcome(spelter().args(["run", &option]).arg(file("program.byte")).arg("sum"));
        assert_eq!((code, out.as_str()), (Some(2), ""), "{name}");
        assert!(err.starts_with(&format!("spelter: {option}: ")), "{err}");
    }
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
