//! What Dapr asks of every lock component, and what its SDKs ask of a sidecar.

use leasehold_frontend::FrontendOptions;
use leasehold_proto::dapr;
use leasehold_proto::dapr::dapr_client::DaprClient;
use leasehold_proto::dapr::unlock_response::Status;

use super::app::{App, both, exchange, get, healthy, options, post};
use crate::server::{Server, acquire, soon};

const SUCCESS: i32 = Status::Success as i32;
const DOES_NOT_EXIST: i32 = Status::LockDoesNotExist as i32;
const BELONGS_TO_OTHERS: i32 = Status::LockBelongsToOthers as i32;

/// Tries until it gets the lock.
async fn until_free(app: &App, resource: &str, owner: &str) {
    soon(async { while !app.try_lock(resource, owner, 60).await {} }).await;
}

#[tokio::test]
async fn the_conformance_cases_hold_over_both() {
    let server = Server::start_with(options()).await;
    for (number, app) in both(&server).into_iter().enumerate() {
        let (k1, k2) = (format!("k1-{number}"), format!("k2-{number}"));
        assert!(app.try_lock(&k1, "owner-1", 15).await);
        assert!(app.try_lock(&k2, "owner-2", 3).await, "another name is another lock");
        assert!(!app.try_lock(&k1, "owner-1", 15).await, "not even for its owner");
        assert!(!app.try_lock(&k1, "owner-2", 15).await);
        assert_eq!(app.unlock("unknown", "owner-1").await, DOES_NOT_EXIST);
        assert_eq!(app.unlock(&k1, "owner-2").await, BELONGS_TO_OTHERS);
        assert_eq!(app.unlock(&k1, "owner-1").await, SUCCESS);
        assert_eq!(app.unlock(&k1, "owner-1").await, DOES_NOT_EXIST);
        assert!(app.try_lock(&k1, "owner-2", 15).await, "a released name is anybody's");
        until_free(&app, &k2, "owner-1").await;
        assert_eq!(app.unlock(&k2, "owner-2").await, BELONGS_TO_OTHERS, "it expired, and is another's now");
    }
}

#[tokio::test]
async fn both_transports_and_the_native_api_mean_the_same_lock() {
    let server = Server::start_with(options()).await;
    let [grpc, http] = both(&server);
    assert!(grpc.try_lock("r", "a", 60).await);
    let lock = server.get("lock||default||r").await;
    let holder = &lock.holders[0];
    assert_eq!(holder.owner, "a");
    assert!(holder.left_ms <= 60_000 && holder.left_ms > 50_000, "{holder:?}");
    let told = &holder.metadata;
    assert!(told.starts_with("dapr-grpc store=lockstore app=default 127.0.0.1:"), "{told}");
    assert!(!http.try_lock("r", "b", 60).await);
    assert_eq!(http.unlock("r", "a").await, SUCCESS);
    assert!(http.try_lock("r", "b", 60).await);
    let told = server.get("lock||default||r").await.holders[0].metadata.clone();
    assert!(told.starts_with("dapr-http store=lockstore app=default 127.0.0.1:"), "{told}");

    let taken = server.take(acquire("lock||default||n", None)).await;
    assert!(!grpc.try_lock("n", "a", 60).await, "held through the native API");
    assert_eq!(grpc.unlock("n", "tester").await, SUCCESS, "the owner is the authority here");
    assert!(server.get("lock||default||n").await.holders.is_empty(), "token {} was released", taken.token);
}

#[tokio::test]
async fn bodies_come_in_every_form_that_protobuf_allows() {
    let server = Server::start_with(options()).await;
    let bodies = [
        r#"{"resourceId":"a","lockOwner":"o","expiryInSeconds":60}"#,
        r#"{"resource_id":"b","lock_owner":"o","expiry_in_seconds":"60"}"#,
        r#"{"resourceId":"c","lockOwner":"o","expiryInSeconds":6e1,"more":{"x":[1]},"storeName":null}"#,
    ];
    for body in bodies {
        let answer = exchange(server.http, &post("/v1.0-alpha1/lock/lockstore", &[], body)).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"success":true}"#), "{body}");
    }
    let unlock = post("/v1.0-alpha1/unlock/lock%73tore", &[], r#"{"resourceId":"a","lockOwner":"o"}"#);
    assert_eq!(exchange(server.http, &unlock).await.body, r#"{"status":0}"#);
}

#[tokio::test]
async fn what_sdks_ask_before_they_call_is_answered() {
    let server = Server::start_with(options()).await;
    healthy(server.http).await;
    let told = get(server.http, "/v1.0/metadata").await;
    let expected = format!(
        r#"{{"id":"default","runtimeVersion":"{}","components":[{{"name":"lockstore","type":"lock.leasehold","version":"v1","capabilities":[]}}],"extended":{{"leaseholdNodeId":"1"}}}}"#,
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!((told.status, told.body), (200, expected));
    let answer =
        DaprClient::new(server.channel()).get_metadata(dapr::GetMetadataRequest {}).await.unwrap().into_inner();
    assert_eq!((answer.id.as_str(), answer.runtime_version.as_str()), ("default", env!("CARGO_PKG_VERSION")));
    assert_eq!(answer.registered_components[0].name, "lockstore");
    assert_eq!(answer.extended_metadata["leaseholdNodeId"], "1");
}

#[tokio::test]
async fn a_node_that_is_not_ready_says_so_as_a_sidecar_would() {
    let server = Server::start_without_quorum(FrontendOptions::default()).await;
    for (path, code) in
        [("/v1.0/healthz", "ERR_HEALTH_NOT_READY"), ("/v1.0/healthz/outbound", "ERR_OUTBOUND_HEALTH_NOT_READY")]
    {
        let answer = get(server.http, path).await;
        let told: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((answer.status, told["errorCode"].as_str()), (500, Some(code)));
        assert!(told["message"].as_str().unwrap().contains("not ready"), "{told}");
    }
}
