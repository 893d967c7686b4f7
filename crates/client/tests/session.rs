//! How a client keeps its session and what hangs on it: seen from the nodes.
#![allow(clippy::unwrap_used, reason = "a test that gets no answer has failed")]

use std::time::Duration;

use leasehold_client::{Client, ClientOptions, Error, Loss, LossReason, SessionId, Token};
use leasehold_proto::v1::answer::Answer;
use leasehold_proto::v1::operation::Operation;
use leasehold_proto::v1::{self, acquire_response};
use tonic::Code;

mod support;
use support::{Asked, FakeCluster, Hand};

const SECOND: Duration = Duration::from_secs(1);

async fn next_open(cluster: &mut FakeCluster) -> (v1::OpenSessionRequest, Asked) {
    cluster
        .next_of(|operation| match operation {
            Operation::OpenSession(open) => Some(open.clone()),
            _ => None,
        })
        .await
}

async fn opened(asked: Asked, ttl_ms: u64) {
    asked.answer(Answer::OpenSession(v1::OpenSessionResponse { ttl_ms })).await;
}

#[tokio::test]
async fn one_session_serves_all_locks_of_a_process() {
    let cluster = FakeCluster::start(1).await;
    let options = ClientOptions { session_note: "nightly job".to_owned(), ..cluster.options() };
    let (mut cluster, client) = (cluster, Client::connect(options).await.unwrap());
    cluster.by_hand();
    let acquiring: Vec<_> = ["a", "b", "c"].map(|name| tokio::spawn(client.lock(name).acquire())).into();
    let (open, asked) = next_open(&mut cluster).await;
    assert_eq!((open.namespace.as_str(), open.owner.as_str(), open.ttl_ms), ("default", "test", 30_000));
    assert!(open.session.parse::<SessionId>().is_ok(), "{}", open.session);
    assert!(open.metadata.contains("host=") && open.metadata.contains(&format!("pid={}", std::process::id())));
    assert!(open.metadata.ends_with("note=nightly job"), "{}", open.metadata);
    opened(asked, 30_000).await;
    let (mut acquires, mut watches) = (0, 0);
    while acquires < 3 || watches < 1 {
        let asked = cluster.next().await;
        match &asked.operation {
            Operation::Watch(watch) => {
                assert_eq!(watch.target, Some(v1::watch_request::Target::Session(open.session.clone())));
                watches += 1;
            }
            Operation::Acquire(acquire) => {
                assert_eq!((acquire.session.as_str(), acquire.ttl_ms), (open.session.as_str(), 0));
                assert_eq!(acquire.owner, "", "the session's owner");
                acquires += 1;
                asked.granted(acquires, 30_000, false).await;
            }
            other => panic!("{other:?}"),
        }
    }
    for acquiring in acquiring {
        let guard = acquiring.await.unwrap().unwrap();
        assert_eq!(guard.session().unwrap().to_string(), open.session);
        std::mem::forget(guard);
    }
}

#[tokio::test]
async fn one_keep_alive_renews_all_locks_a_third_into_the_ttl() {
    let mut cluster = FakeCluster::start(1).await;
    let (clock, hand) = Hand::clock();
    let client = Client::connect(ClientOptions { clock, ..cluster.options() }).await.unwrap();
    let guards = [cluster.guard(&client, "a", 1).await, cluster.guard(&client, "b", 2).await];
    hand.advance(Duration::from_millis(9_900));
    // Not yet: what the node hears next is another acquire.
    let early = tokio::spawn(client.lock("c").acquire());
    let asked = cluster.next().await;
    assert!(matches!(asked.operation, Operation::Acquire(_)), "{:?}", asked.operation);
    asked.granted(3, 30_000, false).await;
    let third = early.await.unwrap().unwrap();
    hand.advance(Duration::from_millis(100));
    let (renewal, asked) = cluster.next_renew().await;
    assert_eq!(renewal.leases.len(), 1);
    assert_eq!(renewal.leases[0].lease, guards[0].lease().as_str());
    let before = third.deadline_left();
    asked.renewed(30_000).await;
    // Counted from the send of the keep-alive, with the drift given up.
    while third.deadline_left() == before {
        tokio::task::yield_now().await;
    }
    assert_eq!(third.deadline_left(), Duration::from_millis(29_940));
}

