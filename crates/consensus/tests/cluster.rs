//! Whole nodes in one process, over real sockets and files: snapshots, restarts, identities, reads without a quorum.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use leasehold_consensus::clock::{Clock, deadline_after};
use leasehold_consensus::debug;
use leasehold_consensus::{ApplyObserver, Node, NodeOptions, ReadError, StartError, StopReason, SubmitError, Tuning};
use leasehold_state_machine::{
    Acquire, Event, FencingToken, LeaseRequest, LockRequest, Mode, Operation, Outcome, Release, RequestId,
    StateMachine, Wait,
};
use tempfile::TempDir;
use tokio::net::TcpListener;

struct Deaf;

impl ApplyObserver for Deaf {
    fn applied(&self, _: &[Event], _: &StateMachine) {}
    fn reset(&self, _: &StateMachine) {}
}

/// Nodes 1 to n, some of them running.
struct Cluster {
    folders: BTreeMap<u64, TempDir>,
    peers: BTreeMap<u64, String>,
    running: BTreeMap<u64, Node>,
    tuning: Tuning,
    next_request: u64,
}

impl Cluster {
    async fn start(size: u64, tuning: Tuning) -> Self {
        let mut listeners = BTreeMap::new();
        let mut peers = BTreeMap::new();
        for id in 1..=size {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            peers.insert(id, listener.local_addr().unwrap().to_string());
            listeners.insert(id, listener);
        }
        let folders = (1..=size).map(|id| (id, TempDir::new().unwrap())).collect();
        let mut cluster = Self { folders, peers, running: BTreeMap::new(), tuning, next_request: 1 };
        for (id, listener) in listeners {
            cluster.launch(id, listener).await.unwrap();
        }
        cluster
    }

    async fn launch(&mut self, id: u64, listener: TcpListener) -> Result<(), StartError> {
        let options = NodeOptions {
            node_id: id,
            data_dir: self.folders[&id].path().join("data"),
            peer_address: self.peers[&id].clone(),
            client_address: String::new(),
            peers: self.peers.clone(),
            bootstrap: true,
            tuning: self.tuning.clone(),
            clock: Clock::system(),
        };
        let node = Node::start(options, listener, Arc::new(Deaf)).await?;
        self.running.insert(id, node);
        Ok(())
    }

    async fn restart(&mut self, id: u64) {
        // The port is this node's alone: nobody else takes it within this test.
        let listener = loop {
            match TcpListener::bind(&self.peers[&id]).await {
                Ok(listener) => break listener,
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        };
        self.launch(id, listener).await.unwrap();
    }

    async fn stop(&mut self, id: u64) {
        let node = self.running.remove(&id).unwrap();
        node.shutdown().await;
        assert_eq!(node.stopped().await, StopReason::Shutdown);
    }

    async fn leader(&self) -> u64 {
        let node = self.running.values().next().unwrap();
        let mut known = node.leader();
        let leader = tokio::time::timeout(Duration::from_secs(20), known.wait_for(Option::is_some)).await;
        leader.expect("a leader within 20 s").unwrap().unwrap()
    }

    fn acquire(&mut self, name: &str) -> Operation {
        let counter = self.next_request;
        self.next_request += 1;
        Operation::Acquire(Acquire {
            request: RequestId { client: 7, counter },
            attempt: 1,
            lowest_unanswered: counter,
            namespace: "default".into(),
            locks: vec![LockRequest { name: name.into(), mode: Mode::Exclusive }],
            owner: "test".into(),
            metadata: String::new(),
            lease: LeaseRequest::Own { ttl_ms: 600_000 },
            wait: Wait::Try,
        })
    }

    /// Takes a lock through one node.
    async fn grant(&mut self, through: u64, name: &str) -> FencingToken {
        let operation = self.acquire(name);
        let outcome = self.running[&through].submit(operation, deadline_after(Duration::from_secs(20))).await.unwrap();
        match outcome {
            Outcome::Granted(granted) => granted.grants[0].token,
            other => panic!("{name} was not granted: {other:?}"),
        }
    }

    /// All running nodes have applied the same entries and have the same state.
    async fn agree(&self) {
        let highest = self.running.values().map(applied).max().unwrap();
        let all = async {
            while self.running.values().any(|node| applied(node) < highest) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), all).await.expect("all nodes catch up within 30 s");
    }
}

fn applied(node: &Node) -> u64 {
    node.state().applied().map_or(0, |entry| entry.index)
}

