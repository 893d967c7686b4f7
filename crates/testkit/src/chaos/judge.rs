//! After the faults: progress (C13), the logs of all nodes, and the checker over everything.

use std::collections::BTreeMap;
use std::fs;
use std::io::BufReader;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::arena::Arena;
use super::client::{ClientProcess, Workload};
use super::coverage::{Cell, Coverage};
use super::driver::{Carried, Done, tail};
use super::machine::Patience;
use super::panics::panics;
use super::phase::{Phase, Phases};
use super::resource;
use super::run::RunOptions;
use super::strike::Victim;
use crate::checker::{Bounds, Ending, Evidence, NodeEnd, Report, check, check_guarded, check_progress};
use crate::clock::Moment;
use crate::dump::NodeLog;
use crate::failover;
use crate::history::{self, History, Journal};

/// Fresh grants of every client process that show that the cluster serves.
const FRESH_GRANTS: u64 = 5;
/// How long a healed cluster may take to grant anew and to be whole again.
const PROGRESS_MAX: Duration = Duration::from_secs(90);
/// How long processes have for an orderly end.
const END_MAX: Duration = Duration::from_secs(20);
/// After a fault was taken back, clients and nodes need so long to find each other again: it counts as part of the outage.
const RECOVERY_MS: u64 = 2_500;
/// What a small machine may add to an expiry; one that is busy with something else, more.
const LATE_SLACK: Duration = Duration::from_secs(4);

/// What a run came to.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) evidence: Evidence,
    pub(super) report: Report,
    /// Breaches that the checker cannot see.
    pub(super) violations: Vec<String>,
    /// Updates that resources lost that nobody guards: the locks alone do not prevent it.
    pub(super) lost_unguarded: usize,
    /// What clients counted on, where that is what they are judged by.
    pub(super) contest: Option<failover::Verdict>,
    /// From the last fault healed until all nodes had the same, and until every client process had fresh grants.
    pub(super) settled: Option<Duration>,
    pub(super) fresh: Option<Duration>,
}

/// Waits for progress, ends everything and judges it.
pub(super) async fn judge(arena: &mut Arena, carried: &Carried, options: &RunOptions) -> Result<Verdict> {
    let mut violations = Vec::new();
    let patience = arena.machine.patience(PROGRESS_MAX);
    let fresh_grants = arena.fresh_grants(FRESH_GRANTS, &patience).await;
    let fresh = (fresh_grants >= FRESH_GRANTS).then(|| patience.since().elapsed());
    stop_clients(arena, &mut violations).await?;
    let (is_settled, mut ends) = settled_ends(arena, &patience).await;
    let (settled, mut within) = (Moment::now(), patience.allowed());
    if fresh.is_none() || !is_settled {
        // What was given up took longer than is allowed, whatever others take from now on.
        within = within.min(settled.since(patience.since()).saturating_sub(Duration::from_millis(1)));
    }
    let to_end = arena.machine.patience(END_MAX);
    for id in arena.terminate(&to_end).await? {
        let words = tail(&arena.node(id).words()?);
        violations.push(format!("node {id} did not end within {:?} of SIGTERM:\n{words}", to_end.allowed()));
    }
    violations.extend(panics(&options.folder)?);
    let nodes = arena.target.logs(&arena.places()).unwrap_or_else(|error| {
        violations.push(format!("the logs cannot be read: {error:#}"));
        Vec::new()
    });
    add_logs(&mut ends, &nodes);
    let ending = Ending { healed: patience.since(), settled, within, fresh_grants, nodes: ends };
    let history = History { records: records(&options.folder)?, faults: outages(carried) };
    let late_slack = LATE_SLACK.mul_f64(arena.machine.stretch());
    let late_slack_ms = u64::try_from(late_slack.as_millis()).unwrap_or(u64::MAX);
    let bounds = Bounds { late_slack_ms, ..Bounds::default() };
    let (evidence, mut report, contest) = checked(options.workload, history, nodes, bounds);
    check_progress(&ending, &mut report);
    let resources = resource::replayed(&resource::path(&options.folder))?;
    let mut lost_unguarded = 0;
    for (lock, pair) in &resources {
        check_guarded(lock, &pair.guarded, &mut report);
        lost_unguarded += pair.unguarded.lost();
    }
    if let Some(contest) = contest.as_ref().filter(|contest| !contest.is_clean()) {
        violations.push(contest.to_string());
        violations.extend(contest.examples.iter().cloned());
    }
    let settled = is_settled.then(|| settled.since(patience.since()));
    Ok(Verdict { evidence, report, violations, settled, fresh, contest, lost_unguarded })
}

/// What the checker says of the evidence that an earlier run kept: for a checker that has changed. Faults and progress are not in it.
pub fn judge_again(folder: &Path) -> Result<Report> {
    let mut nodes: Vec<NodeLog> = Vec::new();
    for id in 1.. {
        let Ok(dump) = fs::File::open(folder.join(format!("node-{id}.dump"))) else { break };
        nodes.push(NodeLog::read_beside(id, BufReader::new(dump), &nodes)?);
    }
    let history = History { records: records(folder)?, faults: Vec::new() };
    ensure!(!history.records.is_empty(), "{}: there is no journal of a client", folder.display());
    Ok(check(&Evidence { history, nodes, bounds: Bounds::default() }))
}

/// Clients that only compete are judged by what they counted on, as those of any target; the logs by our own rules.
fn checked(
    workload: Workload,
    history: History,
    nodes: Vec<NodeLog>,
    bounds: Bounds,
) -> (Evidence, Report, Option<failover::Verdict>) {
    match workload {
        Workload::Everything => {
            let evidence = Evidence { history, nodes, bounds };
            let report = check(&evidence);
            (evidence, report, None)
        }
        Workload::Compete => {
            let mut evidence = Evidence { history: History::default(), nodes, bounds };
            let report = check(&evidence);
            let contest = failover::Verdict::of(&history.records);
            evidence.history = history;
            (evidence, report, Some(contest))
        }
    }
}

/// Whether all nodes settled down, and how they ended up then by their own words.
async fn settled_ends(arena: &mut Arena, patience: &Patience) -> (bool, BTreeMap<u64, NodeEnd>) {
    loop {
        let is_settled = arena.settled(patience).await;
        let ends = arena.target.ends(&arena.places()).await;
        // A lease that ran out, or an election, between two answers is no difference.
        let agree = ends.values().all(|end| end.leader.is_some() && Some(end) == ends.values().next());
        if agree || patience.is_over() {
            return (is_settled, ends);
        }
    }
}

async fn stop_clients(arena: &mut Arena, violations: &mut Vec<String>) -> Result<()> {
    for client in &mut arena.clients {
        client.stop();
    }
    let patience = arena.machine.patience(END_MAX);
    for client in &mut arena.clients {
        if !client.stopped(&patience).await? {
            violations.push(format!("client {} did not end within {:?}", client.number(), patience.allowed()));
        }
    }
    Ok(())
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

/// How nodes ended up, by what their logs say last.
fn add_logs(ends: &mut BTreeMap<u64, NodeEnd>, nodes: &[NodeLog]) {
    for log in nodes {
        let last = log.end();
        let end = ends.entry(log.node).or_default();
        end.applied = last.map_or(0, |entry| entry.index);
        end.hash = last.map(|entry| entry.hash.clone());
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
