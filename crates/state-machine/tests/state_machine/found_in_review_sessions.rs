//! What review found in our own design (TESTING.md, "Found in review of our own design"), and what the model check found,
//! where sessions and modes are part of the story. See also `found_in_review.rs`.

use crate::log::*;
use crate::spoken::*;
use leasehold_state_machine::*;

const WAIT: Wait = Wait::For { wait_ms: 20_000 };

/// A duplicate's answer overstated what is left: of a session it is what is left of that, and asking renews nothing.
#[test]
fn duplicate_states_what_is_left_of_the_session() {
    let mut log = Log::founded();
    open_sessions(&mut log, 1, 5_000);
    let first = log.granted(1_000, try_in(1, 1, "a", EXCLUSIVE));
    assert_eq!((first.left_ms, first.confirm), (4_000, false));
    let again = log.granted(3_000, try_in(1, 1, "a", EXCLUSIVE));
    assert_eq!(again, Granted { left_ms: 2_000, ..first.clone() });
    assert_eq!(log.one(4_000, open_session(session(1), 5_000)), Outcome::Opened(Opened { left_ms: 1_000 }));
    let gone = log.one(5_001, attempt(try_in(1, 1, "a", EXCLUSIVE), 2));
    assert_eq!(gone, Outcome::Ended(Ended { reason: LossReason::Expired, token: Some(token(&first)) }));
}

/// A grant after a wait needs no confirmation under a session: the session's own time counts, and that runs on.
#[test]
fn grant_after_a_wait_has_the_time_of_its_session() {
    let mut log = Log::founded();
    open_sessions(&mut log, 2, 5_000);
    let first = log.granted(0, try_in(1, 1, "a", EXCLUSIVE));
    log.queued(0, wait_in(2, 1, "a", EXCLUSIVE, 20_000));
    log.released(3_000, "a", token(&first));
    let (_, granted) = log.grants().remove(0);
    assert_eq!((granted.lease, granted.confirm, granted.left_ms), (session(2), false, 2_000));
}

/// A late cancel from the old node ended the grant that the client got through the new one.
#[test]
fn late_cancel_does_not_end_what_a_session_got_by_a_later_attempt() {
    let mut log = Log::founded();
    open_sessions(&mut log, 2, 60_000);
    let first = log.granted(0, try_in(1, 1, "a", EXCLUSIVE));
    log.queued(0, wait_in(2, 1, "a", SHARED, 20_000));
    log.queued(1, attempt(wait_in(2, 1, "a", SHARED, 20_000), 2));
    assert_eq!(log.cancelled(2, id(2, 1), 1), Cancelled::Superseded, "the wait goes on");
    log.released(3, "a", token(&first));
    assert_eq!(log.cancelled(4, id(2, 1), 1), Cancelled::Superseded);
    assert!(matches!(log.machine.request(id(2, 1)), RequestView::Granted { attempt: 2, .. }));
}

/// A cancel that raced an upgrade would have taken a lock that was held before it, shared or alone: of a convert that was
/// granted it keeps what there is, and says what that is.
#[test]
fn cancel_of_a_convert_never_takes_the_lock() {
    let mut log = Log::founded();
    open_sessions(&mut log, 2, 60_000);
    let own = log.granted(0, try_in(1, 1, "a", SHARED));
    let other = log.granted(0, try_in(2, 1, "a", SHARED));
    let upgrade = convert(id(1, 2), "a", token(&own), EXCLUSIVE, WAIT);
    // While it waits, it leaves the shared grant.
    log.queued(1, upgrade.clone());
    assert_eq!(log.cancelled(2, id(1, 2), 1), Cancelled::LeftQueue);
    assert_eq!(log.holders("a"), [token(&own), token(&other)]);
    // Once granted, the lock stays with it, under the new token, however often it is cancelled.
    log.queued(3, attempt(upgrade.clone(), 2));
    log.released(4, "a", token(&other));
    let now = log.holder("a").unwrap();
    for at in 5..8 {
        assert_eq!(log.cancelled(at, id(1, 2), 2), Cancelled::Kept { token: now, mode: EXCLUSIVE });
    }
    assert_eq!(log.holders("a"), [now]);
    assert_eq!(token(&log.granted(8, attempt(upgrade, 2))), now);
}

