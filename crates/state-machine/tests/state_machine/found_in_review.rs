//! What review found in our own design (TESTING.md, "Found in review of our own design"), as far as the tables
//! decide it.

use crate::log::*;
use leasehold_state_machine::*;

const WAIT: Wait = Wait::For { wait_ms: 10_000 };

/// A duplicate's answer overstated what is left of the lease.
#[test]
fn duplicate_states_what_is_left_now() {
    let mut log = Log::founded();
    let first = log.granted(0, try_lock(id(1, 1), "a", 5_000));
    let again = log.granted(3_000, try_lock(id(1, 1), "a", 5_000));
    assert_eq!(again, Granted { left_ms: 2_000, ..first.clone() });
    let later = log.granted(4_000, attempt(try_lock(id(1, 1), "a", 5_000), 2));
    assert_eq!(later, Granted { left_ms: 1_000, ..first.clone() });
    let gone = log.one(5_001, attempt(try_lock(id(1, 1), "a", 5_000), 3));
    assert_eq!(gone, Outcome::Ended(Ended { reason: LossReason::Expired, token: Some(first.grants[0].token) }));
}

/// The same for a grant that ended a wait: no time can be counted until the first renewal was applied.
#[test]
fn grant_after_a_wait_is_to_be_confirmed_by_a_renewal() {
    let mut log = Log::founded();
    let first = log.granted(0, try_lock(id(1, 1), "a", 1_000));
    log.queued(0, wait_lock(id(2, 1), "a", 5_000, 10_000));
    log.one(500, release("a", first.grants[0].token));
    let (request, granted) = log.grants().remove(0);
    assert_eq!((request, granted.confirm, granted.left_ms), (id(2, 1), true, 0));
    assert_eq!(log.machine.lease_left_ms(granted.lease), Some(5_000), "the lease begins at the grant");
    let again = log.granted(600, wait_lock(id(2, 1), "a", 5_000, 10_000));
    assert_eq!(again, granted);
    assert_eq!(log.renewed(700, granted.lease, None), alive(5_000));
    let confirmed = log.granted(1_700, wait_lock(id(2, 1), "a", 5_000, 10_000));
    assert_eq!(confirmed, Granted { confirm: false, left_ms: 4_000, ..granted });
}

/// A late cancel from the old node ended the grant that the client got through the new one.
#[test]
fn late_cancel_does_not_end_the_grant_of_a_later_attempt() {
    let mut log = Log::founded();
    let first = log.granted(0, try_lock(id(1, 1), "a", 60_000));
    log.queued(0, wait_lock(id(2, 1), "a", 60_000, 10_000));
    log.queued(1, attempt(wait_lock(id(2, 1), "a", 60_000, 10_000), 2));
    log.released(2, "a", first.grants[0].token);
    assert_eq!(log.cancelled(3, id(2, 1), 1), Cancelled::Superseded);
    assert!(matches!(log.machine.request(id(2, 1)), RequestView::Granted { attempt: 2, .. }));
}

/// The same when the cancel comes first: the later attempt is tried like a new request.
#[test]
fn later_attempt_wins_also_after_the_cancel() {
    let mut log = Log::founded();
    log.granted(0, try_lock(id(2, 1), "a", 60_000));
    assert_eq!(log.cancelled(1, id(2, 1), 1), Cancelled::UndidGrant);
    let second = log.granted(2, attempt(try_lock(id(2, 1), "a", 60_000), 2));
    assert_eq!(log.holder("a"), Some(second.grants[0].token));
    // And the cancel's duplicate, or a delayed first attempt, changes nothing any more.
    assert_eq!(log.cancelled(3, id(2, 1), 1), Cancelled::Superseded);
    let late = log.refused(4, try_lock(id(2, 1), "a", 60_000));
    assert_eq!(late, Refusal::Superseded { attempt: 1, by: 2 });
    assert_eq!(log.holder("a"), Some(second.grants[0].token));
}

