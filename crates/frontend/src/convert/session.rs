//! Sessions as readers see them.

use leasehold_proto::v1;
use leasehold_state_machine::{SessionGrantView, SessionView};

use super::{WireMode, count, wire_mode};

/// Grants that a session's description lists; its `grant_count` tells all.
const GRANTS_SHOWN_MAX: usize = 1_000;

pub(crate) fn session(view: SessionView) -> v1::SessionInfo {
    v1::SessionInfo {
        session: view.session.to_string(),
        namespace: view.namespace,
        owner: view.owner,
        metadata: view.metadata,
        ttl_ms: view.ttl_ms,
        left_ms: view.left_ms,
        open_ms: view.open_ms,
        grant_count: count(view.grants.len()),
        grants: view.grants.into_iter().take(GRANTS_SHOWN_MAX).map(grant).collect(),
        wait_count: count(view.waits),
        forced: view.forced,
    }
}

fn grant(view: SessionGrantView) -> v1::Grant {
    let WireMode { mode, permits, limit } = wire_mode(view.mode);
    v1::Grant { name: view.name, mode, token: view.token.0, permits, limit }
}
