//! One call of one client, and what came of it.

use std::sync::Arc;

use leasehold_state_machine::RequestId;
use serde::{Deserialize, Serialize};

use crate::clock::Moment;

/// One call as its caller saw it. About 200 bytes: a run of millions of calls fits into memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Which of the run's clients called.
    pub worker: u32,
    /// `namespace/name`.
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

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Call {
    /// Take the lock.
    Acquire(Acquire),
    /// Renew a lease.
    Renew(Renew),
    /// Release by token.
    Release(Release),
    /// Give up an acquire, or the grant it came to.
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
    /// Asked time to live.
    pub ttl_ms: u64,
    /// None: a try.
    pub wait_ms: Option<u64>,
}

/// See [`Call::Renew`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renew {
    /// The lease.
    pub lease: Arc<str>,
    /// The token of the grant under it.
    pub token: u64,
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
        /// Who holds the lock.
        holder: Option<SeenHolder>,
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
