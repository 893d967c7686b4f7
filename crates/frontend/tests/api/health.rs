//! What load balancers, probes and grpcurl ask.

use std::net::SocketAddr;
use std::time::Duration;

use leasehold_frontend::FrontendOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;
use tonic_health::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::server::{Server, eventually, soon};

async fn http_get(at: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.into() }
}

fn is(answer: &HealthCheckResponse, status: ServingStatus) -> bool {
    answer.status == i32::try_from(status as u32).unwrap()
}

#[tokio::test]
async fn a_ready_node_says_so_everywhere() {
    let server = Server::start().await;
    let mut health = HealthClient::new(server.channel());
    for service in ["", "leasehold.v1.LockService", "leasehold.v1.ClusterService", "dapr.proto.runtime.v1.Dapr"] {
        let mut watch = health.watch(of(service)).await.unwrap().into_inner();
        while !is(&soon(watch.message()).await.unwrap().unwrap(), ServingStatus::Serving) {}
    }
    assert_eq!(health.check(of("nonsense")).await.unwrap_err().code(), Code::NotFound);
    assert!(http_get(server.http, "/readyz").await.starts_with("HTTP/1.1 200"));
    assert!(http_get(server.http, "/livez").await.starts_with("HTTP/1.1 200"));
    let version = http_get(server.http, "/version").await;
    assert!(version.contains(r#""name":"leasehold""#) && version.contains(env!("CARGO_PKG_VERSION")), "{version}");
    assert!(http_get(server.http, "/nonsense").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn a_node_without_leader_lives_but_is_not_ready() {
    let server = Server::start_without_quorum(FrontendOptions::default()).await;
    let answer = soon(HealthClient::new(server.channel()).check(of(""))).await.unwrap().into_inner();
    assert!(is(&answer, ServingStatus::NotServing));
    assert!(http_get(server.http, "/livez").await.starts_with("HTTP/1.1 200"));
    let readyz = http_get(server.http, "/readyz").await;
    assert!(readyz.starts_with("HTTP/1.1 503") && readyz.contains("not ready"), "{readyz}");
}

#[tokio::test]
async fn an_idle_cluster_of_one_stays_ready() {
    let server = Server::start().await;
    let mut leader = server.node.leader();
    // Longer than a leader with followers may go without their word.
    let lost = tokio::time::timeout(Duration::from_secs(2), leader.wait_for(Option::is_none)).await.is_ok();
    assert!(!lost, "its leader was given up although it is a quorum by itself");
    server.hold("a").await;
}

#[tokio::test]
async fn reflection_lists_the_services_in_both_versions() {
    let server = Server::start().await;
    let expected = [
        "dapr.proto.runtime.v1.Dapr",
        "grpc.health.v1.Health",
        "leasehold.v1.ClusterService",
        "leasehold.v1.LockService",
    ];
    macro_rules! check {
        ($version:ident) => {{
            use tonic_reflection::pb::$version as pb;
            let request = pb::ServerReflectionRequest {
                host: String::new(),
                message_request: Some(pb::server_reflection_request::MessageRequest::ListServices(String::new())),
            };
            let mut client = pb::server_reflection_client::ServerReflectionClient::new(server.channel());
            let mut answers = client.server_reflection_info(tokio_stream::iter([request])).await.unwrap().into_inner();
            let answer = soon(answers.message()).await.unwrap().unwrap().message_response;
            let Some(pb::server_reflection_response::MessageResponse::ListServicesResponse(list)) = answer else {
                panic!("no list: {answer:?}");
            };
            let names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
            assert!(expected.iter().all(|name| names.iter().any(|n| n == name)), "{names:?}");
        }};
    }
    check!(v1);
    check!(v1alpha);
}

#[tokio::test]
async fn an_open_health_watch_does_not_hold_up_the_stop() {
    let mut server = Server::start().await;
    let mut health = HealthClient::new(server.channel());
    let _open = health.watch(of("")).await.unwrap();
    server.stop_frontend().await;
    eventually("port closed", || std::net::TcpStream::connect(server.client).is_err()).await;
}

#[tokio::test]
async fn metrics_count_calls_by_door_and_result() {
    let server = Server::start().await;
    // The recorder is the process's: other tests count there too, under names of their own.
    server.hold("counted").await;
    let refused = server.locks().acquire(crate::server::acquire("counted", None)).await.unwrap();
    assert!(refused.into_inner().result.is_some());
    server.locks().get(leasehold_proto::v1::GetRequest::default()).await.unwrap_err();
    let text = http_get(server.http, "/metrics").await;
    assert!(text.contains("content-type: text/plain; version=0.0.4"), "{text}");
    for line in [
        r#"leasehold_calls_total{door="grpc",call="acquire",result="ok"}"#,
        r#"leasehold_calls_total{door="grpc",call="acquire",result="held"}"#,
        r#"leasehold_calls_total{door="grpc",call="get",result="INVALID_FIELD"}"#,
        r#"leasehold_call_seconds_bucket{door="grpc",call="acquire",le="0.001"}"#,
        "leasehold_ready 1",
        "leasehold_leads 1",
        "leasehold_applied_index ",
        "leasehold_log_time_dropped_seconds ",
        "leasehold_states_compared_total ",
        "leasehold_states_differ_total 0",
    ] {
        assert!(text.contains(line), "no {line} in {text}");
    }
}
