//! How long before the end of a lease a command is ended.

use std::time::Duration;

/// How long before the end of a lease that is not being renewed the command is told to end, and made to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Margins {
    pub(crate) term: Duration,
    pub(crate) kill: Duration,
}

impl Margins {
    /// TERM with a sixth of the ttl left, but at least a second and never more than a third: that much is left when
    /// renewals have failed for a while, not when one is merely due.
    pub(crate) fn of(ttl: Duration) -> Self {
        let term = (ttl / 6).max(Duration::from_secs(1)).min(ttl / 3);
        Self { term, kill: (term / 4).min(Duration::from_millis(500)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn margins_leave_room_for_renewals_and_for_ending() {
        let margins = |ms| {
            let Margins { term, kill } = Margins::of(Duration::from_millis(ms));
            (term.as_millis(), kill.as_millis())
        };
        assert_eq!(margins(30_000), (5_000, 500));
        assert_eq!(margins(3_000), (1_000, 250));
        assert_eq!(margins(900), (300, 75));
    }
}
