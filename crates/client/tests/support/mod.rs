//! Nodes that do nothing by themselves: the test sees every operation and says what is answered.
#![allow(dead_code, clippy::unwrap_used, reason = "support of tests; every binary uses its own part")]

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use leasehold_client::clock::{Clock, TimeSource};
use leasehold_client::{Client, ClientOptions, Guard};
use leasehold_proto::v1;
use leasehold_proto::v1::answer::Answer;
use leasehold_proto::v1::lock_service_server::{LockService, LockServiceServer};
use leasehold_proto::v1::operation::Operation;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

/// Long enough for a machine that does ten other things; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

type Replies = mpsc::Sender<Result<v1::ConnectResponse, Status>>;

/// Some nodes, and all that they are asked, in order.
pub(crate) struct FakeCluster {
    pub(crate) endpoints: Vec<String>,
    muted: Vec<Arc<AtomicBool>>,
    asked: mpsc::UnboundedReceiver<Asked>,
    ledger: Arc<Ledger>,
}

/// What the nodes know by themselves, so that a test need not answer what it is not about.
#[derive(Default, Debug)]
struct Ledger {
    /// The test answers about sessions too.
    by_hand: AtomicBool,
    /// Grants that the test gave, until it ends them.
    grants: Mutex<Vec<v1::Grant>>,
    watches: Mutex<VecDeque<Watched>>,
    more_watches: Notify,
}

impl Ledger {
    fn take_watch(&self) -> Option<Watched> {
        self.watches.lock().unwrap().pop_front()
    }
}

/// A watch under way on a node.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) request: v1::WatchRequest,
    pub(crate) node: usize,
    id: u64,
    replies: Replies,
}

impl Watched {
    async fn say(&self, answer: Answer) {
        let answers = vec![v1::Answer { id: self.id, answer: Some(answer) }];
        // A client that has gone hears nothing.
        let _ = self.replies.send(Ok(v1::ConnectResponse { answers })).await;
    }

    /// The first message of a watch.
    pub(crate) async fn start(&self, from: u64) {
        let from = Some(v1::Revision { index: from, ordinal: 0 });
        self.say(Answer::Watch(v1::WatchResponse { from, ..Default::default() })).await;
    }

    pub(crate) async fn event(&self, index: u64, event: v1::WatchEvent) {
        self.events(index, [event]).await;
    }

    /// Of one revision, as when an event concerns several locks.
    pub(crate) async fn events<const N: usize>(&self, index: u64, events: [v1::WatchEvent; N]) {
        let revision = Some(v1::Revision { index, ordinal: 0 });
        let events = events.map(|event| v1::WatchEvent { revision, ..event }).into();
        self.say(Answer::Watch(v1::WatchResponse { events, ..Default::default() })).await;
    }

    pub(crate) async fn fail(&self, code: tonic::Code, reason: &str) {
        self.say(Answer::Error(wire_error(code, reason))).await;
    }

    pub(crate) async fn break_stream(&self) {
        let _ = self.replies.send(Err(Status::unavailable("broken by the test"))).await;
    }
}

/// One operation that a node received.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) node: usize,
    pub(crate) operation: Operation,
    id: u64,
    replies: Replies,
    ledger: Arc<Ledger>,
}

impl FakeCluster {
    /// Some nodes, and a client of them.
    pub(crate) async fn connected(nodes: usize) -> (Self, Client) {
        let cluster = Self::start(nodes).await;
        let client = Client::connect(cluster.options()).await.unwrap();
        (cluster, client)
    }

    /// A lock of the client's session that is granted when it is asked for.
    pub(crate) async fn guard(&mut self, client: &Client, name: &str, token: u64) -> Guard {
        let acquiring = tokio::spawn(client.lock(name).acquire());
        let (_, asked) = self.next_acquire().await;
        asked.granted(token, 30_000, false).await;
        acquiring.await.unwrap().unwrap()
    }

    pub(crate) async fn start(nodes: usize) -> Self {
        let (tell, asked) = mpsc::unbounded_channel();
        let ledger = Arc::new(Ledger::default());
        let mut cluster = Self { endpoints: Vec::new(), muted: Vec::new(), asked, ledger: ledger.clone() };
        for node in 0..nodes {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            cluster.endpoints.push(listener.local_addr().unwrap().to_string());
            let muted = Arc::new(AtomicBool::new(false));
            cluster.muted.push(muted.clone());
            let service = LockServiceServer::new(FakeNode { node, muted, tell: tell.clone(), ledger: ledger.clone() });
            let serving = tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(TcpListenerStream::new(listener));
            tokio::spawn(serving);
        }
        cluster
    }

