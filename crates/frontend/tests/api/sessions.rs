//! Sessions: one keep-alive for many locks, found again after a connection broke.

use std::time::Duration;

use leasehold_proto::v1;
use leasehold_proto::v1::acquire_response::Result as Acquired;
use leasehold_proto::v1::answer::Answer as Body;
use leasehold_proto::v1::operation::Operation as Asked;
use leasehold_state_machine::{RequestId, RequestView};
use tonic::{Code, Request};

use crate::server::{
    Server, acquire, bad_field, eventually, granted, open_session, renewal, request_id, session_id, soon, under,
    verdict, wait_for,
};
use crate::stream::Stream;

const EXCLUSIVE: v1::Mode = v1::Mode::Exclusive;
const REQUEST: RequestId = RequestId { client: 0xC1, counter: 1 };

fn get(session: u64) -> v1::GetSessionRequest {
    v1::GetSessionRequest { session: session_id(session), stale: false }
}

/// Waits for `name` under session 1, with an id that the client can come back with.
fn waiting(name: &str) -> v1::AcquireRequest {
    v1::AcquireRequest { request_id: request_id(1), ..under(1, name, EXCLUSIVE, Some(30_000)) }
}

#[tokio::test]
async fn opening_twice_finds_it_open_and_renews_nothing() {
    let server = Server::start().await;
    let opened = server.locks().open_session(open_session(1)).await.unwrap().into_inner();
    assert_eq!(opened.ttl_ms, 60_000);
    let mut short = open_session(2);
    short.ttl_ms = 5_000;
    server.locks().open_session(short.clone()).await.unwrap();
    let lease = |ttl_ms| v1::RenewLease { lease: session_id(2), ttl_ms, exact_for_token: 0 };
    server.locks().renew(renewal(vec![lease(120_000)])).await.unwrap();
    let again = server.locks().open_session(short.clone()).await.unwrap().into_inner();
    assert!((60_001..=120_000).contains(&again.ttl_ms), "what is left of it: {}", again.ttl_ms);
    short.owner = "somebody else".into();
    let status = server.locks().open_session(short).await.unwrap_err();
    assert!(status.message().contains(&session_id(2)), "{status:?}");
    assert_eq!(bad_field::<()>(Err(status.clone())), "session");
    assert_eq!(verdict::<()>(Err(status)), (Code::InvalidArgument, "BODY_MISMATCH".into()));
}

#[tokio::test]
async fn what_hangs_on_a_session_is_told_and_ends_with_it() {
    let server = Server::start().await;
    let mut open = open_session(1);
    open.metadata = "host a, pid 7".into();
    server.locks().open_session(open).await.unwrap();
    let first = granted(server.locks().acquire(under(1, "a", EXCLUSIVE, None)).await.unwrap().into_inner());
    assert_eq!((first.lease.as_str(), first.confirm), (session_id(1).as_str(), false));
    assert!((1..=60_000).contains(&first.ttl_ms));
    let shared = server.take(under(1, "b", v1::Mode::Shared, None)).await;
    server.hold("held").await;
    let waiter = wait_for(&server, waiting("held")).await;

    let got = server.locks().get_session(get(1)).await.unwrap().into_inner();
    let session = got.session.unwrap();
    assert_eq!((session.namespace.as_str(), session.owner.as_str()), ("default", "session 1"));
    assert_eq!((session.metadata.as_str(), session.ttl_ms), ("host a, pid 7", 60_000));
    assert_eq!((session.grant_count, session.wait_count), (2, 1));
    assert_eq!((session.grants[1].name.as_str(), session.grants[1].token), ("b", shared.token));
    assert_eq!(session.grants[1].mode(), v1::Mode::Shared);
    assert!(got.revision > 0);
    let lock = server.get("a").await;
    assert_eq!(lock.holders[0].owner, "session 1", "an empty owner is the session's");
    assert_eq!(server.get("held").await.waiters[0].lease, session_id(1));

    let close = v1::CloseLeaseRequest { lease: session_id(1) };
    let closed = server.locks().close_lease(close).await.unwrap().into_inner();
    assert_eq!((closed.closed, closed.grants_ended), (true, 2));
    let answer = soon(waiter).await.unwrap().unwrap();
    let Some(Acquired::Ended(ended)) = answer.result else { panic!("{answer:?}") };
    assert_eq!(ended.reason(), v1::LossReason::LeaseClosed, "the wait ended with its session");
    let gone = server.locks().get_session(get(1)).await.unwrap().into_inner();
    assert!(gone.session.is_none());
    assert_eq!(gone.reason(), v1::LossReason::LeaseClosed);
    assert_eq!(server.get("a").await.last_lost(), v1::LossReason::LeaseClosed);
}

