//! Nodes of one cluster in this process, over real sockets and files.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use leasehold_consensus::clock::{Clock, deadline_after};
use leasehold_consensus::media::Media;
use leasehold_consensus::{ApplyObserver, Node, NodeOptions, StartError, StopReason, SubmitError, Tuning};
use leasehold_platform::net::Dialer;
use leasehold_state_machine::{
    Acquire, Event, FencingToken, LEVEL_MAX, LeaseId, LeaseRequest, LockRequest, Mode, OpenSession, Operation, Outcome,
    Refusal, RequestId, StateMachine, Wait,
};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// By when a call of a test must be answered.
pub(crate) const SOON: Duration = Duration::from_secs(20);

struct Deaf;

impl ApplyObserver for Deaf {
    fn applied(&self, _: Arc<[Event]>, _: &StateMachine) {}
    fn reset(&self, _: &StateMachine) {}
}

/// Nodes 1 to n, some of them running.
pub(crate) struct Cluster {
    pub(crate) folders: BTreeMap<u64, TempDir>,
    pub(crate) peers: BTreeMap<u64, String>,
    pub(crate) running: BTreeMap<u64, Node>,
    /// Nodes that support less than this build does.
    pub(crate) level_max: BTreeMap<u64, u32>,
    pub(crate) tuning: Tuning,
    next_request: u64,
}

impl Cluster {
    pub(crate) async fn start(size: u64, tuning: Tuning) -> Self {
        Self::start_with_levels(size, tuning, &[]).await
    }

    /// With nodes that support only the level named beside them.
    pub(crate) async fn start_with_levels(size: u64, tuning: Tuning, level_max: &[(u64, u32)]) -> Self {
        let mut listeners = BTreeMap::new();
        let mut peers = BTreeMap::new();
        for id in 1..=size {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            peers.insert(id, listener.local_addr().unwrap().to_string());
            listeners.insert(id, listener);
        }
        let folders = (1..=size).map(|id| (id, TempDir::new().unwrap())).collect();
        let level_max = level_max.iter().copied().collect();
        let mut cluster = Self { folders, peers, running: BTreeMap::new(), level_max, tuning, next_request: 1 };
        for (id, listener) in listeners {
            cluster.launch(id, listener).await.unwrap();
        }
        cluster
    }

    pub(crate) fn data_dir(&self, id: u64) -> PathBuf {
        self.folders[&id].path().join("data")
    }

    pub(crate) async fn launch(&mut self, id: u64, listener: TcpListener) -> Result<(), StartError> {
        let options = NodeOptions {
            node_id: id,
            data_dir: self.data_dir(id),
            peer_address: self.peers[&id].clone(),
            client_address: String::new(),
            peers: self.peers.clone(),
            bootstrap: true,
            level_max: self.level_max.get(&id).copied().unwrap_or(LEVEL_MAX),
            tuning: self.tuning.clone(),
            clock: Clock::system(),
            media: Media::files(),
            dialer: Dialer::tcp(),
        };
        let node = Node::start(options, listener, Arc::new(Deaf)).await?;
        self.running.insert(id, node);
        Ok(())
    }

    pub(crate) async fn try_restart(&mut self, id: u64) -> Result<(), StartError> {
        // The port is this node's alone: nobody else takes it within this test.
        let listener = loop {
            match TcpListener::bind(&self.peers[&id]).await {
                Ok(listener) => break listener,
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        };
        self.launch(id, listener).await
    }

    pub(crate) async fn restart(&mut self, id: u64) {
        self.try_restart(id).await.unwrap();
    }

    pub(crate) async fn stop(&mut self, id: u64) {
        let node = self.running.remove(&id).unwrap();
        node.shutdown().await;
        assert_eq!(node.stopped().await, StopReason::Shutdown);
    }

    /// Why a node stopped by itself. What is left of it is shut down.
    pub(crate) async fn ended(&mut self, id: u64) -> StopReason {
        let node = self.running.remove(&id).unwrap();
        let reason = tokio::time::timeout(SOON, node.stopped()).await.expect("it stops");
        node.shutdown().await;
        reason
    }

    pub(crate) async fn leader(&self) -> u64 {
        let node = self.running.values().next().unwrap();
        let mut known = node.leader();
        let leader = tokio::time::timeout(SOON, known.wait_for(Option::is_some)).await;
        leader.expect("a leader in time").unwrap().unwrap()
    }

    pub(crate) fn acquire(&mut self, name: &str) -> Operation {
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
            actor: None,
            lock_delay_ms: 0,
            value: Default::default(),
        })
    }

    pub(crate) async fn submit(&self, through: u64, operation: Operation) -> Result<Outcome, SubmitError> {
        self.running[&through].submit(operation, deadline_after(SOON)).await
    }

    /// Takes a lock through one node. A first leader leads a moment before it has founded the cluster.
    pub(crate) async fn grant(&mut self, through: u64, name: &str) -> FencingToken {
        loop {
            let operation = self.acquire(name);
            match self.submit(through, operation).await.unwrap() {
                Outcome::Granted(granted) => return granted.grants[0].token,
                Outcome::Refused(Refusal::NotFounded) => tokio::time::sleep(Duration::from_millis(5)).await,
                other => panic!("{name} was not granted: {other:?}"),
            }
        }
    }

    /// All running nodes have applied the same entries and have the same state.
    pub(crate) async fn agree(&self) {
        let highest = self.running.values().map(applied).max().unwrap();
        let all = async {
            while self.running.values().any(|node| applied(node) < highest) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), all).await.expect("all nodes catch up within 30 s");
    }
}

/// Something that needs level 2.
pub(crate) fn open_session() -> Operation {
    Operation::OpenSession(OpenSession {
        session: LeaseId(1 << 100),
        namespace: "default".into(),
        ttl_ms: 60_000,
        owner: "test".into(),
        metadata: String::new(),
    })
}

pub(crate) fn applied(node: &Node) -> u64 {
    node.state().applied().map_or(0, |entry| entry.index)
}

pub(crate) fn holds(node: &Node, name: &str, token: FencingToken) -> bool {
    let lock = node.state().lock("default", name);
    lock.is_some_and(|lock| lock.holders.iter().any(|holder| holder.token == token))
}