/// A delayed first attempt applied after a later attempt was told that it would close a cycle.
#[test]
fn delayed_first_attempt_takes_no_effect_after_a_later_one_was_told_of_a_deadlock() {
    let mut log = Log::founded();
    open_sessions(&mut log, 2, 60_000);
    let a = log.granted(0, by(try_in(1, 1, "a", EXCLUSIVE), "x"));
    log.granted(0, by(try_in(2, 1, "b", EXCLUSIVE), "y"));
    log.queued(1, by(wait_in(1, 2, "b", EXCLUSIVE, 20_000), "x"));
    let closing = by(wait_in(2, 2, "a", EXCLUSIVE, 20_000), "y");
    let told = log.one(2, attempt(closing.clone(), 2));
    let Outcome::Deadlock(deadlock) = &told else { panic!("{told:?}") };
    let steps: Vec<_> = deadlock.cycle.iter().map(|step| (step.lease, &*step.actor, &*step.name)).collect();
    assert_eq!(steps, [(session(2), "y", "a"), (session(1), "x", "b")]);
    // The way is free now. Neither attempt gets anything any more, and no restart changes that; their successor does.
    log.released(3, "a", token(&a));
    for at in [4, 6] {
        assert_eq!(log.refused(at, closing.clone()), Refusal::Superseded { attempt: 1, by: 2 });
        assert_eq!(log.one(at + 1, attempt(closing.clone(), 2)), told);
        assert_eq!(log.holder("a"), None);
        log.restore(Bounds::default());
    }
    log.granted(8, attempt(closing, 3));
}

/// The same for a limit of permits that contradicts, and for a session that was not open yet.
#[test]
fn delayed_first_attempt_takes_no_effect_after_any_refusal_that_another_time_would_not_repeat() {
    let permits = |limit| Mode::Permits { permits: 1, limit };
    let mut log = Log::founded();
    open_sessions(&mut log, 1, 60_000);
    let held = log.granted(0, try_in(1, 1, "s", permits(2)));
    let odd = try_in(1, 2, "s", permits(3));
    let conflict = Refusal::LimitConflict { name: "s".into(), limit: 2, asked: 3 };
    assert_eq!(log.refused(1, attempt(odd.clone(), 2)), conflict);
    log.released(2, "s", token(&held));
    assert_eq!(log.refused(3, odd.clone()), Refusal::Superseded { attempt: 1, by: 2 });
    assert_eq!(log.refused(4, attempt(odd.clone(), 2)), conflict);
    assert_eq!(log.holder("s"), None);
    log.granted(5, attempt(odd, 3));

    let early = try_in(2, 1, "a", EXCLUSIVE);
    let unknown = Refusal::NoSession { session: session(2), reason: None };
    assert_eq!(log.refused(6, attempt(early.clone(), 2)), unknown);
    log.one(7, open_session(session(2), 60_000));
    assert_eq!(log.refused(8, early.clone()), Refusal::Superseded { attempt: 1, by: 2 });
    assert_eq!(log.refused(9, attempt(early.clone(), 2)), unknown);
    assert_eq!(log.holder("a"), None);
    log.granted(10, attempt(early, 3));
}

/// The same for a try that met a lock-delay.
#[test]
fn delayed_first_attempt_takes_no_effect_after_a_later_one_met_a_lock_delay() {
    let mut log = Log::founded();
    log.granted(0, with(try_lock(id(1, 1), "a", 1_000), |acquire| acquire.lock_delay_ms = 500));
    log.tick(1_001);
    let Outcome::Held(held) = log.one(1_002, attempt(try_lock(id(2, 1), "a", 1_000), 2)) else { panic!("delayed") };
    assert!(held.holders.is_empty() && held.delay_left_ms > 0, "{held:?}");
    assert_eq!(log.refused(1_502, try_lock(id(2, 1), "a", 1_000)), Refusal::Superseded { attempt: 1, by: 2 });
    assert!(matches!(log.one(1_502, attempt(try_lock(id(2, 1), "a", 1_000), 2)), Outcome::Held(_)));
    log.granted(1_502, attempt(try_lock(id(2, 1), "a", 1_000), 3));
}

