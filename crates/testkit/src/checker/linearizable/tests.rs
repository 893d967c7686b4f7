//! Histories of one lock that are in order, and planted ones beside them that are not.

use leasehold_state_machine::Mode;

use super::super::fixture::{Fixture, call, lease, request};
use super::Linearizable;
use crate::history::{Acquire, Call, Release, Renew, Response};

const X: Mode = Mode::Exclusive;
const S: Mode = Mode::Shared;

/// Token 1 is granted and released, token 2 follows.
fn handed_over(second_answered: u64) -> Fixture {
    Fixture::default().granted("a", 1, 0, 10).released("a", 1, 50, 60).granted("a", 2, 15, second_answered)
}

#[test]
fn a_lock_that_is_handed_over_has_an_order() {
    handed_over(55).read("a", 5, 20, 0, &[(1, X)]).read("a", 54, 57, 0, &[]).assert_holds(Linearizable);
}

#[test]
fn a_double_grant_is_found() {
    handed_over(40)
        .assert_broken(Linearizable, &["Linearizable", "default/a", "token 2", "0.040000 s", "held by tokens [1]"]);
}

#[test]
fn a_stale_read_is_found() {
    handed_over(55).read("a", 61, 70, 0, &[(1, X)]).assert_broken(Linearizable, &["read of tokens [1]", "0.061000 s"]);
    handed_over(55).read("a", 61, 70, 0, &[]).assert_broken(Linearizable, &["read of tokens []"]);
    handed_over(55).read("a", 61, 70, 0, &[(2, X)]).assert_holds(Linearizable);
}

#[test]
fn reads_that_go_back_are_found() {
    let both = |first: &[(u64, Mode)], then: &[(u64, Mode)]| {
        handed_over(58).read("a", 51, 53, 0, first).read("a", 54, 56, 0, then)
    };
    both(&[(1, X)], &[(2, X)]).assert_holds(Linearizable);
    both(&[(2, X)], &[(1, X)]).assert_broken(Linearizable, &["no order"]);
}

#[test]
fn a_grant_after_the_expiry_passes_and_one_before_it_is_found() {
    let next = |done| Fixture::default().granted("a", 1, 0, 10).granted("a", 2, 20, done);
    next(1_000).assert_holds(Linearizable);
    next(999).assert_broken(Linearizable, &["grant of token 2", "0.999000 s", "held by tokens [1]"]);
}

#[test]
fn a_renewal_moves_the_expiry() {
    let next = |done| Fixture::default().granted("a", 1, 0, 10).renewed("a", 1, 500, 510).granted("a", 2, 20, done);
    next(1_500).assert_holds(Linearizable);
    next(1_499).assert_broken(Linearizable, &["grant of token 2"]);
}

#[test]
fn a_renewal_after_the_next_grant_is_found() {
    let fixture = || Fixture::default().granted("a", 1, 0, 10).granted("a", 2, 20, 2_000);
    let renew = |fixture: Fixture, sent| {
        let renew = Renew { lease: lease(1).into(), token: Some(1), ttl_ms: 0 };
        fixture.call("a", sent, Some(sent + 5), Call::Renew(renew), Response::Renewed { left_ms: 0 })
    };
    renew(fixture(), 1_500).assert_holds(Linearizable);
    renew(fixture(), 2_001).assert_broken(Linearizable, &["grant of token 2", "held by tokens [1]"]);
    let released = || Fixture::default().granted("a", 1, 0, 10).released("a", 1, 20, 30);
    renew(released(), 25).assert_holds(Linearizable);
    renew(released(), 31).assert_broken(Linearizable, &["lease alive", "held by tokens []"]);
}

#[test]
fn a_release_whose_answer_was_lost_may_have_happened_at_any_time() {
    let lost = |sent| {
        let release = Call::Release(Release { token: 1 });
        let fixture = Fixture::default().granted("a", 1, 0, 10).call("a", sent, None, release, Response::Unknown);
        fixture.granted("a", 2, 20, 500)
    };
    lost(400).assert_holds(Linearizable);
    lost(501).assert_broken(Linearizable, &["grant of token 2"]);
    lost(400).read("a", 450, 460, 0, &[(1, X)]).assert_holds(Linearizable);
    lost(400).read("a", 501, 502, 0, &[(1, X)]).assert_broken(Linearizable, &["read of tokens [1]"]);
}

#[test]
fn a_grant_that_only_a_read_shows_counts() {
    let read = |done| Fixture::default().read("a", 0, 10, 0, &[(1, X)]).granted("a", 2, 20, done);
    // When it ends nobody knows.
    read(30).assert_holds(Linearizable);
    read(30).read("a", 31, 40, 0, &[(1, X)]).assert_broken(Linearizable, &["read of tokens [1]"]);
}

