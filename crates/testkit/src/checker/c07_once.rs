//! C7: one effect per request id: through whatever node and however often it was sent, it made at most one grant, except
//! that a later attempt may be granted after a cancel undid the earlier one.

use std::collections::{BTreeMap, BTreeSet};

use leasehold_state_machine::RequestId;

use super::facts::Facts;
use super::model::Why;
use super::report::{Invariant::C7, Report};
use crate::dump::Outcome;

pub(super) fn check(facts: &Facts<'_>, report: &mut Report) {
    let mut tokens: BTreeMap<RequestId, BTreeSet<u64>> = BTreeMap::new();
    for (token, seen) in &facts.seen {
        for (acquire, ..) in seen.acquires.iter().filter_map(|record| record.granted()) {
            if let Some(request) = acquire.request {
                tokens.entry(request).or_default().insert(*token);
            }
        }
    }
    if let Some(log) = &facts.log {
        for grant in log.outright_grants() {
            tokens.entry(grant.request).or_default().insert(grant.token);
        }
    }
    if let Some(replay) = &facts.replay {
        for grant in replay.grants.values() {
            tokens.entry(grant.request).or_default().insert(grant.token);
        }
    }
    for (request, tokens) in tokens {
        let undone = undone(facts, request);
        let lasting = tokens.len().saturating_sub(undone.max(usize::from(tokens.is_empty())));
        report.hold(C7, tokens.len() <= 1 || lasting <= 1 && undone > 0, || {
            let tokens: Vec<String> = tokens.iter().map(|token| format!("token {token}")).collect();
            format!("request {request} was granted {} times: {}", tokens.len(), tokens.join(", "))
        });
    }
}

/// Grants of a request that a cancel undid.
fn undone(facts: &Facts<'_>, request: RequestId) -> usize {
    if let Some(replay) = &facts.replay {
        let of_request = replay.grants.values().filter(|grant| grant.request == request);
        return of_request.filter(|grant| grant.end.as_ref().is_some_and(|end| end.why == Why::Cancelled)).count();
    }
    let cancels = facts.log.as_ref().and_then(|log| log.cancels.get(&request));
    let undid = |outcome: &Outcome| matches!(outcome, Outcome::Cancelled(what) if what == "UndidGrant");
    cancels.map_or(0, |cancels| cancels.iter().filter(|(_, applied)| undid(applied.outcome)).count())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixture::{Fixture, grants, request};
    use super::C7;

    #[test]
    fn a_duplicate_with_the_same_token_passes() {
        let fixture = Fixture::default().founded().acquire(10, "a", 1, None, grants("a", 1));
        fixture.acquire(20, "a", 1, None, grants("a", 1)).node(1).granted("a", 1, 0, 30).assert_holds(C7);
    }

    #[test]
    fn a_second_grant_of_one_request_is_caught() {
        let fixture = Fixture::default().founded().acquire(10, "a", 1, None, grants("a", 1)).release(20, "a", 1, true);
        let fixture = fixture.acquire(30, "a", 1, None, grants("a", 2)).node(1);
        fixture.assert_broken(C7, &["C7", &request(1).to_string(), "2 times", "token 1", "token 2"]);
    }

    #[test]
    fn a_second_grant_after_a_cancel_passes() {
        let cancel = json!({"CancelAcquire": {"request": request(1), "attempt": 1}});
        let fixture = Fixture::default().founded().acquire(10, "a", 1, None, grants("a", 1));
        let fixture = fixture.entry(20, cancel, json!({"Cancelled": "UndidGrant"}));
        let again = super::super::fixture::acquire("a", 1, 2, None);
        fixture.entry(30, again, grants("a", 2)).node(1).assert_holds(C7);
    }
}
