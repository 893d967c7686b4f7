//! What each command answers, and what it refuses.

use crate::log::*;
use leasehold_state_machine::*;

fn field(refusal: &Refusal) -> &str {
    match refusal {
        Refusal::Invalid { field, .. } => field,
        other => panic!("not a bad field: {other:?}"),
    }
}

#[test]
fn release_hands_over_in_the_same_entry() {
    let mut log = Log::founded();
    let first = log.granted(10, try_lock(id(1, 1), "a", 5_000));
    assert_eq!((first.grants[0].token, first.left_ms, first.confirm), (FencingToken(START), 5_000, false));
    log.queued(20, wait_lock(id(2, 1), "a", 5_000, 10_000));
    let outcomes = log.entry(30, vec![release("a", first.grants[0].token), try_lock(id(3, 1), "a", 5_000)]);
    assert_eq!(outcomes[0], Outcome::Released(vec![released()]));
    let Outcome::Held(held) = &outcomes[1] else { panic!("nobody overtakes the waiter") };
    assert_eq!(held.holders[0].token, FencingToken(START + 1));
    let kinds: Vec<&EventKind> = log.events.iter().map(|event| &event.kind).collect();
    assert!(matches!(
        kinds[..],
        [
            EventKind::Lost { reason: LossReason::Released, .. },
            EventKind::LeaseEnded { reason: LossReason::Released, .. },
            EventKind::Granted { attempt: 1, .. }
        ]
    ));
    assert!(log.events.iter().enumerate().all(|(at, event)| {
        event.revision == Revision { index: log.index, ordinal: at as u32 } && event.at == LogTime(30)
    }));
}

#[test]
fn nothing_comes_before_founding_and_only_the_first_counts() {
    let mut log = Log::empty(Bounds::default());
    assert_eq!(log.refused(0, try_lock(id(1, 1), "a", 5_000)), Refusal::NotFounded);
    assert_eq!(log.refused(0, Operation::Tick), Refusal::NotFounded);
    assert_eq!(log.machine.cluster(), None);
    for (cluster, counter_start) in [(1, 500), (2, 1_000), (1, 1_500)] {
        let found = Found { cluster: ClusterId(cluster), counter_start, limits: Limits::default(), level: LEVEL_MAX };
        assert_eq!(log.one(0, Operation::Found(found)), Outcome::Founded);
        assert_eq!(log.machine.cluster(), Some(ClusterId(1)));
    }
    assert_eq!(log.granted(0, try_lock(id(1, 1), "a", 5_000)).grants[0].token, FencingToken(500));
}

#[test]
fn command_is_refused_after_its_call_has_ended() {
    let mut log = Log::founded();
    let leader = log.leader;
    let in_time = command(try_lock(id(1, 1), "a", 5_000), Some(100));
    assert!(matches!(log.batch(100, leader, vec![in_time.clone()])[0], Outcome::Granted(_)));
    let late = log.batch(101, leader, vec![in_time]).remove(0);
    let expected = Refusal::TooLate { not_after: LogTime(100), now: LogTime(101) };
    assert_eq!(late, Outcome::Refused(expected));
}

