//! etcd as a target: three real nodes on loopback, each with its own folder, as Debian packages them.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::pin::pin;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::timeout;

use super::etcd_wire::EtcdChannel;
use super::{Locker, Target};
use crate::cluster::{PATIENCE, eventually, free_port};

/// One attempt of a short call: what our own client allows before it sends again elsewhere.
const CALL_MAX: Duration = Duration::from_secs(1);
const STATUS_MAX: Duration = Duration::from_secs(2);
/// A node that lags by no more takes part again.
const LAG_MAX: u64 = 300;
const NODES: u64 = 3;

/// etcd's two times.
#[derive(Debug, Clone, Copy)]
pub struct EtcdTiming {
    /// `--heartbeat-interval`.
    pub heartbeat_ms: u64,
    /// `--election-timeout`.
    pub election_ms: u64,
}

/// Where one node lives.
#[derive(Debug, Clone)]
pub(crate) struct EtcdSeat {
    pub(crate) id: u64,
    pub(crate) data: PathBuf,
    /// `host:port` for clients, and for peers.
    pub(crate) client: String,
    pub(crate) peer: String,
}

impl EtcdSeat {
    /// What etcd is started with; `cluster` is everybody's `name=URL` for peers. None: with its own default times.
    pub(crate) fn arguments(&self, cluster: &str, timing: Option<EtcdTiming>) -> Vec<String> {
        let (client, peer) = (format!("http://{}", self.client), format!("http://{}", self.peer));
        let mut arguments: Vec<String> = [
            ("--name", format!("n{}", self.id)),
            ("--data-dir", self.data.display().to_string()),
            ("--listen-client-urls", client.clone()),
            ("--advertise-client-urls", client),
            ("--listen-peer-urls", peer.clone()),
            ("--initial-advertise-peer-urls", peer),
            ("--initial-cluster", cluster.to_owned()),
            ("--initial-cluster-state", "new".to_owned()),
        ]
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect();
        if let Some(EtcdTiming { heartbeat_ms, election_ms }) = timing {
            arguments.extend([format!("--heartbeat-interval={heartbeat_ms}")]);
            arguments.extend([format!("--election-timeout={election_ms}")]);
        }
        arguments
    }
}

#[derive(Debug)]
struct EtcdNode {
    id: u64,
    arguments: Vec<String>,
    log: PathBuf,
    client: String,
    child: Option<Child>,
}

/// Three nodes of etcd.
#[derive(Debug)]
pub struct EtcdCluster {
    nodes: Vec<EtcdNode>,
    what: String,
    _folder: TempDir,
}

impl EtcdCluster {
    /// Whether this machine has it.
    #[must_use]
    pub fn version() -> Option<String> {
        let output = Command::new("etcd").arg("--version").stderr(Stdio::null()).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().next().and_then(|line| line.rsplit(' ').next()).map(str::to_owned)
    }

    /// Starts it; None: with its own default times, 100 ms and 1 s.
    pub async fn start(timing: Option<EtcdTiming>) -> Result<Self> {
        let version = Self::version().context("etcd is not installed")?;
        let folder = tempfile::Builder::new().prefix("leasehold-etcd-").tempdir()?;
        let times = match timing {
            None => "default timing: heartbeat 100 ms, election 1 s".to_owned(),
            Some(EtcdTiming { heartbeat_ms, election_ms }) => {
                format!("heartbeat {heartbeat_ms} ms, election {election_ms} ms")
            }
        };
        let mut ports = Vec::new();
        for id in 1..=NODES {
            ports.push((id, free_port()?, free_port()?));
        }
        let cluster = ports.iter().map(|(id, _, peer)| format!("n{id}=http://127.0.0.1:{peer}"));
        let cluster = cluster.collect::<Vec<_>>().join(",");
        let mut nodes = Vec::new();
        for (id, client, peer) in ports {
            let seat = EtcdSeat {
                id,
                data: folder.path().join(format!("n{id}")),
                client: format!("127.0.0.1:{client}"),
                peer: format!("127.0.0.1:{peer}"),
            };
            let arguments = seat.arguments(&cluster, timing);
            let client = seat.client;
            let log = folder.path().join(format!("n{id}.log"));
            let mut node = EtcdNode { id, arguments, log, client, child: None };
            node.start()?;
            nodes.push(node);
        }
        let mut cluster = Self { nodes, what: format!("etcd {version} ({times})"), _folder: folder };
        cluster.settle().await.with_context(|| cluster.words())?;
        Ok(cluster)
    }

    fn node(&mut self, id: u64) -> Result<&mut EtcdNode> {
        self.nodes.iter_mut().find(|node| node.id == id).context("there is no such node")
    }

    async fn all_take_part(&self) -> Option<(u64, u64)> {
        let (mut members, mut leaders, mut applied, mut term) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for node in &self.nodes {
            let status = timeout(STATUS_MAX, EtcdChannel::new(&node.client).ok()?.status()).await.ok()?.ok()?;
            let header = status.header?;
            members.push((header.member_id, node.id));
            leaders.push(status.leader);
            applied.push(status.applied);
            term = header.raft_term.max(term);
        }
        let agreed = leaders.iter().all(|leader| *leader != 0 && *leader == leaders[0]);
        let close = applied.iter().max()?.saturating_sub(*applied.iter().min()?) <= LAG_MAX;
        let leader = members.iter().find(|(member, _)| *member == leaders[0])?.1;
        (agreed && close).then_some((leader, term))
    }

