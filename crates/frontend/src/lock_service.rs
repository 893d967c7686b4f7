//! The unary calls and the stream of `leasehold.v1.LockService`: all the same handler.

use std::sync::Arc;

use leasehold_proto::v1;
use leasehold_proto::v1::lock_service_server::LockService;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::calls::{CallTime, Calls};
use crate::{CallError, connect, status};

/// The lock service of one node.
pub(crate) struct Locks {
    calls: Arc<Calls>,
    stop: CancellationToken,
}

impl Locks {
    /// Streams end with `stop`.
    pub(crate) fn new(calls: Arc<Calls>, stop: CancellationToken) -> Self {
        Self { calls, stop }
    }

    /// The caller's time, and what it sent.
    fn open<T>(&self, request: Request<T>) -> (CallTime, T) {
        (CallTime::of_unary(request.metadata(), self.calls.options()), request.into_inner())
    }
}

fn close<T>(result: Result<T, CallError>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(|error| status::status(&error))
}

#[tonic::async_trait]
impl LockService for Locks {
    type ConnectStream = ReceiverStream<Result<v1::ConnectResponse, Status>>;

    async fn connect(
        &self,
        request: Request<Streaming<v1::ConnectRequest>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        Ok(Response::new(connect::serve(Arc::clone(&self.calls), request.into_inner(), self.stop.clone())))
    }

    async fn acquire(&self, request: Request<v1::AcquireRequest>) -> Result<Response<v1::AcquireResponse>, Status> {
        let (time, message) = self.open(request);
        close(self.calls.acquire(message, time).await.map(|acquired| acquired.hand_out()))
    }

    async fn cancel_acquire(
        &self,
        request: Request<v1::CancelAcquireRequest>,
    ) -> Result<Response<v1::CancelAcquireResponse>, Status> {
        let (time, message) = self.open(request);
        close(self.calls.cancel_acquire(message, time).await)
    }

    async fn release(&self, request: Request<v1::ReleaseRequest>) -> Result<Response<v1::ReleaseResponse>, Status> {
        let (time, message) = self.open(request);
        close(self.calls.release(message, time).await)
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        let (time, message) = self.open(request);
        close(self.calls.renew(message, time).await)
    }

    async fn close_lease(
        &self,
        request: Request<v1::CloseLeaseRequest>,
    ) -> Result<Response<v1::CloseLeaseResponse>, Status> {
        let (time, message) = self.open(request);
        close(self.calls.close_lease(message, time).await)
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::GetResponse>, Status> {
        let (time, message) = self.open(request);
        close(self.calls.get(message, time).await)
    }

    async fn list(&self, request: Request<v1::ListRequest>) -> Result<Response<v1::ListResponse>, Status> {
        let (time, message) = self.open(request);
        close(self.calls.list(message, time).await)
    }
}
