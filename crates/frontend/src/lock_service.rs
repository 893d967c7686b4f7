//! The unary calls and the streams of `leasehold.v1.LockService`: all the same handler.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use leasehold_proto::v1;
use leasehold_proto::v1::lock_service_server::LockService;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::calls::{self, CallTime, Calls};
use crate::metrics::{Call, Door};
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

    /// Begins a call: its count, the caller's time, and what it sent.
    fn open<T>(&self, call: &'static str, request: Request<T>) -> (Call, CallTime, T) {
        let time = CallTime::of_unary(request.metadata(), self.calls.options());
        (Call::begin(Door::Grpc, call), time, request.into_inner())
    }
}

fn close<T>(call: Call, result: Result<T, CallError>) -> Result<Response<T>, Status> {
    call.finish(&result);
    result.map(Response::new).map_err(|error| status::status(&error))
}

#[tonic::async_trait]
impl LockService for Locks {
    type ConnectStream = ReceiverStream<Result<v1::ConnectResponse, Status>>;
    type WatchStream = BoxStream<'static, Result<v1::WatchResponse, Status>>;

    async fn connect(
        &self,
        request: Request<Streaming<v1::ConnectRequest>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        Ok(Response::new(connect::serve(Arc::clone(&self.calls), request.into_inner(), self.stop.clone())))
    }

    async fn acquire(&self, request: Request<v1::AcquireRequest>) -> Result<Response<v1::AcquireResponse>, Status> {
        let name = calls::acquire_name(request.get_ref());
        let (call, time, message) = self.open(name, request);
        match self.calls.acquire(message, time).await {
            Ok(acquired) => {
                call.end(acquired.result());
                Ok(Response::new(acquired.hand_out()))
            }
            Err(error) => close(call, Err(error)),
        }
    }

    async fn cancel_acquire(
        &self,
        request: Request<v1::CancelAcquireRequest>,
    ) -> Result<Response<v1::CancelAcquireResponse>, Status> {
        let (call, time, message) = self.open("cancel_acquire", request);
        close(call, self.calls.cancel_acquire(message, time).await)
    }

    async fn release(&self, request: Request<v1::ReleaseRequest>) -> Result<Response<v1::ReleaseResponse>, Status> {
        let (call, time, message) = self.open("release", request);
        close(call, self.calls.release(message, time).await)
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        let (call, time, message) = self.open("renew", request);
        close(call, self.calls.renew(message, time).await)
    }

    async fn close_lease(
        &self,
        request: Request<v1::CloseLeaseRequest>,
    ) -> Result<Response<v1::CloseLeaseResponse>, Status> {
        let (call, time, message) = self.open("close_lease", request);
        close(call, self.calls.close_lease(message, time).await)
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::GetResponse>, Status> {
        let (call, time, message) = self.open("get", request);
        close(call, self.calls.get(message, time).await)
    }

    async fn list(&self, request: Request<v1::ListRequest>) -> Result<Response<v1::ListResponse>, Status> {
        let (call, time, message) = self.open("list", request);
        close(call, self.calls.list(message, time).await)
    }

    async fn open_session(
        &self,
        request: Request<v1::OpenSessionRequest>,
    ) -> Result<Response<v1::OpenSessionResponse>, Status> {
        let (call, time, message) = self.open("open_session", request);
        close(call, self.calls.open_session(message, time).await)
    }

    async fn set_value(&self, request: Request<v1::SetValueRequest>) -> Result<Response<v1::SetValueResponse>, Status> {
        let (call, time, message) = self.open("set_value", request);
        close(call, self.calls.set_value(message, time).await)
    }

    async fn force_release(
        &self,
        request: Request<v1::ForceReleaseRequest>,
    ) -> Result<Response<v1::ForceReleaseResponse>, Status> {
        let (call, time, message) = self.open("force_release", request);
        close(call, self.calls.force_release(message, time).await)
    }

    async fn check_token(
        &self,
        request: Request<v1::CheckTokenRequest>,
    ) -> Result<Response<v1::CheckTokenResponse>, Status> {
        let (call, time, message) = self.open("check_token", request);
        close(call, self.calls.check_token(message, time).await)
    }

    async fn get_session(
        &self,
        request: Request<v1::GetSessionRequest>,
    ) -> Result<Response<v1::GetSessionResponse>, Status> {
        let (call, time, message) = self.open("get_session", request);
        close(call, self.calls.get_session(message, time).await)
    }

    async fn list_sessions(
        &self,
        request: Request<v1::ListSessionsRequest>,
    ) -> Result<Response<v1::ListSessionsResponse>, Status> {
        let (call, time, message) = self.open("list_sessions", request);
        close(call, self.calls.list_sessions(message, time).await)
    }

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let (call, time, message) = self.open("watch", request);
        let watcher = close(call, self.calls.watch(message, time).await)?.into_inner();
        // Read as fast as the client does; the first failure ends it.
        let messages = futures_util::stream::unfold(Some(watcher), |watcher| async {
            let mut watcher = watcher?;
            Some(match watcher.next().await {
                Ok(message) => (Ok(message), Some(watcher)),
                Err(error) => (Err(status::status(&error)), None),
            })
        });
        Ok(Response::new(messages.boxed()))
    }
}
