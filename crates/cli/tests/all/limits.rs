//! `spelter run` with limits.

use std::path::PathBuf;

use crate::{file, outcome, spelter};

/// A program among the fixtures of the library.
fn program(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../spelter/tests/fixtures")).join(name)
}

/// Runs a program that exceeds a limit, and returns what is said about it.
fn stopped(options: &[&str], name: &str, args: &[&str]) -> String {
    let (code, _, err) = outcome(spelter().arg("run").args(options).arg(program(name)).args(args));
    assert_eq!(code, Some(124), "{options:?}: {err}");
    err
}

#[test]
fn each_limit_stops_a_program_and_is_named() {
    let endless = ["--checked", "--sandbox"].map(|how| stopped(&[how, "--fuel=1000"], "spin.byte", &[]));
    for err in endless {
        assert_eq!(err, "spelter: the program was stopped: its fuel is used up; see --fuel\n");
    }
    assert_eq!(
        stopped(&["--checked", "--time-limit=5ms"], "spin.byte", &[]),
        "spelter: the program was stopped: its time is used up; see --time-limit\n"
    );
    assert_eq!(
        stopped(&["--checked", "--memory-limit=16M"], "hunger.byte", &["held on to"]),
        "spelter: the program was stopped: its memory is used up; see --memory-limit\n"
    );
    let write = ["--sandbox", "--grant=stdout", "--output-limit=10"];
    assert_eq!(
        stopped(&write, "world/probe.byte", &["files"]),
        "spelter: the program was stopped: it wrote more than it may; see --output-limit\n"
    );
}

#[test]
fn a_program_within_its_limits_runs_as_without() {
    let limits = ["--fuel=1000000000", "--time-limit=1h", "--memory-limit=1G"];
    let without = outcome(spelter().arg("run").arg(file("program.byte")).arg("sum"));
    let within =
        outcome(spelter().args(["run", "--checked"]).args(limits).arg(file("program.byte")).arg("sum"));
    assert_eq!(within, without);
}

#[test]
fn limits_need_code_that_is_checked() {
    for limit in ["--fuel=1", "--time-limit=1s", "--memory-limit=1G", "--output-limit=1"] {
        let (code, out, err) = outcome(spelter().args(["run", limit]).arg(file("program.byte")));
        let option = limit.split('=').next().expect("an option");
        assert_eq!((code, out.as_str()), (Some(2), ""), "{limit}");
        assert_eq!(
            err,
            format!(
                "spelter: {option} needs --checked or --sandbox: other code can do anything to the process\n"
            )
        );
    }
    let (code, _, err) =
        outcome(spelter().args(["run", "--checked", "--output-limit=1"]).arg(file("program.byte")));
    assert_eq!(code, Some(2));
    assert_eq!(err, "spelter: --output-limit needs --sandbox: otherwise the program writes by itself\n");
}

#[test]
fn what_is_no_time_and_no_size_is_refused() {
    for (option, hint) in
        [("--time-limit=5", "5s"), ("--memory-limit=64MB", "64M"), ("--fuel=-1", "invalid digit")]
    {
        let (code, _, err) = outcome(spelter().args(["run", "--checked", option]).arg(file("program.byte")));
        assert_eq!(code, Some(2), "{option}");
        assert!(err.starts_with("error: invalid value") && err.contains(hint), "{err}");
    }
}
