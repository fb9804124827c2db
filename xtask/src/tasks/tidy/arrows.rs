//! The allowed dependencies between our crates.

use cargo_metadata::{DependencyKind, Package};

/// The crates on which each crate may depend. A new dependency must be justified in review.
const ARROWS: [(&str, &[&str]); 15] = [
    ("spelter-bytecode", &[]),
    ("spelter-heap-derive", &[]),
    ("spelter-heap", &["spelter-heap-derive"]),
    ("spelter-interp", &["spelter-bytecode", "spelter-heap"]),
    ("spelter-dynlink", &["spelter-bytecode", "spelter-heap", "spelter-interp"]),
    ("spelter-primitives", &["spelter-bytecode", "spelter-heap", "spelter-interp"]),
    ("spelter-derive", &[]),
    (
        "spelter",
        &[
            "spelter-bytecode",
            "spelter-heap",
            "spelter-interp",
            "spelter-dynlink",
            "spelter-primitives",
            "spelter-derive",
        ],
    ),
    ("spelter-cinterface", &["spelter-bytecode", "spelter-heap", "spelter-interp", "spelter-primitives"]),
    ("spelter-compiler", &["spelter", "spelter-bytecode"]),
    ("spelter-cli", &["spelter", "spelter-bytecode", "spelter-cinterface", "spelter-compiler"]),
    ("spelter-benches", &["spelter", "spelter-bytecode", "spelter-heap"]),
    ("spelter-fuzzing", &["spelter", "spelter-bytecode"]),
    ("spelter-book", &["spelter", "spelter-bytecode", "spelter-compiler", "spelter-heap"]),
    ("xtask", &["spelter-bytecode"]),
];

/// One dependency: its name, and whether only tests have it.
type Dependency<'a> = (&'a str, bool);

pub(super) fn check(package: &Package, wrong: &mut Vec<String>) {
    let is_test = |kind| kind == DependencyKind::Development;
    let dependencies = package.dependencies.iter().map(|it| (it.name.as_str(), is_test(it.kind)));
    check_crate(&package.name, &dependencies.collect::<Vec<_>>(), wrong);
}

fn check_crate(name: &str, dependencies: &[Dependency<'_>], wrong: &mut Vec<String>) {
    let Some((_, allowed)) = ARROWS.iter().find(|(crate_name, _)| *crate_name == name) else {
        wrong.push(format!("{name} is not in the list of arrows in xtask/src/tasks/tidy/arrows.rs"));
        return;
    };
    for (dependency, is_test) in dependencies {
        let ours = ARROWS.iter().any(|(crate_name, _)| crate_name == dependency);
        // Tests may have further dependencies; the benches are only tests.
        let product = !is_test || name == "spelter-benches";
        if ours && product && !allowed.contains(dependency) {
            wrong.push(format!("{name} must not depend on {dependency}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arrow_that_points_up_is_found() {
        let mut wrong = Vec::new();
        check_crate("spelter-heap", &[("libc", false), ("spelter-interp", true)], &mut wrong);
        assert!(wrong.is_empty(), "{wrong:?}");
        check_crate("spelter-heap", &[("spelter-interp", false)], &mut wrong);
        assert_eq!(wrong, ["spelter-heap must not depend on spelter-interp"]);
        check_crate("spelter-new", &[], &mut wrong);
        assert!(wrong[1].starts_with("spelter-new is not in the list"), "{wrong:?}");
    }
}
