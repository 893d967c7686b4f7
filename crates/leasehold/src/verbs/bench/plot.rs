//! A small SVG: throughput above, latencies below.

use std::fmt::Write as _;
use std::path::Path;

use super::report::percentile_names;
use crate::exit::Failure;

const WIDTH: f64 = 860.0;
const PANEL: f64 = 240.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 170.0;
const TOP: f64 = 50.0;
const GAP: f64 = 70.0;
const COLOURS: [&str; 8] = ["#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b", "#17becf", "#7f7f7f"];
/// Lines across a panel.
const GRID: u32 = 4;

/// One curve.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// All of a picture.
#[derive(Debug, Clone)]
pub(super) struct Plot {
    pub(super) title: String,
    /// What the throughput goes over.
    pub(super) over: String,
    pub(super) unit: String,
    pub(super) throughput: Vec<Line>,
    /// In milliseconds, over the number of the percentile.
    pub(super) latencies: Vec<Line>,
}

/// A panel: where it stands, and what its greatest values are. Both axes begin at zero.
struct Panel {
    top: f64,
    x_max: f64,
    y_max: f64,
}

impl Panel {
    fn of(top: f64, lines: &[Line]) -> Self {
        let greatest =
            |value: fn(&(f64, f64)) -> f64| lines.iter().flat_map(|line| &line.points).map(value).fold(0.0, f64::max);
        Self { top, x_max: greatest(|point| point.0).max(1e-9), y_max: greatest(|point| point.1).max(1e-9) * 1.05 }
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + value / self.x_max * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        self.top + PANEL * (1.0 - value / self.y_max)
    }

    fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        // Writing to a string cannot fail.
        let _ = writeln!(svg, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#);
    }

    fn draw(&self, svg: &mut String, lines: &[Line], unit: &str, ticks: &[(f64, String)]) {
        for step in 0..=GRID {
            let value = self.y_max * f64::from(step) / f64::from(GRID);
            let y = self.y(value);
            let _ = writeln!(svg, r##"<path d="M{LEFT} {y:.1}H{:.1}" stroke="#ddd"/>"##, WIDTH - RIGHT);
            let digits = if self.y_max < 20.0 { 2 } else { 0 };
            Self::text(svg, (LEFT - 6.0, y + 4.0), "end", &format!("{value:.digits$}"));
        }
        for (value, name) in ticks {
            Self::text(svg, (self.x(*value), self.top + PANEL + 16.0), "middle", name);
        }
        Self::text(svg, (LEFT, self.top - 8.0), "start", unit);
        for (number, line) in lines.iter().enumerate() {
            let colour = COLOURS[number % COLOURS.len()];
            let points = line.points.iter().map(|(x, y)| format!("{:.1},{:.1}", self.x(*x), self.y(*y)));
            let points = points.collect::<Vec<_>>().join(" ");
            let _ = writeln!(svg, r#"<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{points}"/>"#);
            #[expect(clippy::cast_precision_loss, reason = "a picture has few lines")]
            let y = self.top + 12.0 + 16.0 * number as f64;
            let x = WIDTH - RIGHT + 10.0;
            let _ = writeln!(svg, r#"<path d="M{x:.1} {:.1}h16" stroke="{colour}" stroke-width="3"/>"#, y - 4.0);
            Self::text(svg, (x + 22.0, y), "start", &line.name);
        }
    }
}

impl Plot {
    #[expect(clippy::cast_precision_loss, reason = "there are few percentiles")]
    fn svg(&self) -> String {
        let height = TOP + 2.0 * PANEL + GAP + 40.0;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
             font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
        );
        Panel::text(&mut svg, (LEFT, 20.0), "start", &self.title);
        let above = Panel::of(TOP, &self.throughput);
        let ticks = (0..=GRID).map(|step| {
            let value = above.x_max * f64::from(step) / f64::from(GRID);
            (value, if step == GRID { format!("{value:.1} {}", self.over) } else { format!("{value:.1}") })
        });
        above.draw(&mut svg, &self.throughput, &self.unit, &ticks.collect::<Vec<_>>());
        let below = Panel::of(TOP + PANEL + GAP, &self.latencies);
        let names = percentile_names().into_iter().enumerate();
        let ticks: Vec<_> = names.map(|(number, name)| (number as f64, name)).collect();
        below.draw(&mut svg, &self.latencies, "latency, ms", &ticks);
        svg.push_str("</svg>\n");
        svg
    }

    /// Writes it into a file.
    pub(super) fn write(&self, path: &Path) -> Result<(), Failure> {
        std::fs::write(path, self.svg()).map_err(|error| Failure::usage(format!("--svg: {}: {error}", path.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_lie_within_their_panels_and_names_are_escaped() {
        let line = Line { name: "a<b".into(), points: vec![(0.0, 0.0), (2.0, 10.0)] };
        let plot = Plot {
            title: "t".into(),
            over: "seconds".into(),
            unit: "cycles/s".into(),
            throughput: vec![line.clone()],
            latencies: vec![line],
        };
        let svg = plot.svg();
        assert!(svg.contains("a&lt;b") && !svg.contains("a<b"), "{svg}");
        let panel = Panel::of(TOP, &plot.throughput);
        assert!((panel.x(2.0) - (WIDTH - RIGHT)).abs() < 1e-6 && panel.y(10.0) > TOP && panel.y(0.0) <= TOP + PANEL);
        assert!(svg.contains(&format!("points=\"{:.1},{:.1} ", panel.x(0.0), panel.y(0.0))), "{svg}");
    }

    #[test]
    fn a_run_without_any_work_is_drawn_too() {
        let empty = Vec::new();
        let plot = Plot {
            title: String::new(),
            over: String::new(),
            unit: String::new(),
            throughput: empty.clone(),
            latencies: empty,
        };
        assert!(!plot.svg().contains("NaN"));
    }
}
