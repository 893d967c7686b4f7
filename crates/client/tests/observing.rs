//! Watches, elections and re-entrant locks: seen from the nodes.
#![allow(clippy::unwrap_used, reason = "a test that gets no answer has failed")]

use std::time::Duration;

use leasehold_client::{
    Error, EventType, LossReason, Revision, Token, TryAcquire, Watch, WatchEvent, WatchItem, WatchTarget,
};
use leasehold_proto::v1::answer::Answer;
use leasehold_proto::v1::operation::Operation;
use leasehold_proto::v1::{self, watch_request::Target};
use tonic::Code;

mod support;
use support::{Asked, FakeCluster};

fn at(index: u64) -> Revision {
    Revision { index, ordinal: 0 }
}

fn granted(token: u64) -> WatchEvent {
    WatchEvent { r#type: EventType::Granted.into(), token, name: "a".to_owned(), ..WatchEvent::default() }
}

async fn next(watch: &mut Watch) -> WatchItem {
    watch.next().await.unwrap().unwrap()
}

#[tokio::test]
async fn a_watch_goes_on_elsewhere_without_saying_anything_twice() {
    let (cluster, client) = FakeCluster::connected(2).await;
    let mut watch = client.watch(WatchTarget::Lock("a".to_owned()));
    assert_eq!(next(&mut watch).await, WatchItem::Started { from: at(10) });
    let first = cluster.next_watch().await;
    assert_eq!(first.request.target, Some(Target::Name("a".to_owned())));
    first.event(20, granted(1)).await;
    assert!(matches!(next(&mut watch).await, WatchItem::Event(event) if event.token == 1));
    assert_eq!(watch.revision(), Some(at(20)));
    first.break_stream().await;
    let (item, second) = tokio::join!(next(&mut watch), async {
        let second = cluster.next_watch().await;
        assert_eq!(second.request.after, Some(at(20)));
        second.start(20).await;
        second.event(30, granted(2)).await;
        second
    });
    assert!(matches!(item, WatchItem::Event(event) if event.token == 2));
    assert_ne!(second.node, first.node);
}

#[tokio::test]
async fn a_revision_counts_as_read_with_its_last_event() {
    let (cluster, client) = FakeCluster::connected(1).await;
    let mut watch = client.watch(WatchTarget::Namespace);
    next(&mut watch).await;
    cluster.next_watch().await.events(20, [granted(1), granted(2)]).await;
    next(&mut watch).await;
    assert_eq!(watch.revision(), Some(at(10)), "to go on after 20 would skip the second one");
    next(&mut watch).await;
    assert_eq!(watch.revision(), Some(at(20)));
}

#[tokio::test]
async fn a_gap_is_told() {
    let (cluster, client) = FakeCluster::connected(1).await;
    let mut watch = client.watch_after(WatchTarget::Prefix("a".to_owned()), at(5));
    let (item, again) = tokio::join!(next(&mut watch), async {
        let first = cluster.next_watch().await;
        assert_eq!(first.request.after, Some(at(5)));
        first.fail(Code::OutOfRange, "REVISION_GONE").await;
        cluster.next_watch().await
    });
    assert_eq!(item, WatchItem::Gap { after: at(5), from: at(10) });
    again.event(20, granted(1)).await;
    assert!(matches!(next(&mut watch).await, WatchItem::Event(_)));
}

#[tokio::test]
async fn a_watch_that_was_cut_off_as_too_slow_resumes() {
    let (cluster, client) = FakeCluster::connected(1).await;
    let mut watch = client.watch(WatchTarget::Namespace);
    next(&mut watch).await;
    let first = cluster.next_watch().await;
    assert_eq!(first.request.target, None);
    first.event(20, granted(1)).await;
    first.fail(Code::ResourceExhausted, "WATCH_TOO_SLOW").await;
    next(&mut watch).await;
    let (item, ()) = tokio::join!(next(&mut watch), async {
        let second = cluster.next_watch().await;
        assert_eq!(second.request.after, Some(at(20)));
        second.start(20).await;
        second.event(30, granted(2)).await;
    });
    assert!(matches!(item, WatchItem::Event(event) if event.token == 2));
}

#[tokio::test]
async fn a_watch_that_cannot_be_is_refused() {
    let (cluster, client) = FakeCluster::connected(1).await;
    let mut watch = client.watch_after(WatchTarget::Lock("a".to_owned()), at(5));
    let (item, ()) = tokio::join!(watch.next(), async {
        cluster.next_watch().await.fail(Code::InvalidArgument, "INVALID_FIELD").await;
    });
    assert!(matches!(item, Some(Err(Error::InvalidArgument { .. }))));
    assert!(watch.next().await.is_none());
}

fn led_by(token: u64, version: u64, value: &str) -> Answer {
    let holder = v1::Holder {
        token,
        version,
        owner: format!("owner-{token}"),
        mode: v1::Mode::Exclusive.into(),
        value: value.into(),
        ..Default::default()
    };
    Answer::Get(v1::GetResponse { lock: Some(v1::LockInfo { holders: vec![holder], ..Default::default() }) })
}

async fn next_get(cluster: &mut FakeCluster) -> Asked {
    let asked = cluster.next_but_renewals().await;
    assert!(matches!(asked.operation, Operation::Get(_)), "{:?}", asked.operation);
    asked
}

#[tokio::test]
async fn an_observer_sees_leaders_and_values_and_never_an_older_one() {
    let (mut cluster, client) = FakeCluster::connected(1).await;
    let mut leaders = client.election("a").observe();
    let (leader, ()) =
        tokio::join!(leaders.next(), async { next_get(&mut cluster).await.answer(led_by(5, 0, "x")).await });
    let leader = leader.unwrap().unwrap();
    assert_eq!((leader.token, leader.owner.as_str(), leader.value.as_slice()), (Token(5), "owner-5", b"x".as_slice()));
    let watch = cluster.next_watch().await;
    let (leader, ()) = tokio::join!(leaders.next(), async {
        watch.event(20, granted(5)).await;
        // Nothing that was not told already, and then something older: neither is told.
        next_get(&mut cluster).await.answer(led_by(5, 0, "x")).await;
        watch.event(21, granted(4)).await;
        next_get(&mut cluster).await.answer(led_by(4, 9, "old")).await;
        watch.event(22, WatchEvent { r#type: EventType::ValueSet.into(), ..granted(5) }).await;
        next_get(&mut cluster).await.answer(led_by(5, 1, "y")).await;
    });
    let leader = leader.unwrap().unwrap();
    assert_eq!((leader.token, leader.version, leader.value.as_slice()), (Token(5), 1, b"y".as_slice()));
}

#[tokio::test]
async fn a_leader_proclaims_by_version_and_resigns() {
    let (mut cluster, client) = FakeCluster::connected(1).await;
    let campaigning = tokio::spawn(async move { client.election("a").campaign("x").await });
    let (request, asked) = cluster.next_acquire().await;
    assert_eq!(request.value, b"x");
    asked.granted(5, 30_000, false).await;
    let mut leadership = campaigning.await.unwrap().unwrap();
    let set = |operation: &Operation| match operation {
        Operation::SetValue(set) => Some(set.clone()),
        _ => None,
    };
    let (proclaimed, ()) = tokio::join!(leadership.proclaim("y"), async {
        let (request, asked) = cluster.next_of(set).await;
        assert_eq!((request.token, request.version, request.value.as_slice()), (5, 0, b"y".as_slice()));
        // An earlier one, whose answer was lost, had been applied.
        let conflict = v1::SetValueResponse { version: 1, ..Default::default() };
        asked.answer(Answer::SetValue(conflict)).await;
        let (request, asked) = cluster.next_of(set).await;
        assert_eq!(request.version, 1);
        asked.answer(Answer::SetValue(v1::SetValueResponse { set: true, version: 2, ..Default::default() })).await;
    });
    proclaimed.unwrap();
    assert_eq!((leadership.version(), leadership.value()), (2, b"y".as_slice()));
    let (proclaimed, ()) = tokio::join!(leadership.proclaim("z"), async {
        let reason = LossReason::Forced.into();
        let gone = v1::SetValueResponse { not_held: true, reason, ..Default::default() };
        cluster.next_of(set).await.1.answer(Answer::SetValue(gone)).await;
    });
    assert_eq!(proclaimed, Err(Error::NotHeld { reason: Some(LossReason::Forced) }));
    assert!(!leadership.is_leader());
}

#[tokio::test]
async fn the_holder_of_a_reentrant_lock_gets_it_again_and_others_wait() {
    let (mut cluster, client) = FakeCluster::connected(1).await;
    let lock = client.reentrant("a");
    let (me, other) = (client.new_actor(), client.new_actor());
    let acquiring = tokio::spawn({
        let (lock, me) = (lock.clone(), me.clone());
        async move { lock.acquire(&me).await }
    });
    let (request, asked) = cluster.next_acquire().await;
    assert_eq!(request.actor, me.name());
    asked.granted(1, 30_000, false).await;
    let outer = acquiring.await.unwrap().unwrap();
    // Another handle of the same lock, and no question to the cluster.
    let inner = client.reentrant("a").acquire(&me).await.unwrap();
    let innermost = client.reentrant("a").try_acquire(&me).await.unwrap().acquired().unwrap();
    assert_eq!((inner.token(), outer.depth()), (Token(1), 3));
    // The other one asks the cluster.
    let trying = tokio::spawn({
        let (lock, other) = (lock.clone(), other.clone());
        async move { lock.try_acquire(&other).await }
    });
    let (request, asked) = cluster.next_acquire().await;
    assert_eq!(request.actor, other.name());
    let held = v1::Held { by_self: true, ..Default::default() };
    asked.acquired(v1::acquire_response::Result::Held(held)).await;
    assert!(matches!(trying.await.unwrap(), Ok(TryAcquire::Held(held)) if held.by_self));
    assert_eq!(innermost.release().await, Ok(None));
    assert_eq!(outer.release().await, Ok(None));
    assert!(inner.is_held());
    let releasing = tokio::spawn(inner.release());
    cluster.next_release().await.1.released(true, LossReason::Unspecified).await;
    assert!(releasing.await.unwrap().unwrap().unwrap().released);
}

#[tokio::test]
async fn a_reentrant_lock_that_was_lost_is_not_had_again() {
    let (mut cluster, client) = FakeCluster::connected(1).await;
    let (lock, me) = (client.reentrant("a"), client.new_actor());
    let acquire = || {
        let (lock, me) = (lock.clone(), me.clone());
        tokio::spawn(async move { lock.acquire(&me).await })
    };
    let acquiring = acquire();
    cluster.next_acquire().await.1.granted(1, 30_000, false).await;
    let lost = acquiring.await.unwrap().unwrap();
    let watch = cluster.next_watch().await;
    watch.event(20, WatchEvent { r#type: EventType::ForceReleased.into(), ..granted(1) }).await;
    lost.lost().await;
    let acquiring = acquire();
    cluster.next_acquire().await.1.granted(2, 30_000, false).await;
    let again = acquiring.await.unwrap().unwrap();
    assert_eq!((again.token(), again.depth()), (Token(2), 1));
    assert!(!lost.is_held());
    let waited = tokio::time::timeout(Duration::from_secs(20), client.reentrant("a").acquire(&me)).await;
    assert_eq!(waited.unwrap().unwrap().token(), Token(2));
}
