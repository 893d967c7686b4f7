//! Converting a grant without letting go of the lock.

use leasehold_proto::v1;
use leasehold_proto::v1::acquire_response::Result as Acquired;
use leasehold_state_machine::{RequestId, RequestView};
use tonic::Code;

use crate::server::{Server, eventually, granted, request_id, soon, under, verdict, wait_for};

fn convert(token: u64, mode: v1::Mode, wait_ms: Option<u64>) -> v1::AcquireRequest {
    v1::AcquireRequest {
        locks: vec![v1::LockRequest { name: "a".into(), mode: mode.into(), ..Default::default() }],
        replaces: token,
        wait_ms,
        request_id: request_id(1),
        ..Default::default()
    }
}

/// Two sessions share lock a.
async fn shared() -> (Server, v1::Grant, v1::Grant) {
    let server = Server::start().await;
    for session in [1, 2] {
        server.open_session(session).await;
    }
    let first = v1::AcquireRequest { value: vec![7], ..under(1, "a", v1::Mode::Shared, None) };
    let first = server.take(first).await;
    let second = server.take(under(2, "a", v1::Mode::Shared, None)).await;
    (server, first, second)
}

#[tokio::test]
async fn up_when_alone_and_down_at_once() {
    let (server, first, second) = shared().await;
    let answer = server.locks().acquire(convert(first.token, v1::Mode::Exclusive, None)).await.unwrap().into_inner();
    assert!(matches!(answer.result, Some(Acquired::Held(_))), "{answer:?}");
    server.release("a", second.token).await;
    let up = v1::AcquireRequest { attempt: 2, ..convert(first.token, v1::Mode::Exclusive, None) };
    let up = server.take(up).await;
    assert!(up.token > first.token);
    let holder = server.get("a").await.holders.remove(0);
    assert_eq!((holder.token, holder.mode(), holder.value), (up.token, v1::Mode::Exclusive, vec![7]));

    let down = v1::AcquireRequest { request_id: request_id(2), ..convert(up.token, v1::Mode::Shared, None) };
    let down = server.take(down).await;
    assert!(down.token > up.token);
    server.take(under(2, "a", v1::Mode::Shared, None)).await;
}

#[tokio::test]
async fn an_upgrade_goes_first_and_a_second_one_is_a_deadlock() {
    let (server, first, second) = shared().await;
    let waiter = wait_for(&server, under(2, "a", v1::Mode::Exclusive, Some(30_000))).await;
    let upgrade = wait_for(&server, convert(first.token, v1::Mode::Exclusive, Some(30_000))).await;
    assert_eq!(server.get("a").await.waiters[0].converts, first.token);
    let rival =
        v1::AcquireRequest { request_id: request_id(2), ..convert(second.token, v1::Mode::Exclusive, Some(30_000)) };
    let answer = soon(server.locks().acquire(rival)).await.unwrap().into_inner();
    assert!(matches!(answer.result, Some(Acquired::Deadlock(_))), "{answer:?}");
    server.release("a", second.token).await;
    let upgraded = granted(soon(upgrade).await.unwrap().unwrap());
    assert!(!waiter.is_finished());
    server.release("a", upgraded.grants[0].token).await;
    granted(soon(waiter).await.unwrap().unwrap());
}

#[tokio::test]
async fn a_token_that_is_gone_or_another_locks_converts_nothing() {
    let (server, first, _second) = shared().await;
    server.release("a", first.token).await;
    let gone = server.locks().acquire(convert(first.token, v1::Mode::Exclusive, None)).await.unwrap_err();
    assert!(gone.message().contains("released"), "it says why: {gone:?}");
    assert_eq!(verdict::<()>(Err(gone)), (Code::FailedPrecondition, "NOT_HELD".into()));
    let (other, _) = server.hold("b").await;
    let request = v1::AcquireRequest { request_id: request_id(3), ..convert(other.token, v1::Mode::Shared, None) };
    let foreign = server.locks().acquire(request).await;
    assert_eq!(verdict(foreign), (Code::FailedPrecondition, "WRONG_TOKEN".into()));
}

#[tokio::test]
async fn a_broken_call_of_a_convert_cancels_nothing() {
    let (server, first, second) = shared().await;
    let call = wait_for(&server, convert(first.token, v1::Mode::Exclusive, Some(30_000))).await;
    call.abort();
    let other = wait_for(&server, crate::server::acquire("a", Some(30_000))).await;
    other.abort();
    eventually("the other one left", || server.queue_length("a") == 1).await;
    let request = RequestId { client: 0xC1, counter: 1 };
    assert_eq!(server.node.state().request(request), RequestView::Waiting { attempt: 1 });
    server.release("a", second.token).await;
    let again = v1::AcquireRequest { attempt: 2, ..convert(first.token, v1::Mode::Exclusive, Some(30_000)) };
    let found = granted(soon(server.locks().acquire(again)).await.unwrap().into_inner());
    assert_eq!(server.get("a").await.holders[0].token, found.grants[0].token);
}

#[tokio::test]
async fn a_cancel_leaves_the_shared_grant_and_keeps_what_was_converted() {
    let (server, first, second) = shared().await;
    let upgrade = wait_for(&server, convert(first.token, v1::Mode::Exclusive, Some(30_000))).await;
    let cancel = |attempt| v1::CancelAcquireRequest { request_id: request_id(1), attempt };
    let cancelled = server.locks().cancel_acquire(cancel(1)).await.unwrap().into_inner();
    assert!(cancelled.left_queue && cancelled.kept_token == 0);
    let answer = soon(upgrade).await.unwrap().unwrap();
    assert!(matches!(answer.result, Some(Acquired::Ended(_))), "{answer:?}");
    assert_eq!(server.get("a").await.holders.len(), 2);

    server.release("a", second.token).await;
    let again = v1::AcquireRequest { attempt: 2, ..convert(first.token, v1::Mode::Exclusive, None) };
    let upgraded = server.take(again).await;
    let kept = server.locks().cancel_acquire(cancel(2)).await.unwrap().into_inner();
    assert_eq!((kept.undid_grant, kept.kept_token), (false, upgraded.token));
    assert_eq!(kept.kept_mode(), v1::Mode::Exclusive);
    assert_eq!(server.get("a").await.holders[0].token, upgraded.token);
}
