//! The types that openraft is configured with, and their translation to the state machine's.

use std::collections::BTreeSet;
use std::fmt;

use bytes::Bytes;
use leasehold_state_machine::codec::{self, DecodeError};
use leasehold_state_machine::{EntryId, LeaderStamp, Outcome};
use openraft::entry::EntryPayload;
use openraft::raft::responder::Responder;
use serde::{Deserialize, Serialize};

use crate::runtime::Runtime;

/// Node ids are never reused.
pub(crate) type NodeId = u64;
/// May lead a term: term and node id.
pub(crate) type LeaderId = openraft::impls::leader_id_adv::LeaderId<u64, NodeId>;
pub(crate) type LogId = openraft::impls::LogId<LeaderId>;
pub(crate) type Vote = openraft::impls::Vote<LeaderId>;
pub(crate) type Payload = EntryPayload<BatchBytes, NodeId, Member>;
pub(crate) type Entry = openraft::impls::Entry<LeaderId, Payload>;
pub(crate) type Membership = openraft::Membership<NodeId, Member>;
pub(crate) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type Raft = openraft::Raft<TypeConfig, crate::applier::Applier>;

/// What the membership says of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Member {
    /// Where peers reach it.
    pub peer_address: String,
    /// Where clients reached it when it joined.
    pub client_address: String,
    /// The random name of its data folder: a wiped or swapped folder has another one.
    pub incarnation: u64,
    /// The highest format level that it supported when it joined: a new cluster begins with the lowest of its members'.
    pub level_max: u32,
}

/// Reads a membership that a log, a snapshot or a peer holds. One without voters is refused, because openraft takes any set of nodes
/// for a quorum of it, and one whose voters are not all members, because nobody can reach these.
pub(crate) fn decode_membership(bytes: &[u8]) -> Result<Membership, DecodeError> {
    let membership: Membership = codec::decode(bytes)?;
    let configs = membership.get_joint_config();
    if configs.is_empty() || configs.iter().any(BTreeSet::is_empty) {
        return Err(DecodeError::Malformed("a membership without voters".to_owned()));
    }
    if let Some(voter) = membership.voter_ids().find(|voter| membership.get_node(voter).is_none()) {
        return Err(DecodeError::Malformed(format!("voter {voter} is not among the members")));
    }
    Ok(membership)
}

/// The bytes of one batch of commands, encoded once by the leader's proposer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BatchBytes(pub(crate) Bytes);

impl fmt::Debug for BatchBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BatchBytes({})", self.0.len())
    }
}

impl fmt::Display for BatchBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "batch of {} bytes", self.0.len())
    }
}

/// What an entry came to, one outcome per command.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcomes(pub(crate) Vec<Outcome>);

/// Runs a closure with the result of a write, in the apply task.
pub(crate) struct Callback<T>(pub(crate) Box<dyn FnOnce(T) + Send>);

impl<T: Send + 'static> Responder<TypeConfig, T> for Callback<T> {
    fn on_complete(self, result: T) {
        (self.0)(result);
    }
}

/// openraft's type parameters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TypeConfig;

impl openraft::RaftTypeConfig for TypeConfig {
    type D = BatchBytes;
    type R = Outcomes;
    type NodeId = NodeId;
    type Node = Member;
    type Term = u64;
    type LeaderId = LeaderId;
    type Vote = Vote;
    type Payload = Payload;
    type Entry = Entry;
    type AsyncRuntime = Runtime;
    type Responder<T>
        = Callback<T>
    where
        T: openraft::OptionalSend + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: openraft::OptionalSend + 'static;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

pub(crate) fn stamp(leader: LeaderId) -> LeaderStamp {
    LeaderStamp { term: leader.term, node: leader.node_id }
}

pub(crate) fn entry_id(id: LogId) -> EntryId {
    EntryId { leader: stamp(id.leader_id), index: id.index }
}

pub(crate) fn log_id(id: EntryId) -> LogId {
    LogId { leader_id: LeaderId { term: id.leader.term, node_id: id.leader.node }, index: id.index }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn refusal(configs: Vec<BTreeSet<NodeId>>) -> String {
        // A membership made so is checked by nobody, as one from a log or a peer.
        let bytes = codec::encode(&Unchecked { configs, nodes: BTreeMap::from([(1, Member::default())]) });
        decode_membership(&bytes).unwrap_err().to_string()
    }

    /// What a membership is encoded as.
    #[derive(Serialize)]
    struct Unchecked {
        configs: Vec<BTreeSet<NodeId>>,
        nodes: BTreeMap<NodeId, Member>,
    }

    /// openraft takes every set of nodes for a quorum of no voters: one node alone would commit what it likes.
    #[test]
    fn a_membership_without_voters_is_refused() {
        assert!(refusal(Vec::new()).contains("without voters"));
        assert!(refusal(vec![BTreeSet::from([1]), BTreeSet::new()]).contains("without voters"));
    }

    #[test]
    fn a_voter_that_is_no_member_is_refused() {
        assert!(refusal(vec![BTreeSet::from([1]), BTreeSet::from([1, 2])]).contains("voter 2"));
    }

    #[test]
    fn what_openraft_makes_is_read_as_it_was() {
        let nodes = BTreeMap::from([(1, Member::default()), (2, Member::default()), (3, Member::default())]);
        let membership = Membership::new(vec![BTreeSet::from([1, 2]), BTreeSet::from([2])], nodes).unwrap();
        assert_eq!(decode_membership(&codec::encode(&membership)), Ok(membership));
    }
}
