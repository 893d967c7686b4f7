//! Calls that wait, and all the ways in which a wait ends.

use std::time::Duration;

use leasehold_consensus::runtime;
use leasehold_proto::v1;
use leasehold_proto::v1::acquire_response::Result as Acquired;
use leasehold_state_machine::{RequestId, RequestView};
use tonic::{Code, Request};

use crate::server::{Server, acquire, eventually, granted, request_id, soon, verdict, wait_for};

#[tokio::test]
async fn a_release_hands_over_to_the_first_waiter() {
    let server = Server::start().await;
    let (grant, _) = server.hold("a").await;
    let first = wait_for(&server, acquire("a", Some(30_000))).await;
    let second = wait_for(&server, acquire("a", Some(30_000))).await;
    server.release("a", grant.token).await;
    let granted = granted(soon(first).await.unwrap().unwrap());
    assert!(granted.grants[0].token > grant.token);
    assert_eq!((granted.confirm, granted.ttl_ms), (true, 0), "nothing can be counted from the send of a wait");
    assert!(!second.is_finished());
    assert_eq!(server.queue_length("a"), 1);
}

#[tokio::test]
async fn an_expired_lease_hands_over_too() {
    let server = Server::start().await;
    let mut short = acquire("a", None);
    short.ttl_ms = 200;
    server.locks().acquire(short).await.unwrap();
    // On a busy machine it may have expired before this one queues.
    granted(soon(server.locks().acquire(acquire("a", Some(30_000)))).await.unwrap().into_inner());
}

#[tokio::test]
async fn a_wait_ends_at_its_deadline_of_log_time() {
    let server = Server::start().await;
    server.hold("a").await;
    let other = wait_for(&server, acquire("a", Some(30_000))).await;
    let waiter = wait_for(&server, acquire("a", Some(100))).await;
    let answer = soon(waiter).await.unwrap().unwrap();
    let Some(Acquired::WaitEnded(ended)) = answer.result else { panic!("{answer:?}") };
    assert_eq!(ended.waiters, 1, "the other one still waits");
    drop(other);
}

#[tokio::test]
async fn a_broken_call_leaves_the_queue() {
    let server = Server::start().await;
    server.hold("a").await;
    let waiter = wait_for(&server, acquire("a", Some(30_000))).await;
    waiter.abort();
    eventually("left the queue", || server.queue_length("a") == 0).await;
}

#[tokio::test]
async fn a_callers_deadline_ends_the_wait_and_leaves_the_queue() {
    let server = Server::start().await;
    server.hold("a").await;
    let mut request = Request::new(acquire("a", Some(30_000)));
    request.set_timeout(Duration::from_millis(500));
    let status = soon(server.locks().acquire(request)).await.unwrap_err();
    // Ours, or the client library's own if it was faster.
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
    eventually("left the queue", || server.queue_length("a") == 0).await;
}

#[tokio::test]
async fn a_later_attempt_takes_the_wait_over() {
    let server = Server::start().await;
    let (grant, _) = server.hold("a").await;
    let mut request = acquire("a", Some(30_000));
    request.request_id = request_id(1);
    let first = wait_for(&server, request.clone()).await;
    request.attempt = 2;
    let mut locks = server.locks();
    let second = runtime::spawn(async move { locks.acquire(request).await.map(tonic::Response::into_inner) });
    let superseded = verdict(soon(first).await.unwrap());
    assert_eq!(superseded, (Code::Aborted, "SUPERSEDED".into()));
    let attempt = || server.node.state().request(RequestId { client: 0xC1, counter: 1 });
    eventually("re-armed", || attempt() == RequestView::Waiting { attempt: 2 }).await;
    assert_eq!(server.queue_length("a"), 1, "one request has one place");
    server.release("a", grant.token).await;
    granted(soon(second).await.unwrap().unwrap());
}

#[tokio::test]
async fn a_cancel_ends_the_wait_and_says_so() {
    let server = Server::start().await;
    server.hold("a").await;
    let mut request = acquire("a", Some(30_000));
    request.request_id = request_id(1);
    let waiter = wait_for(&server, request).await;
    let cancel = v1::CancelAcquireRequest { request_id: request_id(1), attempt: 1 };
    let cancelled = server.locks().cancel_acquire(cancel).await.unwrap().into_inner();
    assert!(cancelled.left_queue && !cancelled.undid_grant);
    let answer = soon(waiter).await.unwrap().unwrap();
    let Some(Acquired::Ended(ended)) = answer.result else { panic!("{answer:?}") };
    assert_eq!(ended.reason(), v1::LossReason::Cancelled);
}

#[tokio::test]
async fn a_cancel_undoes_a_grant() {
    let server = Server::start().await;
    let mut request = acquire("a", None);
    request.request_id = request_id(1);
    server.locks().acquire(request).await.unwrap();
    let cancel = v1::CancelAcquireRequest { request_id: request_id(1), attempt: 1 };
    let cancelled = server.locks().cancel_acquire(cancel).await.unwrap().into_inner();
    assert!(cancelled.undid_grant);
    server.hold("a").await;
}

#[tokio::test]
async fn a_stopping_node_ends_its_waits_without_cancelling() {
    let mut server = Server::start().await;
    server.hold("a").await;
    let mut request = acquire("a", Some(30_000));
    request.request_id = request_id(1);
    let waiter = wait_for(&server, request).await;
    server.stop_frontend().await;
    assert_eq!(verdict(soon(waiter).await.unwrap()), (Code::Unavailable, "STOPPING".into()));
    assert_eq!(server.queue_length("a"), 1, "the client finds its place through another node");
}
