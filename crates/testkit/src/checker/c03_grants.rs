//! C3: grants are linearizable: of two grants of one lock, the one with the greater token cannot have been answered
//! before the other one was asked for.

use std::collections::BTreeMap;

use super::facts::{Facts, Seen};
use super::report::{Invariant::C3, Report};
use crate::history::Record;

pub(super) fn check(facts: &Facts<'_>, report: &mut Report) {
    let mut locks: BTreeMap<&str, Vec<(u64, &Record)>> = BTreeMap::new();
    for (token, acquire) in facts.seen.iter().filter_map(|(token, seen)| Some((*token, Seen::acquire(seen)?))) {
        locks.entry(&acquire.lock).or_default().push((token, acquire));
    }
    for (lock, grants) in locks {
        // From the greatest token down: the earliest completion among the greater ones.
        let mut earliest: Option<(u64, &Record)> = None;
        for (token, acquire) in grants.into_iter().rev() {
            let breach = earliest.filter(|(_, later)| later.complete.is_some_and(|done| done < acquire.invoke));
            report.hold(C3, breach.is_none(), || {
                let (greater, later) = breach.unwrap_or((token, acquire));
                format!(
                    "{lock}: token {greater} was answered at {}, the smaller token {token} was asked for only at {}",
                    later.complete.unwrap_or_default(),
                    acquire.invoke
                )
            });
            if earliest.is_none_or(|(_, later)| acquire.complete < later.complete) {
                earliest = Some((token, acquire));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::C3;

    #[test]
    fn overlapping_and_ordered_grants_pass() {
        Fixture::default().granted("a", 1, 0, 50).granted("a", 2, 40, 60).granted("a", 3, 70, 80).assert_holds(C3);
    }

    #[test]
    fn a_greater_token_answered_first_is_caught() {
        let fixture = Fixture::default().granted("a", 1, 30, 40).granted("a", 2, 0, 90).granted("a", 3, 10, 20);
        fixture.assert_broken(C3, &["C3", "default/a", "token 3", "0.020000 s", "token 1", "0.030000 s"]);
    }
}
