//! Clusters of real processes of the real binary, in a temporary folder, on loopback.
//!
//! Everything that a [`Cluster`] started is ended, by pid, when it is dropped. Waits are for conditions, never for a time.

mod binary;
mod node;
mod ports;
mod proxy;
mod status;

pub use binary::{leasehold_binary, leasehold_binary_with_failpoints};
pub use node::Node;
pub use ports::free_port;
pub use proxy::Proxy;
pub use status::{StatusClient, eventually};

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use leasehold_proto::v1::StatusResponse;
use tempfile::TempDir;

use crate::checker::{Ending, NodeEnd};
use crate::clock::Moment;
use crate::disk::Disk;
use crate::dump::NodeLog;

/// How long a cluster may take to do what it should do within seconds: tests run on small and busy machines.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What a cluster is started with.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// How many nodes.
    pub nodes: u64,
    /// Lines of the `[tuning]` section of every node's config file.
    pub tuning: Vec<String>,
    /// More lines of that file, as they stand: other tables. None of either: no config file.
    pub config: Vec<String>,
    /// Whether every node opens its Redis door, see [`Node::redis_address`].
    pub redis: bool,
    /// Whether the nodes run the binary that has failpoints, see [`Node::failpoints`].
    pub failpoints: bool,
    /// Size of a disk of its own for every node, see [`crate::disk`].
    pub disks: Option<u64>,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        // Whole logs can be replayed from nothing.
        Self {
            nodes: 3,
            tuning: vec!["keep-entries = 10000000".into()],
            config: Vec::new(),
            redis: false,
            failpoints: false,
            disks: None,
        }
    }
}

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    nodes: BTreeMap<u64, Node>,
    folder: TempDir,
}

/// What [`Cluster::wait_ended`] saw first.
#[derive(Debug)]
pub enum Ended<T> {
    /// A process ended.
    Process {
        /// Of which node.
        id: u64,
        /// How.
        status: ExitStatus,
    },
    /// The other condition holds.
    Otherwise(T),
}

/// Starts of a new cluster that may fail because somebody took one of its ports.
const PORT_CLASHES_MAX: usize = 5;

impl Cluster {
    /// Starts the nodes of a new cluster and waits until all of them know its leader.
    pub async fn start(options: ClusterOptions) -> Result<Self> {
        let mut clashes = 0;
        loop {
            let mut cluster = Self::place(&options)?;
            for node in cluster.nodes.values_mut() {
                node.start()?;
            }
            match cluster.wait_ready().await {
                Ok(()) => return Ok(cluster),
                Err(_) if clashes < PORT_CLASHES_MAX && cluster.nodes.values().any(Node::lost_its_port) => clashes += 1,
                Err(error) => return Err(error.context(cluster.words())),
            }
        }
    }

    /// A new cluster none of whose nodes was started yet.
    pub fn place(options: &ClusterOptions) -> Result<Self> {
        let binary = if options.failpoints { leasehold_binary_with_failpoints()? } else { leasehold_binary()? };
        let folder = tempfile::Builder::new().prefix("leasehold-").tempdir()?;
        let lines = !options.tuning.is_empty() || !options.config.is_empty();
        let config = lines.then(|| folder.path().join("leasehold.toml"));
        if let Some(config) = &config {
            let (tuning, more) = (options.tuning.join("\n"), options.config.join("\n"));
            std::fs::write(config, format!("[tuning]\n{tuning}\n{more}\n"))?;
        }
        let mut peers = Vec::new();
        for id in 1..=options.nodes {
            peers.push((id, free_port()?));
        }
        let peers_text = peers.iter().map(|(id, port)| format!("{id}=127.0.0.1:{port}")).collect::<Vec<_>>().join(",");
        let mut nodes = BTreeMap::new();
        for (id, peer_port) in peers {
            let mut node = Node::new(binary, folder.path(), id, peer_port, &peers_text, config.clone())?;
            if options.redis {
                node.open_redis_door()?;
            }
            if let Some(bytes) = options.disks {
                node.lie_on(Disk::create(folder.path(), &format!("node-{id}"), bytes)?);
            }
            nodes.insert(id, node);
        }
        Ok(Self { nodes, folder })
    }

    /// One node.
    ///
    /// # Panics
    /// When there is no such node.
    #[must_use]
    pub fn node(&self, id: u64) -> &Node {
        self.nodes.get(&id).unwrap_or_else(|| panic!("there is no node {id}"))
    }

    /// One node, to start or end it.
    ///
    /// # Panics
    /// When there is no such node.
    pub fn node_mut(&mut self, id: u64) -> &mut Node {
        self.nodes.get_mut(&id).unwrap_or_else(|| panic!("there is no node {id}"))
    }

    /// Ids of all nodes.
    #[must_use]
    pub fn ids(&self) -> Vec<u64> {
        self.nodes.keys().copied().collect()
    }

