//! The patterns of chains, and the rows into which they expand. `build.rs` generates the machine's table from them, and
//! `cargo xtask bench --chains` measures what each saves.

/// A chain: the names of its instructions.
pub(crate) type Row = Vec<String>;

/// A line of the file: its number, its text, and the rows into which it expands.
pub(crate) struct Pattern {
    /// The line's number, from 1.
    pub(crate) line: usize,
    /// The line.
    pub(crate) text: String,
    /// Its rows, ordered by the choices of the last word.
    pub(crate) rows: Vec<Row>,
}

/// Reads a file of patterns. A line is the names of a chain's instructions; `{0..3}` stands for each number of the range,
/// `{IF,IFNOT}` for each text of the list, and a line for all combinations. `#` begins a comment.
///
/// # Errors
/// When a line is not a valid pattern, or repeats an earlier row.
pub(crate) fn read(text: &str) -> Result<Vec<Pattern>, String> {
    let mut patterns = Vec::new();
    let mut seen = std::collections::HashMap::new();
    for (i, text) in text.lines().enumerate() {
        let line = i + 1;
        let text = text.split('#').next().unwrap_or_default().trim();
        if text.is_empty() {
            continue;
        }
        let rows = expand(text).map_err(|error| format!("line {line}: {error}"))?;
        for row in &rows {
            if row.len() < 2 {
                return Err(format!("line {line}: {} is a single instruction, not a chain", row.join(" ")));
            }
            if let Some(first) = seen.insert(row.clone(), line) {
                return Err(format!("line {line}: {} is already in line {first}", row.join(" ")));
            }
        }
        patterns.push(Pattern { line, text: text.to_owned(), rows });
    }
    Ok(patterns)
}

/// All rows of a line.
fn expand(line: &str) -> Result<Vec<Row>, String> {
    let mut rows = vec![Row::new()];
    for word in line.split_whitespace() {
        let names = choices(word)?;
        let longer = |row: &Row| -> Vec<Row> {
            names.iter().map(|name| row.iter().cloned().chain([name.clone()]).collect()).collect()
        };
        rows = rows.iter().flat_map(longer).collect();
    }
    Ok(rows)
}

/// All names into which a word expands.
fn choices(word: &str) -> Result<Vec<String>, String> {
    let Some((before, rest)) = word.split_once('{') else { return Ok(vec![word.to_owned()]) };
    let (inner, after) = rest.split_once('}').ok_or_else(|| format!("{word} lacks a brace"))?;
    let number = |text: &str| text.parse::<u32>().map_err(|_| format!("{text} is not a number, in {word}"));
    let mut middles = Vec::new();
    for item in inner.split(',') {
        match item.split_once("..") {
            Some((from, to)) => middles.extend((number(from)?..=number(to)?).map(|n| n.to_string())),
            None => middles.push(item.to_owned()),
        }
    }
    let ends = choices(after)?;
    Ok(middles
        .iter()
        .flat_map(|middle| ends.iter().map(move |end| format!("{before}{middle}{end}")))
        .collect())
}
