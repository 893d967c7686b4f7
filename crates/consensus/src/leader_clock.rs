//! The clock that a leader writes into the log (DESIGN section 3).

use std::time::Duration;

use leasehold_state_machine::{LeaderStamp, LogTime, STEP_MS_MAX};

const MICROS_PER_MS: u64 = 1_000;
const STEP_MICROS_MAX: u64 = STEP_MS_MAX * MICROS_PER_MS;

/// Log time as the present leader counts it, in µs: starts at the applied `now` once the leader has applied an entry of
/// its own leader id, runs on the monotonic clock at rate `1 − drift_max`, and never leads applied `now` by more than
/// `max_step`. What exceeds that is dropped and never caught up: an outage is not counted against holders.
#[derive(Debug)]
pub(crate) struct LeaderClock {
    drift_max_ppm: u32,
    running: Option<Running>,
    /// Time that was dropped so far while something could have run out, for the metric.
    dropped: Duration,
}

#[derive(Debug)]
struct Running {
    leader: LeaderStamp,
    /// The clock showed this many µs of log time …
    base_micros: u64,
    /// … at this real time; it is computed from there, so that reading it often costs no rounding.
    base_at: Duration,
}

impl LeaderClock {
    pub(crate) fn new(drift_max_ppm: u32) -> Self {
        assert!(drift_max_ppm < 1_000_000, "a clock must run forward");
        Self { drift_max_ppm, running: None, dropped: Duration::ZERO }
    }

    /// The leader id that the clock runs under.
    pub(crate) fn leader(&self) -> Option<LeaderStamp> {
        self.running.as_ref().map(|running| running.leader)
    }

    /// Starts the clock at the applied `now`: the leader has applied its first entry. Does nothing when it runs for this
    /// leader id already.
    pub(crate) fn start(&mut self, leader: LeaderStamp, applied: LogTime, real: Duration) {
        if self.leader() != Some(leader) {
            self.running = Some(Running { leader, base_micros: applied.0 * MICROS_PER_MS, base_at: real });
        }
    }

    /// Stops the clock: this node does not lead any more.
    pub(crate) fn stop(&mut self) {
        self.running = None;
    }

    /// The clock's reading at real time `real`, in µs of log time, after clamping it to `applied + max_step`. Called before
    /// every stamp, and before the applied `now` moves on: else what had been held up would be caught up in steps. With nothing
    /// `pending` nobody is owed what is dropped: the log of an idle cluster stands still.
    pub(crate) fn advance(&mut self, applied: LogTime, real: Duration, pending: bool) -> Option<u64> {
        let running = self.running.as_mut()?;
        let elapsed = real.saturating_sub(running.base_at).as_micros();
        let slowed = elapsed * u128::from(1_000_000 - self.drift_max_ppm) / 1_000_000;
        let reading = running.base_micros.saturating_add(u64::try_from(slowed).unwrap_or(u64::MAX));
        let bound = (applied.0 * MICROS_PER_MS).saturating_add(STEP_MICROS_MAX);
        if reading <= bound {
            return Some(reading);
        }
        if pending {
            self.dropped += Duration::from_micros(reading - bound);
        }
        running.base_micros = bound;
        running.base_at = real;
        Some(bound)
    }

    /// Log time to write into an entry, rounded down, and the leader id it is stamped under.
    pub(crate) fn stamp(&mut self, applied: LogTime, real: Duration, pending: bool) -> Option<(LogTime, LeaderStamp)> {
        let micros = self.advance(applied, real, pending)?;
        Some((LogTime(micros / MICROS_PER_MS), self.leader()?))
    }

    /// Real time until a stamp would be later than `deadline`, so that what ends there is due. None: the clock stands.
    pub(crate) fn until_past(&self, deadline: LogTime, real: Duration) -> Option<Duration> {
        let running = self.running.as_ref()?;
        let target = deadline.0.saturating_add(1).saturating_mul(MICROS_PER_MS);
        let log_micros = target.saturating_sub(running.base_micros);
        let real_micros = u128::from(log_micros) * 1_000_000 / u128::from(1_000_000 - self.drift_max_ppm) + 1;
        let at = running.base_at + Duration::from_micros(u64::try_from(real_micros).unwrap_or(u64::MAX));
        Some(at.saturating_sub(real))
    }

