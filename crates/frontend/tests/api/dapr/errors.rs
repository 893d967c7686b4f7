//! Every row of Dapr's table of errors, over both transports.

use std::time::Duration;

use leasehold_frontend::{AppIdFrom, DaprOptions, DaprStore, FrontendOptions};
use tonic::Code;

use super::app::{App, STORE, both, exchange, options, post, with};
use crate::server::Server;

/// What a call is made with, and what its message must have.
struct Bad {
    store: &'static str,
    resource: String,
    owner: String,
    seconds: i32,
    told: &'static [&'static str],
}

fn bad(change: impl FnOnce(&mut Bad)) -> Bad {
    let mut bad = Bad { store: STORE, resource: "r".into(), owner: "o".into(), seconds: 60, told: &[] };
    change(&mut bad);
    bad
}

async fn tried(app: &App, bad: &Bad, grpc: Code, http: u16, code: &str) {
    let failed = app.try_lock_in(bad.store, &bad.resource, &bad.owner, bad.seconds).await.unwrap_err();
    told(&failed.expect(grpc, http, code), bad);
}

async fn unlocked(app: &App, bad: &Bad, grpc: Code, http: u16, code: &str) {
    let failed = app.unlock_in(bad.store, &bad.resource, &bad.owner).await.unwrap_err();
    told(&failed.expect(grpc, http, code), bad);
}

fn told(message: &str, bad: &Bad) {
    for part in bad.told {
        assert!(message.contains(part), "{part:?} is missing in {message:?}");
    }
}

#[tokio::test]
async fn rows_1_and_3_to_5_are_the_callers_mistakes() {
    let server = Server::start_with(options()).await;
    for app in both(&server) {
        let malformed = (Code::InvalidArgument, 400, "ERR_MALFORMED_REQUEST");
        for seconds in [0, -1, i32::MIN] {
            // The first thing that is looked at, whatever else is wrong.
            let expiry = bad(|it| {
                (it.seconds, it.store, it.resource) = (seconds, "nowhere", String::new());
                it.told = &["expiry_in_seconds"];
            });
            let (grpc, http, code) = malformed;
            tried(&app, &expiry, grpc, http, code).await;
        }
        let (grpc, http, code) = malformed;
        let resource = bad(|it| {
            (it.resource, it.owner, it.store) = (String::new(), String::new(), "nowhere");
            it.told = &["resource_id", "nowhere"];
        });
        tried(&app, &resource, grpc, http, code).await;
        unlocked(&app, &resource, grpc, http, code).await;
        let owner = bad(|it| {
            (it.owner, it.store) = (String::new(), "nowhere");
            it.told = &["lock_owner", "nowhere"];
        });
        tried(&app, &owner, grpc, http, code).await;
        unlocked(&app, &owner, grpc, http, code).await;
        let store = bad(|it| (it.store, it.resource, it.told) = ("nowhere", "a||b".into(), &["nowhere"]));
        tried(&app, &store, Code::InvalidArgument, 400, "ERR_LOCK_STORE_NOT_FOUND").await;
        unlocked(&app, &store, Code::InvalidArgument, 400, "ERR_LOCK_STORE_NOT_FOUND").await;
    }
}

#[tokio::test]
async fn row_2_is_a_node_without_store() {
    let server = Server::start().await;
    for app in both(&server) {
        let nothing = bad(|it| (it.resource, it.owner) = (String::new(), String::new()));
        tried(&app, &nothing, Code::FailedPrecondition, 500, "ERR_LOCK_STORE_NOT_CONFIGURED").await;
        unlocked(&app, &nothing, Code::FailedPrecondition, 500, "ERR_LOCK_STORE_NOT_CONFIGURED").await;
        let expiry = bad(|it| it.seconds = 0);
        tried(&app, &expiry, Code::InvalidArgument, 400, "ERR_MALFORMED_REQUEST").await;
    }
}

