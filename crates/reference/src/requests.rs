//! What is remembered of request ids: records while they wait or hold, tombstones, and one mark an instance.

use leasehold_state_machine::{Acquire, Attempt, Bounds, Outcome, REMEMBER_MS, RequestId, Wait};

use crate::rows::{Fate, Mark, Record};
use crate::{Model, limit_reached};

/// What two sends of one request must have in common.
pub(crate) fn body_of(acquire: &Acquire) -> Acquire {
    Acquire { attempt: 0, lowest_unanswered: 0, wait: Wait::Try, ..acquire.clone() }
}

impl Model {
    pub(crate) fn remember_until(&self) -> u64 {
        self.now + REMEMBER_MS
    }

    /// The instance's mark, if it refuses the id.
    pub(crate) fn mark_above(&self, id: RequestId) -> Option<u64> {
        let mark = self.tables.marks.get(&id.client).filter(|mark| mark.until >= self.now)?;
        (id.counter < mark.lowest).then_some(mark.lowest)
    }

    pub(crate) fn put_record(&mut self, id: RequestId, attempt: Attempt, body: Option<Acquire>, fate: Fate) {
        self.tables.set_record(id, Record { attempt, body, fate });
    }

    /// An instance spoke: its mark lives on, and rises. Tombstones below it are not needed any more.
    pub(crate) fn hear_of(&mut self, client: u64, lowest: u64) {
        let known = self.tables.marks.get(&client).copied();
        if known.is_none() && self.tables.marks.len() >= self.bounds.instances_max {
            return;
        }
        let lowest = known.map_or(0, |mark| mark.lowest).max(lowest);
        self.tables.set_mark(client, Mark { lowest, until: self.remember_until() });
        let below = RequestId { client, counter: 0 }..RequestId { client, counter: lowest };
        let is_over = |record: &Record| !matches!(record.fate, Fate::Waiting(_) | Fate::Granted { .. });
        let over = self.tables.records.range(below).filter(|(_, record)| is_over(record));
        for id in over.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.tables.remove_record(id);
        }
    }

    /// Why a new id cannot be remembered. A known one needs no room.
    pub(crate) fn no_room(&self, id: RequestId) -> Option<Outcome> {
        let Bounds { instances_max, requests_max, .. } = self.bounds;
        if self.tables.records.contains_key(&id) {
            None
        } else if !self.tables.marks.contains_key(&id.client) && self.tables.marks.len() >= instances_max {
            Some(limit_reached("instances_max", instances_max as u64))
        } else if self.tables.records.len() >= requests_max {
            Some(limit_reached("requests_max", requests_max as u64))
        } else {
            None
        }
    }
}