    pub(crate) fn options(&self) -> ClientOptions {
        ClientOptions { owner: "test".to_owned(), ..ClientOptions::new(self.endpoints.clone()) }
    }

    /// From now on this node gives no sign of life: nothing that it is asked is seen or answered.
    pub(crate) fn mute(&self, node: usize) {
        self.muted[node].store(true, Ordering::Relaxed);
    }

    /// From now on the nodes give signs of life again.
    pub(crate) fn unmute(&self, node: usize) {
        self.muted[node].store(false, Ordering::Relaxed);
    }

    /// From now on the test answers about sessions too: their opening, reading, watching and closing.
    pub(crate) fn by_hand(&self) {
        self.ledger.by_hand.store(true, Ordering::Relaxed);
    }

    /// The next watch that a node has begun by itself.
    pub(crate) async fn next_watch(&self) -> Watched {
        let found = async {
            loop {
                let more = self.ledger.more_watches.notified();
                if let Some(watched) = self.ledger.take_watch() {
                    return watched;
                }
                more.await;
            }
        };
        timeout(PATIENCE, found).await.expect("a watch in time")
    }

    /// A grant is no longer: the nodes say so when they are asked.
    pub(crate) fn end_grant(&self, token: u64) {
        self.ledger.grants.lock().unwrap().retain(|grant| grant.token != token);
    }

    /// The next operation that any node was asked; pings are answered without telling.
    pub(crate) async fn next(&mut self) -> Asked {
        timeout(PATIENCE, self.asked.recv()).await.expect("an operation in time").expect("the nodes live")
    }

    /// The next one that is not a renewal; renewals on the way are granted.
    pub(crate) async fn next_but_renewals(&mut self) -> Asked {
        loop {
            let asked = self.next().await;
            match &asked.operation {
                Operation::Renew(_) => asked.renewed(30_000).await,
                _ => return asked,
            }
        }
    }

    /// The next one that `wanted` finds; renewals on the way are granted, anything else is a failure.
    pub(crate) async fn next_of<T>(&mut self, wanted: impl Fn(&Operation) -> Option<T>) -> (T, Asked) {
        let asked = self.next_but_renewals().await;
        match wanted(&asked.operation) {
            Some(found) => (found, asked),
            None => panic!("something else was expected: {:?}", asked.operation),
        }
    }

    pub(crate) async fn next_acquire(&mut self) -> (v1::AcquireRequest, Asked) {
        let asked = self.next_but_renewals().await;
        match &asked.operation {
            Operation::Acquire(acquire) => (acquire.clone(), asked),
            other => panic!("an acquire was expected: {other:?}"),
        }
    }

    pub(crate) async fn next_cancel(&mut self) -> (v1::CancelAcquireRequest, Asked) {
        let asked = self.next_but_renewals().await;
        match &asked.operation {
            Operation::Cancel(cancel) => (*cancel, asked),
            other => panic!("a cancel was expected: {other:?}"),
        }
    }

    pub(crate) async fn next_release(&mut self) -> (v1::ReleaseRequest, Asked) {
        let asked = self.next_but_renewals().await;
        match &asked.operation {
            Operation::Release(release) => (release.clone(), asked),
            other => panic!("a release was expected: {other:?}"),
        }
    }

    pub(crate) async fn next_renew(&mut self) -> (v1::RenewRequest, Asked) {
        let asked = self.next().await;
        match &asked.operation {
            Operation::Renew(renew) => (renew.clone(), asked),
            other => panic!("a renewal was expected: {other:?}"),
        }
    }
}

impl Asked {
    pub(crate) async fn answer(self, answer: Answer) {
        let answers = vec![v1::Answer { id: self.id, answer: Some(answer) }];
        // A client that has gone hears nothing.
        let _ = self.replies.send(Ok(v1::ConnectResponse { answers })).await;
    }

    pub(crate) async fn fail(self, code: tonic::Code, reason: &str) {
        self.answer(Answer::Error(wire_error(code, reason))).await;
    }