#[tokio::test]
async fn a_session_that_is_not_open_is_not_found() {
    let server = Server::start().await;
    let missing = server.locks().acquire(under(7, "a", EXCLUSIVE, None)).await;
    assert_eq!(verdict(missing), (Code::NotFound, "NO_SESSION".into()));
    server.open_session(1).await;
    server.locks().close_lease(v1::CloseLeaseRequest { lease: session_id(1) }).await.unwrap();
    let reopened = server.locks().open_session(open_session(1)).await;
    assert_eq!(verdict(reopened), (Code::NotFound, "NO_SESSION".into()));
    let other = v1::AcquireRequest { namespace: "other".into(), ..under(1, "a", EXCLUSIVE, None) };
    assert!(server.locks().acquire(other).await.is_err(), "a session belongs to one namespace");
}

#[tokio::test]
async fn a_lost_session_loses_its_waits_with_the_reason() {
    let server = Server::start().await;
    server.hold("held").await;
    let mut short = open_session(1);
    short.ttl_ms = 300;
    server.locks().open_session(short).await.unwrap();
    let answer = soon(server.locks().acquire(waiting("held"))).await;
    match answer {
        Ok(answer) => {
            let answer = answer.into_inner();
            let Some(Acquired::Ended(ended)) = answer.result else { panic!("{answer:?}") };
            assert_eq!(ended.reason(), v1::LossReason::Expired);
        }
        // On a busy machine the session was gone before.
        Err(status) => assert_eq!(verdict::<()>(Err(status)), (Code::NotFound, "NO_SESSION".into())),
    }
    let gone = server.locks().get_session(get(1)).await.unwrap().into_inner();
    assert_eq!((gone.session.is_none(), gone.reason()), (true, v1::LossReason::Expired));
}

#[tokio::test]
async fn a_broken_call_keeps_its_place_and_is_found_again() {
    let server = Server::start().await;
    server.open_session(1).await;
    let (grant, _) = server.hold("a").await;
    let call = wait_for(&server, waiting("a")).await;
    call.abort();
    // Behind it in the queue; its broken call is cancelled, so that any cancel of the first one would have come by then.
    let other = wait_for(&server, acquire("a", Some(30_000))).await;
    other.abort();
    eventually("the other one left", || server.queue_length("a") == 1).await;
    assert_eq!(server.node.state().request(REQUEST), RequestView::Waiting { attempt: 1 });

    server.release("a", grant.token).await;
    let again = v1::AcquireRequest { attempt: 2, ..waiting("a") };
    let found = granted(soon(server.locks().acquire(again)).await.unwrap().into_inner());
    assert!(found.grants[0].token > grant.token);
    assert_eq!(found.lease, session_id(1));
}

#[tokio::test]
async fn a_broken_stream_keeps_the_waits_of_sessions_and_the_client_cancels() {
    let server = Server::start().await;
    server.open_session(1).await;
    server.hold("a").await;
    let stream = Stream::open(&server).await;
    let own = acquire("a", Some(30_000));
    stream.ask(vec![(1, Asked::Acquire(waiting("a"))), (2, Asked::Acquire(own))]).await;
    eventually("queued", || server.queue_length("a") == 2).await;
    drop(stream);
    eventually("the one without session left", || server.queue_length("a") == 1).await;
    assert_eq!(server.node.state().request(REQUEST), RequestView::Waiting { attempt: 1 });
    let cancel = v1::CancelAcquireRequest { request_id: request_id(1), attempt: 1 };
    assert!(server.locks().cancel_acquire(cancel).await.unwrap().into_inner().left_queue);
    assert_eq!(server.queue_length("a"), 0);
}

