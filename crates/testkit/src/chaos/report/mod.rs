//! What a run came to: numbers for programs, a page for people.

mod figures;
mod page;
mod service;

pub use page::page;
pub use service::{Gap, Gaps, Second};

use std::fmt::Write;

use serde::Serialize;

use super::abilities::Abilities;
use super::client::Workload;
use super::coverage::{Cell, Coverage};
use super::fault::{Fault, Role};
use super::judge::hit_phases;
use super::leadership::Reign;
use super::machine::Lag;
use super::phase::Phase;
use super::run::RunFacts;
use crate::checker::Invariant;
use crate::clock::Moment;
use crate::failover;
use crate::history::{Call, Record, Response};

/// Everything about a run, in numbers. Times are in ms from its first grant.
#[derive(Debug, Clone, Serialize)]
pub struct RunReport {
    /// What was under test.
    pub target: String,
    /// What its clients did.
    pub workload: Workload,
    /// What everything follows from.
    pub seed: u64,
    /// The command that repeats it.
    pub command: String,
    /// How long faults were brought, in seconds.
    pub seconds: f64,
    /// With the start, the healing and the verdict.
    pub seconds_in_all: f64,
    /// Whether snapshots were frequent and logs short.
    pub small_logs: bool,
    /// Calls of clients that were sent.
    pub operations: usize,
    /// Grants among them.
    pub grants: usize,
    /// Calls whose fate nobody knows.
    pub unknown: usize,
    /// Calls that were refused or certainly not done.
    pub failed: usize,
    /// Faults that were brought.
    pub faults: Vec<FaultLine>,
    /// Steps that found nobody to hit.
    pub not_brought: Vec<String>,
    /// Faults that this machine does not allow, and why.
    pub left_out: Vec<(Fault, String)>,
    /// Who led from when on.
    pub reigns: Vec<(u64, Option<u64>)>,
    /// Times without any answer.
    pub gaps: Vec<Gap>,
    /// Times without any grant.
    pub grant_gaps: Vec<Gap>,
    /// Those in short.
    pub grant_gaps_in_short: Gaps,
    /// What clients counted on, where that is what they are judged by.
    pub contest: Option<failover::Verdict>,
    /// C10: updates that were lost where nobody looked at tokens.
    pub lost_unguarded: usize,
    /// How others held the run up.
    pub lag: Lag,
    /// When the machine itself stood still: not the cluster's fault.
    pub stalls: Vec<Gap>,
    /// Calls and latencies, second by second.
    pub by_second: Vec<Second>,
    /// What each invariant was held against.
    pub invariants: Vec<InvariantLine>,
    /// What broke, in words.
    pub violations: Vec<String>,
    /// C13: from the last fault healed until every client process had fresh grants, in ms.
    pub fresh_grants_ms: Option<u64>,
    /// The same until all nodes had stopped in the same state, in ms.
    pub settled_ms: Option<u64>,
    /// Cells that were hit.
    pub coverage: Vec<(Cell, u64)>,
}

/// One fault as it was brought.
#[derive(Debug, Clone, Serialize)]
pub struct FaultLine {
    /// What.
    pub fault: Fault,
    /// On whom.
    pub role: Role,
    /// By name.
    pub victim: String,
    /// From.
    pub from_ms: u64,
    /// Until it was taken back.
    pub until_ms: u64,
    /// What was aimed at.
    pub aimed: Phase,
    /// What was hit.
    pub hit: Vec<Phase>,
    /// What became of it.
    pub notes: Vec<String>,
}

/// One invariant.
#[derive(Debug, Clone, Serialize)]
pub struct InvariantLine {
    /// Its name.
    pub name: String,
    /// What it says.
    pub rule: String,
    /// Facts that were held against it.
    pub checked: usize,
    /// Breaches.
    pub broken: bool,
}

const INVARIANTS: [Invariant; 14] = [
    Invariant::C1,
    Invariant::C2,
    Invariant::C3,
    Invariant::C4,
    Invariant::C5,
    Invariant::C6,
    Invariant::C7,
    Invariant::C8,
    Invariant::C9,
    Invariant::C10,
    Invariant::C11,
    Invariant::C12,
    Invariant::C13,
    Invariant::Linearizable,
];

