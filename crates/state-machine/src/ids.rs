//! Newtypes for every id and unit.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Log time: milliseconds on the clock that the leader writes into the log. It starts at 0 when a cluster is founded
/// and has no relation to any wall clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogTime(pub u64);

impl LogTime {
    /// `self + ms`, stopping at the greatest value.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `self` until `later`; 0 when it is not later.
    #[must_use]
    pub fn ms_until(self, later: Self) -> u64 {
        later.0.saturating_sub(self.0)
    }
}

impl fmt::Display for LogTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

/// Strictly increasing number in every grant; 0 is never given out. Below 2^53, so it fits a JSON number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FencingToken(pub u64);

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names a lease. Below 2^64: a lease that an acquire made, numbered by the cluster. From 2^64 on: a session, whose
/// client chose the id at random. Text form: 16 or 32 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeaseId(pub u128);

impl LeaseId {
    /// Whether a client chose this id (DESIGN: a session).
    #[must_use]
    pub fn is_session(self) -> bool {
        self.0 > u128::from(u64::MAX)
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_session() { write!(f, "{:032x}", self.0) } else { write!(f, "{:016x}", self.0) }
    }
}

/// The text is not 16 or 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a lease id is 16 or 32 hexadecimal digits, this has {length} characters")]
pub struct ParseLeaseIdError {
    /// Length of the refused text, in bytes.
    pub length: usize,
}

impl FromStr for LeaseId {
    type Err = ParseLeaseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = ParseLeaseIdError { length: text.len() };
        if (text.len() != 16 && text.len() != 32) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(error);
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| error)
    }
}

/// 128 random bits that name a cluster for ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClusterId(pub u128);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Names one request across retries: a random client instance, and a counter which that instance never reuses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId {
    /// Random 64 bits that name one client process or object.
    pub client: u64,
    /// Counts the requests of that instance, from 1.
    pub counter: u64,
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.client, self.counter)
    }
}

/// Counts the sends of one request id, from 1.
pub type Attempt = u32;

/// Raft leader id: who may write entries of a term.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeaderStamp {
    /// Raft term.
    pub term: u64,
    /// Node id of the leader of that term.
    pub node: u64,
}

/// Position of a log entry: its leader and its index.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EntryId {
    /// The leader under which the entry lies in the log.
    pub leader: LeaderStamp,
    /// Log index.
    pub index: u64,
}

/// Position of one event: log index and ordinal within the entry. Totally ordered, the same on every node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Revision {
    /// Log index of the entry that caused the event.
    pub index: u64,
    /// Counts the events of the entry, from 0.
    pub ordinal: u32,
}
