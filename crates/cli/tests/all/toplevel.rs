//! `spelter eval`, `spelter repl` and `spelter new`, with the OCaml of the system.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::{outcome, spelter};

fn eval(args: &[&str]) -> (Option<i32>, String, String) {
    outcome(spelter().arg("eval").args(args).env("OCAMLLIB", "/usr/lib/ocaml"))
}

fn piped(mut command: Command, input: &str) -> (Option<i32>, String) {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).env("OCAMLLIB", "/usr/lib/ocaml");
    let mut child = command.spawn().expect("it starts");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    (output.status.code(), String::from_utf8(output.stdout).expect("text"))
}

#[test]
fn phrases_are_evaluated_in_turn() {
    let (code, out, err) = eval(&["let square x = x * x", "square 12;; print_endline \"printed\""]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(out, "val square : int -> int = <fun>\nprinted\n- : int = 144\n- : unit = ()\n");
    let mut command = spelter();
    command.args(["eval", "-"]);
    assert_eq!(piped(command, "let x = 5;;\nx * 2"), (Some(0), "val x : int = 5\n- : int = 10\n".to_owned()));
}

#[test]
fn messages_go_to_stderr_and_the_exit_code_tells() {
    let (code, out, err) = eval(&["let x = 1;; x ^ \"a\""]);
    assert_eq!((code, out.as_str()), (Some(1), "val x : int = 1\n"));
    assert!(err.starts_with("Line 1, characters 12-13:\n1 | let x"), "{err}");
    let (code, out, err) = eval(&["let x = 1;; failwith \"why\""]);
    assert_eq!(
        (code, out.as_str(), err.as_str()),
        (Some(1), "val x : int = 1\n", "Exception: Failure \"why\".\n")
    );
    let (code, out, _) = eval(&["print_string \"bye\"; exit 4"]);
    assert_eq!((code, out.as_str()), (Some(4), "bye"));
    let (code, _, err) = eval(&["--fuel", "1000000", "while true do () done"]);
    let told = "spelter: the compiler's machine: the call was stopped: its fuel is used up\n";
    assert_eq!((code, err.as_str()), (Some(1), told));
    let (code, _, err) = eval(&["open_in \"/etc/passwd\""]);
    assert!(code == Some(1) && err.contains("not granted"), "{err}");
}

#[test]
fn where_ocaml_should_be_is_said() {
    let (code, _, err) = outcome(spelter().args(["eval", "1"]).env("OCAMLLIB", "/nowhere"));
    let told = "spelter: OCaml's stdlib.cma is not in /nowhere; name the directory that `ocamlc -where` prints (OCAMLLIB)\n";
    assert_eq!((code, err.as_str()), (Some(1), told));
}

#[test]
fn a_piped_repl_is_the_toplevel() {
    let mut command = spelter();
    command.args(["repl", "--", "-noinit", "-no-version"]);
    let (code, out) = piped(command, "let x = 20;;\nx + 1;;\n#quit;;\n");
    assert_eq!((code, out.as_str()), (Some(0), "# val x : int = 20\n# - : int = 21\n# "));
}

#[test]
fn a_new_project_has_all_its_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let new = |name: &str| outcome(spelter().args(["new", "plugin", name]).current_dir(&folder));
    let (code, out, err) = new("rules");
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("cd rules && cargo run"), "{out}");
    let manifest = fs::read_to_string(folder.path().join("rules/Cargo.toml")).expect("a manifest");
    assert!(manifest.contains("name = \"rules\"") && !manifest.contains("SPELTER"), "{manifest}");
    for file in ["build.rs", "src/main.rs", "ocaml/rule.ml", "ocaml/rule.mli"] {
        assert!(folder.path().join("rules").join(file).is_file(), "{file}");
    }
    assert_eq!(new("rules").2, "spelter: rules exists; choose another name, or remove it\n");
    assert_eq!(new("1a").2, "spelter: 1a: a project's name is a letter, then letters, digits, - and _\n");
    let (_, _, err) =
        outcome(spelter().args(["new", "plugin", "other", "--source=rules"]).current_dir(&folder));
    assert_eq!(err, "spelter: rules is no clone of Spelter\n");
}
