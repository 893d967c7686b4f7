//! The figures of the page, as SVG.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::super::fault::{Fault, Occupies};
use super::page::escape;
use super::{FaultLine, RunReport, Second};

const WIDTH: f64 = 1_160.0;
const LEFT: f64 = 70.0;
const BAR: f64 = 11.0;
const LANE_GAP: f64 = 8.0;
/// Faults that overlap on one victim are drawn below one another, in so many rows.
const ROWS_MAX: usize = 4;
const SERVICE_HEIGHT: f64 = 130.0;

/// Kinds of faults, each with its colour.
const KINDS: [(&str, &str); 6] = [
    ("process", "#4878b0"),
    ("network", "#d98032"),
    ("clock", "#8a63b5"),
    ("disk", "#3d9a76"),
    ("restart", "#7a8494"),
    ("no answers", "#d64545"),
];
const LEADS: &str = "#1c2330";

fn colour(fault: Fault) -> &'static str {
    let at = match (fault, fault.occupies()) {
        (_, Occupies::Links | Occupies::Ports) => 1,
        (Fault::MonotonicOffset, _) | (_, Occupies::Clocks) => 2,
        (
            Fault::Wiped
            | Fault::Swapped
            | Fault::Damaged
            | Fault::DiskFull
            | Fault::PowerCut
            | Fault::FsyncFails
            | Fault::FsyncSlow,
            _,
        ) => 3,
        (_, Occupies::Everything) => 4,
        _ => 0,
    };
    KINDS[at].1
}

pub(super) fn key() -> String {
    let mut key = String::from("<p class=key>");
    for (name, colour) in KINDS.into_iter().chain([("leads", LEADS)]) {
        let _ = write!(key, "<i style='background:{colour}'></i>{name}");
    }
    key + "</p>"
}

fn length_ms(report: &RunReport) -> f64 {
    let faults = report.faults.iter().map(|fault| fault.until_ms).max().unwrap_or(0) as f64;
    let seconds = report.by_second.iter().map(|second| (second.second + 1) * 1_000).max().unwrap_or(1) as f64;
    faults.max(seconds).max(1.0)
}

fn x(ms: u64, length: f64) -> f64 {
    LEFT + (ms as f64).min(length) / length * (WIDTH - LEFT - 5.0)
}

/// Bars of faults, a lane for every victim; who led; when nobody was answered.
pub(super) fn timeline(report: &RunReport) -> String {
    let length = length_ms(report);
    // Nodes come first, then all of them, then clients.
    let place = |victim: &str| (victim.starts_with("client"), victim.starts_with("all"), victim.to_owned());
    let mut lanes: BTreeMap<_, Vec<&FaultLine>> = BTreeMap::new();
    for node in 1..=3 {
        lanes.insert(place(&format!("node {node}")), Vec::new());
    }
    for fault in &report.faults {
        lanes.entry(place(&fault.victim)).or_default().push(fault);
    }
    let (mut body, mut y) = (String::new(), 8.0);
    for ((_, _, victim), faults) in &lanes {
        y = lane(&mut body, report, victim, faults, y, length);
    }
    let _ = write!(body, "<text x=0 y={}>service</text>", y + BAR);
    for gap in &report.gaps {
        let (from, until) = (x(gap.from_ms, length), x(gap.from_ms + gap.length_ms, length));
        let _ = write!(
            body,
            "<rect x={from:.1} y={y} width={:.1} height={BAR} fill='{}'><title>{} ms without an answer</title></rect>",
            (until - from).max(1.0),
            KINDS[5].1,
            gap.length_ms
        );
    }
    y += BAR + LANE_GAP;
    axis(&mut body, y, length);
    format!("<svg viewBox='0 0 {WIDTH} {}'>{body}</svg>", y + 22.0)
}

fn lane(body: &mut String, report: &RunReport, victim: &str, faults: &[&FaultLine], top: f64, length: f64) -> f64 {
    let _ = write!(body, "<text x=0 y={}>{victim}</text>", top + BAR);
    let mut busy_until = [0; ROWS_MAX];
    let mut rows = 1;
    for fault in faults {
        // The first row that is free, or the last one.
        let row = busy_until.iter().position(|until| *until <= fault.from_ms).unwrap_or(ROWS_MAX - 1);
        busy_until[row] = busy_until[row].max(fault.until_ms);
        rows = rows.max(row + 1);
        let (from, until) = (x(fault.from_ms, length), x(fault.until_ms, length));
        let (width, y) = ((until - from).max(2.0), top + row as f64 * (BAR + 2.0));
        let _ = write!(
            body,
            "<rect x={from:.1} y={y:.1} width={width:.1} height={BAR} rx=2 fill='{}'><title>{} of {}, {}–{} ms; {}</title></rect>",
            colour(fault.fault),
            fault.fault,
            fault.role,
            fault.from_ms,
            fault.until_ms,
            escape(&fault.notes.join("; "))
        );
        let name = fault.fault.to_string();
        if width > name.len() as f64 * 5.6 + 4.0 {
            let _ = write!(
                body,
                "<text x={:.1} y={:.1} style='fill:#fff;font-size:9px'>{name}</text>",
                from + 3.0,
                y + 8.5
            );
        }
    }
    let bottom = top + rows as f64 * (BAR + 2.0);
    leads(body, report, victim, bottom, length);
    bottom + 4.0 + LANE_GAP
}

