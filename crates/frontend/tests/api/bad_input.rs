//! Input that no honest client sends: refused by name, or the connection ends, and the node lives.

use std::net::SocketAddr;

use leasehold_proto::v1;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::{Code, Request};

use crate::server::{Server, acquire, bad_field, open_session, release, renewal, soon, verdict};

#[tokio::test]
async fn bad_fields_are_named_and_nothing_changes() {
    let server = Server::start().await;
    let before = server.node.state().applied();
    type Change = fn(&mut v1::AcquireRequest);
    let session = crate::server::session_id(1);
    let cases: [(&str, Change); 28] = [
        ("locks", |m| m.locks.clear()),
        ("locks[0].name", |m| m.locks[0].name.clear()),
        ("locks[0].name", |m| m.locks[0].name = "x".repeat(513)),
        ("locks[0].name", |m| m.locks[0].name = "a\u{1b}[2J".into()),
        ("locks[0].mode", |m| m.locks[0].mode = 99),
        ("owner", |m| m.owner.clear()),
        ("ttl_ms", |m| m.ttl_ms = 1),
        ("ttl_ms", |m| m.ttl_ms = u64::MAX),
        ("wait_ms", |m| m.wait_ms = Some(0)),
        ("wait_ms", |m| m.wait_ms = Some(u64::MAX)),
        ("metadata", |m| m.metadata = "x".repeat(1025)),
        ("namespace", |m| m.namespace = "x\0".into()),
        ("locks[0].permits", |m| m.locks[0].permits = 1),
        ("locks[0].limit", |m| m.locks[0].mode = v1::Mode::Permits.into()),
        ("locks[0].permits", |m| (m.locks[0].mode, m.locks[0].limit) = (v1::Mode::Permits.into(), 3)),
        ("locks[0].permits", |m| m.locks[0] = permits(4, 3)),
        ("session", |m| m.session = "0000000000000001".into()),
        ("session", |m| (m.session, m.ttl_ms) = ("f".repeat(31), 0)),
        ("ttl_ms", |m| m.session = "f".repeat(32)),
        ("ttl_ms", |m| m.replaces = 5),
        ("session", |m| (m.replaces, m.session) = (5, "f".repeat(32))),
        ("owner", |m| (m.replaces, m.ttl_ms) = (5, 0)),
        ("actor", |m| m.actor = "task".into()),
        ("actor", |m| (m.session, m.ttl_ms, m.actor) = ("f".repeat(32), 0, "x".repeat(129))),
        ("lock_delay_ms", |m| m.lock_delay_ms = 60_001),
        ("lock_delay_ms", |m| (m.replaces, m.ttl_ms, m.owner, m.lock_delay_ms) = (5, 0, String::new(), 1)),
        ("value", |m| m.value = vec![0; 4_097]),
        ("locks", |m| {
            m.locks = (0..65).map(|i| v1::LockRequest { name: i.to_string(), ..Default::default() }).collect()
        }),
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
    let open = |change: fn(&mut v1::OpenSessionRequest)| {
        let mut message = open_session(1);
        change(&mut message);
        message
    };
    for (field, message) in [
        ("session", open(|m| m.session.clear())),
        ("session", open(|m| m.session = "x".repeat(32))),
        ("session", open(|m| m.session = format!("{:032x}", 7))),
        ("owner", open(|m| m.owner.clear())),
        ("ttl_ms", open(|m| m.ttl_ms = 99)),
        ("metadata", open(|m| m.metadata = "x".repeat(1_025))),
        ("namespace", open(|m| m.namespace = "\n".into())),
    ] {
        assert_eq!(bad_field(server.locks().open_session(message).await), field);
    }
    let set = |name: &str, token, value: usize| v1::SetValueRequest {
        name: name.into(),
        token,
        value: vec![0; value],
        ..Default::default()
    };
    for (field, message) in [("name", set("", 1, 0)), ("token", set("a", 0, 0)), ("value", set("a", 1, 4_097))] {
        assert_eq!(bad_field(server.locks().set_value(message).await), field);
    }
    let force = |name: &str, token, reason: &str| v1::ForceReleaseRequest {
        name: name.into(),
        token,
        reason: reason.into(),
        ..Default::default()
    };
    for (field, message) in [
        ("name", force("", 1, "x")),
        ("token", force("a", 0, "x")),
        ("reason", force("a", 1, "")),
        ("reason", force("a", 1, &"x".repeat(513))),
    ] {
        assert_eq!(bad_field(server.locks().force_release(message).await), field);
    }
    let check = |name: &str, token| v1::CheckTokenRequest { name: name.into(), token, ..Default::default() };
    for (field, message) in [("name", check("", 1)), ("token", check("a", 0))] {
        assert_eq!(bad_field(server.locks().check_token(message).await), field);
    }
    let both = v1::ReleaseRequest { locks: vec![v1::HeldLock { name: "a".into(), token: 1 }], ..release("a", 1) };
    assert_eq!(bad_field(server.locks().release(both).await), "name");
    let exact = v1::RenewLease { lease: session.clone(), ttl_ms: 0, exact_for_token: 1 };
    assert_eq!(bad_field(server.locks().renew(renewal(vec![exact])).await), "leases[0].ttl_ms");
    let get = v1::GetSessionRequest { session: session.to_uppercase() + "0", stale: true };
    assert_eq!(bad_field(server.locks().get_session(get).await), "session");
    let list = v1::ListSessionsRequest { page_size: 1_001, ..Default::default() };
    assert_eq!(bad_field(server.locks().list_sessions(list).await), "page_size");
    use v1::watch_request::Target;
    for (field, target) in [
        ("name", Target::Name(String::new())),
        ("prefix", Target::Prefix("x".repeat(513))),
        ("session", Target::Session("0000000000000001".into())),
    ] {
        let message = v1::WatchRequest { target: Some(target), ..Default::default() };
        assert_eq!(bad_field(server.locks().watch(message).await.map(drop)), field);
    }
    assert_eq!(server.node.state().applied(), before, "nothing reached the log");
}

fn permits(permits: u32, limit: u32) -> v1::LockRequest {
    v1::LockRequest { name: "a".into(), mode: v1::Mode::Permits.into(), permits, limit }
}

#[tokio::test]
async fn the_limit_stands_in_the_message() {
    let server = Server::start().await;
    let mut locks = server.locks();
    let refused = [
        (locks.acquire(v1::AcquireRequest { value: vec![0; 9_000], ..acquire("a", None) }).await.unwrap_err(), "4096"),
        (locks.acquire(v1::AcquireRequest { lock_delay_ms: 70_000, ..acquire("a", None) }).await.unwrap_err(), "60000"),
        (locks.acquire(v1::AcquireRequest { ttl_ms: 1, ..acquire("a", None) }).await.unwrap_err(), "100"),
    ];
    for (status, limit) in refused {
        assert!(status.message().contains(limit), "{status:?}");
    }
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
