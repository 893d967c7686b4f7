//! Waiting a little longer after every failure, never in step with others.

use std::time::Duration;

use leasehold_platform::random;
use rand::Rng;

const FIRST: Duration = Duration::from_millis(20);
const LAST: Duration = Duration::from_secs(1);

/// Doubles from 20 ms to 1 s; each span is drawn from its upper half.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { next: FIRST }
    }

    pub(crate) fn reset(&mut self) {
        self.next = FIRST;
    }

    /// How long to wait now.
    pub(crate) fn step(&mut self) -> Duration {
        let span = self.next;
        self.next = (span * 2).min(LAST);
        jitter(span)
    }
}

/// A span between half of `span` and all of it.
pub(crate) fn jitter(span: Duration) -> Duration {
    span.mul_f64(random::rng().random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_its_bound_and_starts_again() {
        let mut backoff = Backoff::new();
        for _ in 0..20 {
            assert!(backoff.step() <= LAST);
        }
        assert!(backoff.step() >= LAST / 2);
        backoff.reset();
        assert!(backoff.step() <= FIRST);
    }
}
