//! What a command came to. Outcomes are data of the log: every node computes the same ones.

use serde::{Deserialize, Serialize};

use crate::{FencingToken, HolderView, LeaseId, LogTime, Mode};

/// The result of one command, in the order of the batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// `Found`: the cluster exists now, or existed already.
    Founded,
    /// `Acquire`: the caller holds the locks (also the answer to a duplicate of one that still holds).
    Granted(Granted),
    /// `Acquire`: in the queue; the grant or the end of the wait comes as an event.
    Queued(Queued),
    /// `Acquire`: a try, refused. An ordinary outcome.
    Held(Held),
    /// `Acquire`: this request id was granted, or waited, and that has ended since.
    Ended(Ended),
    /// `CancelAcquire`.
    Cancelled(Cancelled),
    /// `Release`, in the order of the request.
    Released(Vec<Released>),
    /// `Renew`, in the order of the request.
    Renewed(Vec<Renewed>),
    /// `CloseLease`.
    Closed(Closed),
    /// `Tick`, `SetLimits`, `SetLevel`.
    Done,
    /// Any command: nothing was changed by it, but what is remembered of the request id.
    Refused(Refusal),
    /// `Acquire`: to wait would close a cycle of waits. An ordinary outcome. Of the acquire, this attempt and earlier ones
    /// are over: to try again takes a later one.
    Deadlock(Deadlock),
    /// `OpenSession`: the session is open (also the answer to a duplicate).
    Opened(Opened),
    /// `SetValue`.
    ValueSet(ValueSet),
    /// `ForceRelease`: like a release of one lock.
    ForceReleased(Released),
}

/// See [`Outcome::Granted`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// The lease that the grants hang on.
    pub lease: LeaseId,
    /// In the order of the acquire.
    pub grants: Vec<GrantedLock>,
    /// What is left of the lease, in ms of log time, at this entry.
    pub left_ms: u64,
    /// The grant ended a wait (now, or before this duplicate): the holder renews once before it counts time. Never with a
    /// session.
    pub confirm: bool,
    /// As in [`Renewed::Alive`]: grants under the lease that were ended by force so far. An answer that comes late, with fewer
    /// than the holder knows of by then, may tell of one of these.
    pub forced: u64,
}

/// One lock of a grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantedLock {
    /// Its name.
    pub name: String,
    /// How it is held.
    pub mode: Mode,
    /// Its fencing token.
    pub token: FencingToken,
}

/// See [`Outcome::Queued`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queued {
    /// Waiters ahead, at this entry, in the longest of its queues: exact for a new waiter; for one that asks again the
    /// others in the queue, so at most this many are ahead.
    pub ahead: u32,
    /// The last moment of the wait.
    pub deadline: LogTime,
}

/// See [`Outcome::Held`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The first lock that could not be taken.
    pub name: String,
    /// Its holders, at most [`HELD_HOLDERS_MAX`].
    pub holders: Vec<HolderView>,
    /// The length of its queue.
    pub waiters: u32,
    /// The same session holds it.
    pub by_self: bool,
    /// Log time left of a lock-delay, in ms; 0 without one.
    pub delay_left_ms: u64,
}

/// Holders that a refusal lists.
pub const HELD_HOLDERS_MAX: usize = 16;

/// See [`Outcome::Ended`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Why.
    pub reason: LossReason,
    /// The (first) token that it had, if it had been granted.
    pub token: Option<FencingToken>,
}

/// Why something is no longer held or awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LossReason {
    /// Its holder released it.
    Released,
    /// Its lease, or its wait, ran out in log time.
    Expired,
    /// Its request was cancelled.
    Cancelled,
    /// Somebody ended it by force.
    Forced,
    /// Its lease was closed.
    LeaseClosed,
    /// It was converted: a grant with another token took its place.
    Converted,
}

/// See [`Outcome::Deadlock`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadlock {
    /// Each waits for the lock that it names, which the next one holds or awaits ahead of it; the last one waits for the
    /// first. The first one is the refused request. At most [`DEADLOCK_CYCLE_MAX`].
    pub cycle: Vec<DeadlockStep>,
}

/// One of those who wait for each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadlockStep {
    /// Its session (of a second upgrader without a session: its lease).
    pub lease: LeaseId,
    /// Its actor; empty for an upgrader that named none.
    pub actor: String,
    /// Who it says it is.
    pub owner: String,
    /// The lock that it waits for.
    pub name: String,
}

/// Steps of a cycle that are told. Longer cycles are not searched for.
pub const DEADLOCK_CYCLE_MAX: usize = 64;

/// See [`Outcome::Opened`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// What is left of the session, in ms of log time, at this entry.
    pub left_ms: u64,
}

/// See [`Outcome::ValueSet`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ValueSet {
    /// The grant carries the value now (or a duplicate: did already).
    Set {
        /// Its version.
        version: u64,
    },
    /// Another version is in force; nothing was done.
    Conflict {
        /// The version in force.
        version: u64,
    },
    /// The token is no longer current, and why where remembered.
    NotHeld {
        /// Why.
        reason: Option<LossReason>,
    },
}

