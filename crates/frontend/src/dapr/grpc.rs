//! `dapr.proto.runtime.v1.Dapr` over gRPC.

use std::sync::Arc;

use leasehold_proto::dapr;
use leasehold_proto::dapr::dapr_server::Dapr;
use leasehold_proto::dapr::unlock_response::Status as Unlock;
use tonic::{Request, Response, Status};

use super::Locks;
use super::caller::{APP_ID_HEADER, Caller, TOKEN_HEADER, UNAUTHENTICATED};
use super::counted::Counted;
use super::error::DaprError;
use crate::calls::{CallTime, Unlocked};
use crate::metrics::Door;

/// The service on one port.
pub(crate) struct Service {
    locks: Arc<Locks>,
    listener_app: Option<Arc<str>>,
}

impl Service {
    /// Callers of a port of its own may count as its application.
    pub(crate) fn new(locks: Arc<Locks>, listener_app: Option<Arc<str>>) -> Self {
        Self { locks, listener_app }
    }

    fn begin<T>(&self, request: &Request<T>, call: &'static str) -> Result<(Counted, CallTime), Status> {
        let metadata = request.metadata();
        let bytes = |name| metadata.get(name).map(|value| value.as_encoded_bytes());
        let allowed = self.locks.authenticate(bytes(TOKEN_HEADER));
        let caller = Caller {
            door: Door::DaprGrpc,
            peer: request.remote_addr(),
            token_app: allowed.clone().flatten(),
            listener_app: self.listener_app.clone(),
            header_app: bytes(APP_ID_HEADER).map(<[u8]>::to_vec),
        };
        let counted = Counted::begin(caller, call);
        if allowed.is_none() {
            counted.end("unauthenticated");
            return Err(Status::unauthenticated(UNAUTHENTICATED));
        }
        Ok((counted, CallTime::of_unary(metadata, self.locks.calls().options())))
    }
}

fn fail<T>(counted: Counted, error: &DaprError) -> Result<Response<T>, Status> {
    counted.fail(error);
    Err(error.status())
}

/// What an unlock came to, in Dapr's numbers.
pub(super) fn unlock_status(unlocked: Unlocked) -> Unlock {
    match unlocked {
        Unlocked::Released => Unlock::Success,
        Unlocked::NotHeld => Unlock::LockDoesNotExist,
        Unlocked::HeldByOther => Unlock::LockBelongsToOthers,
    }
}

/// The same in a word that is counted.
pub(super) fn unlock_result(unlocked: Unlocked) -> &'static str {
    match unlocked {
        Unlocked::Released => "ok",
        Unlocked::NotHeld => "not_held",
        Unlocked::HeldByOther => "held_by_other",
    }
}

/// What a try came to, in a word that is counted.
pub(super) fn try_result(success: bool) -> &'static str {
    if success { "ok" } else { "held" }
}

#[tonic::async_trait]
impl Dapr for Service {
    async fn try_lock_alpha1(
        &self,
        request: Request<dapr::TryLockRequest>,
    ) -> Result<Response<dapr::TryLockResponse>, Status> {
        let (counted, time) = self.begin(&request, "try_lock")?;
        match self.locks.try_lock(counted.caller(), request.into_inner(), time).await {
            Ok(answer) => {
                counted.end(try_result(answer.success()));
                Ok(Response::new(dapr::TryLockResponse { success: answer.hand_out() }))
            }
            Err(error) => fail(counted, &error),
        }
    }

    async fn unlock_alpha1(
        &self,
        request: Request<dapr::UnlockRequest>,
    ) -> Result<Response<dapr::UnlockResponse>, Status> {
        let (counted, time) = self.begin(&request, "unlock")?;
        match self.locks.unlock(counted.caller(), request.into_inner(), time).await {
            Ok(unlocked) => {
                counted.end(unlock_result(unlocked));
                Ok(Response::new(dapr::UnlockResponse { status: unlock_status(unlocked).into() }))
            }
            Err(error) => fail(counted, &error),
        }
    }

    async fn get_metadata(
        &self,
        request: Request<dapr::GetMetadataRequest>,
    ) -> Result<Response<dapr::GetMetadataResponse>, Status> {
        let (counted, _) = self.begin(&request, "get_metadata")?;
        let metadata = self.locks.metadata(counted.caller());
        counted.end("ok");
        Ok(Response::new(metadata))
    }
}
