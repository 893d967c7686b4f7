//! Which modes may hold a lock together, said once more and without the machine's own words.

use leasehold_state_machine::Mode;

/// Whether one may hold in `mode` beside these.
pub(super) fn fits(mode: Mode, others: impl IntoIterator<Item = Mode>) -> bool {
    let mut others = others.into_iter();
    match mode {
        Mode::Exclusive => others.next().is_none(),
        Mode::Shared => others.all(|other| other == Mode::Shared),
        Mode::Permits { permits, limit } => {
            let taken = others.map(|other| match other {
                Mode::Permits { permits, .. } => Some(permits),
                Mode::Exclusive | Mode::Shared => None,
            });
            taken.sum::<Option<u32>>().is_some_and(|taken| taken + permits <= limit)
        }
    }
}

/// Whether `held` allows all that `used` does.
pub(super) fn covers(held: Mode, used: Mode) -> bool {
    held == used || held == Mode::Exclusive
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_fit_as_the_lock_model_says() {
        let permits = |permits| Mode::Permits { permits, limit: 3 };
        assert!(fits(Mode::Exclusive, []));
        assert!(!fits(Mode::Exclusive, [Mode::Shared]));
        assert!(fits(Mode::Shared, [Mode::Shared, Mode::Shared]));
        assert!(!fits(Mode::Shared, [permits(1)]));
        assert!(fits(permits(1), [permits(1), permits(1)]));
        assert!(!fits(permits(2), [permits(1), permits(1)]));
        assert!(!fits(permits(1), [Mode::Exclusive]));
    }
}
