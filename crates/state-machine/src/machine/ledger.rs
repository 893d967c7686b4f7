//! Which rows changed, and the state hash over all of them.
//!
//! The sum covers a row as it was when it was last settled. The first change after that takes note of the row as it
//! was; settling swaps the old hash for the new one, and keeps the encoded row for the checkpoint. A row that comes and goes in
//! between is forgotten at once.

use std::collections::btree_map::{BTreeMap, Entry};
use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

use super::keys::RowKey;

/// Fixed for ever: the hash must be the same in every build and on every platform.
const HASH_KEYS: (u64, u64) = (0x6c65_6173_6568_6f6c, 0x6420_726f_7720_6831);

/// Hash of one row.
pub(super) fn row_hash(key: &[u8], value: &[u8]) -> u128 {
    let mut hasher = SipHasher13::new_with_keys(HASH_KEYS.0, HASH_KEYS.1);
    hasher.write(&(key.len() as u64).to_le_bytes());
    hasher.write(key);
    hasher.write(&(value.len() as u64).to_le_bytes());
    hasher.write(value);
    hasher.finish128().as_u128()
}

/// Hash of an acquire's body.
pub(super) fn body_hash(body: &[u8]) -> u64 {
    row_hash(b"body", body) as u64
}

#[derive(Debug)]
struct Change {
    /// The row exists in the checkpoint.
    in_checkpoint: bool,
    /// The row changed since it was counted.
    stale: bool,
    /// Its hash in the sum; 0 for none: that adds nothing.
    counted: u128,
    /// The row as it was counted last.
    encoded: Option<Vec<u8>>,
}

impl Change {
    /// Of a row that has not changed since the checkpoint.
    fn none_yet(key: &RowKey, before: Option<Vec<u8>>) -> Self {
        let counted = before.as_ref().map_or(0, |value| row_hash(&key.to_bytes(), value));
        Self { in_checkpoint: before.is_some(), stale: false, counted, encoded: None }
    }
}

/// Rows that changed since the last checkpoint.
#[derive(Debug, Default)]
struct Changes {
    /// By tag, then by number: see [`RowKey::number`].
    numbered: [BTreeMap<u128, Change>; RowKey::TAGS],
    named: BTreeMap<RowKey, Change>,
}

impl Changes {
    fn len(&self) -> usize {
        self.numbered.iter().map(BTreeMap::len).sum::<usize>() + self.named.len()
    }

    fn get_mut(&mut self, key: &RowKey) -> Option<&mut Change> {
        match key.number() {
            Some((tag, number)) => self.numbered[usize::from(tag)].get_mut(&number),
            None => self.named.get_mut(key),
        }
    }

    /// The change of a row, or the one that `first` makes.
    fn get_or_insert(&mut self, key: &RowKey, first: impl FnOnce() -> Change) -> &mut Change {
        match key.number() {
            Some((tag, number)) => self.numbered[usize::from(tag)].entry(number).or_insert_with(first),
            None => self.named.entry(key.clone()).or_insert_with(first),
        }
    }

    /// Removes a row that is not in the checkpoint, and gives its hash in the sum.
    fn remove_new(&mut self, key: &RowKey) -> Option<u128> {
        fn removed<K: Ord>(entry: Entry<'_, K, Change>) -> Option<u128> {
            let Entry::Occupied(change) = entry else { return None };
            (!change.get().in_checkpoint).then(|| change.remove().counted)
        }
        match key.number() {
            Some((tag, number)) => removed(self.numbered[usize::from(tag)].entry(number)),
            None => removed(self.named.entry(key.clone())),
        }
    }

    fn iter(&self) -> impl Iterator<Item = (RowKey, &Change)> {
        let numbered = (0..).zip(&self.numbered).flat_map(|(tag, changes)| {
            changes.iter().map(move |(number, change)| (RowKey::of_number((tag, *number)), change))
        });
        numbered.chain(self.named.iter().map(|(key, change)| (key.clone(), change)))
    }

