//! Why a call failed, in Dapr's words: each failure has a code of JSON, a status of HTTP and one of gRPC.

use axum::http::StatusCode;
use tonic::{Code, Status};

use super::options::{AppIdFrom, SEPARATOR};
use crate::{CallError, status};

/// Characters of what a caller sent that a message repeats.
const SHOWN_MAX: usize = 64;

/// A call came to no ordinary answer. In the order in which Dapr looks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DaprError {
    /// HTTP only.
    #[error("the body of the request is malformed: {0}")]
    Malformed(String),
    #[error("expiry_in_seconds must be at least 1, for store {store}")]
    ExpiryNotPositive { store: String },
    #[error("no lock store is configured on this node (dapr.stores of its configuration)")]
    NotConfigured,
    #[error("resource_id is empty, for store {store}")]
    ResourceEmpty { store: String },
    #[error("lock_owner is empty, for store {store}")]
    OwnerEmpty { store: String },
    #[error("there is no lock store {store}")]
    StoreNotFound { store: String },
    #[error("TryLock failed: {}", .0.told())]
    TryLock(Failure),
    #[error("Unlock failed: {}", .0.told())]
    Unlock(Failure),
}

/// What is behind a failed `TryLock` or `Unlock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The resource has what stands between the parts of a lock's name.
    Separator,
    /// The store needs an app-id, and none came.
    NoAppId { from: AppIdFrom },
    /// One that cannot be.
    BadAppId { from: AppIdFrom, problem: String },
    /// A field is beyond a limit.
    Field { field: &'static str, problem: String },
    /// The lock service failed.
    Call(CallError),
}

/// A caller's text for a message.
pub(super) fn shown(text: &str) -> String {
    if text.chars().nth(SHOWN_MAX).is_none() {
        return format!("{text:?}");
    }
    format!("{:?}…", text.chars().take(SHOWN_MAX).collect::<String>())
}

impl Failure {
    fn told(&self) -> String {
        match self {
            Self::Separator => {
                format!("resource_id must not contain {SEPARATOR}, which stands between the parts of a lock's name")
            }
            Self::NoAppId { from } => format!(
                "the store keeps applications apart, and this call has no app-id: it is to come from the {from}, and the store \
                 has none for callers without (app-id)"
            ),
            Self::BadAppId { from, problem } => format!("the app-id of the {from} {problem}"),
            Self::Field { field, problem } => format!("{field} {problem}"),
            Self::Call(CallError::Invalid { field, problem }) => format!("{} {problem}", daprs_name(field)),
            Self::Call(error) => status::message(error),
        }
    }
}

/// What Dapr calls a field of an `AcquireRequest`.
fn daprs_name(field: &str) -> &str {
    match field {
        "locks[0].name" | "name" => "resource_id (with what the store puts before it)",
        "owner" => "lock_owner",
        "ttl_ms" => "expiry_in_seconds (in milliseconds)",
        other => other,
    }
}

impl DaprError {
    /// `errorCode` of the JSON.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_)
            | Self::ExpiryNotPositive { .. }
            | Self::ResourceEmpty { .. }
            | Self::OwnerEmpty { .. } => "ERR_MALFORMED_REQUEST",
            Self::NotConfigured => "ERR_LOCK_STORE_NOT_CONFIGURED",
            Self::StoreNotFound { .. } => "ERR_LOCK_STORE_NOT_FOUND",
            Self::TryLock(_) => "ERR_TRY_LOCK",
            Self::Unlock(_) => "ERR_UNLOCK",
        }
    }

    pub(crate) fn http(&self) -> StatusCode {
        match self.grpc() {
            Code::InvalidArgument => StatusCode::BAD_REQUEST,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn grpc(&self) -> Code {
        match self {
            Self::Malformed(_)
            | Self::ExpiryNotPositive { .. }
            | Self::ResourceEmpty { .. }
            | Self::OwnerEmpty { .. }
            | Self::StoreNotFound { .. } => Code::InvalidArgument,
            Self::NotConfigured => Code::FailedPrecondition,
            Self::TryLock(_) | Self::Unlock(_) => Code::Internal,
        }
    }

    pub(crate) fn status(&self) -> Status {
        Status::new(self.grpc(), self.to_string())
    }

    /// As it is counted.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::TryLock(Failure::Call(error)) | Self::Unlock(Failure::Call(error)) => status::reason(error),
            Self::TryLock(_) | Self::Unlock(_) => "INVALID_FIELD",
            other => other.code(),
        }
    }
}