#[tokio::test]
async fn loss_is_told_to_all_guards_before_the_server_gives_the_locks_away() {
    let mut cluster = FakeCluster::start(1).await;
    let (clock, hand) = Hand::clock();
    let options = ClientOptions { clock: clock.clone(), call_timeout: SECOND, ..cluster.options() };
    let client = Client::connect(options).await.unwrap();
    let start = clock.now();
    let a = cluster.guard(&client, "a", 1).await;
    let b = cluster.guard(&client, "b", 2).await;
    cluster.mute(0);
    hand.advance(Duration::from_millis(29_939));
    assert!(a.is_held() && b.is_held());
    hand.advance(Duration::from_millis(1));
    assert_eq!((a.lost().await, b.lost().await), (Loss::Expired, Loss::Expired));
    assert!(a.cancellation_token().is_cancelled());
    assert_eq!(client.default_session().await.err().map(|error| error.is_retryable()), Some(true));
    // The server counts 30 s from when it heard of the session, which is not before the send.
    assert!(clock.now().since(start) < Duration::from_secs(30));
}

#[tokio::test]
async fn the_sessions_end_is_told_with_its_reason_and_the_next_lock_has_a_new_one() {
    let mut cluster = FakeCluster::start(1).await;
    let options = ClientOptions { session_ttl: 2 * SECOND, ..cluster.options() };
    let client = Client::connect(options).await.unwrap();
    let a = cluster.guard(&client, "a", 1).await;
    cluster.next_renew().await.1.gone(LossReason::LeaseClosed).await;
    let loss = a.lost().await;
    assert_eq!(loss, Loss::SessionEnded { reason: Some(LossReason::LeaseClosed) });
    let b = cluster.guard(&client, "b", 2).await;
    assert_ne!(a.session(), b.session());
    assert!(b.is_held() && !a.is_held());
}

#[tokio::test]
async fn a_wait_goes_on_under_a_new_session() {
    let mut cluster = FakeCluster::start(1).await;
    let options = ClientOptions { session_ttl: 2 * SECOND, ..cluster.options() };
    let client = Client::connect(options).await.unwrap();
    let waiting = tokio::spawn(client.lock("a").acquire());
    let (first, _queued) = cluster.next_acquire().await;
    cluster.next_renew().await.1.gone(LossReason::Expired).await;
    let (mut cancelled, mut asked_again) = (false, None);
    while !cancelled || asked_again.is_none() {
        let asked = cluster.next_but_renewals().await;
        match &asked.operation {
            Operation::Cancel(cancel) => {
                assert_eq!(cancel.request_id, first.request_id);
                cancelled = true;
                asked.cancelled().await;
            }
            Operation::Acquire(second) => {
                assert_ne!(second.session, first.session);
                assert_ne!(second.request_id, first.request_id);
                asked_again = Some(asked);
            }
            other => panic!("{other:?}"),
        }
    }
    asked_again.unwrap().granted(5, 0, false).await;
    assert_eq!(waiting.await.unwrap().unwrap().token(), Token(5));
}

#[tokio::test]
async fn a_session_that_a_node_does_not_know_is_replaced() {
    let (mut cluster, client) = FakeCluster::connected(1).await;
    let acquiring = tokio::spawn(client.lock("a").acquire());
    let (first, asked) = cluster.next_acquire().await;
    asked.fail(Code::NotFound, "NO_SESSION").await;
    cluster.next_renew().await.1.gone(LossReason::Expired).await;
    let (second, asked) = cluster.next_acquire().await;
    assert_ne!(second.session, first.session);
    asked.granted(1, 30_000, false).await;
    assert!(acquiring.await.unwrap().unwrap().is_held());
}

#[tokio::test]
async fn a_wait_under_a_session_of_the_callers_ends_with_it() {
    let (mut cluster, client) = FakeCluster::connected(1).await;
    let session = client.session().ttl(2 * SECOND).open().await.unwrap();
    let waiting = tokio::spawn(session.lock("a").acquire());
    let (request, _queued) = cluster.next_acquire().await;
    assert_eq!(request.session, session.id().to_string());
    cluster.next_renew().await.1.gone(LossReason::Expired).await;
    let told = Loss::SessionEnded { reason: Some(LossReason::Expired) };
    assert_eq!(waiting.await.unwrap().unwrap_err(), Error::SessionLost { loss: told });
}

