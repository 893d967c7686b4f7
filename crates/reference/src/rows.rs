//! The rows of the tables.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use leasehold_state_machine::{Acquire, Attempt, Ended, LeaseId, LockRequest, Mode, OpenSession, Outcome, RequestId};

/// Namespace and name.
pub(crate) type LockKey = (String, String);

/// A lock admits nobody until then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delay {
    pub(crate) until: u64,
    /// In which order they began.
    pub(crate) number: u64,
}

/// What has a deadline. Its order decides between equal deadlines.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    Lease(LeaseId),
    Wait(u64),
    Record(RequestId),
    Mark(u64),
    /// In the order in which they began.
    Delay(u64, LockKey),
}

#[derive(Debug, Clone)]
pub(crate) struct Lease {
    pub(crate) namespace: String,
    pub(crate) owner: String,
    pub(crate) ttl_ms: u64,
    pub(crate) deadline: u64,
    /// Its grant ended a wait and nobody has renewed it since.
    pub(crate) confirm: bool,
    pub(crate) since: u64,
    /// Grants of it that were ended by force.
    pub(crate) forced: u64,
    /// How it was opened, if it is a session.
    pub(crate) session: Option<OpenSession>,
    pub(crate) grants: BTreeSet<u64>,
    pub(crate) waiters: BTreeSet<u64>,
}

#[derive(Debug, Clone)]
pub(crate) struct Grant {
    pub(crate) lock: LockKey,
    pub(crate) mode: Mode,
    pub(crate) lease: LeaseId,
    pub(crate) request: RequestId,
    pub(crate) since: u64,
    pub(crate) owner: String,
    pub(crate) metadata: String,
    pub(crate) actor: Option<String>,
    pub(crate) delay_ms: u64,
    pub(crate) version: u64,
    pub(crate) value: Bytes,
    /// It took the place of another grant.
    pub(crate) converted: bool,
}

/// Holders by token, waiters in queue order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lock {
    pub(crate) holders: BTreeSet<u64>,
    pub(crate) queue: VecDeque<u64>,
}

#[derive(Debug, Clone)]
pub(crate) struct Waiter {
    pub(crate) want: Want,
    pub(crate) since: u64,
    pub(crate) deadline: u64,
}

/// An acquire, with what its lease request resolved to.
#[derive(Debug, Clone)]
pub(crate) struct Want {
    pub(crate) request: RequestId,
    pub(crate) namespace: String,
    pub(crate) locks: Vec<LockRequest>,
    pub(crate) owner: String,
    pub(crate) metadata: String,
    pub(crate) actor: Option<String>,
    pub(crate) delay_ms: u64,
    pub(crate) value: Bytes,
    pub(crate) hang: Hang,
}

/// What grants will hang on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hang {
    /// A lease of their own.
    Own {
        ttl_ms: u64,
    },
    Session(LeaseId),
    /// The lease of the grant with this token.
    Convert {
        token: u64,
        lease: LeaseId,
    },
}

impl Want {
    pub(crate) fn keys(&self) -> impl Iterator<Item = LockKey> + '_ {
        self.locks.iter().map(|lock| (self.namespace.clone(), lock.name.clone()))
    }

    /// The lease that it belongs to before its grant.
    pub(crate) fn lease(&self) -> Option<LeaseId> {
        match self.hang {
            Hang::Own { .. } => None,
            Hang::Session(lease) | Hang::Convert { lease, .. } => Some(lease),
        }
    }

    /// The token that it converts.
    pub(crate) fn converts(&self) -> Option<u64> {
        match self.hang {
            Hang::Convert { token, .. } => Some(token),
            Hang::Own { .. } | Hang::Session(_) => None,
        }
    }

    pub(crate) fn mode_at(&self, name: &str) -> Mode {
        self.locks.iter().find(|lock| lock.name == name).expect("the request names the lock").mode
    }

    pub(crate) fn may_delay(&self) -> usize {
        if self.delay_ms > 0 { self.locks.len() } else { 0 }
    }
}

/// What is known of a request id.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) attempt: Attempt,
    /// None: a cancel came first.
    pub(crate) body: Option<Acquire>,
    pub(crate) fate: Fate,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fate {
    Waiting(u64),
    Granted {
        first: u64,
    },
    /// A try that was told so.
    Held {
        until: u64,
    },
    /// An attempt that was refused for good.
    Refused {
        with: Outcome,
        until: u64,
    },
    Ended {
        ended: Ended,
        until: u64,
    },
}

impl Fate {
    pub(crate) fn until(&self) -> Option<u64> {
        match self {
            Self::Waiting(_) | Self::Granted { .. } => None,
            Self::Held { until } | Self::Refused { until, .. } | Self::Ended { until, .. } => Some(*until),
        }
    }
}

/// The lowest counter that a client instance has no answer for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    pub(crate) lowest: u64,
    pub(crate) until: u64,
}
