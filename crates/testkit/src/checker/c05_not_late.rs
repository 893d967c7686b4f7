//! C5: not late: when a lease or a session runs out with somebody waiting, the next one has the lock within
//! ttl × (1 + 2 drift) + the outages + one tick per leader change, and what a busy machine adds.

use std::collections::BTreeMap;
use std::time::Duration;

use super::facts::Facts;
use super::replay::ReplayedGrant;
use super::report::{Invariant::C5, Report};
use crate::clock::Moment;
use crate::history::{Call, Fault, Response};

pub(super) fn check(facts: &Facts<'_>, report: &mut Report) {
    let Some(replay) = &facts.replay else { return };
    let outages = Outages::of(facts.faults);
    let mut ends: BTreeMap<&str, Option<Moment>> = BTreeMap::new();
    for (expired, next) in replay.successions() {
        let (Some(held), Some(next_seen)) = (facts.seen.get(&expired.token), facts.seen.get(&next.token)) else {
            continue;
        };
        let (Some(first), Some(taken)) = (held.acquire(), next_seen.acquire()) else { continue };
        let Some((.., lease)) = first.granted() else { continue };
        let ends = *ends.entry(lease).or_insert_with(|| latest_end(facts, lease));
        let (Some(ends), Some(granted)) = (ends, taken.complete) else { continue };
        let Some(outages) = outages.between(first.invoke, granted) else { continue };
        let slack_ms = facts.bounds.late_slack_ms + facts.bounds.tick_ms * leader_changes(facts, expired, next);
        let due = ends.max(taken.sent());
        let latest = Moment(due.0 + u64::try_from(outages.as_nanos()).unwrap_or(u64::MAX)).plus_ms(slack_ms);
        report.hold(C5, granted <= latest, || {
            format!(
                "{}: the lease of token {} was over by {ends}, token {} was granted only at {granted}: later than {latest} \
                 (outages {outages:?}, slack {slack_ms} ms)",
                expired.lock, expired.token, next.token
            )
        });
    }
}

/// The last moment at which the lease can have run out; None when that is not known.
fn latest_end(facts: &Facts<'_>, lease: &str) -> Option<Moment> {
    let stretch = |ttl_ms: u64| ttl_ms + (ttl_ms * 2 * facts.bounds.drift_max_ppm).div_ceil(1_000_000);
    let mut latest = None;
    for record in &facts.leases.get(lease)?.kept_alive {
        let ttl_ms = match (&record.call, &record.response) {
            (Call::Acquire(acquire), Response::Granted { .. }) => acquire.ttl_ms,
            (Call::OpenSession(open), Response::Opened { .. }) => open.ttl_ms,
            (Call::Renew(renew), Response::Renewed { .. }) => renew.ttl_ms,
            (_, Response::Unknown) => return None,
            _ => continue,
        };
        latest = latest.max(Some(record.complete?.plus_ms(stretch(ttl_ms))));
    }
    latest
}

/// Faults, to be asked for often.
struct Outages<'a> {
    /// By their begin.
    faults: Vec<&'a Fault>,
    /// The latest end among the first so many.
    latest: Vec<Moment>,
}

impl<'a> Outages<'a> {
    fn of(faults: &'a [Fault]) -> Self {
        let mut faults: Vec<&Fault> = faults.iter().collect();
        faults.sort_by_key(|fault| fault.begin);
        let latest = faults.iter().scan(Moment::default(), |latest, fault| {
            *latest = fault.end.unwrap_or(Moment(u64::MAX)).max(*latest);
            Some(*latest)
        });
        Self { latest: latest.collect(), faults }
    }

    /// How long faults lasted between two moments; None when one of them never ended.
    fn between(&self, from: Moment, until: Moment) -> Option<Duration> {
        let begun = self.faults.partition_point(|fault| fault.begin <= until);
        let overlapping = (0..begun).rev().take_while(|at| self.latest[*at] >= from).map(|at| self.faults[at]);
        let overlapping = overlapping.filter(|fault| fault.end.is_none_or(|end| end >= from));
        overlapping.map(|fault| Some(fault.end?.min(until).since(fault.begin.max(from)))).sum()
    }
}

fn leader_changes(facts: &Facts<'_>, from: &ReplayedGrant, to: &ReplayedGrant) -> u64 {
    let term = |index: u64| Some(facts.log.as_ref()?.log.at(index)?.term);
    term(to.index).unwrap_or(0).saturating_sub(term(from.index).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use leasehold_state_machine::{LeaseRequest, Mode};

    use super::super::fixture::{Fixture, acquire_as, grants, grants_as, queued, session};
    use super::{C5, Outages};
    use crate::clock::Moment;
    use crate::history::{Acquire, Fault};

    /// Token 1 is granted at 10 and not renewed, token 2 waits and is granted by the expiry.
    fn expiry() -> Fixture {
        let fixture = Fixture::default().founded().acquire(10, "a", 1, None, grants("a", 1));
        fixture.acquire(20, "a", 2, Some(9_000), queued(0, 9_020)).tick(1_011).node(1)
    }

    #[test]
    fn a_grant_right_after_the_expiry_passes() {
        expiry().granted("a", 1, 5, 15).waited("a", 2, 18, 1_050).assert_holds_in_a_true_log(C5);
    }

    #[test]
    fn an_outage_excuses() {
        expiry().granted("a", 1, 5, 15).waited("a", 2, 18, 8_000).fault(500, 7_500).assert_holds(C5);
    }

    #[test]
    fn outages_count_where_they_overlap_with_what_is_asked_for() {
        let at = |ms| Moment::default().plus_ms(ms);
        let fault =
            |begin, end: Option<u64>| Fault { what: String::new(), node: None, begin: at(begin), end: end.map(at) };
        // One lasts beyond those that began after it.
        let faults = [fault(50, Some(60)), fault(0, Some(100)), fault(10, Some(20)), fault(200, None)];
        let outages = Outages::of(&faults);
        let between = |from, until| outages.between(at(from), at(until)).map(|long| long.as_millis());
        assert_eq!(between(70, 80), Some(10));
        assert_eq!(between(15, 55), Some(40 + 5 + 5));
        assert_eq!(between(101, 199), Some(0));
        assert_eq!(between(90, 200), None);
    }

    #[test]
    fn a_grant_seconds_after_the_expiry_is_caught() {
        let fixture = expiry().granted("a", 1, 5, 15).waited("a", 2, 18, 8_000).fault(500, 600);
        fixture.assert_broken(C5, &["C5", "default/a", "token 1", "over by 1.017000 s", "token 2", "8.000000 s"]);
    }

    #[test]
    fn a_session_runs_out_in_time_too() {
        let under_session = acquire_as("a", 1, 1, None, |acquire| {
            acquire.lease = LeaseRequest::Session { session: session() };
        });
        let held = grants_as("a", 1, Mode::Exclusive, session(), 990);
        let log = Fixture::default().founded().open(10).entry(20, under_session, held);
        let log = log.acquire(30, "a", 2, Some(9_000), queued(0, 9_030)).tick(1_011).node(1);
        let clients = log.opened(5, 15).granted_as("a", 1, 16, 25, |acquire: &mut Acquire| {
            acquire.session = Some(session().to_string().into());
            acquire.ttl_ms = 0;
        });
        let fixture = clients.waited("a", 2, 28, 8_000);
        fixture.assert_broken(C5, &["token 1", "over by 1.017000 s", "token 2", "8.000000 s"]);
    }
}
