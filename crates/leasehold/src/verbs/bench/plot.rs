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

/// A panel: where it stands, and what its axes go to.
struct Panel {
    top: f64,
    x_max: f64,
    scale: Scale,
}

/// The upright axis.
#[derive(Debug, Clone, Copy)]
enum Scale {
    /// From zero to this.
    Linear(f64),
    /// From one power of ten to another.
    Decades(i32, i32),
}

/// Latencies below this, in ms, are drawn as this.
const LATENCY_MS_MIN: f64 = 0.01;

fn greatest(lines: &[Line], value: fn(&(f64, f64)) -> f64) -> f64 {
    lines.iter().flat_map(|line| &line.points).map(value).fold(0.0, f64::max)
}

impl Scale {
    fn linear(lines: &[Line]) -> Self {
        Self::Linear(greatest(lines, |point| point.1).max(1e-9) * 1.05)
    }

    #[expect(clippy::cast_possible_truncation, reason = "latencies span a few powers of ten")]
    fn decades(lines: &[Line]) -> Self {
        let values = || lines.iter().flat_map(|line| &line.points).map(|point| point.1.max(LATENCY_MS_MIN).log10());
        let (low, high) = (values().fold(0.0, f64::min).floor() as i32, values().fold(0.0, f64::max).ceil() as i32);
        Self::Decades(low, high.max(low + 1))
    }

    /// Where a value lies: 0 below, 1 above.
    fn share(self, value: f64) -> f64 {
        match self {
            Self::Linear(max) => value / max,
            Self::Decades(low, high) => (value.max(LATENCY_MS_MIN).log10() - f64::from(low)) / f64::from(high - low),
        }
    }

    /// Values with a line across the panel.
    fn ticks(self) -> Vec<f64> {
        match self {
            Self::Linear(max) => (0..=GRID).map(|step| max * f64::from(step) / f64::from(GRID)).collect(),
            Self::Decades(low, high) => (low..=high).map(|power| 10_f64.powi(power)).collect(),
        }
    }
}

impl Panel {
    fn of(top: f64, lines: &[Line], scale: Scale) -> Self {
        Self { top, x_max: greatest(lines, |point| point.0).max(1e-9), scale }
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + value / self.x_max * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        self.top + PANEL * (1.0 - self.scale.share(value))
    }

    fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        // Writing to a string cannot fail.
        let _ = writeln!(svg, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#);
    }

    fn draw(&self, svg: &mut String, lines: &[Line], unit: &str, ticks: &[(f64, String)]) {
        for value in self.scale.ticks() {
            let y = self.y(value);
            let _ = writeln!(svg, r##"<path d="M{LEFT} {y:.1}H{:.1}" stroke="#ddd"/>"##, WIDTH - RIGHT);
            let digits = if value < 20.0 && value != 0.0 { 2 } else { 0 };
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
        let above = Panel::of(TOP, &self.throughput, Scale::linear(&self.throughput));
        let ticks = (0..=GRID).map(|step| {
            let value = above.x_max * f64::from(step) / f64::from(GRID);
            (value, if step == GRID { format!("{value:.1} {}", self.over) } else { format!("{value:.1}") })
        });
        above.draw(&mut svg, &self.throughput, &self.unit, &ticks.collect::<Vec<_>>());
        let below = Panel::of(TOP + PANEL + GAP, &self.latencies, Scale::decades(&self.latencies));
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
        let panel = Panel::of(TOP, &plot.throughput, Scale::linear(&plot.throughput));
        assert!((panel.x(2.0) - (WIDTH - RIGHT)).abs() < 1e-6 && panel.y(10.0) > TOP && panel.y(0.0) <= TOP + PANEL);
        assert!(svg.contains(&format!("points=\"{:.1},{:.1} ", panel.x(0.0), panel.y(0.0))), "{svg}");
    }

    #[test]
    fn latencies_have_powers_of_ten_around_them() {
        let line = Line { name: String::new(), points: vec![(0.0, 0.0), (1.0, 0.5), (2.0, 230.0)] };
        let scale = Scale::decades(&[line]);
        assert!(matches!(scale, Scale::Decades(-2, 3)), "{scale:?}");
        assert!(scale.share(0.0).abs() < 1e-9 && (scale.share(1_000.0) - 1.0).abs() < 1e-9);
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
