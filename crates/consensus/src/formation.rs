//! How a new node finds its cluster, or makes one (DESIGN section 6).
//!
//! Runs beside raft until this node has a membership. The lowest listed node id alone initialises the group, once all
//! listed peers say that they are new. A node that the cluster knows by another data folder stops.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use leasehold_failpoints::failpoint;
use leasehold_platform::random;
use leasehold_proto::peer as pb;
use leasehold_state_machine::{ClusterId, LEVEL_FIRST};
use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::{InitializeError, RaftError};
use rand::Rng;
use tokio_util::sync::CancellationToken;

use crate::identity::IdentityFile;
use crate::transport::{Purpose, Transport};
use crate::types::{Member, Raft};
use crate::{NodeOptions, StopReason};

const ASK_TIMEOUT: Duration = Duration::from_millis(500);
const RETRY: Duration = Duration::from_millis(100);
/// Rounds between two lines of log about what is waited for.
const ROUNDS_PER_LOG: u32 = 50;

pub(crate) struct Formation {
    pub(crate) raft: Raft,
    pub(crate) identity: Arc<IdentityFile>,
    pub(crate) transport: Arc<Transport>,
    pub(crate) options: NodeOptions,
}

/// What a round of questions led to.
enum Step {
    Formed,
    Wait(String),
    Refused(String),
}

impl Formation {
    /// Returns once this node is a member of a cluster (None), or must not be one.
    pub(crate) async fn run(self, stop: CancellationToken) -> Option<StopReason> {
        let mut round = 0_u32;
        loop {
            match self.step().await {
                Step::Formed => return None,
                Step::Refused(why) => return Some(StopReason::Identity(why)),
                Step::Wait(why) => {
                    if round.is_multiple_of(ROUNDS_PER_LOG) {
                        tracing::info!(node_id = self.options.node_id, "not a member yet: {why}");
                    }
                }
            }
            round += 1;
            stop.run_until_cancelled(tokio::time::sleep(RETRY)).await?;
        }
    }

    fn is_member(&self) -> bool {
        let metrics = self.raft.server_metrics();
        metrics.borrow_watched().membership_config.membership().nodes().next().is_some()
    }

    async fn step(&self) -> Step {
        if self.is_member() {
            return Step::Formed;
        }
        let own = self.identity.get();
        let mut answers = BTreeMap::new();
        let mut silent = Vec::new();
        for (id, address) in self.options.peers.iter().filter(|(id, _)| **id != own.node_id) {
            failpoint!("formation::ask::before", pass);
            match self.ask(address).await {
                Ok(answer) if answer.node_id != *id => {
                    return Step::Refused(format!(
                        "peers: {address} is listed as node {id}, but node {} answers there",
                        answer.node_id
                    ));
                }
                Ok(answer) => drop(answers.insert(*id, answer)),
                Err(status) => silent.push(format!("node {id} at {address}: {}", status.message())),
            }
        }
        let known = answers.values().flat_map(|answer| &answer.members);
        if let Some(member) = known.clone().find(|m| m.node_id == own.node_id && m.incarnation != own.incarnation) {
            return Step::Refused(format!(
                "the cluster knows node {} by data folder {:016x}, this folder is {:016x}: it was emptied or swapped. A node \
                 cannot come back under its old id without its old data. Restore the folder, or remove node {} from the \
                 membership and add this one as a new node with an id that was never used",
                own.node_id, member.incarnation, own.incarnation, own.node_id
            ));
        }
        // A node joins a cluster only when its leader has spoken to it: then the cluster is formed, wherever its members are.
        if known.count() > 0 || answers.values().any(|answer| answer.cluster_id.is_some()) {
            return Step::Wait("the cluster is formed; waiting for its leader to contact this node".into());
        }
        if !self.options.bootstrap {
            return Step::Wait("started without --bootstrap; waiting to be added to a cluster".into());
        }
        if !silent.is_empty() {
            return Step::Wait(format!(
                "waiting for all peers to say that they are new; silent: {}",
                silent.join("; ")
            ));
        }
        if self.options.peers.keys().next() != Some(&own.node_id) {
            return Step::Wait("waiting for the lowest listed node to form the cluster".into());
        }
        self.initialize(answers).await
    }

    async fn ask(&self, address: &str) -> Result<pb::IdentifyResponse, tonic::Status> {
        let mut client = self.transport.client(address, Purpose::Control)?;
        match tokio::time::timeout(ASK_TIMEOUT, client.identify(pb::IdentifyRequest {})).await {
            Ok(answer) => Ok(answer?.into_inner()),
            Err(_) => {
                self.transport.forget(address, Purpose::Control);
                Err(tonic::Status::deadline_exceeded("no answer in time"))
            }
        }
    }

    async fn initialize(&self, answers: BTreeMap<u64, pb::IdentifyResponse>) -> Step {
        let own = self.identity.get();
        let new = ClusterId(random::rng().random::<u128>().max(1));
        let cluster = match self.identity.join(new) {
            Ok(cluster) => cluster,
            Err(error) => return Step::Wait(format!("the identity file cannot be written: {error}")),
        };
        let mut members = BTreeMap::new();
        for (id, address) in &self.options.peers {
            let (incarnation, client_address, level_max) = match answers.get(id) {
                // A build that does not tell its level knows the first one only.
                Some(answer) => (answer.incarnation, answer.address.clone(), answer.level_max.max(LEVEL_FIRST)),
                None => (own.incarnation, self.options.client_address.clone(), self.options.level_max),
            };
            members.insert(*id, Member { peer_address: address.clone(), client_address, incarnation, level_max });
        }
        tracing::info!(%cluster, members = members.len(), "forming the cluster");
        failpoint!("formation::initialize::before", pass);
        let initialized = self.raft.initialize(members).await;
        failpoint!("formation::initialize::after", pass);
        match initialized {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Step::Formed,
            Err(error) => Step::Wait(format!("the cluster cannot be formed yet: {error}")),
        }
    }
}
