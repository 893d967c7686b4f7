//! How the client asks, asks again, waits and gives up: seen from the nodes.
#![allow(clippy::unwrap_used, reason = "a test that gets no answer has failed")]

use std::time::Duration;

use leasehold_client::{Acquisition, Client, Error, LossReason, TryAcquire, Wait};
use leasehold_proto::v1::operation::Operation;
use leasehold_proto::v1::{Ended, Held, WaitEnded, acquire_response};
use tonic::Code;

mod support;
use support::FakeCluster;

const SECOND: Duration = Duration::from_secs(1);

fn acquired(acquisition: Result<Acquisition, Error>) -> leasehold_client::Acquired {
    match acquisition {
        Ok(Acquisition::Acquired(acquired)) => acquired,
        other => panic!("an acquired lock was expected: {other:?}"),
    }
}

#[tokio::test]
async fn a_try_says_who_asks_for_what() {
    let (mut cluster, client) = FakeCluster::connected(1).await;
    let trying = tokio::spawn(client.lock("a").own_lease().ttl(5 * SECOND).metadata("m").acquire_raw(Wait::Try));
    let (request, asked) = cluster.next_acquire().await;
    assert_eq!((request.namespace.as_str(), request.locks[0].name.as_str()), ("default", "a"));
    assert_eq!((request.owner.as_str(), request.metadata.as_str()), ("test", "m"));
    assert_eq!((request.ttl_ms, request.wait_ms, request.attempt), (5_000, None, 1));
    assert_eq!(request.lowest_unanswered, request.request_id.unwrap().counter);
    asked.granted(7, 5_000, false).await;
    let acquired = acquired(trying.await.unwrap());
    assert_eq!((acquired.token.0, acquired.lease.as_str(), acquired.ttl), (7, "7", 5 * SECOND));
}

