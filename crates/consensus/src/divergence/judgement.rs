//! Who has to stop when nodes differ: pure functions over what they said.

use std::collections::{BTreeMap, BTreeSet};

/// What came of comparing this node's positions with a peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Comparison {
    /// Positions that both know.
    pub(crate) compared: u64,
    /// The highest of them before any difference.
    pub(crate) agreed: Option<u64>,
    /// The lowest at which they differ. Nothing behind it is looked at.
    pub(crate) differs: Option<u64>,
}

/// Compares the positions that both know, in log order.
pub(crate) fn compare(own: &BTreeMap<u64, u128>, theirs: &BTreeMap<u64, u128>) -> Comparison {
    let mut comparison = Comparison::default();
    for (index, hash) in theirs {
        let Some(own) = own.get(index) else { continue };
        comparison.compared += 1;
        if own != hash {
            comparison.differs = Some(*index);
            break;
        }
        comparison.agreed = Some(*index);
    }
    comparison
}

/// What the hashes of several nodes after one entry mean for one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// All that are known are equal.
    Agreed,
    /// A majority of the voters has this node's hash, these nodes have another one: they have to stop.
    OthersDiffer(BTreeSet<u64>),
    /// A majority of the voters has another hash than this node, which has to stop.
    OwnDiffers {
        /// Those that have it.
        majority: BTreeSet<u64>,
    },
    /// No hash can reach a majority of the voters: nobody can tell who is right, so all have to stop.
    NoMajority,
    /// Nodes differ, and the voters that have not said anything yet would decide.
    Undecided,
}

/// Judges the hashes after one entry. `hashes` holds this node's own; what a learner says counts for nobody but itself.
pub(crate) fn judge(own: u64, voters: &BTreeSet<u64>, hashes: &BTreeMap<u64, u128>) -> Judgement {
    let Some(own_hash) = hashes.get(&own) else { return Judgement::Undecided };
    if hashes.values().all(|hash| hash == own_hash) {
        return Judgement::Agreed;
    }
    let mut votes: BTreeMap<u128, usize> = BTreeMap::new();
    for hash in hashes.iter().filter(|(node, _)| voters.contains(node)).map(|(_, hash)| *hash) {
        *votes.entry(hash).or_default() += 1;
    }
    let majority = voters.len() / 2 + 1;
    let undisputed = votes.len() == 1 && voters.contains(&own);
    let best = votes.iter().max_by_key(|(_, count)| **count).map(|(hash, count)| (*hash, *count));
    let having = |wanted: u128| hashes.iter().filter(move |(_, hash)| **hash == wanted).map(|(node, _)| *node);
    match best {
        // Where a voter differs from learners only, it is theirs to stop.
        Some((hash, count)) if (count >= majority || undisputed) && hash == *own_hash => {
            let right: BTreeSet<u64> = having(hash).collect();
            Judgement::OthersDiffer(hashes.keys().filter(|node| !right.contains(node)).copied().collect())
        }
        Some((hash, count)) if count >= majority => {
            Judgement::OwnDiffers { majority: having(hash).filter(|node| voters.contains(node)).collect() }
        }
        best => {
            let silent = voters.iter().filter(|voter| !hashes.contains_key(voter)).count();
            let reach = best.map_or(0, |(_, count)| count) + silent;
            if reach >= majority { Judgement::Undecided } else { Judgement::NoMajority }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(pairs: &[(u64, u128)]) -> BTreeMap<u64, u128> {
        pairs.iter().copied().collect()
    }

    #[test]
    fn only_positions_that_both_know_are_compared() {
        let own = positions(&[(64, 1), (128, 2), (192, 3)]);
        let none = compare(&own, &positions(&[(256, 9)]));
        assert_eq!(none, Comparison::default());
        let some = compare(&own, &positions(&[(100, 9), (128, 2), (192, 3), (256, 9)]));
        assert_eq!(some, Comparison { compared: 2, agreed: Some(192), differs: None });
    }

    #[test]
    fn the_first_difference_counts_and_what_follows_does_not() {
        let own = positions(&[(64, 1), (128, 2), (192, 3)]);
        let differs = compare(&own, &positions(&[(64, 1), (128, 7), (192, 3)]));
        assert_eq!(differs, Comparison { compared: 2, agreed: Some(64), differs: Some(128) });
    }

    fn judged(own: u64, voters: u64, hashes: &[(u64, u128)]) -> Judgement {
        judge(own, &(1..=voters).collect(), &positions(hashes))
    }

    #[test]
    fn the_one_that_differs_from_a_majority_stops_and_the_majority_goes_on() {
        let hashes = [(1, 5), (2, 5), (3, 6)];
        assert_eq!(judged(3, 3, &hashes), Judgement::OwnDiffers { majority: [1, 2].into() });
        for own in [1, 2] {
            assert_eq!(judged(own, 3, &hashes), Judgement::OthersDiffer([3].into()));
        }
        assert_eq!(judged(1, 3, &[(1, 5), (2, 5), (3, 5)]), Judgement::Agreed);
    }

    #[test]
    fn a_voter_that_is_silent_may_decide() {
        assert_eq!(judged(1, 3, &[(1, 5), (2, 6)]), Judgement::Undecided);
        assert_eq!(judged(1, 5, &[(1, 5), (2, 6), (3, 6)]), Judgement::Undecided);
        assert_eq!(
            judged(1, 5, &[(1, 5), (2, 6), (3, 6), (4, 6)]),
            Judgement::OwnDiffers { majority: [2, 3, 4].into() }
        );
    }

    #[test]
    fn where_no_majority_can_be_named_nobody_is_right() {
        for own in [1, 2, 3] {
            assert_eq!(judged(own, 3, &[(1, 5), (2, 6), (3, 7)]), Judgement::NoMajority);
        }
        assert_eq!(judged(2, 2, &[(1, 5), (2, 6)]), Judgement::NoMajority);
        assert_eq!(judged(5, 5, &[(1, 5), (2, 5), (3, 6), (4, 6), (5, 7)]), Judgement::NoMajority);
    }

    #[test]
    fn a_learner_judges_nobody_but_stops_when_it_differs() {
        assert_eq!(judged(4, 3, &[(1, 5), (2, 5), (4, 6)]), Judgement::OwnDiffers { majority: [1, 2].into() });
        assert_eq!(judged(1, 3, &[(1, 5), (2, 5), (4, 6)]), Judgement::OthersDiffer([4].into()));
        assert_eq!(judged(1, 3, &[(1, 5), (4, 6), (5, 6)]), Judgement::OthersDiffer([4, 5].into()));
        assert_eq!(judged(4, 3, &[(1, 5), (4, 6), (5, 6)]), Judgement::Undecided);
        assert_eq!(judged(1, 1, &[(1, 5), (4, 6), (5, 6)]), Judgement::OthersDiffer([4, 5].into()));
    }
}