impl RunReport {
    pub(super) fn new(facts: &RunFacts<'_>, abilities: &Abilities, reigns: &[Reign], coverage: &Coverage) -> Self {
        let records = &facts.verdict.evidence.history.records;
        let since = |moment: Moment| ms(moment, facts.started);
        let calls = || records.iter().filter(|record| !matches!(record.call, Call::Believe { .. }));
        let answered = |wanted: fn(&Response) -> bool| calls().filter(|record| wanted(&record.response)).count();
        let faults = facts.carried.done.iter().map(|done| FaultLine {
            fault: done.step.fault,
            role: done.step.role,
            victim: done.victim.to_string(),
            from_ms: since(done.struck.0),
            until_ms: since(done.healed),
            aimed: done.step.phase,
            hit: hit_phases(done, facts.phases),
            notes: done.notes.clone(),
        });
        let cells = Coverage::cells().map(|cell| (cell, coverage.hits(cell))).filter(|(_, hits)| *hits > 0);
        let answers = || records.iter().filter(|record| is_answer(record));
        let grant_gaps = service::gaps(records.iter().filter(|record| record.granted().is_some()), facts.started);
        Self {
            target: facts.title.clone(),
            workload: facts.options.workload,
            seed: facts.options.seed,
            command: facts.options.command.clone(),
            seconds: facts.lasted.as_secs_f64(),
            seconds_in_all: 0.0,
            small_logs: facts.plan.small_logs,
            operations: calls().count(),
            grants: answered(|response| matches!(response, Response::Granted { .. })),
            unknown: answered(|response| *response == Response::Unknown),
            failed: answered(|response| matches!(response, Response::Failed { .. })),
            faults: faults.collect(),
            not_brought: facts.carried.left_out.clone(),
            left_out: abilities.left_out().into_iter().map(|(fault, why)| (fault, why.to_owned())).collect(),
            reigns: reigns.iter().map(|reign| (since(reign.from), reign.leader)).collect(),
            gaps: service::gaps(answers(), facts.started),
            grant_gaps_in_short: Gaps::of(&grant_gaps),
            grant_gaps,
            contest: facts.verdict.contest.clone(),
            lost_unguarded: facts.verdict.lost_unguarded,
            lag: facts.lag,
            stalls: facts
                .carried
                .stalls
                .iter()
                .map(|(from, until)| Gap::between(*from, *until, facts.started))
                .collect(),
            by_second: service::by_second(answers(), facts.started),
            invariants: INVARIANTS.iter().map(|invariant| invariant_line(*invariant, facts)).collect(),
            violations: violations(facts),
            fresh_grants_ms: facts.verdict.fresh.map(|time| time.as_millis().try_into().unwrap_or(u64::MAX)),
            settled_ms: facts.verdict.settled.map(|time| time.as_millis().try_into().unwrap_or(u64::MAX)),
            coverage: cells.collect(),
        }
    }

    /// A few lines for whoever watches.
    #[must_use]
    pub fn summary(&self) -> String {
        let longest = self.gaps.iter().map(|gap| gap.length_ms).max().unwrap_or(0);
        let mut text = format!(
            "seed {}: {}: {} faults in {:.0} s ({:.0} s in all); {} operations, {} grants, {} of unknown fate; longest gap {} ms, {} stalls of the machine, of which others took {:.0} %; ",
            self.seed,
            self.target,
            self.faults.len(),
            self.seconds,
            self.seconds_in_all,
            self.operations,
            self.grants,
            self.unknown,
            longest,
            self.stalls.len(),
            self.lag.taken_percent,
        );
        let Gaps { count, p50_ms, p99_ms, max_ms, .. } = self.grant_gaps_in_short;
        // Writing to a string does not fail.
        let _ = write!(text, "{count} gaps without a grant: p50 {p50_ms} ms, p99 {p99_ms} ms, longest {max_ms} ms; ");
        if let Some(contest) = &self.contest {
            let _ = write!(text, "{contest}; ");
        }
        let fresh = self.fresh_grants_ms.map_or("never".to_owned(), |ms| format!("{ms} ms"));
        let _ = write!(text, "fresh grants {fresh} after the last fault; {} violations", self.violations.len());
        text
    }
}

/// From the start of a run, in ms; what was before is at 0.
fn ms(moment: Moment, started: Moment) -> u64 {
    u64::try_from(moment.since(started).as_millis()).unwrap_or(u64::MAX)
}

/// Whether the cluster did what it was asked.
fn is_answer(record: &Record) -> bool {
    record.complete.is_some()
        && !matches!(record.call, Call::Believe { .. })
        && !matches!(record.response, Response::Unknown | Response::Failed { .. })
}

fn invariant_line(invariant: Invariant, facts: &RunFacts<'_>) -> InvariantLine {
    let report = &facts.verdict.report;
    let text = invariant.to_string();
    let (name, rule) = text.split_once(" (").unwrap_or((&text, ""));
    InvariantLine {
        name: name.to_owned(),
        rule: rule.trim_end_matches(')').to_owned(),
        checked: report.checked(invariant),
        broken: report.violations().iter().any(|violation| violation.invariant == invariant),
    }
}

fn violations(facts: &RunFacts<'_>) -> Vec<String> {
    let checked = facts.verdict.report.violations().iter().map(ToString::to_string);
    facts.verdict.violations.iter().cloned().chain(checked).collect()
}