#[test]
fn those_who_share_are_read_together_and_exclude_a_writer() {
    let shared = |fixture: Fixture, token| fixture.granted_as("a", token, 0, 10, |acquire| acquire.mode = S);
    let two = || shared(shared(Fixture::default(), 1), 2);
    two().read("a", 20, 30, 0, &[(1, S), (2, S)]).assert_holds(Linearizable);
    two().read("a", 20, 30, 0, &[(2, S)]).assert_broken(Linearizable, &["read of tokens [2]"]);
    two()
        .released("a", 1, 40, 50)
        .granted("a", 3, 45, 60)
        .assert_broken(Linearizable, &["grant of token 3", "tokens [2]"]);
}

#[test]
fn permits_are_summed() {
    let taken = |permits, token| {
        move |fixture: Fixture| {
            fixture.granted_as("a", token, 0, 10, |acquire| acquire.mode = Mode::Permits { permits, limit: 3 })
        }
    };
    let two = || taken(1, 2)(taken(2, 1)(Fixture::default()));
    two().assert_holds(Linearizable);
    taken(1, 3)(two()).assert_broken(Linearizable, &["Permits"]);
    taken(1, 3)(two()).released("a", 1, 5, 12).assert_holds(Linearizable);
}

#[test]
fn an_upgrade_takes_the_place_of_its_grant() {
    let shared = || Fixture::default().granted_as("a", 1, 0, 10, |acquire| acquire.mode = S);
    let upgraded = |fixture: Fixture| fixture.granted_as("a", 2, 20, 30, |acquire| acquire.replaces = Some(1));
    upgraded(shared()).read("a", 31, 40, 0, &[(2, X)]).assert_holds(Linearizable);
    upgraded(shared()).read("a", 31, 40, 0, &[(1, S)]).assert_broken(Linearizable, &["read of tokens [1]"]);
    let released_before = shared().released("a", 1, 12, 15);
    upgraded(released_before).assert_broken(Linearizable, &["grant of token 2 in place of 1"]);
}

#[test]
fn a_refusal_needs_a_holder_unless_somebody_unseen_may_explain_it() {
    let refused =
        |fixture: Fixture, sent| fixture.call("a", sent, Some(sent + 5), Call::Acquire(call(9)), Response::Held);
    refused(handed_over(55), 20).assert_holds(Linearizable);
    let free = || handed_over(55).released("a", 2, 70, 80);
    refused(free(), 81).assert_broken(Linearizable, &["refused try", "held by tokens []"]);
    let wait = Acquire { wait_ms: Some(1_000), request: Some(request(8)), ..call(8) };
    let fixture = free().call("a", 60, None, Call::Acquire(wait), Response::Unknown);
    refused(fixture, 81).assert_holds(Linearizable);
}

#[test]
fn a_holder_that_was_sure_of_a_lock_that_another_had_is_found() {
    let fixture = |at| Fixture::default().granted("a", 1, 0, 10).granted("a", 2, 20, 1_200).believed("a", 1, at);
    fixture(1_100).assert_holds(Linearizable);
    fixture(1_201).assert_broken(Linearizable, &["token 1, which was said to hold it", "1.201000 s"]);
}

#[test]
fn a_lease_that_was_gone_too_early_is_found() {
    let gone = |sent| {
        let renew = Renew { lease: lease(1).into(), token: Some(1), ttl_ms: 1_000 };
        Fixture::default().granted("a", 1, 0, 10).call("a", sent, Some(sent + 5), Call::Renew(renew), Response::Gone)
    };
    gone(1_000).assert_holds(Linearizable);
    gone(900).assert_broken(Linearizable, &["lease gone", "held by tokens [1]"]);
}

#[test]
fn locks_that_are_too_hard_are_not_passed_in_silence() {
    // Many that nobody can tell apart, and an impossible read at the end.
    let mut fixture = Fixture::default();
    for token in 1..=40 {
        fixture = fixture.granted_as("a", token, 0, 10, |acquire| acquire.mode = S);
        let release = Call::Release(Release { token });
        fixture = fixture.call("a", 20, None, release, Response::Unknown);
    }
    let odd: Vec<(u64, Mode)> = (1..=39).step_by(2).map(|token| (token, S)).collect();
    let even: Vec<(u64, Mode)> = (2..=40).step_by(2).map(|token| (token, S)).collect();
    let fixture = fixture.read("a", 50, 60, 0, &odd).read("a", 70, 80, 0, &even);
    fixture.assert_broken(Linearizable, &["too hard to decide", "default/a"]);
}
