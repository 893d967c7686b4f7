//! Watches: in order, resumable, filtered, bounded.

use std::time::Duration;

use leasehold_consensus::Tuning;
use leasehold_frontend::FrontendOptions;
use leasehold_proto::v1;
use leasehold_proto::v1::EventType as Type;
use leasehold_proto::v1::watch_request::Target;
use tonic::transport::Endpoint;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt;

use crate::server::{Server, Setup, acquire, session_id, soon, under, verdict, wait_for};

/// One watch, read event by event.
struct Watch {
    messages: Streaming<v1::WatchResponse>,
    from: v1::Revision,
    events: Vec<v1::WatchEvent>,
}

fn all() -> v1::WatchRequest {
    v1::WatchRequest::default()
}

fn about(target: Target) -> v1::WatchRequest {
    v1::WatchRequest { target: Some(target), ..all() }
}

fn lock(name: &str) -> v1::WatchRequest {
    about(Target::Name(name.into()))
}

fn after(revision: v1::Revision, request: v1::WatchRequest) -> v1::WatchRequest {
    v1::WatchRequest { after: Some(revision), ..request }
}

impl Watch {
    async fn begin(server: &Server, request: v1::WatchRequest) -> Result<Self, Status> {
        let mut messages = server.locks().watch(request).await?.into_inner();
        let first = soon(messages.message()).await?.expect("a watch begins with a message");
        assert!(first.events.is_empty() && first.progress.is_none());
        Ok(Self { messages, from: first.from.expect("that tells from where on"), events: Vec::new() })
    }

    async fn open(server: &Server, request: v1::WatchRequest) -> Self {
        Self::begin(server, request).await.unwrap()
    }

    async fn try_next(&mut self) -> Result<v1::WatchEvent, Status> {
        while self.events.is_empty() {
            let message = soon(self.messages.message()).await?.expect("a watch does not end by itself");
            assert!(message.from.is_none(), "that is told once");
            self.events = message.events;
        }
        Ok(self.events.remove(0))
    }

    async fn next(&mut self) -> v1::WatchEvent {
        self.try_next().await.unwrap()
    }

