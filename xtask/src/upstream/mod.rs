//! OCaml's own test suite, run under Spelter and compared with ocamlrun on the same files.
//!
//! The suite is that of a version's own sources; it is unpacked and built in `target/`.
//! [`header`] parses a test's header, [`plan`] and [`actions`] translate it to steps, [`case`](mod@case) executes
//! them.

pub mod actions;
mod c_code;
pub mod case;
pub mod header;
pub mod page;
pub mod phrases;
pub mod plan;
pub mod primitives;
pub mod sources;
pub mod tools;
pub mod variables;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use self::case::{Built, UpstreamCase};
use self::header::Header;
use self::plan::{Places, Plan, Reason};
use crate::corpus::{files_under, md5_hex};
use crate::matrix::in_parallel;
use crate::ocaml::Tools;

/// The cases of the suite on this machine.
#[derive(Debug, Default)]
pub struct Suite {
    /// The cases that can be compared.
    pub cases: Vec<UpstreamCase>,
    /// The cases that cannot: name, reason, and details.
    pub left_out: Vec<(String, Reason, String)>,
    /// Where OCaml's sources are.
    pub sources: PathBuf,
}

impl Suite {
    /// Plans every test, and builds those whose names `wanted` selects.
    ///
    /// # Errors
    ///
    /// If the sources are missing, a header cannot be read, or a process cannot be started.
    pub fn build(
        tools: &Tools,
        wanted: impl Fn(&str) -> bool,
        sample: Option<usize>,
        parallel: usize,
    ) -> Result<Self> {
        let places = sources::places(tools)?;
        let tests = places.sources.join("testsuite/tests");
        let tools = digest_of(&places)?;
        let mut digests: BTreeMap<String, String> = BTreeMap::new();
        let mut plans = Vec::new();
        for file in files_under(&tests)? {
            let text = String::from_utf8_lossy(&fs::read(tests.join(&file))?).into_owned();
            let Some(header) = Header::of_source(&text).with_context(|| file.clone())? else { continue };
            let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
            if !digests.contains_key(&folder) {
                let mut all = tools.clone();
                for name in files_under(&tests.join(&folder))? {
                    all.push_str(&name);
                    all.push_str(&md5_hex(&fs::read(tests.join(&folder).join(&name))?));
                }
                digests.insert(folder.clone(), md5_hex(all.as_bytes()));
            }
            let found = plan::plans(&places, &file, &header)?.into_iter().filter(|plan| wanted(&plan.name));
            plans.extend(found.map(|plan| (plan, digests[&folder].clone())));
        }
        let more = tools::plans(&places)?.into_iter().filter(|plan| wanted(&plan.name));
        plans.extend(more.map(|plan| (plan, tools.clone())));
        if let Some(count) = sample {
            take_sample(&mut plans, count);
        }
        let cache = places.runs.with_file_name("cache");
        let built = in_parallel("built", &plans, parallel, |(plan, digest)| {
            case::build(plan.clone(), &places.tools, digest, &cache)
        })?;
        let mut suite = Self { sources: places.sources, ..Self::default() };
        for ((plan, _), built) in plans.into_iter().zip(built) {
            match built {
                Built::Case(case) => suite.cases.push(*case),
                Built::LeftOut(reason, detail) => suite.left_out.push((plan.name, reason, detail)),
            }
        }
        Ok(suite)
    }

    /// How many are left out for each reason.
    pub fn left_out_by_reason(&self) -> BTreeMap<Reason, usize> {
        let mut counts = BTreeMap::new();
        for (_, reason, _) in &self.left_out {
            *counts.entry(*reason).or_default() += 1;
        }
        counts
    }
}

/// Keeps `count` of the plans that can be built: always the same ones, spread over the suite.
fn take_sample(plans: &mut Vec<(Plan, String)>, count: usize) {
    plans.retain(|(plan, _)| plan.steps.is_ok());
    plans.sort_by_cached_key(|(plan, _)| md5_hex(plan.name.as_bytes()));
    plans.truncate(count);
    plans.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
}

/// A digest of the programs that build cases and produce the answers.
fn digest_of(places: &Places) -> Result<String> {
    let tools = &places.tools;
    let names = ["ocaml", "ocamlc", "ocamlc.byte", "ocamlrun", "ocamldoc", "ocamllex", "ocamlyacc"];
    let mut all = String::new();
    for name in names.into_iter().filter(|name| tools.has(name)) {
        let path = tools.program(name);
        let bytes = fs::read(&path).with_context(|| format!("cannot read {path}"))?;
        all.push_str(&md5_hex(&bytes));
    }
    if places.compiler != Path::new(&tools.program("ocamlc.byte")) {
        all.push_str(&md5_hex(&fs::read(&places.compiler)?));
    }
    Ok(md5_hex(all.as_bytes()))
}