    pub(crate) async fn break_stream(self) {
        let _ = self.replies.send(Err(Status::unavailable("broken by the test"))).await;
    }

    /// Grants what was asked for, with this token and those after it.
    pub(crate) async fn granted(self, token: u64, ttl_ms: u64, confirm: bool) {
        let Operation::Acquire(request) = &self.operation else { panic!("not an acquire") };
        let grant = |(lock, token): (&v1::LockRequest, u64)| v1::Grant {
            name: lock.name.clone(),
            mode: if lock.mode == 0 { v1::Mode::Exclusive.into() } else { lock.mode },
            token,
            permits: lock.permits,
            limit: lock.limit,
        };
        let grants: Vec<_> = request.locks.iter().zip(token..).map(grant).collect();
        self.ledger.grants.lock().unwrap().extend(grants.clone());
        let lease = if request.session.is_empty() { format!("{token:x}") } else { request.session.clone() };
        self.acquired(v1::acquire_response::Result::Granted(v1::Granted { lease, grants, ttl_ms, confirm, forced: 0 }))
            .await;
    }

    pub(crate) async fn acquired(self, result: v1::acquire_response::Result) {
        self.answer(Answer::Acquire(v1::AcquireResponse { result: Some(result) })).await;
    }

    /// All leases of a renewal live on.
    pub(crate) async fn renewed(self, ttl_ms: u64) {
        let Operation::Renew(request) = &self.operation else { panic!("not a renewal") };
        let alive = |renew: &v1::RenewLease| v1::RenewedLease {
            lease: renew.lease.clone(),
            alive: true,
            ttl_ms,
            ..Default::default()
        };
        let leases = request.leases.iter().map(alive).collect();
        self.answer(Answer::Renew(v1::RenewResponse { leases })).await;
    }

    /// All leases of a renewal have ended.
    pub(crate) async fn gone(self, reason: v1::LossReason) {
        let Operation::Renew(request) = &self.operation else { panic!("not a renewal") };
        let ended = |renew: &v1::RenewLease| v1::RenewedLease {
            lease: renew.lease.clone(),
            reason: reason.into(),
            ..Default::default()
        };
        let leases = request.leases.iter().map(ended).collect();
        self.answer(Answer::Renew(v1::RenewResponse { leases })).await;
    }

    pub(crate) async fn released(self, released: bool, reason: v1::LossReason) {
        let answer = v1::ReleaseResponse { released, reason: reason.into(), ..Default::default() };
        self.answer(Answer::Release(answer)).await;
    }

    pub(crate) async fn cancelled(self) {
        self.answer(Answer::Cancel(v1::CancelAcquireResponse::default())).await;
    }

    /// A cancel that came too late for a conversion.
    pub(crate) async fn kept(self, token: u64, mode: v1::Mode) {
        let kept = v1::CancelAcquireResponse { kept_token: token, kept_mode: mode.into(), ..Default::default() };
        self.answer(Answer::Cancel(kept)).await;
    }

    /// What a node says by itself about sessions and their locks.
    async fn answer_by_itself(self) -> Option<Self> {
        let grants = self.ledger.grants.lock().unwrap().clone();
        let answer = match &self.operation {
            Operation::Get(get) if get.stale => Answer::Get(v1::GetResponse::default()),
            _ if self.ledger.by_hand.load(Ordering::Relaxed) => return Some(self),
            Operation::OpenSession(open) => Answer::OpenSession(v1::OpenSessionResponse { ttl_ms: open.ttl_ms }),
            Operation::CloseLease(_) => Answer::CloseLease(v1::CloseLeaseResponse { closed: true, grants_ended: 0 }),
            Operation::GetSession(get) => {
                let session = v1::SessionInfo { session: get.session.clone(), grants, ..Default::default() };
                Answer::GetSession(v1::GetSessionResponse { session: Some(session), ..Default::default() })
            }
            Operation::CheckToken(check) => {
                let current = grants.iter().any(|grant| grant.token == check.token);
                Answer::CheckToken(v1::CheckTokenResponse { current, ..Default::default() })
            }
            Operation::Watch(request) => {
                let (node, id, replies) = (self.node, self.id, self.replies.clone());
                let watched = Watched { request: request.clone(), node, id, replies };
                if watched.request.after.is_none() {
                    watched.start(10).await;
                }
                self.ledger.watches.lock().unwrap().push_back(watched);
                self.ledger.more_watches.notify_one();
                return None;
            }
            Operation::StopWatch(_) => return None,
            _ => return Some(self),
        };
        self.answer(answer).await;
        None
    }
}