#[test]
fn bad_fields_are_named_and_change_nothing() {
    let mut log = Log::founded();
    let good = || acquire_of(id(1, 1), &["a"], 5_000, Wait::For { wait_ms: 1_000 });
    type Change = fn(&mut Acquire);
    let cases: &[(&str, Change)] = &[
        ("namespace", |a| a.namespace.clear()),
        ("namespace", |a| a.namespace = "x\0y".into()),
        ("namespace", |a| a.namespace = "n".repeat(NAMESPACE_BYTES_MAX + 1)),
        ("locks", |a| a.locks.clear()),
        ("locks", |a| a.locks = vec![a.locks[0].clone(); 65]),
        ("locks[0].name", |a| a.locks[0].name.clear()),
        ("locks[0].name", |a| a.locks[0].name = "n".repeat(513)),
        ("locks[0].name", |a| a.locks[0].name = "line\nfeed".into()),
        ("locks[0].name", |a| a.locks[0].name = "c1 \u{85}".into()),
        ("locks[1].name", |a| a.locks.push(a.locks[0].clone())),
        ("owner", |a| a.owner.clear()),
        ("owner", |a| a.owner = "tab\t".into()),
        ("owner", |a| a.owner = "o".repeat(257)),
        ("metadata", |a| a.metadata = "m".repeat(1_025)),
        ("ttl_ms", |a| a.lease = LeaseRequest::Own { ttl_ms: 99 }),
        ("ttl_ms", |a| a.lease = LeaseRequest::Own { ttl_ms: u64::MAX }),
        ("wait_ms", |a| a.wait = Wait::For { wait_ms: 0 }),
        ("wait_ms", |a| a.wait = Wait::For { wait_ms: 30_001 }),
        ("attempt", |a| a.attempt = 0),
        ("request_id.counter", |a| a.request.counter = 0),
        ("lowest_unanswered", |a| a.lowest_unanswered = 2),
    ];
    log.tick(1);
    let before = log.machine.rows();
    for (expected, change) in cases {
        let mut bad = good();
        change(&mut bad);
        assert_eq!(field(&log.refused(1, Operation::Acquire(bad))), *expected);
        // Nothing but the applied entry, in the header row.
        assert_eq!(log.machine.rows()[1..], before[1..]);
    }
    for (namespace, name, expected) in [("", "a", "namespace"), ("app", "", "name"), ("app", "\r", "name")] {
        let bad = Release {
            namespace: namespace.into(),
            locks: vec![HeldLock { name: name.into(), token: FencingToken(START) }],
            all_or_nothing: false,
        };
        assert_eq!(field(&log.refused(1, Operation::Release(bad))), expected);
    }
    log.granted(1, Operation::Acquire(good()));
}

#[test]
fn problem_of_a_bad_field_states_the_limit() {
    let mut log = Log::founded();
    let refusal = log.refused(0, try_lock(id(1, 1), &"n".repeat(600), 5_000));
    assert_eq!(refusal.to_string(), "locks[0].name: has 600 bytes, at most 512 are allowed");
    let refusal = log.refused(0, try_lock(id(1, 1), "a", 5));
    assert_eq!(refusal.to_string(), "ttl_ms: is 5, 100 to 86400000 are allowed");
}

#[test]
fn token_of_another_lock_is_refused() {
    let mut log = Log::founded();
    let a = log.granted(0, try_lock(id(1, 1), "a", 5_000)).grants[0].token;
    let b = log.granted(0, try_lock(id(1, 2), "b", 5_000)).grants[0].token;
    let wrong = |token| Refusal::WrongToken { token, name: "a".into() };
    assert_eq!(log.refused(1, release("a", b)), wrong(b), "held by another lock");
    log.released(1, "b", b);
    assert_eq!(log.refused(1, release("a", b)), wrong(b), "lost by another lock");
    assert_eq!(log.refused(1, release("a", FencingToken(START + 2))), wrong(FencingToken(START + 2)), "not yet given");
    assert_eq!(log.refused(1, release("a", FencingToken(0))), wrong(FencingToken(0)));
    let unknown = log.released(1, "a", FencingToken(START - 1));
    assert_eq!(unknown, not_released(None), "old, and not remembered");
    assert_eq!(log.holder("a"), Some(a));
}

