//! C1: every node applies the same entries with the same outcomes, and the reference model agrees with them.

use std::collections::BTreeMap;

use super::facts::Facts;
use super::report::{Invariant::C1, Report};
use crate::dump::Entry;

pub(super) fn check(facts: &Facts<'_>, report: &mut Report) {
    let mut first: BTreeMap<u64, (u64, &Entry)> = BTreeMap::new();
    for log in facts.nodes {
        let mut last = None;
        for entry in log.committed() {
            report.hold(C1, last.is_none_or(|last| entry.index == last + 1), || {
                format!("node {}: index {} follows index {:?}", log.node, entry.index, last)
            });
            last = Some(entry.index);
            let (node, other) = *first.entry(entry.index).or_insert((log.node, entry));
            let difference = differs(other, entry);
            report.hold(C1, difference.is_none(), || {
                let difference = difference.unwrap_or_default();
                format!("index {}: nodes {node} and {} differ in {difference}", entry.index, log.node)
            });
        }
    }
    for replay in facts.replay.iter().chain(&facts.disagreement) {
        for mismatch in &replay.mismatches {
            report.hold(C1, false, || mismatch.clone());
        }
        for _ in 0..replay.agreed {
            report.hold(C1, true, String::new);
        }
    }
}

/// What two nodes say differently about one index.
fn differs(a: &Entry, b: &Entry) -> Option<String> {
    let unlike =
        |what: &str, a: &dyn std::fmt::Debug, b: &dyn std::fmt::Debug| Some(format!("{what}: {a:?} and {b:?}"));
    if (a.term, a.leader) != (b.term, b.leader) {
        return unlike("leader id", &(a.term, a.leader), &(b.term, b.leader));
    }
    if (a.kind, a.at, a.stamped) != (b.kind, b.at, b.stamped) {
        return unlike("stamp", &(a.kind, a.at, a.stamped), &(b.kind, b.at, b.stamped));
    }
    if a.commands != b.commands {
        return unlike("commands", &a.commands, &b.commands);
    }
    if a.outcomes != b.outcomes {
        return unlike("outcomes", &a.outcomes, &b.outcomes);
    }
    if a.now != b.now {
        return unlike("log time", &a.now, &b.now);
    }
    if a.hash != b.hash {
        return unlike("state hash", &a.hash, &b.hash);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, blank, grants, normal, queued};
    use super::C1;

    fn log(fixture: Fixture) -> Fixture {
        fixture
            .founded()
            .acquire(10, "a", 1, None, grants("a", 1))
            .acquire(20, "a", 2, Some(5_000), queued(0, 5_020))
            .release(30, "a", 1, true)
            .release(40, "a", 2, true)
    }

    #[test]
    fn nodes_and_model_that_agree_pass() {
        log(log(Fixture::default()).node(1)).node(2).assert_holds(C1);
    }

    #[test]
    fn another_outcome_on_one_node_is_caught() {
        let fixture = log(Fixture::default()).node(1).founded().acquire(10, "a", 1, None, grants("a", 9)).node(2);
        fixture.assert_broken(C1, &["C1", "index 2", "nodes 1 and 2", "outcomes", "FencingToken(9)"]);
    }

    #[test]
    fn another_kind_of_entry_on_one_node_is_caught() {
        let fixture = log(Fixture::default()).node(1).founded().raw(blank(2, 10));
        fixture.node(2).assert_broken(C1, &["index 2", "stamp"]);
    }

    #[test]
    fn another_state_hash_on_one_node_is_caught() {
        let mut other = normal(2, 10);
        let fixture = Fixture::default().founded().raw(other.clone()).node(1);
        other.hash = "ff".into();
        fixture.founded().raw(other).node(2).assert_broken(C1, &["index 2", "state hash", "ff"]);
    }

    #[test]
    fn two_holders_of_one_lock_are_caught_by_the_model() {
        let fixture = Fixture::default().founded().acquire(10, "a", 1, None, grants("a", 1));
        let fixture = fixture.acquire(20, "a", 2, None, grants("a", 2)).node(1);
        fixture.assert_broken(C1, &["index 3", "came to Granted", "by the model it comes to Held"]);
    }

    #[test]
    fn log_time_that_no_stamp_moved_is_caught_by_the_model() {
        let mut wrong = normal(2, 10);
        wrong.now = 11;
        Fixture::default().founded().raw(wrong).node(1).assert_broken(C1, &["index 2", "log time is 11", "model 10"]);
    }

    #[test]
    fn a_hole_in_a_log_is_caught() {
        Fixture::default().raw(blank(4, 0)).raw(blank(6, 0)).node(3).assert_broken(C1, &["node 3", "index 6", "4"]);
    }
}