#[tokio::test]
async fn held_is_an_answer() {
    let (mut cluster, client) = FakeCluster::connected(1).await;
    let trying = tokio::spawn(client.lock("a").own_lease().try_acquire());
    let held = Held { name: "a".to_owned(), waiters: 3, ..Default::default() };
    cluster.next_acquire().await.1.acquired(acquire_response::Result::Held(held)).await;
    match trying.await.unwrap() {
        Ok(TryAcquire::Held(held)) => assert_eq!(held.waiters, 3),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_broken_stream_sends_the_same_id_elsewhere() {
    let (mut cluster, client) = FakeCluster::connected(2).await;
    let trying = tokio::spawn(client.lock("a").own_lease().acquire_raw(Wait::Try));
    let (first, asked) = cluster.next_acquire().await;
    let first_node = asked.node;
    asked.break_stream().await;
    let (second, asked) = cluster.next_acquire().await;
    assert_ne!(asked.node, first_node);
    assert_eq!(second.request_id, first.request_id);
    assert_eq!(second.attempt, 2);
    asked.granted(7, 30_000, false).await;
    acquired(trying.await.unwrap());
}

#[tokio::test]
async fn an_unanswered_try_is_sent_again_elsewhere() {
    let (mut cluster, client) = FakeCluster::connected(3).await;
    let trying = tokio::spawn(client.lock("a").own_lease().acquire_raw(Wait::Try));
    let (first, unanswered) = cluster.next_acquire().await;
    let (second, asked) = cluster.next_acquire().await;
    assert_ne!(asked.node, unanswered.node);
    assert_eq!((second.request_id, second.attempt), (first.request_id, 2));
    // What the first one is told now comes too late: a later attempt is under way.
    let held = Held { name: "a".to_owned(), ..Default::default() };
    unanswered.acquired(acquire_response::Result::Held(held)).await;
    asked.granted(7, 30_000, false).await;
    acquired(trying.await.unwrap());
}

#[tokio::test]
async fn a_node_without_a_leader_is_left() {
    let (mut cluster, client) = FakeCluster::connected(2).await;
    let trying = tokio::spawn(client.lock("a").own_lease().acquire_raw(Wait::Try));
    let (_, asked) = cluster.next_acquire().await;
    let first_node = asked.node;
    asked.fail(Code::Unavailable, "NO_LEADER").await;
    let (second, asked) = cluster.next_acquire().await;
    assert_ne!(asked.node, first_node);
    assert_eq!(second.attempt, 2);
    asked.granted(7, 30_000, false).await;
    acquired(trying.await.unwrap());
}

#[tokio::test]
async fn bad_input_is_told_and_not_repeated() {
    let (mut cluster, client) = FakeCluster::connected(1).await;
    let trying = tokio::spawn(client.lock("").own_lease().acquire_raw(Wait::Try));
    cluster.next_acquire().await.1.fail(Code::InvalidArgument, "INVALID_FIELD").await;
    assert!(matches!(trying.await.unwrap(), Err(Error::InvalidArgument { .. })));
    // Nothing happened, so nothing is cancelled: the next thing that the node hears is another acquire.
    let again = tokio::spawn(client.lock("a").own_lease().acquire_raw(Wait::Try));
    cluster.next_acquire().await.1.granted(7, 30_000, false).await;
    acquired(again.await.unwrap());
}

#[tokio::test]
async fn a_wait_that_the_node_ended_is_armed_again_under_its_id() {
    let (mut cluster, client) = FakeCluster::connected(1).await;
    let waiting = tokio::spawn(client.lock("a").own_lease().acquire_raw(Wait::For(60 * SECOND)));
    let (first, asked) = cluster.next_acquire().await;
    assert_eq!(first.wait_ms, Some(30_000));
    asked.acquired(acquire_response::Result::WaitEnded(WaitEnded { waiters: 1 })).await;
    let (second, asked) = cluster.next_acquire().await;
    assert_eq!((second.request_id, second.attempt), (first.request_id, 2));
    asked.granted(7, 0, true).await;
    let (renewal, asked) = cluster.next_renew().await;
    assert_eq!(renewal.leases[0].lease, "7");
    asked.renewed(30_000).await;
    assert_eq!(acquired(waiting.await.unwrap()).ttl, 30 * SECOND);
}

#[tokio::test]
async fn a_late_grant_that_has_ended_is_asked_for_anew() {
    let (mut cluster, client) = FakeCluster::connected(1).await;
    let waiting = tokio::spawn(client.lock("a").own_lease().acquire_raw(Wait::Forever));
    let (first, asked) = cluster.next_acquire().await;
    asked.granted(7, 0, true).await;
    cluster.next_renew().await.1.gone(LossReason::Expired).await;
    let (second, asked) = cluster.next_acquire().await;
    let (old, new) = (first.request_id.unwrap(), second.request_id.unwrap());
    assert_eq!(new.client, old.client);
    assert!(new.counter > old.counter);
    assert_eq!((second.attempt, second.lowest_unanswered), (1, new.counter));
    asked.acquired(acquire_response::Result::Ended(Ended::default())).await;
    let (third, asked) = cluster.next_acquire().await;
    assert!(third.request_id.unwrap().counter > new.counter);
    asked.granted(8, 0, true).await;
    cluster.next_renew().await.1.renewed(30_000).await;
    assert_eq!(acquired(waiting.await.unwrap()).token.0, 8);
}

#[tokio::test]
async fn a_grant_too_old_to_be_counted_on_is_renewed_first() {
    let (mut cluster, client) = FakeCluster::connected(1).await;
    let trying = tokio::spawn(client.lock("a").own_lease().ttl(2 * SECOND).acquire_raw(Wait::Try));
    // A duplicate's answer: of two seconds only a little is left.
    cluster.next_acquire().await.1.granted(7, 100, false).await;
    cluster.next_renew().await.1.renewed(2_000).await;
    assert_eq!(acquired(trying.await.unwrap()).ttl, 2 * SECOND);
}

#[tokio::test]
async fn a_dropped_wait_is_cancelled_until_that_is_answered() {
    let (mut cluster, client) = FakeCluster::connected(2).await;
    let waiting = tokio::spawn(client.lock("a").own_lease().acquire());
    let (request, _queued) = cluster.next_acquire().await;
    waiting.abort();
    let (first, asked) = cluster.next_cancel().await;
    assert_eq!((first.request_id, first.attempt), (request.request_id, request.attempt));
    let mut other = tokio::spawn(client.lock("b").own_lease().acquire_raw(Wait::Try));
    asked.break_stream().await;
    // Both are sent again where their stream broke. The one still to be cancelled holds the mark of unanswered ones down.
    let mut cancels = Vec::new();
    let result = loop {
        let asked = tokio::select! {
            result = &mut other => break result.unwrap(),
            asked = cluster.next_but_renewals() => asked,
        };
        match &asked.operation {
            Operation::Cancel(_) => cancels.push(asked),
            Operation::Acquire(acquire) => {
                assert_eq!(acquire.lowest_unanswered, request.request_id.unwrap().counter);
                asked.granted(9, 30_000, false).await;
            }
            unexpected => panic!("{unexpected:?}"),
        }
    };
    acquired(result);
    if cancels.is_empty() {
        cancels.push(cluster.next_cancel().await.1);
    }
    for asked in cancels {
        assert!(matches!(&asked.operation, Operation::Cancel(second) if *second == first));
        asked.cancelled().await;
    }
    assert!(client.settle(10 * SECOND).await);
    let third = tokio::spawn(client.lock("c").own_lease().acquire_raw(Wait::Try));
    let (request, asked) = cluster.next_acquire().await;
    assert_eq!(request.lowest_unanswered, request.request_id.unwrap().counter);
    asked.granted(10, 30_000, false).await;
    acquired(third.await.unwrap());
}

#[tokio::test]
async fn a_wait_that_is_over_is_cancelled_before_the_caller_hears_of_it() {
    let (mut cluster, client) = FakeCluster::connected(1).await;
    let waiting = tokio::spawn(client.lock("a").own_lease().acquire_timeout(Duration::from_millis(200)));
    let (request, _queued) = cluster.next_acquire().await;
    assert!(request.wait_ms.unwrap() <= 200);
    let (cancel, asked) = cluster.next_cancel().await;
    assert_eq!(cancel.request_id, request.request_id);
    asked.cancelled().await;
    assert!(waiting.await.unwrap().unwrap().is_none());
}

#[tokio::test]
async fn a_wait_whose_end_nobody_confirms_has_an_unknown_fate() {
    let (mut cluster, client) = FakeCluster::connected(1).await;
    let waiting = tokio::spawn(client.lock("a").own_lease().acquire_timeout(Duration::from_millis(200)));
    let _queued = cluster.next_acquire().await;
    cluster.mute(0);
    assert!(matches!(waiting.await.unwrap(), Err(Error::FateUnknown { .. })));
}

#[tokio::test]
async fn a_node_without_a_sign_of_life_is_left_by_waits() {
    let (mut cluster, client) = FakeCluster::connected(2).await;
    let waiting = tokio::spawn(client.lock("a").own_lease().acquire_raw(Wait::Forever));
    let (first, asked) = cluster.next_acquire().await;
    cluster.mute(asked.node);
    let (second, elsewhere) = cluster.next_acquire().await;
    assert_ne!(elsewhere.node, asked.node);
    assert_eq!((second.request_id, second.attempt), (first.request_id, 2));
    elsewhere.granted(7, 0, true).await;
    cluster.next_renew().await.1.renewed(30_000).await;
    acquired(waiting.await.unwrap());
}

#[tokio::test]
async fn what_was_sent_and_never_answered_may_have_happened() {
    let mut cluster = FakeCluster::start(1).await;
    let mut options = cluster.options();
    options.call_timeout = Duration::from_millis(300);
    let client = Client::connect(options).await.unwrap();
    let trying = tokio::spawn(client.lock("a").own_lease().acquire_raw(Wait::Try));
    let (request, _unanswered) = cluster.next_acquire().await;
    assert!(matches!(trying.await.unwrap(), Err(Error::FateUnknown { .. })));
    let (cancel, asked) = cluster.next_cancel().await;
    assert_eq!(cancel.request_id, request.request_id);
    asked.cancelled().await;
    assert!(client.settle(10 * SECOND).await);
}

#[tokio::test]
async fn refused_by_all_within_the_time_is_unavailable_and_nothing_happened() {
    let mut cluster = FakeCluster::start(2).await;
    let mut options = cluster.options();
    options.call_timeout = Duration::from_millis(300);
    let client = Client::connect(options).await.unwrap();
    let mut trying = tokio::spawn(client.lock("a").own_lease().acquire_raw(Wait::Try));
    let result = loop {
        tokio::select! {
            result = &mut trying => break result.unwrap(),
            (_, asked) = cluster.next_acquire() => asked.fail(Code::Unavailable, "NO_LEADER").await,
        }
    };
    assert!(matches!(result, Err(Error::Unavailable { .. })), "{result:?}");
}

#[tokio::test]
async fn with_no_node_at_all_connecting_fails_in_time_and_says_why() {
    let mut options = leasehold_client::ClientOptions::new(["127.0.0.1:1"]);
    options.connect_timeout = Duration::from_millis(300);
    match Client::connect(options).await {
        Err(Error::Unavailable { message }) => assert!(message.contains("127.0.0.1:1"), "{message}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn after_close_nothing_is_asked() {
    let (_cluster, client) = FakeCluster::connected(1).await;
    client.close();
    assert!(matches!(client.lock("a").own_lease().acquire_raw(Wait::Try).await, Err(Error::Closed)));
}
