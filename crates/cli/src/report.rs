//! `spelter run --code-report`: the history of loaded code, as one self-contained page without scripts or network
//! access.

mod plot;

use std::collections::HashMap;
use std::fmt::Write;
use std::time::Duration;

use spelter::{CodeEventKind, CodeEvents, UnitId, UnitInfo, WhyAlive};

use plot::{Canvas, Plot, Series};

/// The maximum number of rows that a table shows.
const MOST_ROWS: usize = 200;

const STYLE: &str = "
:root{color-scheme:light dark;--bg:#fbfaf8;--card:#fff;--ink:#22262b;--soft:#626a73;--faint:#e6e4df;--grid:#eeece8;
--loaded:#2563ae;--freed:#b45309;--alive:#0d7a63;--bytes:#6d4bb3;--mark:#c3bfb6}
@media(prefers-color-scheme:dark){:root{--bg:#14171a;--card:#1b1f23;--ink:#e6e8ea;--soft:#9aa4ae;--faint:#2e343a;
--grid:#262b30;--loaded:#6ea8ee;--freed:#eba04f;--alive:#4cc3a3;--bytes:#b49af0;--mark:#59616a}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}
main{max-width:1000px;margin:0 auto;padding:36px 20px 60px}
h1{font-size:24px;line-height:1.25;margin:0 0 4px;font-weight:650;overflow-wrap:anywhere}
h2{font-size:16px;margin:0;font-weight:650}
p{margin:4px 0 0;color:var(--soft)}
section{background:var(--card);border:1px solid var(--faint);border-radius:10px;padding:18px 20px;margin-top:18px}
dl{display:grid;grid-template-columns:repeat(6,1fr);gap:12px;margin:22px 0 0}
@media(max-width:860px){dl{grid-template-columns:repeat(3,1fr)}}
dl div{background:var(--card);border:1px solid var(--faint);border-radius:10px;padding:12px 16px}
dt{color:var(--soft);font-size:13px}
dd{margin:0;font-size:22px;font-weight:600;font-variant-numeric:tabular-nums}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;margin:6px 0 2px;color:var(--soft);font-size:13px}
.key{display:inline-block;width:14px;height:3px;border-radius:2px;margin-right:6px;vertical-align:middle;background:currentColor}
.key.rule{width:2px;height:13px}
svg{display:block;width:100%;height:auto;margin-top:6px;font:12px system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}
.axis{stroke:var(--soft);stroke-width:1;fill:none}.grid{stroke:var(--grid);fill:none}.tick{fill:var(--soft)}
.mark{stroke:var(--mark);stroke-width:1;fill:none}
.line{fill:none;stroke:currentColor;stroke-width:1.75;stroke-linejoin:round}.area{fill:currentColor;opacity:.14}.band{fill:currentColor;opacity:.38}
.edge{fill:none;stroke:currentColor;stroke-width:1;opacity:.8}
.end{fill:currentColor;font-weight:600}
.strip{fill:transparent}.strip:hover{fill:var(--ink);fill-opacity:.07}
.loaded{color:var(--loaded)}.freed{color:var(--freed)}.alive{color:var(--alive)}.bytes{color:var(--bytes)}.rules{color:var(--mark)}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;margin-top:10px;font-size:14px}
th{text-align:left;color:var(--soft);font-weight:500;font-size:13px;border-bottom:1px solid var(--faint);padding:4px 16px 6px 0}
td{border-bottom:1px solid var(--grid);padding:7px 16px 7px 0;vertical-align:top}
tr:last-child td{border-bottom:0}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
code,.why{font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
.why ol{list-style:none;margin:2px 0 6px;padding:0 0 0 4px;color:var(--soft)}
.why li::before{content:'\\2192\\00a0'}
summary{cursor:pointer}
";

/// The data of the page.
pub(crate) struct Report<'a> {
    /// The program's name.
    pub(crate) program: &'a str,
    /// All events until the program's end, and the collection after it.
    pub(crate) recording: &'a CodeEvents,
    /// The units that were alive after this collection.
    pub(crate) units: &'a [UnitInfo],
    /// Why they are alive.
    pub(crate) why: &'a [WhyAlive],
}

impl Report<'_> {
    /// The page.
    pub(crate) fn html(&self) -> String {
        let title = format!("Loaded code in {}", escape(self.program));
        let mut out = format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <title>{title}</title><style>{STYLE}</style></head>\n<body><main><h1>{title}</h1>\n"
        );
        let end = self.end();
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "<p>Recorded by <code>spelter run --code-report</code> over {:.3} seconds; the last major collection is \
             the report’s own, after the program’s end.</p>",
            end.as_secs_f64()
        );
        self.figures(&mut out);
        self.charts(&mut out, end);
        self.alive(&mut out);
        self.names(&mut out);
        out.push_str("</main></body></html>\n");
        out
    }

    fn end(&self) -> Duration {
        let last = self.recording.events().last().map_or(Duration::ZERO, |event| event.at);
        last.max(Duration::from_micros(1))
    }

    fn figures(&self, out: &mut String) {
        let events = self.recording.events();
        let counts = events.last().map(|event| event.counts).unwrap_or_default();
        let most = events.iter().map(|event| event.counts.alive_bytes()).max().unwrap_or(0);
        let figures = [
            ("units loaded", count(counts.loaded)),
            ("freed", count(counts.freed)),
            ("alive at the end", count(counts.alive())),
            ("code at the end", bytes(counts.alive_bytes())),
            ("code at most", bytes(most)),
            ("major collections", count(self.recording.majors())),
        ];
        out.push_str("<dl>");
        for (name, figure) in figures {
            let _ = write!(out, "<div><dt>{name}</dt><dd>{figure}</dd></div>");
        }
        out.push_str("</dl>\n");
    }

    fn charts(&self, out: &mut String, end: Duration) {
        let events = self.recording.events();
        let of_kind = |kind| events.iter().filter(move |event| event.kind == kind);
        let majors: Vec<Duration> = of_kind(CodeEventKind::Major).map(|event| event.at).collect();
        let series = |name, class, filled, value: fn(&spelter::CodeEvent) -> u64| {
            let points = events.iter().map(|event| (event.at, value(event)));
            let points = std::iter::once((Duration::ZERO, 0)).chain(points).collect();
            Series { name, class, points, filled }
        };
        let loaded = series("loaded", "loaded", false, |event| event.counts.loaded);
        let freed = series("freed", "freed", false, |event| event.counts.freed);
        let alive = series("alive", "alive", true, |event| event.counts.alive());
        let code = series("code", "bytes", true, |event| event.counts.alive_bytes());
        let charts = [
            (
                "Units in total",
                "Units loaded and freed over time",
                220.0,
                vec![loaded, freed],
                count as fn(u64) -> String,
            ),
            ("Units alive", "Units alive over time", 200.0, vec![alive], count),
            ("Live code", "Bytes of code over time", 200.0, vec![code], bytes),
        ];
        for (title, label, height, series, format) in charts {
            let _ = write!(out, "<section><h2>{title}</h2><div class=\"legend\">");
            let plot = Plot::new(Canvas { label, height, end, marks: &majors, format }, series);
            for s in &plot.series {
                let _ = write!(out, "<span><i class=\"key {}\"></i>{}", s.class, s.name);
                out.push_str(if plot.is_dense(s) {
                    ", between the lowest and the highest</span>"
                } else {
                    "</span>"
                });
            }
            out.push_str("<span><i class=\"key rule rules\"></i>start of a major collection</span></div>\n");
            out.push_str(&plot.svg());
            out.push_str("</section>\n");
        }
    }

    /// The live units, and why they are alive. Units of one name that are alive for the same reason share a row.
    fn alive(&self, out: &mut String) {
        let sizes: HashMap<UnitId, usize> =
            self.units.iter().map(|unit| (unit.id, unit.code_bytes)).collect();
        let mut rows: Vec<(&WhyAlive, u64, u64)> = Vec::new();
        let mut known = HashMap::new();
        for why in self.why {
            let ways: Vec<_> = why.paths.iter().map(|path| (path.root.to_string(), shape(path))).collect();
            let row = *known.entry((&why.name, ways)).or_insert(rows.len());
            if row == rows.len() {
                rows.push((why, 0, 0));
            }
            rows[row].1 += 1;
            rows[row].2 += sizes.get(&why.id).copied().unwrap_or(0) as u64;
        }
        out.push_str("<section><h2>Still alive, and why</h2>");
        if rows.is_empty() {
            out.push_str("<p>Nothing: all loaded units have been freed.</p></section>\n");
            return;
        }
        out.push_str(
            "<p>For each kind of root from which the unit is reachable, the shortest path to its code.</p>",
        );
        out.push_str("<div class=\"scroll\"><table><tr><th>Unit</th><th class=\"n\">Units</th><th class=\"n\">Code</th><th>Because of</th></tr>\n");
        for (why, units, size) in rows.iter().take(MOST_ROWS) {
            let name = escape(&why.name);
            let first = if *units == 1 { String::new() } else { ", first".to_owned() };
            let _ = write!(
                out,
                "<tr><td><code>{name}</code> <small>#{}{first}</small></td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"why\">",
                why.id.0,
                count(*units),
                bytes(*size)
            );
            for (i, path) in why.paths.iter().enumerate() {
                let text = path.to_string();
                let root = escape(text.lines().next().unwrap_or_default());
                let open = if i == 0 && rows.len() <= 20 { " open" } else { "" };
                let _ = write!(out, "<details{open}><summary>{root}</summary><ol>");
                for line in path.lines() {
                    let _ = write!(out, "<li>{}</li>", escape(&line));
                }
                out.push_str("</ol></details>");
            }
            out.push_str("</td></tr>\n");
        }
        out.push_str("</table></div>");
        left_out(out, rows.len());
        out.push_str("</section>\n");
    }

    fn names(&self, out: &mut String) {
        let mut rows: Vec<_> = self.recording.by_name().iter().collect();
        rows.sort_by_key(|(_, counts)| std::cmp::Reverse((counts.alive_bytes(), counts.loaded)));
        out.push_str("<section><h2>By name</h2><div class=\"scroll\"><table><tr><th>Unit</th>");
        for title in ["Loaded", "Freed", "Alive", "Code loaded", "Code alive"] {
            let _ = write!(out, "<th class=\"n\">{title}</th>");
        }
        out.push_str("</tr>\n");
        for (name, counts) in rows.iter().take(MOST_ROWS) {
            let _ = write!(out, "<tr><td><code>{}</code></td>", escape(name));
            let figures = [
                count(counts.loaded),
                count(counts.freed),
                count(counts.alive()),
                bytes(counts.loaded_bytes),
                bytes(counts.alive_bytes()),
            ];
            for figure in figures {
                let _ = write!(out, "<td class=\"n\">{figure}</td>");
            }
            out.push_str("</tr>\n");
        }
        out.push_str("</table></div>");
        left_out(out, rows.len());
        out.push_str("</section>\n");
    }
}

