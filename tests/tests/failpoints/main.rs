//! Something goes wrong at every failpoint of a node, under clients at work: its process ends there, as by kill -9, or the step
//! fails there. The node is started again, the cluster heals, and every invariant holds on what the clients saw and on the
//! logs. A failpoint that is never come by fails its test, and so does one that no test is about.
//!
//! `LEASEHOLD_SWEEP=full` lets each process end on the leader and on a follower, and each error be EIO and ENOSPC; otherwise the seed
//! chooses. With `short` each failpoint does one thing: the process ends, or the step fails.

mod damaged;
mod elections;
mod forming;
mod installs;
mod lane;
mod power;
mod running;
mod starts;
mod truncation;

use std::collections::BTreeSet;

use leasehold_failpoints::POINTS;

/// Each case fails when its failpoint is not hit; so all are hit if all have a case.
#[test]
fn every_failpoint_has_a_case() {
    let mut covered = BTreeSet::new();
    covered.extend(running::CASES.iter().map(|(point, _)| *point));
    covered.extend(elections::CASES);
    covered.extend(forming::CASES.iter().map(|(point, _, _)| *point));
    covered.extend(installs::RECEIVING);
    covered.extend(installs::SENDING);
    covered.extend(installs::PURGING);
    covered.extend(starts::CASES.iter().map(|(point, _)| *point));
    covered.extend(starts::AHEAD);
    covered.extend(starts::STOPS);
    covered.extend(truncation::CASES);
    let missing: Vec<_> = POINTS.iter().map(|point| point.name).filter(|name| !covered.contains(name)).collect();
    assert!(missing.is_empty(), "no case hits {missing:?}");
}
