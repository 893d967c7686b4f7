//! C13: progress: with all faults removed, the cluster has one leader, all nodes have the same state, and locks are granted
//! anew, within a bound.

use std::collections::BTreeMap;
use std::time::Duration;

use super::report::{Invariant::C13, Report};
use crate::clock::Moment;

/// One node at the end of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeEnd {
    /// The leader that it knows.
    pub leader: Option<u64>,
    /// Its last applied log index.
    pub applied: u64,
    /// Its state hash there, where it was asked.
    pub hash: Option<String>,
}

/// How a run ended, after the last fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// When the last fault was removed.
    pub healed: Moment,
    /// When all that is told here was so.
    pub settled: Moment,
    /// How long that may take.
    pub within: Duration,
    /// Grants that were asked for and answered in between.
    pub fresh_grants: u64,
    /// All nodes that take part.
    pub nodes: BTreeMap<u64, NodeEnd>,
}

/// Holds the end of a run against C13.
pub fn check(ending: &Ending, report: &mut Report) {
    let took = ending.settled.since(ending.healed);
    report.hold(C13, took <= ending.within, || {
        format!("it took {took:?} after the last fault until the cluster served again, {:?} are allowed", ending.within)
    });
    report.hold(C13, ending.fresh_grants > 0, || "nothing was granted after the last fault".to_owned());
    report.hold(C13, !ending.nodes.is_empty(), || "no node was left at the end".to_owned());
    let leaders: BTreeMap<u64, Option<u64>> = ending.nodes.iter().map(|(node, end)| (*node, end.leader)).collect();
    let leader = leaders.values().next().copied().flatten();
    let agreed = leader.is_some_and(|leader| ending.nodes.contains_key(&leader));
    report.hold(C13, agreed && leaders.values().all(|other| *other == leader), || {
        format!("the nodes do not agree on a leader among them: {leaders:?}")
    });
    let states: BTreeMap<u64, (u64, &str)> =
        ending.nodes.iter().map(|(node, end)| (*node, (end.applied, end.hash.as_deref().unwrap_or("")))).collect();
    let first = states.values().next();
    report.hold(C13, states.values().all(|state| Some(state) == first), || {
        format!("the nodes ended in different states: {states:?}")
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ending() -> Ending {
        let node = NodeEnd { leader: Some(2), applied: 9, hash: Some("ab".into()) };
        Ending {
            healed: Moment::default().plus_ms(1_000),
            settled: Moment::default().plus_ms(3_000),
            within: Duration::from_secs(2),
            fresh_grants: 1,
            nodes: (1..=3).map(|id| (id, node.clone())).collect(),
        }
    }

    fn breach(change: impl FnOnce(&mut Ending)) -> String {
        let mut ending = ending();
        change(&mut ending);
        let mut report = Report::default();
        check(&ending, &mut report);
        assert_eq!(report.checked(C13), 5);
        report.violations().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_cluster_that_serves_again_passes() {
        assert_eq!(breach(|_| {}), "");
    }

    #[test]
    fn one_that_comes_back_too_late_is_caught() {
        assert!(breach(|ending| ending.settled = ending.settled.plus_ms(1)).contains("2.001s"));
    }

    #[test]
    fn one_that_grants_nothing_is_caught() {
        assert!(breach(|ending| ending.fresh_grants = 0).contains("nothing was granted"));
    }

    #[test]
    fn two_leaders_none_or_one_that_is_gone_are_caught() {
        let lead =
            |node: u64, leader: Option<u64>| breach(|ending| ending.nodes.get_mut(&node).unwrap().leader = leader);
        assert!(lead(1, Some(1)).contains("do not agree on a leader"));
        assert!(lead(3, None).contains("do not agree on a leader"));
        let gone = breach(|ending| drop(ending.nodes.remove(&2)));
        assert!(gone.contains("do not agree on a leader"), "{gone}");
    }

    #[test]
    fn states_that_differ_are_caught() {
        assert!(breach(|ending| ending.nodes.get_mut(&1).unwrap().applied = 8).contains("different states"));
        let hash = breach(|ending| ending.nodes.get_mut(&1).unwrap().hash = Some("cd".into()));
        assert!(hash.contains("different states"), "{hash}");
    }

    #[test]
    fn a_cluster_without_nodes_is_caught() {
        assert!(breach(|ending| ending.nodes.clear()).contains("no node was left"));
    }
}
