//! The list of Debian's stub libraries.

use anyhow::{Context, Result};
use xtask::workspace;

/// The tier of libraries whose functions Spelter has itself.
pub(super) const BUILT_IN: &str = "built-in";

/// A line of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Library {
    /// The package that holds it.
    pub(super) package: String,
    /// Its name without `.so`.
    pub(super) name: String,
    /// The tier of OCaml's C interface that it needs.
    pub(super) tier: String,
    /// Libraries that must be loaded before it, in order.
    pub(super) needs: Vec<String>,
}

/// All lines of the list.
pub(super) fn all() -> Result<Vec<Library>> {
    let path = workspace::fixtures().join("debian/libraries.txt");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    text.lines().filter(|line| !line.starts_with('#')).map(parse).collect()
}

fn parse(line: &str) -> Result<Library> {
    let mut words = line.split_whitespace().map(str::to_owned);
    let mut next = || words.next().with_context(|| format!("'{line}' lacks a word"));
    let (package, name, tier) = (next()?, next()?, next()?);
    Ok(Library { package, name, tier, needs: words.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_has_all_libraries() {
        let all = all().unwrap();
        assert_eq!(all.len(), 137);
        assert_eq!(all.iter().filter(|library| library.tier == BUILT_IN).count(), 3);
        for library in &all {
            let known = |name: &String| all.iter().any(|other| &other.name == name);
            assert!(library.needs.iter().all(known), "{library:?}");
        }
    }

    #[test]
    fn lines_have_three_words_or_more() {
        assert_eq!(parse("p dllx C dlla dllb").unwrap().needs, ["dlla", "dllb"]);
        assert!(parse("p dllx").unwrap_err().to_string().contains("lacks a word"));
    }
}
