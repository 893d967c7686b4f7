//! What the rows of the tables hold. Fields that other rows determine are skipped when encoded and rebuilt on restore.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::keys::{LockKey, WaiterId};
use super::tokens::Tokens;
use crate::{
    Attempt, ClusterId, Deadlock, EntryId, FencingToken, LEVEL_FIRST, LeaseId, LeaseRequest, Limits, LogTime,
    LossReason, Mode, Refusal, RequestId,
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
    pub(super) next_delay: u64,
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
            next_delay: 1,
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
    /// Its grant ended a wait, and it was not renewed since. Never of a session.
    pub(super) confirm: bool,
    /// Grants under it that were ended by force.
    pub(super) forced: u64,
    /// What only a session has: one that a client opened itself.
    pub(super) session: Option<Box<Session>>,
    #[serde(skip)]
    pub(super) grants: Tokens,
}

/// See [`Lease::session`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Session {
    pub(super) owner: Arc<str>,
    pub(super) metadata: Box<str>,
    pub(super) since: LogTime,
    /// Hash of the command that opened it.
    pub(super) body: u64,
    /// Its waiting requests, without those that convert a grant of it: these hang on the grant.
    #[serde(skip)]
    pub(super) waits: BTreeSet<WaiterId>,
    /// Locks that those await.
    #[serde(skip)]
    pub(super) awaited: u32,
}

/// One lock held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Grant {
    pub(super) lock: LockKey,
    pub(super) lease: LeaseId,
    pub(super) request: RequestId,
    pub(super) mode: Mode,
    pub(super) since: LogTime,
    pub(super) owner: Arc<str>,
    pub(super) metadata: Box<str>,
    pub(super) extras: Extras,
}

/// What most grants do without: None is all of it at its default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Extras(Option<Box<Extra>>);

/// See [`Extras`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Extra {
    /// Task of the session.
    pub(super) actor: Option<Box<str>>,
    pub(super) lock_delay_ms: u64,
    /// Of the value.
    pub(super) version: u64,
    pub(super) value: Box<[u8]>,
}

impl Extras {
    pub(super) fn new(extra: Extra) -> Self {
        Self((extra != Extra::default()).then(|| Box::new(extra)))
    }

    pub(super) fn actor(&self) -> Option<&str> {
        self.0.as_ref().and_then(|extra| extra.actor.as_deref())
    }

    pub(super) fn lock_delay_ms(&self) -> u64 {
        self.0.as_ref().map_or(0, |extra| extra.lock_delay_ms)
    }

    pub(super) fn version(&self) -> u64 {
        self.0.as_ref().map_or(0, |extra| extra.version)
    }

    pub(super) fn value(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |extra| &extra.value)
    }

    /// A copy to change.
    pub(super) fn to_extra(&self) -> Extra {
        self.0.as_deref().cloned().unwrap_or_default()
    }
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
    pub(super) lease: LeaseRequest,
    /// Empty for a convert, as is all that follows but the actor: its grant keeps what it has.
    pub(super) owner: Arc<str>,
    pub(super) metadata: Box<str>,
    pub(super) extras: Extras,
}

impl Claim {
    /// The token of the grant that this is to replace.
    pub(super) fn converts(&self) -> Option<FencingToken> {
        match self.lease {
            LeaseRequest::Convert { token } => Some(token),
            LeaseRequest::Own { .. } | LeaseRequest::Session { .. } => None,
        }
    }

    /// Lock-delays that may come of it.
    pub(super) fn lock_delays(&self) -> usize {
        if self.extras.lock_delay_ms() == 0 { 0 } else { self.wanted.len() }
    }
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
        /// It is a convert: its grant took another one's place.
        converted: bool,
        #[serde(skip)]
        live: u32,
    },
    /// A try, refused as held. Remembered so that a delayed earlier attempt takes no effect: a duplicate is told who holds
    /// it then.
    Held {
        until: LogTime,
    },
    /// Refused by the state of the tables. Remembered as [`Self::Held`] is, and for the same reason: a duplicate is told
    /// the same.
    Told {
        answer: Box<Told>,
        until: LogTime,
    },
    /// A tombstone.
    Ended {
        reason: LossReason,
        token: Option<FencingToken>,
        until: LogTime,
    },
}

/// What was answered to an acquire that might have fared better at another time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Told {
    Refused(Refusal),
    Deadlock(Deadlock),
}

impl Request {
    /// The last moment at which this is remembered; None while it waits or holds.
    pub(super) fn forget_after(&self) -> Option<LogTime> {
        match &self.state {
            RequestState::Waiting { .. } | RequestState::Granted { .. } => None,
            RequestState::Held { until } | RequestState::Told { until, .. } | RequestState::Ended { until, .. } => {
                Some(*until)
            }
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Loss {
    /// Age: the lowest goes first.
    pub(super) number: u64,
    pub(super) token: FencingToken,
    pub(super) reason: LossReason,
    pub(super) at: LogTime,
    /// What a forced release said.
    pub(super) note: Option<Box<str>>,
}

/// A lock that nobody gets for now: it was lost by an expiry or by force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Delay {
    /// Names it among the deadlines.
    pub(super) number: u64,
    /// The last moment of it.
    pub(super) until: LogTime,
}

/// Why a lease ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LeaseEnd {
    /// Age: the lowest goes first.
    pub(super) number: u64,
    pub(super) reason: LossReason,
}
