//! Why leases ended: the youngest ends, found by lease.
//!
//! Every release of a lock without a session ends a lease, and pushes the oldest end out. As rows of their own that would be two
//! changed rows a release, most of what a checkpoint has to write. So many neighbours by age share a row.

use std::collections::BTreeMap;

use super::restore::{RestoreError, inconsistent};
use super::rows::LeaseEnd;
use crate::LeaseId;

/// Ages that share a row. Losses of locks count on the same ages, so it holds about half as many ends.
const AGES_PER_CHUNK: u64 = 128;

#[derive(Debug, Default)]
pub(super) struct LeaseEnds {
    by_lease: BTreeMap<LeaseId, LeaseEnd>,
    by_age: BTreeMap<u64, LeaseId>,
}

impl LeaseEnds {
    /// The row that an end lies in.
    pub(super) fn chunk_of(end: LeaseEnd) -> u64 {
        end.number / AGES_PER_CHUNK
    }

    pub(super) fn len(&self) -> usize {
        self.by_lease.len()
    }

    pub(super) fn get(&self, lease: LeaseId) -> Option<LeaseEnd> {
        self.by_lease.get(&lease).copied()
    }

    pub(super) fn oldest(&self) -> Option<LeaseId> {
        self.by_age.first_key_value().map(|(_, lease)| *lease)
    }

    /// The greatest age.
    pub(super) fn newest(&self) -> Option<u64> {
        self.by_age.last_key_value().map(|(number, _)| *number)
    }

    /// Of a lease that has none.
    pub(super) fn insert(&mut self, lease: LeaseId, end: LeaseEnd) {
        self.by_age.insert(end.number, lease);
        self.by_lease.insert(lease, end);
    }

    pub(super) fn remove(&mut self, lease: LeaseId) {
        if let Some(end) = self.by_lease.remove(&lease) {
            self.by_age.remove(&end.number);
        }
    }

    /// What a row holds, by age; None: there is no such row.
    pub(super) fn chunk(&self, chunk: u64) -> Option<Vec<(LeaseId, LeaseEnd)>> {
        let first = chunk.saturating_mul(AGES_PER_CHUNK);
        let leases = self.by_age.range(first..=first.saturating_add(AGES_PER_CHUNK - 1)).map(|(_, lease)| *lease);
        let ends: Vec<_> = leases.filter_map(|lease| Some((lease, self.get(lease)?))).collect();
        (!ends.is_empty()).then_some(ends)
    }

    /// All rows, in order.
    pub(super) fn chunks(&self) -> impl Iterator<Item = u64> + '_ {
        let mut last = None;
        self.by_age
            .keys()
            .map(|number| number / AGES_PER_CHUNK)
            .filter(move |chunk| last.replace(*chunk) != Some(*chunk))
    }

    /// Takes a row in.
    pub(super) fn restore(&mut self, chunk: u64, ends: Vec<(LeaseId, LeaseEnd)>) -> Result<(), RestoreError> {
        for (lease, end) in ends {
            let known = self.by_lease.contains_key(&lease) || self.by_age.contains_key(&end.number);
            if known || Self::chunk_of(end) != chunk {
                return Err(inconsistent(format!("end of lease {lease} has another's number")));
            }
            self.insert(lease, end);
        }
        Ok(())
    }
}
