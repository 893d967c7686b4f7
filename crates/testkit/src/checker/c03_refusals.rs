//! C3: refusals are linearizable too. A try that is told "held" needs a moment between its call and its answer at which somebody
//! may have held the lock, or have waited for it, or its lock-delay may have run. Such answers need not be in the log, so
//! the clients' histories alone say.

use std::collections::BTreeMap;

use super::facts::{Facts, Seen};
use super::report::{Invariant::C3, Report};
use crate::clock::Moment;
use crate::history::{Acquire, Call, Record, Response};

/// From when until when a lock may have been in the way of others.
type Interval = (Moment, Moment);

const EVER: Moment = Moment(u64::MAX);

pub(super) fn check(facts: &Facts<'_>, report: &mut Report) {
    let mut busy = intervals(facts);
    for intervals in busy.values_mut() {
        intervals.sort_unstable();
        // Each now ends when the last of those that began no later has ended.
        let mut last = Moment::default();
        for (_, end) in intervals.iter_mut() {
            last = last.max(*end);
            *end = last;
        }
    }
    for record in facts.records {
        let (Call::Acquire(acquire), Response::Held, Some(complete)) =
            (&record.call, &record.response, record.complete)
        else {
            continue;
        };
        // Of several locks another one may have been held.
        if acquire.locks > 1 {
            continue;
        }
        let of_lock = busy.get(&*record.lock).map_or(&[][..], Vec::as_slice);
        let begun = of_lock.partition_point(|(begin, _)| *begin <= complete);
        let held = begun.checked_sub(1).is_some_and(|last| of_lock[last].1 >= record.invoke);
        report.hold(C3, held, || {
            format!(
                "{}: a try from {} to {complete} was told held, and nobody held it then",
                record.lock, record.invoke
            )
        });
    }
}

fn intervals<'a>(facts: &Facts<'a>) -> BTreeMap<&'a str, Vec<Interval>> {
    let overtaken = overtaken(facts);
    let cancelled = cancelled(facts);
    let mut busy: BTreeMap<&str, Vec<Interval>> = BTreeMap::new();
    for record in facts.records {
        let Call::Acquire(acquire) = &record.call else { continue };
        let end = match &record.response {
            Response::Granted { token, .. } => {
                let ended = facts.seen.get(token).map_or(EVER, |seen| given_up(facts, seen));
                let ended = if acquire.lock_delay_ms > 0 { EVER } else { ended };
                Some(ended.min(overtaken.get(token).copied().unwrap_or(EVER)))
            }
            Response::Held | Response::Failed { .. } if acquire.wait_ms.is_none() => None,
            Response::WaitEnded | Response::Failed { .. } => record.complete,
            _ => acquire.request.and_then(|request| cancelled.get(&request).copied()).or(Some(EVER)),
        };
        if let Some(end) = end {
            busy.entry(&record.lock).or_default().push((record.invoke, end));
        }
    }
    busy
}

/// By when a grant had certainly ended by what its holder, or somebody with force, was answered.
fn given_up(facts: &Facts<'_>, seen: &Seen<'_>) -> Moment {
    let ended = |record: &Record| {
        let over = match record.response {
            Response::Released(_) | Response::Closed(_) | Response::Cancelled => true,
            // It was replaced.
            Response::Granted { .. } => matches!(&record.call, Call::Acquire(_)),
            _ => false,
        };
        record.complete.filter(|_| over)
    };
    facts.gave_up(seen).filter_map(ended).min().unwrap_or(EVER)
}

/// By when a grant had certainly ended because a later one that excludes it was answered.
fn overtaken(facts: &Facts<'_>) -> BTreeMap<u64, Moment> {
    let mut earliest: BTreeMap<&str, Moment> = BTreeMap::new();
    let mut overtaken = BTreeMap::new();
    for (token, seen) in facts.seen.iter().rev() {
        let Some(record) = seen.acquire() else { continue };
        let Some((Acquire { mode, .. }, ..)) = record.granted() else { continue };
        if let Some(at) = earliest.get(&*record.lock) {
            overtaken.insert(*token, *at);
        }
        if let (leasehold_state_machine::Mode::Exclusive, Some(complete)) = (mode, record.complete) {
            let at = earliest.entry(&record.lock).or_insert(complete);
            *at = (*at).min(complete);
        }
    }
    overtaken
}

/// By when a request's wait or grant had certainly ended because its cancel was answered.
fn cancelled(facts: &Facts<'_>) -> BTreeMap<leasehold_state_machine::RequestId, Moment> {
    let answered = |record: &Record| match (&record.call, &record.response, record.complete) {
        (Call::Cancel(request), Response::Cancelled, Some(complete)) => Some((*request, complete)),
        _ => None,
    };
    facts.records.iter().filter_map(answered).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, call, request};
    use super::*;

    fn refused(fixture: Fixture, sent: u64, done: u64) -> Fixture {
        fixture.call("a", sent, Some(done), Call::Acquire(call(900 + sent)), Response::Held)
    }

    fn held_then_released() -> Fixture {
        Fixture::default().granted("a", 1, 0, 10).released("a", 1, 50, 60)
    }

    #[test]
    fn a_refusal_while_somebody_may_hold_passes() {
        let fixture = refused(refused(held_then_released(), 5, 6), 59, 70);
        refused(fixture.granted("a", 2, 80, 90), 75, 81).assert_holds(C3);
    }

    #[test]
    fn a_refusal_while_nobody_held_is_caught() {
        refused(held_then_released(), 61, 70).assert_broken(C3, &["default/a", "told held", "0.061000 s"]);
        let between = held_then_released().granted("a", 2, 80, 90);
        refused(between, 65, 79).assert_broken(C3, &["told held"]);
    }

    #[test]
    fn a_refusal_by_a_holder_that_a_later_one_has_replaced_is_caught() {
        let expired =
            Fixture::default().granted("a", 1, 0, 10).granted("a", 2, 2_000, 2_010).released("a", 2, 2_020, 2_030);
        refused(expired, 2_040, 2_050).assert_broken(C3, &["told held"]);
    }

    #[test]
    fn a_lease_that_nobody_ended_and_a_lock_delay_may_be_in_the_way_for_ever() {
        refused(Fixture::default().granted("a", 1, 0, 10), 90_000, 90_001).assert_holds(C3);
        let delayed = Fixture::default().granted_as("a", 1, 0, 10, |acquire| acquire.lock_delay_ms = 500);
        refused(delayed.forced("a", 1, 20, 30), 40, 50).assert_holds(C3);
    }

    #[test]
    fn a_wait_is_in_the_way_until_it_has_ended() {
        let wait = || Acquire { wait_ms: Some(1_000), ..call(5) };
        let ended = Fixture::default().call("a", 0, Some(100), Call::Acquire(wait()), Response::WaitEnded);
        refused(ended, 90, 95).assert_holds(C3);
        let unknown = || Fixture::default().call("a", 0, Some(100), Call::Acquire(wait()), Response::Unknown);
        refused(unknown(), 500, 510).assert_holds(C3);
        let cancelled = unknown().call("a", 100, Some(200), Call::Cancel(request(5)), Response::Cancelled);
        refused(cancelled, 500, 510).assert_broken(C3, &["told held"]);
    }
}
