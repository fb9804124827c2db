//! Pages with generated parts between marks; the rest is written by hand and does not change.

use anyhow::{Context, Result};

/// Replaces the text between the marks of a part; messages refer to the page as `name`.
///
/// # Errors
///
/// If a mark is missing.
pub fn with_part(name: &str, page: &str, part: &str, text: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- {part}: generated -->\n"), format!("<!-- {part}: end -->"));
    let (before, rest) = page.split_once(&begin).with_context(|| format!("{name} has no line {begin}"))?;
    let (_, after) = rest.split_once(&end).with_context(|| format!("{name} has no line {end}"))?;
    Ok(format!("{before}{begin}\n{text}\n{end}{after}"))
}

/// The text between the marks of a part.
///
/// # Errors
///
/// If a mark is missing.
pub fn part<'a>(name: &str, page: &'a str, part: &str) -> Result<&'a str> {
    let (begin, end) = (format!("<!-- {part}: generated -->\n"), format!("<!-- {part}: end -->"));
    let (_, rest) = page.split_once(&begin).with_context(|| format!("{name} has no line {begin}"))?;
    let (text, _) = rest.split_once(&end).with_context(|| format!("{name} has no line {end}"))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_between_the_marks_is_replaced() {
        let page = "# Title\n<!-- a: generated -->\nold\n<!-- a: end -->\nby hand\n";
        let new = with_part("page", page, "a", "new\n").unwrap();
        assert_eq!(new, "# Title\n<!-- a: generated -->\n\nnew\n\n<!-- a: end -->\nby hand\n");
        assert_eq!(with_part("page", &new, "a", "new\n").unwrap(), new);
        let error = with_part("page", page, "b", "").unwrap_err();
        assert_eq!(error.to_string().trim_end(), "page has no line <!-- b: generated -->");
    }
}
