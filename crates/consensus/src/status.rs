//! What a node says about itself and the cluster.

use leasehold_state_machine::{ClusterId, LogTime};

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
