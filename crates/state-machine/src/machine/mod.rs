//! The applier: the only place where state changes.
//!
//! An entry goes through [`StateMachine::apply`]: time moves, what is due expires, freed locks are handed over, then
//! the commands run, one file each. Whatever frees a lock puts it on the list of freed locks; `hand_over` empties the
//! list at fixed points, so that nothing is granted in the middle of an expiry.

mod acquire;
mod bounds;
mod busy;
mod cancel;
mod close_lease;
mod convert;
mod deadlines;
mod deadlock;
mod ending;
mod expiry;
mod force_release;
mod founding;
mod grant;
mod keys;
mod lease_ends;
mod ledger;
mod losses;
mod named;
mod open_session;
mod queue;
mod rebuild;
mod release;
mod remember;
mod renew;
mod restore;
mod rows;
mod set_value;
mod settings;
mod tables;
mod tokens;
mod validate;
mod views;

use std::collections::BTreeSet;

pub use bounds::Bounds;
pub use keys::HEADER_KEY;
use keys::LockKey;
pub(crate) use keys::{GROUP_ROWS, row_group};
pub(crate) use restore::RowsCheck;
pub use restore::{RestoreError, StateHead, Taken, decode_head};
use tables::Tables;

use crate::{Batch, ClusterId, Command, EntryId, Event, EventKind, LogTime, Operation, Outcome, Refusal, Revision};

/// What one entry came to.
#[derive(Debug, Default, PartialEq, Eq)]
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

/// The replicated tables.
#[derive(Debug, Default)]
pub struct StateMachine {
    tables: Tables,
    bounds: Bounds,
    /// Locks that may have become free for somebody who waits.
    freed: BTreeSet<LockKey>,
    /// Events of the entry that is being applied.
    events: Vec<Event>,
}

impl StateMachine {
    /// Nothing applied, nothing founded.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces the capacities that are constants of the build, so that tests reach them. All nodes of a group must
    /// have the same.
    #[must_use]
    pub fn with_bounds(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }

    /// Applies an ordinary entry: sets `now`, expires what is due, grants, then runs the commands.
    ///
    /// # Panics
    /// When the entry does not follow the last applied one, or an invariant of the tables is broken.
    pub fn apply(&mut self, entry: EntryId, batch: &Batch) -> Effects {
        self.advance(entry);
        if batch.stamped_by == entry.leader {
            self.tables.header.now = self.tables.header.now.max(batch.at);
        }
        self.expire_due(batch.commands.len());
        self.hand_over();
        let outcomes = batch.commands.iter().map(|command| self.run(command)).collect();
        self.tables.settle_many();
        Effects { outcomes, events: std::mem::take(&mut self.events) }
    }

    /// Applies an entry without time and commands (a new leader's first one).
    pub fn apply_blank(&mut self, entry: EntryId) {
        self.advance(entry);
    }

    /// Records a membership entry; `encoded` is the consensus crate's business.
    pub fn apply_membership(&mut self, entry: EntryId, encoded: Vec<u8>) {
        self.advance(entry);
        self.tables.header.membership = Some((entry, encoded));
    }

    /// Last applied entry.
    #[must_use]
    pub fn applied(&self) -> Option<EntryId> {
        self.tables.header.applied
    }

    /// Membership as last recorded, and the entry that recorded it.
    #[must_use]
    pub fn membership(&self) -> Option<(EntryId, &[u8])> {
        self.tables.header.membership.as_ref().map(|(entry, encoded)| (*entry, encoded.as_slice()))
    }

    /// Log time.
    #[must_use]
    pub fn now(&self) -> LogTime {
        self.tables.now()
    }

    /// The cluster's id, once founded.
    #[must_use]
    pub fn cluster(&self) -> Option<ClusterId> {
        self.tables.header.cluster
    }

    /// Format level in force.
    #[must_use]
    pub fn level(&self) -> u32 {
        self.tables.header.level
    }

    /// The earliest deadline of anything that can expire: it is due once `now` is greater.
    #[must_use]
    pub fn earliest_deadline(&self) -> Option<LogTime> {
        self.tables.deadlines.earliest()
    }

    /// Sum mod 2^128 of a fixed-key hash of every row, header included.
    pub fn state_hash(&mut self) -> u128 {
        self.tables.state_hash()
    }

    /// The same for onlookers, who may not change anything: what it computes is computed again by the next one.
    #[must_use]
    pub fn look_at_hash(&self) -> u128 {
        self.tables.look_at_hash()
    }

    fn advance(&mut self, entry: EntryId) {
        let last = self.tables.header.applied;
        assert!(last.is_none_or(|last| last.index < entry.index), "entry {entry:?} follows {last:?}");
        self.tables.header.applied = Some(entry);
    }

    fn run(&mut self, command: &Command) -> Outcome {
        let outcome = self.admit(command).and_then(|()| match &command.operation {
            Operation::Found(found) => Ok(self.found(found)),
            Operation::Acquire(acquire) => self.acquire(acquire),
            Operation::CancelAcquire(cancel) => self.cancel(cancel),
            Operation::Release(release) => self.release(release),
            Operation::Renew(renew) => self.renew(renew),
            Operation::CloseLease(close) => Ok(self.close_lease(close)),
            Operation::Tick => Ok(Outcome::Done),
            Operation::SetLimits(set) => self.set_limits(set),
            Operation::SetLevel(set) => self.set_level(set),
            Operation::OpenSession(open) => self.open_session(open),
            Operation::SetValue(set) => self.set_value(set),
            Operation::ForceRelease(force) => self.force_release(force),
        });
        self.hand_over();
        outcome.unwrap_or_else(Outcome::Refused)
    }

    /// What holds for every command.
    fn admit(&self, command: &Command) -> Result<(), Refusal> {
        let founds = matches!(command.operation, Operation::Found(_));
        if self.tables.header.cluster.is_none() && !founds {
            return Err(Refusal::NotFounded);
        }
        let now = self.now();
        if let Some(not_after) = command.not_after
            && now > not_after
        {
            return Err(Refusal::TooLate { not_after, now });
        }
        let (needed, level) = (command.operation.level(), self.level());
        if needed > level {
            return Err(Refusal::Level { needed, level });
        }
        Ok(())
    }

    fn emit(&mut self, namespace: &str, kind: EventKind) {
        let index = self.tables.header.applied.map_or(0, |entry| entry.index);
        let ordinal = u32::try_from(self.events.len()).expect("an entry has fewer than 2^32 events");
        let revision = Revision { index, ordinal };
        self.events.push(Event { revision, at: self.now(), namespace: self.tables.intern_namespace(namespace), kind });
    }
}
