//! C6: nothing acknowledged is lost: what a client was told is in the final log.

use leasehold_state_machine::{Outcome, Renewed, ValueSet};

use super::facts::{Facts, LogFacts, lease_of};
use super::report::{Invariant::C6, Report};
use crate::history::{Acquire, Call, Record, Response};

pub(super) fn check(facts: &Facts<'_>, report: &mut Report) {
    let Some(log) = &facts.log else { return };
    for record in facts.records {
        let Some(complete) = record.complete else { continue };
        let Some(found) = is_there(facts, log, record).filter(|found| *found || log.whole) else { continue };
        report.hold(C6, found, || breach(log, record, complete));
    }
}

/// Whether the log says what the client was told; None where there is nothing to look for.
fn is_there(facts: &Facts<'_>, log: &LogFacts<'_>, record: &Record) -> Option<bool> {
    match (&record.call, &record.response) {
        (Call::Acquire(acquire), Response::Granted { token, .. }) => grant_is_there(facts, log, acquire, *token),
        (Call::Release(release), Response::Released(true)) => Some(released_once(log, release.token, false)),
        (Call::ForceRelease(release), Response::Released(true)) => Some(released_once(log, release.token, true)),
        (Call::Renew(renew), Response::Renewed { .. }) => lease_of(&renew.lease).map(|lease| {
            let mut renewals = log.renewals.get(&lease).into_iter().flatten();
            renewals.any(|(_, renewed)| matches!(renewed, Renewed::Alive { .. }))
        }),
        (Call::OpenSession(open), Response::Opened { .. }) => {
            lease_of(&open.session).map(|session| log.openings.contains_key(&session))
        }
        (Call::CloseLease(lease), Response::Closed(true)) => {
            lease_of(lease).map(|lease| log.closes.contains_key(&lease))
        }
        (Call::SetValue { token, .. }, Response::ValueSet { version }) => {
            let expected = Outcome::ValueSet(ValueSet::Set { version: *version });
            Some(log.values.get(token).into_iter().flatten().any(|applied| *applied.outcome == expected))
        }
        _ => None,
    }
}

fn released_once(log: &LogFacts<'_>, token: u64, forced: bool) -> bool {
    let releases = log.releases.get(&token).into_iter().flatten();
    releases.filter(|one| one.released.released && one.forced == forced).count() == 1
}

/// Whether the log has the grant; None when the call has no request id to look for.
fn grant_is_there(facts: &Facts<'_>, log: &LogFacts<'_>, acquire: &Acquire, token: u64) -> Option<bool> {
    let request = acquire.request?;
    if let Some(replay) = &facts.replay {
        return Some(replay.grant(token).is_some_and(|grant| grant.request == request));
    }
    let sends = log.acquires.get(&request)?;
    Some(sends.iter().any(|(_, applied)| match applied.outcome {
        Outcome::Granted(granted) => granted.grants.iter().any(|grant| grant.token.0 == token),
        Outcome::Queued(_) => true,
        _ => false,
    }))
}

fn breach(log: &LogFacts<'_>, record: &Record, complete: crate::clock::Moment) -> String {
    let (last, lock, worker) = (log.log.committed().last().map_or(0, |entry| entry.index), &record.lock, record.worker);
    format!(
        "{lock}: worker {worker} was answered {:?} to {:?} at {complete}; the log of node {}, which ends at index {last}, \
         does not say so once",
        record.response, record.call, log.log.node
    )
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, grants, queued, session};
    use super::C6;
    use crate::history::{Call, Response};

    fn log() -> Fixture {
        let fixture = Fixture::default().founded().acquire(10, "a", 1, None, grants("a", 1));
        let fixture = fixture.acquire(20, "a", 2, Some(9_000), queued(0, 9_020));
        fixture.renew(25, 1).release(30, "a", 1, true).open(35).close(40, session(), 0).force_release(45, "a", 2)
    }

    fn closed(fixture: Fixture) -> Fixture {
        let call = Call::CloseLease(session().to_string().into());
        fixture.call("", 39, Some(41), call, Response::Closed(true))
    }

    #[test]
    fn what_the_log_says_passes() {
        let fixture = log().node(1).granted("a", 1, 5, 12).renewed("a", 1, 24, 26).released("a", 1, 29, 31);
        let fixture = closed(fixture.opened(34, 36)).waited("a", 2, 15, 32).forced("a", 2, 44, 46);
        fixture.assert_holds_in_a_true_log(C6);
    }

    #[test]
    fn a_lost_grant_is_caught() {
        let fixture = log().node(1).granted("a", 7, 5, 12);
        fixture.assert_broken(C6, &["C6", "default/a", "token: 7", "0.012000 s", "index 8"]);
    }

    #[test]
    fn a_lost_release_is_caught() {
        log().node(1).released("a", 2, 40, 50).assert_broken(C6, &["C6", "Released(true)", "token: 2", "0.050000 s"]);
    }

    #[test]
    fn a_lost_forced_release_is_caught() {
        log().node(1).forced("a", 1, 40, 50).assert_broken(C6, &["C6", "ForceRelease", "token: 1"]);
    }

    #[test]
    fn a_lost_renewal_is_caught() {
        log().node(1).renewed("a", 2, 40, 50).assert_broken(C6, &["C6", "Renewed", "token: Some(2)"]);
    }

    #[test]
    fn a_lost_session_is_caught() {
        let fixture = Fixture::default().founded().node(1);
        closed(fixture.opened(10, 20)).assert_broken(C6, &["C6", "OpenSession", &session().to_string(), "0.020000 s"]);
    }

    #[test]
    fn a_lost_value_is_caught() {
        let call = Call::SetValue { token: 1, version: 0 };
        let fixture = log().node(1).call("a", 20, Some(30), call, Response::ValueSet { version: 1 });
        fixture.assert_broken(C6, &["C6", "SetValue", "version: 1"]);
    }
}
