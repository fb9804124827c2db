//! A line chart in braille, for terminals: each cell has two by four dots.

use anstyle::Style;

/// Bits of a braille cell, by column and row.
const DOTS: [[u8; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];

/// A line of the chart. Where two lines meet, the later one is visible.
pub(crate) struct Line<'a> {
    /// Heights at x = 0, 1, 2…
    pub(crate) points: &'a [f64],
    /// Whether the area below is filled.
    pub(crate) filled: bool,
    /// Its style; plain without colours.
    pub(crate) style: Style,
}

/// The size of a chart in cells, and the ranges that it shows.
pub(crate) struct Chart {
    pub(crate) columns: usize,
    pub(crate) rows: usize,
    pub(crate) max_x: usize,
    pub(crate) max_y: f64,
}

impl Chart {
    /// The chart's rows, from the top.
    pub(crate) fn draw(&self, lines: &[Line<'_>]) -> Vec<String> {
        let mut cells = vec![(0u8, Style::new()); self.columns * self.rows];
        for line in lines {
            self.plot(line, &mut cells);
        }
        cells.chunks(self.columns).map(row_of_cells).collect()
    }

    fn plot(&self, line: &Line<'_>, cells: &mut [(u8, Style)]) {
        let (width, height) = (2 * self.columns, 4 * self.rows);
        let dot = |y: f64| {
            ((y / self.max_y) * (height - 1) as f64).round().clamp(0.0, (height - 1) as f64) as usize
        };
        let mut last = None;
        for x in 0..width {
            let Some(y) = line.points.get(x * self.max_x / (width - 1).max(1)) else { break };
            let y = dot(*y);
            // Connect steep steps.
            let from = if line.filled { 0 } else { last.map_or(y, |last| y.min(last + 1)) };
            last = Some(y);
            for y in from..=y {
                let from_top = height - 1 - y;
                let (bits, style) = &mut cells[from_top / 4 * self.columns + x / 2];
                *bits |= DOTS[x % 2][from_top % 4];
                *style = line.style;
            }
        }
    }
}

/// Cells as text, styled in runs.
fn row_of_cells(cells: &[(u8, Style)]) -> String {
    let runs = cells.chunk_by(|one, other| one.1 == other.1).map(|run| {
        let style = run[0].1;
        let dots = run.iter().map(|(bits, _)| match bits {
            0 => ' ',
            bits => char::from_u32(0x2800 + u32::from(*bits)).unwrap_or(' '),
        });
        format!("{style}{}{style:#}", dots.collect::<String>())
    });
    runs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(points: &[f64], filled: bool) -> Vec<String> {
        let chart = Chart { columns: 2, rows: 2, max_x: 3, max_y: 7.0 };
        chart.draw(&[Line { points, filled, style: Style::new() }])
    }

    #[test]
    fn a_diagonal() {
        assert_eq!(draw(&[0.0, 2.0, 5.0, 7.0], false), [" ⡜", "⡰⠁"].map(String::from));
    }

    #[test]
    fn a_filled_floor_that_ends_early() {
        assert_eq!(draw(&[0.0, 0.0], true), ["  ", "⣀ "].map(String::from));
    }
}
