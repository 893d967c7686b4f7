//! Bad input, field by field.

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

#[test]
fn modes_of_later_versions_are_refused_as_such() {
    assert_eq!(refused_field(|m| m.locks[0].mode = v1::Mode::Shared.into()), "locks[0].mode");
    assert_eq!(refused_field(|m| m.locks[0].mode = v1::Mode::Permits.into()), "locks[0].mode");
    assert_eq!(refused_field(|m| m.locks[0].mode = 99), "locks[0].mode");
    assert_eq!(refused_field(|m| m.locks[0].permits = 1), "locks[0].permits");
}

#[test]
fn an_instance_cannot_claim_to_be_past_this_request() {
    assert_eq!(refused_field(|m| m.lowest_unanswered = 4), "lowest_unanswered");
    assert!(request_id(v1::RequestId { client: 1, counter: 0 }).is_err());
}

#[test]
fn a_malformed_lease_id_is_named_by_its_place() {
    let good = v1::RenewLease { lease: "0000000000000001".into(), ttl_ms: 0 };
    let bad = v1::RenewLease { lease: "nonsense".into(), ttl_ms: 0 };
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