/// Two client instances shared a request id: all that the whole lock model adds is part of the body too.
#[test]
fn request_id_with_another_mode_session_or_actor_is_refused() {
    let mut log = Log::founded();
    open_sessions(&mut log, 2, 60_000);
    let first = by(try_in(1, 1, "a", SHARED), "x");
    log.granted(0, first.clone());
    let others = [
        mode(first.clone(), EXCLUSIVE),
        under(first.clone(), 2),
        by(first.clone(), "y"),
        with(first.clone(), |acquire| acquire.actor = None),
        with(first.clone(), |acquire| acquire.lock_delay_ms = 1),
        with(first.clone(), |acquire| acquire.value = "v".into()),
        with(first.clone(), |acquire| acquire.lease = LeaseRequest::Own { ttl_ms: 1_000 }),
    ];
    for other in others {
        assert_eq!(log.refused(1, other), Refusal::BodyMismatch);
    }
    log.granted(2, first);
    let other = OpenSession {
        session: session(1),
        namespace: NS.into(),
        ttl_ms: 60_001,
        owner: "opener".into(),
        metadata: String::new(),
    };
    assert_eq!(log.refused(3, Operation::OpenSession(other)), Refusal::BodyMismatch);
}

/// An unlock that sat in a queue freed a newer grant. So would a forced release, which names its token for that.
#[test]
fn delayed_release_or_force_does_not_end_a_newer_grant_of_the_same_session() {
    let mut log = Log::founded();
    open_sessions(&mut log, 1, 60_000);
    let first = log.granted(0, try_in(1, 1, "a", EXCLUSIVE));
    log.released(1, "a", token(&first));
    let second = log.granted(2, try_in(1, 2, "a", EXCLUSIVE));
    let was_released = Some(LossReason::Released);
    assert_eq!(log.released(3, "a", token(&first)), not_released(was_released));
    let forced = log.one(4, force_release("a", token(&first)));
    assert_eq!(forced, Outcome::ForceReleased(not_released(was_released)));
    // A convert's token is a newer one as well.
    let down = log.granted(5, convert(id(1, 3), "a", token(&second), SHARED, Wait::Try));
    assert!(!log.released(6, "a", token(&second)).released);
    assert_eq!(log.holder("a"), Some(token(&down)));
}

/// A session is alive for the whole of its last millisecond, and its grants with it.
#[test]
fn session_is_alive_for_the_whole_of_its_last_millisecond() {
    let mut log = Log::founded();
    open_sessions(&mut log, 2, 1_000);
    log.granted(7, try_in(1, 1, "a", EXCLUSIVE));
    log.renewed(500, session(2), None);
    assert!(matches!(log.one(1_000, try_in(2, 1, "a", EXCLUSIVE)), Outcome::Held(_)));
    log.granted(1_001, try_in(2, 2, "a", EXCLUSIVE));
}

/// A waiter whose session is due in the same entry as the holder was granted: all expiries come before all grants.
#[test]
fn waiter_whose_session_is_due_in_the_same_entry_is_not_granted() {
    for (ttl_ms, granted) in [(999, false), (1_000, false), (1_001, true)] {
        let mut log = Log::founded();
        log.one(0, open_session(session(1), 1_000));
        log.one(0, open_session(session(2), ttl_ms));
        log.granted(0, try_in(1, 1, "a", EXCLUSIVE));
        log.queued(0, wait_in(2, 1, "a", EXCLUSIVE, 20_000));
        log.tick(1_001);
        assert_eq!(log.holder("a").is_some(), granted, "a session of {ttl_ms} ms");
        assert!(log.waiters("a").is_empty());
    }
}

