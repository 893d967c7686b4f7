//! etcd as a target: the nodes of Debian's `etcd-server`, on the same hosts and disks as ours, under the same faults.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use tokio::time::timeout;

use super::fault::Need;
use super::target::{Answer, NodePlace, StartAs, Target};
use crate::checker::NodeEnd;
use crate::dump::NodeLog;
use crate::failover::{EtcdChannel, EtcdCluster, EtcdSeat};

const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Three nodes of etcd with the times that they have by default.
#[derive(Debug)]
pub struct Etcd {
    version: String,
    /// Its members by the ids that they give themselves.
    members: Mutex<BTreeMap<u64, u64>>,
}

/// A node's word.
struct Word {
    term: u64,
    leader: Option<u64>,
    applied: u64,
}

impl Etcd {
    /// The one that is installed.
    pub fn new() -> Result<Self> {
        let version = EtcdCluster::version().context("etcd is not installed (Debian: etcd-server)")?;
        Ok(Self { version, members: Mutex::default() })
    }

    async fn ask(&self, node: &NodePlace) -> Option<Word> {
        let channel = EtcdChannel::new(&node.client_address()).ok()?;
        let status = timeout(ANSWER_MAX, channel.status()).await.ok()?.ok()?;
        let header = status.header?;
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.insert(header.member_id, node.id);
        // None is 0, which is nobody's id.
        let leader = members.get(&status.leader).copied();
        Some(Word { term: header.raft_term, leader, applied: status.applied })
    }

    async fn end(&self, node: &NodePlace) -> NodeEnd {
        let Some(word) = self.ask(node).await else { return NodeEnd::default() };
        let hash = async { EtcdChannel::new(&node.client_address())?.hash().await };
        let hash = timeout(ANSWER_MAX, hash).await.ok().and_then(Result::ok);
        NodeEnd { leader: word.leader, applied: word.applied, hash: hash.map(|hash| format!("{hash:08x}")) }
    }
}

impl Target for Etcd {
    fn name(&self) -> &'static str {
        "etcd"
    }

    fn title(&self) -> String {
        format!("etcd {} with its default times", self.version)
    }

    fn brings(&self) -> Vec<Need> {
        Vec::new()
    }

    fn node_command(&self, place: &NodePlace, how: &StartAs) -> Result<Vec<String>> {
        let seat = EtcdSeat {
            id: place.id,
            // It makes this one itself, for nobody else to read.
            data: place.data_dir.join("etcd"),
            client: place.client_address(),
            peer: format!("{}:{}", place.address, place.peer_port),
        };
        let peer = |peer: &str| peer.split_once('=').map(|(id, address)| format!("n{id}=http://{address}"));
        let cluster = place.peers.split(',').filter_map(peer).collect::<Vec<_>>().join(",");
        let mut words = vec!["etcd".to_owned()];
        words.extend(seat.arguments(&cluster, None));
        if how.small_logs {
            words.push("--snapshot-count=200".into());
        }
        Ok(words)
    }

    fn leader<'a>(&'a self, node: &'a NodePlace) -> Answer<'a, Option<(u64, Option<u64>)>> {
        Box::pin(async move { self.ask(node).await.map(|word| (word.term, word.leader)) })
    }

    fn is_settled<'a>(&'a self, nodes: &'a [NodePlace]) -> Answer<'a, bool> {
        Box::pin(async move {
            let mut said = Vec::new();
            for node in nodes {
                let Some(word) = self.ask(node).await else { return false };
                said.push((word.leader, word.applied));
            }
            said.iter().all(|one| *one == said[0] && one.0.is_some())
        })
    }

    fn raise_level<'a>(&'a self, _: &'a [NodePlace]) -> Answer<'a, Result<()>> {
        Box::pin(async { bail!("etcd has no format levels") })
    }

    fn has_refused(&self, _: ExitStatus, _: &str) -> bool {
        false
    }

    fn ended_in_order(&self, status: ExitStatus) -> bool {
        // It cleans up, then dies of the signal that told it to.
        status.success() || status.signal() == Some(Signal::TERM.as_raw())
    }

    fn ends<'a>(&'a self, nodes: &'a [NodePlace]) -> Answer<'a, BTreeMap<u64, NodeEnd>> {
        Box::pin(async move {
            let mut ends = BTreeMap::new();
            for node in nodes {
                ends.insert(node.id, self.end(node).await);
            }
            ends
        })
    }

    fn logs(&self, _: &[NodePlace]) -> Result<Vec<NodeLog>> {
        Ok(Vec::new())
    }
}
