//! What one run counts: latencies, work over time, errors.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use hdrhistogram::Histogram;
use leasehold_client::clock::Moment;

/// Work is counted in slots of this length.
pub(super) const SLOT: Duration = Duration::from_millis(100);
/// Longest latency that is told apart, in µs. What takes longer counts as this.
const LATENCY_US_MAX: u64 = 600_000_000;
/// Digits of a latency that are kept.
const DIGITS: u8 = 3;
/// Kinds of errors that are told apart; further ones are counted together.
const ERROR_KINDS_MAX: usize = 32;

/// What takes time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Measure {
    /// From an acquire's first send to its grant.
    Acquire,
    /// From a release's first send to its answer.
    Release,
    /// From a try's first send to the answer that the lock is held.
    Held,
    /// From the send of a release to the arrival of the next one's grant.
    Handover,
    /// From the send of a linearizable read to its answer.
    Get,
    /// From the send of a renewal of many leases to its answer.
    Renew,
    /// From the promised end of a lease to the arrival of the next one's grant.
    Lag,
    /// Acquire and release of the load beside what is measured.
    Background,
}

impl Measure {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Acquire => "acquire",
            Self::Release => "release",
            Self::Held => "held",
            Self::Handover => "handover",
            Self::Get => "get",
            Self::Renew => "renew",
            Self::Lag => "lag",
            Self::Background => "background",
        }
    }
}

/// The time that is measured; what happens before and after is not counted, errors apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) from: Moment,
    pub(super) until: Moment,
}

impl Window {
    fn holds(&self, now: Moment) -> bool {
        now >= self.from && now < self.until
    }

    pub(super) fn length(&self) -> Duration {
        self.until.since(self.from)
    }
}

/// The counts of one connection, or of several together.
#[derive(Debug, Default)]
pub(super) struct Record {
    window: Option<Window>,
    latencies: BTreeMap<Measure, Histogram<u64>>,
    /// Units of work, and how many of them ended in each slot of the window.
    work: u64,
    slots: Vec<u64>,
    errors: BTreeMap<String, u64>,
    /// Sessions that ended although they were kept alive.
    pub(super) lost: u64,
}

impl Record {
    /// From now on what falls into `window` is counted.
    pub(super) fn open(&mut self, window: Window) {
        self.window = Some(window);
    }

    /// Something of this kind has ended now, after `took`.
    pub(super) fn took(&mut self, measure: Measure, took: Duration, now: Moment) {
        if self.window.is_some_and(|window| window.holds(now)) {
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
            if let Some(histogram) = self.histogram(measure) {
                histogram.saturating_record(micros);
            }
        }
    }

    /// So many units of the work that the workload counts have been done now.
    pub(super) fn worked(&mut self, units: u64, now: Moment) {
        let Some(window) = self.window.filter(|window| window.holds(now)) else { return };
        self.work += units;
        let slot = now.since(window.from).as_millis() / SLOT.as_millis();
        let slot = usize::try_from(slot).unwrap_or(usize::MAX);
        if slot >= self.slots.len() {
            self.slots.resize(slot + 1, 0);
        }
        self.slots[slot] += units;
    }

    /// Something went wrong, at whatever time.
    pub(super) fn error(&mut self, what: &str) {
        if let Some(count) = self.errors.get_mut(what) {
            *count += 1;
            return;
        }
        let kind = if self.errors.len() < ERROR_KINDS_MAX { what } else { "others" };
        *self.errors.entry(kind.to_owned()).or_default() += 1;
    }

    fn histogram(&mut self, measure: Measure) -> Option<&mut Histogram<u64>> {
        match self.latencies.entry(measure) {
            Entry::Occupied(histogram) => Some(histogram.into_mut()),
            // The bounds are constants that a histogram can have.
            Entry::Vacant(place) => Some(place.insert(Histogram::new_with_bounds(1, LATENCY_US_MAX, DIGITS).ok()?)),
        }
    }

