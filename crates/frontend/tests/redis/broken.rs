//! A client that goes before it hears of its lock does not have it.

use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use leasehold_consensus::Node;
use leasehold_state_machine::Occupant;

use crate::resp::{Resp, Value, line, ok, start_and_connect};
use crate::server::{Server, acquire, eventually, soon};

/// While it lives the node applies nothing: whoever holds the state makes apply wait, and each task that needs it a thread of the
/// runtime. So the tests that use it have more threads than a node has such tasks.
struct Held {
    release: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl Held {
    fn hold(node: &Node) -> Self {
        let (node, (release, released), (began, begun)) = (node.clone(), mpsc::channel(), mpsc::channel());
        let thread = std::thread::spawn(move || {
            let _state = node.state();
            began.send(()).unwrap();
            let released = released.recv_timeout(Duration::from_secs(30));
            assert!(released.is_ok(), "held for longer than a test takes");
        });
        begun.recv().unwrap();
        Self { release, thread }
    }

    fn end(self) {
        self.release.send(()).unwrap();
        self.thread.join().unwrap();
    }
}

/// The next token: so many grants there have been.
async fn token(server: &Server, name: &str) -> u64 {
    server.take(acquire(name, None)).await.token
}

fn is_free(server: &Server, name: &str) -> bool {
    server.node.state().occupant("default", name) == Occupant::Nobody
}

/// Commands that the node has read, this one included.
async fn commands(client: &mut Resp) -> u64 {
    let info = client.call("INFO stats").await.text();
    let count = info.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
    count.unwrap().parse().unwrap()
}

/// Waits until the node has read a command of somebody else.
async fn until_read(client: &mut Resp, before: u64) {
    let mut own = 1;
    while commands(client).await == before + own {
        own += 1;
        assert!(own < 100_000, "it was never read");
        tokio::task::yield_now().await;
    }
}

/// Sends an acquire, lets `go` end the connection before it is applied, and returns once it was applied and undone.
async fn acquire_and_go(server: &Server, mut client: Resp, go: impl FnOnce(Resp)) {
    let before = token(server, "before").await;
    let held = Held::hold(&server.node);
    let mut other = Resp::to(server).await;
    let commands = commands(&mut other).await;
    client.send(&line("SET k me NX PX 3600000")).await;
    until_read(&mut other, commands).await;
    go(client);
    held.end();
    let node = server.node.clone();
    // A grant, and its cancel.
    eventually("granted and undone", || {
        let lost = node.state().lock("default", "k").and_then(|lock| lock.last_lost);
        lost.is_some() && is_free(server, "k")
    })
    .await;
    assert!(token(server, "after").await > before + 1, "it was granted in between");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 16)]
async fn a_client_that_closes_in_the_middle_of_an_acquire_leaves_no_lock() {
    let (server, mut client) = start_and_connect().await;
    client.call("PING").await;
    acquire_and_go(&server, client, drop).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 16)]
async fn a_client_that_is_reset_in_the_middle_of_an_acquire_leaves_no_lock() {
    let (server, mut client) = start_and_connect().await;
    client.call("PING").await;
    acquire_and_go(&server, client, |client| {
        client.stream.set_zero_linger().unwrap();
        drop(client);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 16)]
async fn of_a_pipeline_that_breaks_only_what_was_not_told_is_undone() {
    let (server, mut client) = start_and_connect().await;
    assert_eq!(client.call("SET told me NX PX 3600000").await, ok());
    let token = server.get("told").await.holders[0].token;
    acquire_and_go(&server, client, drop).await;
    assert_eq!(server.get("told").await.holders[0].token, token);
}

#[tokio::test]
async fn a_client_that_has_its_answer_keeps_the_lock_when_it_goes() {
    let (server, mut client) = start_and_connect().await;
    assert_eq!(client.call("SET k me NX PX 3600000").await, ok());
    drop(client);
    let mut other = Resp::to(&server).await;
    assert_eq!(other.call("SET k you NX PX 60000").await, Value::Nil, "as with Redis");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 16)]
async fn a_stop_in_the_middle_of_an_acquire_is_bounded() {
    let (mut server, mut client) = start_and_connect().await;
    client.call("PING").await;
    let held = Held::hold(&server.node);
    let mut other = Resp::to(&server).await;
    let commands = commands(&mut other).await;
    client.send(&line("SET k me NX PX 3600000")).await;
    until_read(&mut other, commands).await;
    server.stop.cancel();
    held.end();
    soon(server.stop_frontend()).await;
    let _answered_or_cut = tokio::time::timeout(Duration::from_secs(30), client.is_closed()).await.unwrap();
}
