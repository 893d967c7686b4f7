//! Bad input, field by field.

use leasehold_state_machine::{Acquire, LeaseRequest, Mode, Wait};

use super::*;

const REQUEST: RequestId = RequestId { client: 7, counter: 3 };

fn good() -> v1::AcquireRequest {
    v1::AcquireRequest {
        locks: vec![v1::LockRequest { name: "a".into(), ..Default::default() }],
        owner: "me".into(),
        ..Default::default()
    }
}

fn checked(message: v1::AcquireRequest) -> Result<Acquire, CallError> {
    let lowest = message.lowest_unanswered;
    acquire(message, "default".into(), REQUEST, lowest, &Limits::default())
}

/// Applies `change` to a good request and returns the field that is refused.
fn refused_field(change: impl FnOnce(&mut v1::AcquireRequest)) -> String {
    let mut message = good();
    change(&mut message);
    match checked(message) {
        Err(CallError::Invalid { field, .. }) => field,
        other => panic!("not refused as invalid: {other:?}"),
    }
}

#[test]
fn defaults_stand_for_what_is_left_out() {
    let acquire = checked(good()).unwrap();
    assert_eq!(acquire.lease, LeaseRequest::Own { ttl_ms: 30_000 });
    assert_eq!(acquire.wait, Wait::Try);
    assert_eq!((acquire.attempt, acquire.lowest_unanswered), (1, 3));
    assert_eq!(namespace(String::new()).unwrap(), "default");
}

#[test]
fn names_are_bounded_and_printable() {
    assert_eq!(refused_field(|m| m.locks.clear()), "locks");
    assert_eq!(refused_field(|m| m.locks[0].name.clear()), "locks[0].name");
    assert_eq!(refused_field(|m| m.locks[0].name = "x".repeat(513)), "locks[0].name");
    assert_eq!(refused_field(|m| m.locks[0].name = "a\u{7}b".into()), "locks[0].name");
    assert_eq!(refused_field(|m| m.locks.push(m.locks[0].clone())), "locks[1].name");
    assert!(namespace("x".repeat(129)).is_err());
    assert!(namespace("a\nb".into()).is_err());
    let mut longest = good();
    longest.locks[0].name = "x".repeat(512);
    assert!(checked(longest).is_ok());
}

#[test]
fn the_limit_stands_in_the_message() {
    let mut message = good();
    message.locks[0].name = "x".repeat(513);
    let error = checked(message).unwrap_err();
    assert!(error.to_string().contains("512"), "{error}");
}

#[test]
fn owner_and_metadata_are_bounded() {
    assert_eq!(refused_field(|m| m.owner.clear()), "owner");
    assert_eq!(refused_field(|m| m.owner = "x".repeat(257)), "owner");
    assert_eq!(refused_field(|m| m.owner = "\0".into()), "owner");
    assert_eq!(refused_field(|m| m.metadata = "x".repeat(1025)), "metadata");
}

#[test]
fn times_are_in_range() {
    assert_eq!(refused_field(|m| m.ttl_ms = 99), "ttl_ms");
    assert_eq!(refused_field(|m| m.ttl_ms = 24 * 60 * 60 * 1000 + 1), "ttl_ms");
    assert_eq!(refused_field(|m| m.wait_ms = Some(0)), "wait_ms");
    assert_eq!(refused_field(|m| m.wait_ms = Some(30_001)), "wait_ms");
    assert_eq!(refused_field(|m| m.wait_ms = Some(u64::MAX)), "wait_ms");
}

fn permits(m: &mut v1::AcquireRequest, permits: u32, limit: u32) {
    m.locks[0] = v1::LockRequest { name: "a".into(), mode: v1::Mode::Permits.into(), permits, limit };
}

#[test]
fn modes_say_what_they_need_and_nothing_else() {
    assert_eq!(refused_field(|m| m.locks[0].mode = 99), "locks[0].mode");
    assert_eq!(refused_field(|m| m.locks[0].permits = 1), "locks[0].permits");
    assert_eq!(refused_field(|m| m.locks[0].limit = 1), "locks[0].limit");
    assert_eq!(refused_field(|m| permits(m, 0, 3)), "locks[0].permits");
    assert_eq!(refused_field(|m| permits(m, 1, 0)), "locks[0].limit");
    assert_eq!(refused_field(|m| permits(m, 4, 3)), "locks[0].permits");
    let mut some = good();
    permits(&mut some, 3, 3);
    some.locks.push(v1::LockRequest { name: "b".into(), mode: v1::Mode::Shared.into(), ..Default::default() });
    let modes: Vec<Mode> = checked(some).unwrap().locks.iter().map(|lock| lock.mode).collect();
    assert_eq!(modes, [Mode::Permits { permits: 3, limit: 3 }, Mode::Shared]);
}

const SESSION: &str = "00112233445566778899aabbccddeeff";

#[test]
fn a_session_brings_lease_and_owner() {
    assert_eq!(refused_field(|m| m.session = "nonsense".into()), "session");
    assert_eq!(refused_field(|m| m.session = "0000000000000001".into()), "session");
    assert_eq!(refused_field(|m| m.session = format!("{:032x}", u64::MAX)), "session");
    assert_eq!(refused_field(|m| (m.session, m.ttl_ms) = (SESSION.into(), 30_000)), "ttl_ms");
    assert_eq!(refused_field(|m| (m.session, m.owner) = (SESSION.into(), "\n".into())), "owner");
    assert_eq!(refused_field(|m| m.actor = "task".into()), "actor");
    assert_eq!(refused_field(|m| (m.session, m.actor) = (SESSION.into(), "x".repeat(129))), "actor");
    let mut under = good();
    (under.session, under.owner, under.actor) = (SESSION.into(), String::new(), "task".into());
    let acquire = checked(under).unwrap();
    assert_eq!(acquire.lease, LeaseRequest::Session { session: SESSION.parse().unwrap() });
    assert_eq!((acquire.owner.as_str(), acquire.actor.as_deref()), ("", Some("task")));
}

