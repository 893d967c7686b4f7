//! Upgrade and downgrade: seen from the nodes.
#![allow(clippy::unwrap_used, reason = "a test that gets no answer has failed")]

use std::time::Duration;

use leasehold_client::{Client, Error, Guard, Loss, LossReason, Shared, Token, UpgradeFailure, Wait};
use leasehold_proto::v1::{self, acquire_response};
use tonic::Code;

mod support;
use support::FakeCluster;

const SECOND: Duration = Duration::from_secs(1);

async fn shared(nodes: usize) -> (FakeCluster, Client, Guard<Shared>) {
    let mut cluster = FakeCluster::start(nodes).await;
    let client = Client::connect(cluster.options()).await.unwrap();
    let acquiring = tokio::spawn(client.lock("a").shared().metadata("m").acquire());
    let (request, asked) = cluster.next_acquire().await;
    assert_eq!(request.locks[0].mode(), v1::Mode::Shared);
    asked.granted(1, 30_000, false).await;
    let guard = acquiring.await.unwrap().unwrap();
    (cluster, client, guard)
}

fn converted(token: u64, replaced: u64) -> v1::WatchEvent {
    v1::WatchEvent { r#type: v1::EventType::Converted.into(), token, replaced, ..Default::default() }
}

#[tokio::test]
async fn an_upgrade_replaces_the_grant_and_its_token() {
    let (mut cluster, _client, guard) = shared(1).await;
    let watch = cluster.next_watch().await;
    let upgrading = tokio::spawn(guard.upgrade());
    let (request, asked) = cluster.next_acquire().await;
    assert_eq!((request.replaces, request.locks[0].mode()), (1, v1::Mode::Exclusive));
    assert_eq!((request.session.as_str(), request.owner.as_str(), request.metadata.as_str()), ("", "", ""));
    assert_eq!((request.ttl_ms, request.wait_ms), (0, Some(30_000)));
    // The event may come first: it is no loss.
    watch.event(20, converted(2, 1)).await;
    cluster.end_grant(1);
    asked.granted(2, 30_000, false).await;
    let exclusive = upgrading.await.unwrap().unwrap();
    assert_eq!(exclusive.token(), Token(2));
    assert!(exclusive.is_held());
    let forced = v1::WatchEvent { r#type: v1::EventType::ForceReleased.into(), token: 2, ..Default::default() };
    watch.event(30, forced).await;
    assert!(matches!(exclusive.lost().await, Loss::Ended { reason: Some(LossReason::Forced), .. }));
}

#[tokio::test]
async fn a_downgrade_replaces_the_grant_and_its_token() {
    let (mut cluster, client, guard) = shared(1).await;
    drop(guard);
    cluster.next_release().await.1.released(true, LossReason::Unspecified).await;
    let acquiring = tokio::spawn(client.lock("b").acquire());
    cluster.next_acquire().await.1.granted(5, 30_000, false).await;
    let exclusive = acquiring.await.unwrap().unwrap();
    let downgrading = tokio::spawn(exclusive.downgrade());
    let (request, asked) = cluster.next_acquire().await;
    assert_eq!((request.replaces, request.locks[0].mode(), request.wait_ms), (5, v1::Mode::Shared, None));
    asked.granted(6, 30_000, false).await;
    let shared = downgrading.await.unwrap().unwrap();
    assert_eq!((shared.name(), shared.token()), ("b", Token(6)));
    let releasing = tokio::spawn(shared.release());
    let (release, asked) = cluster.next_release().await;
    assert_eq!(release.token, 6, "the token that it replaced is nobody's");
    asked.released(true, LossReason::Unspecified).await;
    assert!(releasing.await.unwrap().unwrap().released);
}

#[tokio::test]
async fn an_upgrade_that_fails_gives_the_shared_guard_back() {
    let (mut cluster, _client, guard) = shared(1).await;
    let upgrading = tokio::spawn(guard.try_upgrade());
    let held = v1::Held { name: "a".to_owned(), waiters: 2, ..Default::default() };
    cluster.next_acquire().await.1.acquired(acquire_response::Result::Held(held)).await;
    let failed = upgrading.await.unwrap().unwrap_err();
    assert!(matches!(failed.why, UpgradeFailure::Held(held) if held.waiters == 2));

    let upgrading = tokio::spawn(failed.guard.upgrade());
    let deadlock = v1::Deadlock { cycle: vec![v1::DeadlockStep::default(); 2] };
    cluster.next_acquire().await.1.acquired(acquire_response::Result::Deadlock(deadlock)).await;
    let failed = upgrading.await.unwrap().unwrap_err();
    assert!(matches!(failed.why, UpgradeFailure::Deadlock(deadlock) if deadlock.cycle.len() == 2));

    let upgrading = tokio::spawn(failed.guard.upgrade_timeout(Duration::from_millis(200)));
    let (request, _queued) = cluster.next_acquire().await;
    let (cancel, asked) = cluster.next_cancel().await;
    assert_eq!(cancel.request_id, request.request_id);
    asked.cancelled().await;
    let failed = upgrading.await.unwrap().unwrap_err();
    assert_eq!(failed.why, UpgradeFailure::TimedOut);
    assert!(failed.guard.is_held());
    assert_eq!(failed.guard.token(), Token(1));
}

#[tokio::test]
async fn a_dropped_upgrade_keeps_the_shared_lock() {
    let (mut cluster, client, guard) = shared(2).await;
    let mut upgrade = guard.begin_upgrade();
    let (request, queued) = tokio::select! {
        outcome = upgrade.attempt(Wait::Forever) => panic!("{outcome:?}"),
        asked = cluster.next_acquire() => asked,
    };
    drop(queued);
    let giving_up = tokio::spawn(upgrade.give_up());
    let (first, asked) = cluster.next_cancel().await;
    assert_eq!((first.request_id, first.attempt), (request.request_id, 1));
    asked.break_stream().await;
    let (second, asked) = cluster.next_cancel().await;
    assert_eq!(second, first, "repeated until it is answered");
    asked.cancelled().await;
    let shared = giving_up.await.unwrap().unwrap();
    assert!(shared.is_held());
    assert_eq!(shared.token(), Token(1));
    assert!(client.settle(10 * SECOND).await, "nothing was released");
}

#[tokio::test]
async fn a_dropped_upgrade_that_was_granted_is_undone_by_a_downgrade() {
    let (mut cluster, _client, guard) = shared(1).await;
    let mut upgrade = guard.begin_upgrade();
    tokio::select! {
        outcome = upgrade.attempt(Wait::Forever) => panic!("{outcome:?}"),
        _ = cluster.next_acquire() => {}
    }
    let giving_up = tokio::spawn(upgrade.give_up());
    cluster.next_cancel().await.1.kept(2, v1::Mode::Exclusive).await;
    let (downgrade, asked) = cluster.next_acquire().await;
    assert_eq!((downgrade.replaces, downgrade.locks[0].mode()), (2, v1::Mode::Shared));
    asked.granted(3, 30_000, false).await;
    let shared = giving_up.await.unwrap().unwrap();
    assert_eq!(shared.token(), Token(3));
    assert!(shared.is_held());
}

#[tokio::test]
async fn a_dropped_upgrade_that_was_granted_may_be_taken_up_again() {
    let (mut cluster, _client, guard) = shared(1).await;
    let mut upgrade = guard.begin_upgrade();
    tokio::select! {
        outcome = upgrade.attempt(Wait::Forever) => panic!("{outcome:?}"),
        _ = cluster.next_acquire() => {}
    }
    let (exclusive, ()) = tokio::join!(upgrade.attempt(Wait::Forever), async {
        cluster.next_cancel().await.1.kept(2, v1::Mode::Exclusive).await;
    });
    assert_eq!(exclusive.unwrap().token(), Token(2));
    assert!(upgrade.give_up().await.is_none());
}

#[tokio::test]
async fn an_upgrade_and_its_guard_dropped_together_give_the_lock_back_under_its_present_token() {
    let (mut cluster, client, guard) = shared(1).await;
    let upgrading = tokio::spawn(guard.upgrade());
    let _queued = cluster.next_acquire().await;
    upgrading.abort();
    cluster.next_cancel().await.1.kept(2, v1::Mode::Exclusive).await;
    let (release, asked) = cluster.next_release().await;
    assert_eq!(release.token, 2);
    asked.released(true, LossReason::Unspecified).await;
    assert!(client.settle(10 * SECOND).await);
}

#[tokio::test]
async fn an_upgrade_of_what_was_lost_says_so() {
    let (mut cluster, _client, guard) = shared(1).await;
    let upgrading = tokio::spawn(guard.upgrade());
    let ended = v1::Ended { reason: LossReason::Forced.into(), token: 0 };
    cluster.next_acquire().await.1.acquired(acquire_response::Result::Ended(ended)).await;
    let failed = upgrading.await.unwrap().unwrap_err();
    let lost = Loss::Ended { reason: Some(LossReason::Forced), note: String::new() };
    assert_eq!(failed.why, UpgradeFailure::Lost(lost.clone()));
    assert_eq!(failed.guard.loss(), Some(lost));
}

#[tokio::test]
async fn a_downgrade_is_asked_for_until_it_is_answered() {
    let mut cluster = FakeCluster::start(2).await;
    let options = leasehold_client::ClientOptions { call_timeout: Duration::from_millis(400), ..cluster.options() };
    let client = Client::connect(options).await.unwrap();
    let acquiring = tokio::spawn(client.lock("a").acquire());
    cluster.next_acquire().await.1.granted(1, 30_000, false).await;
    let mut downgrading = tokio::spawn(acquiring.await.unwrap().unwrap().downgrade());
    // Longer than one call may take nobody leads.
    let clock = leasehold_client::clock::Clock::system();
    let start = clock.now();
    while clock.now().since(start) < Duration::from_millis(600) {
        tokio::select! {
            result = &mut downgrading => panic!("{result:?}"),
            (_, asked) = cluster.next_acquire() => asked.fail(Code::Unavailable, "NO_LEADER").await,
        }
    }
    cluster.next_acquire().await.1.granted(2, 30_000, false).await;
    assert_eq!(downgrading.await.unwrap().unwrap().token(), Token(2));
}

#[tokio::test]
async fn a_convert_of_what_is_not_held_is_an_error() {
    let (mut cluster, client, _guard) = shared(1).await;
    let converting = tokio::spawn(async move {
        client.convert_raw("a", Token(9), leasehold_client::Convert::ToExclusive, Wait::Try).await
    });
    cluster.next_acquire().await.1.fail(Code::FailedPrecondition, "NOT_HELD").await;
    assert_eq!(converting.await.unwrap().unwrap_err(), Error::NotHeld { reason: None });
}
