//! The command called as `ocamlrun`, and with a program appended.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::{clean, file, outcome};

/// The outcome of a command line for `ocamlrun`.
fn ocamlrun(dir: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let link = dir.join("ocamlrun");
    if !link.exists() {
        symlink(env!("CARGO_BIN_EXE_spelter"), &link).expect("a link");
    }
    outcome(clean(Command::new(link)).args(args))
}

#[test]
fn options_that_print() {
    let dir = tempfile::tempdir().expect("a directory");
    let program = file("program.byte").display().to_string();
    let printed = |args: &[&str]| {
        let (code, out, err) = ocamlrun(dir.path(), args);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{args:?}");
        out
    };
    assert_eq!(printed(&["-vnum"]), "5.5.2\n");
    assert_eq!(printed(&["-version"]), "The OCaml runtime, version 5.5.2\n");
    assert_eq!(printed(&["-M"]), "Caml1999X037\n");
    assert_eq!(printed(&["-m", &program]), "Caml1999X030\n");
    assert!(printed(&["-p"]).lines().any(|name| name == "caml_sys_proc_self_exe"));
    let config = printed(&["-config"]);
    assert!(config.starts_with("version: 5.5.2\n") && config.contains("\nword_size: 63\n"), "{config}");
    assert_eq!(printed(&["-help"]), printed(&["--help"]));
}

#[test]
fn answers_for_the_version_that_the_environment_names() {
    let answer = |version: &str, option: &str| {
        let mut command = clean(Command::new(env!("CARGO_BIN_EXE_spelter")));
        outcome(command.arg0("ocamlrun").arg(option).env("SPELTER_OCAML", version))
    };
    for (version, full, magic) in
        [("4.13", "4.13.1", "X030"), ("5.3", "5.3.0", "X035"), ("5.4.1", "5.4.1", "X036")]
    {
        assert_eq!(answer(version, "-vnum").1, format!("{full}\n"));
        assert_eq!(answer(version, "-M").1, format!("Caml1999{magic}\n"));
        let config = answer(version, "-config").1;
        assert_eq!(config.contains("profinfo_width"), version == "4.13", "{config}");
        let names = answer(version, "-p").1;
        assert_eq!(names.lines().any(|name| name == "caml_eventlog_pause"), version == "4.13");
    }
    let (code, out, err) = answer("6.0", "-vnum");
    assert_eq!((code, out.as_str()), (Some(127), ""));
    assert!(err.starts_with("SPELTER_OCAML=6.0: no such version; there are 4.13, 4.14, 5.0, "), "{err}");
}

#[test]
fn options_end_where_the_program_begins() {
    let dir = tempfile::tempdir().expect("a directory");
    let program = file("program.byte").display().to_string();
    let expected = format!("{program}\nargs\n-b\n{program}\n");
    for options in [&["-t", "-I", "somewhere"][..], &["--"], &[]] {
        let args = [options, &[&program, "args", "-b"]].concat();
        assert_eq!(ocamlrun(dir.path(), &args), (Some(0), expected.clone(), String::new()), "{options:?}");
    }
    let (code, _, err) = ocamlrun(dir.path(), &["-b", &program, "raise"]);
    assert_eq!(code, Some(2));
    assert!(err.ends_with("\nCalled from unknown location\n"), "{err}");
}

#[test]
fn what_cannot_be_printed_is_told() {
    let full = fs::File::options().write(true).open("/dev/full").expect("it is there");
    let mut command = clean(Command::new(env!("CARGO_BIN_EXE_spelter")));
    let (code, _, err) = outcome(command.arg0("ocamlrun").arg("-vnum").stdout(full));
    assert_eq!((code, err.as_str()), (Some(2), "standard output: No space left on device (os error 28)\n"));
}

#[test]
fn a_closed_descriptor_stays_closed() {
    let program = file("program.byte").display().to_string();
    let script = r#"exec "$0" run "$1" args >&-"#;
    let args = ["-c", script, env!("CARGO_BIN_EXE_spelter"), &program];
    let (code, out, err) = outcome(clean(Command::new("sh")).args(args));
    let complaint = "Fatal error: exception Sys_error(\"Bad file descriptor\")\n";
    assert_eq!((code, out.as_str(), err.as_str()), (Some(2), "", complaint));
}