/// The same when the entry's bound on expiries leaves the session for a later entry; and when it is one of two locks, the
/// other of which has a living waiter behind.
#[test]
fn waiter_whose_session_is_due_is_not_granted_past_the_bound_either() {
    let bounds = Bounds { expiries_per_entry_max: 1, ..Bounds::default() };
    let mut log = Log::founded_with(Limits::default(), bounds);
    for (n, ttl_ms) in [(1, 900), (2, 1_000), (3, 60_000)] {
        log.one(0, open_session(session(n), ttl_ms));
    }
    log.granted(0, try_in(1, 1, "a", EXCLUSIVE));
    let both = Operation::Acquire(acquire_of(id(2, 1), &["a", "b"], 1, WAIT));
    log.queued(0, under(both, 2));
    log.queued(0, wait_in(3, 1, "b", SHARED, 20_000));
    // Only session 1 expires by the bound; what it frees touches session 2, and that lets session 3 go.
    log.tick(1_001);
    assert_eq!(log.granted_to(), [id(3, 1)]);
    assert_eq!(log.holder("a"), None);
    assert_eq!(log.machine.session(session(2)), None);
}

/// Past the bound, whatever a command touches of a session is expired first.
#[test]
fn touching_what_hangs_on_a_due_session_expires_it_first() {
    let bounds = Bounds { expiries_per_entry_max: 0, ..Bounds::default() };
    let start = || {
        let mut log = Log::founded_with(Limits::default(), bounds);
        open_sessions(&mut log, 1, 1_000);
        let held = log.granted(0, try_in(1, 1, "a", SHARED));
        (log, token(&held))
    };
    let expired = Some(LossReason::Expired);
    let no_session = Refusal::NoSession { session: session(1), reason: expired };

    let (mut log, _) = start();
    assert_eq!(log.refused(1_001, try_in(1, 2, "b", SHARED)), no_session);
    let (mut log, _) = start();
    assert_eq!(log.refused(1_001, open_session(session(1), 1_000)), no_session);
    let (mut log, held) = start();
    let upgrade = convert(id(1, 2), "a", held, EXCLUSIVE, Wait::Try);
    let not_held = Refusal::NotHeld { token: held, name: "a".into(), reason: expired };
    assert_eq!(log.refused(1_001, upgrade), not_held);
    let (mut log, held) = start();
    assert_eq!(log.one(1_001, force_release("a", held)), Outcome::ForceReleased(not_released(expired)));
    let (mut log, held) = start();
    let set = SetValue { namespace: NS.into(), name: "a".into(), token: held, version: 0, value: "v".into() };
    let told = log.one(1_001, Operation::SetValue(set));
    assert_eq!(told, Outcome::ValueSet(ValueSet::NotHeld { reason: expired }));
    let (mut log, _) = start();
    assert_eq!(log.renewed(1_001, session(1), None), Renewed::Gone { reason: expired });
    // A writer comes: the reader is not in its way any more.
    let (mut log, _) = start();
    log.granted(1_001, try_lock(id(2, 1), "a", 1_000));
}

/// A reordered renewal shortened a lease: none does, whatever ttl it names, unless it asks for an exact time.
#[test]
fn reordered_keep_alive_shortens_no_session() {
    let mut log = Log::founded();
    open_sessions(&mut log, 1, 1_000);
    let held = log.granted(0, try_in(1, 1, "a", EXCLUSIVE));
    assert_eq!(log.renewed(100, session(1), Some(10_000)), alive(10_000));
    assert_eq!(log.renewed(200, session(1), Some(1_000)), alive(9_900));
    // The ttl of the last one stays, and so does the deadline.
    assert_eq!(log.renewed(300, session(1), None), alive(9_800));
    let exact = RenewLease { lease: session(1), ttl_ms: Some(500), exact: Some(token(&held)) };
    let exact = Renew { leases: vec![exact], all_or_nothing: false };
    assert_eq!(log.one(400, Operation::Renew(exact.clone())), Outcome::Renewed(vec![alive(500)]));
    log.tick(901);
    assert_eq!(log.holder("a"), None);
    let gone = Renewed::Gone { reason: Some(LossReason::Expired) };
    assert_eq!(log.one(902, Operation::Renew(exact)), Outcome::Renewed(vec![gone]));
}

