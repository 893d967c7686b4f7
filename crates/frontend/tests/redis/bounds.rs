//! Connections: how many, how slow, and how they end.

use std::time::Duration;

use leasehold_frontend::RedisOptions;
use tokio::io::AsyncWriteExt;

use crate::resp::{Resp, Value, line, ok, request, start, start_and_connect};
use crate::server::{eventually, soon};

#[tokio::test]
async fn past_the_bound_clients_are_told_and_turned_away() {
    let server = start(RedisOptions { connections_max: 2, ..RedisOptions::default() }).await;
    let (mut first, mut second) = (Resp::to(&server).await, Resp::to(&server).await);
    first.call("PING").await;
    second.call("PING").await;
    let mut third = Resp::to(&server).await;
    assert_eq!(third.reply().await.error(), "ERR max number of clients reached");
    assert!(third.is_closed().await);
    let info = first.call("INFO").await.text();
    assert!(info.contains("connected_clients:2\r\n") && info.contains("rejected_connections:1\r\n"), "{info}");
    drop(second);
    let mut left = false;
    for _ in 0..1_000 {
        let info = first.call("INFO clients").await.text();
        left = info.contains("connected_clients:1\r\n");
        if left {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(left, "its place is free");
    assert_eq!(Resp::to(&server).await.call("PING").await, Value::Status("PONG".into()));
}

#[tokio::test]
async fn a_request_that_does_not_complete_ends_its_connection_and_an_idle_one_lives_on() {
    let server = start(RedisOptions { request_max: Duration::from_millis(100), ..RedisOptions::default() }).await;
    let mut idle = Resp::to(&server).await;
    idle.call("PING").await;
    let mut slow = Resp::to(&server).await;
    let mut bytes = line("PING");
    bytes.extend(b"*2\r\n$3\r\nGET\r\n$5\r\n");
    slow.send(&bytes).await;
    assert_eq!(slow.reply().await, Value::Status("PONG".into()));
    assert!(slow.is_closed().await);
    assert_eq!(idle.call("PING").await, Value::Status("PONG".into()));
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_and_costs_a_bounded_memory() {
    let server = start(RedisOptions { unread_max: Duration::from_millis(200), ..RedisOptions::default() }).await;
    let mut client = Resp::to(&server).await;
    let echo = request(&[b"ECHO", &vec![b'x'; 100 * 1024]]);
    let flood = async {
        // The sockets' buffers are full long before that.
        for _ in 0..10_000 {
            client.stream.write_all(&echo).await?;
        }
        std::io::Result::Ok(())
    };
    assert!(soon(flood).await.is_err(), "the server reads no further, and then cuts it");
    assert_eq!(Resp::to(&server).await.call("PING").await, Value::Status("PONG".into()));
}

#[tokio::test]
async fn a_stopping_node_ends_its_connections() {
    let (mut server, mut idle) = start_and_connect().await;
    assert_eq!(idle.call("SET k me NX PX 60000").await, ok());
    server.stop_frontend().await;
    assert!(idle.is_closed().await);
    eventually("port closed", || std::net::TcpStream::connect(server.redis).is_err()).await;
}
