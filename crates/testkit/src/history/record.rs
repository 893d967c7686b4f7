//! One call of one client, and what came of it.

use std::sync::Arc;

use leasehold_state_machine::{Mode, RequestId};
use serde::{Deserialize, Serialize};

use crate::clock::Moment;

/// One call as its caller saw it, of one lock: an acquire or a release of several makes a record for each. About 200
/// bytes: a run of millions of calls fits into memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Which of the run's clients called.
    pub worker: u32,
    /// `namespace/name`; empty for calls that concern a whole session.
    pub lock: Arc<str>,
    /// When the call began.
    pub invoke: Moment,
    /// When its request was first sent, where that is known: never before `invoke`.
    pub first_send: Option<Moment>,
    /// When it was answered. None: it never was.
    pub complete: Option<Moment>,
    /// What was asked.
    pub call: Call,
    /// What was answered.
    pub response: Response,
}

impl Record {
    /// The moment that leases are counted from.
    #[must_use]
    pub fn sent(&self) -> Moment {
        self.first_send.unwrap_or(self.invoke)
    }

    /// The acquire and the token and lease it came to, if it did.
    #[must_use]
    pub fn granted(&self) -> Option<(&Acquire, u64, &str)> {
        match (&self.call, &self.response) {
            (Call::Acquire(acquire), Response::Granted { token, lease, .. }) => Some((acquire, *token, lease)),
            _ => None,
        }
    }
}

/// What a record can show of the things that a client can do.
pub const KINDS: [&str; 15] = [
    "granted",
    "granted to share",
    "granted permits",
    "granted several",
    "granted under a session",
    "granted with a lock-delay",
    "upgraded",
    "downgraded",
    "held",
    "deadlock",
    "wait ended",
    "cancelled",
    "forced",
    "session closed",
    "value set",
];

impl Record {
    /// What it shows of the things that a client can do.
    pub(super) fn kinds(&self) -> Vec<&'static str> {
        match (&self.call, &self.response) {
            (Call::Acquire(acquire), Response::Granted { .. }) => acquire.kinds(),
            (Call::Acquire(_), Response::Held) => vec!["held"],
            (Call::Acquire(_), Response::Deadlock) => vec!["deadlock"],
            (Call::Acquire(_), Response::WaitEnded) => vec!["wait ended"],
            (Call::Cancel(_), Response::Cancelled) => vec!["cancelled"],
            (Call::ForceRelease(_), Response::Released(true)) => vec!["forced"],
            (Call::CloseLease(_), Response::Closed(true)) => vec!["session closed"],
            (Call::SetValue { .. }, Response::ValueSet { .. }) => vec!["value set"],
            _ => Vec::new(),
        }
    }
}

impl Acquire {
    fn kinds(&self) -> Vec<&'static str> {
        let shows = [
            ("granted", true),
            ("granted to share", self.mode == Mode::Shared && self.replaces.is_none()),
            ("granted permits", matches!(self.mode, Mode::Permits { .. })),
            ("granted several", self.locks > 1),
            ("granted under a session", self.session.is_some()),
            ("granted with a lock-delay", self.lock_delay_ms > 0),
            ("upgraded", self.replaces.is_some() && self.mode == Mode::Exclusive),
            ("downgraded", self.replaces.is_some() && self.mode == Mode::Shared),
        ];
        shows.into_iter().filter(|(_, shown)| *shown).map(|(kind, _)| kind).collect()
    }
}

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Call {
    /// Take the lock, or convert a grant of it.
    Acquire(Acquire),
    /// Open a session.
    OpenSession(OpenSession),
    /// Renew a lease or a session.
    Renew(Renew),
    /// Release by token.
    Release(Release),
    /// End another's grant by token.
    ForceRelease(Release),
    /// Close a session, or a lease, with all that hangs on it.
    CloseLease(Arc<str>),
    /// Replace the value of the grant with this token.
    SetValue {
        /// The token.
        token: u64,
        /// The version that it replaces.
        version: u64,
    },
    /// Give up an acquire, or the grant it came to. (A granted convert is kept.)
    Cancel(RequestId),
    /// Who holds the lock?
    Get,
    /// No call: the client's guard said, without asking anybody, that it held the lock at this moment.
    Believe {
        /// Under this token.
        token: u64,
    },
}

/// See [`Call::Acquire`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acquire {
    /// Under which request id; None when the call never got as far.
    pub request: Option<RequestId>,
    /// Sends of that id.
    pub attempts: u32,
    /// Asked time to live of a lease of its own; 0 where it hangs on another one.
    pub ttl_ms: u64,
    /// None: a try.
    pub wait_ms: Option<u64>,
    /// How the lock is to be held.
    pub mode: Mode,
    /// The session that it hangs on, if it does.
    pub session: Option<Arc<str>>,
    /// A convert: the token of the grant that it replaces. Its grant hangs on the lease of that one.
    pub replaces: Option<u64>,
    /// How long the lock stays ungrantable after an expiry or a forced release.
    pub lock_delay_ms: u64,
    /// How many locks the same request names.
    pub locks: u32,
}

/// See [`Call::OpenSession`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSession {
    /// Its id.
    pub session: Arc<str>,
    /// Time to live.
    pub ttl_ms: u64,
}

/// See [`Call::Renew`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renew {
    /// The lease or session.
    pub lease: Arc<str>,
    /// The token of the first grant under a lease of its own; None for a session.
    pub token: Option<u64>,
    /// What the renewal asks for.
    pub ttl_ms: u64,
}

/// See [`Call::Release`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The token.
    pub token: u64,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// The lock is the caller's.
    Granted {
        /// Its fencing token.
        token: u64,
        /// Its lease.
        lease: Arc<str>,
        /// What the answer said is left, from the first send; 0 with `confirm`.
        left_ms: u64,
        /// The grant ended a wait: nothing counts from the send.
        confirm: bool,
    },
    /// A try was refused.
    Held,
    /// A wait was refused: it would have closed a cycle.
    Deadlock,
    /// The session is open, with this left from the send.
    Opened {
        /// Milliseconds.
        left_ms: u64,
    },
    /// The lease or session was closed by this call, or (false) was not there.
    Closed(bool),
    /// The value was set to this version.
    ValueSet {
        /// The version now.
        version: u64,
    },
    /// The wait was over before the grant.
    WaitEnded,
    /// The request had been granted, or waited, and that has ended.
    Ended {
        /// Why, in the server's words.
        reason: Arc<str>,
    },
    /// Renewed, with this left from the send.
    Renewed {
        /// Milliseconds.
        left_ms: u64,
    },
    /// The lease has ended.
    Gone,
    /// The release's answer: whether this call ended the grant.
    Released(bool),
    /// The cancel was answered.
    Cancelled,
    /// The answer to a read.
    Seen {
        /// Log index up to which it is true.
        revision: u64,
        /// Who holds the lock, in token order.
        holders: Vec<SeenHolder>,
    },
    /// Nobody knows: it may have happened, or happen yet.
    Unknown,
    /// Refused, or certainly not done.
    Failed {
        /// What the client said.
        error: Arc<str>,
    },
}

/// A holder in the answer to a read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenHolder {
    /// Its token.
    pub token: u64,
    /// Time left of its lease by the answer.
    pub left_ms: u64,
    /// How it holds.
    pub mode: Mode,
}

/// What the test did to the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// In words: `kill -9`, `SIGSTOP`.
    pub what: String,
    /// To which node; None: to several.
    pub node: Option<u64>,
    /// From.
    pub begin: Moment,
    /// Until the cluster serves again. None: it never did.
    pub end: Option<Moment>,
}
