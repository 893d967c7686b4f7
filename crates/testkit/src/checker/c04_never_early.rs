//! C4: never early: a lock whose lease was not given up is not granted again before the first send of the last successful
//! acquire or renewal + ttl. Clients and nodes of a run read one clock, so there is no drift to allow for.

use std::collections::BTreeMap;

use super::facts::{Facts, Seen};
use super::report::{Invariant::C4, Report};
use crate::clock::Moment;
use crate::history::{Call, Record, Response};

/// A promise: nobody else before this moment.
#[derive(Clone, Copy)]
struct Promise<'a> {
    token: u64,
    until: Moment,
    by: &'a Record,
}

pub(super) fn check(facts: &Facts<'_>, report: &mut Report) {
    check_beliefs(facts, report);
    let mut strongest: BTreeMap<&str, Promise<'_>> = BTreeMap::new();
    for (token, seen) in &facts.seen {
        let Some(acquire) = seen.acquire() else { continue };
        let lock = &*acquire.lock;
        let granted = acquire.complete.unwrap_or_default();
        if let Some(promise) = strongest.get(lock) {
            report.hold(C4, granted >= promise.until, || {
                format!(
                    "{lock}: token {token} was granted by {granted}, but token {} was promised until {} ({} sent at {})",
                    promise.token,
                    promise.until,
                    if matches!(promise.by.call, Call::Renew(_)) { "renewal" } else { "acquire" },
                    promise.by.sent(),
                )
            });
        }
        let promise = promise_of(*token, seen);
        let given_up = seen.gave_up().any(|record| record.invoke <= promise.until) && facts.ended_by_command(*token);
        if !given_up && strongest.get(lock).is_none_or(|other| other.until < promise.until) {
            strongest.insert(lock, promise);
        }
    }
}

/// No client may be sure to hold a lock when a later grant of it has been answered already.
fn check_beliefs(facts: &Facts<'_>, report: &mut Report) {
    // From the greatest token down: the earliest completion of a later grant, by lock.
    let mut earliest: BTreeMap<&str, (u64, Moment)> = BTreeMap::new();
    for (token, seen) in facts.seen.iter().rev() {
        for belief in &seen.beliefs {
            let later = earliest.get(&*belief.lock).filter(|(_, granted)| *granted < belief.invoke);
            report.hold(C4, later.is_none(), || {
                let (later, granted) = later.copied().unwrap_or_default();
                format!(
                    "{}: worker {} was sure to hold it under token {token} at {}, token {later} was granted by {granted}",
                    belief.lock, belief.worker, belief.invoke
                )
            });
        }
        let Some((lock, granted)) = seen.acquire().and_then(|acquire| Some((&*acquire.lock, acquire.complete?))) else {
            continue;
        };
        let first = earliest.entry(lock).or_insert((*token, granted));
        if granted < first.1 {
            *first = (*token, granted);
        }
    }
}

/// The last moment for which a token was promised.
fn promise_of<'a>(token: u64, seen: &Seen<'a>) -> Promise<'a> {
    let acquired = seen.acquires.iter().filter_map(|record| {
        let (acquire, ..) = record.granted()?;
        // A grant cannot come before its request, so its ttl counts from the send even where the answer dares not say so.
        Some(Promise { token, until: record.sent().plus_ms(acquire.ttl_ms), by: record })
    });
    let renewed = seen.renewals.iter().filter_map(|record| match (&record.call, &record.response) {
        (Call::Renew(renew), Response::Renewed { left_ms }) => {
            Some(Promise { token, until: record.sent().plus_ms(renew.ttl_ms.max(*left_ms)), by: record })
        }
        _ => None,
    });
    acquired.chain(renewed).max_by_key(|promise| promise.until).expect("a seen grant has an acquire")
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, grants};
    use super::C4;

    #[test]
    fn a_grant_after_the_ttl_passes() {
        Fixture::default().granted("a", 1, 100, 120).waited("a", 2, 200, 1_100).assert_holds(C4);
    }

    #[test]
    fn a_grant_after_a_release_passes_and_other_locks_are_their_own() {
        let fixture = Fixture::default().granted("a", 1, 0, 10).released("a", 1, 20, 30).granted("a", 2, 40, 50);
        fixture.believed("a", 1, 19).granted("b", 3, 45, 55).granted("b", 4, 50, 1_045).assert_holds(C4);
    }

    #[test]
    fn a_grant_before_the_ttl_is_over_is_caught() {
        let fixture = Fixture::default().granted("a", 1, 100, 120).granted("a", 2, 200, 1_099);
        fixture
            .assert_broken(C4, &["C4", "token 2", "1.099000 s", "token 1", "1.100000 s", "acquire sent at 0.100000 s"]);
    }

    #[test]
    fn a_renewal_counts_from_its_send() {
        let fixture = Fixture::default().granted("a", 1, 0, 10).renewed("a", 1, 900, 950).granted("a", 2, 1_000, 1_800);
        fixture.assert_broken(C4, &["token 2", "token 1", "1.900000 s", "renewal sent at 0.900000 s"]);
    }

    #[test]
    fn a_grant_in_between_does_not_hide_an_early_one() {
        let fixture = Fixture::default().granted("a", 1, 0, 10).granted("a", 2, 500, 1_200).released("a", 2, 0, 1_300);
        fixture.granted("a", 3, 510, 600).assert_broken(C4, &["token 3", "token 1"]);
    }

    #[test]
    fn a_client_that_is_sure_for_too_long_is_caught() {
        let fixture = Fixture::default().granted("a", 1, 0, 10).granted("a", 2, 20, 1_100).believed("a", 1, 1_101);
        fixture.assert_broken(C4, &["C4", "default/a", "token 1", "1.101000 s", "token 2", "1.100000 s"]);
    }

    #[test]
    fn a_release_that_the_log_does_not_know_is_no_excuse() {
        let fixture = Fixture::default().granted("a", 1, 0, 10).released("a", 1, 20, 30).granted("a", 2, 40, 50);
        let fixture = fixture.founded().acquire(1, "a", 1, None, grants("a", 1)).tick(1_002);
        fixture.acquire(1_002, "a", 2, None, grants("a", 2)).node(1).assert_broken(C4, &["token 2", "token 1"]);
    }
}
