//! After the faults: progress (C13), the logs of all nodes, and the checker over everything.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::arena::{Arena, PATIENCE};
use super::client::ClientProcess;
use super::coverage::{Cell, Coverage};
use super::driver::{Carried, Done, tail};
use super::phase::{Phase, Phases};
use super::strike::Victim;
use crate::checker::{Bounds, Ending, Evidence, NodeEnd, Report, check, check_progress};
use crate::clock::Moment;
use crate::dump::NodeLog;
use crate::history::{self, History, Journal};

/// Fresh grants of every client process that show that the cluster serves.
const FRESH_GRANTS: u64 = 5;
/// How long processes have for an orderly end.
const END_MAX: Duration = Duration::from_secs(20);
/// After a fault was taken back, clients and nodes need so long to find each other again: it counts as part of the outage.
const RECOVERY_MS: u64 = 2_500;
/// What a small and busy machine may add to an expiry.
const LATE_SLACK_MS: u64 = 4_000;

/// What a run came to.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) evidence: Evidence,
    pub(super) report: Report,
    /// Breaches that the checker cannot see.
    pub(super) violations: Vec<String>,
    /// From the last fault healed until all nodes had the same, and until every client process had fresh grants.
    pub(super) settled: Option<Duration>,
    pub(super) fresh: Option<Duration>,
}

/// Waits for progress, ends everything and judges it.
pub(super) async fn judge(arena: &mut Arena, carried: &Carried, folder: &Path) -> Result<Verdict> {
    let mut violations = Vec::new();
    let healed = Moment::now();
    let fresh = keep_error(arena.fresh_grants(FRESH_GRANTS, PATIENCE).await, "C13", &mut violations);
    for client in &mut arena.clients {
        client.stop();
    }
    for client in &mut arena.clients {
        if !client.stopped(END_MAX).await? {
            violations.push(format!("client {} did not end within {END_MAX:?}", client.number()));
        }
    }
    let settled = keep_error(arena.settled(PATIENCE).await, "C13", &mut violations).map(|()| healed.elapsed());
    let leader = arena.leadership.leader();
    for id in arena.terminate(END_MAX).await? {
        let words = tail(&arena.node(id).words()?);
        violations.push(format!("node {id} did not end within {END_MAX:?} of SIGTERM:\n{words}"));
    }
    violations.extend(panics(folder)?);
    let nodes = match arena.target.logs(&arena.places()) {
        Ok(nodes) => nodes,
        Err(error) => {
            violations.push(format!("the logs cannot be read: {error:#}"));
            Vec::new()
        }
    };
    let history = History { records: records(folder)?, faults: outages(carried) };
    let bounds = Bounds { late_slack_ms: LATE_SLACK_MS, ..Bounds::default() };
    let evidence = Evidence { history, nodes, bounds };
    let mut report = check(&evidence);
    if let (Some(settled), Some(_)) = (settled, fresh) {
        check_progress(&ending(&evidence.nodes, leader, healed, settled), &mut report);
    }
    Ok(Verdict { evidence, report, violations, settled, fresh })
}

fn keep_error<T>(result: Result<T>, what: &str, violations: &mut Vec<String>) -> Option<T> {
    result.map_err(|error| violations.push(format!("{what}: {error:#}"))).ok()
}

/// What all client processes have recorded, those that were killed too.
fn records(folder: &Path) -> Result<Vec<history::Record>> {
    let mut records = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "journal") {
            records.append(&mut Journal::read(&path).with_context(|| path.display().to_string())?);
        }
    }
    Ok(records)
}

fn outages(carried: &Carried) -> Vec<history::Fault> {
    let stall = |(begin, end): &(Moment, Moment)| history::Fault {
        what: "the machine stood still".into(),
        node: None,
        begin: *begin,
        end: Some(end.plus_ms(RECOVERY_MS)),
    };
    carried.done.iter().map(outage).chain(carried.stalls.iter().map(stall)).collect()
}

fn outage(done: &Done) -> history::Fault {
    let node = match done.victim {
        Victim::Node(id) => Some(id),
        Victim::Client(_) | Victim::AllNodes => None,
    };
    history::Fault {
        what: format!("{} of {}", done.step.fault, done.victim),
        node,
        begin: done.struck.0,
        end: Some(done.healed.plus_ms(RECOVERY_MS)),
    }
}

/// A panic is a bug, whatever came of it.
fn panics(folder: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            let text = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
            let panics = text.lines().filter(|line| line.contains("panicked at"));
            found.extend(panics.take(3).map(|line| format!("{}: {line}", path.display())));
        }
    }
    Ok(found)
}

/// How the run ended, for C13: what each node's log says last.
fn ending(nodes: &[NodeLog], leader: Option<u64>, healed: Moment, settled: Duration) -> Ending {
    let end = |log: &NodeLog| {
        let last = log.committed().last();
        NodeEnd { leader, applied: last.map_or(0, |entry| entry.index), hash: last.map(|entry| entry.hash.clone()) }
    };
    Ending {
        healed,
        settled: Moment(healed.0 + u64::try_from(settled.as_nanos()).unwrap_or(u64::MAX)),
        within: PATIENCE * 2,
        // Every client process had as many.
        fresh_grants: FRESH_GRANTS,
        nodes: nodes.iter().map(|log| (log.node, end(log))).collect(),
    }
}

/// Which cells a run has hit: for each fault, what the workload was doing while it struck or lasted.
pub(super) fn coverage(done: &[Done], phases: &Phases) -> Coverage {
    let mut coverage = Coverage::default();
    for fault in done {
        for phase in hit_phases(fault, phases) {
            coverage.hit(Cell { fault: fault.step.fault, role: fault.step.role, phase });
        }
    }
    coverage
}

pub(super) fn hit_phases(done: &Done, phases: &Phases) -> Vec<Phase> {
    let until = if done.step.fault.is_instant() { done.struck.1 } else { done.healed };
    let counts = |worker| match done.victim {
        Victim::Client(number) => ClientProcess::of_worker(worker) == number,
        Victim::Node(_) | Victim::AllNodes => true,
    };
    Phase::ALL.into_iter().filter(|phase| phases.hit(*phase, done.struck.0, until, counts)).collect()
}
