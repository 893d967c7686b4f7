//! Apply must not run away from the checkpoint.
//!
//! What changes while a checkpoint is written goes into the next one. Where rows change faster than they are written, each checkpoint
//! would be larger than the one before it, and all its rows are encoded at once under the tables' lock: with a million leases due at once
//! that took so long that followers missed their leader's heartbeats. So beyond a number of changed rows every entry waits for as long as
//! the checkpoint will take for the rows that this entry added. Rows that change again, or come and go, add nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Changed rows up to which nobody waits: what half a second of checkpoints takes.
const UNPACED_ROWS: usize = 40_000;
/// Rows of a checkpoint from which on it tells how long one takes.
const TELLING_ROWS: usize = 1_000;
/// Longest time that one row is counted with: a disk that hangs is not to stop apply for hours.
const ROW_MAX: Duration = Duration::from_micros(100);
/// Shorter waits are saved up: a timer is no finer.
const WAIT_MIN: Duration = Duration::from_millis(2);
/// Longest wait of one entry.
const WAIT_MAX: Duration = Duration::from_millis(250);

/// What the checkpoint takes for a row, as the last one of some size told.
#[derive(Debug, Default)]
pub(crate) struct CheckpointRate {
    row_ns: AtomicU64,
}

impl CheckpointRate {
    /// A checkpoint of so many rows took so long.
    pub(crate) fn note(&self, rows: usize, spent: Duration) {
        if rows >= TELLING_ROWS {
            let row = (spent / u32::try_from(rows).unwrap_or(u32::MAX)).min(ROW_MAX);
            self.row_ns.store(u64::try_from(row.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    fn row(&self) -> Duration {
        Duration::from_nanos(self.row_ns.load(Ordering::Relaxed))
    }
}

/// How far apply is ahead. Of the one applier.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pace {
    changed: usize,
    owed: Duration,
}

impl Pace {
    /// An entry was applied, and so many rows have changed since the last checkpoint. Some: wait for so long.
    pub(crate) fn applied(&mut self, changed: usize, rate: &CheckpointRate) -> Option<Duration> {
        let added = changed.saturating_sub(self.changed);
        self.changed = changed;
        if changed <= UNPACED_ROWS {
            self.owed = Duration::ZERO;
            return None;
        }
        self.owed += rate.row() * u32::try_from(added).unwrap_or(u32::MAX);
        (self.owed >= WAIT_MIN).then(|| std::mem::take(&mut self.owed).min(WAIT_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate_of(row: Duration) -> CheckpointRate {
        let rate = CheckpointRate::default();
        rate.note(10_000, row * 10_000);
        rate
    }

    #[test]
    fn nobody_waits_while_few_rows_have_changed_or_nothing_is_known_of_the_checkpoint() {
        let mut pace = Pace::default();
        assert_eq!(pace.applied(UNPACED_ROWS, &rate_of(ROW_MAX)), None);
        assert_eq!(pace.applied(10 * UNPACED_ROWS, &CheckpointRate::default()), None);
        // Too few rows to tell.
        let rate = CheckpointRate::default();
        rate.note(TELLING_ROWS - 1, Duration::from_secs(1));
        assert_eq!(pace.applied(20 * UNPACED_ROWS, &rate), None);
    }

    #[test]
    fn an_entry_waits_for_what_it_added() {
        let (mut pace, rate) = (Pace::default(), rate_of(Duration::from_micros(10)));
        assert_eq!(pace.applied(UNPACED_ROWS, &rate), None);
        assert_eq!(pace.applied(UNPACED_ROWS + 1_000, &rate), Some(Duration::from_millis(10)));
        // The same rows again.
        assert_eq!(pace.applied(UNPACED_ROWS + 1_000, &rate), None);
        // A checkpoint began: what it took is changed no more.
        assert_eq!(pace.applied(100, &rate), None);
        assert_eq!(pace.applied(UNPACED_ROWS + 100, &rate), Some(WAIT_MAX));
    }

    #[test]
    fn little_is_saved_up() {
        let (mut pace, rate) = (Pace::default(), rate_of(Duration::from_micros(10)));
        pace.applied(UNPACED_ROWS, &rate);
        assert_eq!(pace.applied(UNPACED_ROWS + 150, &rate), None);
        assert_eq!(pace.applied(UNPACED_ROWS + 250, &rate), Some(Duration::from_micros(2_500)));
    }

    #[test]
    fn a_disk_that_hangs_does_not_stop_apply() {
        let (mut pace, rate) = (Pace::default(), CheckpointRate::default());
        rate.note(TELLING_ROWS, Duration::from_secs(3_600));
        pace.applied(UNPACED_ROWS, &rate);
        assert_eq!(pace.applied(UNPACED_ROWS + 1_000, &rate), Some(ROW_MAX * 1_000));
        assert_eq!(pace.applied(usize::MAX, &rate), Some(WAIT_MAX));
    }
}