/// See [`Outcome::Cancelled`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cancelled {
    /// It waited, and does no longer.
    LeftQueue,
    /// It had been granted, and the grant was ended.
    UndidGrant,
    /// It is a convert that was granted: to undo it would take the lock away, which was held before it. Nothing was done;
    /// the lock is held under this token now, and may be converted again or released by it.
    Kept {
        /// The current token.
        token: FencingToken,
        /// How it is held.
        mode: Mode,
    },
    /// A later attempt was applied before: nothing was done.
    Superseded,
    /// Nothing was there. The attempt is marked, so that it will be refused if it still comes.
    NotFound,
}

/// See [`Outcome::Released`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// Whether this command ended the grant.
    pub released: bool,
    /// Otherwise why it had ended before, where remembered.
    pub reason: Option<LossReason>,
    /// Not released, and still held: another one of an all-or-nothing release was not.
    pub still_held: bool,
}

/// One lease of [`Outcome::Renewed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Renewed {
    /// Alive, with this much left at this entry, in ms of log time.
    Alive {
        /// Milliseconds of log time.
        left_ms: u64,
        /// Grants under it that were ended by force so far. A lease outlives a grant that it loses so: when this has grown,
        /// the holder looks what it still has before it counts on anything. (An event may be lost with its stream.)
        forced: u64,
    },
    /// No such lease (any more), and why where remembered.
    Gone {
        /// Why it ended.
        reason: Option<LossReason>,
    },
    /// The asked ttl is outside the limits; the lease is as it was.
    TtlOutOfRange {
        /// The lowest allowed, in ms.
        min_ms: u64,
        /// The highest allowed, in ms.
        max_ms: u64,
    },
    /// Could have been renewed, but another one of an all-or-nothing renewal could not; the lease is as it was.
    Untouched,
}

/// See [`Outcome::Closed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// False: there was no such lease.
    pub closed: bool,
    /// Grants that ended with it.
    pub grants_ended: u32,
}

/// Why a command was refused. Nothing was changed, but what is remembered of the request id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// A command came before `Found`.
    #[error("the cluster is not founded yet")]
    NotFounded,
    /// `not_after` had passed: the call that carried this is over.
    #[error("the command came too late: its call ended at {not_after} of log time, it is {now} now")]
    TooLate {
        /// Bound in the command.
        not_after: LogTime,
        /// Log time at this entry.
        now: LogTime,
    },
    /// Something in the command is malformed.
    #[error("{field}: {problem}")]
    Invalid {
        /// Field of the request, as in the .proto.
        field: String,
        /// What is wrong, with the limit.
        problem: String,
    },
    /// A capacity limit was reached. Releases and renewals still work. Of an acquire, this attempt and earlier ones are
    /// over: to try again takes a later one.
    #[error("{limit} is at its limit of {max}")]
    LimitReached {
        /// Name of the limit, as in [`crate::Limits`].
        limit: String,
        /// Its value.
        max: u64,
    },
    /// The token was never given out for this lock, or belongs to another lock.
    #[error("token {token} is not a token of lock {name}")]
    WrongToken {
        /// The token of the command.
        token: FencingToken,
        /// The lock of the command.
        name: String,
    },
    /// The request id is known with another body.
    #[error("request id was used before with another body")]
    BodyMismatch,
    /// The request id is below the instance's lowest unanswered counter: it was answered before.
    #[error("request id {counter} is below the lowest unanswered {mark}")]
    AlreadyAnswered {
        /// Counter of the refused id.
        counter: u64,
        /// The instance's mark.
        mark: u64,
    },
    /// A later attempt of this request id was applied before.
    #[error("attempt {attempt} is superseded by attempt {by}")]
    Superseded {
        /// The refused attempt.
        attempt: u32,
        /// The one applied last.
        by: u32,
    },
    /// The session is not open (any more). Of an acquire, this attempt and earlier ones are over.
    #[error("session {session} is not open{}", told(.reason))]
    NoSession {
        /// Its id.
        session: LeaseId,
        /// Why it ended, where remembered.
        reason: Option<LossReason>,
    },
    /// The lock has permits of another limit. Of an acquire, this attempt and earlier ones are over.
    #[error("lock {name} has a limit of {limit} permits, this request says {asked}")]
    LimitConflict {
        /// The lock.
        name: String,
        /// The limit that its first user set.
        limit: u32,
        /// The one asked for.
        asked: u32,
    },
    /// The token that a convert replaces is no longer current.
    #[error("token {token} of lock {name} is no longer held{}", told(.reason))]
    NotHeld {
        /// The token.
        token: FencingToken,
        /// The lock.
        name: String,
        /// Why, where remembered.
        reason: Option<LossReason>,
    },
    /// The command needs a higher format level than the cluster has, or would lower it.
    #[error("this needs format level {needed}, the cluster is at {level}: raise it once every node supports it")]
    Level {
        /// The level that the command needs, or asks for.
        needed: u32,
        /// The level in force.
        level: u32,
    },
}

fn told(reason: &Option<LossReason>) -> &'static str {
    match reason {
        None => "",
        Some(LossReason::Released) => ": it was released",
        Some(LossReason::Expired) => ": it expired",
        Some(LossReason::Cancelled) => ": it was cancelled",
        Some(LossReason::Forced) => ": it was ended by force",
        Some(LossReason::LeaseClosed) => ": its lease was closed",
        Some(LossReason::Converted) => ": it was converted",
    }
}
