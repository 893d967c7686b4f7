//! Failpoints over HTTP, in builds that have them: `GET /failpoints` tells all, `PUT /failpoints/NAME` with an action sets one, `DELETE
//! /failpoints` sets all off.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::{get, put};
use axum::{Json, Router};
use leasehold_failpoints::registry::{self, SetError};
use serde::Serialize;

#[derive(Debug, Serialize)]
struct Failpoint {
    name: &'static str,
    action: String,
    hits: u64,
    fired: u64,
    paused: u64,
}

pub(crate) fn routes() -> Router {
    Router::new().route("/failpoints", get(list).delete(clear)).route("/failpoints/{name}", put(set))
}

async fn list() -> Json<Vec<Failpoint>> {
    let failpoint = |status: registry::Status| Failpoint {
        name: status.name,
        action: status.action,
        hits: status.hits,
        fired: status.fired,
        paused: status.paused,
    };
    Json(registry::list().into_iter().map(failpoint).collect())
}

async fn set(Path(name): Path<String>, action: String) -> (StatusCode, String) {
    match registry::set(&name, &action) {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(error @ SetError::Unknown(_)) => (StatusCode::NOT_FOUND, format!("{error}\n")),
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")),
    }
}

async fn clear() -> &'static str {
    registry::clear();
    "ok\n"
}
