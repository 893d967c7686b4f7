//! C12: reads are linearizable: a read reflects everything that had completed when it began.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::Facts;
use super::report::{Invariant::C12, Report};
use leasehold_state_machine::Mode;

use crate::clock::Moment;
use crate::history::{Call, Record, Response, SeenHolder};

/// What must be visible to reads that begin later.
#[derive(Default)]
struct Floor<'a> {
    /// Greatest log index of a completed write, over all locks.
    index: u64,
    /// By lock: the greatest token whose grant was answered, and whether it keeps all older ones out.
    granted: BTreeMap<&'a str, (u64, bool)>,
    /// Tokens whose release was answered.
    released: BTreeSet<u64>,
}

pub(super) fn check(facts: &Facts<'_>, report: &mut Report) {
    let mut reads: Vec<&Record> = facts.records.iter().filter(|record| matches!(record.call, Call::Get)).collect();
    reads.sort_by_key(|record| record.invoke);
    let mut writes: Vec<(Moment, &Record)> =
        facts.records.iter().filter_map(|record| Some((record.complete?, record))).collect();
    writes.sort_by_key(|(done, _)| *done);
    let mut writes = writes.into_iter().peekable();
    let mut floor = Floor::default();
    for read in reads {
        while let Some((_, write)) = writes.next_if(|(done, _)| *done < read.invoke) {
            floor.raise(facts, write);
        }
        if let Response::Seen { revision, holders } = &read.response {
            floor.check(report, read, *revision, holders);
        }
    }
}

impl<'a> Floor<'a> {
    fn raise(&mut self, facts: &Facts<'_>, write: &'a Record) {
        let log = facts.log.as_ref();
        let index = match (&write.call, &write.response) {
            (Call::Acquire(acquire), Response::Granted { token, .. }) => {
                let greatest = self.granted.entry(&write.lock).or_default();
                *greatest = (*greatest).max((*token, acquire.mode == Mode::Exclusive));
                facts.replay.as_ref().and_then(|replay| replay.grant(*token)).map(|grant| grant.index)
            }
            (Call::Release(release), Response::Released(true)) => {
                self.released.insert(release.token);
                let releases = log.and_then(|log| log.releases.get(&release.token));
                releases.and_then(|all| all.first()).map(|applied| applied.entry.index)
            }
            (Call::Get, Response::Seen { revision, .. }) => Some(*revision),
            _ => None,
        };
        self.index = self.index.max(index.unwrap_or(0));
    }

    fn check(&self, report: &mut Report, read: &Record, revision: u64, holders: &[SeenHolder]) {
        let lock = &*read.lock;
        report.hold(C12, revision >= self.index, || {
            format!(
                "{lock}: the read sent at {} is of revision {revision}, but index {} had been answered before",
                read.invoke, self.index
            )
        });
        let (newest, alone) = self.granted.get(lock).copied().unwrap_or_default();
        for SeenHolder { token, .. } in holders {
            report.hold(C12, *token >= newest || !alone, || {
                format!(
                    "{lock}: the read sent at {} shows token {token}, but token {newest} had been granted before",
                    read.invoke
                )
            });
            report.hold(C12, !self.released.contains(token), || {
                format!("{lock}: the read sent at {} shows token {token}, which had been released before", read.invoke)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, grants};
    use super::C12;

    fn log() -> Fixture {
        let fixture = Fixture::default().founded().acquire(10, "a", 1, None, grants("a", 1)).release(20, "a", 1, true);
        fixture.acquire(30, "a", 2, None, grants("a", 2)).node(1)
    }

    #[test]
    fn fresh_reads_pass() {
        let fixture = log().granted("a", 1, 0, 12).read("a", 13, 15, 2, Some(1)).released("a", 1, 18, 22);
        fixture.read("a", 19, 25, 3, None).granted("a", 2, 26, 32).read("a", 31, 40, 4, Some(2)).assert_holds(C12);
    }

    #[test]
    fn a_read_behind_its_floor_is_caught() {
        let fixture = log().granted("a", 1, 0, 12).released("a", 1, 18, 22).read("b", 30, 40, 2, None);
        fixture.assert_broken(C12, &["C12", "default/b", "0.030000 s", "revision 2", "index 3"]);
    }

    #[test]
    fn a_read_of_an_older_holder_is_caught() {
        let fixture = log().granted("a", 2, 26, 32).read("a", 33, 40, 9, Some(1));
        fixture.assert_broken(C12, &["token 1", "token 2 had been granted"]);
    }

    #[test]
    fn a_read_of_a_released_holder_is_caught() {
        let fixture = log().released("a", 1, 18, 22).read("a", 30, 40, 9, Some(1));
        fixture.assert_broken(C12, &["token 1, which had been released"]);
    }

    #[test]
    fn reads_do_not_go_back() {
        let fixture = Fixture::default().read("a", 0, 10, 50, None).read("a", 11, 20, 49, None);
        fixture.assert_broken(C12, &["revision 49", "index 50"]);
    }
}
