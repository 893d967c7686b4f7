//! What load balancers and people ask over plain HTTP.

use std::time::Duration;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use leasehold_consensus::{Node, Readiness};
use serde::Serialize;
use tower_http::timeout::TimeoutLayer;

use crate::gate::Gate;
use crate::metrics;

/// Bodies are not read at all by what there is.
const BODY_BYTES_MAX: usize = 64 * 1024;
const REQUEST_MAX: Duration = Duration::from_secs(10);
/// Prometheus' text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Debug, Serialize)]
struct Version {
    name: &'static str,
    version: &'static str,
    node_id: u64,
}

#[derive(Clone)]
struct Shared {
    gate: Gate,
    node: Node,
}

/// `/livez`, `/readyz`, `/version`, `/metrics`.
pub(crate) fn router(gate: Gate, node: Node) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/version", get(version))
        .route("/metrics", get(tell_metrics))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, REQUEST_MAX))
        .with_state(Shared { gate, node })
}

async fn readyz(State(shared): State<Shared>) -> impl IntoResponse {
    match shared.gate.readiness() {
        Readiness::Ready => (StatusCode::OK, "ok\n".to_owned()),
        Readiness::NotReady(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
    }
}

async fn tell_metrics(State(shared): State<Shared>) -> impl IntoResponse {
    metrics::tell_node(&shared.node, shared.gate.readiness() == Readiness::Ready);
    ([(CONTENT_TYPE, METRICS_TYPE)], metrics::render())
}

async fn version(State(shared): State<Shared>) -> Json<Version> {
    Json(Version { name: "leasehold", version: env!("CARGO_PKG_VERSION"), node_id: shared.node.id() })
}