fn convert() -> v1::AcquireRequest {
    v1::AcquireRequest { owner: String::new(), replaces: 7, ..good() }
}

#[test]
fn a_convert_keeps_what_the_grant_has() {
    let refused = |change: fn(&mut v1::AcquireRequest)| {
        let mut message = convert();
        change(&mut message);
        match checked(message) {
            Err(CallError::Invalid { field, .. }) => field,
            other => panic!("not refused as invalid: {other:?}"),
        }
    };
    assert_eq!(refused(|m| m.owner = "me".into()), "owner");
    assert_eq!(refused(|m| m.metadata = "x".into()), "metadata");
    assert_eq!(refused(|m| m.value = vec![1]), "value");
    assert_eq!(refused(|m| m.lock_delay_ms = 1), "lock_delay_ms");
    assert_eq!(refused(|m| m.ttl_ms = 1_000), "ttl_ms");
    assert_eq!(refused(|m| m.session = SESSION.into()), "session");
    assert_eq!(refused(|m| m.locks.push(v1::LockRequest { name: "b".into(), ..Default::default() })), "locks");
    assert_eq!(refused(|m| permits(m, 1, 1)), "locks[0].mode");
    assert_eq!(checked(convert()).unwrap().lease, LeaseRequest::Convert { token: FencingToken(7) });
}

#[test]
fn delay_and_value_are_bounded() {
    assert_eq!(refused_field(|m| m.lock_delay_ms = 60_001), "lock_delay_ms");
    assert_eq!(refused_field(|m| m.value = vec![0; 4097]), "value");
    let mut most = good();
    (most.lock_delay_ms, most.value) = (60_000, vec![0; 4096]);
    assert!(checked(most).is_ok());
}

#[test]
fn a_release_names_one_lock_or_a_list() {
    let lock = |name: &str, token| v1::HeldLock { name: name.into(), token };
    let refused = |message: v1::ReleaseRequest| match releases(&message, &Limits::default()) {
        Err(CallError::Invalid { field, .. }) => field,
        other => panic!("not refused as invalid: {other:?}"),
    };
    let list = |locks| v1::ReleaseRequest { locks, ..Default::default() };
    assert_eq!(refused(list(vec![])), "name");
    assert_eq!(refused(v1::ReleaseRequest { name: "a".into(), ..list(vec![]) }), "token");
    assert_eq!(refused(v1::ReleaseRequest { name: "a".into(), ..list(vec![lock("a", 1)]) }), "name");
    assert_eq!(refused(v1::ReleaseRequest { token: 1, ..list(vec![lock("a", 1)]) }), "token");
    assert_eq!(refused(list(vec![lock("a", 1), lock("", 2)])), "locks[1].name");
    assert_eq!(refused(list(vec![lock("a", 1), lock("b", 0)])), "locks[1].token");
    assert_eq!(refused(list(vec![lock("a", 1), lock("b", 1)])), "locks[1].token");
    assert_eq!(refused(list((1..=1_025).map(|token| lock("a", token)).collect())), "locks");
    assert_eq!(releases(&list(vec![lock("a", 1), lock("a", 2)]), &Limits::default()).unwrap().len(), 2);
}

#[test]
fn an_exact_renewal_says_the_time() {
    let renewal = v1::RenewLease { lease: SESSION.into(), ttl_ms: 0, exact_for_token: 4 };
    match renewals(std::slice::from_ref(&renewal)) {
        Err(CallError::Invalid { field, .. }) => assert_eq!(field, "leases[0].ttl_ms"),
        other => panic!("not refused: {other:?}"),
    }
    let exact = renewals(&[v1::RenewLease { ttl_ms: 500, ..renewal }]).unwrap();
    assert_eq!((exact[0].ttl_ms, exact[0].exact), (Some(500), Some(FencingToken(4))));
}

#[test]
fn an_instance_cannot_claim_to_be_past_this_request() {
    assert_eq!(refused_field(|m| m.lowest_unanswered = 4), "lowest_unanswered");
    assert!(request_id(v1::RequestId { client: 1, counter: 0 }).is_err());
}

#[test]
fn a_malformed_lease_id_is_named_by_its_place() {
    let good = v1::RenewLease { lease: "0000000000000001".into(), ttl_ms: 0, exact_for_token: 0 };
    let bad = v1::RenewLease { lease: "nonsense".into(), ttl_ms: 0, exact_for_token: 0 };
    match renewals(&[good, bad]) {
        Err(CallError::Invalid { field, .. }) => assert_eq!(field, "leases[1].lease"),
        other => panic!("not refused: {other:?}"),
    }
    assert!(renewals(&[]).is_err());
}

#[test]
fn pages_have_a_size() {
    assert_eq!(page_size(0).unwrap(), 100);
    assert_eq!(page_size(1000).unwrap(), 1000);
    assert!(page_size(1001).is_err());
}
