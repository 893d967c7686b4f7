//! Input that no honest client sends: refused by name, or the connection ends, and the node lives.

use std::net::SocketAddr;

use leasehold_proto::v1;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::{Code, Request};

use crate::server::{Server, acquire, bad_field, release, renewal, soon, verdict};

#[tokio::test]
async fn bad_fields_are_named_and_nothing_changes() {
    let server = Server::start().await;
    let before = server.node.state().applied();
    type Change = fn(&mut v1::AcquireRequest);
    let cases: [(&str, Change); 12] = [
        ("locks", |m| m.locks.clear()),
        ("locks[0].name", |m| m.locks[0].name.clear()),
        ("locks[0].name", |m| m.locks[0].name = "x".repeat(513)),
        ("locks[0].name", |m| m.locks[0].name = "a\u{1b}[2J".into()),
        ("locks[0].mode", |m| m.locks[0].mode = v1::Mode::Shared.into()),
        ("owner", |m| m.owner.clear()),
        ("ttl_ms", |m| m.ttl_ms = 1),
        ("ttl_ms", |m| m.ttl_ms = u64::MAX),
        ("wait_ms", |m| m.wait_ms = Some(0)),
        ("wait_ms", |m| m.wait_ms = Some(u64::MAX)),
        ("metadata", |m| m.metadata = "x".repeat(1025)),
        ("namespace", |m| m.namespace = "x\0".into()),
    ];
    for (field, change) in cases {
        let mut message = acquire("a", None);
        change(&mut message);
        assert_eq!(bad_field(server.locks().acquire(message).await), field);
    }
    let leases = vec![v1::RenewLease { lease: "g".repeat(16), ttl_ms: 0, exact_for_token: 0 }];
    assert_eq!(bad_field(server.locks().renew(renewal(leases)).await), "leases[0].lease");
    assert_eq!(bad_field(server.locks().renew(v1::RenewRequest::default()).await), "leases");
    let close = v1::CloseLeaseRequest { lease: "0".into() };
    assert_eq!(bad_field(server.locks().close_lease(close).await), "lease");
    let cancel = v1::CancelAcquireRequest::default();
    assert_eq!(bad_field(server.locks().cancel_acquire(cancel).await), "request_id");
    assert_eq!(bad_field(server.locks().get(v1::GetRequest::default()).await), "name");
    assert_eq!(server.node.state().applied(), before, "nothing reached the log");
}

#[tokio::test]
async fn a_token_never_given_is_refused() {
    let server = Server::start().await;
    assert_eq!(
        verdict(server.locks().release(release("a", u64::MAX)).await),
        (Code::FailedPrecondition, "WRONG_TOKEN".into())
    );
}

#[tokio::test]
async fn a_request_beyond_the_size_limit_is_refused() {
    let server = Server::start().await;
    let mut message = acquire("a", None);
    message.metadata = "x".repeat(2 << 20);
    let status = server.locks().acquire(message).await.unwrap_err();
    assert!(matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted), "{status:?}");
    server.hold("a").await;
}

/// Sends bytes and reads until the other side ends the connection.
async fn throw(at: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(at).await.unwrap();
    // It may close before it has read all.
    let _closed = stream.write_all(bytes).await;
    let _half = stream.shutdown().await;
    let mut sink = Vec::new();
    let _reset = soon(stream.read_to_end(&mut sink)).await;
}

#[tokio::test]
async fn garbage_on_any_port_ends_the_connection_and_the_node_lives() {
    let server = Server::start().await;
    let noise: Vec<u8> = (0..64 * 1024_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut frames = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    frames.extend_from_slice(&noise);
    let mut huge_header = b"GET / HTTP/1.1\r\nx: ".to_vec();
    huge_header.extend(std::iter::repeat_n(b'a', 1 << 20));
    for port in [server.client, server.peer, server.http] {
        throw(port, b"").await;
        throw(port, b"\0").await;
        throw(port, &noise).await;
        throw(port, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        throw(port, &frames).await;
        throw(port, &huge_header).await;
    }
    let (grant, _) = server.hold("a").await;
    server.release("a", grant.token).await;
}

#[tokio::test]
async fn a_message_that_is_no_protobuf_is_refused() {
    let server = Server::start().await;
    let mut grpc = tonic::client::Grpc::new(server.channel());
    grpc.ready().await.unwrap();
    let path = "/leasehold.v1.LockService/Acquire".parse().unwrap();
    // Field 2 holds locks there and a name here; field 3 an owner there and a number here.
    let garbage = v1::GetRequest { namespace: String::new(), name: "\u{fff}".into(), stale: true };
    let codec = tonic_prost::ProstCodec::<v1::GetRequest, v1::AcquireResponse>::default();
    let status = grpc.unary(Request::new(garbage), path, codec).await.unwrap_err();
    assert!(matches!(status.code(), Code::Internal | Code::InvalidArgument), "{status:?}");
    server.hold("a").await;
}
