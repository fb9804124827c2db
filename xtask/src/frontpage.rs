//! The example on a crate's front page, and in its README.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// The first example of `src/lib.rs`, with the lines that rustdoc hides.
///
/// # Errors
///
/// If there is no example.
pub fn of_crate(folder: &Path) -> Result<String> {
    let path = folder.join("src/lib.rs");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let docs = text.lines().map_while(|line| line.strip_prefix("//!"));
    first(docs.map(|line| line.strip_prefix(' ').unwrap_or(line)), "```")
        .with_context(|| format!("{} has no example", path.display()))
}

/// The first example of `README.md`.
///
/// # Errors
///
/// If there is no example.
pub fn of_readme(folder: &Path) -> Result<String> {
    let path = folder.join("README.md");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    first(text.lines(), "```rust").with_context(|| format!("{} has no example", path.display()))
}

fn first<'a>(lines: impl Iterator<Item = &'a str>, fence: &str) -> Option<String> {
    let mut lines = lines.skip_while(|line| *line != fence);
    lines.next()?;
    Some(lines.take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect())
}

/// An example as a reader sees it.
pub fn shown(example: &str) -> String {
    let lines = example.lines().filter(|line| *line != "#" && !line.starts_with("# "));
    lines.map(|line| format!("{line}\n")).collect()
}

/// A function `run` with the body of the example. Paths of included files are relative to the crate's `folder`.
pub fn function(example: &str, folder: &Path) -> String {
    let body: String = example
        .replace("\"../tests/", &format!("\"{}/tests/", folder.display()))
        .lines()
        .map(|line| format!("    {}\n", line.strip_prefix("# ").unwrap_or(line)))
        .collect();
    let end = if body.contains("    Ok::<") { "" } else { "    Ok::<(), std::convert::Infallible>(())\n" };
    format!("pub fn run() -> Result<(), impl std::fmt::Debug> {{\n{body}{end}}}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_become_functions() {
        let page = "A heap.\n```\nlet bytes = include_bytes!(\"../tests/a\");\n# Ok::<(), E>(())\n```\n```\nother\n```";
        let example = first(page.lines(), "```").unwrap();
        assert_eq!(shown(&example), "let bytes = include_bytes!(\"../tests/a\");\n");
        let text = function(&example, Path::new("/crates/heap"));
        assert!(text.contains("include_bytes!(\"/crates/heap/tests/a\")"), "{text}");
        assert!(text.ends_with("    Ok::<(), E>(())\n}\n"), "{text}");
        assert!(function("f();\n", Path::new("/")).ends_with("Infallible>(())\n}\n"));
        assert_eq!(first("no example".lines(), "```"), None);
    }
}
