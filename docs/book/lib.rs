//! The snippets of the book, as tests: `cargo test -p spelter-book`.
//!
//! They run in this folder, where `plugins` is the folder of the compiled plug-ins. The commands that the book shows are
//! run by `crates/cli/tests/all/book.rs`.
#![forbid(unsafe_code)]

/// A chapter for each line: the tests are named after them.
macro_rules! chapters {
    ($($name:ident $path:literal,)*) => {
        $(
            #[cfg(doctest)]
            #[doc = include_str!(concat!("src/", $path))]
            mod $name {}
        )*

        /// The files above.
        #[cfg(test)]
        const CHAPTERS: &[&str] = &[$($path),*];
    };
}

chapters! {
    host_first "host/first.md",
    host_units "host/units.md",
    host_world "host/world.md",
    host_limits "host/limits.md",
    host_types "host/types.md",
    host_functions "host/functions.md",
    host_objects "host/objects.md",
    host_reload "host/reload.md",
    host_revoke "host/revoke.md",
    host_alive "host/alive.md",
    host_errors "host/errors.md",
    host_machines "host/machines.md",
    host_waiting "host/waiting.md",
    host_compiler "host/compiler.md",
    heap_scopes "heap/scopes.md",
    heap_views "heap/views.md",
    heap_weak "heap/weak.md",
    tools_files "tools/files.md",
    tools_interfaces "tools/interfaces.md",
    tools_editing "tools/editing.md",
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::CHAPTERS;

    fn source() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
    }

    /// The chapters that the table of contents links.
    fn linked() -> Vec<String> {
        let summary = fs::read_to_string(source().join("SUMMARY.md")).expect("a table of contents");
        let links = summary.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        links.map(|(link, _)| link.to_owned()).collect()
    }

    /// All pages, from the folder of sources.
    fn pages() -> BTreeSet<String> {
        let mut pages = BTreeSet::new();
        for folder in ["", "host", "ocaml", "heap", "tools"] {
            for entry in fs::read_dir(source().join(folder)).expect("a folder") {
                let name = entry.expect("a file").file_name().into_string().expect("its name is text");
                if name.ends_with(".md") && name != "SUMMARY.md" {
                    pages.insert(if folder.is_empty() { name } else { format!("{folder}/{name}") });
                }
            }
        }
        pages
    }

    #[test]
    fn each_page_is_in_the_table_of_contents_once() {
        let linked = linked();
        assert_eq!(linked.len(), linked.iter().collect::<BTreeSet<_>>().len());
        assert_eq!(linked.into_iter().collect::<BTreeSet<_>>(), pages());
    }

    #[test]
    fn each_page_with_snippets_is_tested() {
        for page in pages() {
            let text = fs::read_to_string(source().join(&page)).expect("a page");
            let has_snippets = text.lines().any(|line| line.starts_with("```rust"));
            assert_eq!(has_snippets, CHAPTERS.contains(&&*page), "{page}");
        }
    }

    #[test]
    fn what_pages_include_is_there() {
        let mut count = 0;
        for page in pages() {
            let text = fs::read_to_string(source().join(&page)).expect("a page");
            let folder = source().join(&page).parent().expect("a folder").to_owned();
            for rest in text.split("{{#include ").skip(1) {
                let (place, _) = rest.split_once("}}").expect("an end");
                let (file, anchor) = place.split_once(':').unwrap_or((place, ""));
                let text =
                    fs::read_to_string(folder.join(file)).unwrap_or_else(|e| panic!("{page}: {file}: {e}"));
                assert!(anchor.is_empty() || text.contains(&format!("ANCHOR: {anchor} ")), "{page}: {place}");
                count += 1;
            }
        }
        assert!(count > 15, "{count}");
    }
}
