//! The list for the linker and the names that the sources export are the same.

use std::collections::BTreeSet;
use std::path::Path;

/// The macros whose rows define exported functions. Others may be used inside of functions only.
const DEFINING: [&str; 9] = [
    "blocks",
    "may_raise",
    "may_return_exception",
    "primitives",
    "readers",
    "twice",
    "unset_hooks",
    "variadic",
    "writers",
];

fn is_name(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !word.is_empty()
}

/// The names before the parenthesis or colon of a macro's row: functions that differ in a number or a version share one.
fn names_of_row(row: &str) -> impl Iterator<Item = String> {
    row.split(['(', ':'])
        .next()
        .unwrap_or_default()
        .split(' ')
        .filter(|word| is_name(word))
        .map(str::to_owned)
}

/// The names that a file exports.
fn exported(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let (mut in_rows, mut marked) = (false, false);
    for line in text.lines() {
        let macro_name = line.strip_suffix("! {").filter(|name| is_name(name));
        in_rows = (in_rows && line != "}") || macro_name.is_some_and(|name| DEFINING.contains(&name));
        let row = line.strip_prefix("    ").filter(|row| row.starts_with(|c: char| c.is_ascii_alphabetic()));
        if let Some(row) = row.filter(|_| in_rows) {
            names.extend(names_of_row(row));
        }
        // `.globl` of assembly.
        names.extend(
            line.trim().strip_prefix("\".globl ").map(|name| name.trim_end_matches("\",").to_owned()),
        );
        if line == "#[unsafe(no_mangle)]" {
            marked = true;
        } else if let Some(item) = line.strip_prefix("pub ").filter(|_| std::mem::take(&mut marked)) {
            let mut words = item.split([' ', '(', ':']);
            let name =
                words.find(|word| !["unsafe", "extern", "\"C\"", "fn", "static", "mut"].contains(word));
            names.extend(name.map(str::to_owned));
        }
    }
    names
}

fn collect(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.extension() {
            None => collect(&path, names),
            Some(kind) if kind == "rs" => names.extend(exported(&std::fs::read_to_string(&path).unwrap())),
            Some(_) => {}
        }
    }
}

#[test]
fn the_list_has_what_the_sources_export() {
    let mut names = BTreeSet::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut names);
    let list = include_str!("../src/exports.list");
    let listed: Vec<&str> = list.lines().filter_map(|line| line.trim().strip_suffix(';')).collect();
    let listed: Vec<&str> = listed.into_iter().filter(|line| is_name(line)).collect();
    let expected: String = names.iter().map(|name| format!("    {name};\n")).collect();
    assert_eq!(listed, names.iter().collect::<Vec<_>>(), "src/exports.list should be\n{{\n{expected}}};");
}

#[test]
fn names_are_found_where_they_are_defined() {
    let text = r#"
may_raise! {
    /// A row.
    one(a: b) = part;
    long(
        a: b,
    ) = part;
}

blocks! {
    two three: 1;
}

fn inner() {
    may_raise(x);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn four() {}

#[unsafe(no_mangle)]
#[allow(unused)]
pub static mut five: u8 = 0;
    ".globl six",
pub fn seven() {}
"#;
    let found: Vec<String> = exported(text).into_iter().collect();
    assert_eq!(found, ["five", "four", "long", "one", "six", "three", "two"]);
}
