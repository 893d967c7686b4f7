//! A general linearizability check beside the invariants: is there one order of everything that clients did to a lock, in which
//! each call happens at one moment between its sending and its answer? It knows nothing of logs, only what the lock is
//! ([`model`]); expiry is an operation of its own ([`history`]); the search is a standard one ([`search`]).

mod history;
mod leases;
mod model;
#[cfg(test)]
mod oracle_tests;
mod search;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use self::leases::Leases;
use self::search::{Answer, Interval};
use super::facts::Facts;
use super::report::{Invariant::Linearizable, Report};
use crate::history::Record;

/// Places that the search may look at for each operation of a lock, …
const PLACES_PER_OPERATION_MAX: usize = 64;
/// … and for a lock in any case, …
const PLACES_MIN: usize = 100_000;
/// … and at most: sixteen bytes each, and what the set of them needs.
const PLACES_MAX: usize = 4_000_000;
/// Locks in a hundred that may be too hard to decide.
const UNDECIDED_PERCENT_MAX: usize = 1;

pub(super) fn check(facts: &Facts<'_>, report: &mut Report) {
    let mut locks: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for record in facts.records.iter().filter(|record| !record.lock.is_empty()) {
        locks.entry(&record.lock).or_default().push(record);
    }
    let leases = Leases::gather(facts);
    let (mut decided, mut undecided) = (0, Vec::new());
    for (lock, records) in locks {
        let history = history::of_lock(facts, &leases, &records);
        report.leave_out(Linearizable, history.left_out);
        let intervals = &history.intervals;
        let places = (intervals.len() * PLACES_PER_OPERATION_MAX).clamp(PLACES_MIN, PLACES_MAX);
        match search::search(intervals, places) {
            Answer::Undecided => {
                undecided.push(lock);
                report.leave_out(Linearizable, intervals.len());
                continue;
            }
            Answer::Linearizable => report.agree(Linearizable, intervals.len()),
            Answer::Not { stuck, holders } => {
                report.hold(Linearizable, false, || breach(lock, &history.tokens, &intervals[stuck], &holders));
            }
        }
        decided += 1;
    }
    let allowed = (decided + undecided.len()) * UNDECIDED_PERCENT_MAX / 100;
    if undecided.len() > allowed {
        report.hold(Linearizable, false, || {
            format!("{} locks are too hard to decide, {allowed} may be: {}", undecided.len(), undecided.join(", "))
        });
    }
}

fn breach(lock: &str, tokens: &[u64], stuck: &Interval, holders: &[u32]) -> String {
    let holders: Vec<u64> = holders.iter().map(|number| tokens[*number as usize]).collect();
    format!(
        "{lock}: no order has a place for {} between {} and {}; where the search came furthest, the lock was held by tokens \
         {holders:?}",
        stuck.operation.in_words(tokens),
        stuck.begin,
        stuck.end.unwrap_or_default()
    )
}
