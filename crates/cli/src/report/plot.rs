//! Step charts over time, as SVG without scripts or styles; titles show the values under the pointer.

use std::cmp::Reverse;
use std::fmt::Write;
use std::time::Duration;

/// A chart's width in pixels, with its margins.
pub(super) const WIDTH: f64 = 920.0;
const LEFT: f64 = 64.0;
/// The minimum right margin: all charts of a page have the same margin while counts have at most five digits.
const RIGHT: f64 = 112.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 26.0;
/// The number of strips that show the values under the pointer.
const STRIPS: usize = 115;
/// More major collections than this are marked at the bottom only.
const FULL_MARKS: usize = 48;
/// If a filled series changes direction more than once in this many stretches of this many pixels, a band is drawn.
const MOST_TURNS: f64 = 2.0;
const BAND_WIDTH: f64 = 4.0;
/// Points of a line closer together than this, in pixels, are merged, unless the line changes direction there.
const LEAST_STEP: f64 = 0.5;
/// Labels at the right are this far from the lines, and at least this far apart.
const LABEL_GAP: f64 = 8.0;
const LABEL_HEIGHT: f64 = 15.0;
/// The average width of a label's characters, which are bold and 12 pixels high.
const LABEL_CHAR: f64 = 7.5;

/// A quantity that holds each value until the next one.
pub(super) struct Series<'a> {
    /// Its name, in the legend and at its end.
    pub(super) name: &'a str,
    /// The CSS class that determines its colour.
    pub(super) class: &'a str,
    pub(super) points: Vec<(Duration, u64)>,
    /// Whether the area below it is filled.
    pub(super) filled: bool,
}

impl Series<'_> {
    fn last(&self) -> u64 {
        self.points.last().map_or(0, |(_, v)| *v)
    }
}

/// What several series share in a chart.
pub(super) struct Canvas<'a> {
    /// The text alternative for readers who cannot see the chart.
    pub(super) label: &'a str,
    pub(super) height: f64,
    pub(super) end: Duration,
    /// When major collections began.
    pub(super) marks: &'a [Duration],
    pub(super) format: fn(u64) -> String,
}

/// A chart.
pub(super) struct Plot<'a> {
    canvas: Canvas<'a>,
    pub(super) series: Vec<Series<'a>>,
    /// The series' names and last values, shown at the right.
    ends: Vec<String>,
    /// The end of the time axis.
    right: f64,
}

