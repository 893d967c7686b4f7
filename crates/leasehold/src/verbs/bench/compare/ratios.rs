//! Ratios of throughputs that were measured in the same round, and their spread.

use serde::Serialize;

use super::super::report::rounded;

/// The middle of some numbers, and how far they lie apart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Spread {
    /// None of no numbers. Of an even count the median is the mean of the two in the middle.
    pub(super) fn of(numbers: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut numbers: Vec<f64> = numbers.into_iter().collect();
        numbers.sort_by(f64::total_cmp);
        let (min, max) = (*numbers.first()?, *numbers.last()?);
        let median = f64::midpoint(numbers[(numbers.len() - 1) / 2], numbers[numbers.len() / 2]);
        Some(Self { median: rounded(median), min: rounded(min), max: rounded(max) })
    }
}

/// Ours over theirs, round by round. A round in which the other one did nothing has no ratio.
pub(super) fn ratios(ours: &[f64], theirs: &[f64]) -> Option<Spread> {
    Spread::of(ours.iter().zip(theirs).filter(|(_, theirs)| **theirs > 0.0).map(|(ours, theirs)| ours / theirs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_of_one_round_and_not_of_the_medians() {
        // A slow round is slow for both: the ratio stays.
        let spread = ratios(&[100.0, 10.0, 90.0], &[50.0, 5.0, 30.0]).unwrap();
        assert_eq!(spread, Spread { median: 2.0, min: 2.0, max: 3.0 });
    }

    #[test]
    fn the_median_of_an_even_count_lies_between_the_two_in_the_middle() {
        assert_eq!(Spread::of([4.0, 1.0, 3.0, 2.0]).unwrap(), Spread { median: 2.5, min: 1.0, max: 4.0 });
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn a_round_without_work_has_no_ratio() {
        assert_eq!(ratios(&[1.0, 6.0], &[0.0, 3.0]).unwrap(), Spread { median: 2.0, min: 2.0, max: 2.0 });
        assert_eq!(ratios(&[1.0], &[0.0]), None);
    }
}