    /// In key order.
    fn into_sorted(self) -> Vec<(RowKey, Change)> {
        let numbered = (0..).zip(self.numbered).flat_map(|(tag, changes)| {
            changes.into_iter().map(move |(number, change)| (RowKey::of_number((tag, number)), change))
        });
        let mut all: Vec<_> = numbered.chain(self.named).collect();
        // By kind: the rows of one are in order already.
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all
    }
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    sum: u128,
    changes: Changes,
    /// Those that changed since they were counted.
    stale: Vec<RowKey>,
}

impl Ledger {
    /// Notes that a row changes. `before` gives it as it was, encoded, or None where it was not: it is asked only at the first
    /// change since the checkpoint.
    pub(super) fn note(&mut self, key: RowKey, before: impl FnOnce() -> Option<Vec<u8>>) {
        let change = self.changes.get_or_insert(&key, || Change::none_yet(&key, before()));
        if !change.stale {
            change.stale = true;
            self.stale.push(key);
        }
    }

    /// Notes that a row goes; `before` as above.
    pub(super) fn note_gone(&mut self, key: RowKey, before: impl FnOnce() -> Option<Vec<u8>>) {
        // It came since the checkpoint: nothing is to be written of it.
        if let Some(counted) = self.changes.remove_new(&key) {
            self.sum = self.sum.wrapping_sub(counted);
        } else {
            self.note(key, before);
        }
    }

    /// Rows that changed since the last checkpoint.
    pub(super) fn changed_rows(&self) -> usize {
        self.changes.len()
    }

    /// Brings the sum up to date.
    pub(super) fn settle(&mut self, value: impl Fn(&RowKey) -> Option<Vec<u8>>) -> u128 {
        for key in std::mem::take(&mut self.stale) {
            // It went again, or is listed twice as it came again.
            let Some(change) = self.changes.get_mut(&key).filter(|change| change.stale) else { continue };
            change.encoded = value(&key);
            let counted = change.encoded.as_ref().map_or(0, |value| row_hash(&key.to_bytes(), value));
            self.sum = self.sum.wrapping_sub(change.counted).wrapping_add(counted);
            change.counted = counted;
            change.stale = false;
            // Nobody said that it went: it is one of several that share a row.
            if change.encoded.is_none() {
                self.changes.remove_new(&key);
            }
        }
        self.sum
    }

    /// Changed rows that settling would encode.
    pub(super) fn stale_rows(&self) -> usize {
        self.stale.len()
    }

    /// The sum as [`Self::settle`] would bring it up to date.
    pub(super) fn look(&self, value: impl Fn(&RowKey) -> Option<Vec<u8>>) -> u128 {
        let stale = self.changes.iter().filter(|(_, change)| change.stale);
        stale.fold(self.sum, |sum, (key, change)| {
            let counted = value(&key).map(|value| row_hash(&key.to_bytes(), &value));
            sum.wrapping_sub(change.counted).wrapping_add(counted.unwrap_or(0))
        })
    }

    /// Empties the list of changes, which was just settled.
    pub(super) fn take(&mut self) -> TakenRows {
        assert!(self.stale.is_empty(), "all rows are settled");
        TakenRows(std::mem::take(&mut self.changes))
    }

    /// Counts a row that was read from a checkpoint or a snapshot.
    pub(super) fn count_restored(&mut self, key: &[u8], value: &[u8]) {
        self.sum = self.sum.wrapping_add(row_hash(key, value));
    }
}

/// Changes that left the ledger.
#[derive(Debug)]
pub(super) struct TakenRows(Changes);

impl TakenRows {
    /// `(key, value or gone)`, in key order.
    pub(super) fn into_rows(self) -> impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)> {
        let rows = self.0.into_sorted().into_iter();
        rows.map(|(key, change)| (key.to_bytes(), change.encoded))
    }
}
