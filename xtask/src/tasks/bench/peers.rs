//! `cargo xtask bench --peers`: Spelter beside other languages that Rust programs embed (`benches/peers`, a workspace of its
//! own), as a table and a plot.

use std::fmt::Write;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use xtask::workspace;

use super::page;

/// What the program prints.
#[derive(Deserialize)]
struct Results {
    /// A name and a unit.
    measures: Vec<(String, String)>,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    name: String,
    /// The least and the median of each measure.
    times: Vec<(f64, f64)>,
    /// What an idle instance takes.
    bytes: f64,
}

pub(super) fn run(record: bool) -> Result<bool> {
    let mut cargo = workspace::cargo();
    cargo.args(["run", "--quiet", "--release", "--locked", "--manifest-path", "benches/peers/Cargo.toml"]);
    cargo.arg("--target-dir").arg(workspace::target()?.join("peers")).args(["--", "--json"]);
    let out = cargo.stderr(std::process::Stdio::inherit()).output()?;
    ensure!(out.status.success(), "the benches of the peers failed; see above");
    let results: Results = serde_json::from_slice(&out.stdout).context("the results of the peers")?;
    print!("{}", table(&results));
    if record {
        page::record("peers", &table(&results), &svg(&results))?;
    }
    Ok(true)
}

fn kilobytes(row: &Row) -> f64 {
    row.bytes / 1024.0
}

fn table(results: &Results) -> String {
    let mut out = "| |".to_owned();
    // Writing to a string cannot fail.
    for (name, unit) in &results.measures {
        let _ = write!(out, " {name}, {unit} |");
    }
    out += " idle instance, kB |\n|---|";
    out += &"---:|".repeat(results.measures.len() + 1);
    out.push('\n');
    for row in &results.rows {
        let _ = write!(out, "| {} |", row.name);
        for (least, median) in &row.times {
            let _ = write!(out, " {} ({}) |", short(*least), short(*median));
        }
        let _ = writeln!(out, " {} |", short(kilobytes(row)));
    }
    out
}

/// Three digits, more or less.
fn short(x: f64) -> String {
    match x {
        x if x >= 100.0 => format!("{x:.0}"),
        x if x >= 10.0 => format!("{x:.1}"),
        x => format!("{x:.2}"),
    }
}

const WIDTH: f64 = 760.0;
const LEFT: f64 = 160.0;
const RIGHT: f64 = 70.0;
const LINE: f64 = 18.0;
const HEAD: f64 = 30.0;

const STYLE: &str = "text{font:12px sans-serif;fill:#333}.head{font-weight:bold}.dot{fill:#888}.ours{fill:#3a7ca5}\
                     .grid{stroke:#ddd}.way{stroke:#bbb}";

/// The results as dots on logarithmic scales, one for each measure.
fn svg(results: &Results) -> String {
    let times = results.measures.iter().enumerate().map(|(i, (name, unit))| {
        let values = results.rows.iter().map(|row| row.times[i].0).collect();
        (format!("{name}, {unit}"), values)
    });
    let bytes = ("idle instance, kB".to_owned(), results.rows.iter().map(kilobytes).collect());
    let panels: Vec<(String, Vec<f64>)> = times.chain([bytes]).collect();
    let each = HEAD + LINE * results.rows.len() as f64;
    let height = each * panels.len() as f64 + 10.0;
    let mut out = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="costs of embedding, by runtime, on logarithmic scales"><style>{STYLE}</style><rect width="100%" height="100%" fill="white"/>"#
    );
    for (i, (title, values)) in panels.iter().enumerate() {
        panel(&mut out, each * i as f64, title, values, &results.rows);
    }
    out.push_str("</svg>\n");
    out
}

fn panel(out: &mut String, top: f64, title: &str, values: &[f64], rows: &[Row]) {
    let log = |x: f64| x.max(1e-3).log10();
    let first = values.iter().map(|x| log(*x)).fold(f64::INFINITY, f64::min).floor();
    let last = values.iter().map(|x| log(*x)).fold(f64::NEG_INFINITY, f64::max).ceil().max(first + 1.0);
    let at = |x: f64| LEFT + (WIDTH - LEFT - RIGHT) * (log(x) - first) / (last - first);
    let _ = write!(out, r#"<text class="head" x="8" y="{:.1}">{title}</text>"#, top + 20.0);
    let bottom = top + HEAD + LINE * rows.len() as f64 - 4.0;
    for decade in first as i32..=last as i32 {
        let (x, text) = (at(10f64.powi(decade)), 10f64.powi(decade));
        let _ = write!(out, r#"<path class="grid" d="M{x:.1} {:.1}V{bottom:.1}"/>"#, top + 24.0);
        let _ = write!(out, r#"<text x="{x:.1}" y="{:.1}" text-anchor="middle">{text}</text>"#, top + 20.0);
    }
    for (i, (row, value)) in rows.iter().zip(values).enumerate() {
        let (x, y) = (at(*value), top + HEAD + LINE * i as f64 + 5.0);
        let class = if row.name.starts_with("spelter") { "ours" } else { "dot" };
        let (name, text) = (&row.name, short(*value));
        let _ =
            write!(out, r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{name}</text>"#, LEFT - 8.0, y + 4.0);
        let _ = write!(out, r#"<path class="way" d="M{LEFT} {y:.1}H{x:.1}"/>"#);
        let _ = write!(out, r#"<circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="4.5"/>"#);
        let _ = write!(out, r#"<text x="{:.1}" y="{:.1}">{text}</text>"#, x + 9.0, y + 4.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> Results {
        let text = r#"{"measures": [["call", "ns"], ["fib", "ms"]],
                       "rows": [{"name": "spelter", "times": [[10.0, 12.5], [1.0, 1.5]], "bytes": 2048},
                                {"name": "other", "times": [[1000.0, 1001.0], [0.25, 0.5]], "bytes": 512}]}"#;
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_row_for_each_runtime() {
        let expected = "| | call, ns | fib, ms | idle instance, kB |\n|---|---:|---:|---:|\n\
                        | spelter | 10.0 (12.5) | 1.00 (1.50) | 2.00 |\n\
                        | other | 1000 (1001) | 0.25 (0.50) | 0.50 |\n";
        assert_eq!(table(&results()), expected);
    }

    #[test]
    fn a_panel_for_each_measure_and_a_dot_for_each_value() {
        let plot = svg(&results());
        assert_eq!(plot.matches(r#"class="head""#).count(), 3);
        assert_eq!(plot.matches(r#"<circle class="ours""#).count(), 3);
        assert_eq!(plot.matches("<circle").count(), 6);
        // 10 and 1000 are the ends of their scale.
        assert!(plot.contains(r#"cx="160.0""#) && plot.contains(r#"cx="690.0""#), "{plot}");
    }
}
