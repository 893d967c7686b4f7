//! What a run came to, for people and for programs.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::load::{Outcome, Plan};
use super::plot::{Line, Plot};
use super::record::{Measure, Record, SLOT};
use crate::exit::Failure;
use crate::output::{self, Format, note};

/// Percentiles that are drawn.
const DRAWN: [f64; 7] = [0.0, 50.0, 75.0, 90.0, 99.0, 99.9, 100.0];

/// Latencies of one kind, in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub(super) struct LatencyJson {
    count: u64,
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl From<&Histogram<u64>> for LatencyJson {
    fn from(histogram: &Histogram<u64>) -> Self {
        let at = |quantile: f64| millis(histogram.value_at_quantile(quantile));
        Self {
            count: histogram.len(),
            mean: rounded(histogram.mean() / 1_000.0),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: millis(histogram.max()),
        }
    }
}

/// What `-o json` prints.
#[derive(Debug, Serialize)]
struct ReportJson<'a> {
    workload: &'a str,
    transport: &'a str,
    callers: usize,
    connections: usize,
    /// Locks that were held beside the load.
    held: usize,
    endpoints: &'a [String],
    seconds: f64,
    /// What is counted.
    unit: &'a str,
    count: u64,
    throughput_per_s: f64,
    latency_ms: BTreeMap<&'a str, LatencyJson>,
    over_time: OverTimeJson,
    error_count: u64,
    errors: &'a BTreeMap<String, u64>,
    /// Sessions that ended although they were kept alive.
    sessions_lost: u64,
    /// Of one core; absent where the leader's process is not known.
    leader_cpu_percent: Option<f64>,
}

#[derive(Debug, Serialize)]
struct OverTimeJson {
    interval_ms: u64,
    counts: Vec<u64>,
}

/// Microseconds as milliseconds.
#[expect(clippy::cast_precision_loss, reason = "latencies are bounded far below 2^53")]
fn millis(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}

/// To three digits behind the point.
pub(super) fn rounded(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}

pub(super) fn latencies(record: &Record) -> BTreeMap<&'static str, LatencyJson> {
    record.latencies().iter().map(|(measure, histogram)| (measure.name(), histogram.into())).collect()
}

/// Prints a run.
pub(super) fn print(plan: &Plan, outcome: &Outcome, format: Format) -> Result<(), Failure> {
    let record = &outcome.record;
    let error_count = record.errors().values().sum();
    match format {
        Format::Json => {
            output::json(&ReportJson {
                workload: plan.workload.name(),
                transport: if plan.unary { "unary" } else { "stream" },
                callers: plan.callers,
                connections: plan.connections,
                held: plan.held,
                endpoints: &plan.addresses,
                seconds: plan.length.as_secs_f64(),
                unit: plan.workload.unit(),
                count: record.work(),
                throughput_per_s: rounded(record.throughput()),
                latency_ms: latencies(record),
                over_time: OverTimeJson {
                    interval_ms: u64::try_from(SLOT.as_millis()).unwrap_or(0),
                    counts: record.slots(),
                },
                error_count,
                errors: record.errors(),
                sessions_lost: record.lost,
                leader_cpu_percent: outcome.leader_cpu_percent.map(rounded),
            })?;
        }
        Format::Table => {
            output::data(&format!("{:.0} {}/s", record.throughput(), plan.workload.unit()));
            latency_table(record);
            if let Some(percent) = outcome.leader_cpu_percent {
                output::data(&format!("leader CPU: {percent:.0} % of a core"));
            }
            if record.lost > 0 {
                output::data(&format!("sessions lost: {}", record.lost));
            }
        }
    }
    for (what, count) in record.errors() {
        note(&format!("leasehold: error: {what}, {count} times"));
    }
    Ok(())
}

/// The rows of a table of latencies, in milliseconds.
fn latency_table(record: &Record) {
    let row = |(measure, histogram): (&Measure, &Histogram<u64>)| {
        let at = |quantile: f64| format!("{:.3}", millis(histogram.value_at_quantile(quantile)));
        let name = measure.name().to_owned();
        [name, histogram.len().to_string(), at(0.5), at(0.9), at(0.99), at(0.999), at(1.0)]
    };
    output::table(["LATENCY (ms)", "COUNT", "P50", "P90", "P99", "P99.9", "MAX"], record.latencies().iter().map(row));
}

/// A picture of a run: throughput over time, latencies by percentile.
#[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^53")]
pub(super) fn plot(plan: &Plan, record: &Record) -> Plot {
    let slot_s = SLOT.as_secs_f64();
    let points =
        record.slots().iter().enumerate().map(|(slot, count)| (slot as f64 * slot_s, *count as f64 / slot_s)).collect();
    Plot {
        title: format!(
            "leasehold bench {}: {} callers, {} connections",
            plan.workload.name(),
            plan.callers,
            plan.connections
        ),
        over: "seconds".to_owned(),
        unit: format!("{}/s", plan.workload.unit()),
        throughput: vec![Line { name: plan.workload.unit().to_owned(), points }],
        latencies: record
            .latencies()
            .iter()
            .map(|(measure, histogram)| percentiles(measure.name(), histogram))
            .collect(),
    }
}

/// Latencies in milliseconds at the drawn percentiles, which are numbered in turn.
#[expect(clippy::cast_precision_loss, reason = "there are seven of them")]
pub(super) fn percentiles(name: &str, histogram: &Histogram<u64>) -> Line {
    let point = |(at, percentile): (usize, &f64)| (at as f64, millis(histogram.value_at_percentile(*percentile)));
    Line { name: name.to_owned(), points: DRAWN.iter().enumerate().map(point).collect() }
}

/// What the percentiles are called.
pub(super) fn percentile_names() -> Vec<String> {
    DRAWN.iter().map(|percentile| format!("p{percentile}")).collect()
}
