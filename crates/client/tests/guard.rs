//! How a guard lives: renewed, lost, released. Seen from the nodes.
#![allow(clippy::unwrap_used, reason = "a test that gets no answer has failed")]

use std::time::Duration;

use leasehold_client::{Client, Error, Guard, Loss, LossReason};
use leasehold_proto::v1::operation::Operation;
use tonic::Code;

mod support;
use support::FakeCluster;

async fn guard_of(cluster: &mut FakeCluster, client: &Client, token: u64, ttl: Duration) -> Guard {
    let acquiring = tokio::spawn(client.lock("a").own_lease().ttl(ttl).acquire());
    let (request, asked) = cluster.next_acquire().await;
    asked.granted(token, request.ttl_ms, false).await;
    acquiring.await.unwrap().unwrap()
}

async fn held(nodes: usize, ttl: Duration) -> (FakeCluster, Client, Guard) {
    let mut cluster = FakeCluster::start(nodes).await;
    let client = Client::connect(cluster.options()).await.unwrap();
    let guard = guard_of(&mut cluster, &client, 7, ttl).await;
    (cluster, client, guard)
}

#[tokio::test]
async fn it_is_renewed_in_the_background() {
    let ttl = Duration::from_secs(2);
    let (mut cluster, _client, guard) = held(1, ttl).await;
    for _ in 0..3 {
        let (renewal, asked) = cluster.next_renew().await;
        assert_eq!(renewal.leases.len(), 1);
        assert_eq!((renewal.leases[0].lease.as_str(), renewal.leases[0].ttl_ms), ("7", 0));
        asked.renewed(2_000).await;
    }
    assert!(guard.is_held());
    assert!(guard.deadline_left() <= ttl);
    assert!(!guard.cancellation_token().is_cancelled());
}

#[tokio::test]
async fn renewals_that_are_due_together_travel_together() {
    let mut cluster = FakeCluster::start(1).await;
    let client = Client::connect(cluster.options()).await.unwrap();
    let ttl = Duration::from_secs(6);
    let mut guards = Vec::new();
    for token in 1..=5 {
        guards.push(guard_of(&mut cluster, &client, token, ttl).await);
    }
    let mut messages = 0;
    let mut renewed = 0;
    while renewed < 5 {
        let (renewal, asked) = cluster.next_renew().await;
        messages += 1;
        renewed += renewal.leases.len();
        asked.renewed(6_000).await;
    }
    assert!(messages < 5, "{messages} messages for 5 leases");
    assert!(guards.iter().all(Guard::is_held));
}

#[tokio::test]
async fn a_renewal_that_fails_is_sent_elsewhere() {
    let (mut cluster, _client, guard) = held(2, Duration::from_secs(3)).await;
    let (_, asked) = cluster.next_renew().await;
    let first_node = asked.node;
    asked.fail(Code::Unavailable, "NO_LEADER").await;
    let (_, asked) = cluster.next_renew().await;
    assert_ne!(asked.node, first_node);
    let second_node = asked.node;
    asked.break_stream().await;
    let (_, asked) = cluster.next_renew().await;
    assert_ne!(asked.node, second_node);
    asked.renewed(3_000).await;
    assert!(guard.is_held());
}

#[tokio::test]
async fn it_is_lost_when_the_cluster_says_so() {
    let (mut cluster, _client, guard) = held(1, Duration::from_secs(2)).await;
    let token = guard.cancellation_token();
    cluster.next_renew().await.1.gone(LossReason::Forced).await;
    assert_eq!(guard.lost().await, Loss::Ended { reason: Some(LossReason::Forced), note: String::new() });
    assert!(token.is_cancelled());
    assert!(!guard.is_held());
    assert_eq!(guard.deadline_left(), Duration::ZERO);
}

#[tokio::test]
async fn it_is_lost_by_its_own_clock_when_nobody_answers() {
    let (cluster, client, guard) = held(1, Duration::from_millis(400)).await;
    cluster.mute(0);
    let clock = &client.options().clock;
    let start = clock.now();
    assert_eq!(guard.lost().await, Loss::Expired);
    // Its time began before the grant came back, and a timer may be a tenth of a second late.
    assert!(clock.now().since(start) < Duration::from_secs(5));
    assert!(!guard.is_held());
}

#[tokio::test]
async fn a_margin_is_told_before_the_loss() {
    let (cluster, _client, guard) = held(1, Duration::from_secs(2)).await;
    cluster.mute(0);
    guard.left_at_most(Duration::from_secs(1)).await;
    assert!(guard.deadline_left() <= Duration::from_secs(1));
}

#[tokio::test]
async fn release_waits_for_its_answer() {
    let (mut cluster, _client, guard) = held(1, Duration::from_secs(30)).await;
    let releasing = tokio::spawn(guard.release());
    let (request, asked) = cluster.next_release().await;
    assert_eq!((request.namespace.as_str(), request.name.as_str(), request.token), ("default", "a", 7));
    asked.released(true, LossReason::Unspecified).await;
    let released = releasing.await.unwrap().unwrap();
    assert!(released.released);
}

#[tokio::test]
async fn a_release_sent_twice_was_ours() {
    let (mut cluster, _client, guard) = held(2, Duration::from_secs(30)).await;
    let releasing = tokio::spawn(guard.release());
    cluster.next_release().await.1.break_stream().await;
    cluster.next_release().await.1.released(false, LossReason::Released).await;
    assert!(releasing.await.unwrap().unwrap().released);
}

#[tokio::test]
async fn a_release_that_came_too_late_says_why() {
    let (mut cluster, _client, guard) = held(1, Duration::from_secs(30)).await;
    let releasing = tokio::spawn(guard.release());
    cluster.next_release().await.1.released(false, LossReason::Expired).await;
    let released = releasing.await.unwrap().unwrap();
    assert_eq!((released.released, released.reason), (false, Some(LossReason::Expired)));
}

#[tokio::test]
async fn a_dropped_guard_releases_in_the_background() {
    let (mut cluster, client, guard) = held(1, Duration::from_secs(30)).await;
    drop(guard);
    let (request, asked) = cluster.next_release().await;
    assert_eq!(request.token, 7);
    asked.released(true, LossReason::Unspecified).await;
    assert!(client.settle(Duration::from_secs(20)).await);
}

#[tokio::test]
async fn a_release_outlives_its_dropped_future() {
    let (mut cluster, client, guard) = held(1, Duration::from_secs(30)).await;
    let releasing = tokio::spawn(guard.release());
    let (_, asked) = cluster.next_release().await;
    releasing.abort();
    asked.break_stream().await;
    cluster.next_release().await.1.released(true, LossReason::Unspecified).await;
    assert!(client.settle(Duration::from_secs(20)).await);
}

#[tokio::test]
async fn closing_the_client_loses_every_guard() {
    let (_cluster, client, guard) = held(1, Duration::from_secs(30)).await;
    client.close();
    assert_eq!(guard.lost().await, Loss::Closed);
    assert!(matches!(guard.release().await, Err(Error::Closed)));
}

#[tokio::test]
async fn a_guard_keeps_the_connection_when_the_client_has_gone() {
    let (mut cluster, client, guard) = held(1, Duration::from_secs(2)).await;
    drop(client);
    let asked = cluster.next().await;
    assert!(matches!(asked.operation, Operation::Renew(_)));
    asked.renewed(2_000).await;
    assert!(guard.is_held());
}
