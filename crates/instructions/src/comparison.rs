//! What a count is worth beside its baseline.

use crate::RENEW;

/// Of one benchmark.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// Within the tolerance.
    Kept,
    /// Above the tolerance: the code became slower. The only verdict on a count that fails.
    Slower {
        /// Percent above the baseline.
        by_percent: f64,
    },
    /// Below the tolerance: the baseline should follow, or the next who takes it back is not noticed.
    Faster {
        /// Percent below the baseline.
        by_percent: f64,
    },
    /// The committed file does not know this benchmark: fails.
    NoBaseline,
}

impl Verdict {
    /// Whether it fails the run.
    #[must_use]
    pub fn fails(&self) -> bool {
        matches!(self, Self::Slower { .. } | Self::NoBaseline)
    }

    /// What is to be done, for people; None where nothing is.
    #[must_use]
    pub fn message(&self, name: &str, baseline: Option<f64>, counted: f64, tolerance_percent: f64) -> Option<String> {
        let baseline = baseline.unwrap_or_default();
        match self {
            Self::Kept => None,
            Self::Slower { by_percent } => Some(format!(
                "FAILED {name}: {counted:.1} instructions per operation were counted, the baseline is {baseline:.1}: {by_percent:.1} % more, \
                 and the tolerance is {tolerance_percent} %.\n    If that is the price of something, say so in the commit, and renew: {RENEW} {name}"
            )),
            Self::Faster { by_percent } => Some(format!(
                "LOWER THE BASELINE of {name}: {counted:.1} instructions per operation were counted, the baseline is {baseline:.1}: \
                 {by_percent:.1} % less, and the tolerance is {tolerance_percent} %.\n    Keep what was won: {RENEW} {name}"
            )),
            Self::NoBaseline => Some(format!(
                "FAILED {name}: it has no baseline; {counted:.1} instructions per operation were counted.\n    Give it one: {RENEW} {name}"
            )),
        }
    }
}

/// Compares a count, in instructions per operation, with its baseline.
#[must_use]
pub fn judge(baseline: Option<f64>, counted: f64, tolerance_percent: f64) -> Verdict {
    let Some(baseline) = baseline else { return Verdict::NoBaseline };
    let by_percent = (counted / baseline - 1.0) * 100.0;
    if by_percent > tolerance_percent {
        Verdict::Slower { by_percent }
    } else if by_percent < -tolerance_percent {
        Verdict::Faster { by_percent: -by_percent }
    } else {
        Verdict::Kept
    }
}

/// How far apart several counts of one benchmark are, in percent of the least; 0 for none.
#[must_use]
pub fn spread_percent(counts: &[f64]) -> f64 {
    let least = counts.iter().copied().fold(f64::INFINITY, f64::min);
    let most = counts.iter().copied().fold(0.0, f64::max);
    if counts.is_empty() { 0.0 } else { (most / least - 1.0) * 100.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn within_the_tolerance_nothing_is_said() {
        for counted in [97.1, 100.0, 102.9] {
            let verdict = judge(Some(100.0), counted, 3.0);
            assert_eq!(verdict, Verdict::Kept, "{counted}");
            assert!(!verdict.fails() && verdict.message("a", Some(100.0), counted, 3.0).is_none());
        }
    }

    #[test]
    fn more_than_the_tolerance_fails_and_the_message_tells_all_of_it() {
        let verdict = judge(Some(100.0), 103.1, 3.0);
        assert!(verdict.fails());
        let message = verdict.message("apply/locks", Some(100.0), 103.1, 3.0).unwrap();
        for part in ["FAILED", "apply/locks", "103.1", "100.0", "3.1 % more", "tolerance is 3 %", RENEW] {
            assert!(message.contains(part), "{part} is not in: {message}");
        }
    }

    #[test]
    fn less_than_the_tolerance_asks_for_a_lower_baseline_and_does_not_fail() {
        let verdict = judge(Some(100.0), 90.0, 3.0);
        assert!(!verdict.fails());
        let message = verdict.message("apply/locks", Some(100.0), 90.0, 3.0).unwrap();
        for part in ["LOWER", "90.0", "100.0", "10.0 % less", RENEW] {
            assert!(message.contains(part), "{part} is not in: {message}");
        }
    }

    #[test]
    fn a_benchmark_without_a_baseline_fails() {
        let verdict = judge(None, 90.0, 3.0);
        assert!(verdict.fails() && verdict.message("new", None, 90.0, 3.0).unwrap().contains("no baseline"));
    }

    #[test]
    fn the_spread_is_over_all_counts() {
        assert_eq!(spread_percent(&[]), 0.0);
        assert_eq!(spread_percent(&[50.0]), 0.0);
        assert!((spread_percent(&[50.0, 51.0, 50.5]) - 2.0).abs() < 1e-9);
    }
}
