//! What a node's log says, as `leasehold debug log` prints it: one JSON object an entry.
//!
//! The types here are the checker's own reading of that text, so that a change of the state machine's types which changes
//! the text is noticed instead of followed.

use std::io::{self, BufRead};

use leasehold_state_machine::RequestId;
use serde::{Deserialize, Deserializer};

/// The log of one node.
#[derive(Debug, Clone, Default)]
pub struct NodeLog {
    /// Which node.
    pub node: u64,
    /// In index order. The first ones may be missing: purged behind a snapshot.
    pub entries: Vec<Entry>,
}

/// One entry.
#[derive(Debug, Clone, Deserialize)]
pub struct Entry {
    /// Log index.
    pub index: u64,
    /// Raft term of the leader under which it lies in the log.
    pub term: u64,
    /// That leader.
    pub leader: u64,
    /// What it is.
    pub kind: Kind,
    /// The stamp of log time.
    #[serde(default)]
    pub at: Option<u64>,
    /// The leader id that made the stamp.
    #[serde(default)]
    pub stamped: Option<Stamp>,
    /// Whether it is known to be committed: the rest has no outcome yet.
    pub committed: bool,
    /// The batch.
    #[serde(default)]
    pub commands: Vec<Command>,
    /// One for each command.
    #[serde(default, deserialize_with = "null_is_nothing")]
    pub outcomes: Vec<Outcome>,
    /// Log time after the entry.
    #[serde(default, deserialize_with = "null_is_nothing")]
    pub now: u64,
    /// State hash after the entry. Empty: the entry lies before the snapshot that the replay began with.
    #[serde(default, deserialize_with = "null_is_nothing")]
    pub hash: String,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A batch of commands with a stamp.
    Normal,
    /// A new leader's first entry.
    Blank,
    /// Who is a member.
    Membership,
}

/// Who made a stamp of log time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Stamp {
    /// Raft term.
    pub term: u64,
    /// Its leader.
    pub node: u64,
}

/// One command.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Command {
    /// Refused once `now` is later.
    pub not_after: Option<u64>,
    /// What to do.
    pub operation: Operation,
}

/// What a command does.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[expect(missing_docs, reason = "the names and fields of DESIGN section 4")]
pub enum Operation {
    Found { counter_start: u64 },
    Acquire(Acquire),
    CancelAcquire { request: RequestId, attempt: u32 },
    Release { namespace: String, name: String, token: u64 },
    Renew { leases: Vec<RenewLease> },
    CloseLease { lease: Lease },
    Tick,
    SetLimits(serde::de::IgnoredAny),
    SetLevel(serde::de::IgnoredAny),
}

/// See [`Operation::Acquire`].
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[expect(missing_docs, reason = "the fields of leasehold_state_machine::Acquire")]
pub struct Acquire {
    pub request: RequestId,
    pub attempt: u32,
    pub lowest_unanswered: u64,
    pub namespace: String,
    pub locks: Vec<LockRequest>,
    pub lease: LeaseRequest,
    pub wait: Wait,
}

/// One lock of an acquire.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[expect(missing_docs, reason = "the fields of leasehold_state_machine::LockRequest")]
pub struct LockRequest {
    pub name: String,
    pub mode: String,
}

/// What the grants hang on.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[expect(missing_docs, reason = "the fields of leasehold_state_machine::LeaseRequest")]
pub enum LeaseRequest {
    Own { ttl_ms: u64 },
}

/// What to do about a held lock.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[expect(missing_docs, reason = "the fields of leasehold_state_machine::Wait")]
pub enum Wait {
    Try,
    For { wait_ms: u64 },
}

/// One renewal.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[expect(missing_docs, reason = "the fields of leasehold_state_machine::RenewLease")]
pub struct RenewLease {
    pub lease: Lease,
    pub ttl_ms: Option<u64>,
}

/// What a command came to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the names and fields of leasehold_state_machine::Outcome")]
pub enum Outcome {
    Founded,
    Granted { lease: Lease, grants: Vec<GrantedLock>, left_ms: u64, confirm: bool },
    Queued { ahead: u32, deadline: u64 },
    Held { name: String, holders: Vec<Holder>, waiters: u32 },
    Ended { reason: String, token: Option<u64> },
    Cancelled(String),
    Released { released: bool, reason: Option<String> },
    Renewed(Vec<Renewed>),
    Closed { closed: bool, grants_ended: u32 },
    Done,
    Refused(serde_json::Value),
}

/// One lock of a grant.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the fields of leasehold_state_machine::GrantedLock")]
pub struct GrantedLock {
    pub name: String,
    pub token: u64,
}

/// A holder in a refusal.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the fields of leasehold_state_machine::HolderView")]
pub struct Holder {
    pub token: u64,
    pub lease: Lease,
    pub left_ms: u64,
}

/// One lease of a renewal.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the names and fields of leasehold_state_machine::Renewed")]
pub enum Renewed {
    Alive { left_ms: u64 },
    Gone { reason: Option<String> },
    TtlOutOfRange { min_ms: u64, max_ms: u64 },
}

/// A lease id, as a number or in its text form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lease(pub u128);

impl Lease {
    /// From its text form; None when it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        u128::from_str_radix(text, 16).ok().map(Self)
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl<'de> Deserialize<'de> for Lease {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct NumberOrText;
        impl serde::de::Visitor<'_> for NumberOrText {
            type Value = Lease;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a lease id")
            }
            fn visit_u64<E>(self, number: u64) -> Result<Lease, E> {
                Ok(Lease(number.into()))
            }
            fn visit_u128<E>(self, number: u128) -> Result<Lease, E> {
                Ok(Lease(number))
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Lease, E> {
                Lease::parse(text).ok_or_else(|| E::custom(format!("`{text}` is no lease id")))
            }
        }
        from.deserialize_any(NumberOrText)
    }
}

fn null_is_nothing<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl NodeLog {
    /// Reads the output of `leasehold debug log`. Entries that it could not replay are left out.
    pub fn read(node: u64, from: impl BufRead) -> io::Result<Self> {
        let mut entries = Vec::new();
        for line in from.lines() {
            let line = line?;
            let entry: Entry = serde_json::from_str(&line)
                .map_err(|error| io::Error::other(format!("node {node}, `{line}`: {error}")))?;
            if !entry.hash.is_empty() {
                entries.push(entry);
            }
        }
        Ok(Self { node, entries })
    }

    /// The committed entries.
    pub fn committed(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.committed)
    }

    /// What one node knows to be committed is so on all that have the same entry: a node that was killed may not have
    /// noted it.
    pub fn share_commits(logs: &mut [Self]) {
        let last = logs.iter().filter_map(|log| log.committed().last()).max_by_key(|entry| entry.index);
        let Some((index, term)) = last.map(|entry| (entry.index, entry.term)) else { return };
        for log in logs {
            // Logs that agree in one entry agree in all before it (Raft, log matching).
            if log.entries.iter().any(|entry| (entry.index, entry.term) == (index, term)) {
                for entry in log.entries.iter_mut().filter(|entry| entry.index <= index) {
                    entry.committed = true;
                }
            }
        }
    }

    /// Whether it begins with the cluster's first entry, so that it can be replayed from nothing.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.entries.first().is_some_and(|entry| entry.index <= 1)
    }
}
