//! C2: fencing tokens strictly increase, over the whole cluster and for ever; none is given out twice.

use leasehold_state_machine::RequestId;

use super::facts::{Facts, OutrightGrant};
use super::report::{Invariant::C2, Report};

pub(super) fn check(facts: &Facts<'_>, report: &mut Report) {
    for (token, seen) in &facts.seen {
        let mut requests: Vec<Option<RequestId>> =
            seen.acquires.iter().map(|record| record.granted().and_then(|(acquire, ..)| acquire.request)).collect();
        requests.sort_unstable();
        let distinct = requests.windows(2).all(|pair| pair[0] == pair[1] && pair[0].is_some());
        report.hold(C2, distinct, || {
            let whose: Vec<String> = seen
                .acquires
                .iter()
                .map(|record| format!("worker {} on {} at {}", record.worker, record.lock, record.sent()))
                .collect();
            format!("token {token} was given out twice: to {}", whose.join(", and to "))
        });
    }
    let Some(log) = &facts.log else { return };
    // Only of a grant whose lease is untouched is it known when it was made: a repeated answer names an older token.
    let mut made: Vec<_> = log.outright_grants().filter(OutrightGrant::is_fresh).collect();
    made.sort_by_key(|grant| (grant.token, grant.applied.place()));
    made.dedup_by_key(|grant| grant.token);
    for pair in made.windows(2) {
        let [a, b] = pair else { continue };
        report.hold(C2, a.applied.entry.now <= b.applied.entry.now, || {
            format!(
                "token {} was granted at index {}, the greater token {} before it at index {}",
                a.token, a.applied.entry.index, b.token, b.applied.entry.index
            )
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, grants};
    use super::C2;

    #[test]
    fn increasing_tokens_pass() {
        let fixture = Fixture::default().granted("a", 1, 0, 1).granted("b", 2, 0, 1).founded();
        let fixture = fixture.acquire(1, "a", 1, None, grants("a", 1)).acquire(2, "b", 2, None, grants("b", 2));
        fixture.node(1).assert_holds(C2);
    }

    #[test]
    fn a_token_given_out_twice_is_caught() {
        let mut fixture = Fixture::default().granted("a", 5, 0, 1).granted("b", 5, 0, 1);
        fixture = fixture.with_last_request(6);
        fixture.assert_broken(C2, &["C2", "token 5", "twice", "default/a", "default/b"]);
    }

    #[test]
    fn a_token_that_goes_back_in_the_log_is_caught() {
        let fixture = Fixture::default().founded().acquire(1, "a", 1, None, grants("a", 8));
        let fixture = fixture.acquire(2, "b", 2, None, grants("b", 7)).node(1);
        fixture.assert_broken(C2, &["token 7", "index 3", "token 8", "index 2"]);
    }
}
