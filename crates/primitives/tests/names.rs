//! The primitives of each version are those that its `ocamlrun -p` lists. `names.txt` holds the list of 4.13, and then
//! what each later version has more (`+`) and no longer has (`-`), all without the prefix `caml_`.

use std::collections::BTreeSet;

use spelter_interp::Release;

const NAMES: &str = include_str!("names.txt");

/// The names of each version, as in `names.txt`.
fn listed() -> Vec<(&'static str, BTreeSet<String>)> {
    let mut all: Vec<(&str, BTreeSet<String>)> = Vec::new();
    for line in NAMES.lines() {
        let mut words = line.split_whitespace();
        // Lines that go on with a version's names are indented.
        if !line.starts_with(' ') {
            let before = all.last().map(|(_, names)| names.clone()).unwrap_or_default();
            all.push((words.next().expect("a version"), before));
        }
        let (version, names) = all.last_mut().expect("a version");
        for word in words {
            let (is_new, name) = match word.strip_prefix('-') {
                Some(name) => (false, name),
                None => (true, word.trim_start_matches('+')),
            };
            let name = format!("caml_{name}");
            let changed = if is_new { names.insert(name) } else { names.remove(&name) };
            assert!(changed, "{version} {word}");
        }
    }
    all
}

fn release(version: &str) -> Release {
    match version {
        "4.13" => Release::V4_13,
        "4.14" => Release::V4_14,
        "5.1" => Release::V5_1,
        "5.3" => Release::V5_3,
        "5.4" => Release::V5_4,
        "5.5" => Release::V5_5,
        other => panic!("no version {other}"),
    }
}

/// Primitives that belong to the crate `spelter-dynlink`.
const OF_DYNLINK: &[&str] = &[
    "caml_dynlink_",
    "caml_get_bytecode_sections",
    "caml_get_current_environment",
    "caml_get_global_data",
    "caml_get_section_table",
    "caml_invoke_traced_function",
    "caml_realloc_global",
    "caml_reify_bytecode",
    "caml_static_release_bytecode",
];

/// Primitives that no version of the runtime here has yet. A name that is found nevertheless is no fault.
const PENDING: &[&str] = &[
    "caml_dynlink_parse_ld_conf",
    "caml_ml_gc_ramp_",
    "caml_gc_tweak_",
    "caml_sys_const_standard_library_default",
    "caml_sys_get_stdlib_dirs",
];

/// 5.1.0, of which the list is, does not have the primitive that 5.1.1 added.
const OF_5_1_1: &str = "caml_zstd_initialize";

#[test]
fn every_version_has_its_own_primitives() {
    let mut wrong = Vec::new();
    for (version, listed) in listed() {
        let release = release(version);
        let rows = spelter_primitives::PRIMITIVES.rows().filter(|row| row.versions.contains(release));
        let ours: BTreeSet<String> = rows.map(|row| row.name.to_owned()).collect();
        let elsewhere = |name: &&String| {
            OF_DYNLINK.iter().chain(PENDING).any(|prefix| name.starts_with(prefix))
                || version == "5.1" && *name == OF_5_1_1
        };
        let missing: Vec<_> = listed.difference(&ours).filter(|name| !elsewhere(name)).collect();
        let surplus: Vec<_> = ours.difference(&listed).filter(|name| !elsewhere(name)).collect();
        if !missing.is_empty() || !surplus.is_empty() {
            wrong.push(format!("{version}: missing {missing:?}, surplus {surplus:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
