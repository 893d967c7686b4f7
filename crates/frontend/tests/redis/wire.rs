//! Bytes: pipelines, half-closed sockets, and what is no request at all.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::resp::{Resp, Value, bulk, line, ok, request, start_and_connect};
use crate::server::soon;

pub(crate) async fn http_get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test]
async fn thousands_of_commands_in_one_write_are_answered_in_order() {
    let (_server, mut client) = start_and_connect().await;
    let mut bytes = Vec::new();
    for number in 0..100 {
        bytes.extend(line(&format!("SET k{number} me NX PX 60000")));
        bytes.extend(line(&format!("SET k{number} you NX PX 60000")));
        for round in 0..40 {
            bytes.extend(line(&format!("ECHO {number}.{round}")));
        }
        bytes.extend(line(&format!("GET k{number}")));
    }
    client.send(&bytes).await;
    for number in 0..100 {
        assert_eq!(client.reply().await, ok(), "{number}");
        assert_eq!(client.reply().await, Value::Nil, "{number}");
        for round in 0..40 {
            assert_eq!(client.reply().await, bulk(&format!("{number}.{round}")));
        }
        assert_eq!(client.reply().await, bulk("me"), "{number}");
    }
}

#[tokio::test]
async fn bytes_that_trickle_in_become_requests() {
    let (_server, mut client) = start_and_connect().await;
    for byte in line("SET k me NX PX 60000") {
        client.send(&[byte]).await;
    }
    assert_eq!(client.reply().await, ok());
}

#[tokio::test]
async fn inline_commands_are_understood() {
    let (_server, mut client) = start_and_connect().await;
    client.send(b"\r\nPING\r\nSET k \"me\\x01\" NX PX 60000\r\nget k\n").await;
    assert_eq!(client.reply().await, Value::Status("PONG".into()));
    assert_eq!(client.reply().await, ok());
    assert_eq!(client.reply().await, Value::Bulk(b"me\x01".to_vec()));
}

#[tokio::test]
async fn what_was_sent_before_a_half_close_is_still_answered() {
    let (server, mut client) = start_and_connect().await;
    let mut bytes = line("SET k me NX PX 60000");
    bytes.extend(line("GET k"));
    bytes.extend(b"*2\r\n$3\r\nGET\r\n");
    client.send(&bytes).await;
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.reply().await, ok());
    assert_eq!(client.reply().await, bulk("me"));
    assert!(client.is_closed().await, "half a request is none");
    assert_eq!(server.get("k").await.holders[0].owner, "me", "its client has heard of it");
}

#[tokio::test]
async fn what_is_no_request_is_answered_with_an_error_and_ends_the_connection() {
    let (server, mut first) = start_and_connect().await;
    for garbage in [
        b"*1\r\n:5\r\n".as_slice(),
        b"*99999999\r\n",
        b"*1000000000000000000000000\r\n",
        b"*1\r\n$999999999\r\n",
        b"*1\r\n$-5\r\n",
        b"*x\r\n",
        b"*2\r\n$3\r\nGETxx$1\r\nk\r\n",
        b"PING \"unbalanced\r\n",
    ] {
        let mut client = Resp::to(&server).await;
        let mut bytes = line("PING");
        bytes.extend(garbage);
        client.send(&bytes).await;
        assert_eq!(client.reply().await, Value::Status("PONG".into()));
        let refused = client.reply().await;
        assert!(refused.error().starts_with("ERR Protocol error"), "{garbage:?}: {refused:?}");
        assert!(client.is_closed().await, "{garbage:?}");
    }
    assert_eq!(first.call("PING").await, Value::Status("PONG".into()), "others are not concerned");
}

#[tokio::test]
async fn a_line_without_an_end_is_refused() {
    let (_server, mut client) = start_and_connect().await;
    client.send(&vec![b'x'; 100 * 1024]).await;
    let refused = client.reply().await;
    assert!(refused.error().contains("too big inline request"), "{refused:?}");
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_large_request_within_the_bounds_is_answered() {
    let (_server, mut client) = start_and_connect().await;
    let text = vec![b'x'; 400 * 1024];
    client.send(&request(&[b"ECHO", &text])).await;
    assert_eq!(client.reply().await, Value::Bulk(text));
    assert_eq!(client.call("PING").await, Value::Status("PONG".into()));
}