#[tokio::test]
async fn a_dropped_wait_under_a_session_is_cancelled_until_that_is_answered() {
    let (mut cluster, client) = FakeCluster::connected(2).await;
    let waiting = tokio::spawn(client.lock("a").acquire());
    let (request, _queued) = cluster.next_acquire().await;
    waiting.abort();
    let (first, asked) = cluster.next_cancel().await;
    assert_eq!((first.request_id, first.attempt), (request.request_id, 1));
    asked.break_stream().await;
    let (second, asked) = cluster.next_cancel().await;
    assert_eq!(second, first);
    asked.fail(Code::Unavailable, "NO_LEADER").await;
    let (third, asked) = cluster.next_cancel().await;
    assert_eq!(third, first);
    asked.cancelled().await;
    assert!(client.settle(20 * SECOND).await);
}

#[tokio::test]
async fn shutdown_gives_all_locks_back_at_once_and_tells_their_guards_first() {
    let (mut cluster, client) = FakeCluster::connected(1).await;
    let a = cluster.guard(&client, "a", 1).await;
    let extra = client.session().open().await.unwrap();
    let waiting = tokio::spawn(client.lock("b").acquire());
    let _queued = cluster.next_acquire().await;
    cluster.by_hand();
    let of_client = client.clone();
    let closing = tokio::spawn(async move { of_client.shutdown(20 * SECOND).await });
    let mut closed = Vec::new();
    while closed.len() < 2 {
        let asked = cluster.next_but_renewals().await;
        assert!(!matches!(asked.operation, Operation::OpenSession(_)), "the wait opens no other session");
        if matches!(asked.operation, Operation::Cancel(_)) {
            asked.cancelled().await;
        } else if let Operation::CloseLease(close) = &asked.operation {
            assert!(!a.is_held() || close.lease != a.lease().as_str());
            closed.push(close.lease.clone());
            asked.answer(Answer::CloseLease(v1::CloseLeaseResponse { closed: true, grants_ended: 1 })).await;
        }
    }
    while !closing.is_finished() {
        // The cancel of the wait may still be to come.
        tokio::select! {
            asked = cluster.next_but_renewals() => {
                assert!(!matches!(asked.operation, Operation::OpenSession(_)), "the wait opens no other session");
                if matches!(asked.operation, Operation::Cancel(_)) {
                    asked.cancelled().await;
                }
            }
            () = tokio::task::yield_now() => {}
        }
    }
    assert!(closing.await.unwrap());
    let ended = waiting.await.unwrap().unwrap_err();
    assert!(matches!(ended, Error::SessionLost { loss: Loss::Closed } | Error::Closed), "{ended}");
    assert!(matches!(client.lock("c").acquire().await, Err(Error::Closed)));
    assert!(closed.contains(&a.lease().to_string()) && closed.contains(&extra.id().to_string()));
    assert_eq!(a.loss(), Some(Loss::Closed));
}

