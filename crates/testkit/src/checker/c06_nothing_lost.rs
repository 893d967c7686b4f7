//! C6: nothing acknowledged is lost: what a client was told is in the final log.

use super::facts::{Facts, LogFacts};
use super::report::{Invariant::C6, Report};
use crate::dump::{Lease, Outcome, Renewed};
use crate::history::{Acquire, Call, Record, Response};

pub(super) fn check(facts: &Facts<'_>, report: &mut Report) {
    let Some(log) = &facts.log else { return };
    for record in facts.records {
        let Some(complete) = record.complete else { continue };
        let found = match (&record.call, &record.response) {
            (Call::Acquire(acquire), Response::Granted { token, .. }) => grant_is_there(facts, log, acquire, *token),
            (Call::Release(release), Response::Released(true)) => {
                let sends = log.releases.get(&release.token);
                let released = |applied: &&_| matches!(released_by(applied), Some(true));
                Some(sends.is_some_and(|sends| sends.iter().filter(released).count() == 1))
            }
            (Call::Renew(renew), Response::Renewed { .. }) => Lease::parse(&renew.lease).map(|lease| {
                let renewals = log.renewals.get(&lease);
                renewals.is_some_and(|all| all.iter().any(|(_, renewed)| matches!(renewed, Renewed::Alive { .. })))
            }),
            _ => None,
        };
        let Some(found) = found.filter(|found| *found || log.whole) else { continue };
        report.hold(C6, found, || breach(log, record, complete));
    }
}

fn released_by(applied: &super::facts::Applied<'_>) -> Option<bool> {
    match applied.outcome {
        Outcome::Released { released, .. } => Some(*released),
        _ => None,
    }
}

/// Whether the log has the grant; None when the call has no request id to look for.
fn grant_is_there(facts: &Facts<'_>, log: &LogFacts<'_>, acquire: &Acquire, token: u64) -> Option<bool> {
    let request = acquire.request?;
    if let Some(replay) = &facts.replay {
        return Some(replay.grant(token).is_some_and(|grant| grant.request == request));
    }
    let sends = log.acquires.get(&request)?;
    Some(sends.iter().any(|(_, applied)| match applied.outcome {
        Outcome::Granted { grants, .. } => grants.iter().any(|grant| grant.token == token),
        Outcome::Queued { .. } => true,
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
    use super::super::fixture::{Fixture, grants, queued};
    use super::C6;
    use serde_json::json;

    fn log() -> Fixture {
        let fixture = Fixture::default().founded().acquire(10, "a", 1, None, grants("a", 1));
        let fixture = fixture.acquire(20, "a", 2, Some(9_000), queued(0, 9_020));
        fixture.renew(25, 1, json!({"Alive": {"left_ms": 1_000}})).release(30, "a", 1, true)
    }

    #[test]
    fn what_the_log_says_passes() {
        let fixture = log().node(1).granted("a", 1, 5, 12).renewed("a", 1, 24, 26).released("a", 1, 29, 31);
        fixture.waited("a", 2, 15, 32).assert_holds(C6);
    }

    #[test]
    fn a_lost_grant_is_caught() {
        let fixture = log().node(1).granted("a", 7, 5, 12);
        fixture.assert_broken(C6, &["C6", "default/a", "token: 7", "0.012000 s", "index 5"]);
    }

    #[test]
    fn a_lost_release_is_caught() {
        log().node(1).released("a", 2, 40, 50).assert_broken(C6, &["C6", "Released(true)", "token: 2", "0.050000 s"]);
    }

    #[test]
    fn a_lost_renewal_is_caught() {
        log().node(1).renewed("a", 2, 40, 50).assert_broken(C6, &["C6", "Renewed", "token: 2"]);
    }
}
