//! C12: reads are linearizable: a read reflects everything that had completed when it began.

use std::collections::{BTreeMap, BTreeSet};

use leasehold_reference::go_together;
use leasehold_state_machine::Mode;

use super::facts::Facts;
use super::report::{Invariant::C12, Report};
use crate::clock::Moment;
use crate::history::{Call, Record, Response, SeenHolder};

/// What must be visible to reads that begin later.
#[derive(Default)]
struct Floor<'a> {
    /// Greatest log index of a completed write, over all locks.
    index: u64,
    /// By lock and mode: the greatest token whose grant was answered.
    granted: BTreeMap<&'a str, BTreeMap<Mode, u64>>,
    /// Tokens whose release was answered, or the convert that replaced them.
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
                let greatest = self.granted.entry(&write.lock).or_default().entry(acquire.mode).or_default();
                *greatest = (*greatest).max(*token);
                self.released.extend(acquire.replaces);
                facts.replay.as_ref().and_then(|replay| replay.grant(*token)).map(|grant| grant.index)
            }
            (Call::Release(release) | Call::ForceRelease(release), Response::Released(true)) => {
                self.released.insert(release.token);
                let releases = log.and_then(|log| log.releases.get(&release.token)).into_iter().flatten();
                let mut done = releases.filter(|one| one.released.released);
                done.next().map(|one| one.applied.entry.index)
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
        for SeenHolder { token, mode, .. } in holders {
            let granted = self.granted.get(lock).into_iter().flatten();
            let others = granted.filter(|(other, _)| !go_together(**other, *mode));
            let newest = others.map(|(_, newest)| *newest).max().unwrap_or(0);
            report.hold(C12, *token >= newest, || {
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
    use leasehold_state_machine::Mode;

    use super::super::fixture::{Fixture, grants};
    use super::C12;

    const X: Mode = Mode::Exclusive;
    const S: Mode = Mode::Shared;

    fn log() -> Fixture {
        let fixture = Fixture::default().founded().acquire(10, "a", 1, None, grants("a", 1)).release(20, "a", 1, true);
        fixture.acquire(30, "a", 2, None, grants("a", 2)).node(1)
    }

    #[test]
    fn fresh_reads_pass() {
        let fixture = log().granted("a", 1, 0, 12).read("a", 13, 15, 2, &[(1, X)]).released("a", 1, 18, 22);
        let fixture = fixture.read("a", 19, 25, 3, &[]).granted("a", 2, 26, 32).read("a", 31, 40, 4, &[(2, X)]);
        fixture.assert_holds_in_a_true_log(C12);
    }

    #[test]
    fn a_read_behind_its_floor_is_caught() {
        let fixture = log().granted("a", 1, 0, 12).released("a", 1, 18, 22).read("b", 30, 40, 2, &[]);
        fixture.assert_broken(C12, &["C12", "default/b", "0.030000 s", "revision 2", "index 3"]);
    }

    #[test]
    fn a_read_of_an_older_holder_is_caught() {
        let fixture = log().granted("a", 2, 26, 32).read("a", 33, 40, 9, &[(1, X)]);
        fixture.assert_broken(C12, &["token 1", "token 2 had been granted"]);
    }

    #[test]
    fn a_read_of_several_who_share_passes() {
        let shared = |fixture: Fixture, token| {
            fixture.granted_as("a", token, 0, 10, |acquire| acquire.mode = S).read("a", 20, 30, 9, &[(1, S), (2, S)])
        };
        shared(shared(Fixture::default(), 1), 2).assert_holds(C12);
    }

    #[test]
    fn a_read_of_a_released_holder_is_caught() {
        let fixture = log().released("a", 1, 18, 22).read("a", 30, 40, 9, &[(1, X)]);
        fixture.assert_broken(C12, &["token 1, which had been released"]);
    }

    #[test]
    fn a_read_of_a_converted_holder_is_caught() {
        let fixture = Fixture::default().granted_as("a", 2, 0, 10, |acquire| {
            acquire.replaces = Some(1);
            acquire.mode = S;
        });
        fixture.read("a", 20, 30, 9, &[(1, S)]).assert_broken(C12, &["token 1, which had been released"]);
    }

    #[test]
    fn reads_do_not_go_back() {
        let fixture = Fixture::default().read("a", 0, 10, 50, &[]).read("a", 11, 20, 49, &[]);
        fixture.assert_broken(C12, &["revision 49", "index 50"]);
    }
}
