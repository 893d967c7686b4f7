//! From the machine's words to the wire's.

use leasehold_consensus::{ClusterStatus, NodeState, Role};
use leasehold_proto::v1;
use leasehold_proto::v1::acquire_response::Result as Acquired;
use leasehold_state_machine::{
    Cancelled, Ended, Granted, Held, HolderView, LockView, LossReason, Mode, Released, WaiterView,
};

/// Waiters that a lock's description lists; its `waiter_count` tells all.
const WAITERS_SHOWN_MAX: usize = 1_000;

fn response(result: Acquired) -> v1::AcquireResponse {
    v1::AcquireResponse { result: Some(result) }
}

pub(crate) fn granted(granted: Granted) -> v1::AcquireResponse {
    let grants = granted
        .grants
        .into_iter()
        .map(|lock| v1::Grant { name: lock.name, mode: mode(lock.mode).into(), token: lock.token.0 })
        .collect();
    response(Acquired::Granted(v1::Granted {
        lease: granted.lease.to_string(),
        grants,
        // Nothing can be counted from a send that a wait lies behind.
        ttl_ms: if granted.confirm { 0 } else { granted.left_ms },
        confirm: granted.confirm,
    }))
}

pub(crate) fn held(held: Held) -> v1::AcquireResponse {
    let holders = held.holders.into_iter().map(holder).collect();
    response(Acquired::Held(v1::Held { name: held.name, holders, waiters: held.waiters }))
}

pub(crate) fn ended(ended: Ended) -> v1::AcquireResponse {
    let token = ended.token.map_or(0, |token| token.0);
    response(Acquired::Ended(v1::Ended { reason: loss_reason(Some(ended.reason)).into(), token }))
}

pub(crate) fn wait_ended(waiters: u32) -> v1::AcquireResponse {
    response(Acquired::WaitEnded(v1::WaitEnded { waiters }))
}

pub(crate) fn cancelled(cancelled: Cancelled) -> v1::CancelAcquireResponse {
    let (left_queue, undid_grant) = match cancelled {
        Cancelled::LeftQueue => (true, false),
        Cancelled::UndidGrant => (false, true),
        Cancelled::Superseded | Cancelled::NotFound => (false, false),
    };
    v1::CancelAcquireResponse { left_queue, undid_grant }
}

pub(crate) fn released(released: Released) -> v1::ReleaseResponse {
    v1::ReleaseResponse { released: released.released, reason: loss_reason(released.reason).into() }
}

pub(crate) fn loss_reason(reason: Option<LossReason>) -> v1::LossReason {
    match reason {
        None => v1::LossReason::Unspecified,
        Some(LossReason::Released) => v1::LossReason::Released,
        Some(LossReason::Expired) => v1::LossReason::Expired,
        Some(LossReason::Cancelled) => v1::LossReason::Cancelled,
        Some(LossReason::Forced) => v1::LossReason::Forced,
        Some(LossReason::LeaseClosed) => v1::LossReason::LeaseClosed,
    }
}

fn mode(mode: Mode) -> v1::Mode {
    match mode {
        Mode::Exclusive => v1::Mode::Exclusive,
    }
}

fn holder(view: HolderView) -> v1::Holder {
    v1::Holder {
        token: view.token.0,
        owner: view.owner,
        lease: view.lease.to_string(),
        mode: mode(view.mode).into(),
        held_ms: view.held_ms,
        left_ms: view.left_ms,
        metadata: view.metadata,
    }
}

fn waiter(view: WaiterView) -> v1::Waiter {
    v1::Waiter {
        position: view.position,
        owner: view.owner,
        mode: mode(view.mode).into(),
        waited_ms: view.waited_ms,
        left_ms: view.left_ms,
    }
}

pub(crate) fn lock(view: LockView, revision: u64) -> v1::LockInfo {
    let (last_lost, last_lost_token) = match view.last_lost {
        Some((reason, token)) => (loss_reason(Some(reason)), token.0),
        None => (v1::LossReason::Unspecified, 0),
    };
    v1::LockInfo {
        namespace: view.namespace,
        name: view.name,
        holders: view.holders.into_iter().map(holder).collect(),
        waiter_count: u32::try_from(view.waiters.len()).unwrap_or(u32::MAX),
        waiters: view.waiters.into_iter().take(WAITERS_SHOWN_MAX).map(waiter).collect(),
        last_lost: last_lost.into(),
        last_lost_token,
        revision,
    }
}

pub(crate) fn cluster_status(status: ClusterStatus) -> v1::StatusResponse {
    v1::StatusResponse {
        cluster_id: status.cluster.map(|id| id.to_string()).unwrap_or_default(),
        leader: status.leader,
        term: status.term,
        node_id: status.node_id,
        nodes: status.nodes.into_iter().map(node).collect(),
        log_time_ms: status.log_time.0,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

fn node(node: NodeState) -> v1::NodeStatus {
    let role = match node.role {
        Role::Leader => v1::Role::Leader,
        Role::Follower => v1::Role::Follower,
        Role::Candidate => v1::Role::Candidate,
        Role::Learner => v1::Role::Learner,
    };
    v1::NodeStatus {
        id: node.id,
        address: node.address,
        peer_address: node.peer_address,
        role: role.into(),
        applied: node.applied,
        up: node.up,
    }
}
