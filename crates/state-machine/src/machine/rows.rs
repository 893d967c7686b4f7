//! What the rows of the tables hold. Fields that other rows determine are skipped when encoded and rebuilt on restore.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::keys::{LockKey, WaiterId};
use super::tokens::Tokens;
use crate::{
    Attempt, ClusterId, EntryId, FencingToken, LEVEL_FIRST, LeaseId, Limits, LogTime, LossReason, Mode, RequestId,
};

/// The single values of the state: everything that is not in a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) cluster: Option<ClusterId>,
    pub(super) applied: Option<EntryId>,
    pub(super) membership: Option<(EntryId, Vec<u8>)>,
    pub(super) now: LogTime,
    pub(super) level: u32,
    pub(super) next_token: u64,
    pub(super) next_lease: u64,
    pub(super) next_waiter: u64,
    pub(super) next_loss: u64,
    /// Of every namespace without its own.
    pub(super) limits: Limits,
}

impl Default for Header {
    fn default() -> Self {
        Self {
            cluster: None,
            applied: None,
            membership: None,
            now: LogTime(0),
            level: LEVEL_FIRST,
            next_token: 1,
            next_lease: 1,
            next_waiter: 1,
            next_loss: 1,
            limits: Limits::default(),
        }
    }
}

/// The time-bounded right that grants hang on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lease {
    pub(super) namespace: Arc<str>,
    pub(super) ttl_ms: u64,
    pub(super) deadline: LogTime,
    /// Its grant ended a wait, and it was not renewed since.
    pub(super) confirm: bool,
    #[serde(skip)]
    pub(super) grants: Tokens,
}

/// One lock held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Grant {
    pub(super) lock: LockKey,
    pub(super) lease: LeaseId,
    pub(super) request: RequestId,
    pub(super) mode: Mode,
    pub(super) since: LogTime,
    pub(super) owner: Box<str>,
    pub(super) metadata: Box<str>,
}

/// One lock that an acquire wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wanted {
    pub(super) lock: LockKey,
    pub(super) mode: Mode,
}

/// What an acquire asks for: what a waiter keeps and a grant is made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claim {
    pub(super) request: RequestId,
    pub(super) namespace: Arc<str>,
    /// Never empty, distinct.
    pub(super) wanted: Box<[Wanted]>,
    pub(super) ttl_ms: u64,
    pub(super) owner: Box<str>,
    pub(super) metadata: Box<str>,
}

/// A queued acquire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Waiter {
    pub(super) claim: Claim,
    pub(super) since: LogTime,
    pub(super) deadline: LogTime,
}

/// What is known of a request id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    /// The last one applied, or cancelled.
    pub(super) attempt: Attempt,
    /// Hash of the acquire's body; None when only its cancel was seen.
    pub(super) body: Option<u64>,
    pub(super) state: RequestState,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum RequestState {
    Waiting {
        waiter: WaiterId,
    },
    /// Its tokens were `first` and those that follow, `locks` in all; those still held are `live`.
    Granted {
        first: FencingToken,
        locks: u32,
        #[serde(skip)]
        live: u32,
    },
    /// A try, refused as held. Remembered so that a delayed earlier attempt takes no effect.
    Held {
        until: LogTime,
    },
    /// A tombstone.
    Ended {
        reason: LossReason,
        token: Option<FencingToken>,
        until: LogTime,
    },
    /// Refused at a capacity limit, which then was `max`. Remembered as [`Self::Held`] is, and for the same reason.
    LimitReached {
        capacity: Capacity,
        max: u64,
        until: LogTime,
    },
}

/// A limit that an acquire can reach without being malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Capacity {
    Leases,
    WaitersPerLock,
}

impl Capacity {
    /// Name of the limit, as in [`Limits`].
    pub(super) fn limit(self) -> &'static str {
        match self {
            Self::Leases => "leases_max",
            Self::WaitersPerLock => "waiters_per_lock_max",
        }
    }
}

impl Request {
    /// The last moment at which this is remembered; None while it waits or holds.
    pub(super) fn forget_after(&self) -> Option<LogTime> {
        match &self.state {
            RequestState::Waiting { .. } | RequestState::Granted { .. } => None,
            RequestState::Held { until }
            | RequestState::LimitReached { until, .. }
            | RequestState::Ended { until, .. } => Some(*until),
        }
    }
}

impl RequestState {
    /// It waits or holds.
    pub(super) fn is_live(&self) -> bool {
        matches!(self, Self::Waiting { .. } | Self::Granted { .. })
    }
}

/// The mark of one client instance: its ids below are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Instance {
    pub(super) mark: u64,
    pub(super) until: LogTime,
}

/// Why a lock was last lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Loss {
    /// Age: the lowest goes first.
    pub(super) number: u64,
    pub(super) token: FencingToken,
    pub(super) reason: LossReason,
}

/// Why a lease ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LeaseEnd {
    /// Age: the lowest goes first.
    pub(super) number: u64,
    pub(super) reason: LossReason,
}