fn left_out(out: &mut String, rows: usize) {
    if rows > MOST_ROWS {
        let _ = write!(out, "<p>{} more rows are left out.</p>", count((rows - MOST_ROWS) as u64));
    }
}

/// A path without the parts that differ between units of one module.
fn shape(path: &spelter::explain::Path) -> Vec<String> {
    let mut lines = path.lines();
    for line in &mut lines {
        if let Some(at) = line.find(" (#") {
            line.truncate(at);
        }
    }
    lines
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A number with its digits in groups.
fn count(n: u64) -> String {
    let digits = n.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// A size in decimal units.
fn bytes(n: u64) -> String {
    let scaled = |unit: f64, name| {
        let n = n as f64 / unit;
        if n < 10.0 && n.fract() >= 0.05 { format!("{n:.1} {name}") } else { format!("{n:.0} {name}") }
    };
    match n {
        0..1_000 => format!("{n} B"),
        1_000..1_000_000 => scaled(1e3, "kB"),
        1_000_000..1_000_000_000 => scaled(1e6, "MB"),
        _ => scaled(1e9, "GB"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0, 999, 1000, 1500, 12_345, 2_000_000].map(bytes),
            ["0 B", "999 B", "1 kB", "1.5 kB", "12 kB", "2 MB"]
        );
    }

    #[test]
    fn names_cannot_break_out() {
        assert_eq!(escape("<a href=\"x\">&"), "&lt;a href=&quot;x&quot;&gt;&amp;");
    }
}
