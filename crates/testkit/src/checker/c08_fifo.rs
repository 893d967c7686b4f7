//! C8: grants follow the queue: at one lock, of two requests that cannot be granted together the one that came first, by
//! queueing or by being granted at once, has the smaller token; and a wait that had ended is never granted. An upgrade goes
//! ahead of the queue, so converts have no place in it.

use std::collections::BTreeMap;

use leasehold_reference::go_together;
use leasehold_state_machine::{Cancelled, LeaseRequest, Mode, Outcome, RequestId};

use super::facts::{Applied, Facts, LogFacts, OutrightGrant, lock_of};
use super::report::{Invariant::C8, Report};

/// A place in a lock's queue, or a grant at once.
struct Place<'a> {
    at: Applied<'a>,
    /// The wait's end as last armed; None: granted at once.
    deadline: Option<u64>,
    mode: Mode,
}

/// One grant, and the place that it came from.
struct Placed<'a> {
    lock: String,
    request: RequestId,
    token: u64,
    place: Place<'a>,
}

pub(super) fn check(facts: &Facts<'_>, report: &mut Report) {
    let Some(log) = &facts.log else { return };
    let mut locks: BTreeMap<String, Vec<Placed<'_>>> = BTreeMap::new();
    let granted_at = granted_at(facts, log);
    for ((request, lock), token) in tokens(facts, log) {
        let Some(place) = place_of(facts, log, request, &lock, token) else { continue };
        let placed = Placed { lock: lock.clone(), request, token, place };
        check_alive(log, report, &placed, &granted_at);
        locks.entry(lock).or_default().push(placed);
    }
    for grants in locks.into_values() {
        check_order(grants, report);
    }
}

/// Tokens by request and lock, by the answers in the log and to the clients. Requests with several grants of one lock are
/// C7's.
fn tokens(facts: &Facts<'_>, log: &LogFacts<'_>) -> BTreeMap<(RequestId, String), u64> {
    let outright = log.outright_grants().map(|grant| ((grant.request, grant.lock), grant.token));
    let seen = facts.seen.iter().flat_map(|(token, seen)| {
        let of_request = |record: &&crate::history::Record| {
            let request = record.granted()?.0.request?;
            Some(((request, record.lock.to_string()), *token))
        };
        seen.acquires.iter().filter_map(of_request).collect::<Vec<_>>()
    });
    outright.chain(seen).collect()
}

/// Log time at grants, by token, where it is known: what came later cannot have been granted earlier.
fn granted_at(facts: &Facts<'_>, log: &LogFacts<'_>) -> BTreeMap<u64, u64> {
    match &facts.replay {
        Some(replay) => replay.grants.values().map(|grant| (grant.token, grant.at)).collect(),
        None => {
            let fresh = log.outright_grants().filter(OutrightGrant::is_fresh);
            fresh.map(|grant| (grant.token, grant.applied.entry.now)).collect()
        }
    }
}

fn check_order(mut grants: Vec<Placed<'_>>, report: &mut Report) {
    grants.sort_by_key(|placed| placed.place.at.place());
    // The greatest token of those that came before, by mode: there are few modes.
    let mut greatest: BTreeMap<Mode, &Placed<'_>> = BTreeMap::new();
    for next in &grants {
        let before = greatest.iter().filter(|(mode, _)| !go_together(**mode, next.place.mode)).map(|(_, first)| *first);
        let first = before.max_by_key(|first| first.token);
        report.hold(C8, first.is_none_or(|first| first.token < next.token), || {
            let first = first.unwrap_or(next);
            format!(
                "{}: request {} came first (index {}), but has token {}; request {}, which came at index {}, has the \
                 smaller token {}",
                first.lock,
                first.request,
                first.place.at.entry.index,
                first.token,
                next.request,
                next.place.at.entry.index,
                next.token
            )
        });
        let of_mode = greatest.entry(next.place.mode).or_insert(next);
        if of_mode.token < next.token {
            *of_mode = next;
        }
    }
}

