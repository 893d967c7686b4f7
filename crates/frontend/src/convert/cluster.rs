//! What a cluster says of itself.

use leasehold_consensus::{ClusterStatus, NodeState, RaisedLevel, Role};
use leasehold_proto::v1;

pub(crate) fn cluster_status(status: ClusterStatus) -> v1::StatusResponse {
    v1::StatusResponse {
        cluster_id: status.cluster.map(|id| id.to_string()).unwrap_or_default(),
        leader: status.leader,
        term: status.term,
        node_id: status.node_id,
        nodes: status.nodes.into_iter().map(node).collect(),
        log_time_ms: status.log_time.0,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        level: status.level,
    }
}

fn node(node: NodeState) -> v1::NodeStatus {
    let role = match node.role {
        Role::Leader => v1::Role::Leader,
        Role::Follower => v1::Role::Follower,
        Role::Candidate => v1::Role::Candidate,
        Role::Learner => v1::Role::Learner,
    };
    let agreement = node.agreement.unwrap_or_default();
    v1::NodeStatus {
        id: node.id,
        address: node.address,
        peer_address: node.peer_address,
        role: role.into(),
        applied: node.applied,
        up: node.up,
        level_max: node.level_max,
        agreed_at: agreement.agreed,
        differs_at: agreement.differs,
    }
}

pub(crate) fn raised(raised: RaisedLevel) -> v1::RaiseLevelResponse {
    v1::RaiseLevelResponse { level: raised.level, level_before: raised.before }
}
