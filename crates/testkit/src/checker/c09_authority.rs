//! C9: only the holder releases or renews: a token releases its own lock, once, while its lease lives; a lease that has
//! ended is not renewed back to life; and nobody's grant ends without its client or a command that may end it.

use std::collections::BTreeMap;

use leasehold_state_machine::{LeaseId, LeaseRequest, Renewed};

use super::facts::{Applied, AppliedRelease, Facts, LogFacts, lease_of};
use super::report::{Invariant::C9, Report};

/// What is known of a token from the answers that named it.
struct Token {
    lock: String,
    lease: LeaseId,
    /// It is all that its lease was made for, so the lease ends with it.
    alone: bool,
}

pub(super) fn check(facts: &Facts<'_>, report: &mut Report) {
    let Some(log) = &facts.log else { return };
    let tokens = tokens(facts, log);
    let lives = lives(log);
    let mut over: BTreeMap<LeaseId, (u64, Applied<'_>)> = BTreeMap::new();
    for (token, releases) in &log.releases {
        let mut done = releases.iter().filter(|one| one.released.released);
        let Some(first) = done.next() else { continue };
        let again = done.next();
        report.hold(C9, again.is_none(), || {
            let (a, b) = (first.applied.entry.index, again.map_or(0, |again| again.applied.entry.index));
            format!("token {token} was released twice: at index {a} and at index {b}")
        });
        let known = tokens.get(token);
        if let Some(replay) = &facts.replay {
            let granted = known.is_some() || replay.grant(*token).is_some();
            report.hold(C9, granted, || {
                format!("token {token} was released at index {}, but never granted", first.applied.entry.index)
            });
        }
        let Some(known) = known else { continue };
        if known.alone {
            over.insert(known.lease, (*token, first.applied));
        }
        check_release(report, *token, known, lives.get(&known.lease), first);
    }
    check_endings(facts, report);
    for (lease, life) in &lives {
        check_renewals(report, *lease, life, over.get(lease));
    }
}

/// A grant that its client was told of is ended by its client, by force, or by its lease's time; not, say, by a node that
/// cancels a call whose answer was handed out.
fn check_endings(facts: &Facts<'_>, report: &mut Report) {
    let Some(replay) = &facts.replay else { return };
    for (token, seen) in &facts.seen {
        let (Some(acquire), Some(grant)) = (seen.acquire(), replay.grant(*token)) else { continue };
        report.hold(C9, !grant.ended_by_command() || facts.gave_up(seen).next().is_some(), || {
            format!(
                "{}: token {token} of worker {} was ended by a command ({:?}), which no client ever sent",
                acquire.lock,
                acquire.worker,
                grant.end.map(|end| end.why)
            )
        });
    }
}

fn tokens(facts: &Facts<'_>, log: &LogFacts<'_>) -> BTreeMap<u64, Token> {
    let mut tokens = BTreeMap::new();
    for (token, seen) in &facts.seen {
        let Some(record) = seen.acquire() else { continue };
        let Some((acquire, _, lease)) = record.granted() else { continue };
        let Some(lease) = lease_of(lease) else { continue };
        let alone = acquire.locks == 1 && acquire.session.is_none() && acquire.replaces.is_none();
        tokens.insert(*token, Token { lock: record.lock.to_string(), lease, alone });
    }
    for grant in log.outright_grants() {
        let alone = matches!(grant.acquire.lease, LeaseRequest::Own { .. }) && grant.acquire.locks.len() == 1;
        tokens.entry(grant.token).or_insert(Token { lock: grant.lock, lease: grant.lease, alone });
    }
    // What was converted has passed its lease on.
    for converted in log.outright_grants().filter_map(|grant| match grant.acquire.lease {
        LeaseRequest::Convert { token } => Some(token.0),
        LeaseRequest::Own { .. } | LeaseRequest::Session { .. } => None,
    }) {
        if let Some(token) = tokens.get_mut(&converted) {
            token.alone = false;
        }
    }
    tokens
}

/// Every answer that says until when a lease lives, in log order: its place, and the latest end that was told so far.
type Life<'a> = Vec<(Applied<'a>, u64)>;

fn lives<'a>(log: &LogFacts<'a>) -> BTreeMap<LeaseId, Life<'a>> {
    let mut lives: BTreeMap<LeaseId, Life<'a>> = BTreeMap::new();
    for grant in log.outright_grants().filter(|grant| !grant.confirm) {
        lives.entry(grant.lease).or_default().push((grant.applied, grant.applied.entry.now + grant.left_ms));
    }
    for (session, openings) in &log.openings {
        let openings = openings.iter().map(|(applied, left_ms)| (*applied, applied.entry.now + left_ms));
        lives.entry(*session).or_default().extend(openings);
    }
    for (lease, renewals) in &log.renewals {
        for (applied, renewed) in renewals {
            if let Renewed::Alive { left_ms, .. } = renewed {
                lives.entry(*lease).or_default().push((*applied, applied.entry.now + left_ms));
            }
        }
    }
    for life in lives.values_mut() {
        life.sort_by_key(|(applied, _)| applied.place());
        let mut latest = 0;
        for (_, end) in life {
            latest = latest.max(*end);
            *end = latest;
        }
    }
    lives
}