/// None: it has none, or this log does not tell.
fn place_of<'a>(
    facts: &Facts<'_>,
    log: &LogFacts<'a>,
    request: RequestId,
    lock: &str,
    token: u64,
) -> Option<Place<'a>> {
    let mut place: Option<Place<'a>> = None;
    let sends = log.acquires.get(&request)?;
    // An earlier attempt may have taken its place in what was purged from this log.
    if !log.whole && sends.first().is_some_and(|(acquire, _)| acquire.attempt > 1) {
        return None;
    }
    for (acquire, applied) in sends {
        let named = acquire.locks.iter().find(|one| lock_of(&acquire.namespace, &one.name) == lock)?;
        let mode = named.mode;
        if matches!(acquire.lease, LeaseRequest::Convert { .. }) {
            return None;
        }
        match applied.outcome {
            Outcome::Queued(queued) => {
                // A later attempt keeps the place of a wait that still lives, and was not cancelled in between.
                let kept = place.take().filter(|place| {
                    place.deadline.is_some_and(|last| applied.entry.now <= last)
                        && !cancelled_between(log, request, place, applied)
                });
                let at = kept.map_or(*applied, |kept| kept.at);
                place = Some(Place { at, deadline: Some(queued.deadline.0), mode });
            }
            Outcome::Granted(granted) if granted.grants.iter().any(|grant| grant.token.0 == token) => {
                // One whose wait ended or was cancelled, and that asks anew and is granted at once, has not come from its old
                // place. An answer that is repeated says nothing of when the wait ended.
                let over =
                    place.as_ref().is_some_and(|place| place.deadline.is_some_and(|last| last < applied.entry.now));
                let over = over && !granted.confirm && granted_by(facts, token, applied)?;
                let came = |place: &Place<'_>| granted.confirm || !cancelled_between(log, request, place, applied);
                let kept = place.filter(|place| !over && came(place));
                return kept.or_else(|| (!granted.confirm).then_some(Place { at: *applied, deadline: None, mode }));
            }
            _ => {}
        }
    }
    place
}

/// Whether a grant was made by this very command, not before it. None: this log does not tell.
fn granted_by(facts: &Facts<'_>, token: u64, applied: &Applied<'_>) -> Option<bool> {
    Some(facts.replay.as_ref()?.grant(token)?.index == applied.entry.index)
}

fn cancelled_between(log: &LogFacts<'_>, request: RequestId, place: &Place<'_>, until: &Applied<'_>) -> bool {
    log.cancels.get(&request).into_iter().flatten().any(|(_, cancel)| {
        let did = [Cancelled::LeftQueue, Cancelled::UndidGrant].map(Outcome::Cancelled).contains(cancel.outcome);
        did && cancel.place() > place.at.place() && cancel.place() < until.place()
    })
}

fn check_alive(log: &LogFacts<'_>, report: &mut Report, placed: &Placed<'_>, granted_at: &BTreeMap<u64, u64>) {
    let Placed { lock, request, token, place } = placed;
    let Some(deadline) = place.deadline else { return };
    // Its own grant where that is known, or the last one before it.
    let before = granted_at.range(..=token).next_back();
    report.hold(C8, before.is_none_or(|(_, now)| *now <= deadline), || {
        let (other, now) = before.unwrap_or((token, &0));
        format!(
            "{lock}: request {request} waited until {deadline} ms of log time, and was granted token {token}; token {other} \
             was granted at {now} ms"
        )
    });
    let left = log.cancels.get(request).into_iter().flatten().find(|(_, applied)| {
        applied.place() > place.at.place() && *applied.outcome == Outcome::Cancelled(Cancelled::LeftQueue)
    });
    report.hold(C8, left.is_none(), || {
        let index = left.map_or(0, |(_, applied)| applied.entry.index);
        format!("{lock}: request {request} left the queue at index {index}, and was granted token {token} all the same")
    });
}

#[cfg(test)]
mod tests {
    use leasehold_state_machine::{Cancelled, Command, LeaseId, LeaseRequest, Mode, Outcome};

    use super::super::fixture::{
        Fixture, acquire, acquire_as, cancel, grants, grants_as, normal, queued, request, session,
    };
    use super::C8;
    use crate::dump::Entry;

    /// Token 1 holds, requests 2 and 3 queue in this order.
    fn queue() -> Fixture {
        let fixture = Fixture::default().founded().acquire(10, "a", 1, None, grants("a", 1));
        fixture.acquire(20, "a", 2, Some(500), queued(0, 520)).acquire(30, "a", 3, Some(5_000), queued(1, 5_030))
    }

    #[test]
    fn grants_in_queue_order_pass() {
        let fixture = queue().release(40, "a", 1, true).node(1);
        fixture.waited("a", 2, 0, 50).waited("a", 3, 0, 60).assert_holds_in_a_true_log(C8);
    }

    #[test]
    fn the_place_of_an_attempt_whose_first_was_purged_is_unknown() {
        let later = |index, now, counter, attempt, deadline| {
            let operation = acquire("a", counter, attempt, Some(5_000));
            let commands = vec![Command { principal: None, not_after: None, operation }];
            Entry { commands, outcomes: vec![queued(0, deadline)], ..normal(index, now) }
        };
        // Request 3 was the first in the queue, but only its third attempt is left of it.
        let log = [later(700, 20, 2, 1, 5_020), later(701, 30, 3, 3, 5_010)];
        let fixture = log.into_iter().fold(Fixture::default(), Fixture::raw).node(1);
        let fixture = fixture.waited("a", 3, 0, 50).with_token(2).waited("a", 2, 0, 60).with_token(3);
        fixture.assert_holds(C8);
        // In a log that is whole it came later.
        let whole = queue().entry(35, acquire("a", 4, 3, Some(5_000)), queued(2, 5_035)).node(1);
        let whole = whole.waited("a", 4, 0, 50).with_token(2).waited("a", 3, 0, 60).with_token(3);
        whole.assert_broken(C8, &["C8", &request(3).to_string(), "token 3", &request(4).to_string(), "token 2"]);
    }

