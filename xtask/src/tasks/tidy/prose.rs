//! Extracts names in backticks and links from documents.

/// Whether a file documents the current state. (The changelog describes the past.)
pub(super) fn is_doc(path: &str) -> bool {
    let shown = ["README.md", "CONTRIBUTING.md", "SECURITY.md"];
    path.ends_with(".md")
        && (path.starts_with("docs/")
            || shown.contains(&path)
            || path.starts_with("crates/") && path.ends_with("/README.md"))
}

/// Only the comments of a Rust file, on their original lines.
pub(super) fn comments(text: &str) -> String {
    let comment = |line: &str| {
        let line = line.trim_start();
        if line.starts_with("//") {
            format!("{}\n", line.trim_start_matches(['/', '!']))
        } else {
            "\n".to_owned()
        }
    };
    text.lines().map(comment).collect()
}

/// A line number, and the text of a name or a link.
pub(super) type Found<'a> = (usize, &'a str);

/// The lines outside of blocks of code.
fn lines(text: &str) -> impl Iterator<Item = Found<'_>> {
    let mut in_block = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        in_block ^= fence;
        !in_block && !fence
    })
}

/// The texts between backticks.
pub(super) fn names(text: &str) -> impl Iterator<Item = Found<'_>> {
    lines(text).flat_map(|(number, line)| {
        line.split('`').skip(1).step_by(2).map(move |name| (number, name.trim_matches('…')))
    })
}

/// Links to files of the repository, without fragments.
pub(super) fn links(text: &str) -> impl Iterator<Item = Found<'_>> {
    lines(text).flat_map(|(number, line)| {
        line.split("](").skip(1).filter_map(move |rest| {
            let link = rest.split_once(')')?.0.split('#').next()?;
            (!link.is_empty() && !link.contains(':')).then_some((number, link))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_links_outside_of_code() {
        let text = "A `b` and `c d`.\n```sh\nnot `this` [nor](this)\n```\n[e](docs/e.md#part), [f](https://f), `g…`\n";
        assert_eq!(names(text).collect::<Vec<_>>(), [(1, "b"), (1, "c d"), (5, "g")]);
        assert_eq!(links(text).collect::<Vec<_>>(), [(5, "docs/e.md")]);
    }

    #[test]
    fn names_in_comments() {
        let text = "//! A `b`.\nlet c = \"`d`\"; // not `e`\n    /// See `f`.\n";
        assert_eq!(names(&comments(text)).collect::<Vec<_>>(), [(1, "b"), (3, "f")]);
    }

    #[test]
    fn what_is_a_document() {
        let docs = [
            "README.md",
            "docs/a.md",
            "crates/heap/README.md",
            "CHANGELOG.md",
            "crates/a/tests/fixtures/x.md",
        ];
        assert_eq!(docs.map(is_doc), [true, true, true, false, false]);
    }
}
