//! Checks that Rust items named in documents exist.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use regex::Regex;

use super::rust::code_of;
use super::{Source, prose};

/// Crates of others.
const OUTSIDE: [&str; 5] = ["std", "core", "alloc", "libc", "nix"];

/// Names that look like items of ours: OCaml's compiler has the first three, and CONTRIBUTING.md shows how one would
/// add the last.
const OTHERS: [&str; 4] =
    ["Uninitialized_global", "hide_additions", "unsafe_get_global_value", "caml_sys_is_regular_file"];

/// What a file defines.
struct File {
    path: String,
    /// Functions, types, modules, macros, constants, variants and fields.
    defined: HashSet<String>,
    /// Types and traits that it defines or implements something for.
    owners: HashSet<String>,
}

/// What the sources define.
pub(super) struct Items {
    files: Vec<File>,
    /// All words of the code and the names of files, because macros create items and documents also name OCaml
    /// programs.
    words: HashSet<String>,
    /// The items renamed with `as`, by their new names.
    aliases: HashMap<String, String>,
}

impl Items {
    pub(super) fn of(sources: &[Source]) -> Items {
        let definition = regex(
            r"\b(?:(?:(?:const|unsafe|async|extern)\s+)*fn|struct|enum|union|trait|type|const|static|mod|macro_rules!)\s+(?:mut\s+)?(?:r#)?([A-Za-z_]\w*)",
        );
        let variant = regex(r"(?m)^\s+([A-Z]\w*)\s*(?:,|\(|\{|=|$)");
        let field = regex(r"(?m)^\s*(?:pub(?:\([^)]*\))?\s+)?([a-z_]\w*):\s");
        let head = regex(
            r"(?m)^\s*(?:pub(?:\([^)]*\))?\s+)?(?:unsafe\s+)?(?:impl|struct|enum|union|trait|type)\b[^{;]*",
        );
        let word = regex(r"[A-Za-z_]\w*");
        let alias = regex(r"\b([A-Z]\w*)\s+as\s+([A-Z]\w*)");
        let mut words = HashSet::new();
        let mut aliases = HashMap::new();
        let mut files = Vec::new();
        for source in sources {
            words
                .extend(Path::new(&source.path).file_stem().and_then(|stem| Some(stem.to_str()?.to_owned())));
            if source.path.ends_with(".ml") || source.path.ends_with(".mli") {
                words.extend(word.find_iter(&source.text).map(|word| word.as_str().to_owned()));
            }
            if !source.path.ends_with(".rs") {
                continue;
            }
            let code = code_of(&source.text);
            words.extend(word.find_iter(&code).map(|word| word.as_str().to_owned()));
            aliases
                .extend(alias.captures_iter(&code).map(|found| (found[2].to_owned(), found[1].to_owned())));
            let captured = |regex: &Regex| -> Vec<String> {
                regex.captures_iter(&code).map(|found| found[1].to_owned()).collect()
            };
            let defined = [&definition, &variant, &field].into_iter().flat_map(captured).collect();
            let heads = head.find_iter(&code).flat_map(|head| word.find_iter(head.as_str()));
            let owners = heads.map(|word| word.as_str().to_owned()).collect();
            files.push(File { path: source.path.clone(), defined, owners });
        }
        Items { files, words, aliases }
    }

    fn defines(&self, name: &str) -> bool {
        let name = self.aliases.get(name).map_or(name, |real| real);
        self.files.iter().any(|file| file.defined.contains(name))
    }

    /// Whether `owner`, a type, a module or a crate, has an item of that name.
    fn has(&self, owner: &str, name: &str) -> bool {
        let owner = self.aliases.get(owner).map_or(owner, |real| real);
        self.files.iter().any(|file| {
            file.defined.contains(name) && (file.owners.contains(owner) || is_module(owner, &file.path))
        })
    }
}