    #[test]
    fn a_later_attempt_after_a_cancel_has_a_new_place() {
        let fixture = queue().entry(35, cancel(2), Outcome::Cancelled(Cancelled::LeftQueue));
        let again = acquire("a", 2, 2, Some(500));
        let fixture = fixture.entry(36, again, queued(1, 536)).release(40, "a", 1, true).node(1);
        fixture.waited("a", 3, 0, 50).with_token(2).waited("a", 2, 0, 60).with_token(3).assert_holds(C8);
    }

    #[test]
    fn a_later_attempt_after_a_cancel_may_be_granted_at_once() {
        let fixture = queue().entry(35, cancel(2), Outcome::Cancelled(Cancelled::LeftQueue));
        let fixture = fixture.release(40, "a", 1, true).release(50, "a", 2, true);
        let fixture = fixture.entry(55, acquire("a", 2, 2, Some(500)), grants("a", 3)).node(1);
        fixture.waited("a", 3, 0, 45).with_token(2).waited("a", 2, 0, 60).with_token(3).assert_holds(C8);
    }

    #[test]
    fn a_later_attempt_after_the_wait_has_a_new_place() {
        // Under a session: its grants do not say whether they came of a wait.
        let under = |attempt, wait| {
            acquire_as("a", 2, attempt, Some(wait), |acquire| {
                acquire.lease = LeaseRequest::Session { session: session() }
            })
        };
        let fixture = Fixture::default().founded().open(5).acquire(10, "a", 1, None, grants("a", 1));
        let fixture = fixture.entry(20, under(1, 100), queued(0, 120)).tick(200).acquire(
            210,
            "a",
            3,
            Some(900),
            queued(0, 1_110),
        );
        let fixture = fixture.release(220, "a", 1, true).release(230, "a", 2, true);
        let granted = grants_as("a", 3, Mode::Exclusive, session(), 765);
        let fixture = fixture.entry(240, under(2, 100), granted).node(1);
        fixture.waited("a", 3, 0, 225).with_token(2).assert_holds_in_a_true_log(C8);
    }

    #[test]
    fn barging_is_caught() {
        let fixture = queue().release(40, "a", 1, true).acquire(50, "a", 4, None, grants("a", 2)).node(1);
        let fixture = fixture.waited("a", 2, 0, 90).with_token(5);
        fixture.assert_broken(C8, &["C8", &request(2).to_string(), "token 5", &request(4).to_string(), "token 2"]);
    }

    #[test]
    fn barging_past_a_neighbour_that_fits_is_caught_too() {
        let shared = |counter, wait| acquire_as("a", counter, 1, wait, |acquire| acquire.locks[0].mode = Mode::Shared);
        // A writer queues, a reader comes at once: it would starve the writer.
        let held = |token: u64| grants_as("a", token, Mode::Shared, LeaseId(token.into()), 1_000);
        let fixture = Fixture::default().founded().entry(10, shared(1, None), held(1));
        let fixture = fixture.acquire(20, "a", 2, Some(5_000), queued(0, 5_020)).entry(30, shared(3, None), held(2));
        let fixture = fixture.node(1).waited("a", 2, 0, 90).with_token(3);
        fixture.assert_broken(C8, &["C8", &request(2).to_string(), "token 3", &request(3).to_string(), "token 2"]);
    }

    #[test]
    fn those_who_can_hold_together_have_no_order() {
        let shared = |counter| acquire_as("a", counter, 1, Some(5_000), |acquire| acquire.locks[0].mode = Mode::Shared);
        let fixture = Fixture::default().founded().acquire(10, "a", 1, None, grants("a", 1));
        let fixture = fixture.entry(20, shared(2), queued(0, 5_020)).entry(30, shared(3), queued(1, 5_030)).node(1);
        fixture.waited("a", 2, 0, 50).with_token(3).waited("a", 3, 0, 60).with_token(2).assert_holds(C8);
    }

    #[test]
    fn a_grant_to_a_wait_that_was_over_is_caught() {
        let fixture = queue().tick(900).acquire(910, "b", 4, None, grants("b", 2)).release(920, "a", 1, true).node(1);
        let fixture = fixture.waited("a", 2, 0, 930).with_token(3);
        fixture.assert_broken(C8, &["C8", &request(2).to_string(), "until 520 ms", "token 3", "920 ms"]);
    }

    #[test]
    fn a_grant_to_a_cancelled_wait_is_caught() {
        let left = Outcome::Cancelled(Cancelled::LeftQueue);
        let fixture = queue().entry(35, cancel(2), left).release(40, "a", 1, true).node(1);
        fixture.waited("a", 2, 0, 50).assert_broken(C8, &["C8", &request(2).to_string(), "index 5", "token 2"]);
    }
}