#[test]
fn several_locks_are_all_or_nothing() {
    let mut log = Log::founded();
    let b = log.granted(0, try_lock(id(1, 1), "b", 60_000)).grants[0].token;
    let both = |counter, wait| Operation::Acquire(acquire_of(id(2, counter), &["a", "b"], 60_000, wait));
    let Outcome::Held(held) = log.one(1, both(1, Wait::Try)) else { panic!("b is held") };
    assert_eq!((held.name.as_str(), held.holders[0].token), ("b", b));
    assert_eq!(log.holder("a"), None);
    log.queued(2, both(2, Wait::For { wait_ms: 10_000 }));
    // The blocked head idles its other lock: nobody overtakes it there.
    assert!(matches!(log.one(3, try_lock(id(3, 1), "a", 5_000)), Outcome::Held(held) if held.holders.is_empty()));
    log.released(4, "b", b);
    let (_, granted) = log.grants().remove(0);
    let names: Vec<&str> = granted.grants.iter().map(|grant| grant.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert!(granted.grants[0].token < granted.grants[1].token);
    // The lease lives until the last of them goes; the request answers with what is left.
    log.released(5, "a", granted.grants[0].token);
    let rest = log.granted(6, both(2, Wait::Try));
    assert_eq!(rest.grants, granted.grants[1..]);
    log.released(7, "b", granted.grants[1].token);
    assert_eq!(log.machine.lease_left_ms(granted.lease), None);
}

#[test]
fn later_attempt_keeps_its_place_and_waits_anew() {
    let mut log = Log::founded();
    let first = log.granted(0, try_lock(id(1, 1), "a", 60_000)).grants[0].token;
    assert_eq!(log.queued(0, wait_lock(id(2, 1), "a", 60_000, 1_000)).ahead, 0);
    assert_eq!(log.queued(0, wait_lock(id(3, 1), "a", 60_000, 9_000)).ahead, 1);
    // The same attempt again re-arms nothing and supersedes nobody.
    assert_eq!(log.queued(500, wait_lock(id(2, 1), "a", 60_000, 1_000)).deadline, LogTime(1_000));
    assert!(log.events.is_empty());
    let rearmed = log.queued(1_000, attempt(wait_lock(id(2, 1), "a", 60_000, 1_000), 2));
    assert_eq!(rearmed.deadline, LogTime(2_000));
    assert!(matches!(&log.events[..], [Event { kind: EventKind::Queued { attempt: 2, .. }, .. }]));
    assert_eq!(log.refused(1_100, wait_lock(id(2, 1), "a", 60_000, 1_000)), Refusal::Superseded { attempt: 1, by: 2 });
    log.released(1_500, "a", first);
    assert_eq!(log.grants()[0].0, id(2, 1));
}

#[test]
fn later_attempt_after_the_wait_ended_queues_at_the_end() {
    let mut log = Log::founded();
    log.granted(0, try_lock(id(1, 1), "a", 60_000));
    log.queued(0, wait_lock(id(2, 1), "a", 60_000, 1_000));
    log.queued(0, wait_lock(id(3, 1), "a", 60_000, 9_000));
    let again = log.one(1_001, wait_lock(id(2, 1), "a", 60_000, 1_000));
    assert_eq!(again, Outcome::Ended(Ended { reason: LossReason::Expired, token: None }));
    log.queued(1_002, attempt(wait_lock(id(2, 1), "a", 60_000, 1_000), 2));
    assert_eq!(log.waiters("a"), [id(3, 1), id(2, 1)]);
}

#[test]
fn later_try_of_a_waiting_request_gives_up_its_place() {
    let mut log = Log::founded();
    log.granted(0, try_lock(id(1, 1), "a", 60_000));
    log.queued(0, wait_lock(id(2, 1), "a", 60_000, 1_000));
    assert!(
        matches!(log.one(1, attempt(try_lock(id(2, 1), "a", 60_000), 2)), Outcome::Held(held) if held.waiters == 0)
    );
    assert!(matches!(&log.events[..], [Event { kind: EventKind::WaitEnded { attempt: 1, .. }, .. }]));
}

#[test]
fn released_grant_is_not_granted_again_by_a_duplicate() {
    let mut log = Log::founded();
    let token = log.granted(0, try_lock(id(1, 1), "a", 60_000)).grants[0].token;
    log.released(1, "a", token);
    for attempts in [1, 2, 3] {
        let again = log.one(2, attempt(try_lock(id(1, 1), "a", 60_000), attempts));
        assert_eq!(again, Outcome::Ended(Ended { reason: LossReason::Released, token: Some(token) }));
    }
    assert_eq!(log.holder("a"), None);
}

#[test]
fn closing_a_lease_ends_its_grants_and_hands_over() {
    let mut log = Log::founded();
    let granted = log.granted(0, Operation::Acquire(acquire_of(id(1, 1), &["a", "b"], 60_000, Wait::Try)));
    log.queued(0, wait_lock(id(2, 1), "b", 60_000, 1_000));
    log.queued(0, wait_lock(id(3, 1), "a", 60_000, 1_000));
    let close = Operation::CloseLease(CloseLease { lease: granted.lease });
    assert_eq!(log.one(1, close.clone()), Outcome::Closed(Closed { closed: true, grants_ended: 2 }));
    let order: Vec<RequestId> = log.grants().iter().map(|(request, _)| *request).collect();
    assert_eq!(order, [id(2, 1), id(3, 1)], "in log order, over all freed locks");
    assert_eq!(log.one(2, close), Outcome::Closed(Closed { closed: false, grants_ended: 0 }));
    assert_eq!(log.renewed(3, granted.lease, None), Renewed::Gone { reason: Some(LossReason::LeaseClosed) });
}

#[test]
fn capacities_refuse_and_releases_and_renewals_still_work() {
    let limits = Limits { leases_max: 2, waiters_per_lock_max: 1, ..Limits::default() };
    let mut log = Log::founded_with(limits, Bounds::default());
    let reached = |limit: &str, max| Refusal::LimitReached { limit: limit.into(), max };
    let first = log.granted(0, try_lock(id(1, 1), "a", 60_000));
    // A waiter counts: it will make a lease.
    log.queued(0, wait_lock(id(2, 1), "a", 60_000, 1_000));
    assert_eq!(log.refused(0, try_lock(id(3, 1), "b", 60_000)), reached("leases_max", 2));
    let lowered = Limits { leases_max: 0, ttl_ms_max: 200, name_bytes_max: 0, ..Limits::default() };
    assert_eq!(log.one(0, Operation::SetLimits(SetLimits { namespace: None, limits: lowered })), Outcome::Done);
    assert_eq!(log.renewed(1, first.lease, None), alive(60_000));
    let too_long = Renewed::TtlOutOfRange { min_ms: 100, max_ms: 200 };
    assert_eq!(log.renewed(1, first.lease, Some(70_000)), too_long);
    // The wait was admitted before: it still ends in a grant.
    assert!(log.released(2, "a", first.grants[0].token).released);
    assert_eq!(log.grants().len(), 1);
    let raised = Limits { waiters_per_lock_max: 1, ..Limits::default() };
    log.one(2, Operation::SetLimits(SetLimits { namespace: Some(NS.into()), limits: raised }));
    log.queued(3, wait_lock(id(5, 1), "a", 60_000, 1_000));
    assert_eq!(log.refused(3, wait_lock(id(6, 1), "a", 60_000, 1_000)), reached("waiters_per_lock_max", 1));
    assert_eq!(log.machine.limits("another").leases_max, 0);
    assert_eq!(log.machine.limits(NS).leases_max, Limits::default().leases_max);
}

#[test]
fn full_instance_table_refuses_new_instances_and_forgets_none() {
    let bounds = Bounds { instances_max: 2, ..Bounds::default() };
    let mut log = Log::founded_with(Limits::default(), bounds);
    log.granted(0, try_lock(id(1, 1), "a", 1_000));
    log.granted(0, try_lock(id(2, 1), "b", 1_000));
    let refused = Refusal::LimitReached { limit: "instances_max".into(), max: 2 };
    assert_eq!(log.refused(1, try_lock(id(3, 1), "c", 1_000)), refused);
    assert_eq!(log.refused(1, cancel(id(3, 1), 1)), refused);
    log.granted(2, try_lock(id(1, 2), "c", 1_000));
    // Log time makes room.
    log.granted(REMEMBER_MS + 1, try_lock(id(3, 1), "d", 1_000));
    assert_eq!(log.refused(REMEMBER_MS + 2, try_lock(id(4, 1), "e", 1_000)), refused);
}

#[test]
fn limits_that_contradict_each_other_are_refused() {
    let mut log = Log::founded();
    let set = |limits| Operation::SetLimits(SetLimits { namespace: None, limits });
    let bad = Limits { ttl_ms_min: 500, ttl_ms_max: 400, ..Limits::default() };
    assert_eq!(field(&log.refused(0, set(bad))), "limits.ttl_ms_max");
    assert_eq!(field(&log.refused(0, set(Limits { ttl_ms_min: 0, ..Limits::default() }))), "limits.ttl_ms_min");
    let bounds = Bounds { limited_namespaces_max: 0, ..Bounds::default() };
    let mut log = Log::founded_with(Limits::default(), bounds);
    let own = SetLimits { namespace: Some("x".into()), limits: Limits::default() };
    assert!(matches!(log.refused(0, Operation::SetLimits(own)), Refusal::LimitReached { .. }));
}

#[test]
fn level_rises_and_never_falls() {
    let mut log = Log::empty(Bounds::default());
    let found = Found { cluster: ClusterId(7), counter_start: START, limits: Limits::default(), level: LEVEL_FIRST };
    log.one(0, Operation::Found(found));
    assert_eq!(log.machine.level(), LEVEL_FIRST);
    let shared = with(try_lock(id(1, 1), "a", 5_000), |a| a.locks[0].mode = Mode::Shared);
    assert_eq!(log.refused(0, shared.clone()), Refusal::Level { needed: 2, level: LEVEL_FIRST });
    assert_eq!(log.one(0, Operation::SetLevel(SetLevel { level: LEVEL_MAX })), Outcome::Done);
    log.granted(0, shared);
    let below = log.refused(0, Operation::SetLevel(SetLevel { level: LEVEL_FIRST }));
    assert_eq!(below, Refusal::Level { needed: LEVEL_FIRST, level: LEVEL_MAX });
    // What this build supports is not for the tables to judge: then nodes of different builds would diverge.
    assert_eq!(log.one(0, Operation::SetLevel(SetLevel { level: LEVEL_MAX + 1 })), Outcome::Done);
}

#[test]
fn losses_are_remembered_up_to_the_bound_the_oldest_goes_first() {
    let bounds = Bounds { losses_max: 2, ..Bounds::default() };
    let mut log = Log::founded_with(Limits::default(), bounds);
    let tokens: Vec<FencingToken> = ["a", "b", "c"]
        .iter()
        .zip(1..)
        .map(|(name, counter)| {
            let token = log.granted(0, try_lock(id(1, counter), name, 1_000)).grants[0].token;
            log.released(0, name, token);
            token
        })
        .collect();
    assert_eq!(log.released(1, "a", tokens[0]), not_released(None));
    assert_eq!(log.machine.lock(NS, "a"), None);
    for (name, token) in [("b", tokens[1]), ("c", tokens[2])] {
        let remembered = not_released(Some(LossReason::Released));
        assert_eq!(log.released(1, name, token), remembered);
        let last_lost = log.machine.lock(NS, name).and_then(|lock| lock.last_lost).expect("remembered");
        assert_eq!((last_lost.reason, last_lost.token), (LossReason::Released, token));
    }
}

#[test]
fn locks_are_listed_by_prefix_a_page_at_a_time() {
    let mut log = Log::founded();
    for (name, counter) in ["job/1", "job/10", "job/2", "jobs", "k"].iter().zip(1..) {
        log.granted(0, try_lock(id(1, counter), name, 1_000));
    }
    log.granted(0, with(try_lock(id(1, 9), "job/3", 1_000), |a| a.namespace = "app2".into()));
    let names = |prefix: &str, after: Option<&str>, max: usize| -> Vec<String> {
        log.machine.locks(NS, prefix, after, max).into_iter().map(|lock| lock.name).collect()
    };
    assert_eq!(names("", None, 99), ["job/1", "job/10", "job/2", "jobs", "k"]);
    assert_eq!(names("job/", None, 2), ["job/1", "job/10"]);
    assert_eq!(names("job/", Some("job/10"), 2), ["job/2"]);
    assert_eq!(names("job/", Some("a"), 1), ["job/1"]);
    assert_eq!(names("job/", Some("z"), 1), [""; 0]);
    assert_eq!(names("nothing", None, 9), [""; 0]);
}

#[test]
fn cancel_in_a_long_queue_is_not_a_walk() {
    const WAITERS: u64 = 10_000;
    let mut log = Log::founded();
    log.granted(0, try_lock(id(0, 1), "a", 60_000));
    for start in (1..=WAITERS).step_by(1_000) {
        log.entry(0, (start..start + 1_000).map(|n| wait_lock(id(n, 1), "a", 60_000, 30_000)).collect());
    }
    assert_eq!(log.machine.lock(NS, "a").map(|lock| lock.waiters.len()), Some(WAITERS as usize));
    // Backwards from the end, so that every one of them has the whole rest ahead of it.
    for start in (1..=WAITERS).rev().step_by(1_000) {
        let outcomes = log.entry(1, (0..1_000).map(|n| cancel(id(start - n, 1), 1)).collect());
        assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Cancelled(Cancelled::LeftQueue)));
    }
    assert_eq!(log.waiters("a"), []);
}
