//! How the loss of a single lock is told while its session, or lease, lives: seen from the nodes.
#![allow(clippy::unwrap_used, reason = "a test that gets no answer has failed")]

use std::time::Duration;

use leasehold_client::{Client, ClientOptions, EventType, Loss, LossReason};
use leasehold_proto::v1;
use leasehold_proto::v1::answer::Answer;
use tonic::Code;

mod support;
use support::FakeCluster;

const SECOND: Duration = Duration::from_secs(1);

fn forced(token: u64, note: &str) -> v1::WatchEvent {
    v1::WatchEvent {
        r#type: EventType::ForceReleased.into(),
        token,
        note: note.to_owned(),
        reason: LossReason::Forced.into(),
        ..v1::WatchEvent::default()
    }
}

#[tokio::test]
async fn a_forced_release_is_told_with_its_note_and_the_session_lives() {
    let (mut cluster, client) = FakeCluster::connected(1).await;
    let a = cluster.guard(&client, "a", 1).await;
    let b = cluster.guard(&client, "b", 2).await;
    let watch = cluster.next_watch().await;
    watch.event(20, forced(1, "the host is gone")).await;
    let told = Loss::Ended { reason: Some(LossReason::Forced), note: "the host is gone".to_owned() };
    assert_eq!(a.lost().await, told);
    assert!(b.is_held());
    assert!(client.default_session().await.unwrap().is_alive());
}

#[tokio::test]
async fn a_forced_release_of_what_is_just_being_granted_is_told() {
    let (mut cluster, client) = FakeCluster::connected(1).await;
    let acquiring = tokio::spawn(client.lock("a").acquire());
    let (_, asked) = cluster.next_acquire().await;
    // The event overtakes the grant: on a stream, answers come in any order.
    let watch = cluster.next_watch().await;
    watch.event(20, forced(1, "note")).await;
    asked.granted(1, 30_000, false).await;
    let a = acquiring.await.unwrap().unwrap();
    assert!(matches!(a.lost().await, Loss::Ended { reason: Some(LossReason::Forced), .. }));
}

#[tokio::test]
async fn a_watch_resumes_from_its_last_revision_on_another_node() {
    let (mut cluster, client) = FakeCluster::connected(2).await;
    let a = cluster.guard(&client, "a", 1).await;
    let b = cluster.guard(&client, "b", 2).await;
    let watch = cluster.next_watch().await;
    watch.event(20, forced(1, "first")).await;
    a.lost().await;
    watch.break_stream().await;
    let resumed = cluster.next_watch().await;
    assert_ne!(resumed.node, watch.node);
    assert_eq!(resumed.request.after, Some(v1::Revision { index: 20, ordinal: 0 }));
    resumed.start(20).await;
    resumed.event(30, forced(2, "second")).await;
    assert!(matches!(b.lost().await, Loss::Ended { note, .. } if note == "second"));
}

#[tokio::test]
async fn what_happened_in_a_gap_is_read() {
    let (mut cluster, client) = FakeCluster::connected(1).await;
    let a = cluster.guard(&client, "a", 1).await;
    let b = cluster.guard(&client, "b", 2).await;
    let watch = cluster.next_watch().await;
    cluster.end_grant(1);
    watch.fail(Code::OutOfRange, "REVISION_GONE").await;
    let again = cluster.next_watch().await;
    assert_eq!(again.request.after, None);
    assert!(matches!(a.lost().await, Loss::Ended { .. }));
    assert!(b.is_held());
}

#[tokio::test]
async fn a_renewal_that_tells_of_forced_releases_has_the_session_read() {
    let mut cluster = FakeCluster::start(1).await;
    let options = ClientOptions { session_ttl: 2 * SECOND, ..cluster.options() };
    let client = Client::connect(options).await.unwrap();
    let a = cluster.guard(&client, "a", 1).await;
    let b = cluster.guard(&client, "b", 2).await;
    // The watch says nothing of it.
    cluster.end_grant(2);
    let (renewal, asked) = cluster.next_renew().await;
    let lease = renewal.leases[0].lease.clone();
    let renewed = v1::RenewedLease { lease, alive: true, ttl_ms: 2_000, forced: 1, ..Default::default() };
    asked.answer(Answer::Renew(v1::RenewResponse { leases: vec![renewed] })).await;
    assert!(matches!(b.lost().await, Loss::Ended { .. }));
    assert!(a.is_held());
}

#[tokio::test]
async fn several_locks_of_one_lease_are_checked_when_a_renewal_tells_of_forced_releases() {
    let (mut cluster, client) = FakeCluster::connected(1).await;
    let acquiring = tokio::spawn(client.locks(["a", "b"]).own_lease().ttl(2 * SECOND).acquire());
    let (_, asked) = cluster.next_acquire().await;
    asked.granted(1, 2_000, false).await;
    let both = acquiring.await.unwrap().unwrap();
    cluster.end_grant(2);
    let (renewal, asked) = cluster.next_renew().await;
    let lease = renewal.leases[0].lease.clone();
    let renewed = v1::RenewedLease { lease, alive: true, ttl_ms: 2_000, forced: 1, ..Default::default() };
    asked.answer(Answer::Renew(v1::RenewResponse { leases: vec![renewed] })).await;
    both.lost().await;
    let lost: Vec<String> = both.lost_locks().into_iter().map(|(name, _)| name).collect();
    assert_eq!(lost, ["b"]);
}