#[tokio::test]
async fn a_session_is_closed_with_its_last_handle_and_guard() {
    let (mut cluster, client) = FakeCluster::connected(1).await;
    let session = client.session().open().await.unwrap();
    let id = session.id().to_string();
    let acquiring = tokio::spawn(session.lock("a").acquire());
    cluster.next_acquire().await.1.granted(1, 30_000, false).await;
    let guard = acquiring.await.unwrap().unwrap();
    drop(session);
    assert!(guard.is_held());
    cluster.by_hand();
    drop(guard);
    let (mut released, mut closed) = (false, false);
    while !released || !closed {
        let asked = cluster.next_but_renewals().await;
        match &asked.operation {
            Operation::Release(_) => {
                released = true;
                asked.released(true, LossReason::Unspecified).await;
            }
            Operation::CloseLease(close) => {
                assert_eq!(close.lease, id);
                closed = true;
                asked.answer(Answer::CloseLease(v1::CloseLeaseResponse { closed: true, grants_ended: 0 })).await;
            }
            Operation::StopWatch(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_attached_session_is_kept_alive_and_left_open() {
    let (mut cluster, client) = FakeCluster::connected(1).await;
    cluster.by_hand();
    let id = SessionId::random();
    let of_client = client.clone();
    let attaching = tokio::spawn(async move { of_client.attach_session(id).await });
    let (_, asked) = cluster
        .next_of(|operation| match operation {
            Operation::GetSession(get) => Some(get.clone()),
            _ => None,
        })
        .await;
    let info = v1::SessionInfo { namespace: "default".to_owned(), ttl_ms: 2_000, ..Default::default() };
    let answer = v1::GetSessionResponse { session: Some(info), ..Default::default() };
    asked.answer(Answer::GetSession(answer)).await;
    for _ in 0..2 {
        let (renewal, asked) = loop {
            let asked = cluster.next().await;
            match &asked.operation {
                Operation::Renew(renew) => break (renew.clone(), asked),
                Operation::Watch(_) => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(renewal.leases[0].lease, id.to_string());
        asked.renewed(2_000).await;
    }
    let session = attaching.await.unwrap().unwrap();
    assert!(session.is_alive());
    drop(session);
    let trying = tokio::spawn(client.lock("z").own_lease().acquire());
    loop {
        let asked = cluster.next_but_renewals().await;
        match &asked.operation {
            Operation::Acquire(_) => break asked.granted(1, 30_000, false).await,
            Operation::StopWatch(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(trying.await.unwrap().unwrap().is_held());
}

#[tokio::test]
async fn a_deadlock_is_told_with_its_cycle() {
    let (mut cluster, client) = FakeCluster::connected(1).await;
    let (me, other) = (client.actor("me"), client.actor("other"));
    let waiting = tokio::spawn(client.lock("b").actor(&me).acquire());
    let (request, asked) = cluster.next_acquire().await;
    assert_eq!(request.actor, "me");
    let step = |actor: &str, name: &str| v1::DeadlockStep {
        session: request.session.clone(),
        actor: actor.to_owned(),
        owner: "test".to_owned(),
        name: name.to_owned(),
    };
    let cycle = vec![step("me", "b"), step(other.name(), "a")];
    asked.acquired(acquire_response::Result::Deadlock(v1::Deadlock { cycle: cycle.clone() })).await;
    match waiting.await.unwrap() {
        Err(Error::Deadlock(deadlock)) => {
            assert_eq!(deadlock.cycle, cycle);
            assert_eq!(deadlock.to_string(), "me waits for b, other waits for a");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn several_locks_of_mixed_modes_are_asked_for_at_once_and_given_back_together() {
    let (mut cluster, client) = FakeCluster::connected(1).await;
    let locks = [
        leasehold_client::LockSpec::shared("catalogue"),
        leasehold_client::LockSpec::permits("gpu", 2, 8),
        "orders".into(),
    ];
    let acquiring = tokio::spawn(client.locks(locks).lock_delay(5 * SECOND).value("v").acquire());
    let (request, asked) = cluster.next_acquire().await;
    let modes: Vec<_> = request.locks.iter().map(|lock| (lock.mode(), lock.permits, lock.limit)).collect();
    let asked_for = [(v1::Mode::Shared, 0, 0), (v1::Mode::Permits, 2, 8), (v1::Mode::Exclusive, 0, 0)];
    assert_eq!(modes, asked_for);
    assert_eq!((request.lock_delay_ms, request.value.as_slice()), (5_000, b"v".as_slice()));
    asked.granted(7, 30_000, false).await;
    let held = acquiring.await.unwrap().unwrap();
    assert_eq!((held.token_of("catalogue"), held.token_of("orders")), (Some(Token(7)), Some(Token(9))));
    let releasing = tokio::spawn(held.release());
    let (request, asked) = cluster.next_release().await;
    let tokens: Vec<_> = request.locks.iter().map(|lock| (lock.name.as_str(), lock.token)).collect();
    assert_eq!(tokens, [("catalogue", 7), ("gpu", 8), ("orders", 9)]);
    let locks = [true, false, true].map(|released| v1::ReleasedLock {
        released,
        reason: if released { LossReason::Unspecified.into() } else { LossReason::Forced.into() },
        still_held: false,
    });
    asked.answer(Answer::Release(v1::ReleaseResponse { locks: locks.into(), ..Default::default() })).await;
    let released = releasing.await.unwrap().unwrap();
    assert_eq!(released.iter().map(|lock| lock.released).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(released[1].reason, Some(LossReason::Forced));
}

#[tokio::test]
async fn an_acquire_of_no_lock_is_refused_here() {
    let (_cluster, client) = FakeCluster::connected(1).await;
    let nothing: [&str; 0] = [];
    assert!(matches!(client.locks(nothing).acquire().await, Err(Error::Options { field: "locks", .. })));
}
