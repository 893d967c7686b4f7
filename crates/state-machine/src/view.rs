//! What the tables answer to readers. Times are relative to the log time of the applied state.

use serde::{Deserialize, Serialize};

use crate::{Attempt, Ended, FencingToken, Granted, LeaseId, LossReason, Mode, RequestId};

/// One lock as readers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockView {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// In grant order.
    pub holders: Vec<HolderView>,
    /// In queue order.
    pub waiters: Vec<WaiterView>,
    /// Why it was last lost, and with which token.
    pub last_lost: Option<(LossReason, FencingToken)>,
}

/// One holder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderView {
    /// Its fencing token.
    pub token: FencingToken,
    /// Who it says it is.
    pub owner: String,
    /// What the grant hangs on.
    pub lease: LeaseId,
    /// How it holds.
    pub mode: Mode,
    /// Log time since the grant, in ms.
    pub held_ms: u64,
    /// Log time left of the lease, in ms.
    pub left_ms: u64,
    /// What it says about itself.
    pub metadata: String,
}

/// One waiter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaiterView {
    /// From 1.
    pub position: u32,
    /// Its request.
    pub request: RequestId,
    /// Who it says it is.
    pub owner: String,
    /// How it wants to hold.
    pub mode: Mode,
    /// Log time since it queued, in ms.
    pub waited_ms: u64,
    /// Log time left of its wait, in ms.
    pub left_ms: u64,
}

/// What became of a request id, for calls that may have missed their event (after a snapshot install).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestView {
    /// Never applied, or forgotten.
    Unknown,
    /// Waits.
    Waiting {
        /// The attempt applied last.
        attempt: Attempt,
    },
    /// Holds.
    Granted {
        /// The attempt applied last.
        attempt: Attempt,
        /// What it holds, with the time left now.
        granted: Granted,
    },
    /// Held or waited once.
    Ended {
        /// The attempt applied last.
        attempt: Attempt,
        /// Why it ended.
        ended: Ended,
    },
}