#[tokio::test]
async fn a_callers_deadline_ends_the_call_and_not_the_wait() {
    let server = Server::start().await;
    server.open_session(1).await;
    server.hold("a").await;
    let mut request = Request::new(waiting("a"));
    request.set_timeout(Duration::from_millis(1_500));
    let status = soon(server.locks().acquire(request)).await.unwrap_err();
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
    // Its cancel would have come before this one's.
    let other = wait_for(&server, acquire("a", Some(30_000))).await;
    other.abort();
    eventually("the other one left", || server.queue_length("a") == 1).await;
    assert_eq!(server.node.state().request(REQUEST), RequestView::Waiting { attempt: 1 });
}

#[tokio::test]
async fn an_answer_that_nobody_read_is_still_granted() {
    let server = Server::start().await;
    server.open_session(1).await;
    let stream = Stream::open(&server).await;
    let request = v1::AcquireRequest { wait_ms: None, ..waiting("a") };
    stream.ask(vec![(1, Asked::Acquire(request.clone()))]).await;
    eventually("granted", || server.node.state().lock("default", "a").is_some()).await;
    drop(stream);
    let again = v1::AcquireRequest { attempt: 2, ..request };
    let found = granted(server.locks().acquire(again).await.unwrap().into_inner());
    assert_eq!(server.get("a").await.holders[0].token, found.grants[0].token);
}

#[tokio::test]
async fn sessions_are_listed_by_namespace_a_page_at_a_time() {
    let server = Server::start().await;
    for number in [3, 1, 5, 2, 4] {
        server.open_session(number).await;
    }
    let foreign = v1::OpenSessionRequest { namespace: "other".into(), ..open_session(9) };
    server.locks().open_session(foreign).await.unwrap();
    server.take(under(3, "a", EXCLUSIVE, None)).await;
    let (mut sessions, mut page_token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let request = v1::ListSessionsRequest { page_size: 2, page_token, ..Default::default() };
        let page = server.locks().list_sessions(request).await.unwrap().into_inner();
        sessions.extend(page.sessions);
        pages += 1;
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let ids: Vec<&str> = sessions.iter().map(|session| session.session.as_str()).collect();
    assert_eq!(ids, (1..=5).map(session_id).collect::<Vec<_>>());
    assert_eq!((pages, sessions[2].grant_count), (3, 1));
    for bad in ["nonsense", "16162"] {
        let foreign = v1::ListSessionsRequest { page_token: bad.into(), ..Default::default() };
        assert_eq!(bad_field(server.locks().list_sessions(foreign).await), "page_token");
    }
}

#[tokio::test]
async fn sessions_live_on_a_stream_too() {
    let server = Server::start().await;
    let mut stream = Stream::open(&server).await;
    stream.ask(vec![(1, Asked::OpenSession(open_session(1)))]).await;
    assert!(matches!(stream.answer(1).await, Body::OpenSession(opened) if opened.ttl_ms == 60_000));
    let operations = vec![
        (2, Asked::GetSession(get(1))),
        (3, Asked::ListSessions(v1::ListSessionsRequest::default())),
        (4, Asked::Acquire(under(1, "a", EXCLUSIVE, None))),
        (5, Asked::OpenSession(v1::OpenSessionRequest { session: "x".into(), ..open_session(2) })),
        (6, Asked::GetSession(v1::GetSessionRequest { session: "0000000000000001".into(), stale: false })),
    ];
    stream.ask(operations).await;
    assert!(matches!(stream.answer(2).await, Body::GetSession(got) if got.session.is_some()));
    assert!(matches!(stream.answer(3).await, Body::ListSessions(list) if list.sessions.len() == 1));
    assert!(matches!(stream.answer(4).await, Body::Acquire(_)));
    for id in [5, 6] {
        assert_eq!(stream.error(id).await.field, "session");
    }
}
