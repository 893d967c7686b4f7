//! C9: only the holder releases or renews: a token releases its own lock, once, while its lease lives; a lease that has
//! ended is not renewed back to life.

use std::collections::BTreeMap;

use super::facts::{Applied, Facts, LogFacts};
use super::report::{Invariant::C9, Report};
use crate::dump::{Lease, Outcome, Renewed};

/// What is known of a token from the answers that named it.
struct Token {
    lock: String,
    lease: Lease,
    /// The end of its lease at its grant, where the entry of the grant is known.
    deadline: Option<u64>,
}

pub(super) fn check(facts: &Facts<'_>, report: &mut Report) {
    let Some(log) = &facts.log else { return };
    let tokens = tokens(facts, log);
    let mut released_at: BTreeMap<Lease, (u64, Applied<'_>)> = BTreeMap::new();
    for (token, releases) in &log.releases {
        let mut done =
            releases.iter().filter(|applied| matches!(applied.outcome, Outcome::Released { released: true, .. }));
        let Some(first) = done.next() else { continue };
        let again = done.next();
        report.hold(C9, again.is_none(), || {
            let (a, b) = (first.entry.index, again.map_or(0, |again| again.entry.index));
            format!("token {token} was released twice: at index {a} and at index {b}")
        });
        let known = tokens.get(token);
        if let Some(replay) = &facts.replay {
            let granted = known.is_some() || replay.grant(*token).is_some();
            report.hold(C9, granted, || {
                format!("token {token} was released at index {}, but never granted", first.entry.index)
            });
        }
        let Some(known) = known else { continue };
        released_at.insert(known.lease, (*token, *first));
        check_release(log, report, *token, known, first);
    }
    check_endings(facts, report);
    for known in tokens.values() {
        check_renewals(log, report, known, released_at.get(&known.lease));
    }
}

/// A grant that its client was told of is ended by its client, or by its lease's time; not, say, by a node that cancels
/// a call whose answer was handed out.
fn check_endings(facts: &Facts<'_>, report: &mut Report) {
    let Some(replay) = &facts.replay else { return };
    for (token, seen) in &facts.seen {
        let (Some(acquire), Some(grant)) = (seen.acquire(), replay.grant(*token)) else { continue };
        report.hold(C9, !grant.ended_by_command() || seen.gave_up().next().is_some(), || {
            format!(
                "{}: token {token} of worker {} was ended by a command ({:?}), which its client never sent",
                acquire.lock,
                acquire.worker,
                grant.end.as_ref().map(|end| end.why)
            )
        });
    }
}

fn tokens(facts: &Facts<'_>, log: &LogFacts<'_>) -> BTreeMap<u64, Token> {
    let mut tokens = BTreeMap::new();
    for (token, seen) in &facts.seen {
        let Some(record) = seen.acquire() else { continue };
        let Some(lease) = record.granted().and_then(|(.., lease)| Lease::parse(lease)) else { continue };
        tokens.insert(*token, Token { lock: record.lock.to_string(), lease, deadline: None });
    }
    for grant in log.outright_grants() {
        let deadline = (!grant.confirm).then_some(grant.applied.entry.now + grant.left_ms);
        let token = tokens.entry(grant.token).or_insert(Token { lock: grant.lock, lease: grant.lease, deadline });
        token.deadline = token.deadline.or(deadline);
    }
    tokens
}

fn check_release(log: &LogFacts<'_>, report: &mut Report, token: u64, known: &Token, release: &Applied<'_>) {
    let command = &release.entry.commands[release.ordinal].operation;
    if let crate::dump::Operation::Release { namespace, name, .. } = command {
        let lock = super::facts::lock_of(namespace, name);
        report.hold(C9, lock == known.lock, || {
            format!("token {token} of {} released {lock} at index {}", known.lock, release.entry.index)
        });
    }
    let renewals = log.renewals.get(&known.lease).into_iter().flatten();
    let deadline = renewals
        .filter(|(applied, _)| applied.place() < release.place())
        .filter_map(|(applied, renewed)| match renewed {
            Renewed::Alive { left_ms } => Some(applied.entry.now + left_ms),
            _ => None,
        })
        .chain(known.deadline)
        .max();
    let now = release.entry.now;
    report.hold(C9, deadline.is_none_or(|deadline| now <= deadline), || {
        let deadline = deadline.unwrap_or(0);
        format!(
            "token {token} released {} at index {}, {now} ms of log time: its lease was over at {deadline} ms",
            known.lock, release.entry.index
        )
    });
}

fn check_renewals(log: &LogFacts<'_>, report: &mut Report, known: &Token, released: Option<&(u64, Applied<'_>)>) {
    let mut deadline = known.deadline;
    for (applied, renewed) in log.renewals.get(&known.lease).into_iter().flatten() {
        let Renewed::Alive { left_ms } = renewed else { continue };
        let now = applied.entry.now;
        report.hold(C9, deadline.is_none_or(|deadline| now <= deadline), || {
            format!(
                "lease {:?} of {} was renewed at index {}, {now} ms of log time: it was over at {} ms",
                known.lease,
                known.lock,
                applied.entry.index,
                deadline.unwrap_or(0)
            )
        });
        let after = released.filter(|(_, release)| release.place() < applied.place());
        report.hold(C9, after.is_none(), || {
            let (token, release) = after.map_or((0, 0), |(token, release)| (*token, release.entry.index));
            format!(
                "lease {:?} of {} was renewed at index {}, after token {token} was released at index {release}",
                known.lease, known.lock, applied.entry.index
            )
        });
        deadline = deadline.max(Some(now + left_ms));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixture::{Fixture, grants, request};
    use super::C9;

    fn held() -> Fixture {
        Fixture::default().founded().acquire(10, "a", 1, None, grants("a", 1))
    }

    #[test]
    fn a_holder_renews_and_releases_once() {
        let alive = json!({"Alive": {"left_ms": 1_000}});
        let fixture = held().renew(900, 1, alive).release(1_800, "a", 1, true).release(1_900, "a", 1, false);
        fixture.node(1).assert_holds(C9);
    }

    #[test]
    fn a_second_release_is_caught() {
        let fixture = held().release(20, "a", 1, true).release(30, "a", 1, true).node(1);
        fixture.assert_broken(C9, &["C9", "token 1", "twice", "index 3", "index 4"]);
    }

    #[test]
    fn a_cancel_that_the_client_never_sent_is_caught() {
        let cancel = json!({"CancelAcquire": {"request": request(1), "attempt": 1}});
        let fixture = held().entry(20, cancel, json!({"Cancelled": "UndidGrant"})).node(1).granted("a", 1, 5, 15);
        fixture.assert_broken(C9, &["default/a", "token 1", "Cancelled", "never sent"]);
    }

    #[test]
    fn a_release_of_another_lock_is_caught() {
        held()
            .release(20, "b", 1, true)
            .node(1)
            .assert_broken(C9, &["token 1 of default/a released default/b", "index 3"]);
    }

    #[test]
    fn a_release_after_the_end_of_the_lease_is_caught() {
        let fixture = held().release(1_011, "a", 1, true).node(1);
        fixture.assert_broken(C9, &["token 1", "index 3", "1011 ms", "over at 1010 ms"]);
    }

    #[test]
    fn a_renewal_of_a_lease_that_was_over_is_caught() {
        let fixture = held().renew(1_500, 1, json!({"Alive": {"left_ms": 1_000}})).node(1);
        fixture.assert_broken(C9, &["0000000000000001", "index 3", "1500 ms", "over at 1010 ms"]);
    }

    #[test]
    fn a_renewal_after_the_release_is_caught() {
        let fixture = held().release(20, "a", 1, true).renew(30, 1, json!({"Alive": {"left_ms": 1_000}})).node(1);
        fixture.assert_broken(C9, &["renewed at index 4", "token 1", "index 3"]);
    }
}
