//! Watches on a `Connect` stream: beside all that it does, and never in its way.

use leasehold_frontend::FrontendOptions;
use leasehold_proto::v1;
use leasehold_proto::v1::answer::Answer as Body;
use leasehold_proto::v1::operation::Operation as Asked;
use leasehold_proto::v1::watch_request::Target;
use tokio::sync::mpsc;
use tonic::Code;

use crate::server::{Server, eventually, soon};
use crate::stream::Stream;

fn watch(name: &str) -> Asked {
    Asked::Watch(v1::WatchRequest { target: Some(Target::Name(name.into())), ..Default::default() })
}

impl Stream {
    /// Begins a watch, and returns once it has begun.
    async fn watch(&mut self, id: u64, name: &str) -> v1::Revision {
        self.ask(vec![(id, watch(name))]).await;
        self.told(id).await.from.expect("the first message tells from where on")
    }

    async fn told(&mut self, id: u64) -> v1::WatchResponse {
        match self.answer(id).await {
            Body::Watch(response) => response,
            other => panic!("not of a watch: {other:?}"),
        }
    }

    async fn events(&mut self, id: u64) -> Vec<v1::WatchEvent> {
        loop {
            let told = self.told(id).await;
            if !told.events.is_empty() {
                return told.events;
            }
        }
    }
}

#[tokio::test]
async fn a_watch_is_answered_many_times_until_it_is_stopped() {
    let server = Server::start().await;
    let mut stream = Stream::open(&server).await;
    stream.watch(7, "a").await;
    let (grant, _) = server.hold("a").await;
    assert_eq!(stream.events(7).await[0].token, grant.token);
    server.release("a", grant.token).await;
    assert_eq!(stream.events(7).await[0].r#type(), v1::EventType::Released);

    stream.ask(vec![(8, Asked::StopWatch(7))]).await;
    let stopped = stream.error(7).await;
    assert_eq!((stopped.code, stopped.reason.as_str()), (Code::Cancelled.into(), "WATCH_STOPPED"));
    server.hold("a").await;
    let get = Asked::Get(v1::GetRequest { name: "a".into(), ..Default::default() });
    stream.ask(vec![(9, get)]).await;
    assert!(matches!(stream.answer(9).await, Body::Get(_)));
    assert_eq!((stream.unread(7), stream.unread(8)), (0, 0), "no word of either afterwards");

    // Its id is free again.
    let from = stream.watch(7, "b").await;
    assert!(from.index > 0);
    let (grant, _) = server.hold("b").await;
    assert_eq!(stream.events(7).await[0].token, grant.token);
}

#[tokio::test]
async fn stopping_what_is_no_watch_is_passed_over() {
    let server = Server::start().await;
    server.hold("a").await;
    let mut stream = Stream::open(&server).await;
    stream.ask(vec![(1, Asked::Acquire(crate::server::acquire("a", Some(30_000))))]).await;
    eventually("queued", || server.queue_length("a") == 1).await;
    stream.ask(vec![(2, Asked::StopWatch(1)), (3, Asked::StopWatch(99)), (3, watch("b"))]).await;
    assert!(stream.told(3).await.from.is_some());
    assert_eq!((server.queue_length("a"), stream.unread(1)), (1, 0));
}

#[tokio::test]
async fn bad_and_surplus_watches_fail_alone() {
    let options = FrontendOptions { stream_watches_max: 2, watch_events_max: 4, ..FrontendOptions::default() };
    let server = Server::start_with(options).await;
    let mut stream = Stream::open(&server).await;
    stream.watch(1, "a").await;
    stream.ask(vec![(2, watch(""))]).await;
    assert_eq!(stream.error(2).await.field, "name");
    stream.watch(2, "b").await;
    stream.ask(vec![(3, watch("c")), (1, watch("c"))]).await;
    let surplus = stream.error(3).await;
    assert_eq!((surplus.code, surplus.field.as_str()), (Code::ResourceExhausted.into(), "stream_watches_max"));
    assert_eq!(stream.error(1).await.reason, "DUPLICATE_OPERATION");
    for i in 0..8 {
        server.hold(&format!("lock-{i}")).await;
    }
    stream.ask(vec![(4, Asked::StopWatch(2))]).await;
    assert_eq!(stream.error(2).await.reason, "WATCH_STOPPED");
    let after = Some(v1::Revision { index: 1, ordinal: 0 });
    stream.ask(vec![(2, Asked::Watch(v1::WatchRequest { after, ..Default::default() }))]).await;
    let gone = stream.error(2).await;
    assert_eq!((gone.code, gone.reason.as_str()), (Code::OutOfRange.into(), "REVISION_GONE"));
    assert!(gone.revision.is_some_and(|oldest| oldest.index > 1), "{gone:?}");
    let (grant, _) = server.hold("a").await;
    assert_eq!(stream.events(1).await[0].token, grant.token, "the first one goes on, the duplicate changed nothing");
}

#[tokio::test]
async fn watches_that_were_stopped_while_nobody_read_say_nothing_more() {
    let server = Server::start().await;
    let (grant, _) = server.hold("a").await;
    let mut stream = Stream::open(&server).await;
    let watches = [11, 12, 13];
    for id in watches {
        stream.watch(id, "a").await;
    }
    // More than lies on the way to the client.
    for version in 0..700 {
        let value = vec![b'x'; 4_096];
        let set = v1::SetValueRequest { name: "a".into(), token: grant.token, version, value, ..Default::default() };
        assert!(server.locks().set_value(set).await.unwrap().into_inner().set);
    }
    let get = Asked::Get(v1::GetRequest { name: "a".into(), ..Default::default() });
    stream.ask(watches.map(|id| (1, Asked::StopWatch(id))).into()).await;
    stream.ask(vec![(3, get)]).await;
    for id in watches {
        let mut told = 0;
        let error = loop {
            match stream.answer(id).await {
                Body::Watch(response) => told += response.events.len(),
                Body::Error(error) => break error,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(error.reason, "WATCH_STOPPED");
        assert!(told < 700, "it was told of {told}");
    }
    assert!(matches!(stream.answer(3).await, Body::Get(_)));
    assert_eq!(watches.map(|id| stream.unread(id)), [0; 3]);
}

#[tokio::test]
async fn a_busy_watch_does_not_hold_up_answers() {
    let server = Server::start().await;
    let (grant, _) = server.hold("a").await;
    let mut stream = Stream::open(&server).await;
    stream.watch(1, "a").await;
    for version in 0..200 {
        let value = vec![b'x'; 4_096];
        let set = v1::SetValueRequest { name: "a".into(), token: grant.token, version, value, ..Default::default() };
        stream.ask(vec![(2, Asked::SetValue(set))]).await;
        assert!(matches!(stream.answer(2).await, Body::SetValue(set) if set.set));
    }
    let mut seen = 0;
    while seen < 200 {
        for event in stream.events(1).await {
            seen += 1;
            assert_eq!(event.version, seen, "each once, in order");
        }
    }
}

#[tokio::test]
async fn a_client_that_has_asked_its_last_is_still_told() {
    let mut server = Server::start().await;
    let mut stream = Stream::open(&server).await;
    stream.watch(1, "a").await;
    let (closed, _) = mpsc::channel(1);
    stream.requests = closed;
    let (grant, _) = server.hold("a").await;
    assert_eq!(stream.events(1).await[0].token, grant.token);
    server.stop.cancel();
    assert_eq!(stream.error(1).await.reason, "STOPPING");
    assert!(soon(stream.answers.message()).await.unwrap().is_none(), "then the stream ends");
    server.stop_frontend().await;
}
