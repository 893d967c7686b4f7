//! How the cluster served: gaps, calls, latencies.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::ms;
use crate::clock::Moment;
use crate::history::{Call, Record};
use crate::numbers::Numbers;

/// Shorter times without an answer are no gap.
const GAP_MS_MIN: u64 = 250;

/// A time without any answer to any client.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Gap {
    /// From.
    pub from_ms: u64,
    /// How long.
    pub length_ms: u64,
}

impl Gap {
    pub(super) fn between(from: Moment, until: Moment, started: Moment) -> Self {
        Self { from_ms: ms(from, started), length_ms: ms(until, from) }
    }
}

/// One second of a run.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Second {
    /// Which one.
    pub second: u64,
    /// Calls that were answered in it.
    pub answered: usize,
    /// Half of the calls that wait for nobody were answered within …
    pub p50_ms: Option<f64>,
    /// … and 99 of a hundred within.
    pub p99_ms: Option<f64>,
}

/// Many of them, in ms.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Gaps {
    /// How many.
    pub count: usize,
    /// Half of them were no longer.
    pub p50_ms: u64,
    /// 99 of a hundred were no longer.
    pub p99_ms: u64,
    /// The longest.
    pub max_ms: u64,
    /// All together.
    pub sum_ms: u64,
}

impl Gaps {
    pub(super) fn of(gaps: &[Gap]) -> Self {
        let numbers = Numbers::new(gaps.iter().map(|gap| Duration::from_millis(gap.length_ms)).collect());
        // Of none, all are 0.
        let at = |percent| numbers.at(percent) as u64;
        let sum_ms = gaps.iter().map(|gap| gap.length_ms).sum();
        Self { count: gaps.len(), p50_ms: at(50), p99_ms: at(99), max_ms: at(100), sum_ms }
    }
}

pub(super) fn gaps<'a>(answers: impl Iterator<Item = &'a Record>, started: Moment) -> Vec<Gap> {
    let mut moments: Vec<Moment> = answers.filter_map(|record| record.complete).collect();
    moments.sort_unstable();
    let pairs = moments.windows(2).filter(|pair| pair[0] >= started);
    let gaps = pairs.map(|pair| Gap::between(pair[0], pair[1], started));
    gaps.filter(|gap| gap.length_ms >= GAP_MS_MIN).collect()
}

pub(super) fn by_second<'a>(answers: impl Iterator<Item = &'a Record>, started: Moment) -> Vec<Second> {
    let mut seconds: BTreeMap<u64, (usize, Vec<Duration>)> = BTreeMap::new();
    for record in answers {
        let Some(done) = record.complete.filter(|done| *done >= started) else { continue };
        let (answered, latencies) = seconds.entry(ms(done, started) / 1_000).or_default();
        *answered += 1;
        if !waits(record) {
            latencies.push(done.since(record.sent()));
        }
    }
    let second = |(second, (answered, latencies)): (u64, (usize, Vec<Duration>))| {
        let numbers = (!latencies.is_empty()).then(|| Numbers::new(latencies));
        let at = |percent| numbers.as_ref().map(|numbers| numbers.at(percent));
        Second { second, answered, p50_ms: at(50), p99_ms: at(99) }
    };
    seconds.into_iter().map(second).collect()
}

/// Its answer may take long because others hold the lock.
fn waits(record: &Record) -> bool {
    matches!(&record.call, Call::Acquire(acquire) if acquire.wait_ms.is_some())
}
