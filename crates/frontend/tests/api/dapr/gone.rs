//! Callers that do not wait for their answer.

use leasehold_proto::dapr;
use leasehold_proto::dapr::dapr_client::DaprClient;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::app::{STORE, get, options, post};
use crate::server::{Server, soon};

/// Whether a call was given up, as the node counts it.
async fn is_given_up(server: &Server, door: &str) -> bool {
    let line = format!(r#"leasehold_calls_total{{door="{door}",call="try_lock",result="given_up"}}"#);
    get(server.http, "/metrics").await.body.contains(&line)
}

/// No leader: the call is held for some seconds. That it ends at once shows that its handler was dropped, and with it what
/// undoes an acquire.
#[tokio::test]
async fn a_client_of_http_that_goes_away_ends_its_call() {
    let server = Server::start_without_quorum(options()).await;
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    let body = r#"{"resourceId":"r","lockOwner":"o","expiryInSeconds":60}"#;
    stream.write_all(&post("/v1.0-alpha1/lock/lockstore", &[], body)).await.unwrap();
    stream.flush().await.unwrap();
    drop(stream);
    soon(async { while !is_given_up(&server, "dapr-http").await {} }).await;
}

#[tokio::test]
async fn a_client_of_grpc_that_goes_away_ends_its_call() {
    let server = Server::start_without_quorum(options()).await;
    let channel = server.channel();
    // One call is dropped before it has arrived, perhaps; some later one is not.
    let calls = async {
        loop {
            let message = dapr::TryLockRequest {
                store_name: STORE.into(),
                resource_id: "r".into(),
                lock_owner: "o".into(),
                expiry_in_seconds: 60,
            };
            let mut client = DaprClient::new(channel.clone());
            tokio::select! {
                answer = client.try_lock_alpha1(message) => panic!("nobody can answer: {answer:?}"),
                counted = is_given_up(&server, "dapr-grpc") => if counted { return },
            }
        }
    };
    soon(calls).await;
}
