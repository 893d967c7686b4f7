//! C11: log time is monotonic, takes steps of at most `max_step`, moves only by its own leader's stamps, and is never ahead
//! of real time: between two entries it advances by no more than the clients' clock does between the sending of the
//! first one's request and the answer to the second one's.

use super::facts::Facts;
use super::report::{Invariant::C11, Report};
use crate::clock::Moment;
use crate::dump::Entry;
use crate::history::{Call, Response};

pub(super) fn check(facts: &Facts<'_>, report: &mut Report) {
    for log in facts.nodes {
        let mut last: Option<&Entry> = None;
        for entry in log.committed() {
            if let Some(last) = last {
                check_step(facts, report, log.node, last, entry);
            }
            last = Some(entry);
        }
    }
    check_real_time(facts, report);
}

fn check_step(facts: &Facts<'_>, report: &mut Report, node: u64, last: &Entry, entry: &Entry) {
    let (before, after, index) = (last.now, entry.now, entry.index);
    report.hold(C11, after >= before, || {
        format!("node {node}: log time goes back from {before} to {after} ms at index {index}")
    });
    let step = facts.bounds.step_ms_max;
    report.hold(C11, after <= before + step, || {
        format!(
            "node {node}: log time jumps from {before} to {after} ms at index {index}, the longest step is {step} ms"
        )
    });
    report.hold(C11, entry.is_stamped_by_its_leader() || after == before, || {
        format!(
            "node {node}: index {index} of term {} moves log time from {before} to {after} ms without a stamp of its own \
             leader ({:?})",
            entry.term, entry.stamped
        )
    });
}

/// An entry that one client call caused.
struct Witness {
    index: u64,
    now: u64,
    sent: Moment,
    done: Moment,
}

fn check_real_time(facts: &Facts<'_>, report: &mut Report) {
    let mut witnesses = witnesses(facts);
    witnesses.sort_by_key(|witness| witness.index);
    // The least head start of log time over the clock among the entries so far.
    let mut least: Option<(i128, &Witness)> = None;
    for witness in &witnesses {
        let log_ns = i128::from(witness.now) * 1_000_000;
        if let Some((start, first)) = least {
            let ahead = log_ns - i128::from(witness.done.0) - start;
            report.hold(C11, ahead <= i128::from(facts.bounds.rounding_ms) * 1_000_000, || {
                format!(
                    "log time ran ahead of real time by {} µs: from {} ms at index {} (sent at {}) to {} ms at index {} \
                     (answered at {})",
                    ahead / 1_000,
                    first.now,
                    first.index,
                    first.sent,
                    witness.now,
                    witness.index,
                    witness.done
                )
            });
        }
        let start = log_ns - i128::from(witness.sent.0);
        if least.is_none_or(|(other, _)| start < other) {
            least = Some((start, witness));
        }
    }
}

fn witnesses(facts: &Facts<'_>) -> Vec<Witness> {
    let Some(log) = &facts.log else { return Vec::new() };
    let mut witnesses = Vec::new();
    for record in facts.records {
        let Some(done) = record.complete else { continue };
        let applied = match (&record.call, &record.response) {
            (Call::Release(release) | Call::ForceRelease(release), Response::Released(true)) => {
                let releases = log.releases.get(&release.token).into_iter().flatten();
                let mut done = releases.filter(|one| one.released.released);
                done.next().map(|one| &one.applied)
            }
            (Call::Acquire(acquire), Response::Granted { confirm: false, .. }) => {
                let sends = acquire.request.and_then(|request| log.acquires.get(&request));
                sends.and_then(|sends| sends.first()).map(|(_, applied)| applied)
            }
            _ => None,
        };
        if let Some(applied) = applied {
            witnesses.push(Witness { index: applied.entry.index, now: applied.entry.now, sent: record.sent(), done });
        }
    }
    witnesses
}

#[cfg(test)]
mod tests {
    use leasehold_state_machine::LeaderStamp;

    use super::super::fixture::{Fixture, grants, normal};
    use super::C11;
    use crate::dump::Entry;

    fn log(second: u64) -> Fixture {
        let fixture = Fixture::default().founded().acquire(10, "a", 1, None, grants("a", 1));
        fixture.acquire(second, "b", 2, None, grants("b", 2)).node(1)
    }

    #[test]
    fn log_time_behind_real_time_passes() {
        log(500).granted("a", 1, 1_000, 1_020).granted("b", 2, 1_500, 1_600).assert_holds(C11);
    }

    #[test]
    fn log_time_ahead_of_real_time_is_caught() {
        let fixture = log(500).granted("a", 1, 1_000, 1_020).granted("b", 2, 1_400, 1_480);
        fixture.assert_broken(C11, &["C11", "ahead of real time by 10000 µs", "10 ms at index 2", "500 ms at index 3"]);
    }

    #[test]
    fn log_time_that_goes_back_is_caught() {
        log(9).assert_broken(C11, &["C11", "node 1", "from 10 to 9 ms at index 3"]);
    }

    #[test]
    fn a_jump_is_caught() {
        log(1_011).assert_broken(C11, &["from 10 to 1011 ms at index 3", "1000 ms"]);
    }

    #[test]
    fn a_stamp_of_an_earlier_leader_that_moves_time_is_caught() {
        let late = Entry { term: 2, leader: 3, stamped: Some(LeaderStamp { term: 1, node: 1 }), ..normal(2, 90) };
        let fixture = Fixture::default().founded().raw(late).node(1);
        fixture.assert_broken(C11, &["index 2 of term 2", "from 0 to 90 ms", "without a stamp"]);
    }
}
