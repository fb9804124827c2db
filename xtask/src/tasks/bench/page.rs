//! Writes results into `docs/performance.md`.

use std::fs;

use anyhow::Result;
use xtask::page::with_part;
use xtask::workspace;

/// The page, from the root.
const PAGE: &str = "docs/performance.md";

/// Replaces the part of that name by `table`, and writes the plot next to the page.
pub(super) fn record(name: &str, table: &str, plot: &str) -> Result<()> {
    let path = workspace::root().join(PAGE);
    let page = fs::read_to_string(&path)?;
    fs::write(&path, with_part(PAGE, &page, name, table)?)?;
    fs::write(path.with_file_name(format!("{name}.svg")), plot)?;
    Ok(())
}

/// A number with its digits in groups of three.
pub(super) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_come_in_threes() {
        assert_eq!([7, 1234, 123_456, 1_234_567].map(grouped), ["7", "1,234", "123,456", "1,234,567"]);
    }
}
