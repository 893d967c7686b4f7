//! Waits against hand-made events.

use leasehold_state_machine::{
    Acquire, Batch, ClusterId, Command, EntryId, Found, LEVEL_MAX, LeaderStamp, LeaseId, LeaseRequest, Limits,
    LockRequest, LogTime, Mode, Operation, Revision,
};

use super::*;

const REQUEST: RequestId = RequestId { client: 1, counter: 1 };

fn event(kind: EventKind) -> Event {
    Event { revision: Revision::default(), at: LogTime(1), namespace: "default".into(), kind }
}

fn granted() -> Granted {
    Granted { lease: LeaseId(5), grants: vec![], left_ms: 10, confirm: true, forced: 0 }
}

fn grant_of(attempt: Attempt) -> Event {
    event(EventKind::Granted { request: REQUEST, attempt, granted: granted(), owner: "me".into() })
}

fn queue_of(attempt: Attempt) -> Event {
    event(EventKind::Queued { request: REQUEST, attempt, locks: vec![], owner: "me".into(), lease: None })
}

fn apply(waits: &Waits, events: &[Event]) {
    waits.applied(events);
}

/// Whether the wait has ended, without waiting for it.
fn end_of(wait: &mut Wait) -> Option<WaitEnd> {
    wait.receiver.try_recv().ok()
}

#[test]
fn a_grant_ends_the_wait_of_its_attempt_only() {
    let waits = Waits::new(10);
    let mut wait = waits.register(REQUEST, 2).unwrap();
    apply(&waits, &[queue_of(1), grant_of(1), queue_of(2)]);
    assert_eq!(end_of(&mut wait), None, "a grant of attempt 1 is answered by attempt 2's own outcome");
    apply(&waits, &[grant_of(2)]);
    assert_eq!(end_of(&mut wait), Some(WaitEnd::Granted(granted())));
}

#[test]
fn a_later_attempt_anywhere_supersedes() {
    let waits = Waits::new(10);
    let mut wait = waits.register(REQUEST, 1).unwrap();
    apply(&waits, &[queue_of(1)]);
    assert_eq!(end_of(&mut wait), None);
    apply(&waits, &[queue_of(2)]);
    assert_eq!(end_of(&mut wait), Some(WaitEnd::Superseded { by: 2 }));
}

#[test]
fn a_later_attempt_on_this_node_supersedes_and_an_earlier_one_is_refused() {
    let waits = Waits::new(10);
    let mut first = waits.register(REQUEST, 1).unwrap();
    let second = waits.register(REQUEST, 2).unwrap();
    assert_eq!(end_of(&mut first), Some(WaitEnd::Superseded { by: 2 }));
    assert_eq!(waits.register(REQUEST, 1).unwrap_err(), CallError::Superseded { by: 2 });
    drop(first);
    assert_eq!(waits.len(), 1, "the superseded call leaves its successor registered");
    drop(second);
    assert_eq!(waits.len(), 0);
}

#[test]
fn the_end_of_a_wait_tells_why() {
    let ended = |reason| WaitEnd::Ended(Ended { reason, token: None });
    for (reason, timed_out, expected) in [
        (LossReason::Expired, true, WaitEnd::Expired),
        (LossReason::Expired, false, ended(LossReason::Expired)),
        (LossReason::Cancelled, false, ended(LossReason::Cancelled)),
        (LossReason::LeaseClosed, false, ended(LossReason::LeaseClosed)),
    ] {
        let waits = Waits::new(10);
        let mut wait = waits.register(REQUEST, 1).unwrap();
        let (names, owner, lease) = (vec![], "me".into(), None);
        let kind = EventKind::WaitEnded { request: REQUEST, attempt: 1, reason, timed_out, names, owner, lease };
        apply(&waits, &[event(kind)]);
        assert_eq!(end_of(&mut wait), Some(expected));
    }
}

#[test]
fn waits_are_bounded() {
    let waits = Waits::new(1);
    let _first = waits.register(REQUEST, 1).unwrap();
    let error = waits.register(RequestId { client: 1, counter: 2 }, 1).unwrap_err();
    assert_eq!(error, CallError::LimitReached { limit: "waits_max", max: 1 });
}

#[test]
fn a_stopping_node_ends_its_waits_and_takes_no_more() {
    let waits = Waits::new(10);
    let mut wait = waits.register(REQUEST, 1).unwrap();
    waits.close();
    assert_eq!(end_of(&mut wait), Some(WaitEnd::Stopping));
    assert_eq!(waits.register(REQUEST, 2).unwrap_err(), CallError::Stopping);
}

#[test]
fn a_node_without_leader_ends_its_waits_but_takes_new_ones() {
    let waits = Waits::new(10);
    let mut wait = waits.register(REQUEST, 1).unwrap();
    waits.adrift();
    assert_eq!(end_of(&mut wait), Some(WaitEnd::Adrift));
    assert!(waits.register(REQUEST, 2).is_ok());
}

/// A machine that was brought up by a snapshot: `REQUEST` holds a lock in it, and no event tells of that.
fn snapshot_with_the_grant() -> StateMachine {
    let command = |operation| Command { principal: None, not_after: None, operation };
    let found = Found { cluster: ClusterId(1), counter_start: 1, limits: Limits::default(), level: LEVEL_MAX };
    let acquire = Acquire {
        request: REQUEST,
        attempt: 2,
        lowest_unanswered: 1,
        namespace: "default".into(),
        locks: vec![LockRequest { name: "a".into(), mode: Mode::Exclusive }],
        owner: "me".into(),
        metadata: String::new(),
        lease: LeaseRequest::Own { ttl_ms: 10_000 },
        wait: leasehold_state_machine::Wait::Try,
        actor: None,
        lock_delay_ms: 0,
        value: Default::default(),
    };
    let commands = vec![command(Operation::Found(found)), command(Operation::Acquire(acquire))];
    let mut state = StateMachine::new();
    let leader = LeaderStamp { term: 1, node: 1 };
    state.apply(EntryId { leader, index: 1 }, &Batch { at: LogTime(1), stamped_by: leader, commands });
    state
}

#[test]
fn a_grant_that_a_snapshot_skipped_ends_the_wait() {
    let waits = Waits::new(10);
    let mut wait = waits.register(REQUEST, 2).unwrap();
    let mut other = waits.register(RequestId { client: 1, counter: 2 }, 1).unwrap();
    waits.reset(&snapshot_with_the_grant());
    let Some(WaitEnd::Granted(granted)) = end_of(&mut wait) else { panic!("the grant was not heard of") };
    assert_eq!(granted.grants[0].name, "a");
    assert_eq!(end_of(&mut other), None, "a request that the snapshot does not know is still on its way");
    let mut earlier = waits.register(REQUEST, 1).unwrap();
    waits.reset(&snapshot_with_the_grant());
    assert_eq!(end_of(&mut earlier), Some(WaitEnd::Superseded { by: 2 }));
}
