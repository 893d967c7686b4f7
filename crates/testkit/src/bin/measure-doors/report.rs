//! The table: medians over the rounds with their spread, and each door beside redis-server.

use std::collections::BTreeMap;

use leasehold_testkit::numbers::Numbers;
use serde_json::json;

use crate::caller::Door;

/// One door under so many callers: a value of every round.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    rates: Vec<f64>,
    p50_ms: Vec<f64>,
    p99_ms: Vec<f64>,
}

impl Measured {
    pub(crate) fn add(&mut self, rate: f64, spans: &Numbers) {
        self.rates.push(rate);
        self.p50_ms.push(spans.at(50));
        self.p99_ms.push(spans.at(99));
    }
}

/// Prints the table, and returns the same for a program.
pub(crate) fn report(measured: &BTreeMap<(usize, Door), Measured>, through: &str) -> serde_json::Value {
    eprintln!("lock + unlock through {through}; medians of the rounds (least to greatest)");
    let mut rows = Vec::new();
    let mut last = 0;
    for ((callers, door), each) in measured {
        if *callers != last {
            eprintln!("\n{callers} callers{:>28}{:>26}{:>26}", "cycles/s", "acquire p50 ms", "acquire p99 ms");
            last = *callers;
        }
        let redis = measured.get(&(*callers, Door::RedisServer)).map(|redis| median(&redis.rates));
        let ratio = redis.map(|redis| median(&each.rates) / redis);
        let shown = ratio.map(|ratio| format!("{ratio:.2} × redis-server")).unwrap_or_default();
        let (rate, p50, p99) = (spread(&each.rates, 0), spread(&each.p50_ms, 2), spread(&each.p99_ms, 2));
        eprintln!("{:14}{rate:>25}{p50:>26}{p99:>26}   {shown}", door.name());
        rows.push(json!({
            "door": door.name(), "callers": callers, "cycles_per_s": each.rates, "p50_ms": each.p50_ms,
            "p99_ms": each.p99_ms, "rate_by_redis_server": ratio,
        }));
    }
    json!({"through": through, "measured": rows})
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn spread(values: &[f64], decimals: usize) -> String {
    let least = values.iter().copied().fold(f64::NAN, f64::min);
    let greatest = values.iter().copied().fold(f64::NAN, f64::max);
    format!("{:.decimals$} ({least:.decimals$}–{greatest:.decimals$})", median(values))
}
