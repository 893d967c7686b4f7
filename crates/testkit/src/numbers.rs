//! Measured times, as a report shows them.

use std::time::Duration;

use serde_json::json;

/// Sorted milliseconds.
#[derive(Debug, Clone, Default)]
pub struct Numbers(Vec<f64>);

impl Numbers {
    /// Of these spans, in any order.
    #[must_use]
    pub fn new(mut spans: Vec<Duration>) -> Self {
        spans.sort_unstable();
        Self(spans.into_iter().map(|span| span.as_secs_f64() * 1e3).collect())
    }

    /// The value that so many percent do not exceed, in milliseconds; 50 is the median, 100 the longest.
    #[must_use]
    pub fn at(&self, percent: usize) -> f64 {
        let last = self.0.len().saturating_sub(1);
        self.0.get(last * percent / 100).copied().unwrap_or(f64::NAN)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// For a program.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        json!({"p50_ms": self.at(50), "p99_ms": self.at(99), "max_ms": self.at(100), "samples": self.count()})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_spans() {
        let numbers = Numbers::new((1..=101).rev().map(Duration::from_millis).collect());
        assert_eq!((numbers.at(0), numbers.at(50), numbers.at(99), numbers.at(100)), (1.0, 51.0, 100.0, 101.0));
        assert!(Numbers::default().at(50).is_nan(), "of nothing");
    }
}
