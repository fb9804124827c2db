//! Writes figures into `docs/performance.md`: each table stands between two comments that name it.

use std::fs;

use anyhow::{Context, Result};
use xtask::workspace;

/// The page, from the root.
const PAGE: &str = "docs/performance.md";

/// Puts `table` in the place of that name, and the plot beside the page.
pub(super) fn record(name: &str, table: &str, plot: &str) -> Result<()> {
    let path = workspace::root().join(PAGE);
    let page = fs::read_to_string(&path)?;
    fs::write(&path, spliced(&page, name, table)?)?;
    fs::write(path.with_file_name(format!("{name}.svg")), plot)?;
    Ok(())
}

fn spliced(page: &str, name: &str, table: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let place = || format!("{PAGE} has no place for {name}: '{}' … '{end}'", begin.trim_end());
    let (before, rest) = page.split_once(&begin).with_context(place)?;
    let (_, after) = rest.split_once(&end).with_context(place)?;
    Ok(format!("{before}{begin}\n{}\n\n{end}{after}", table.trim_end()))
}

/// A number with its digits in groups of three.
pub(super) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_takes_the_place_of_another() {
        let page = "above\n<!-- times -->\nold\n<!-- end of times -->\nbelow\n";
        let new = spliced(page, "times", "| new |\n").unwrap();
        assert_eq!(new, "above\n<!-- times -->\n\n| new |\n\n<!-- end of times -->\nbelow\n");
        assert_eq!(spliced(&new, "times", "| new |").unwrap(), new);
        assert!(spliced(page, "counts", "").is_err());
    }

    #[test]
    fn digits_come_in_threes() {
        assert_eq!([7, 1234, 123_456, 1_234_567].map(grouped), ["7", "1,234", "123,456", "1,234,567"]);
    }
}