    /// Where the clients of all nodes connect.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.nodes.values().map(Node::client_address).collect()
    }

    /// The folder of everything that the cluster writes.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// What a node says of the cluster; None when it doesn't answer.
    pub async fn status(&self, id: u64) -> Option<StatusResponse> {
        StatusClient::ask(&self.node(id).client_address()).await
    }

    /// Waits until all running nodes name the same leader, and that leader says so itself.
    pub async fn wait_leader(&self) -> Result<u64> {
        eventually(PATIENCE, "all running nodes name one leader", || self.agreed_leader())
            .await
            .with_context(|| self.words())
    }

    async fn agreed_leader(&self) -> Option<u64> {
        let mut leader = None;
        for node in self.nodes.values().filter(|node| node.is_responsive()) {
            let named = StatusClient::ask(&node.client_address()).await?.leader?;
            if leader.is_some_and(|leader| leader != named) || !self.node(named).is_responsive() {
                return None;
            }
            leader = Some(named);
        }
        leader
    }

    /// Waits until all running nodes have applied the same log, and name one leader.
    pub async fn wait_all_applied(&self) -> Result<u64> {
        let caught_up = || async {
            let leader = self.agreed_leader().await?;
            let mut applied = Vec::new();
            for node in self.nodes.values().filter(|node| node.is_responsive()) {
                let status = StatusClient::ask(&node.client_address()).await?;
                applied.push(status.nodes.iter().find(|state| state.id == node.id())?.applied);
            }
            applied.windows(2).all(|pair| pair[0] == pair[1]).then_some(leader)
        };
        eventually(PATIENCE, "all running nodes have applied the same", caught_up).await.with_context(|| self.words())
    }

    /// How the cluster is, for the checker: so many grants were made anew since all faults were removed at `healed`, which may
    /// have taken so long. Nodes are asked one after the other, and a tick may come in between: so until all say the same, or
    /// that time is over.
    pub async fn ending(&self, healed: Moment, within: Duration, fresh_grants: u64) -> Ending {
        loop {
            let nodes = self.node_ends().await;
            let mut ends = nodes.values();
            let first = ends.next();
            if ends.all(|end| Some(end) == first) || healed.elapsed() > within {
                return Ending { healed, settled: Moment::now(), within, fresh_grants, nodes };
            }
            status::pause().await;
        }
    }

    async fn node_ends(&self) -> BTreeMap<u64, NodeEnd> {
        let mut nodes = BTreeMap::new();
        for node in self.nodes.values().filter(|node| node.is_responsive()) {
            let status = StatusClient::ask(&node.client_address()).await.unwrap_or_default();
            let own = status.nodes.iter().find(|state| state.id == node.id());
            let end = NodeEnd { leader: status.leader, applied: own.map_or(0, |own| own.applied), hash: None };
            nodes.insert(node.id(), end);
        }
        nodes
    }

    /// Waits until all running nodes have applied what any of them had applied when this began, and name one leader. Under clients at work
    /// this comes to an end sooner than [`Cluster::wait_all_applied`].
    pub async fn wait_caught_up(&self) -> Result<u64> {
        let target = tokio::sync::OnceCell::new();
        let caught_up = || async {
            let leader = self.agreed_leader().await?;
            let mut applied = Vec::new();
            for node in self.nodes.values().filter(|node| node.is_responsive()) {
                let status = StatusClient::ask(&node.client_address()).await?;
                applied.push(status.nodes.iter().find(|state| state.id == node.id())?.applied);
            }
            let most = applied.iter().copied().max()?;
            let target = *target.get_or_init(|| async { most }).await;
            applied.iter().all(|applied| *applied >= target).then_some(leader)
        };
        eventually(PATIENCE, "all running nodes have caught up", caught_up).await.with_context(|| self.words())
    }

    async fn wait_ready(&mut self) -> Result<()> {
        let deadline = Moment::now();
        while deadline.elapsed() < PATIENCE {
            if self.agreed_leader().await.is_some() {
                return Ok(());
            }
            if let Some(node) = self.nodes.values_mut().find_map(|node| node.exited().map(|status| (node.id(), status)))
            {
                bail!("node {} ended at once: {}", node.0, node.1);
            }
            status::pause().await;
        }
        bail!("no leader within {PATIENCE:?}")
    }

    /// Cuts the power of these nodes, all at once: their processes are killed, and what they had not synced is gone. They are not
    /// started again.
    ///
    /// # Panics
    /// When the cluster was not started with disks.
    pub fn power_cut(&mut self, ids: &[u64]) -> Result<()> {
        for id in ids {
            self.node_mut(*id).send_kill()?;
        }
        for id in ids {
            self.node_mut(*id).kill()?;
        }
        for id in ids {
            self.node_mut(*id).disk_mut().cut()?;
        }
        for id in ids {
            self.node_mut(*id).disk_mut().restore()?;
        }
        Ok(())
    }

    /// Waits until the process of one of these nodes has ended by itself, or something else holds.
    pub async fn wait_ended<T, F: Future<Output = Option<T>>>(
        &mut self,
        ids: &[u64],
        mut otherwise: impl FnMut() -> F,
    ) -> Result<Ended<T>> {
        let start = crate::clock::Moment::now();
        loop {
            for id in ids {
                if let Some(status) = self.node_mut(*id).exited() {
                    return Ok(Ended::Process { id: *id, status });
                }
            }
            if let Some(value) = otherwise().await {
                return Ok(Ended::Otherwise(value));
            }
            if start.elapsed() > PATIENCE {
                bail!("not within {PATIENCE:?}: one of the nodes {ids:?} ends\n{}", self.words());
            }
            status::pause().await;
        }
    }

    /// Ends all nodes in an orderly way, and reads their logs, except that of a node which is `gone`.
    pub fn stop_and_dump(&mut self, gone: Option<u64>) -> Result<Vec<NodeLog>> {
        for node in self.nodes.values_mut() {
            node.resume();
            node.terminate()?;
        }
        let mut logs = Vec::new();
        for node in self.nodes.values().filter(|node| Some(node.id()) != gone) {
            let log = node.dump_beside(&logs)?;
            logs.push(log);
        }
        NodeLog::share_commits(&mut logs);
        Ok(logs)
    }

    /// The last words of every node, for an error.
    #[must_use]
    pub fn words(&self) -> String {
        self.nodes.values().map(|node| format!("--- node {}\n{}\n", node.id(), node.log_tail())).collect()
    }
}
