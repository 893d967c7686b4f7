//! C7: one effect per request id: through whatever node and however often it was sent, it made at most one grant of each of
//! its locks, except that a later attempt may be granted after a cancel undid the earlier one.

use std::collections::{BTreeMap, BTreeSet};

use leasehold_state_machine::{Cancelled, LossReason, Outcome, RequestId};

use super::facts::Facts;
use super::report::{Invariant::C7, Report};

pub(super) fn check(facts: &Facts<'_>, report: &mut Report) {
    let mut tokens: BTreeMap<(RequestId, String), BTreeSet<u64>> = BTreeMap::new();
    let mut note = |request: RequestId, lock: String, token: u64| {
        tokens.entry((request, lock)).or_default().insert(token);
    };
    for (token, seen) in &facts.seen {
        for record in &seen.acquires {
            if let Some(request) = record.granted().and_then(|(acquire, ..)| acquire.request) {
                note(request, record.lock.to_string(), *token);
            }
        }
    }
    if let Some(log) = &facts.log {
        for grant in log.outright_grants() {
            note(grant.request, grant.lock, grant.token);
        }
    }
    if let Some(replay) = &facts.replay {
        for grant in replay.grants.values() {
            note(grant.request, grant.lock.clone(), grant.token);
        }
    }
    for ((request, lock), tokens) in tokens {
        let lasting = || tokens.len().saturating_sub(undone(facts, request, &tokens));
        report.hold(C7, tokens.len() <= 1 || lasting() <= 1, || {
            let tokens: Vec<String> = tokens.iter().map(|token| format!("token {token}")).collect();
            format!("request {request} was granted {lock} {} times: {}", tokens.len(), tokens.join(", "))
        });
    }
}

/// Grants of a request that a cancel undid.
fn undone(facts: &Facts<'_>, request: RequestId, tokens: &BTreeSet<u64>) -> usize {
    if let Some(replay) = &facts.replay {
        let of_request = tokens.iter().filter_map(|token| replay.grant(*token));
        return of_request.filter(|grant| grant.end.is_some_and(|end| end.why == LossReason::Cancelled)).count();
    }
    let cancels = facts.log.as_ref().and_then(|log| log.cancels.get(&request));
    let undid = |outcome: &Outcome| *outcome == Outcome::Cancelled(Cancelled::UndidGrant);
    cancels.map_or(0, |cancels| cancels.iter().filter(|(_, applied)| undid(applied.outcome)).count())
}

#[cfg(test)]
mod tests {
    use leasehold_state_machine::{Cancelled, LeaseId, LockRequest, Mode, Outcome};

    use super::super::fixture::{Fixture, acquire, acquire_as, cancel, grants, grants_as, request};
    use super::C7;

    #[test]
    fn a_duplicate_with_the_same_token_passes() {
        let fixture = Fixture::default().founded().acquire(10, "a", 1, None, grants("a", 1));
        let again = grants_as("a", 1, Mode::Exclusive, LeaseId(1), 990);
        let fixture = fixture.acquire(20, "a", 1, None, again).node(1).granted("a", 1, 0, 30);
        fixture.assert_holds_in_a_true_log(C7);
    }

    #[test]
    fn a_token_for_each_of_several_locks_passes() {
        let both = acquire_as("a", 1, 1, None, |acquire| {
            acquire.locks.push(LockRequest { name: "b".into(), mode: Mode::Exclusive });
        });
        let Outcome::Granted(mut granted) = grants("a", 1) else { unreachable!() };
        granted.grants.push(leasehold_state_machine::GrantedLock {
            name: "b".into(),
            token: leasehold_state_machine::FencingToken(2),
            ..granted.grants[0].clone()
        });
        let fixture = Fixture::default().founded().entry(10, both, Outcome::Granted(granted)).node(1);
        fixture.assert_holds_in_a_true_log(C7);
    }

    #[test]
    fn a_second_grant_of_one_request_is_caught() {
        let fixture = Fixture::default().founded().acquire(10, "a", 1, None, grants("a", 1)).release(20, "a", 1, true);
        let fixture = fixture.acquire(30, "a", 1, None, grants("a", 2)).node(1);
        fixture.assert_broken(C7, &["C7", &request(1).to_string(), "2 times", "token 1", "token 2"]);
    }

    #[test]
    fn a_second_grant_after_a_cancel_passes() {
        let fixture = Fixture::default().founded().acquire(10, "a", 1, None, grants("a", 1));
        let fixture = fixture.entry(20, cancel(1), Outcome::Cancelled(Cancelled::UndidGrant));
        let again = acquire("a", 1, 2, None);
        let second = grants_as("a", 2, Mode::Exclusive, LeaseId(2), 1_000);
        fixture.entry(30, again, second).node(1).assert_holds_in_a_true_log(C7);
    }
}
