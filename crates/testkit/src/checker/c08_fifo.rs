//! C8: grants follow the queue: on one lock, tokens go up in the order in which requests queued or were granted at once,
//! and a wait that had ended is never granted.

use std::collections::BTreeMap;

use leasehold_state_machine::RequestId;

use super::facts::{Applied, Facts, LogFacts, lock_of};
use super::report::{Invariant::C8, Report};
use crate::dump::Outcome;

/// A place in a lock's queue, or a grant at once.
struct Place<'a> {
    at: Applied<'a>,
    /// The wait's end as last armed; None: granted at once.
    deadline: Option<u64>,
    lock: String,
}

pub(super) fn check(facts: &Facts<'_>, report: &mut Report) {
    let Some(log) = &facts.log else { return };
    let tokens = tokens(facts, log);
    // Log time at the grants made at once, in token order: what came later cannot have been granted earlier.
    let mut at_once: Vec<(u64, u64)> =
        log.outright_grants().map(|grant| (grant.token, grant.applied.entry.now)).collect();
    at_once.sort_unstable();
    at_once.dedup_by_key(|(token, _)| *token);
    let mut locks: BTreeMap<String, Vec<(u64, RequestId, Place<'_>)>> = BTreeMap::new();
    for (request, token) in tokens {
        let Some(place) = place_of(log, request, token) else { continue };
        if let Some(deadline) = place.deadline {
            check_alive(log, report, request, token, &place, deadline, &at_once);
        }
        locks.entry(place.lock.clone()).or_default().push((token, request, place));
    }
    for (lock, mut grants) in locks {
        grants.sort_by_key(|(.., place)| place.at.place());
        for pair in grants.windows(2) {
            let [(token, request, place), (next_token, next_request, next)] = pair else { continue };
            report.hold(C8, token < next_token, || {
                format!(
                    "{lock}: request {request} came first (index {}), but has token {token}; request {next_request}, which came \
                     at index {}, has the smaller token {next_token}",
                    place.at.entry.index, next.at.entry.index
                )
            });
        }
    }
}

/// Which request got which token, by the answers in the log and to the clients. Requests with several grants are C7's.
fn tokens(facts: &Facts<'_>, log: &LogFacts<'_>) -> BTreeMap<RequestId, u64> {
    let outright = log.outright_grants().map(|grant| (grant.request, grant.token));
    let seen = facts.seen.iter().flat_map(|(token, seen)| {
        let requests = seen.acquires.iter().filter_map(|record| record.granted()?.0.request);
        requests.map(|request| (request, *token)).collect::<Vec<_>>()
    });
    outright.chain(seen).collect()
}

fn place_of<'a>(log: &LogFacts<'a>, request: RequestId, token: u64) -> Option<Place<'a>> {
    let mut place: Option<Place<'a>> = None;
    for (acquire, applied) in log.acquires.get(&request)? {
        let lock = lock_of(&acquire.namespace, &acquire.locks.first()?.name);
        match applied.outcome {
            Outcome::Queued { deadline, .. } => {
                // A later attempt keeps the place of a wait that still lives, and was not cancelled in between.
                let kept = place.take().filter(|place| {
                    place.deadline.is_some_and(|last| applied.entry.now <= last)
                        && !cancelled_between(log, request, place, applied)
                });
                let at = kept.map_or(*applied, |kept| kept.at);
                place = Some(Place { at, deadline: Some(*deadline), lock });
            }
            Outcome::Granted { grants, confirm: false, .. } if grants.iter().any(|grant| grant.token == token) => {
                return Some(place.unwrap_or(Place { at: *applied, deadline: None, lock }));
            }
            _ => {}
        }
    }
    place
}

fn cancelled_between(log: &LogFacts<'_>, request: RequestId, place: &Place<'_>, until: &Applied<'_>) -> bool {
    log.cancels.get(&request).into_iter().flatten().any(|(_, cancel)| {
        let did = matches!(cancel.outcome, Outcome::Cancelled(did) if did == "LeftQueue" || did == "UndidGrant");
        did && cancel.place() > place.at.place() && cancel.place() < until.place()
    })
}

