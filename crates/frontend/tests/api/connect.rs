//! The stream: many operations, answered as they finish.

use leasehold_frontend::FrontendOptions;
use leasehold_proto::v1;
use leasehold_proto::v1::answer::Answer as Body;
use leasehold_proto::v1::operation::Operation as Asked;
use tokio::sync::mpsc;
use tonic::Code;

use crate::server::{Server, acquire, eventually, granted, release, renewal, soon};
use crate::stream::Stream;

fn get(name: &str) -> Asked {
    Asked::Get(v1::GetRequest { name: name.into(), ..Default::default() })
}

#[tokio::test]
async fn many_operations_of_one_message_are_all_answered() {
    let server = Server::start().await;
    let mut stream = Stream::open(&server).await;
    let operations = (1..=500).map(|i| (i, Asked::Acquire(acquire(&format!("lock-{i}"), None)))).collect();
    stream.ask(operations).await;
    for i in 1..=500 {
        let Body::Acquire(response) = stream.answer(i).await else { panic!("not an acquire") };
        assert_eq!(granted(response).grants[0].name, format!("lock-{i}"));
    }
}

#[tokio::test]
async fn a_stream_renews_releases_lists_and_closes() {
    let server = Server::start().await;
    let mut stream = Stream::open(&server).await;
    let (grant, lease) = server.hold("a").await;
    let leases = vec![v1::RenewLease { lease: lease.clone(), ttl_ms: 0, exact_for_token: 0 }];
    stream.ask(vec![(1, Asked::Renew(renewal(leases)))]).await;
    assert!(matches!(stream.answer(1).await, Body::Renew(renewed) if renewed.leases[0].alive));
    stream.ask(vec![(2, Asked::List(v1::ListRequest::default())), (3, get("a"))]).await;
    assert!(matches!(stream.answer(2).await, Body::List(list) if list.locks.len() == 1));
    assert!(matches!(stream.answer(3).await, Body::Get(got) if got.lock.as_ref().unwrap().holders.len() == 1));
    let request = release("a", grant.token);
    stream.ask(vec![(4, Asked::Release(request))]).await;
    assert!(matches!(stream.answer(4).await, Body::Release(released) if released.released));
    stream.ask(vec![(5, Asked::CloseLease(v1::CloseLeaseRequest { lease }))]).await;
    assert!(matches!(stream.answer(5).await, Body::CloseLease(closed) if !closed.closed));
}

#[tokio::test]
async fn a_bad_operation_fails_alone() {
    let server = Server::start().await;
    server.hold("held").await;
    let mut stream = Stream::open(&server).await;
    stream.ask(vec![(1, Asked::Acquire(acquire("held", Some(30_000))))]).await;
    eventually("queued", || server.queue_length("held") == 1).await;

    stream.ask(vec![(2, Asked::Acquire(acquire("", None))), (3, get("x"))]).await;
    let error = stream.error(2).await;
    assert_eq!((error.code, error.field.as_str()), (Code::InvalidArgument.into(), "locks[0].name"));
    assert!(matches!(stream.answer(3).await, Body::Get(_)));

    stream.ask(vec![(1, get("x"))]).await;
    assert_eq!(stream.error(1).await.reason, "DUPLICATE_OPERATION");
    let nothing = v1::Operation { id: 9, timeout_ms: 0, operation: None };
    stream.requests.send(v1::ConnectRequest { operations: vec![nothing] }).await.unwrap();
    assert_eq!(stream.error(9).await.field, "operation");
}

#[tokio::test]
async fn waits_do_not_hold_up_what_comes_after_them() {
    let options = FrontendOptions { stream_operations_max: 2, stream_waits_max: 8, ..FrontendOptions::default() };
    let server = Server::start_with(options).await;
    let (grant, _) = server.hold("a").await;
    let mut stream = Stream::open(&server).await;
    stream.ask((1..=9).map(|i| (i, Asked::Acquire(acquire("a", Some(30_000))))).collect()).await;
    let refused = stream.error(9).await;
    assert_eq!((refused.code, refused.field.as_str()), (Code::ResourceExhausted.into(), "stream_waits_max"));
    eventually("queued", || server.queue_length("a") == 8).await;
    let request = release("a", grant.token);
    stream.ask(vec![(20, Asked::Release(request))]).await;
    assert!(matches!(stream.answer(20).await, Body::Release(released) if released.released));
    eventually("one granted", || server.queue_length("a") == 7).await;
}

#[tokio::test]
async fn a_broken_stream_gives_up_its_waits() {
    let server = Server::start().await;
    let (grant, _) = server.hold("a").await;
    let stream = Stream::open(&server).await;
    stream.ask(vec![(1, Asked::Acquire(acquire("a", Some(30_000))))]).await;
    eventually("queued", || server.queue_length("a") == 1).await;
    drop(stream);
    eventually("left the queue", || server.queue_length("a") == 0).await;
    let lock = server.node.state().lock("default", "a").unwrap();
    assert_eq!(lock.holders[0].token.0, grant.token);
}

#[tokio::test]
async fn a_client_that_has_asked_its_last_is_still_answered() {
    let server = Server::start().await;
    let mut stream = Stream::open(&server).await;
    stream.ask(vec![(1, Asked::Acquire(acquire("a", None)))]).await;
    let (closed, _) = mpsc::channel(1);
    stream.requests = closed;
    assert!(matches!(stream.answer(1).await, Body::Acquire(_)));
    assert!(soon(stream.answers.message()).await.unwrap().is_none(), "then the stream ends");
}

#[tokio::test]
async fn a_stopping_node_ends_its_streams() {
    let mut server = Server::start().await;
    server.hold("a").await;
    let mut stream = Stream::open(&server).await;
    stream.ask(vec![(1, Asked::Acquire(acquire("a", Some(30_000))))]).await;
    eventually("queued", || server.queue_length("a") == 1).await;
    server.stop.cancel();
    assert_eq!(stream.error(1).await.reason, "STOPPING");
    assert!(soon(stream.answers.message()).await.unwrap().is_none(), "then the stream ends");
    server.stop_frontend().await;
}