#[test]
fn a_broken_pipe_is_what_the_parent_has_arranged() {
    let program = file("program.byte").display().to_string();
    let outcome_of = |script: &str| {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let args = ["-c", script, env!("CARGO_BIN_EXE_spelter"), &program];
        let output = clean(Command::new("sh")).args(args).stdout(writer).output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(outcome_of(r#"exec "$0" run "$1" args"#), (None, String::new()), "a signal ends it");
    let complaint = "Fatal error: exception Sys_error(\"Broken pipe\")\n";
    let ignoring = r#"trap '' PIPE; exec "$0" run "$1" args"#;
    assert_eq!(outcome_of(ignoring), (Some(2), complaint.to_owned()));
}

#[test]
fn wrong_command_lines() {
    let dir = tempfile::tempdir().expect("a directory");
    for (args, message) in [
        (&[][..], "no bytecode file specified\n"),
        (&["-b"], "no bytecode file specified\n"),
        (&["-I"], "option '-I' needs an argument.\n"),
        (&["-zz"], "unknown option -zz\n"),
        (&["./absent"], "cannot find file './absent'\n"),
    ] {
        assert_eq!(ocamlrun(dir.path(), args), (Some(127), String::new(), message.to_owned()), "{args:?}");
    }
}

#[test]
fn a_program_appended_to_the_command_is_what_it_runs() {
    let dir = tempfile::tempdir().expect("a directory");
    let whole = dir.path().join("whole");
    // Copied first: a copy is executable.
    assert!(
        Command::new("cp")
            .args([env!("CARGO_BIN_EXE_spelter").as_ref(), &*whole])
            .status()
            .expect("it starts")
            .success()
    );
    let mut bytes = fs::read(env!("CARGO_BIN_EXE_spelter")).expect("it is there");
    bytes.extend(fs::read(file("program.byte")).expect("it is there"));
    let appended = dir.path().join("appended");
    fs::write(&appended, bytes).expect("it is written");
    // Another process writes the file: children of other tests may inherit descriptors that this process has open,
    // and a file that is open for writing cannot be executed.
    assert!(Command::new("cp").args([&appended, &whole]).status().expect("it starts").success());
    let (code, out, _) = outcome(clean(Command::new(&whole)).args(["args", "--help"]));
    let name = whole.display();
    assert_eq!((code, out), (Some(0), format!("{name}\nargs\n--help\n{name}\n")));
}

/// Texts that do not name the runtime's own file or texts are exactly those of the real one.
#[test]
fn as_the_real_one() {
    if !Command::new("ocamlrun").arg("-vnum").output().is_ok_and(|out| out.stdout == b"4.13.1\n") {
        eprintln!("skipped: no ocamlrun 4.13.1 here; the other tests know its answers");
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let link = dir.path().join("ocamlrun");
    symlink(env!("CARGO_BIN_EXE_spelter"), &link).expect("a link");
    let program = file("program.byte").display().to_string();
    let p = program.as_str();
    let lines: &[&[&str]] = &[
        &["-version"],
        &["-vnum"],
        &["-M"],
        &["-m", p],
        &["-m", "/etc/passwd"],
        &["-m", "/nonexistent"],
        &["-t", p, "args"],
        &["-b", p, "raise"],
        &["-I", "x", p, "args"],
        &["-I"],
        &["-I", "x"],
        &["-x"],
        &["-bb", p],
        &["-"],
        &["--"],
        &["--", p, "args"],
        &[],
        &["nofile"],
        &["/etc/passwd"],
        &[""],
    ];
    for args in lines {
        let real = outcome(clean(Command::new("ocamlrun")).args(*args));
        assert_eq!(
            outcome(clean(Command::new(&link)).env("SPELTER_OCAML", "4.13").args(*args)),
            real,
            "{args:?}"
        );
    }
    for params in
        ["b", "b=0", "l=10k", "s=4k", "b=1x,v=0", "c", "x=3", ",,,", "o=50,O=10", "a=1,h=32k,i=20,w=3,H=0"]
    {
        let run = |mut command: Command| outcome(command.args([p, "raise"]).env("OCAMLRUNPARAM", params));
        assert_eq!(run(clean(Command::new(&link))), run(clean(Command::new("ocamlrun"))), "{params}");
    }
}