    /// Takes the counts of another connection, or of another round, in.
    pub(super) fn merge(&mut self, other: &Self) {
        self.window = self.window.or(other.window);
        for (measure, histogram) in &other.latencies {
            if let Some(mine) = self.histogram(*measure) {
                // Both have the same bounds.
                let _ = mine.add(histogram);
            }
        }
        self.work += other.work;
        if self.slots.len() < other.slots.len() {
            self.slots.resize(other.slots.len(), 0);
        }
        self.slots.iter_mut().zip(&other.slots).for_each(|(mine, theirs)| *mine += theirs);
        for (what, count) in &other.errors {
            *self.errors.entry(what.clone()).or_default() += count;
        }
        self.lost += other.lost;
    }

    pub(super) fn work(&self) -> u64 {
        self.work
    }

    /// Units a second, over the whole window.
    pub(super) fn throughput(&self) -> f64 {
        let seconds = self.window.map_or(0.0, |window| window.length().as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "a count of work done in a run is far below 2^53")]
        if seconds > 0.0 { self.work as f64 / seconds } else { 0.0 }
    }

    /// Units in each slot of the window; a last one that is not whole is left out.
    pub(super) fn slots(&self) -> Vec<u64> {
        let whole = self.window.map_or(0, |window| window.length().as_millis() / SLOT.as_millis());
        let mut slots = self.slots.clone();
        slots.resize(usize::try_from(whole).unwrap_or(0), 0);
        slots
    }

    pub(super) fn latencies(&self) -> &BTreeMap<Measure, Histogram<u64>> {
        &self.latencies
    }

    pub(super) fn errors(&self) -> &BTreeMap<String, u64> {
        &self.errors
    }
}

#[cfg(test)]
mod tests {
    use leasehold_client::clock::Clock;

    use super::*;

    fn second() -> (Record, Moment) {
        let start = Clock::system().now();
        let mut record = Record::default();
        record.open(Window { from: start, until: start.after(Duration::from_secs(1)) });
        (record, start)
    }

    #[test]
    fn only_what_ends_in_the_window_counts() {
        let (mut record, start) = second();
        for millis in [0, 250, 999, 1_000, 5_000] {
            let now = start.after(Duration::from_millis(millis));
            record.worked(1, now);
            record.took(Measure::Acquire, Duration::from_millis(3), now);
        }
        assert_eq!(record.work(), 3);
        assert!((record.throughput() - 3.0).abs() < 1e-9);
        assert_eq!(record.slots(), [1, 0, 1, 0, 0, 0, 0, 0, 0, 1]);
        let acquire = &record.latencies()[&Measure::Acquire];
        assert_eq!((acquire.len(), acquire.value_at_quantile(0.5) / 10), (3, 300));
    }

    #[test]
    fn records_of_connections_add_up() {
        let (mut one, start) = second();
        let (mut other, other_start) = second();
        one.worked(2, start);
        other.worked(3, other_start);
        other.took(Measure::Release, Duration::from_secs(3_600), other_start);
        one.error("UNAVAILABLE");
        other.error("UNAVAILABLE");
        other.lost = 1;
        one.merge(&other);
        assert_eq!((one.work(), one.lost, one.errors()["UNAVAILABLE"]), (5, 1, 2));
        assert!(one.latencies()[&Measure::Release].max() >= LATENCY_US_MAX / 2, "too long is the longest");
    }

    #[test]
    fn kinds_of_errors_are_bounded_and_none_is_lost() {
        let mut record = Record::default();
        for number in 0..2 * ERROR_KINDS_MAX {
            record.error(&number.to_string());
        }
        assert_eq!(record.errors().len(), ERROR_KINDS_MAX + 1);
        assert_eq!(record.errors().values().sum::<u64>(), 2 * u64::try_from(ERROR_KINDS_MAX).unwrap());
    }
}
