//! The applier: the only place where state changes.

use crate::{Batch, EntryId, Event, LeaseId, Limits, LockView, LogTime, Mode, Outcome, RequestId, RequestView};

impl Mode {
    /// Whether holders in these two modes may hold one lock together.
    #[must_use]
    pub fn compatible(self, other: Self) -> bool {
        match (self, other) {
            (Self::Exclusive, Self::Exclusive) => false,
        }
    }
}

/// What one entry came to.
#[derive(Debug, Default)]
pub struct Effects {
    /// One per command, in order.
    pub outcomes: Vec<Outcome>,
    /// In order.
    pub events: Vec<Event>,
}

/// One changed row of the tables, for the checkpoint: `value` None means that the row is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowChange {
    /// Table tag byte, then the key within the table.
    pub key: Vec<u8>,
    /// The encoded row.
    pub value: Option<Vec<u8>>,
}

/// All rows that changed since the last call, with the header row (applied id, membership, log time, counters,
/// level, limits, state hash) always among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// In key order.
    pub rows: Vec<RowChange>,
    /// The last applied entry that these rows include.
    pub applied: Option<EntryId>,
}

/// The rows do not make a state machine.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// A row cannot be decoded.
    #[error("row {key:02x?} cannot be decoded: {source}")]
    Row {
        /// Its key.
        key: Vec<u8>,
        /// Why.
        source: crate::codec::DecodeError,
    },
    /// There are rows, but no header row.
    #[error("the header row is missing")]
    NoHeader,
    /// The hash in the header is not that of the rows.
    #[error("state hash {computed:032x} of the rows is not the recorded {recorded:032x}")]
    Hash {
        /// Recomputed from the rows.
        computed: u128,
        /// In the header row.
        recorded: u128,
    },
    /// A row contradicts another one.
    #[error("rows contradict each other: {0}")]
    Inconsistent(String),
}

/// The replicated tables.
#[derive(Debug, Default)]
pub struct StateMachine {}

#[allow(unused_variables, clippy::todo, missing_docs)]
impl StateMachine {
    /// Nothing applied, nothing founded.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies an ordinary entry: sets `now`, expires what is due, grants, then runs the commands.
    pub fn apply(&mut self, entry: EntryId, batch: &Batch) -> Effects {
        todo!()
    }

    /// Applies an entry without time and commands (a new leader's first one).
    pub fn apply_blank(&mut self, entry: EntryId) {
        todo!()
    }

    /// Records a membership entry; `encoded` is the consensus crate's business.
    pub fn apply_membership(&mut self, entry: EntryId, encoded: Vec<u8>) {
        todo!()
    }

    /// Last applied entry.
    #[must_use]
    pub fn applied(&self) -> Option<EntryId> {
        todo!()
    }

    /// Membership as last recorded, and the entry that recorded it.
    #[must_use]
    pub fn membership(&self) -> Option<(EntryId, &[u8])> {
        todo!()
    }

    /// Log time.
    #[must_use]
    pub fn now(&self) -> LogTime {
        todo!()
    }

    /// The cluster's id, once founded.
    #[must_use]
    pub fn cluster(&self) -> Option<crate::ClusterId> {
        todo!()
    }

    /// Format level in force.
    #[must_use]
    pub fn level(&self) -> u32 {
        todo!()
    }

    /// The earliest deadline of anything that can expire: it is due once `now` is greater.
    #[must_use]
    pub fn earliest_deadline(&self) -> Option<LogTime> {
        todo!()
    }

    /// Sum mod 2^128 of a fixed-key hash of every row, header included.
    pub fn state_hash(&mut self) -> u128 {
        todo!()
    }

    /// Limits in force for a namespace.
    #[must_use]
    pub fn limits(&self, namespace: &str) -> &Limits {
        todo!()
    }

    /// One lock; None when it has neither holder nor waiter nor a remembered loss.
    #[must_use]
    pub fn lock(&self, namespace: &str, name: &str) -> Option<LockView> {
        todo!()
    }

    /// Locks with a holder or a waiter whose name begins with `prefix`, after the name `after`, in name order.
    #[must_use]
    pub fn locks(&self, namespace: &str, prefix: &str, after: Option<&str>, max: usize) -> Vec<LockView> {
        todo!()
    }

    /// Milliseconds of log time left of a lease.
    #[must_use]
    pub fn lease_left_ms(&self, lease: LeaseId) -> Option<u64> {
        todo!()
    }

    /// What became of a request.
    #[must_use]
    pub fn request(&self, request: RequestId) -> RequestView {
        todo!()
    }

    /// Takes the rows that changed since the last call.
    pub fn take_changes(&mut self) -> Changes {
        todo!()
    }

    /// Every row, header first, as a snapshot of the whole would hold them.
    #[must_use]
    pub fn rows(&mut self) -> Vec<(Vec<u8>, Vec<u8>)> {
        todo!()
    }

    /// Builds the tables from rows in key order, recomputes the hash and checks it. Nothing is pending afterwards.
    pub fn from_rows<I>(rows: I) -> Result<Self, RestoreError>
    where
        I: IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
    {
        todo!()
    }
}
