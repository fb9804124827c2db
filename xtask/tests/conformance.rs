//! The recorded corpus under plain `cargo test`, without OCaml: every case on the default engine, and each case on one
//! of the others, in turn. The full matrix is `cargo xtask conformance`.
//!
//! Set `SPELTER_BIN` to test a `spelter` that is already built.

use std::path::PathBuf;

use xtask::corpus::Corpus;
use xtask::engine::Engine;
use xtask::gaps::Gaps;
use xtask::matrix::{self, Job, Settings};
use xtask::workspace;

/// Fewer cases than this, and something has lost them.
const AT_LEAST: usize = 70;

/// The binary as built in the profile that these tests are built in.
fn spelter() -> PathBuf {
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    workspace::spelter(None, profile).expect("spelter builds")
}

fn check(jobs: &[Job<'_>]) {
    let settings = Settings {
        spelter: spelter(),
        live: false,
        parallel: 2,
        gaps: Gaps::load().expect("expected.toml is good"),
    };
    let report = matrix::run(jobs, &settings).expect("every case can be started");
    let mut text = Vec::new();
    report.print(&mut text).expect("writing to memory");
    assert!(report.is_good(), "\n{}", String::from_utf8_lossy(&text));
    assert!(report.passed() > 0, "nothing passed");
}

#[test]
fn the_corpus_is_as_recorded() {
    let corpus = Corpus::load().expect("the manifest is good");
    assert!(corpus.cases("").len() >= AT_LEAST, "{} cases", corpus.cases("").len());
    assert_eq!(
        corpus.stale().expect("the corpus can be read"),
        Vec::<String>::new(),
        "run `cargo xtask fixtures`"
    );
}

#[test]
fn the_default_engine_agrees_with_ocamlrun() {
    let corpus = Corpus::load().expect("the manifest is good");
    let engine = Engine::default_engine();
    let cases = corpus.cases("");
    let jobs: Vec<_> = cases.iter().map(|case| Job { case, engine: &engine }).collect();
    check(&jobs);
}

#[test]
fn each_case_agrees_on_one_other_engine() {
    let corpus = Corpus::load().expect("the manifest is good");
    let engines = Engine::all();
    let cases = corpus.cases("");
    let jobs: Vec<_> = cases
        .iter()
        .enumerate()
        .map(|(index, case)| Job { case, engine: &engines[index % engines.len()] })
        .collect();
    check(&jobs);
}