impl<'a> Plot<'a> {
    pub(super) fn new(canvas: Canvas<'a>, series: Vec<Series<'a>>) -> Plot<'a> {
        let alone = series.len() == 1;
        let ends = series.iter().map(|s| {
            let value = (canvas.format)(s.last());
            if alone { value } else { format!("{value} {}", s.name) }
        });
        let ends: Vec<String> = ends.collect();
        let widest = ends.iter().map(|text| text.chars().count()).max().unwrap_or(0);
        let right = WIDTH - RIGHT.max(widest as f64 * LABEL_CHAR + LABEL_GAP);
        Plot { canvas, series, ends, right }
    }

    fn x(&self, at: Duration) -> f64 {
        LEFT + (self.right - LEFT) * at.as_secs_f64() / self.canvas.end.as_secs_f64().max(1e-9)
    }

    /// The chart.
    pub(super) fn svg(&self) -> String {
        let highest = self.series.iter().flat_map(|s| &s.points).map(|(_, v)| *v).max().unwrap_or(0).max(1);
        let step = nice_step(highest as f64 / 3.0).max(1.0);
        let top = (highest as f64 / step).ceil() * step;
        let floor = self.canvas.height - BOTTOM;
        let y = |v: f64| floor - (floor - TOP) * v / top;
        let mut out = String::new();
        let (height, label) = (self.canvas.height, self.canvas.label);
        // Writing to a string cannot fail.
        let _ = write!(out, r#"<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}">"#);
        self.axes(&mut out, &y, step, top);
        self.marks(&mut out, floor);
        for series in &self.series {
            self.series(&mut out, series, &y);
        }
        self.end_labels(&mut out, &y);
        self.strips(&mut out, floor);
        out.push_str("</svg>\n");
        out
    }

    /// Whether a series rises and falls too often to show as a line.
    pub(super) fn is_dense(&self, series: &Series<'_>) -> bool {
        let turns =
            series.points.windows(3).filter(|three| is_turn(three[0].1, three[1].1, three[2].1)).count();
        series.filled && turns as f64 * MOST_TURNS > (self.right - LEFT) / BAND_WIDTH
    }

    fn axes(&self, out: &mut String, y: &dyn Fn(f64) -> f64, step: f64, top: f64) {
        let right = self.right;
        for i in 0..=(top / step).round() as u64 {
            let v = i as f64 * step;
            let (at, text) = (y(v), (self.canvas.format)(v as u64));
            let class = if i == 0 { "axis" } else { "grid" };
            let _ = write!(out, r#"<path class="{class}" d="M{LEFT} {at:.1}H{right}"/>"#);
            let _ = write!(
                out,
                r#"<text class="tick" x="{:.1}" y="{:.1}" text-anchor="end">{text}</text>"#,
                LEFT - 8.0,
                at + 4.0
            );
        }
        let end = self.canvas.end.as_secs_f64();
        let step = nice_step(end / 6.0);
        for i in 0..=(end / step) as u64 {
            let at = i as f64 * step;
            let x = self.x(Duration::from_secs_f64(at));
            let _ = write!(
                out,
                r#"<text class="tick" x="{x:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
                self.canvas.height - 6.0,
                seconds(at, step)
            );
        }
    }

    fn marks(&self, out: &mut String, floor: f64) {
        let top = if self.canvas.marks.len() <= FULL_MARKS { TOP } else { floor - 7.0 };
        out.push_str(r#"<path class="mark" d=""#);
        let mut last = f64::NEG_INFINITY;
        for at in self.canvas.marks {
            let x = self.x(*at);
            // Marks that would overlap are merged.
            if x - last >= 0.5 {
                let _ = write!(out, "M{x:.1} {top:.1}V{floor:.1}");
                last = x;
            }
        }
        out.push_str(r#""/>"#);
    }

    fn series(&self, out: &mut String, series: &Series<'_>, y: &dyn Fn(f64) -> f64) {
        let points = &series.points;
        if self.is_dense(series) {
            return self.band(out, series, y);
        }
        let mut line = String::new();
        let mut drawn = f64::NEG_INFINITY;
        for (i, (at, v)) in points.iter().enumerate() {
            let (x, height) = (self.x(*at), y(*v as f64));
            let inner = i > 0 && i + 1 < points.len();
            if x - drawn < LEAST_STEP && inner && !is_turn(points[i - 1].1, *v, points[i + 1].1) {
                continue;
            }
            drawn = x;
            let _ = match line.is_empty() {
                true => write!(line, "M{x:.1} {height:.1}"),
                false => write!(line, "H{x:.1}V{height:.1}"),
            };
        }
        let _ = write!(line, "H{:.1}", self.x(self.canvas.end));
        if series.filled {
            let start = points.first().map_or(LEFT, |(at, _)| self.x(*at));
            let _ =
                write!(out, r#"<path class="area {}" d="{line}V{:.1}H{start:.1}Z"/>"#, series.class, y(0.0));
        }
        let _ = write!(out, r#"<path class="line {}" d="{line}"/>"#, series.class);
    }

    /// A dense series: for each stretch, from its lowest value to its highest.
    fn band(&self, out: &mut String, series: &Series<'_>, y: &dyn Fn(f64) -> f64) {
        let (mut low, mut high) = (String::new(), String::new());
        let mut back = Vec::new();
        for (x, (least, most)) in stretches(&series.points, |at| ((self.x(at) - LEFT) / BAND_WIDTH) as usize)
        {
            let (from, to) = (LEFT + x as f64 * BAND_WIDTH, LEFT + (x + 1) as f64 * BAND_WIDTH);
            let to = to.min(self.right);
            let (least, most) = (y(least as f64), y(most as f64));
            let _ = write!(low, "L{from:.1} {least:.1}H{to:.1}");
            let _ = write!(high, "L{from:.1} {most:.1}H{to:.1}");
            back.push(format!("L{to:.1} {least:.1}H{from:.1}"));
        }
        back.reverse();
        let (class, floor, right) = (series.class, y(0.0), self.right);
        let _ =
            write!(out, r#"<path class="area {class}" d="M{LEFT} {floor:.1}{low}L{right} {floor:.1}Z"/>"#);
        let _ = write!(out, r#"<path class="band {class}" d="M{}{}Z"/>"#, &high[1..], back.concat());
        for edge in [low, high] {
            let _ = write!(out, r#"<path class="edge {class}" d="M{}"/>"#, &edge[1..]);
        }
    }

    /// Each series' name and last value, at its end; labels that would overlap are moved apart.
    fn end_labels(&self, out: &mut String, y: &dyn Fn(f64) -> f64) {
        let mut ends: Vec<_> = self.series.iter().zip(&self.ends).collect();
        ends.sort_by_key(|(series, _)| Reverse(series.last()));
        let wanted: Vec<f64> = ends.iter().map(|(series, _)| y(series.last() as f64) + 4.0).collect();
        let x = self.right + LABEL_GAP;
        for ((series, text), at) in ends.iter().zip(spread(&wanted, y(0.0) + 4.0)) {
            let _ = write!(out, r#"<text class="end {}" x="{x:.1}" y="{at:.1}">{text}</text>"#, series.class);
        }
    }

    fn strips(&self, out: &mut String, floor: f64) {
        let width = (self.right - LEFT) / STRIPS as f64;
        for i in 0..STRIPS {
            let until = self.canvas.end.mul_f64((i + 1) as f64 / STRIPS as f64);
            let since = self.canvas.end.mul_f64(i as f64 / STRIPS as f64);
            let mut title = format!("{:.3} s", until.as_secs_f64());
            for s in &self.series {
                let known = s.points.partition_point(|(at, _)| *at <= until);
                let v = known.checked_sub(1).map_or(0, |last| s.points[last].1);
                let _ = write!(title, "\n{}: {}", s.name, (self.canvas.format)(v));
            }
            let majors = self.canvas.marks.iter().filter(|at| since < **at && **at <= until).count();
            if majors > 0 {
                let _ = write!(title, "\nmajor collections begun: {majors}");
            }
            let x = LEFT + i as f64 * width;
            let _ = write!(
                out,
                r#"<rect class="strip" x="{x:.1}" y="{TOP}" width="{width:.1}" height="{:.1}"><title>{title}</title></rect>"#,
                floor - TOP
            );
        }
    }
}

/// Vertical positions for labels, as near as possible to `wanted`, from the top: without overlaps, and none below
/// `floor`.
fn spread(wanted: &[f64], floor: f64) -> Vec<f64> {
    let mut heights = wanted.to_vec();
    for i in 1..heights.len() {
        heights[i] = heights[i].max(heights[i - 1] + LABEL_HEIGHT);
    }
    let mut lowest = floor;
    for height in heights.iter_mut().rev() {
        *height = height.min(lowest);
        lowest = *height - LABEL_HEIGHT;
    }
    heights
}

/// Whether a line through these has a peak or a valley in the middle.
fn is_turn(before: u64, at: u64, after: u64) -> bool {
    at > before && at > after || at < before && at < after
}

/// For each stretch up to the last, the lowest and the highest value in it.
fn stretches(
    points: &[(Duration, u64)],
    stretch_of: impl Fn(Duration) -> usize,
) -> impl Iterator<Item = (usize, (u64, u64))> {
    let mut found: Vec<(u64, u64)> = Vec::new();
    let mut held = points.first().map_or(0, |(_, v)| *v);
    for (at, v) in points {
        while found.len() <= stretch_of(*at) {
            found.push((held, held));
        }
        if let Some((least, most)) = found.last_mut() {
            (*least, *most) = ((*least).min(*v), (*most).max(*v));
        }
        held = *v;
    }
    found.into_iter().enumerate()
}

/// 1, 2 or 5 times a power of ten, not below `least`.
fn nice_step(least: f64) -> f64 {
    let power = 10f64.powf(least.max(1e-6).log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * power).find(|step| *step >= least * 0.999).unwrap_or(power)
}

/// A time on an axis whose ticks are `step` seconds apart.
fn seconds(at: f64, step: f64) -> String {
    if step < 0.001 {
        format!("{:.0} µs", at * 1e6)
    } else if step < 1.0 {
        format!("{:.0} ms", at * 1e3)
    } else {
        format!("{at:.0} s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round() {
        let steps = [0.0004, 0.7, 1.0, 1.1, 3.0, 6.0, 333.0].map(nice_step);
        assert_eq!(
            steps.map(|step| format!("{step:.4}")),
            ["0.0005", "1.0000", "1.0000", "2.0000", "5.0000", "10.0000", "500.0000"]
        );
    }

    #[test]
    fn labels_stay_apart_and_inside() {
        assert_eq!(spread(&[18.0, 90.0], 200.0), [18.0, 90.0]);
        assert_eq!(spread(&[18.0, 18.0], 200.0), [18.0, 33.0]);
        assert_eq!(spread(&[18.0, 20.0, 30.0], 200.0), [18.0, 33.0, 48.0]);
        assert_eq!(spread(&[200.0, 200.0], 200.0), [185.0, 200.0]);
        assert_eq!(spread(&[190.0, 198.0], 200.0), [185.0, 200.0]);
    }

    /// The labels at the right: x, y, and the text.
    fn end_labels(svg: &str) -> Vec<(f64, f64, &str)> {
        let labels = svg.split(r#"<text class="end "#).skip(1).map(|rest| {
            let attribute =
                |name: &str| rest.split_once(&format!("{name}=\""))?.1.split('"').next()?.parse().ok();
            let text = rest.split_once('>').and_then(|(_, rest)| rest.split('<').next());
            Some((attribute(" x")?, attribute(" y")?, text?))
        });
        labels.map(|label| label.expect("a label with a place")).collect()
    }

    /// A chart of two series that end at `values`.
    fn two_series(values: [u64; 2]) -> String {
        let series = |name, value| {
            let points = vec![(Duration::ZERO, 0), (Duration::from_secs(1), value)];
            Series { name, class: name, points, filled: false }
        };
        let (end, format) = (Duration::from_secs(1), |v| format!("{v}"));
        let canvas = Canvas { label: "test", height: 220.0, end, marks: &[], format };
        Plot::new(canvas, vec![series("loaded", values[0]), series("freed", values[1])]).svg()
    }

    #[test]
    fn series_that_end_at_one_height_are_both_named() {
        for values in [[1_000_000_000_000, 1_000_000_000_000], [7, 7], [7, 6], [0, 0], [7, 0]] {
            let svg = two_series(values);
            let labels = end_labels(&svg);
            assert_eq!(
                labels.iter().map(|it| it.2.split_once(' ').unwrap().1).collect::<Vec<_>>(),
                ["loaded", "freed"]
            );
            assert!(labels[1].1 - labels[0].1 >= LABEL_HEIGHT, "{values:?}: {labels:?}");
            for (x, y, text) in labels {
                assert!((12.0..=220.0 - BOTTOM + 4.0).contains(&y), "{values:?}: {text} at height {y}");
                let right = x + text.chars().count() as f64 * LABEL_CHAR;
                assert!(right <= WIDTH, "{values:?}: {text} ends at {right}");
            }
        }
    }

    #[test]
    fn stretches_know_what_held_before_them() {
        let points = [(0, 3), (1, 9), (2, 1), (12, 4), (35, 5)].map(|(at, v)| (Duration::from_secs(at), v));
        let found: Vec<_> = stretches(&points, |at| at.as_secs() as usize / 10).collect();
        assert_eq!(found, [(0, (1, 9)), (1, (1, 4)), (2, (4, 4)), (3, (4, 5))]);
    }
}