/// A line below the lane of whoever leads.
fn leads(body: &mut String, report: &RunReport, victim: &str, y: f64, length: f64) {
    for (at, (from, leader)) in report.reigns.iter().enumerate() {
        if leader.is_some_and(|leader| victim == format!("node {leader}")) {
            let until = report.reigns.get(at + 1).map_or(f64::INFINITY, |(until, _)| *until as f64).min(length);
            let (from, until) = (x(*from, length), LEFT + until / length * (WIDTH - LEFT - 5.0));
            let width = (until - from).max(0.0);
            let _ = write!(body, "<rect x={from:.1} y={y:.1} width={width:.1} height=2.5 fill='{LEADS}'/>");
        }
    }
}

fn axis(body: &mut String, y: f64, length: f64) {
    let seconds = length / 1_000.0;
    let step = [1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0];
    let step = step.into_iter().find(|step| seconds / step <= 16.0).unwrap_or(3_600.0);
    let _ = write!(body, "<path d='M{LEFT} {y}H{WIDTH}' stroke='#a4acb9'/>");
    let mut at = 0.0;
    while at <= seconds {
        let x = x((at * 1_000.0) as u64, length);
        let _ = write!(
            body,
            "<path d='M{x:.1} {y}v4' stroke='#a4acb9'/><text x={x:.1} y={} text-anchor=middle>{at:.0} s</text>",
            y + 16.0
        );
        at += step;
    }
}

/// Answers a second as bars, latencies as lines over them, on a scale of powers of ten.
pub(super) fn service(report: &RunReport) -> String {
    let length = length_ms(report);
    let most = report.by_second.iter().map(|second| second.answered).max().unwrap_or(1).max(1) as f64;
    let width = (x(1_000, length) - LEFT).max(0.5);
    let mut body = String::new();
    for second in &report.by_second {
        let height = second.answered as f64 / most * SERVICE_HEIGHT;
        let _ = write!(
            body,
            "<rect x={:.1} y={:.1} width={:.2} height={height:.1} fill='#dfe6f1'><title>second {}: {} answers</title></rect>",
            x(second.second * 1_000, length),
            SERVICE_HEIGHT - height + 8.0,
            (width - 0.5).max(0.4),
            second.second,
            second.answered
        );
    }
    for (power, label) in [(0, "1 ms"), (1, "10 ms"), (2, "100 ms"), (3, "1 s"), (4, "10 s")] {
        let y = latency_y(10_f64.powi(power));
        let _ = write!(
            body,
            "<path d='M{LEFT} {y:.1}H{WIDTH}' stroke='#eceff4'/><text x=0 y={:.1}>{label}</text>",
            y + 4.0
        );
    }
    line(&mut body, report, "#3d9a76", length, |second| second.p50_ms);
    line(&mut body, report, "#d64545", length, |second| second.p99_ms);
    axis(&mut body, SERVICE_HEIGHT + 10.0, length);
    let key = format!(
        "<p class=key><i style='background:#dfe6f1'></i>answers a second, {most:.0} at most<i style='background:#3d9a76'></i>p50\
               <i style='background:#d64545'></i>p99 of calls that wait for nobody, logarithmic</p>"
    );
    format!("<svg viewBox='0 0 {WIDTH} {}'>{body}</svg>{key}", SERVICE_HEIGHT + 32.0)
}

/// 0.3 ms is at the bottom, 10 s at the top.
fn latency_y(ms: f64) -> f64 {
    let share = (ms.max(0.3).log10() + 0.52) / 4.52;
    8.0 + SERVICE_HEIGHT * (1.0 - share.clamp(0.0, 1.0))
}

fn line(body: &mut String, report: &RunReport, colour: &str, length: f64, value: impl Fn(&Second) -> Option<f64>) {
    let mut points = String::new();
    for second in &report.by_second {
        if let Some(ms) = value(second) {
            let _ = write!(points, "{:.1},{:.1} ", x(second.second * 1_000 + 500, length), latency_y(ms));
        }
    }
    let _ = write!(body, "<polyline points='{points}' fill='none' stroke='{colour}' stroke-width='1.5'/>");
}