/// A delayed first attempt applied after a later attempt was told "held".
#[test]
fn delayed_first_attempt_takes_no_effect_after_a_later_one_was_told_held() {
    let mut log = Log::founded();
    let held = log.granted(0, try_lock(id(1, 1), "a", 60_000));
    let told = log.one(1, attempt(try_lock(id(2, 1), "a", 60_000), 2));
    assert!(matches!(told, Outcome::Held(_)));
    log.released(2, "a", held.grants[0].token);
    assert_eq!(log.refused(3, try_lock(id(2, 1), "a", 60_000)), Refusal::Superseded { attempt: 1, by: 2 });
    // A copy of the attempt that was told "held" gets nothing either; its successor does.
    assert!(matches!(log.one(4, attempt(try_lock(id(2, 1), "a", 60_000), 2)), Outcome::Held(_)));
    assert_eq!(log.holder("a"), None);
    log.granted(5, attempt(try_lock(id(2, 1), "a", 60_000), 3));
}

/// A delayed first attempt applied after a later attempt was told that a limit was reached: nobody knew of its grant,
/// which kept the lock until its lease ran out.
#[test]
fn delayed_first_attempt_takes_no_effect_after_a_later_one_was_told_of_a_limit() {
    let limits = Limits { leases_max: 1, ..Limits::default() };
    let mut log = Log::founded_with(limits, Bounds::default());
    let held = log.granted(0, try_lock(id(1, 1), "a", 60_000));
    let reached = Refusal::LimitReached { limit: "leases_max".into(), max: 1 };
    assert_eq!(log.refused(1, attempt(try_lock(id(2, 1), "b", 60_000), 2)), reached);
    log.released(2, "a", held.grants[0].token);
    // There is room now. Neither attempt gets anything any more, and no restart changes that; their successor does.
    for _ in 0..2 {
        assert_eq!(log.refused(3, try_lock(id(2, 1), "b", 60_000)), Refusal::Superseded { attempt: 1, by: 2 });
        assert_eq!(log.refused(4, attempt(try_lock(id(2, 1), "b", 60_000), 2)), reached);
        assert_eq!(log.holder("b"), None);
        assert_eq!(log.refused(5, attempt(try_lock(id(2, 1), "c", 60_000), 3)), Refusal::BodyMismatch);
        assert_eq!(log.machine.request(id(2, 1)), RequestView::Unknown, "it has had no effect");
        log.restore(Bounds::default());
    }
    log.granted(6, attempt(try_lock(id(2, 1), "b", 60_000), 3));
}

/// The same for a full queue, told to the first attempt: its own copy does not queue late either.
#[test]
fn attempt_that_was_told_of_a_full_queue_never_waits() {
    let limits = Limits { waiters_per_lock_max: 1, ..Limits::default() };
    let mut log = Log::founded_with(limits, Bounds::default());
    log.granted(0, try_lock(id(1, 1), "a", 60_000));
    log.queued(0, wait_lock(id(2, 1), "a", 60_000, 10_000));
    let reached = Refusal::LimitReached { limit: "waiters_per_lock_max".into(), max: 1 };
    assert_eq!(log.refused(1, wait_lock(id(3, 1), "a", 60_000, 10_000)), reached);
    log.cancelled(2, id(2, 1), 1);
    assert_eq!(log.refused(3, wait_lock(id(3, 1), "a", 60_000, 10_000)), reached);
    assert!(log.waiters("a").is_empty());
    log.queued(4, attempt(wait_lock(id(3, 1), "a", 60_000, 10_000), 2));
    assert_eq!(log.waiters("a"), [id(3, 1)]);
}

