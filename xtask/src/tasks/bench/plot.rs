//! The ratios by program as an SVG: a bar each, with a line where both are equally fast.

use std::fmt::Write;

use super::Row;
use super::programs::Kind;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 130.0;
const RIGHT: f64 = 60.0;
const TOP: f64 = 26.0;
const BAR: f64 = 18.0;
/// The ratio at the right edge; longer bars end there.
const LARGEST: f64 = 2.0;

const STYLE: &str = "text{font:12px sans-serif;fill:#333}.bar{fill:#3a7ca5}.slow{fill:#c8553d}.native{fill:#333}\
                     .grid{stroke:#ddd}.one{stroke:#333;stroke-dasharray:4 3}";

/// The chart: Spelter's time by ocamlrun's, and a tick for ocamlopt's.
pub(super) fn svg(rows: &[Row]) -> String {
    let height = TOP + BAR * rows.len() as f64 + 10.0;
    let x = |ratio: f64| LEFT + (WIDTH - LEFT - RIGHT) * ratio.min(LARGEST) / LARGEST;
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="Spelter's time as a fraction of ocamlrun's, by program"><style>{STYLE}</style><rect width="100%" height="100%" fill="white"/>"#
    );
    for tick in 0..=4 {
        let ratio = f64::from(tick) * LARGEST / 4.0;
        let class = if ratio == 1.0 { "one" } else { "grid" };
        let at = x(ratio);
        let _ = write!(out, r#"<path class="{class}" d="M{at:.1} {TOP}V{height}"/>"#);
        let _ = write!(out, r#"<text x="{at:.1}" y="16" text-anchor="middle">{ratio:.1}</text>"#);
    }
    for (i, row) in rows.iter().enumerate() {
        let y = TOP + BAR * i as f64 + 2.0;
        let text = y + 11.0;
        let name = if row.kind == Kind::Start { format!("start: {}", row.name) } else { row.name.to_owned() };
        let class = if row.ratio > 1.0 { "bar slow" } else { "bar" };
        let _ = write!(out, r#"<text x="{:.1}" y="{text:.1}" text-anchor="end">{name}</text>"#, LEFT - 8.0);
        let end = x(row.ratio);
        let _ = write!(
            out,
            r#"<rect class="{class}" x="{LEFT}" y="{y:.1}" width="{:.1}" height="14"/>"#,
            end - LEFT
        );
        let _ = write!(out, r#"<text x="{:.1}" y="{text:.1}">{:.2}</text>"#, end + 5.0, row.ratio);
        if let Some(native) = row.native {
            let at = x(native / row.theirs.seconds);
            let _ = write!(out, r#"<rect class="native" x="{at:.1}" y="{y:.1}" width="2" height="14"/>"#);
        }
    }
    out.push_str("</svg>\n");
    out
}