    /// Time that was dropped since the process started, while something was pending.
    pub(crate) fn dropped(&self) -> Duration {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEADER: LeaderStamp = LeaderStamp { term: 3, node: 1 };

    fn clock() -> LeaderClock {
        let mut clock = LeaderClock::new(1_000);
        clock.start(LEADER, LogTime(5_000), Duration::from_secs(100));
        clock
    }

    #[test]
    fn starts_at_applied_time_and_runs_slower_by_the_drift_bound() {
        let mut clock = clock();
        assert_eq!(clock.stamp(LogTime(5_000), Duration::from_secs(100), true), Some((LogTime(5_000), LEADER)));
        assert_eq!(clock.stamp(LogTime(5_000), Duration::from_millis(100_500), true), Some((LogTime(5_499), LEADER)));
    }

    #[test]
    fn a_stamp_leads_applied_time_by_one_step_at_most_and_the_rest_is_dropped() {
        let mut clock = clock();
        assert_eq!(clock.stamp(LogTime(5_000), Duration::from_secs(130), true), Some((LogTime(6_000), LEADER)));
        assert!(clock.dropped() > Duration::from_secs(28));
        // The entry is applied at once; nothing of the 29 s comes back.
        assert_eq!(clock.stamp(LogTime(6_000), Duration::from_millis(130_010), true), Some((LogTime(6_009), LEADER)));
    }

    #[test]
    fn what_is_dropped_while_nothing_is_pending_is_not_told() {
        let mut clock = clock();
        assert_eq!(clock.stamp(LogTime(5_000), Duration::from_secs(130), false), Some((LogTime(6_000), LEADER)));
        assert_eq!(clock.dropped(), Duration::ZERO);
    }

    #[test]
    fn an_outage_under_a_surviving_leader_is_not_counted() {
        // etcd-like schedule: an entry was stamped before the quorum was lost and commits 30 s later.
        let mut clock = clock();
        let (first, _) = clock.stamp(LogTime(5_000), Duration::from_millis(100_100), true).unwrap();
        clock.advance(LogTime(5_000), Duration::from_secs(130), true);
        let (next, _) = clock.stamp(first, Duration::from_millis(130_001), true).unwrap();
        assert!(next.0 <= 5_000 + STEP_MS_MAX + 1, "{next}");
        let (later, _) = clock.stamp(next, Duration::from_millis(130_051), true).unwrap();
        assert!(later.0 - next.0 <= 50, "{later} after {next}");
    }

    #[test]
    fn reading_it_often_does_not_stop_it() {
        let mut clock = clock();
        for micros in 0..200_000_u64 {
            clock.advance(LogTime(5_000), Duration::from_micros(100_000_000 + micros), true);
        }
        let (stamp, _) = clock.stamp(LogTime(5_000), Duration::from_millis(100_200), true).unwrap();
        assert!((5_198..=5_200).contains(&stamp.0), "{stamp}");
    }

    #[test]
    fn waking_at_until_past_gives_a_stamp_that_is_past() {
        let mut clock = clock();
        let start = Duration::from_secs(100);
        let wait = clock.until_past(LogTime(5_700), start).unwrap();
        let (stamp, _) = clock.stamp(LogTime(5_000), start + wait, true).unwrap();
        assert_eq!(stamp, LogTime(5_701));
        let (before, _) =
            self::clock().stamp(LogTime(5_000), start + wait - Duration::from_micros(1_100), true).unwrap();
        assert!(before <= LogTime(5_700));
    }

    #[test]
    fn another_leader_id_starts_anew_and_the_same_one_does_not() {
        let mut clock = clock();
        clock.start(LEADER, LogTime(9_000), Duration::from_secs(101));
        assert_eq!(clock.stamp(LogTime(5_000), Duration::from_secs(100), true).unwrap().0, LogTime(5_000));
        let next = LeaderStamp { term: 4, node: 1 };
        clock.start(next, LogTime(9_000), Duration::from_secs(101));
        assert_eq!(clock.stamp(LogTime(9_000), Duration::from_secs(101), true), Some((LogTime(9_000), next)));
    }
}
