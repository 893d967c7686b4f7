//! Nodes that do nothing by themselves: the test sees every operation and says what is answered.
#![allow(dead_code, clippy::unwrap_used, reason = "support of tests; every binary uses its own part")]

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use leasehold_client::ClientOptions;
use leasehold_proto::v1;
use leasehold_proto::v1::answer::Answer;
use leasehold_proto::v1::lock_service_server::{LockService, LockServiceServer};
use leasehold_proto::v1::operation::Operation;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
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
}

/// One operation that a node received.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) node: usize,
    pub(crate) operation: Operation,
    id: u64,
    replies: Replies,
}

impl FakeCluster {
    pub(crate) async fn start(nodes: usize) -> Self {
        let (tell, asked) = mpsc::unbounded_channel();
        let mut cluster = Self { endpoints: Vec::new(), muted: Vec::new(), asked };
        for node in 0..nodes {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            cluster.endpoints.push(listener.local_addr().unwrap().to_string());
            let muted = Arc::new(AtomicBool::new(false));
            cluster.muted.push(muted.clone());
            let service = LockServiceServer::new(FakeNode { node, muted, tell: tell.clone() });
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
        let message = format!("{reason} in words");
        let error = v1::Error { code: code.into(), message, reason: reason.to_owned(), ..Default::default() };
        self.answer(Answer::Error(error)).await;
    }

    pub(crate) async fn break_stream(self) {
        let _ = self.replies.send(Err(Status::unavailable("broken by the test"))).await;
    }

    pub(crate) async fn granted(self, token: u64, ttl_ms: u64, confirm: bool) {
        let grant = v1::Grant { name: "a".to_owned(), mode: v1::Mode::Exclusive.into(), token };
        let granted = v1::Granted { lease: format!("{token:x}"), grants: vec![grant], ttl_ms, confirm };
        self.acquired(v1::acquire_response::Result::Granted(granted)).await;
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
        self.answer(Answer::Release(v1::ReleaseResponse { released, reason: reason.into() })).await;
    }

    pub(crate) async fn cancelled(self) {
        self.answer(Answer::Cancel(v1::CancelAcquireResponse::default())).await;
    }
}

struct FakeNode {
    node: usize,
    muted: Arc<AtomicBool>,
    tell: mpsc::UnboundedSender<Asked>,
}

#[tonic::async_trait]
impl LockService for FakeNode {
    type ConnectStream = Pin<Box<ReceiverStream<Result<v1::ConnectResponse, Status>>>>;

    async fn connect(
        &self,
        request: Request<Streaming<v1::ConnectRequest>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let (replies, answers) = mpsc::channel(1_000);
        let mut frames = request.into_inner();
        let (node, muted, tell) = (self.node, self.muted.clone(), self.tell.clone());
        tokio::spawn(async move {
            while let Ok(Some(frame)) = frames.message().await {
                for v1::Operation { id, operation, .. } in frame.operations {
                    let Some(operation) = operation else { continue };
                    let asked = Asked { node, operation, id, replies: replies.clone() };
                    if muted.load(Ordering::Relaxed) {
                        continue;
                    }
                    if matches!(&asked.operation, Operation::Get(get) if get.stale) {
                        asked.answer(Answer::Get(v1::GetResponse::default())).await;
                    } else {
                        let _ = tell.send(asked);
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn acquire(&self, _: Request<v1::AcquireRequest>) -> Result<Response<v1::AcquireResponse>, Status> {
        Err(Status::unimplemented("the client uses Connect only"))
    }

    async fn cancel_acquire(
        &self,
        _: Request<v1::CancelAcquireRequest>,
    ) -> Result<Response<v1::CancelAcquireResponse>, Status> {
        Err(Status::unimplemented("the client uses Connect only"))
    }

    async fn release(&self, _: Request<v1::ReleaseRequest>) -> Result<Response<v1::ReleaseResponse>, Status> {
        Err(Status::unimplemented("the client uses Connect only"))
    }

    async fn renew(&self, _: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        Err(Status::unimplemented("the client uses Connect only"))
    }

    async fn close_lease(&self, _: Request<v1::CloseLeaseRequest>) -> Result<Response<v1::CloseLeaseResponse>, Status> {
        Err(Status::unimplemented("the client uses Connect only"))
    }

    async fn get(&self, _: Request<v1::GetRequest>) -> Result<Response<v1::GetResponse>, Status> {
        Err(Status::unimplemented("the client uses Connect only"))
    }

    async fn list(&self, _: Request<v1::ListRequest>) -> Result<Response<v1::ListResponse>, Status> {
        Err(Status::unimplemented("the client uses Connect only"))
    }
}
