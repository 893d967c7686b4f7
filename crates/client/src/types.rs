//! Answers, in the client's own words.

use std::time::Duration;

use leasehold_proto::v1;

use crate::clock::Moment;
use crate::guard::Guard;
use crate::ids::{LeaseId, Token};

/// What a try came to.
#[derive(Debug)]
pub enum TryAcquire {
    /// The lock is held by the caller.
    Acquired(Guard),
    /// It is held by another, or others are ahead in its queue.
    Held(HeldInfo),
}

/// Who is in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldInfo {
    /// The lock.
    pub name: String,
    /// Who holds it; at most 16 of them.
    pub holders: Vec<v1::Holder>,
    /// How many wait for it.
    pub waiters: u32,
}

impl From<v1::Held> for HeldInfo {
    fn from(held: v1::Held) -> Self {
        Self { name: held.name, holders: held.holders, waiters: held.waiters }
    }
}

/// What a raw acquire came to: no guard, nobody renews.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acquisition {
    /// The lock is held by the caller, until [`Acquired::deadline`] at least.
    Acquired(Acquired),
    /// A try found it held.
    Held(HeldInfo),
    /// The wait ended without a grant.
    TimedOut,
}

/// A lock that was granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acquired {
    /// The lock.
    pub name: String,
    /// The fencing token of the grant.
    pub token: Token,
    /// The lease that it hangs on.
    pub lease: LeaseId,
    /// What the cluster said is left of the lease.
    pub ttl: Duration,
    /// Until when it is safe to count on it, by the client's clock.
    pub deadline: Moment,
}

/// A lease that was asked to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renewed {
    /// It lives.
    Alive {
        /// What is left of it.
        ttl: Duration,
    },
    /// It has ended.
    Ended {
        /// Why, where the cluster remembers.
        reason: Option<v1::LossReason>,
    },
}

/// `None` for "not remembered".
pub(crate) fn remembered(reason: v1::LossReason) -> Option<v1::LossReason> {
    (reason != v1::LossReason::Unspecified).then_some(reason)
}
