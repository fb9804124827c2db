//! The files that may contain unsafe code. Tests and examples may use it as they need.

use super::Source;
use super::rust::code_of;

/// Where the list of doors is.
const HERE: &str = "xtask/src/tasks/tidy/fences.rs";

/// The attribute about unsafe code in the root of a crate.
#[derive(Clone, Copy, PartialEq)]
enum Root {
    Forbids,
    /// Denied, except in the modules that allow it.
    Denies,
    Allows,
}

/// The sources of a crate.
struct Fence {
    folder: &'static str,
    root: Root,
    /// Files with unsafe code, and folders, whose names end in a slash.
    doors: &'static [&'static str],
}

/// The trade of this crate is calling C, and being called by it. What is not listed is safe all the same.
const CINTERFACE: &[&str] = &[
    "activation.rs",
    "arch/",
    "call.rs",
    "exports/",
    "format.rs",
    "guests.rs",
    "lib.rs",
    "library.rs",
    "loader.rs",
    "misuse.rs",
    "roots.rs",
    "sanitizer.rs",
    "stack.rs",
    "state.rs",
    "tests.rs",
];

/// A new door must be justified in review; an unused door must be removed.
const FENCES: [Fence; 15] = [
    Fence { folder: "crates/bytecode/src/", root: Root::Forbids, doors: &[] },
    Fence {
        folder: "crates/heap/src/",
        root: Root::Allows,
        doors: &[
            "charge.rs",
            "compact.rs",
            "custom.rs",
            "ephemeron.rs",
            "finalise.rs",
            "heap.rs",
            "mark.rs",
            "minor.rs",
            "pages.rs",
            "raw.rs",
            "root.rs",
            "roots.rs",
            "scope/allocation.rs",
            "scope/mod.rs",
            "scope/mourning.rs",
            "scope/peek.rs",
            "scope/shadow.rs",
            "stock.rs",
            "sweep.rs",
            "system.rs",
            "val.rs",
            "value.rs",
            "verify.rs",
            "young.rs",
        ],
    },
    Fence { folder: "crates/heap-derive/src/", root: Root::Forbids, doors: &[] },
    Fence {
        folder: "crates/interp/src/",
        root: Root::Allows,
        doors: &[
            "code/cells.rs",
            "code/closure_view.rs",
            "code/install.rs",
            "code/object.rs",
            "code/program.rs",
            "code/revoke.rs",
            "exec/activation.rs",
            "exec/dispatch/",
            "exec/handlers/call.rs",
            "exec/pausable.rs",
            "exec/regs.rs",
            "inspect/debugger.rs",
            "inspect/memprof.rs",
            "inspect/reachability.rs",
            "layout.rs",
            "machine/alloc.rs",
            "machine/collect.rs",
            "machine/fibers.rs",
            "machine/mod.rs",
            "machine/pending.rs",
            "machine/stack.rs",
            "prim/bigarray/",
            "prim/custom.rs",
            "prim/ephemeron.rs",
            "prim/foreign.rs",
            "prim/obj.rs",
            "prim/slots.rs",
            "prim/unmarshal.rs",
            "threads/errands.rs",
            "threads/guests.rs",
            "threads/master_lock.rs",
            "threads/mod.rs",
            "threads/signals.rs",
        ],
    },
    Fence { folder: "crates/cinterface/src/", root: Root::Allows, doors: CINTERFACE },
    Fence { folder: "crates/dynlink/src/", root: Root::Denies, doors: &["install.rs"] },
    Fence { folder: "crates/primitives/src/", root: Root::Denies, doors: &["ffi/", "handover.rs"] },
    Fence { folder: "crates/derive/src/", root: Root::Forbids, doors: &[] },
    Fence { folder: "crates/spelter/src/", root: Root::Denies, doors: &["trust.rs"] },
    Fence { folder: "crates/cli/src/", root: Root::Denies, doors: &["entry.rs", "trust.rs"] },
    Fence {
        folder: "benches/",
        root: Root::Allows,
        doors: &["host_calls.rs", "machines.rs", "pipeline.rs", "raw_trees.rs"],
    },
    Fence { folder: "fuzzing/src/", root: Root::Denies, doors: &["malloc.rs"] },
    Fence { folder: "fuzz/fuzz_targets/", root: Root::Allows, doors: &[] },
    Fence { folder: "xtask/outside/", root: Root::Allows, doors: &["libraries.rs"] },
    Fence { folder: "xtask/src/", root: Root::Forbids, doors: &[] },
];

