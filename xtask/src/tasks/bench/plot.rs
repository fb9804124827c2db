//! The ratios by program as an SVG bar chart, with a line where both are equally fast.

use std::fmt::Write;

/// One program.
pub(super) struct Bar<'a> {
    pub(super) name: &'a str,
    /// Spelter's result divided by ocamlrun's.
    pub(super) ratio: f64,
    /// ocamlopt's result divided by ocamlrun's.
    pub(super) native: Option<f64>,
}

const WIDTH: f64 = 760.0;
const LEFT: f64 = 130.0;
const RIGHT: f64 = 60.0;
const TOP: f64 = 26.0;
const BAR: f64 = 18.0;
/// The ratio at the right edge; longer bars end there.
const LARGEST: f64 = 2.0;

const STYLE: &str = "text{font:12px sans-serif;fill:#333}.bar{fill:#3a7ca5}.slow{fill:#c8553d}.native{fill:#333}\
                     .grid{stroke:#ddd}.one{stroke:#333;stroke-dasharray:4 3}";

/// The chart of Spelter's fraction of `what`: a bar for each program, and a tick for ocamlopt's.
pub(super) fn svg(what: &str, bars: &[Bar<'_>]) -> String {
    let height = TOP + BAR * bars.len() as f64 + 10.0;
    let x = |ratio: f64| LEFT + (WIDTH - LEFT - RIGHT) * ratio.min(LARGEST) / LARGEST;
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{what} as a fraction of ocamlrun's, by program"><style>{STYLE}</style><rect width="100%" height="100%" fill="white"/>"#
    );
    for tick in 0..=4 {
        let ratio = f64::from(tick) * LARGEST / 4.0;
        let class = if ratio == 1.0 { "one" } else { "grid" };
        let at = x(ratio);
        let _ = write!(out, r#"<path class="{class}" d="M{at:.1} {TOP}V{height}"/>"#);
        let _ = write!(out, r#"<text x="{at:.1}" y="16" text-anchor="middle">{ratio:.1}</text>"#);
    }
    for (i, bar) in bars.iter().enumerate() {
        let y = TOP + BAR * i as f64 + 2.0;
        let text = y + 11.0;
        let name = bar.name;
        let class = if bar.ratio > 1.0 { "bar slow" } else { "bar" };
        let _ = write!(out, r#"<text x="{:.1}" y="{text:.1}" text-anchor="end">{name}</text>"#, LEFT - 8.0);
        let end = x(bar.ratio);
        let _ = write!(
            out,
            r#"<rect class="{class}" x="{LEFT}" y="{y:.1}" width="{:.1}" height="14"/>"#,
            end - LEFT
        );
        let _ = write!(out, r#"<text x="{:.1}" y="{text:.1}">{:.2}</text>"#, end + 5.0, bar.ratio);
        if let Some(native) = bar.native {
            let at = x(native);
            let _ = write!(out, r#"<rect class="native" x="{at:.1}" y="{y:.1}" width="2" height="14"/>"#);
        }
    }
    out.push_str("</svg>\n");
    out
}