/// What is remembered of such a refusal goes with time, the mark or a cancel, like any tombstone.
#[test]
fn refusal_at_a_limit_is_forgotten_like_a_tombstone() {
    let limits = Limits { leases_max: 1, ..Limits::default() };
    let start = || {
        let mut log = Log::founded_with(limits.clone(), Bounds::default());
        let held = log.granted(0, try_lock(id(1, 1), "a", 60_000));
        log.refused(1, try_lock(id(2, 1), "b", 60_000));
        log.released(2, "a", held.grants[0].token);
        log
    };
    let mut log = start();
    assert!(matches!(log.refused(1 + REMEMBER_MS, try_lock(id(2, 1), "b", 60_000)), Refusal::LimitReached { .. }));
    log.granted(2 + 2 * REMEMBER_MS, try_lock(id(2, 1), "b", 60_000));

    let mut log = start();
    log.granted(3, with(try_lock(id(2, 2), "b", 60_000), |a| a.lowest_unanswered = 2));
    let answered = Refusal::AlreadyAnswered { counter: 1, mark: 2 };
    assert_eq!(log.refused(4, try_lock(id(2, 1), "b", 60_000)), answered);

    let mut log = start();
    assert_eq!(log.cancelled(3, id(2, 1), 1), Cancelled::NotFound);
    let cancelled = Outcome::Ended(Ended { reason: LossReason::Cancelled, token: None });
    assert_eq!(log.one(4, try_lock(id(2, 1), "b", 60_000)), cancelled);
}

/// A later attempt was refused for want of room, though its id had a record: that kept the number of the earlier one.
#[test]
fn later_attempt_of_a_known_id_needs_no_room() {
    let bounds = Bounds { instances_max: 1, ..Bounds::default() };
    let mut log = Log::founded_with(Limits::default(), bounds);
    log.granted(0, try_lock(id(1, 1), "a", 10 * REMEMBER_MS));
    log.queued(1, wait_lock(id(1, 2), "a", 60_000, 10_000));
    // The wait leaves a tombstone that outlives the instance's mark, whose room another instance takes.
    log.tick(10_002);
    log.granted(REMEMBER_MS + 2, try_lock(id(2, 1), "b", 1_000));
    let full = Refusal::LimitReached { limit: "instances_max".into(), max: 1 };
    assert_eq!(log.refused(REMEMBER_MS + 3, try_lock(id(1, 3), "c", 60_000)), full);
    let told = log.one(REMEMBER_MS + 4, attempt(try_lock(id(1, 2), "a", 60_000), 3));
    assert!(matches!(told, Outcome::Held(_)));
    let late = attempt(wait_lock(id(1, 2), "a", 60_000, 10_000), 2);
    assert_eq!(log.refused(REMEMBER_MS + 5, late), Refusal::Superseded { attempt: 2, by: 3 });
}

/// Two client instances shared a request id.
#[test]
fn request_id_with_another_body_is_refused() {
    let mut log = Log::founded();
    log.granted(0, try_lock(id(1, 1), "a", 60_000));
    assert_eq!(log.refused(1, try_lock(id(1, 1), "b", 60_000)), Refusal::BodyMismatch);
    assert_eq!(log.refused(1, try_lock(id(1, 1), "a", 60_001)), Refusal::BodyMismatch);
    let other = with(try_lock(id(1, 1), "a", 60_000), |a| a.owner.push('x'));
    assert_eq!(log.refused(1, other), Refusal::BodyMismatch);
    let other = with(try_lock(id(1, 1), "a", 60_000), |a| a.metadata.push('x'));
    assert_eq!(log.refused(1, other), Refusal::BodyMismatch);
    let other = with(try_lock(id(1, 1), "a", 60_000), |a| a.namespace.push('x'));
    assert_eq!(log.refused(1, other), Refusal::BodyMismatch);
    // How it waits, its attempt, its deadline and the mark are not part of the body.
    let same = with(try_lock(id(1, 1), "a", 60_000), |a| {
        a.wait = WAIT;
        a.attempt = 2;
        a.lowest_unanswered = 1;
    });
    let outcome = log.batch(1, log.leader, vec![command(same, Some(99))]);
    assert!(matches!(outcome[0], Outcome::Granted(_)));
}

/// An unlock that sat in a queue freed a newer grant.
#[test]
fn delayed_release_does_not_free_a_newer_grant_of_the_same_client() {
    let mut log = Log::founded();
    let first = log.granted(0, try_lock(id(1, 1), "a", 60_000));
    log.released(1, "a", first.grants[0].token);
    let second = log.granted(2, try_lock(id(1, 2), "a", 60_000));
    assert!(!log.released(3, "a", first.grants[0].token).released);
    assert_eq!(log.holder("a"), Some(second.grants[0].token));
}