fn check_release(
    report: &mut Report,
    token: u64,
    known: &Token,
    life: Option<&Life<'_>>,
    release: &AppliedRelease<'_>,
) {
    let lock = super::facts::lock_of(release.namespace, release.name);
    let applied = &release.applied;
    report.hold(C9, lock == known.lock, || {
        format!("token {token} of {} released {lock} at index {}", known.lock, applied.entry.index)
    });
    let deadline = life.and_then(|life| {
        let before = life.partition_point(|(answer, _)| answer.place() < applied.place());
        Some(life[before.checked_sub(1)?].1)
    });
    let now = applied.entry.now;
    report.hold(C9, deadline.is_none_or(|deadline| now <= deadline), || {
        let deadline = deadline.unwrap_or(0);
        format!(
            "token {token} released {} at index {}, {now} ms of log time: its lease was over at {deadline} ms",
            known.lock, applied.entry.index
        )
    });
}

fn check_renewals(report: &mut Report, lease: LeaseId, life: &Life<'_>, over: Option<&(u64, Applied<'_>)>) {
    let mut deadline: Option<u64> = None;
    for (applied, end) in life {
        let now = applied.entry.now;
        report.hold(C9, deadline.is_none_or(|deadline| now <= deadline), || {
            format!(
                "lease {lease} was alive at index {}, {now} ms of log time: it was over at {} ms",
                applied.entry.index,
                deadline.unwrap_or(0)
            )
        });
        let after = over.filter(|(_, release)| release.place() < applied.place());
        report.hold(C9, after.is_none(), || {
            let (token, release) = after.map_or((0, 0), |(token, release)| (*token, release.entry.index));
            format!(
                "lease {lease} was alive at index {}, after its only token {token} was released at index {release}",
                applied.entry.index
            )
        });
        deadline = Some(*end);
    }
}

#[cfg(test)]
mod tests {
    use leasehold_state_machine::{Cancelled, LeaseRequest, Mode, Outcome};

    use super::super::fixture::{Fixture, acquire_as, cancel, grants, grants_as, session};
    use super::C9;

    fn held() -> Fixture {
        Fixture::default().founded().acquire(10, "a", 1, None, grants("a", 1))
    }

    #[test]
    fn a_holder_renews_and_releases_once() {
        let fixture = held().renew(900, 1).release(1_800, "a", 1, true).release(1_900, "a", 1, false);
        fixture.node(1).assert_holds_in_a_true_log(C9);
    }

    #[test]
    fn a_second_release_is_caught() {
        let fixture = held().release(20, "a", 1, true).release(30, "a", 1, true).node(1);
        fixture.assert_broken(C9, &["C9", "token 1", "twice", "index 3", "index 4"]);
    }

    #[test]
    fn a_cancel_that_the_client_never_sent_is_caught() {
        let undid = Outcome::Cancelled(Cancelled::UndidGrant);
        let fixture = held().entry(20, cancel(1), undid).node(1).granted("a", 1, 5, 15);
        fixture.assert_broken(C9, &["default/a", "token 1", "Cancelled", "no client ever sent"]);
    }

    #[test]
    fn an_end_by_force_is_somebodys_command() {
        let fixture = || held().force_release(20, "a", 1).node(1).granted("a", 1, 5, 15);
        fixture().forced("a", 1, 18, 25).assert_holds_in_a_true_log(C9);
        fixture().assert_broken(C9, &["default/a", "token 1", "Forced", "no client ever sent"]);
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
        let fixture = held().renew(1_500, 1).node(1);
        fixture.assert_broken(C9, &["0000000000000001", "index 3", "1500 ms", "over at 1010 ms"]);
    }

    #[test]
    fn a_renewal_after_the_release_is_caught() {
        let fixture = held().release(20, "a", 1, true).renew(30, 1).node(1);
        fixture.assert_broken(C9, &["alive at index 4", "token 1", "index 3"]);
    }

    #[test]
    fn a_session_outlives_what_is_released_under_it_and_no_more() {
        let under_session = acquire_as("a", 1, 1, None, |acquire| {
            acquire.lease = LeaseRequest::Session { session: session() };
        });
        let held = grants_as("a", 1, Mode::Exclusive, session(), 990);
        let fixture = || Fixture::default().founded().open(10).entry(20, under_session.clone(), held.clone());
        let fixture = |end| fixture().release(30, "a", 1, true).renew_lease(900, session()).renew_lease(end, session());
        fixture(1_900).node(1).assert_holds_in_a_true_log(C9);
        fixture(1_901).node(1).assert_broken(C9, &[&session().to_string(), "index 6", "1901 ms", "over at 1900 ms"]);
    }
}
