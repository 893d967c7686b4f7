//! What a node says about itself and the cluster.

use std::time::Duration;

use futures_util::future::join_all;
use leasehold_proto::peer as pb;
use leasehold_state_machine::{ClusterId, LEVEL_FIRST, LogTime};

use crate::divergence::Agreement;
use crate::transport::{Purpose, Transport};
use crate::types::Member;

/// A member that does not answer within this counts as down.
const ASK_TIMEOUT: Duration = Duration::from_millis(500);

/// What a node is in Raft.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Leads the term.
    Leader,
    /// Follows a leader, or waits for one.
    Follower,
    /// Stands for election.
    Candidate,
    /// Replicates without a vote.
    Learner,
}

/// The cluster as one node sees it.
#[derive(Debug, Clone)]
pub struct ClusterStatus {
    /// The cluster, once founded.
    pub cluster: Option<ClusterId>,
    /// The node that answers.
    pub node_id: u64,
    /// The leader it knows.
    pub leader: Option<u64>,
    /// Its Raft term.
    pub term: u64,
    /// Its log time.
    pub log_time: LogTime,
    /// The format level in force.
    pub level: u32,
    /// All members, in id order.
    pub nodes: Vec<NodeState>,
}

/// One member.
#[derive(Debug, Clone)]
pub struct NodeState {
    /// Its id.
    pub id: u64,
    /// Where its clients connect; empty when it did not answer and is not known.
    pub address: String,
    /// Where its peers connect.
    pub peer_address: String,
    /// Its role by its own word, or by what this node knows.
    pub role: Role,
    /// Last applied log index that it told, 0 when it did not answer.
    pub applied: u64,
    /// The highest format level that it supports, 0 when it did not answer.
    pub level_max: u32,
    /// How the state of the answering node compares with its; None for the answering node itself.
    pub agreement: Option<Agreement>,
    /// Whether it answered within a short bound.
    pub up: bool,
}

/// Whether a node takes calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// A leader is known and apply keeps up.
    Ready,
    /// Not yet, or not any more; the text says why.
    NotReady(String),
}

pub(crate) fn role_to_pb(role: Role) -> pb::Role {
    match role {
        Role::Leader => pb::Role::Leader,
        Role::Follower => pb::Role::Follower,
        Role::Candidate => pb::Role::Candidate,
        Role::Learner => pb::Role::Learner,
    }
}

pub(crate) fn role_from_pb(role: pb::Role) -> Role {
    match role {
        pb::Role::Leader => Role::Leader,
        pb::Role::Follower => Role::Follower,
        pb::Role::Candidate => Role::Candidate,
        pb::Role::Learner | pb::Role::Unspecified => Role::Learner,
    }
}

/// What every member says of itself; what the membership says of those that do not answer.
pub(crate) async fn ask_members(transport: &Transport, own: NodeState, members: Vec<(u64, Member)>) -> Vec<NodeState> {
    if members.is_empty() {
        return vec![own];
    }
    join_all(members.into_iter().map(|(id, member)| {
        let own = (id == own.id).then(|| own.clone());
        async move {
            match own {
                Some(own) => own,
                None => ask(transport, id, member).await,
            }
        }
    }))
    .await
}

async fn ask(transport: &Transport, id: u64, member: Member) -> NodeState {
    let answer = async {
        let mut client = transport.client(&member.peer_address, Purpose::Control).ok()?;
        let asked = tokio::time::timeout(ASK_TIMEOUT, client.identify(pb::IdentifyRequest {})).await;
        asked.ok()?.ok().map(tonic::Response::into_inner)
    };
    // Another folder under the same id is not the member.
    let answer = answer.await.filter(|answer| answer.node_id == id && answer.incarnation == member.incarnation);
    match answer {
        Some(answer) => NodeState {
            id,
            role: role_from_pb(answer.role()),
            address: answer.address,
            peer_address: member.peer_address,
            applied: answer.applied,
            // A build that does not tell its level knows the first one only.
            level_max: answer.level_max.max(LEVEL_FIRST),
            agreement: None,
            up: true,
        },
        None => NodeState {
            id,
            address: member.client_address,
            peer_address: member.peer_address,
            role: Role::Follower,
            applied: 0,
            level_max: 0,
            agreement: None,
            up: false,
        },
    }
}