    fn words(&self) -> String {
        let tail = |node: &EtcdNode| {
            let text = std::fs::read_to_string(&node.log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            format!("--- {}\n{}", node.id, lines[lines.len().saturating_sub(20)..].join("\n"))
        };
        self.nodes.iter().map(tail).collect::<Vec<_>>().join("\n")
    }
}

impl EtcdNode {
    fn start(&mut self) -> Result<()> {
        let output = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let mut command = Command::new("etcd");
        command.args(&self.arguments).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        self.child = Some(command.spawn().context("etcd does not start")?);
        Ok(())
    }

    fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.child.as_ref().and_then(|child| i32::try_from(child.id()).ok()).and_then(Pid::from_raw);
        Ok(kill_process(pid.context("it does not run")?, signal)?)
    }
}

impl Drop for EtcdNode {
    fn drop(&mut self) {
        // Nothing can be done about a process that cannot be killed.
        let _ = self.kill();
    }
}

impl Target for EtcdCluster {
    type Locker = EtcdLocker;

    fn name(&self) -> String {
        self.what.clone()
    }

    async fn locker(&self, number: usize) -> Result<EtcdLocker> {
        EtcdLocker::new(self.nodes.iter().map(|node| &*node.client), number)
    }

    async fn settle(&mut self) -> Result<u64> {
        Ok(eventually(PATIENCE, "all nodes of etcd take part", || self.all_take_part()).await?.0)
    }

    async fn term(&mut self) -> Result<u64> {
        Ok(eventually(PATIENCE, "all nodes of etcd take part", || self.all_take_part()).await?.1)
    }

    fn kill(&mut self, node: u64) -> Result<()> {
        self.node(node)?.kill()
    }

    fn start(&mut self, node: u64) -> Result<()> {
        self.node(node)?.start()
    }

    fn pause(&mut self, node: u64) -> Result<()> {
        self.node(node)?.signal(Signal::STOP)
    }

    fn resume(&mut self, node: u64) {
        if let Ok(node) = self.node(node) {
            // One that has ended cannot be continued, and need not.
            let _ = node.signal(Signal::CONT);
        }
    }
}

/// A client: one node at a time, the next one after a failure.
#[derive(Debug)]
pub struct EtcdLocker {
    channels: Vec<EtcdChannel>,
    at: usize,
}

/// A lock under a lease of its own.
#[derive(Debug)]
pub struct EtcdHold {
    lease: i64,
    key: Vec<u8>,
    revision: u64,
}

impl EtcdLocker {
    /// One of all these nodes, which begins with another one by its number.
    pub fn new<'a>(addresses: impl IntoIterator<Item = &'a str>, number: usize) -> Result<Self> {
        let channels = addresses.into_iter().map(EtcdChannel::new).collect::<Result<Vec<_>>>()?;
        let at = number % channels.len().max(1);
        Ok(Self { channels, at })
    }

    /// Does a short call, which is safe to repeat, until a node has answered it.
    async fn insist<T, F>(&mut self, within: Duration, call: impl Fn(EtcdChannel) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let repeated = async {
            loop {
                match timeout(CALL_MAX, call(self.channels[self.at].clone())).await {
                    Ok(Ok(answer)) => return Ok(answer),
                    Ok(Err(error)) if is_gone(&error) => return Err(error),
                    Ok(Err(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
                    Err(_) => {}
                }
                self.at = (self.at + 1) % self.channels.len();
            }
        };
        match timeout(within, repeated).await {
            Ok(answer) => answer,
            Err(_) => bail!("no node answered in time"),
        }
    }
}

impl Locker for EtcdLocker {
    type Hold = EtcdHold;

    async fn lock(&mut self, name: &str, ttl: Duration, wait: Duration, attended: bool) -> Result<Option<EtcdHold>> {
        let lease = self.insist(wait, |etcd| async move { etcd.lease_grant(ttl).await }).await?;
        let etcd = self.channels[self.at].clone();
        let mut locking = pin!(timeout(wait, etcd.lock(name, lease)));
        let locked = loop {
            tokio::select! {
                locked = &mut locking => break locked,
                () = tokio::time::sleep(ttl / 3), if attended => {
                    // As its sessions do. What becomes of it shows when the lock is granted.
                    let _alive = self.insist(ttl / 3, |etcd| async move { etcd.lease_keep_alive(lease).await }).await;
                }
            }
        };
        if let Ok(Ok(locked)) = locked {
            let revision = locked.header.map_or(0, |header| header.revision.unsigned_abs());
            return Ok(Some(EtcdHold { lease, key: locked.key, revision }));
        }
        self.at = (self.at + 1) % self.channels.len();
        // So ends the wait too.
        let _gone = self.insist(wait, |etcd| async move { etcd.lease_revoke(lease).await }).await;
        Ok(None)
    }

    async fn renew(&mut self, hold: &EtcdHold) -> Result<bool> {
        let lease = hold.lease;
        let renewed = self.insist(PATIENCE, |etcd| async move { etcd.lease_keep_alive(lease).await }).await;
        if renewed.as_ref().is_err_and(is_gone) { Ok(false) } else { renewed }
    }

    async fn unlock(&mut self, hold: EtcdHold) -> Result<()> {
        let key = hold.key;
        self.insist(PATIENCE, |etcd| {
            let key = key.clone();
            async move { etcd.unlock(key).await }
        })
        .await?;
        // As its sessions do at their end.
        let revoked = self.insist(PATIENCE, |etcd| async move { etcd.lease_revoke(hold.lease).await }).await;
        if revoked.as_ref().is_err_and(is_gone) { Ok(()) } else { revoked }
    }

    fn token(hold: &EtcdHold) -> u64 {
        hold.revision
    }
}

fn is_gone(error: &anyhow::Error) -> bool {
    error.to_string().contains("lease not found")
}