/// A false deadlock between two tasks of one session: each waits for the other's turn, and neither for itself.
#[test]
fn tasks_of_one_session_that_wait_for_each_other_in_turn_are_no_deadlock() {
    let mut log = Log::founded();
    open_sessions(&mut log, 1, 60_000);
    let a = log.granted(0, by(try_in(1, 1, "a", EXCLUSIVE), "x"));
    let b = log.granted(0, by(try_in(1, 2, "b", EXCLUSIVE), "y"));
    // A third task waits for what x has; x waits for nobody. Then y waits behind it: still nobody waits for himself.
    log.queued(1, by(wait_in(1, 3, "a", EXCLUSIVE, 20_000), "z"));
    log.queued(1, by(wait_in(1, 4, "a", EXCLUSIVE, 20_000), "y"));
    log.released(2, "a", token(&a));
    assert_eq!(log.granted_to(), [id(1, 3)]);
    // Were the session one actor, this had been a cycle. Now z closes a real one: y waits for it, and has b.
    let told = log.one(3, by(wait_in(1, 5, "b", EXCLUSIVE, 20_000), "z"));
    let Outcome::Deadlock(Deadlock { cycle }) = told else { panic!("{told:?}") };
    let steps: Vec<_> = cycle.iter().map(|step| (&*step.actor, &*step.name)).collect();
    assert_eq!(steps, [("z", "b"), ("y", "a")]);
    // Without an actor nothing is known, and it waits.
    log.queued(4, wait_in(1, 6, "b", EXCLUSIVE, 20_000));
    log.released(5, "b", token(&b));
    assert_eq!(log.granted_to(), [id(1, 6)]);
}

/// A duplicate upgrade minted a token that nobody knew: whichever attempt asks is told of the one there is.
#[test]
fn duplicate_upgrade_mints_no_token() {
    let mut log = Log::founded();
    open_sessions(&mut log, 2, 60_000);
    let own = log.granted(0, try_in(1, 1, "a", SHARED));
    let other = log.granted(0, try_in(2, 1, "a", SHARED));
    let upgrade = convert(id(1, 2), "a", token(&own), EXCLUSIVE, WAIT);
    for at in 1..4 {
        log.queued(at, upgrade.clone());
    }
    assert_eq!(log.waiters("a"), [id(1, 2)], "one wait, however often it is sent");
    log.released(4, "a", token(&other));
    let (_, granted) = log.grants().remove(0);
    assert_eq!(log.granted(5, upgrade.clone()).grants, granted.grants);
    assert_eq!(log.granted(6, attempt(upgrade.clone(), 2)).grants, granted.grants);
    assert_eq!(log.holders("a"), [token(&granted)]);
    // Its first grant is not there to be upgraded a second time, and its record says what became of it.
    let second = log.refused(7, convert(id(1, 3), "a", token(&own), EXCLUSIVE, WAIT));
    assert!(matches!(second, Refusal::NotHeld { .. }), "{second:?}");
    let converted = Ended { reason: LossReason::Converted, token: Some(token(&own)) };
    assert_eq!(log.one(8, try_in(1, 1, "a", SHARED)), Outcome::Ended(converted));
    // After it was released, a duplicate takes nothing.
    log.released(9, "a", token(&granted));
    let ended = Ended { reason: LossReason::Released, token: Some(token(&granted)) };
    assert_eq!(log.one(10, attempt(upgrade, 2)), Outcome::Ended(ended));
    assert_eq!(log.holder("a"), None);
    let next = log.granted(11, try_in(2, 2, "a", EXCLUSIVE));
    assert_eq!(token(&next).0, token(&granted).0 + 1, "no token was given out in between");
}

/// Two who upgrade would wait for each other for ever, actors or not. The second is told so, and keeps what it has.
#[test]
fn second_upgrader_is_refused_and_keeps_its_shared_grant() {
    let mut log = Log::founded();
    let one = log.granted(0, mode(try_lock(id(1, 1), "a", 60_000), SHARED));
    let two = log.granted(0, mode(try_lock(id(2, 1), "a", 60_000), SHARED));
    log.queued(1, convert(id(1, 2), "a", token(&one), EXCLUSIVE, WAIT));
    let told = log.one(2, convert(id(2, 2), "a", token(&two), EXCLUSIVE, WAIT));
    let Outcome::Deadlock(Deadlock { cycle }) = told else { panic!("{told:?}") };
    assert_eq!(cycle.iter().map(|step| step.lease).collect::<Vec<_>>(), [two.lease, one.lease]);
    assert_eq!(log.holders("a"), [token(&one), token(&two)]);
    log.released(3, "a", token(&two));
    assert_eq!(log.granted_to(), [id(1, 2)]);
}