    /// Type, lock and token of the next events.
    async fn read(&mut self, count: usize) -> Vec<(Type, String, u64)> {
        let mut read = Vec::new();
        for _ in 0..count {
            let event = self.next().await;
            read.push((event.r#type(), event.name, event.token));
        }
        read
    }
}

fn event(kind: Type, name: &str, token: u64) -> (Type, String, u64) {
    (kind, name.into(), token)
}

#[tokio::test]
async fn what_happens_is_told_in_order_with_all_that_matters() {
    let server = Server::start().await;
    server.open_session(1).await;
    let mut watch = Watch::open(&server, all()).await;
    let shared = server.take(under(1, "a", v1::Mode::Shared, None)).await;
    let convert = v1::AcquireRequest {
        locks: vec![v1::LockRequest { name: "a".into(), ..Default::default() }],
        replaces: shared.token,
        ..Default::default()
    };
    let alone = server.take(convert).await;
    let waiter = wait_for(&server, acquire("a", Some(30_000))).await;
    let value = v1::SetValueRequest { name: "a".into(), token: alone.token, value: vec![5], ..Default::default() };
    server.locks().set_value(value).await.unwrap();
    let (name, reason) = ("a".into(), "stuck".into());
    let force = v1::ForceReleaseRequest { name, token: alone.token, reason, ..Default::default() };
    server.locks().force_release(force).await.unwrap();
    let last = crate::server::granted(soon(waiter).await.unwrap().unwrap()).grants[0].token;
    server.release("a", last).await;
    server.locks().close_lease(v1::CloseLeaseRequest { lease: session_id(1) }).await.unwrap();

    let mut events = Vec::new();
    while events.last().is_none_or(|event: &v1::WatchEvent| event.r#type() != Type::SessionLost) {
        events.push(watch.next().await);
    }
    let told: Vec<_> = events.iter().map(|event| (event.r#type(), event.name.clone(), event.token)).collect();
    assert_eq!(
        told,
        [
            event(Type::Granted, "a", shared.token),
            event(Type::Converted, "a", alone.token),
            event(Type::Granted, "a", alone.token),
            event(Type::Queued, "a", 0),
            event(Type::ValueSet, "a", alone.token),
            event(Type::ForceReleased, "a", alone.token),
            event(Type::Granted, "a", last),
            event(Type::Released, "a", last),
            event(Type::SessionLost, "", 0),
        ]
    );
    assert_eq!((events[0].mode(), events[0].lease.as_str()), (v1::Mode::Shared, &*session_id(1)));
    assert_eq!((events[0].owner.as_str(), events[0].namespace.as_str()), ("session 1", "default"));
    assert_eq!((events[1].replaced, events[1].mode()), (shared.token, v1::Mode::Exclusive));
    assert_eq!((events[3].owner.as_str(), events[3].lease.as_str()), ("tester", ""));
    assert_eq!((events[4].version, events[4].value.as_slice()), (1, &[5][..]));
    assert_eq!((events[5].note.as_str(), events[5].reason()), ("stuck", v1::LossReason::Forced));
    assert_eq!((events[8].lease.as_str(), events[8].reason()), (&*session_id(1), v1::LossReason::LeaseClosed));
    let revisions: Vec<_> = events.iter().map(|e| e.revision.unwrap()).map(|r| (r.index, r.ordinal)).collect();
    assert!(revisions.is_sorted_by(|a, b| a < b), "{revisions:?}");
    assert!(revisions[0].0 > watch.from.index, "what was before the watch is not told");
    assert!(events.is_sorted_by_key(|event| event.at_ms));
}

#[tokio::test]
async fn watches_see_what_they_asked_for_and_nothing_else() {
    let server = Server::start().await;
    for session in [1, 2] {
        server.open_session(session).await;
    }
    let session = about(Target::Session(session_id(1)));
    let prefix = about(Target::Prefix("jobs/".into()));
    let elsewhere = v1::WatchRequest { namespace: "elsewhere".into(), ..all() };
    let mut by_name = Watch::open(&server, lock("jobs/1")).await;
    let mut by_prefix = Watch::open(&server, prefix).await;
    let mut by_session = Watch::open(&server, session).await;
    let mut in_namespace = Watch::open(&server, elsewhere).await;

    let mut several = under(1, "jobs/1", v1::Mode::Exclusive, None);
    several.locks.push(v1::LockRequest { name: "other".into(), ..Default::default() });
    several.locks.push(v1::LockRequest { name: "jobs/2".into(), ..Default::default() });
    let grants = crate::server::granted(server.locks().acquire(several).await.unwrap().into_inner()).grants;
    let second = server.take(under(2, "jobs/3", v1::Mode::Exclusive, None)).await;
    let foreign = v1::AcquireRequest { namespace: "elsewhere".into(), ..acquire("jobs/1", None) };
    let foreign = server.take(foreign).await;
    server.release("jobs/1", grants[0].token).await;

    let granted = |grant: &v1::Grant| event(Type::Granted, &grant.name, grant.token);
    let lost = event(Type::Released, "jobs/1", grants[0].token);
    assert_eq!(by_name.read(2).await, [granted(&grants[0]), lost.clone()]);
    let expected = [granted(&grants[0]), granted(&grants[2]), granted(&second), lost.clone()];
    assert_eq!(by_prefix.read(4).await, expected);
    assert_eq!(by_session.read(4).await, [granted(&grants[0]), granted(&grants[1]), granted(&grants[2]), lost]);
    assert_eq!(in_namespace.read(1).await, [granted(&foreign)]);
}

#[tokio::test]
async fn a_watch_resumes_after_what_was_seen_and_after_a_read() {
    let server = Server::start().await;
    let mut watch = Watch::open(&server, all()).await;
    let mut tokens = Vec::new();
    for name in ["a", "b", "c"] {
        tokens.push(server.hold(name).await.0.token);
    }
    assert_eq!(watch.read(1).await[0].2, tokens[0]);
    let second = watch.next().await;
    drop(watch);
    server.release("a", tokens[0]).await;
    let mut resumed = Watch::open(&server, after(second.revision.unwrap(), all())).await;
    assert_eq!(resumed.from, second.revision.unwrap());
    assert_eq!(resumed.read(2).await, [event(Type::Granted, "c", tokens[2]), event(Type::Released, "a", tokens[0])]);

    // Read, then watch what follows the read: nothing falls between.
    let read = server.get("b").await;
    server.release("b", tokens[1]).await;
    let then = v1::Revision { index: read.revision, ordinal: u32::MAX };
    let mut following = Watch::open(&server, after(then, lock("b"))).await;
    assert_eq!(following.read(1).await, [event(Type::Released, "b", tokens[1])]);
}

#[tokio::test]
async fn a_watch_from_the_future_waits_a_bounded_time() {
    let options = FrontendOptions { call_default: Duration::from_millis(400), ..FrontendOptions::default() };
    let server = Server::start_with(options).await;
    let applied = server.node.state().applied().unwrap().index;
    let far = v1::Revision { index: applied + 1_000_000, ordinal: 0 };
    let status = Watch::begin(&server, after(far, all())).await.map(drop).unwrap_err();
    assert!(status.get_details_retry_info().is_some(), "{status:?}");
    assert_eq!(verdict::<()>(Err(status)), (Code::Unavailable, "REVISION_AHEAD".into()));

    let server = Server::start().await;
    let applied = server.node.state().applied().unwrap().index;
    let soon_there = v1::Revision { index: applied + 3, ordinal: u32::MAX };
    let (watch, ()) = tokio::join!(Watch::open(&server, after(soon_there, all())), async {
        for name in ["a", "b", "c", "d"] {
            server.hold(name).await;
        }
    });
    assert_eq!(watch.from, soon_there);
}

#[tokio::test]
async fn what_is_no_longer_remembered_is_out_of_range() {
    let options = FrontendOptions { watch_events_max: 4, ..FrontendOptions::default() };
    let server = Server::start_with(options).await;
    let watch = Watch::open(&server, all()).await;
    for i in 0..10 {
        server.hold(&format!("lock-{i}")).await;
    }
    let status = Watch::begin(&server, after(watch.from, all())).await.map(drop).unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange);
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.reason, "REVISION_GONE");
    let (index, ordinal) = (info.metadata["revision_index"].parse(), info.metadata["revision_ordinal"].parse());
    let oldest = v1::Revision { index: index.unwrap(), ordinal: ordinal.unwrap() };
    assert!(status.message().contains(&oldest.index.to_string()), "{status:?}");
    let mut rest = Watch::open(&server, after(oldest, all())).await;
    let names: Vec<String> = rest.read(4).await.into_iter().map(|(_, name, _)| name).collect();
    assert_eq!(names, ["lock-6", "lock-7", "lock-8", "lock-9"], "nothing is missing after the oldest");
}

/// Changes a value of 4 KiB.
async fn change(server: &Server, token: u64, version: u64) {
    let value = vec![b'x'; 4_096];
    let request = v1::SetValueRequest { name: "a".into(), token, version, value, ..Default::default() };
    assert!(soon(server.locks().set_value(request)).await.unwrap().into_inner().set);
}

#[tokio::test]
async fn a_slow_watcher_is_cut_off_and_the_node_goes_on() {
    let options = FrontendOptions { watch_events_max: 64, ..FrontendOptions::default() };
    let server = Server::start_with(options).await;
    let (grant, _) = server.hold("a").await;
    // As little as possible of what the client does not read lies on its way.
    let narrow = Endpoint::from_shared(format!("http://{}", server.client)).unwrap();
    let narrow = narrow.initial_stream_window_size(65_535).initial_connection_window_size(65_535);
    let mut locks = v1::lock_service_client::LockServiceClient::new(narrow.connect().await.unwrap());
    let mut slow = locks.watch(lock("a")).await.unwrap().into_inner();
    let mut quick = Watch::open(&server, lock("a")).await;
    for version in 0..600 {
        change(&server, grant.token, version).await;
        assert_eq!(quick.next().await.version, version + 1);
    }
    let mut seen = slow.message().await.unwrap().unwrap().from.unwrap();
    let mut count = 0;
    let status = loop {
        match soon(slow.message()).await {
            Ok(Some(message)) => {
                for event in message.events {
                    assert_eq!(event.version, count + 1, "no gap in what was told");
                    (seen, count) = (event.revision.unwrap(), event.version);
                }
            }
            Ok(None) => panic!("it ended without a word"),
            Err(status) => break status,
        }
    };
    assert!(count < 500, "it was told of {count}");
    let info = status.get_details_error_info().unwrap();
    assert_eq!((status.code(), info.reason.as_str()), (Code::ResourceExhausted, "WATCH_TOO_SLOW"));
    let had: u64 = info.metadata["revision_index"].parse().unwrap();
    assert!(had >= seen.index && had < seen.index + 64, "it had {seen:?}: {status:?}");
    server.release("a", grant.token).await;
    assert_eq!(quick.next().await.r#type(), Type::Released);
}

#[tokio::test]
async fn a_quiet_watch_is_told_how_far_it_has_heard() {
    let options = FrontendOptions { watch_progress: Duration::from_millis(50), ..FrontendOptions::default() };
    let server = Server::start_with(options).await;
    let mut watch = Watch::open(&server, lock("quiet")).await;
    server.hold("busy").await;
    let applied = server.node.state().applied().unwrap().index;
    let heard = loop {
        let message = soon(watch.messages.message()).await.unwrap().unwrap();
        assert!(message.events.is_empty());
        let progress = message.progress.unwrap();
        if progress.index >= applied {
            break progress;
        }
    };
    let mut resumed = Watch::open(&server, after(heard, lock("quiet"))).await;
    let (grant, _) = server.hold("quiet").await;
    assert_eq!(resumed.read(1).await, [event(Type::Granted, "quiet", grant.token)]);
}

#[tokio::test]
async fn watches_are_bounded_and_their_places_come_back() {
    let options = FrontendOptions { watches_max: 2, ..FrontendOptions::default() };
    let server = Server::start_with(options).await;
    let first = Watch::open(&server, all()).await;
    let _second = Watch::open(&server, lock("a")).await;
    let refused = Watch::begin(&server, all()).await.map(drop);
    assert_eq!(verdict(refused), (Code::ResourceExhausted, "LIMIT_REACHED".into()));
    drop(first);
    let again = async {
        while Watch::begin(&server, all()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    soon(again).await;
}

#[tokio::test]
async fn a_stopping_node_ends_its_watches() {
    let mut server = Server::start().await;
    let mut watch = Watch::open(&server, all()).await;
    server.stop_frontend().await;
    let status = watch.try_next().await.unwrap_err();
    assert!(status.get_details_retry_info().is_some(), "{status:?}");
    assert_eq!(verdict::<()>(Err(status)), (Code::Unavailable, "STOPPING".into()));
}

#[tokio::test]
async fn a_watch_resumes_on_a_node_that_was_killed_and_started_again() {
    // No checkpoint is written, so that what happened lies in the log alone, as the last moments before any crash do.
    let tuning = Tuning { checkpoint_interval: Duration::from_secs(3_600), ..Tuning::default() };
    let server = Setup { tuning: tuning.clone(), ..Setup::default() }.start().await;
    let mut watch = Watch::open(&server, all()).await;
    let (first, _) = server.hold("a").await;
    let seen = watch.next().await;
    let mut rest = Vec::new();
    for name in ["b", "c"] {
        server.hold(name).await;
    }
    server.release("a", first.token).await;
    for _ in 0..3 {
        rest.push(watch.next().await);
    }
    let folder = server.folder_as_it_is();
    drop(server.shut_down().await);

    let server = Setup { folder, tuning, ..Setup::default() }.start().await;
    let mut resumed = Watch::open(&server, after(seen.revision.unwrap(), all())).await;
    for expected in rest {
        assert_eq!(resumed.next().await, expected, "the same events under the same revisions");
    }
    let (grant, _) = server.hold("d").await;
    assert_eq!(resumed.read(1).await, [event(Type::Granted, "d", grant.token)]);
}

#[tokio::test]
async fn what_lies_behind_the_checkpoint_is_out_of_range_after_a_restart() {
    let server = Server::start().await;
    let watch = Watch::open(&server, all()).await;
    server.hold("a").await;
    // It checkpoints at the end.
    let folder = server.shut_down().await;
    let server = Setup { folder, ..Setup::default() }.start().await;
    let status = Watch::begin(&server, after(watch.from, all())).await.map(drop).unwrap_err();
    assert_eq!(verdict::<()>(Err(status)), (Code::OutOfRange, "REVISION_GONE".into()));
    let applied = server.get("a").await.revision;
    let mut anew = Watch::open(&server, after(v1::Revision { index: applied, ordinal: u32::MAX }, all())).await;
    let (grant, _) = server.hold("b").await;
    assert_eq!(anew.read(1).await, [event(Type::Granted, "b", grant.token)]);
}

#[tokio::test]
async fn a_node_without_a_leader_takes_no_new_watch() {
    let server = Server::start_without_quorum(FrontendOptions::default()).await;
    let mut request = tonic::Request::new(all());
    request.set_timeout(Duration::from_secs(3));
    let status = soon(server.locks().watch(request)).await.map(drop).unwrap_err();
    assert_eq!(verdict::<()>(Err(status)), (Code::Unavailable, "NO_LEADER".into()));
}
