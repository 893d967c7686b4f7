//! What a log entry can say.

use bytes::Bytes;
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
    /// Opens a session: a lease under an id that its client chose.
    OpenSession(OpenSession),
    /// Replaces the value on a grant.
    SetValue(SetValue),
    /// Ends a grant whatever its holder says.
    ForceRelease(ForceRelease),
}

impl Operation {
    /// The lowest format level at which this may be proposed. `apply` refuses it below.
    #[must_use]
    pub fn level(&self) -> u32 {
        match self {
            Self::Found(_)
            | Self::CancelAcquire(_)
            | Self::CloseLease(_)
            | Self::Tick
            | Self::SetLimits(_)
            | Self::SetLevel(_) => 1,
            Self::Acquire(acquire) => acquire.level(),
            Self::Release(release) => {
                if release.locks.len() == 1 && !release.all_or_nothing {
                    1
                } else {
                    2
                }
            }
            Self::Renew(renew) => {
                let plain = !renew.all_or_nothing && renew.leases.iter().all(|lease| lease.exact.is_none());
                if plain { 1 } else { 2 }
            }
            Self::OpenSession(_) | Self::SetValue(_) | Self::ForceRelease(_) => 2,
        }
    }
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
    /// The format level that the cluster begins with: the highest that all its founding members support.
    pub level: u32,
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
    /// Shown to others. Under a session empty means the session's owner (the body is compared as it was sent). Empty for
    /// a convert: its grant keeps owner and metadata.
    pub owner: String,
    /// Shown to others.
    pub metadata: String,
    /// What the grants will hang on.
    pub lease: LeaseRequest,
    /// Try, or wait. Not part of the body.
    pub wait: Wait,
    /// A task or thread of the session, for deadlock detection: the waits-for graph is over (session, actor). Only with
    /// [`LeaseRequest::Session`]; a convert keeps the actor of its grant, and may name that one or none. An actor waits for one
    /// thing at a time: what waits for any of its requests waits for the actor.
    pub actor: Option<String>,
    /// How long each of the locks stays ungrantable after its grant expired or was ended by force, in ms of log time.
    /// 0 for a convert: its grant keeps the one it has.
    pub lock_delay_ms: u64,
    /// The value that each grant starts with, as version 0. Empty for a convert: its grant keeps value and version.
    pub value: Bytes,
}

impl Acquire {
    fn level(&self) -> u32 {
        let plain = matches!(self.lease, LeaseRequest::Own { .. })
            && self.locks.iter().all(|lock| lock.mode == Mode::Exclusive)
            && self.actor.is_none()
            && self.lock_delay_ms == 0
            && self.value.is_empty();
        if plain { 1 } else { 2 }
    }
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
    /// Beside others that share.
    Shared,
    /// A counting semaphore: `permits` of `limit`, beside other permits that leave room.
    Permits {
        /// 1 to `limit`.
        permits: u32,
        /// The same for all who hold or await permits of the lock: its first user sets it.
        limit: u32,
    },
}

/// What the grants of an acquire hang on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeaseRequest {
    /// A lease of its own, made at the grant, that closes with its last grant.
    Own {
        /// Time to live, in ms of log time.
        ttl_ms: u64,
    },
    /// A session, open in the acquire's namespace; that of another one is refused as invalid.
    Session {
        /// Its id.
        session: LeaseId,
    },
    /// The lease of the grant with this token, which the new grant replaces without letting go: shared to exclusive or
    /// back, exactly one lock. A downgrade always succeeds. An upgrade goes first in the queue; a second upgrader is
    /// answered as a deadlock. The new grant has a token of its own.
    Convert {
        /// The token that is replaced.
        token: FencingToken,
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
    /// Namespace of the locks.
    pub namespace: String,
    /// 1 to [`crate::RELEASES_MAX`], distinct tokens. Each is released for itself unless `all_or_nothing`.
    pub locks: Vec<HeldLock>,
    /// Release none of them if one is no longer held.
    pub all_or_nothing: bool,
}

/// A lock and the token of a grant of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldLock {
    /// Name of the lock.
    pub name: String,
    /// The authority.
    pub token: FencingToken,
}

/// See [`Operation::Renew`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renew {
    /// Each is renewed for itself unless `all_or_nothing`.
    pub leases: Vec<RenewLease>,
    /// Renew none of them if one has ended or cannot be renewed so.
    pub all_or_nothing: bool,
}

/// One renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewLease {
    /// Which lease.
    pub lease: LeaseId,
    /// A new time to live from now on; None keeps the lease's own. Never moves the deadline back, unless `exact`.
    pub ttl_ms: Option<u64>,
    /// Sets the deadline to exactly `ttl_ms` (which must be there) from now, earlier or later, if the grant with this token hangs on the lease
    /// (what Redis calls PEXPIRE); otherwise the answer is that it is gone.
    pub exact: Option<FencingToken>,
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

/// See [`Operation::OpenSession`]. Idempotent by the session id: a duplicate is answered with what is left, and renews
/// nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSession {
    /// 128 bits that the client chose at random, from 2^64 on.
    pub session: LeaseId,
    /// Namespace of all its locks.
    pub namespace: String,
    /// Time to live between keep-alives, in ms of log time.
    pub ttl_ms: u64,
    /// Shown to others.
    pub owner: String,
    /// Shown to others: host, pid, a note.
    pub metadata: String,
}

/// See [`Operation::SetValue`]. Idempotent by the version it replaces: sending it again with the same value is answered
/// like the first time, as long as nobody else has changed it since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetValue {
    /// Namespace of the lock.
    pub namespace: String,
    /// Name of the lock.
    pub name: String,
    /// The authority: the token of the grant that carries the value.
    pub token: FencingToken,
    /// The version that this replaces. A grant begins with version 0; each change adds one.
    pub version: u64,
    /// The new value.
    pub value: Bytes,
}

/// See [`Operation::ForceRelease`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForceRelease {
    /// Namespace of the lock.
    pub namespace: String,
    /// Name of the lock.
    pub name: String,
    /// The grant that is ended, and no later one.
    pub token: FencingToken,
    /// Why: recorded, and told to the loser. Not empty.
    pub reason: String,
}