fn wire_error(code: tonic::Code, reason: &str) -> v1::Error {
    let message = format!("{reason} in words");
    v1::Error { code: code.into(), message, reason: reason.to_owned(), ..Default::default() }
}

struct FakeNode {
    node: usize,
    muted: Arc<AtomicBool>,
    tell: mpsc::UnboundedSender<Asked>,
    ledger: Arc<Ledger>,
}

/// The client uses `Connect` only.
macro_rules! unimplemented_calls {
    ($($call:ident($request:ty) -> $response:ty),* $(,)?) => {
        #[tonic::async_trait]
        impl LockService for FakeNode {
            type ConnectStream = Pin<Box<ReceiverStream<Result<v1::ConnectResponse, Status>>>>;
            type WatchStream = Pin<Box<ReceiverStream<Result<v1::WatchResponse, Status>>>>;

            async fn connect(
                &self,
                request: Request<Streaming<v1::ConnectRequest>>,
            ) -> Result<Response<Self::ConnectStream>, Status> {
                Ok(Response::new(Box::pin(self.serve(request.into_inner()))))
            }

            async fn watch(&self, _: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
                Err(Status::unimplemented("the client uses Connect only"))
            }

            $(async fn $call(&self, _: Request<$request>) -> Result<Response<$response>, Status> {
                Err(Status::unimplemented("the client uses Connect only"))
            })*
        }
    };
}

unimplemented_calls! {
    acquire(v1::AcquireRequest) -> v1::AcquireResponse,
    cancel_acquire(v1::CancelAcquireRequest) -> v1::CancelAcquireResponse,
    release(v1::ReleaseRequest) -> v1::ReleaseResponse,
    renew(v1::RenewRequest) -> v1::RenewResponse,
    close_lease(v1::CloseLeaseRequest) -> v1::CloseLeaseResponse,
    open_session(v1::OpenSessionRequest) -> v1::OpenSessionResponse,
    set_value(v1::SetValueRequest) -> v1::SetValueResponse,
    force_release(v1::ForceReleaseRequest) -> v1::ForceReleaseResponse,
    get(v1::GetRequest) -> v1::GetResponse,
    list(v1::ListRequest) -> v1::ListResponse,
    check_token(v1::CheckTokenRequest) -> v1::CheckTokenResponse,
    get_session(v1::GetSessionRequest) -> v1::GetSessionResponse,
    list_sessions(v1::ListSessionsRequest) -> v1::ListSessionsResponse,
}

impl FakeNode {
    fn serve(&self, mut frames: Streaming<v1::ConnectRequest>) -> ReceiverStream<Result<v1::ConnectResponse, Status>> {
        let (replies, answers) = mpsc::channel(1_000);
        let (node, muted, tell, ledger) = (self.node, self.muted.clone(), self.tell.clone(), self.ledger.clone());
        tokio::spawn(async move {
            while let Ok(Some(frame)) = frames.message().await {
                for v1::Operation { id, operation, .. } in frame.operations {
                    let Some(operation) = operation else { continue };
                    let asked = Asked { node, operation, id, replies: replies.clone(), ledger: ledger.clone() };
                    if muted.load(Ordering::Relaxed) {
                        continue;
                    }
                    if let Some(asked) = asked.answer_by_itself().await {
                        let _ = tell.send(asked);
                    }
                }
            }
        });
        ReceiverStream::new(answers)
    }
}

/// Time that stands still until the test moves it.
#[derive(Default)]
pub(crate) struct Hand(AtomicU64);

impl Hand {
    /// A client's clock, and the hand that moves it.
    pub(crate) fn clock() -> (Clock, Arc<Self>) {
        let hand = Arc::new(Self::default());
        (Clock::new(Arc::new(OnHand(hand.clone()))), hand)
    }

    pub(crate) fn advance(&self, span: Duration) {
        self.0.fetch_add(span.as_millis().try_into().unwrap(), Ordering::Relaxed);
    }
}

struct OnHand(Arc<Hand>);

impl TimeSource for OnHand {
    fn boottime(&self) -> Duration {
        Duration::from_millis(self.0.0.load(Ordering::Relaxed))
    }
}