pub(super) fn check(sources: &[Source], wrong: &mut Vec<String>) {
    check_fences(&FENCES, sources, wrong);
}

fn check_fences(fences: &[Fence], sources: &[Source], wrong: &mut Vec<String>) {
    let rust = || sources.iter().filter(|source| source.path.ends_with(".rs") && !is_test(&source.path));
    let with_unsafe: Vec<&Source> = rust().filter(|source| has_unsafe(&source.text)).collect();
    for source in &with_unsafe {
        let fence = fences.iter().find(|fence| source.path.starts_with(fence.folder));
        let is_door = |fence: &Fence| fence.doors.iter().any(|door| opens(fence, door, &source.path));
        if !fence.is_some_and(is_door) {
            wrong.push(format!("{} has unsafe code but is not a door: see {}", source.path, HERE));
        }
    }
    for fence in fences {
        for door in fence.doors {
            if !with_unsafe.iter().any(|source| opens(fence, door, &source.path)) {
                let folder = fence.folder;
                wrong.push(format!("{folder}{door} has no unsafe code: remove it from {}", HERE));
            }
        }
        let attribute = match fence.root {
            Root::Forbids => "#![forbid(unsafe_code)]",
            Root::Denies => "#![deny(unsafe_code)]",
            Root::Allows => continue,
        };
        let is_root = |path: &str| {
            path.strip_prefix(fence.folder).is_some_and(|name| ["lib.rs", "main.rs"].contains(&name))
        };
        for source in rust().filter(|source| is_root(&source.path)) {
            if !source.text.lines().any(|line| line == attribute) {
                wrong.push(format!("{} lacks {attribute}", source.path));
            }
        }
    }
}

fn opens(fence: &Fence, door: &str, path: &str) -> bool {
    path.strip_prefix(fence.folder)
        .is_some_and(|name| name == door || door.ends_with('/') && name.starts_with(door))
}

fn is_test(path: &str) -> bool {
    path.split('/').any(|folder| ["tests", "examples"].contains(&folder))
}

fn has_unsafe(text: &str) -> bool {
    let code = code_of(text);
    code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe")
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNSAFE: &str = "fn f() { unsafe { g() } }\n";

    fn complaints(files: &[(&str, &str)]) -> Vec<String> {
        let fences = [
            Fence { folder: "a/src/", root: Root::Forbids, doors: &[] },
            Fence { folder: "b/src/", root: Root::Denies, doors: &["door.rs", "ffi/"] },
        ];
        let always = [
            ("a/src/lib.rs", "#![forbid(unsafe_code)]\n"),
            ("b/src/lib.rs", "#![deny(unsafe_code)]\n"),
            ("b/src/door.rs", UNSAFE),
            ("b/src/ffi/dir.rs", UNSAFE),
        ];
        let source = |(path, text): &(&str, &str)| Source { path: (*path).into(), text: (*text).into() };
        let given = |path: &str| files.iter().any(|(other, _)| *other == path);
        let sources = always.iter().filter(|(path, _)| !given(path)).chain(files).map(source);
        let mut wrong = Vec::new();
        check_fences(&fences, &sources.collect::<Vec<_>>(), &mut wrong);
        wrong
    }

    #[test]
    fn what_keeps_to_its_doors_passes() {
        let prose = "// unsafe { }\nconst S: &str = \"unsafe {\"; #[allow(unsafe_code)] fn unsafe_get() {}\n";
        assert_eq!(complaints(&[("b/src/other.rs", prose), ("b/tests/all.rs", UNSAFE)]), [""; 0]);
    }

    #[test]
    fn unsafe_code_behind_no_door_is_found() {
        for (path, text) in [("b/src/other.rs", UNSAFE), ("c/src/lib.rs", "unsafe impl Send for X {}\n")] {
            let wrong = complaints(&[(path, text)]);
            assert!(wrong.len() == 1 && wrong[0].starts_with(path), "{wrong:?}");
        }
    }

    #[test]
    fn a_door_that_leads_nowhere_and_a_root_without_fence_are_found() {
        let wrong = complaints(&[("b/src/door.rs", "fn safe() {}\n"), ("a/src/lib.rs", "//! Nothing.\n")]);
        assert!(wrong[0].starts_with("a/src/lib.rs lacks #![forbid"), "{wrong:?}");
        assert!(wrong[1].starts_with("b/src/door.rs has no unsafe code"), "{wrong:?}");
        assert_eq!(wrong.len(), 2);
    }
}
