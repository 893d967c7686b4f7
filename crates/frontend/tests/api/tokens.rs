//! What is done by a token: values, checks, renewals to the millisecond.

use leasehold_proto::v1;
use leasehold_proto::v1::answer::Answer as Body;
use leasehold_proto::v1::operation::Operation as Asked;
use tonic::Code;

use crate::server::{Server, bad_field, renewal, verdict};
use crate::stream::Stream;

fn set_value(token: u64, version: u64, value: &[u8]) -> v1::SetValueRequest {
    v1::SetValueRequest { name: "a".into(), token, version, value: value.to_vec(), ..Default::default() }
}

fn check(name: &str, token: u64) -> v1::CheckTokenRequest {
    v1::CheckTokenRequest { name: name.into(), token, ..Default::default() }
}

#[tokio::test]
async fn a_value_is_replaced_by_version() {
    let server = Server::start().await;
    let (grant, _) = server.hold("a").await;
    let mut locks = server.locks();
    let set = locks.set_value(set_value(grant.token, 0, b"one")).await.unwrap().into_inner();
    assert_eq!((set.set, set.version), (true, 1));
    let again = locks.set_value(set_value(grant.token, 0, b"one")).await.unwrap().into_inner();
    assert_eq!((again.set, again.version), (true, 1), "the same again is answered alike");
    let conflict = locks.set_value(set_value(grant.token, 0, b"two")).await.unwrap().into_inner();
    assert_eq!((conflict.set, conflict.version, conflict.not_held), (false, 1, false));
    let holder = server.get("a").await.holders.remove(0);
    assert_eq!((holder.value.as_slice(), holder.version), (&b"one"[..], 1));

    server.release("a", grant.token).await;
    let late = locks.set_value(set_value(grant.token, 1, b"two")).await.unwrap().into_inner();
    assert_eq!((late.set, late.version, late.not_held), (false, 0, true));
    assert_eq!(late.reason(), v1::LossReason::Released);
    let wrong = locks.set_value(set_value(u64::MAX, 0, b"x")).await;
    assert_eq!(verdict(wrong), (Code::FailedPrecondition, "WRONG_TOKEN".into()));
}

#[tokio::test]
async fn a_token_is_current_past_or_foreign() {
    let server = Server::start().await;
    let (grant, _) = server.hold("a").await;
    let mut locks = server.locks();
    let current = locks.check_token(check("a", grant.token)).await.unwrap().into_inner();
    assert_eq!((current.current, current.mode()), (true, v1::Mode::Exclusive));
    assert!((1..=60_000).contains(&current.left_ms) && current.revision > 0);
    let foreign = locks.check_token(check("b", grant.token)).await.unwrap().into_inner();
    assert!(!foreign.current && foreign.loss.is_none());

    server.release("a", grant.token).await;
    let past = locks.check_token(check("a", grant.token)).await.unwrap().into_inner();
    assert!(!past.current && past.left_ms == 0);
    assert_eq!(past.loss.unwrap().reason(), v1::LossReason::Released);
}

#[tokio::test]
async fn an_exact_renewal_moves_a_deadline_back() {
    let server = Server::start().await;
    let (grant, lease) = server.hold("a").await;
    let exact = |token| v1::RenewLease { lease: lease.clone(), ttl_ms: 5_000, exact_for_token: token };
    let wrong = server.locks().renew(renewal(vec![exact(grant.token + 1)])).await.unwrap().into_inner();
    assert!(!wrong.leases[0].alive, "it names a grant that does not hang there");
    let renewed = server.locks().renew(renewal(vec![exact(grant.token)])).await.unwrap().into_inner();
    assert_eq!((renewed.leases[0].alive, renewed.leases[0].ttl_ms), (true, 5_000));
    assert!(server.get("a").await.holders[0].left_ms <= 5_000);
    let zero = v1::RenewLease { ttl_ms: 0, ..exact(grant.token) };
    assert_eq!(bad_field(server.locks().renew(renewal(vec![zero])).await), "leases[0].ttl_ms");
}

#[tokio::test]
async fn renewals_are_all_or_nothing_where_asked() {
    let server = Server::start().await;
    let (_, first) = server.hold("a").await;
    let (_, second) = server.hold("b").await;
    let lease = |lease: &str, ttl_ms| v1::RenewLease { lease: lease.into(), ttl_ms, exact_for_token: 0 };
    let all = |leases| v1::RenewRequest { leases, all_or_nothing: true };
    let gone = vec![lease(&first, 120_000), lease("00000000000000ff", 0), lease(&second, 1)];
    let none = server.locks().renew(all(gone)).await.unwrap().into_inner().leases;
    assert!(none[0].untouched && none[0].alive && none[0].ttl_ms == 0);
    assert!(!none[1].alive && !none[1].untouched);
    assert_eq!(none[2].error.as_ref().unwrap().field, "leases[2].ttl_ms");
    assert!(server.get("a").await.holders[0].left_ms <= 60_000, "nothing was renewed");
    let both = vec![lease(&first, 120_000), lease(&second, 120_000)];
    let both = server.locks().renew(all(both)).await.unwrap().into_inner().leases;
    assert!(both.iter().all(|lease| lease.alive && lease.ttl_ms > 60_000 && !lease.untouched));
}

#[tokio::test]
async fn what_is_done_by_a_token_goes_over_a_stream_too() {
    let server = Server::start().await;
    let (grant, _) = server.hold("a").await;
    let mut stream = Stream::open(&server).await;
    stream.ask(vec![(1, Asked::SetValue(set_value(grant.token, 0, b"x")))]).await;
    assert!(matches!(stream.answer(1).await, Body::SetValue(set) if set.set));
    stream.ask(vec![(2, Asked::CheckToken(check("a", grant.token)))]).await;
    assert!(matches!(stream.answer(2).await, Body::CheckToken(checked) if checked.current));
    let (name, reason) = ("a".into(), "test".into());
    let force = v1::ForceReleaseRequest { name, token: grant.token, reason, ..Default::default() };
    stream.ask(vec![(3, Asked::ForceRelease(force))]).await;
    assert!(matches!(stream.answer(3).await, Body::ForceRelease(forced) if forced.released));
}