/// Whether the file, or a folder that it is in, is the module or crate of that name.
fn is_module(name: &str, path: &str) -> bool {
    let folder = name.strip_prefix("spelter_").unwrap_or(name);
    Path::new(path).with_extension("").iter().any(|part| part == folder)
}

fn regex(text: &str) -> Regex {
    #[expect(clippy::expect_used, reason = "the patterns above are constants, which the tests compile")]
    Regex::new(text).expect("a pattern")
}

pub(super) fn check(doc: &Source, items: &Items, wrong: &mut Vec<String>) {
    for (line, name) in prose::names(&doc.text) {
        if !is_there(name, items) {
            wrong.push(format!("{}:{line}: no source defines `{name}`", doc.path));
        }
    }
}

/// Whether the name refers to an existing item, or is not an item.
fn is_there(name: &str, items: &Items) -> bool {
    let called = name.ends_with("()") || name.ends_with('!');
    let bare = name.trim_end_matches("()").trim_end_matches('!');
    let parts: Vec<&str> = bare.split("::").collect();
    let is_name = |part: &&str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    // The tables of libraries name those of Debian.
    let is_library = bare.starts_with("dll");
    if !parts.iter().all(is_name) || is_library || OTHERS.contains(&bare) {
        return true;
    }
    match parts[..] {
        [first, ..] if OUTSIDE.contains(&first) => true,
        [.., owner, name] => items.has(owner, name),
        [name] if called || is_hump(name) => items.defines(name),
        [name] if name.trim_matches('_').contains('_') => items.words.contains(name),
        _ => true,
    }
}

/// Whether a name is in camel case. OCaml's names have one capital at most.
fn is_hump(name: &str) -> bool {
    let starts = |c: char| c.is_ascii_uppercase();
    name.starts_with(starts)
        && name.chars().filter(|c| starts(*c)).count() > 1
        && name.contains(|c: char| c.is_ascii_lowercase())
        && !name.contains('_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(text: &str) -> Vec<String> {
        let sources = [
            ("crates/heap/src/heap.rs", "pub struct Heap { words: usize }\npub enum Mode {\n    Plain,\n}\n"),
            (
                "crates/heap/src/sweep.rs",
                "impl Heap {\n    pub const fn sweep_all(&mut self) {}\n}\nmacro_rules! table {}",
            ),
            ("crates/spelter/tests/all/sealed.rs", "// fn of_old() {}\n#[test]\nfn words_are_sealed() {}\n"),
            ("crates/spelter/src/lib.rs", "pub use spelter_heap::Heap as HostHeap;\n"),
            ("benches/ocaml/compare_hash.ml", "let some_words = 1\n"),
        ];
        let source = |(path, text): (&str, &str)| Source { path: path.into(), text: text.into() };
        let items = Items::of(&sources.map(source));
        let mut wrong = Vec::new();
        check(&source(("docs/a.md", text)), &items, &mut wrong);
        wrong
    }

    #[test]
    fn what_is_there_passes() {
        let good = "`Heap::sweep_all` `Heap::sweep_all()` `Mode::Plain` `spelter_heap::Heap` `sealed::words_are_sealed` \
                    `table!` `HostHeap::sweep_all` `HostHeap` `compare_hash` `some_words` `words_are_sealed` `std::mem::take` `--dyn=stub` `Dynlink.loadfile` `Invalid` `a b::c` `dllav_stubs`\n";
        assert_eq!(missing(good), [""; 0]);
    }

    #[test]
    fn what_has_gone_is_found() {
        let bad = [
            "Heap::mark",
            "Mode::sweep_all",
            "sealed::of_old",
            "sweep()",
            "of_old",
            "HeapConfig",
            "other!",
            "HostHeap::mark",
        ];
        for name in bad {
            assert_eq!(
                missing(&format!("A `{name}`.\n")),
                [format!("docs/a.md:1: no source defines `{name}`")]
            );
        }
    }
}
