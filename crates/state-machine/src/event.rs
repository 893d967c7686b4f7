//! What an entry did that others may wait for.

use std::sync::Arc;

use bytes::Bytes;

use crate::{Attempt, FencingToken, Granted, LeaseId, LockRequest, LogTime, LossReason, Mode, RequestId, Revision};

/// One change that waiting calls and watches hear of, in apply order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Where in the log it happened.
    pub revision: Revision,
    /// Log time of the entry.
    pub at: LogTime,
    /// Namespace of the locks concerned.
    pub namespace: Arc<str>,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// An acquire was granted, at once or after a wait. Of a convert it follows [`EventKind::Converted`].
    Granted {
        /// Its request.
        request: RequestId,
        /// The attempt that the grant answers (the last one applied).
        attempt: Attempt,
        /// What was granted. `confirm` tells whether it ended a wait.
        granted: Granted,
        /// Shown to watchers.
        owner: Arc<str>,
    },
    /// An acquire queued, or a later attempt re-armed its wait.
    Queued {
        /// Its request.
        request: RequestId,
        /// The attempt that waits now: calls of earlier attempts are superseded.
        attempt: Attempt,
        /// The locks and modes.
        locks: Vec<LockRequest>,
        /// Shown to watchers.
        owner: Arc<str>,
        /// Its session, or the lease of the grant that it converts.
        lease: Option<LeaseId>,
    },
    /// A wait ended without a grant.
    WaitEnded {
        /// Its request.
        request: RequestId,
        /// The attempt that waited.
        attempt: Attempt,
        /// Expired: the wait's deadline, or its session's, passed. Cancelled. LeaseClosed: its session was closed. Of an
        /// upgrade also how the shared grant ended.
        reason: LossReason,
        /// Whether the wait's own deadline ended it: the same id may wait anew.
        timed_out: bool,
        /// Names of the locks.
        names: Vec<String>,
        /// Shown to watchers.
        owner: Arc<str>,
        /// As in `Queued`.
        lease: Option<LeaseId>,
    },
    /// A grant ended.
    Lost {
        /// The lock.
        name: String,
        /// The token that is no longer current.
        token: FencingToken,
        /// How it was held.
        mode: Mode,
        /// The lease it hung on.
        lease: LeaseId,
        /// Who held it.
        owner: Arc<str>,
        /// Why.
        reason: LossReason,
        /// What a forced release said; empty otherwise.
        note: String,
    },
    /// A grant was converted: `replaced` is no longer current, `token` is.
    Converted {
        /// The lock.
        name: String,
        /// The token before.
        replaced: FencingToken,
        /// The token now.
        token: FencingToken,
        /// How it is held now.
        mode: Mode,
        /// The lease that both hang on.
        lease: LeaseId,
        /// Who holds it.
        owner: Arc<str>,
    },
    /// A grant's value was replaced.
    ValueSet {
        /// The lock.
        name: String,
        /// The grant.
        token: FencingToken,
        /// The lease it hangs on.
        lease: LeaseId,
        /// Its new version.
        version: u64,
        /// Its new value.
        value: Bytes,
    },
    /// A session was opened.
    SessionOpened {
        /// Which.
        lease: LeaseId,
        /// Who opened it.
        owner: Arc<str>,
    },
    /// A lease ended, after its grants and waits. Of a session: the session is lost.
    LeaseEnded {
        /// Which.
        lease: LeaseId,
        /// Who had it.
        owner: Arc<str>,
        /// Why.
        reason: LossReason,
    },
}

impl EventKind {
    /// The lease or session that this concerns, where there is one yet.
    #[must_use]
    pub fn lease(&self) -> Option<LeaseId> {
        match self {
            Self::Granted { granted, .. } => Some(granted.lease),
            Self::Queued { lease, .. } | Self::WaitEnded { lease, .. } => *lease,
            Self::Lost { lease, .. }
            | Self::Converted { lease, .. }
            | Self::ValueSet { lease, .. }
            | Self::SessionOpened { lease, .. }
            | Self::LeaseEnded { lease, .. } => Some(*lease),
        }
    }

    /// Whether a lock whose name satisfies `wanted` is concerned. Sessions and leases have no name.
    pub fn names_any(&self, wanted: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::Granted { granted, .. } => granted.grants.iter().any(|lock| wanted(&lock.name)),
            Self::Queued { locks, .. } => locks.iter().any(|lock| wanted(&lock.name)),
            Self::WaitEnded { names, .. } => names.iter().any(|name| wanted(name)),
            Self::Lost { name, .. } | Self::Converted { name, .. } | Self::ValueSet { name, .. } => wanted(name),
            Self::SessionOpened { .. } | Self::LeaseEnded { .. } => false,
        }
    }
}