/// A stamp rounded down gave a lease up to a millisecond too little: it is alive for the whole of its last one.
#[test]
fn lease_is_alive_for_the_whole_of_its_last_millisecond() {
    let mut log = Log::founded();
    let granted = log.granted(7, try_lock(id(1, 1), "a", 1_000));
    assert!(matches!(log.one(1_007, try_lock(id(2, 1), "a", 1_000)), Outcome::Held(_)));
    assert_eq!(log.renewed(1_007, granted.lease, None), alive(1_000));
    log.granted(2_008, try_lock(id(2, 2), "a", 1_000));
}

/// A waiter that is due in the same entry as the holder was granted: all expiries come before all grants.
#[test]
fn waiter_due_in_the_same_entry_is_not_granted() {
    for (wait_ms, granted) in [(999, false), (1_000, false), (1_001, true)] {
        let mut log = Log::founded();
        log.granted(0, try_lock(id(1, 1), "a", 1_000));
        log.queued(0, wait_lock(id(2, 1), "a", 1_000, wait_ms));
        log.tick(1_001);
        assert_eq!(log.holder("a").is_some(), granted, "a wait of {wait_ms} ms");
    }
}

/// The same when the entry's bound on expiries leaves the waiter for a later entry.
#[test]
fn waiter_that_is_due_is_not_granted_past_the_bound_either() {
    let bounds = Bounds { expiries_per_entry_max: 1, ..Bounds::default() };
    let mut log = Log::founded_with(Limits::default(), bounds);
    log.granted(0, try_lock(id(1, 1), "a", 1_000));
    log.queued(0, wait_lock(id(2, 1), "a", 1_000, 1_000));
    log.tick(1_001);
    assert_eq!(log.holder("a"), None);
    assert!(log.grants().is_empty());
    assert!(log.waiters("a").is_empty());
}

/// Past the bound, whatever a command touches is expired first.
#[test]
fn touching_what_is_due_expires_it_first() {
    let bounds = Bounds { expiries_per_entry_max: 0, ..Bounds::default() };
    let start = |log: &mut Log| log.granted(0, try_lock(id(1, 1), "a", 1_000));
    let expired = Some(LossReason::Expired);

    let mut log = Log::founded_with(Limits::default(), bounds);
    let granted = start(&mut log);
    assert_eq!(log.renewed(1_001, granted.lease, None), Renewed::Gone { reason: expired });

    let mut log = Log::founded_with(Limits::default(), bounds);
    let granted = start(&mut log);
    let released = log.released(1_001, "a", granted.grants[0].token);
    assert_eq!(released, not_released(expired));

    let mut log = Log::founded_with(Limits::default(), bounds);
    start(&mut log);
    log.granted(1_001, try_lock(id(2, 1), "a", 1_000));

    let mut log = Log::founded_with(Limits::default(), bounds);
    start(&mut log);
    let again = log.one(1_001, try_lock(id(1, 1), "a", 1_000));
    assert!(matches!(again, Outcome::Ended(Ended { reason: LossReason::Expired, token: Some(_) })));

    let mut log = Log::founded_with(Limits::default(), bounds);
    let granted = start(&mut log);
    let closed = log.one(1_001, Operation::CloseLease(CloseLease { lease: granted.lease }));
    assert_eq!(closed, Outcome::Closed(Closed { closed: false, grants_ended: 0 }));

    let mut log = Log::founded_with(Limits::default(), bounds);
    start(&mut log);
    assert_eq!(log.cancelled(1_001, id(1, 1), 1), Cancelled::NotFound);

    // A tombstone that is due is no tombstone.
    let mut log = Log::founded_with(Limits::default(), bounds);
    log.cancelled(0, id(1, 1), 1);
    log.granted(REMEMBER_MS + 1, try_lock(id(1, 1), "a", 1_000));
}