fn holds(node: &Node, name: &str, token: FencingToken) -> bool {
    let lock = node.state().lock("default", name);
    lock.is_some_and(|lock| lock.holders.iter().any(|holder| holder.token == token))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_missed_what_was_purged_is_brought_up_by_a_snapshot() {
    let tuning = Tuning { snapshot_entries: 60, keep_entries: 10, ..Tuning::default() };
    let mut cluster = Cluster::start(3, tuning).await;
    let leader = cluster.leader().await;
    let (away, through) = if leader == 1 { (2, 3) } else { (1, if leader == 2 { 3 } else { 2 }) };
    let early = cluster.grant(through, "early").await;
    cluster.stop(away).await;
    let mut tokens = Vec::new();
    // Well over one purge batch beyond a snapshot, so that the entries it missed are gone.
    for index in 0..700 {
        let name = format!("lock-{index:03}");
        tokens.push((name.clone(), cluster.grant(leader, &name).await));
    }
    cluster.restart(away).await;
    let late = cluster.grant(away, "late").await;
    cluster.agree().await;
    let node = &cluster.running[&away];
    assert!(holds(node, "early", early) && holds(node, "late", late));
    assert!(tokens.iter().all(|(name, token)| holds(node, name, *token)));
    // The entries that it missed never came to its log: a snapshot brought it up.
    cluster.stop(away).await;
    let mut dump = Vec::new();
    debug::dump_log(&cluster.folders[&away].path().join("data"), &mut dump).unwrap();
    let first: serde_json::Value = serde_json::from_slice(dump.split(|byte| *byte == b'\n').next().unwrap()).unwrap();
    assert!(first["index"].as_u64().unwrap() > 100, "its log begins at {}", first["index"]);
    // And it stands on its own feet: restarted, it still has all of it.
    cluster.restart(away).await;
    cluster.grant(away, "last").await;
    assert!(tokens.iter().all(|(name, token)| holds(&cluster.running[&away], name, *token)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_calls_end_and_with_it_they_work_again() {
    let tuning = Tuning { leader_wait_max: Duration::from_millis(300), ..Tuning::default() };
    let mut cluster = Cluster::start(3, tuning).await;
    let token = cluster.grant(1, "held").await;
    cluster.stop(2).await;
    cluster.stop(3).await;
    let mut known = cluster.running[&1].leader();
    known.wait_for(Option::is_none).await.unwrap();
    let operation = cluster.acquire("other");
    let node = cluster.running[&1].clone();
    let refused = node.submit(operation, deadline_after(Duration::from_secs(5))).await;
    assert!(matches!(refused, Err(SubmitError::NoLeader { .. } | SubmitError::FateUnknown)), "{refused:?}");
    let read = node.read_barrier(deadline_after(Duration::from_secs(5))).await;
    assert!(matches!(read, Err(ReadError::NoLeader { .. })), "{read:?}");
    cluster.restart(2).await;
    let read = async { while node.read_barrier(deadline_after(Duration::from_secs(1))).await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(20), read).await.expect("reads work again");
    assert!(holds(&node, "held", token));
    let release = Release { namespace: "default".into(), name: "held".into(), token };
    let outcome = node.submit(Operation::Release(release), deadline_after(Duration::from_secs(10))).await.unwrap();
    assert!(matches!(outcome, Outcome::Released(released) if released.released), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_node_may_not_come_back_under_its_id() {
    let mut cluster = Cluster::start(3, Tuning::default()).await;
    let token = cluster.grant(2, "held").await;
    cluster.agree().await;
    cluster.stop(3).await;
    std::fs::remove_dir_all(cluster.folders[&3].path().join("data")).unwrap();
    cluster.restart(3).await;
    let wiped = cluster.running.remove(&3).unwrap();
    let reason = tokio::time::timeout(Duration::from_secs(20), wiped.stopped()).await.expect("it stops");
    match reason {
        StopReason::Identity(text) => assert!(text.contains("never used") && text.contains("node 3"), "{text}"),
        other => panic!("{other:?}"),
    }
    assert!(holds(&cluster.running[&2], "held", token));
    cluster.grant(1, "others go on").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_of_another_node_is_refused() {
    let mut cluster = Cluster::start(1, Tuning::default()).await;
    cluster.leader().await;
    cluster.stop(1).await;
    let folder = cluster.folders.remove(&1).unwrap();
    cluster.folders.insert(2, folder);
    cluster.peers.insert(2, "127.0.0.1:1".into());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    match cluster.launch(2, listener).await {
        Err(StartError::Identity(text)) => assert!(text.contains("belongs to node 1"), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_that_does_not_open_is_rebuilt() {
    let mut cluster = Cluster::start(1, Tuning::default()).await;
    cluster.leader().await;
    let token = cluster.grant(1, "held").await;
    cluster.stop(1).await;
    let checkpoint = cluster.folders[&1].path().join("data/checkpoint");
    for file in ["db", "conf"] {
        std::fs::write(checkpoint.join(file), vec![0x5A; 4096]).unwrap();
    }
    cluster.restart(1).await;
    cluster.grant(1, "next").await;
    assert!(holds(&cluster.running[&1], "held", token));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_may_not_share_a_folder() {
    let mut cluster = Cluster::start(1, Tuning::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    match cluster.launch(1, listener).await {
        Err(StartError::Data(text)) => assert!(text.contains("another process uses it"), "{text}"),
        other => panic!("{other:?}"),
    }
}
