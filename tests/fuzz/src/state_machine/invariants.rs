//! What must hold after every entry, seen from outside: rows, views, outcomes and events.

use std::collections::{BTreeMap, BTreeSet};

use leasehold_state_machine::{
    Batch, Bounds, Effects, EntryId, EventKind, FencingToken, LeaderStamp, LogTime, Mode, Occupant, Operation,
    StateMachine,
};

/// A state machine that is watched, and beside it what a checkpoint and a restart would make of it.
pub struct Watched {
    pub machine: StateMachine,
    /// Rebuilt from rows after every entry.
    twin: StateMachine,
    bounds: Bounds,
    /// What a checkpoint holds.
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    namespaces: BTreeSet<String>,
    /// Tokens that were given out.
    last_token: Option<FencingToken>,
    index: u64,
}

impl Watched {
    pub fn new(bounds: Bounds) -> Self {
        let fresh = || StateMachine::new().with_bounds(bounds);
        Self {
            machine: fresh(),
            twin: fresh(),
            bounds,
            rows: BTreeMap::new(),
            namespaces: BTreeSet::new(),
            last_token: None,
            index: 0,
        }
    }

    /// Applies the next entry of the log under `leader`, and looks at everything.
    pub fn apply(&mut self, leader: LeaderStamp, batch: &Batch) -> Effects {
        self.index += 1;
        let entry = EntryId { leader, index: self.index };
        let before = self.machine.now();
        let effects = self.machine.apply(entry, batch);
        assert_eq!(self.twin.apply(entry, batch), effects, "after a restart the same entry comes to something else");
        self.check_now(before, leader, batch);
        assert_eq!(effects.outcomes.len(), batch.commands.len());
        self.namespaces.extend(batch.commands.iter().filter_map(|command| namespace_of(&command.operation)));
        self.check_events(&effects);
        self.check_holders();
        self.check_rows();
        effects
    }

    fn check_now(&self, before: LogTime, leader: LeaderStamp, batch: &Batch) {
        let now = self.machine.now();
        let expected = if leader == batch.stamped_by { before.max(batch.at) } else { before };
        assert_eq!(now, expected, "log time moves by stamps of the entry's own leader, and never back");
    }

    fn check_events(&mut self, effects: &Effects) {
        let mut last = None;
        for event in &effects.events {
            assert_eq!((event.revision.index, event.at), (self.index, self.machine.now()));
            assert!(last < Some(event.revision), "revisions ascend");
            last = Some(event.revision);
            if let EventKind::Granted { granted, .. } = &event.kind {
                for grant in &granted.grants {
                    assert!(self.last_token < Some(grant.token), "token {} after {:?}", grant.token, self.last_token);
                    assert!(grant.token.0 > 0);
                    self.last_token = Some(grant.token);
                }
            }
        }
    }

    /// No lock has two holders that must not hold together; written apart from the rule that grants.
    fn check_holders(&self) {
        for namespace in &self.namespaces {
            for lock in self.machine.locks(namespace, "", None, usize::MAX) {
                let modes: Vec<Mode> = lock.holders.iter().map(|holder| holder.mode).collect();
                assert!(may_hold_together(&modes), "{}: {modes:?}", lock.name);
                // In its last millisecond a delay has 0 ms left, and is there.
                let delayed = matches!(self.machine.occupant(namespace, &lock.name), Occupant::Delayed { .. });
                assert!(!modes.is_empty() || lock.waiter_count > 0 || delayed, "{} is idle", lock.name);
                for holder in &lock.holders {
                    assert!(Some(holder.token) <= self.last_token, "{} was never granted", holder.token);
                }
            }
        }
    }

    /// The changes make the rows, the rows have the running hash, and what is rebuilt from them is the same.
    fn check_rows(&mut self) {
        for change in self.machine.take_changes().rows {
            match change.value {
                Some(value) => drop(self.rows.insert(change.key, value)),
                None => drop(self.rows.remove(&change.key)),
            }
        }
        let rows = self.machine.rows();
        assert!(rows.iter().map(|(key, value)| (key, value)).eq(&self.rows), "the changes do not make the rows");
        let twin = StateMachine::from_rows(rows).expect("rows of a running machine restore");
        self.twin = twin.with_bounds(self.bounds);
        assert_eq!(self.twin.state_hash(), self.machine.state_hash());
        assert_eq!(self.twin.earliest_deadline(), self.machine.earliest_deadline());
        // Restored rows count as written.
        assert_eq!(self.twin.changed_rows(), 0);
    }
}

fn may_hold_together(modes: &[Mode]) -> bool {
    let mut permits_taken = 0;
    modes.iter().all(|mode| match mode {
        Mode::Exclusive => modes.len() == 1,
        Mode::Shared => modes.iter().all(|other| *other == Mode::Shared),
        Mode::Permits { permits, limit } => {
            permits_taken += u64::from(*permits);
            let alike = |other: &Mode| matches!(other, Mode::Permits { limit: theirs, .. } if theirs == limit);
            *permits > 0 && permits_taken <= u64::from(*limit) && modes.iter().all(alike)
        }
    })
}

fn namespace_of(operation: &Operation) -> Option<String> {
    match operation {
        Operation::Acquire(acquire) => Some(acquire.namespace.clone()),
        _ => None,
    }
}
