//! A difference between nodes that is not settled yet.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::judgement::{Judgement, judge};

/// How many rounds a difference may wait for the voters that would decide it.
const UNDECIDED_ROUNDS_MAX: u32 = 2;

/// State hashes by log index.
pub(crate) type Hashes = BTreeMap<u64, u128>;

/// Nodes differ after one log entry, and it may be after a later one that it can be told who is right: a node that has started
/// since then does not know its hash after the first.
#[derive(Debug)]
pub(crate) struct Suspicion {
    /// The first entry after which they differ.
    index: u64,
    /// The hashes after it by node, the judging one included.
    first: BTreeMap<u64, u128>,
    rounds: u32,
}

/// What a node does about a suspicion.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It waits for those that have not said anything.
    Wait,
    /// It goes on: it has the hash that counts.
    GoOn,
    /// It must not serve with its tables any more.
    Stop(String),
}

impl Suspicion {
    pub(crate) fn new(index: u64, first: BTreeMap<u64, u128>) -> Self {
        Self { index, first, rounds: 0 }
    }

    pub(crate) fn index(&self) -> u64 {
        self.index
    }

    /// Judges by what each node, the judging one included, said of the entries from [`Self::index`] on. What was said of that entry
    /// once stays, though a node may have stopped since.
    pub(crate) fn decide(&mut self, own: u64, voters: &BTreeSet<u64>, said: &BTreeMap<u64, Hashes>) -> Verdict {
        self.rounds += 1;
        self.first.extend(after(self.index, said));
        let later = said.get(&own).into_iter().flat_map(|hashes| hashes.range(self.index + 1..));
        let later = later.map(|(index, _)| (*index, after(*index, said)));
        for (index, hashes) in std::iter::once((self.index, self.first.clone())).chain(later) {
            let judgement = judge(own, voters, &hashes);
            match judgement {
                Judgement::OthersDiffer(_) => return Verdict::GoOn,
                Judgement::OwnDiffers { .. } | Judgement::NoMajority => {
                    return Verdict::Stop(reason(own, index, &hashes, &judgement));
                }
                Judgement::Agreed | Judgement::Undecided => {}
            }
        }
        if self.rounds < UNDECIDED_ROUNDS_MAX {
            return Verdict::Wait;
        }
        Verdict::Stop(reason(own, self.index, &self.first, &Judgement::Undecided))
    }
}

/// The hashes after one entry, by node.
fn after(index: u64, said: &BTreeMap<u64, Hashes>) -> BTreeMap<u64, u128> {
    said.iter().filter_map(|(node, hashes)| Some((*node, *hashes.get(&index)?))).collect()
}

fn reason(own: u64, index: u64, hashes: &BTreeMap<u64, u128>, judgement: &Judgement) -> String {
    let mut text = format!("the tables of nodes differ: after log entry {index} the state hash is");
    for (place, (node, hash)) in hashes.iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        let here = if *node == own { " (this node)" } else { "" };
        // Writing to a string does not fail.
        let _ = write!(text, "{comma} {hash:032x} on node {node}{here}");
    }
    text.push_str(match judgement {
        Judgement::OwnDiffers { .. } => ". A majority of the voters agrees against this node, so it stops",
        _ => ". No majority of the voters is known to agree, so every node that differs stops",
    });
    text.push_str(
            ". It does not serve with these tables again: replace this node with an empty data folder and a new node id if the \
             other members hold a quorum, otherwise restore the cluster from a backup. `leasehold debug log` tells what the \
             log on this disk comes to",
        );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(pairs: &[(u64, u128)]) -> BTreeMap<u64, u128> {
        pairs.iter().copied().collect()
    }

    fn voters() -> BTreeSet<u64> {
        [1, 2, 3].into()
    }

    /// What nodes say of one entry.
    fn said(index: u64, pairs: &[(u64, u128)]) -> BTreeMap<u64, Hashes> {
        pairs.iter().map(|(node, hash)| (*node, hashes(&[(index, *hash)]))).collect()
    }

    #[test]
    fn a_node_in_the_minority_stops_at_once_and_says_why() {
        let mut suspicion = Suspicion::new(128, hashes(&[(2, 5), (3, 6)]));
        let Verdict::Stop(why) = suspicion.decide(3, &voters(), &said(128, &[(1, 5)])) else { panic!("{suspicion:?}") };
        for part in ["entry 128", "6 on node 3 (this node)", "5 on node 1,", "5 on node 2,", "majority", "new node id"]
        {
            assert!(why.contains(part), "{part}: {why}");
        }
        let mut same = Suspicion::new(128, hashes(&[(2, 5), (3, 6)]));
        assert_eq!(same.decide(2, &voters(), &said(128, &[(1, 5)])), Verdict::GoOn);
    }

    #[test]
    fn a_silent_voter_is_waited_for_a_little_while() {
        let mut settled = Suspicion::new(64, hashes(&[(1, 5), (2, 6)]));
        assert_eq!(settled.decide(1, &voters(), &said(64, &[(2, 6)])), Verdict::Wait);
        assert_eq!(settled.decide(1, &voters(), &said(64, &[(3, 5)])), Verdict::GoOn);

        let mut unsettled = Suspicion::new(64, hashes(&[(1, 5), (2, 6)]));
        assert_eq!(unsettled.decide(1, &voters(), &said(64, &[])), Verdict::Wait);
        // The other one may have stopped meanwhile: that settles nothing.
        let Verdict::Stop(why) = unsettled.decide(1, &voters(), &said(64, &[])) else { panic!("{unsettled:?}") };
        assert!(why.contains("No majority"), "{why}");
    }

    #[test]
    fn a_voter_that_started_since_decides_by_a_later_entry() {
        let mut said = said(64, &[(1, 5), (2, 6)]);
        for (node, hash) in [(1, 50), (2, 60), (3, 60)] {
            said.entry(node).or_default().insert(128, hash);
        }
        let suspicion = || Suspicion::new(64, hashes(&[(1, 5), (2, 6)]));
        assert_eq!(suspicion().decide(2, &voters(), &said), Verdict::GoOn);
        let Verdict::Stop(why) = suspicion().decide(1, &voters(), &said) else { panic!("{said:?}") };
        assert!(why.contains("entry 128") && why.contains("on node 3"), "{why}");
    }

    #[test]
    fn three_that_all_differ_stop_at_once() {
        for own in 1..=3 {
            let mut suspicion = Suspicion::new(64, hashes(&[(1, 5), (2, 6), (3, 7)]));
            assert!(matches!(suspicion.decide(own, &voters(), &said(64, &[])), Verdict::Stop(_)));
        }
    }
}