fn check_alive(
    log: &LogFacts<'_>,
    report: &mut Report,
    request: RequestId,
    token: u64,
    place: &Place<'_>,
    deadline: u64,
    at_once: &[(u64, u64)],
) {
    let before = at_once.partition_point(|(other, _)| *other < token).checked_sub(1).map(|at| at_once[at]);
    report.hold(C8, before.is_none_or(|(_, now)| now <= deadline), || {
        let (other, now) = before.unwrap_or_default();
        format!(
            "{}: request {request} waited until {deadline} ms of log time, and was granted token {token} after token {other}, \
             which was granted at {now} ms",
            place.lock
        )
    });
    let cancels = log.cancels.get(&request).into_iter().flatten();
    let left = cancels.into_iter().find(|(_, applied)| {
        applied.place() > place.at.place() && matches!(applied.outcome, Outcome::Cancelled(did) if did == "LeftQueue")
    });
    report.hold(C8, left.is_none(), || {
        let index = left.map_or(0, |(_, applied)| applied.entry.index);
        format!(
            "{}: request {request} left the queue at index {index}, and was granted token {token} all the same",
            place.lock
        )
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixture::{Fixture, grants, queued, request};
    use super::C8;

    /// Token 1 holds, requests 2 and 3 queue in this order.
    fn queue() -> Fixture {
        let fixture = Fixture::default().founded().acquire(10, "a", 1, None, grants("a", 1));
        fixture.acquire(20, "a", 2, Some(500), queued(0, 520)).acquire(30, "a", 3, Some(5_000), queued(1, 5_030))
    }

    #[test]
    fn grants_in_queue_order_pass() {
        let fixture = queue().release(40, "a", 1, true).node(1);
        fixture.waited("a", 2, 0, 50).waited("a", 3, 0, 60).assert_holds(C8);
    }

    #[test]
    fn a_later_attempt_after_a_cancel_has_a_new_place() {
        let cancel = json!({"CancelAcquire": {"request": request(2), "attempt": 1}});
        let fixture = queue().entry(35, cancel, json!({"Cancelled": "LeftQueue"}));
        let again = super::super::fixture::acquire("a", 2, 2, Some(500));
        let fixture = fixture.entry(36, again, queued(1, 536)).release(40, "a", 1, true).node(1);
        fixture.waited("a", 3, 0, 50).with_token(2).waited("a", 2, 0, 60).with_token(3).assert_holds(C8);
    }

    #[test]
    fn barging_is_caught() {
        let fixture = queue().release(40, "a", 1, true).acquire(50, "a", 4, None, grants("a", 2)).node(1);
        let fixture = fixture.waited("a", 2, 0, 90).with_token(5);
        fixture.assert_broken(C8, &["C8", &request(2).to_string(), "token 5", &request(4).to_string(), "token 2"]);
    }

    #[test]
    fn a_grant_to_a_wait_that_was_over_is_caught() {
        let fixture = queue().tick(900).acquire(910, "b", 4, None, grants("b", 2)).release(920, "a", 1, true).node(1);
        let fixture = fixture.waited("a", 2, 0, 930).with_token(3);
        fixture.assert_broken(C8, &["C8", &request(2).to_string(), "until 520 ms", "token 3", "910 ms"]);
    }

    #[test]
    fn a_grant_to_a_cancelled_wait_is_caught() {
        let cancel = json!({"CancelAcquire": {"request": request(2), "attempt": 1}});
        let fixture = queue().entry(35, cancel, json!({"Cancelled": "LeftQueue"})).release(40, "a", 1, true).node(1);
        fixture.waited("a", 2, 0, 50).assert_broken(C8, &["C8", &request(2).to_string(), "index 5", "token 2"]);
    }
}