/// A call whose grant lay in the entries that a snapshot install skipped asks what became of its request.
#[test]
fn request_of_a_session_can_be_looked_up_after_a_snapshot_install() {
    let mut log = Log::founded();
    open_sessions(&mut log, 3, 60_000);
    log.one(0, open_session(session(4), 100));
    let first = log.granted(0, try_in(1, 1, "a", SHARED));
    log.queued(0, attempt(wait_in(2, 1, "a", EXCLUSIVE, 20_000), 3));
    log.queued(0, wait_in(4, 1, "a", EXCLUSIVE, 20_000));
    log.granted(100, convert(id(1, 2), "a", token(&first), EXCLUSIVE, WAIT));
    let upgraded = log.holder("a").unwrap();
    log.released(101, "a", upgraded);
    log.restore(Bounds::default());
    let RequestView::Granted { attempt: 3, granted } = log.machine.request(id(2, 1)) else { panic!("granted") };
    assert_eq!((Some(token(&granted)), granted.left_ms), (log.holder("a"), 59_899));
    let looked_up = |request| log.machine.request(request);
    let ended = |reason, token| RequestView::Ended { attempt: 1, ended: Ended { reason, token } };
    assert_eq!(looked_up(id(1, 1)), ended(LossReason::Converted, Some(token(&first))));
    assert_eq!(looked_up(id(1, 2)), ended(LossReason::Released, Some(upgraded)));
    assert_eq!(looked_up(id(4, 1)), ended(LossReason::Expired, None));
}

/// Found by the model check: a session that lost a grant by force was renewed, and its client, who had not heard of it,
/// went on counting on that grant, for longer than its lock-delay. Renewals tell how many were lost so.
#[test]
fn renewal_tells_of_grants_that_were_ended_by_force() {
    let mut log = Log::founded();
    open_sessions(&mut log, 1, 1_000);
    let delayed = with(try_in(1, 1, "a", EXCLUSIVE), |acquire| acquire.lock_delay_ms = 1_000);
    let held = log.granted(0, delayed);
    log.granted(0, try_in(1, 2, "b", EXCLUSIVE));
    assert_eq!(log.renewed(10, session(1), None), alive(1_000));
    log.one(20, force_release("a", token(&held)));
    assert_eq!(log.renewed(500, session(1), None), Renewed::Alive { left_ms: 1_000, forced: 1 });
    let view = log.machine.session(session(1)).unwrap();
    assert_eq!((view.forced, view.grants.len()), (1, 1));
    // No release, and no forced release of what had ended before, counts.
    log.one(600, force_release("a", token(&held)));
    assert_eq!(log.renewed(700, session(1), None), Renewed::Alive { left_ms: 1_000, forced: 1 });
    log.restore(Bounds::default());
    assert_eq!(log.renewed(800, session(1), None), Renewed::Alive { left_ms: 1_000, forced: 1 });
}

/// Found by the model check: the answer to the acquire came after that renewal, when its client had reckoned with the loss
/// already. So a grant's answer tells the count of its own time, which is less than what the client knows by then.
#[test]
fn grant_tells_how_many_were_ended_by_force_before_it() {
    let mut log = Log::founded();
    open_sessions(&mut log, 1, 60_000);
    let late = log.granted(0, try_in(1, 1, "a", EXCLUSIVE));
    assert_eq!(late.forced, 0);
    log.one(1, force_release("a", token(&late)));
    assert_eq!(log.renewed(2, session(1), None), Renewed::Alive { left_ms: 60_000, forced: 1 });
    assert_eq!(log.granted(3, try_in(1, 2, "a", EXCLUSIVE)).forced, 1);
    let told = log.one(4, try_in(1, 1, "a", EXCLUSIVE));
    assert_eq!(told, Outcome::Ended(Ended { reason: LossReason::Forced, token: Some(token(&late)) }));
}
