//! Answers, in the client's own words.

use std::fmt;
use std::time::Duration;

use leasehold_proto::v1;

use crate::clock::Moment;
use crate::guard::Guard;
use crate::ids::{LeaseId, Token};
use crate::loss::remembered;
use crate::mode::GrantInfo;

/// What a try came to.
#[derive(Debug)]
pub enum TryAcquire<G = Guard> {
    /// Held by the caller.
    Acquired(G),
    /// Held by another, or others are ahead in its queue.
    Held(HeldInfo),
}

impl<G> TryAcquire<G> {
    /// The same, of what the guard is made into.
    pub fn map<T>(self, make: impl FnOnce(G) -> T) -> TryAcquire<T> {
        match self {
            Self::Acquired(guard) => TryAcquire::Acquired(make(guard)),
            Self::Held(held) => TryAcquire::Held(held),
        }
    }

    /// The guard, if it was acquired.
    pub fn acquired(self) -> Option<G> {
        match self {
            Self::Acquired(guard) => Some(guard),
            Self::Held(_) => None,
        }
    }
}

/// Who is in the way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeldInfo {
    /// The (first) lock that could not be taken.
    pub name: String,
    /// Who holds it; at most 16 of them. Empty while nobody does and a lock-delay runs, or others are ahead.
    pub holders: Vec<v1::Holder>,
    /// How many wait for it.
    pub waiters: u32,
    /// The session that asked is among the holders.
    pub by_self: bool,
    /// What is left of a lock-delay; zero without one.
    pub delay_left: Duration,
}

impl From<v1::Held> for HeldInfo {
    fn from(held: v1::Held) -> Self {
        let v1::Held { name, holders, waiters, by_self, delay_left_ms } = held;
        Self { name, holders, waiters, by_self, delay_left: Duration::from_millis(delay_left_ms) }
    }
}

/// What a raw acquire came to: no guard, nobody renews.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acquisition {
    /// Held by the caller, until [`Acquired::deadline`] at least.
    Acquired(Acquired),
    /// A try found a lock held.
    Held(HeldInfo),
    /// The wait ended without a grant.
    TimedOut,
    /// To wait would close a cycle of waits.
    Deadlock(Deadlock),
}

/// Requests that wait for each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deadlock {
    /// Each waits for the lock that it names, which the next one holds or awaits ahead of it; the last one waits for the
    /// first. The first one is the request that was refused.
    pub cycle: Vec<v1::DeadlockStep>,
}

impl From<v1::Deadlock> for Deadlock {
    fn from(deadlock: v1::Deadlock) -> Self {
        Self { cycle: deadlock.cycle }
    }
}

impl fmt::Display for Deadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.cycle.iter().enumerate() {
            let who = if step.actor.is_empty() { &step.owner } else { &step.actor };
            write!(f, "{}{who} waits for {}", if at == 0 { "" } else { ", " }, step.name)?;
        }
        Ok(())
    }
}

/// What was granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acquired {
    /// The (first) lock.
    pub name: String,
    /// The fencing token of its grant.
    pub token: Token,
    /// The lease or session that it hangs on. Empty for a convert that was granted when its caller had already given up.
    pub lease: LeaseId,
    /// What the cluster said is left of that.
    pub ttl: Duration,
    /// Until when it is safe to count on it, by the client's clock.
    pub deadline: Moment,
    /// All of the locks, in the order in which they were asked for.
    pub grants: Vec<GrantInfo>,
}

impl Acquired {
    /// Of at least one grant.
    pub(crate) fn new(grants: Vec<GrantInfo>, lease: LeaseId, ttl: Duration, deadline: Moment) -> Self {
        let GrantInfo { name, token, .. } = grants[0].clone();
        Self { name, token, lease, ttl, deadline, grants }
    }
}

/// A lease or session that was asked to go on.
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

/// What a release found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Released {
    /// Whether this ended the grant. False: it was no longer held.
    pub released: bool,
    /// Why it was no longer held, where that is remembered.
    pub reason: Option<v1::LossReason>,
}

/// One lock of a release of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleasedLock {
    /// The lock.
    pub name: String,
    /// The token of the grant that was to be ended.
    pub token: Token,
    /// Whether this ended it.
    pub released: bool,
    /// Otherwise why it was no longer held, where that is remembered.
    pub reason: Option<v1::LossReason>,
    /// Not released, and still held: another one of an all-or-nothing release was not.
    pub still_held: bool,
}

/// A lease or session that was asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseClosed {
    /// Whether this ended it. False: it had ended before.
    pub closed: bool,
    /// Grants that ended with it.
    pub grants_ended: u32,
}

/// What setting the value of a grant came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueSet {
    /// The grant carries the value now.
    Set {
        /// Its version.
        version: u64,
    },
    /// Another version than the one to be replaced is in force; nothing was done.
    Conflict {
        /// The version in force.
        version: u64,
    },
    /// The grant has ended; nothing was done.
    NotHeld {
        /// Why, where that is remembered.
        reason: Option<v1::LossReason>,
    },
}

impl From<v1::SetValueResponse> for ValueSet {
    fn from(answer: v1::SetValueResponse) -> Self {
        let version = answer.version;
        match (answer.set, answer.not_held) {
            (true, _) => Self::Set { version },
            (false, true) => Self::NotHeld { reason: remembered(answer.reason()) },
            (false, false) => Self::Conflict { version },
        }
    }
}

/// Which way a grant is converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Convert {
    /// Upgrade a shared grant.
    ToExclusive,
    /// Downgrade an exclusive grant.
    ToShared,
}
