//! Dapr's lock API over HTTP.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::stream;
use leasehold_consensus::Readiness;
use serde::Serialize;
use tower_http::timeout::TimeoutLayer;

use super::caller::{APP_ID_HEADER, Caller, TOKEN_HEADER, UNAUTHENTICATED};
use super::counted::Counted;
use super::error::DaprError;
use super::grpc::{try_result, unlock_result, unlock_status};
use super::{Locks, body};
use crate::calls::CallTime;
use crate::gate::Gate;
use crate::metrics::Door;
use crate::net::Peer;

/// The body of a request.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// So much longer than a call may take does HTTP wait for it.
const CALL_GRACE: Duration = Duration::from_secs(5);

/// What `/v1.0/healthz` tells.
pub(crate) type Health = Gate;

/// Dapr's routes on one port.
#[derive(Clone)]
struct Port {
    locks: Arc<Locks>,
    health: Health,
    listener_app: Option<Arc<str>>,
}

#[derive(Debug, Serialize)]
struct Failed {
    #[serde(rename = "errorCode")]
    code: &'static str,
    message: String,
}

#[derive(Debug, Serialize)]
struct TryLocked {
    success: bool,
}

#[derive(Debug, Serialize)]
struct Unlocked {
    status: i32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    id: String,
    runtime_version: String,
    components: Vec<Component>,
    extended: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct Component {
    name: String,
    r#type: String,
    version: String,
    capabilities: Vec<String>,
}

/// The routes, for callers who may count as the application of a port of its own.
pub(crate) fn routes(locks: Arc<Locks>, health: Health, listener_app: Option<Arc<str>>) -> Router {
    let request_max = locks.calls().options().call_default + CALL_GRACE;
    Router::new()
        .route("/v1.0-alpha1/lock/{store}", post(lock))
        .route("/v1.0-alpha1/unlock/{store}", post(unlock))
        .route("/v1.0/metadata", get(metadata))
        .route("/v1.0/healthz", get(healthz))
        .route("/v1.0/healthz/outbound", get(outbound))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, request_max))
        .with_state(Port { locks, health, listener_app })
}

impl Port {
    fn begin(&self, peer: Peer, headers: &HeaderMap, call: &'static str) -> Result<Counted, Response> {
        let bytes = |name| headers.get(name).map(HeaderValue::as_bytes);
        let allowed = self.locks.authenticate(bytes(TOKEN_HEADER));
        let caller = Caller {
            door: Door::DaprHttp,
            peer: Some(peer.0),
            token_app: allowed.clone().flatten(),
            listener_app: self.listener_app.clone(),
            header_app: bytes(APP_ID_HEADER).map(<[u8]>::to_vec),
        };
        let counted = Counted::begin(caller, call);
        if allowed.is_none() {
            counted.end("unauthenticated");
            return Err((StatusCode::UNAUTHORIZED, UNAUTHENTICATED).into_response());
        }
        Ok(counted)
    }

    fn time(&self) -> CallTime {
        CallTime::begin(None, self.locks.calls().options())
    }
}

async fn lock(
    State(port): State<Port>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    store: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let counted = match port.begin(peer, &headers, "try_lock") {
        Ok(counted) => counted,
        Err(refused) => return refused,
    };
    let tried = async {
        let (store, body) = sent(store, body)?;
        port.locks.try_lock(counted.caller(), body::try_lock(store, &body)?, port.time()).await
    };
    match tried.await {
        Ok(answer) => {
            counted.end(try_result(answer.success()));
            let success = answer.success();
            let handed_out = move || {
                answer.hand_out();
            };
            told_once(&TryLocked { success }, handed_out)
        }
        Err(error) => fail(counted, &error),
    }
}

async fn unlock(
    State(port): State<Port>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    store: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let counted = match port.begin(peer, &headers, "unlock") {
        Ok(counted) => counted,
        Err(refused) => return refused,
    };
    let unlocked = async {
        let (store, body) = sent(store, body)?;
        port.locks.unlock(counted.caller(), body::unlock(store, &body)?, port.time()).await
    };
    match unlocked.await {
        Ok(unlocked) => {
            counted.end(unlock_result(unlocked));
            Json(Unlocked { status: unlock_status(unlocked).into() }).into_response()
        }
        Err(error) => fail(counted, &error),
    }
}

async fn metadata(State(port): State<Port>, ConnectInfo(peer): ConnectInfo<Peer>, headers: HeaderMap) -> Response {
    let counted = match port.begin(peer, &headers, "get_metadata") {
        Ok(counted) => counted,
        Err(refused) => return refused,
    };
    let told = port.locks.metadata(counted.caller());
    counted.end("ok");
    let component = |one: leasehold_proto::dapr::RegisteredComponents| Component {
        name: one.name,
        r#type: one.r#type,
        version: one.version,
        capabilities: one.capabilities,
    };
    Json(Metadata {
        id: told.id,
        runtime_version: told.runtime_version,
        components: told.registered_components.into_iter().map(component).collect(),
        extended: told.extended_metadata.into_iter().collect(),
    })
    .into_response()
}

async fn healthz(State(port): State<Port>) -> Response {
    health(&port.health, "ERR_HEALTH_NOT_READY")
}

async fn outbound(State(port): State<Port>) -> Response {
    health(&port.health, "ERR_OUTBOUND_HEALTH_NOT_READY")
}

fn health(health: &Health, code: &'static str) -> Response {
    match health.readiness() {
        Readiness::Ready => StatusCode::NO_CONTENT.into_response(),
        Readiness::NotReady(why) => {
            let failed = Failed { code, message: format!("this node is not ready: {why}") };
            (StatusCode::INTERNAL_SERVER_ERROR, Json(failed)).into_response()
        }
    }
}

/// What came over the wire, or why it is no request.
fn sent(
    store: Result<Path<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<(String, Bytes), DaprError> {
    let Path(store) = store.map_err(|rejection| DaprError::Malformed(rejection.body_text()))?;
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            DaprError::Malformed(format!("is longer than the {BODY_BYTES_MAX} bytes that are allowed"))
        }
        _ => DaprError::Malformed(rejection.body_text()),
    })?;
    Ok((store, body))
}

fn fail(counted: Counted, error: &DaprError) -> Response {
    counted.fail(error);
    let failed = Failed { code: error.code(), message: error.to_string() };
    (error.http(), Json(failed)).into_response()
}

/// An answer that is handed out when the connection takes it. If it never does, `handed_out` is dropped uncalled.
fn told_once(answer: &TryLocked, handed_out: impl FnOnce() + Send + 'static) -> Response {
    // Two words and a bool: this cannot fail.
    let json = Bytes::from(serde_json::to_vec(answer).unwrap_or_default());
    let headers =
        [(CONTENT_TYPE, HeaderValue::from_static("application/json")), (CONTENT_LENGTH, HeaderValue::from(json.len()))];
    let body = Body::from_stream(stream::once(async move {
        handed_out();
        Ok::<_, Infallible>(json)
    }));
    (headers, body).into_response()
}