#[tokio::test]
async fn row_0_is_a_body_that_is_no_request() {
    let server = Server::start_with(options()).await;
    let long = format!(r#"{{"resourceId":"{}"}}"#, "x".repeat(70_000));
    let wrong_type = r#"{"resourceId":"r","lockOwner":"o","expiryInSeconds":"soon"}"#;
    for (body, told) in [("{", "EOF"), ("[]", "object"), (wrong_type, "32 bits"), (&long, "65536 bytes")] {
        for call in ["lock", "unlock"] {
            if call == "unlock" && body == wrong_type {
                continue;
            }
            let answer = exchange(server.http, &post(&format!("/v1.0-alpha1/{call}/lockstore"), &[], body)).await;
            let failed = super::app::Failed::Http(answer.status, answer.body);
            let message = failed.expect(Code::InvalidArgument, 400, "ERR_MALFORMED_REQUEST");
            assert!(message.contains(told), "{message}");
        }
    }
    // No body is a message of defaults.
    let answer = exchange(server.http, &post("/v1.0-alpha1/lock/lockstore", &[], "")).await;
    let failed = super::app::Failed::Http(answer.status, answer.body);
    assert!(failed.expect(Code::InvalidArgument, 400, "ERR_MALFORMED_REQUEST").contains("expiry_in_seconds"));
}

#[tokio::test]
async fn row_6_names_the_field_and_its_limit() {
    let server = Server::start_with(options()).await;
    let name = ["resource_id", "512"].as_slice();
    let bads = [
        bad(|it| (it.resource, it.told) = ("a||b".into(), &["resource_id", "||"])),
        bad(|it| (it.resource, it.told) = ("x".repeat(600), name)),
        bad(|it| (it.resource, it.told) = ("a\nb".into(), &["resource_id", "control"])),
        bad(|it| (it.owner, it.told) = ("x".repeat(300), &["lock_owner", "256"])),
    ];
    for app in both(&server) {
        for bad in &bads {
            tried(&app, bad, Code::Internal, 500, "ERR_TRY_LOCK").await;
            unlocked(&app, bad, Code::Internal, 500, "ERR_UNLOCK").await;
        }
        for seconds in [86_401, i32::MAX] {
            let expiry = bad(|it| (it.seconds, it.told) = (seconds, &["expiry_in_seconds", "86400000"]));
            tried(&app, &expiry, Code::Internal, 500, "ERR_TRY_LOCK").await;
        }
    }
}

#[tokio::test]
async fn row_6_is_a_caller_whose_app_is_not_known() {
    let store = DaprStore { app_id: None, ..DaprStore::open_to_all(STORE) };
    let server = Server::start_with(with(DaprOptions { stores: vec![store], ..DaprOptions::default() })).await;
    for app in both(&server) {
        let nobody = bad(|it| it.told = &["app-id", "header"]);
        tried(&app, &nobody, Code::Internal, 500, "ERR_TRY_LOCK").await;
        unlocked(&app, &nobody, Code::Internal, 500, "ERR_UNLOCK").await;
        for app_id in ["a|b".to_owned(), "x".repeat(200)] {
            let odd = bad(|it| it.told = &["app-id of the header"]);
            tried(&app.saying("dapr-app-id", &app_id), &odd, Code::Internal, 500, "ERR_TRY_LOCK").await;
        }
        assert_eq!(app.saying("dapr-app-id", "orders").unlock("r", "o").await, 1);
    }
    assert_eq!(AppIdFrom::default(), AppIdFrom::Header);
}

#[tokio::test]
async fn row_6_is_a_node_without_quorum_within_a_bound() {
    let options = FrontendOptions { call_default: Duration::from_millis(300), ..options() };
    let server = Server::start_without_quorum(options).await;
    for app in both(&server) {
        let bad = bad(|it| it.told = &["no leader"]);
        tried(&app, &bad, Code::Internal, 500, "ERR_TRY_LOCK").await;
        unlocked(&app, &bad, Code::Internal, 500, "ERR_UNLOCK").await;
    }
}