/// A call whose grant lay in the entries that a snapshot install skipped: it asks what became of its request.
#[test]
fn request_can_be_looked_up_after_a_snapshot_install() {
    let mut log = Log::founded();
    let first = log.granted(0, try_lock(id(1, 1), "a", 1_000));
    log.queued(0, attempt(wait_lock(id(2, 1), "a", 60_000, 10_000), 3));
    log.queued(0, wait_lock(id(3, 1), "a", 60_000, 10_000));
    log.queued(0, wait_lock(id(4, 1), "a", 60_000, 20));
    log.released(100, "a", first.grants[0].token);
    log.restore(Bounds::default());
    let RequestView::Granted { attempt: 3, granted } = log.machine.request(id(2, 1)) else { panic!("granted") };
    assert!(granted.confirm);
    assert_eq!(Some(granted.grants[0].token), log.holder("a"));
    assert_eq!(log.machine.request(id(3, 1)), RequestView::Waiting { attempt: 1 });
    let ended = Ended { reason: LossReason::Expired, token: None };
    assert_eq!(log.machine.request(id(4, 1)), RequestView::Ended { attempt: 1, ended });
    assert_eq!(log.machine.request(id(5, 1)), RequestView::Unknown);
}

/// A reordered renewal shortened a lease.
#[test]
fn renewal_never_moves_a_deadline_back() {
    let mut log = Log::founded();
    let granted = log.granted(0, try_lock(id(1, 1), "a", 10_000));
    assert_eq!(log.renewed(1_000, granted.lease, Some(500)), alive(9_000));
    assert_eq!(log.renewed(9_800, granted.lease, None), alive(500));
}

/// A cancel was killed by its own deadline: it carries none, and works at any later time.
#[test]
fn cancel_without_a_deadline_works_however_late() {
    let mut log = Log::founded();
    log.granted(0, try_lock(id(1, 1), "a", 24 * 60 * 60 * 1_000));
    assert_eq!(log.cancelled(20 * 60 * 60 * 1_000, id(1, 1), 1), Cancelled::UndidGrant);
}

/// A delayed duplicate applies after its mark was forgotten: it is too late by then, to the millisecond.
#[test]
fn mark_is_remembered_as_long_as_a_duplicate_can_still_apply() {
    let mut log = Log::founded();
    // Taken by a node when log time was 0, as late as the last use of the mark.
    let duplicate = command(try_lock(id(1, 1), "a", 1_000), Some(REMEMBER_MS));
    let granted = log.granted(0, try_lock(id(1, 1), "a", 1_000));
    log.released(0, "a", granted.grants[0].token);
    log.granted(0, with(try_lock(id(1, 2), "b", 1_000), |a| a.lowest_unanswered = 2));
    assert_eq!(log.machine.request(id(1, 1)), RequestView::Unknown, "the mark replaces the tombstone");
    for at in [500, 30_000, REMEMBER_MS] {
        let outcome = log.batch(at, log.leader, vec![duplicate.clone()]).remove(0);
        assert_eq!(outcome, Outcome::Refused(Refusal::AlreadyAnswered { counter: 1, mark: 2 }));
    }
    let outcome = log.batch(REMEMBER_MS + 1, log.leader, vec![duplicate]).remove(0);
    assert!(matches!(outcome, Outcome::Refused(Refusal::TooLate { .. })));
}

/// Below the mark a live grant stays, and a live wait goes on; only asking again is refused.
#[test]
fn mark_ends_no_grant_and_no_wait() {
    let mut log = Log::founded();
    let first = log.granted(0, try_lock(id(1, 1), "a", 60_000));
    log.queued(0, wait_lock(id(1, 2), "a", 60_000, 10_000));
    log.granted(1, with(try_lock(id(1, 9), "b", 60_000), |a| a.lowest_unanswered = 9));
    let refused = log.refused(2, try_lock(id(1, 1), "a", 60_000));
    assert_eq!(refused, Refusal::AlreadyAnswered { counter: 1, mark: 9 });
    log.released(3, "a", first.grants[0].token);
    assert_eq!(log.grants()[0].0, id(1, 2));
    assert_eq!(log.machine.request(id(1, 1)), RequestView::Unknown);
}
