//! A difference between nodes that is not settled yet.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::judgement::{Judgement, judge};

/// How many rounds a difference may wait for the voters that would decide it.
const UNDECIDED_ROUNDS_MAX: u32 = 2;

/// Nodes differ after one log entry.
#[derive(Debug)]
pub(crate) struct Suspicion {
    index: u64,
    /// By node, the judging one included.
    hashes: BTreeMap<u64, u128>,
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
    pub(crate) fn new(index: u64, hashes: BTreeMap<u64, u128>) -> Self {
        Self { index, hashes, rounds: 0 }
    }

    pub(crate) fn index(&self) -> u64 {
        self.index
    }

    /// Judges by all that was said so far. What a node said once stays, though it may have stopped since.
    pub(crate) fn decide(&mut self, own: u64, voters: &BTreeSet<u64>, said: BTreeMap<u64, u128>) -> Verdict {
        self.hashes.extend(said);
        self.rounds += 1;
        let judgement = judge(own, voters, &self.hashes);
        match judgement {
            Judgement::Agreed | Judgement::OthersDiffer(_) => Verdict::GoOn,
            Judgement::Undecided if self.rounds < UNDECIDED_ROUNDS_MAX => Verdict::Wait,
            Judgement::OwnDiffers { .. } | Judgement::NoMajority | Judgement::Undecided => {
                Verdict::Stop(self.reason(own, &judgement))
            }
        }
    }

    fn reason(&self, own: u64, judgement: &Judgement) -> String {
        let mut text = format!("the tables of nodes differ: after log entry {} the state hash is", self.index);
        for (place, (node, hash)) in self.hashes.iter().enumerate() {
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

    #[test]
    fn a_node_in_the_minority_stops_at_once_and_says_why() {
        let mut suspicion = Suspicion::new(128, hashes(&[(2, 5), (3, 6)]));
        let Verdict::Stop(why) = suspicion.decide(3, &voters(), hashes(&[(1, 5)])) else { panic!("{suspicion:?}") };
        for part in ["entry 128", "6 on node 3 (this node)", "5 on node 1,", "5 on node 2,", "majority", "new node id"]
        {
            assert!(why.contains(part), "{part}: {why}");
        }
        let mut same = Suspicion::new(128, hashes(&[(2, 5), (3, 6)]));
        assert_eq!(same.decide(2, &voters(), hashes(&[(1, 5)])), Verdict::GoOn);
    }

    #[test]
    fn a_silent_voter_is_waited_for_a_little_while() {
        let mut settled = Suspicion::new(64, hashes(&[(1, 5), (2, 6)]));
        assert_eq!(settled.decide(1, &voters(), hashes(&[(2, 6)])), Verdict::Wait);
        assert_eq!(settled.decide(1, &voters(), hashes(&[(3, 5)])), Verdict::GoOn);

        let mut unsettled = Suspicion::new(64, hashes(&[(1, 5), (2, 6)]));
        assert_eq!(unsettled.decide(1, &voters(), hashes(&[])), Verdict::Wait);
        // The other one may have stopped meanwhile: that settles nothing.
        let Verdict::Stop(why) = unsettled.decide(1, &voters(), hashes(&[])) else { panic!("{unsettled:?}") };
        assert!(why.contains("No majority"), "{why}");
    }

    #[test]
    fn three_that_all_differ_stop_at_once() {
        for own in 1..=3 {
            let mut suspicion = Suspicion::new(64, hashes(&[(1, 5), (2, 6), (3, 7)]));
            assert!(matches!(suspicion.decide(own, &voters(), hashes(&[])), Verdict::Stop(_)));
        }
    }
}
