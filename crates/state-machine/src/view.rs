//! What the tables answer to readers. Times are relative to the log time of the applied state.

use bytes::Bytes;
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
    /// The length of its queue: `waiters` may hold only its head.
    pub waiter_count: usize,
    /// Log time left of its lock-delay, in ms; 0 without one.
    pub delay_left_ms: u64,
    /// How it was last lost.
    pub last_lost: Option<LossView>,
}

/// Who has a lock, in short: what an unlock by owner compares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Occupant {
    /// Nobody: an acquire would get it, but for waiters that come before.
    Nobody,
    /// Nobody, and nobody gets it for so long: its lock-delay, in ms of log time.
    Delayed {
        /// Log time left, in ms.
        left_ms: u64,
    },
    /// One holder, in mode [`Mode::Exclusive`].
    One(Holding),
    /// Holders in another mode, so many.
    Several {
        /// At least 1.
        holders: usize,
    },
}

/// See [`Occupant::One`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// The grant. Owner and lease are the same as long as the token is current.
    pub token: FencingToken,
    /// Who it says it is.
    pub owner: String,
    /// What the grant hangs on.
    pub lease: LeaseId,
    /// Whether that is a session, or a lease of the grant's own.
    pub session: bool,
    /// Grants that hang on the lease, this one included.
    pub lease_grants: usize,
    /// Log time left of the lease, in ms.
    pub left_ms: u64,
}

/// How a lock was lost. A conversion is no loss.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossView {
    /// The token that it was held under.
    pub token: FencingToken,
    /// Why.
    pub reason: LossReason,
    /// What a forced release said; empty otherwise.
    pub note: String,
    /// Log time since, in ms.
    pub ago_ms: u64,
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
    /// Task of the session; empty where none was named.
    pub actor: String,
    /// Version of the value.
    pub version: u64,
    /// Its value.
    pub value: Bytes,
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
    /// Its session, or the lease of the grant that it converts.
    pub lease: Option<LeaseId>,
    /// Task of the session; empty where none was named.
    pub actor: String,
    /// What it says about itself.
    pub metadata: String,
    /// The token of the grant that it would convert.
    pub converts: Option<FencingToken>,
}

/// One session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionView {
    /// Its id.
    pub session: LeaseId,
    /// Namespace of its locks.
    pub namespace: String,
    /// Who opened it.
    pub owner: String,
    /// What it says about itself.
    pub metadata: String,
    /// Its time to live, in ms.
    pub ttl_ms: u64,
    /// Log time left, in ms.
    pub left_ms: u64,
    /// Log time since it was opened, in ms.
    pub open_ms: u64,
    /// What hangs on it, in token order.
    pub grants: Vec<SessionGrantView>,
    /// Its waiting requests, with those that would convert a grant of it.
    pub waits: usize,
    /// Grants under it that were ended by force since it was opened.
    pub forced: u64,
}

/// One lock that a session holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionGrantView {
    /// The lock.
    pub name: String,
    /// How it is held.
    pub mode: Mode,
    /// Its fencing token.
    pub token: FencingToken,
}

/// Whether a token is current.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenView {
    /// It is the token of a grant of this lock.
    Current {
        /// How the lock is held under it.
        mode: Mode,
        /// Log time left of its lease, in ms.
        left_ms: u64,
    },
    /// It was a token once, of this lock or of one that is forgotten.
    Past {
        /// How it was lost, where remembered.
        loss: Option<LossView>,
    },
    /// It is, or was last known as, another lock's, or was never given out.
    Foreign,
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
