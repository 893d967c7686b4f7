//! What a log entry can say.

use serde::{Deserialize, Serialize};

use crate::{Attempt, ClusterId, FencingToken, LeaderStamp, LeaseId, Limits, LogTime, RequestId};

/// The body of an ordinary log entry: a stamp of log time and a batch of commands.
///
/// On the wire and in the log the commands stay in the bytes that the node which took the call encoded
/// (see [`crate::codec`]): encoded once, decoded once per node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Log time by the leader's clock.
    pub at: LogTime,
    /// The leader id under which `at` was stamped. Under any other one the entry leaves `now` unchanged.
    pub stamped_by: LeaderStamp,
    /// Applied in this order. Empty: a bare tick.
    pub commands: Vec<Command>,
}

/// One replicated command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Who called, where callers are known.
    pub principal: Option<String>,
    /// `apply` refuses the command once `now` is later than this. None for what nodes do on their own.
    pub not_after: Option<LogTime>,
    /// What to do.
    pub operation: Operation,
}

/// The operations of DESIGN section 4 that this format level knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// Founds the cluster: comes before any other command, and only the first one counts.
    Found(Found),
    /// Takes locks at once, or queues for them.
    Acquire(Acquire),
    /// Gives up an acquire's wait, or its grant.
    CancelAcquire(CancelAcquire),
    /// Releases one lock by its token.
    Release(Release),
    /// Renews leases.
    Renew(Renew),
    /// Ends a lease with all that hangs on it.
    CloseLease(CloseLease),
    /// Nothing but the time: the entry's stamp does the work.
    Tick,
    /// Replaces the limits of one namespace, or the default ones.
    SetLimits(SetLimits),
    /// Raises the format level.
    SetLevel(SetLevel),
}

/// See [`Operation::Found`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The new cluster's id.
    pub cluster: ClusterId,
    /// First fencing token and first lease number: `unix_seconds << 20`.
    pub counter_start: u64,
    /// The default limits of every namespace.
    pub limits: Limits,
}

/// See [`Operation::Acquire`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acquire {
    /// Identity of the request across retries.
    pub request: RequestId,
    /// Which send of the request this is. Not part of the body.
    pub attempt: Attempt,
    /// The lowest counter that the client instance has no answer for. Lower ids are refused from now on.
    pub lowest_unanswered: u64,
    /// Isolation scope of the lock names.
    pub namespace: String,
    /// The locks, all or nothing, distinct names.
    pub locks: Vec<LockRequest>,
    /// Shown to others.
    pub owner: String,
    /// Shown to others.
    pub metadata: String,
    /// What the grants will hang on.
    pub lease: LeaseRequest,
    /// Try, or wait. Not part of the body.
    pub wait: Wait,
}

/// One lock of an acquire.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LockRequest {
    /// Name within the acquire's namespace.
    pub name: String,
    /// How it is to be held.
    pub mode: Mode,
}

/// How a lock is held. One function, [`Mode::compatible`], decides who may hold together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Mode {
    /// Alone.
    Exclusive,
}

/// What the grants of an acquire hang on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeaseRequest {
    /// A lease of its own, made at the grant, that closes with its last grant.
    Own {
        /// Time to live, in ms of log time.
        ttl_ms: u64,
    },
}

/// What an acquire does about a held lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wait {
    /// Refuse as held.
    Try,
    /// Queue until `wait_ms` of log time after the entry that applies this; at most the limit `wait_ms_max`.
    For {
        /// Milliseconds of log time.
        wait_ms: u64,
    },
}

/// See [`Operation::CancelAcquire`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelAcquire {
    /// The acquire's request id.
    pub request: RequestId,
    /// Cancels this attempt and earlier ones; does nothing once a later one was applied.
    pub attempt: Attempt,
}

/// See [`Operation::Release`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Namespace of the lock.
    pub namespace: String,
    /// Name of the lock.
    pub name: String,
    /// The authority.
    pub token: FencingToken,
}

/// See [`Operation::Renew`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renew {
    /// Each is renewed for itself.
    pub leases: Vec<RenewLease>,
}

/// One renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewLease {
    /// Which lease.
    pub lease: LeaseId,
    /// A new time to live from now on; None keeps the lease's own. Never moves the deadline back.
    pub ttl_ms: Option<u64>,
}

/// See [`Operation::CloseLease`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseLease {
    /// Which lease.
    pub lease: LeaseId,
}

/// See [`Operation::SetLimits`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetLimits {
    /// None: the limits of every namespace that has none of its own.
    pub namespace: Option<String>,
    /// The new limits.
    pub limits: Limits,
}

/// See [`Operation::SetLevel`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetLevel {
    /// Not below the present level.
    pub level: u32,
}
