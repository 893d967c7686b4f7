//! What an entry did that others may wait for.

use crate::{Attempt, Granted, LeaseId, LogTime, LossReason, RequestId, Revision};

/// One change that waiting calls and watches hear of, in apply order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Where in the log it happened.
    pub revision: Revision,
    /// Log time of the entry.
    pub at: LogTime,
    /// Namespace of the locks concerned.
    pub namespace: String,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// An acquire was granted, at once or after a wait.
    Granted {
        /// Its request.
        request: RequestId,
        /// The attempt that the grant answers (the last one applied).
        attempt: Attempt,
        /// What was granted. `confirm` tells whether it ended a wait.
        granted: Granted,
        /// Shown to watchers.
        owner: String,
    },
    /// An acquire queued, or a later attempt re-armed its wait.
    Queued {
        /// Its request.
        request: RequestId,
        /// The attempt that waits now: calls of earlier attempts are superseded.
        attempt: Attempt,
        /// Names of the locks.
        names: Vec<String>,
    },
    /// A wait ended without a grant.
    WaitEnded {
        /// Its request.
        request: RequestId,
        /// The attempt that waited.
        attempt: Attempt,
        /// Expired: the wait's deadline passed. Cancelled. LeaseClosed: its session ended.
        reason: LossReason,
    },
    /// A grant ended.
    Lost {
        /// The lock.
        name: String,
        /// The token that is no longer current.
        token: crate::FencingToken,
        /// The lease it hung on.
        lease: LeaseId,
        /// Why.
        reason: LossReason,
    },
    /// A lease ended, after its grants.
    LeaseEnded {
        /// Which.
        lease: LeaseId,
        /// Why.
        reason: LossReason,
    },
}
