//! State hashes of this node at the log positions that all nodes compare.

use std::collections::BTreeMap;

/// Every entry whose index is a multiple of this is a position: all nodes apply it, so all know their hash after it.
pub(crate) const INTERVAL: u64 = 64;
/// Positions that are remembered: 65,536 entries, which is more than a follower lags while it takes calls.
const POSITIONS_MAX: usize = 1_024;
/// Positions in one answer to a peer.
pub(crate) const PER_ANSWER_MAX: usize = 512;

/// The newest positions, by log index. Those before a restart or the install of a snapshot are not known.
#[derive(Debug, Default)]
pub(crate) struct Positions {
    hashes: BTreeMap<u64, u128>,
}

impl Positions {
    /// Whether the state after this entry is to be recorded.
    pub(crate) fn is_position(index: u64) -> bool {
        index.is_multiple_of(INTERVAL)
    }

    /// Records the hash of the state right after an entry.
    pub(crate) fn record(&mut self, index: u64, hash: u128) {
        self.hashes.insert(index, hash);
        if self.hashes.len() > POSITIONS_MAX {
            self.hashes.pop_first();
        }
    }

    /// Forgets everything: the state was replaced by another one.
    pub(crate) fn clear(&mut self) {
        self.hashes.clear();
    }

    /// The first positions behind an entry, as many as one answer holds.
    pub(crate) fn after(&self, index: u64) -> Vec<(u64, u128)> {
        let from = index.saturating_add(1);
        self.hashes.range(from..).take(PER_ANSWER_MAX).map(|(index, hash)| (*index, *hash)).collect()
    }

    /// The oldest position that is known.
    pub(crate) fn first(&self) -> Option<u64> {
        self.hashes.keys().next().copied()
    }

    /// All of them.
    pub(crate) fn all(&self) -> BTreeMap<u64, u128> {
        self.hashes.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_positions_are_kept_and_told_in_bounded_parts() {
        let mut positions = Positions::default();
        let count = POSITIONS_MAX as u64 + 3;
        for position in 1..=count {
            assert!(Positions::is_position(position * INTERVAL));
            positions.record(position * INTERVAL, u128::from(position));
        }
        assert_eq!(positions.first(), Some(4 * INTERVAL));
        let first = positions.after(0);
        assert_eq!((first.len(), first[0]), (PER_ANSWER_MAX, (4 * INTERVAL, 4)));
        let last = positions.after((count - 1) * INTERVAL);
        assert_eq!(last, [(count * INTERVAL, u128::from(count))]);
        assert_eq!(positions.after(u64::MAX), []);
        positions.clear();
        assert_eq!((positions.first(), positions.after(0)), (None, vec![]));
    }
}
