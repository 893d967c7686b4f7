//! One run, from a seed to a verdict.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};

use super::abilities::Abilities;
use super::arena::{Arena, ArenaSettings};
use super::client::Workload;
use super::coverage::Coverage;
use super::driver::{Carried, Driver};
use super::fault::{Fault, Need};
use super::judge::{self, Verdict};
use super::machine::Lag;
use super::phase::Phases;
use super::plan::Plan;
use super::report::RunReport;
use super::say;
use super::target::Target;
use crate::checker::Invariant;
use crate::clock::Moment;
use crate::disk;

/// Nodes of every run.
const NODES: u64 = 3;
/// Far beyond the drift bound: leases end a fifth too early.
const BEYOND_DRIFT_PPM: i64 = 250_000;
/// Disks of runs of minutes, and what a minute more takes.
const DISK_BYTES: u64 = 192 << 20;
const DISK_BYTES_A_MINUTE: u64 = 64 << 20;

/// What a run is to be.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Everything follows from it.
    pub seed: u64,
    /// How long faults are brought.
    pub lasts: Duration,
    /// Where everything is written; made, and emptied at the end of a clean run.
    pub folder: PathBuf,
    /// Cells hit by others are not aimed at.
    pub coverage: Coverage,
    /// Carried out instead of a drawn one.
    pub plan: Option<Plan>,
    /// Only these faults.
    pub only: Vec<Fault>,
    /// All clocks run far too fast, and nothing else is done: C4 must break.
    pub beyond_drift: bool,
    /// Something must break, whatever it is.
    pub expect_violation: bool,
    /// More words of the nodes' environment.
    pub environment: Vec<(String, String)>,
    /// Client processes.
    pub clients: u32,
    /// Workers of each.
    pub workers: u32,
    /// Locks that all compete for.
    pub locks: u32,
    /// What clients do.
    pub workload: Workload,
    /// The folder is kept after a clean run too.
    pub keep: bool,
    /// The command that repeats it.
    pub command: String,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// In numbers.
    pub report: RunReport,
    /// Cells that it hit.
    pub coverage: Coverage,
    /// Whether everything held; or did not, where that was to be shown.
    pub is_as_expected: bool,
}

/// Makes the run. The process must be in the hub where there are namespaces. A run that is interrupted removes what it made.
pub async fn run(target: Arc<dyn Target>, abilities: Abilities, options: &RunOptions) -> Result<Outcome> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        biased;
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("told to end"),
        outcome = Box::pin(run_whole(target, abilities, options)) => outcome,
    }
}

async fn run_whole(target: Arc<dyn Target>, mut abilities: Abilities, options: &RunOptions) -> Result<Outcome> {
    fs::create_dir_all(&options.folder).with_context(|| options.folder.display().to_string())?;
    let plan = prepare(&target, &mut abilities, options)?;
    let minutes = options.lasts.as_secs() / 60;
    let settings = ArenaSettings {
        nodes: NODES,
        clients: options.clients,
        workers: options.workers,
        locks: options.locks,
        seed: options.seed,
        folder: options.folder.clone(),
        disk_bytes: DISK_BYTES + DISK_BYTES_A_MINUTE * minutes,
        first_level: plan.first_level,
        small_logs: plan.small_logs,
        environment: options.environment.clone(),
        workload: options.workload,
    };
    let begun = Moment::now();
    let mut arena = Arena::start(target, abilities, &settings).await?;
    if options.beyond_drift {
        for id in 1..=NODES {
            arena.set_clock(id, BEYOND_DRIFT_PPM, 0)?;
        }
    }
    let started = Moment::now();
    let mut carried = Driver::new(&mut arena).carry_out(&plan).await?;
    carried.done.sort_by_key(|done| done.struck.0);
    let lasted = started.elapsed();
    let mut verdict = judge::judge(&mut arena, &carried, options).await?;
    verdict.violations.append(&mut carried.violations);
    let reigns = arena.leadership.reigns();
    let (abilities, title, lag) = (arena.abilities.clone(), arena.target.title(), arena.machine.lag());
    drop(arena);
    let phases = Phases::of(&verdict.evidence.history.records);
    let coverage = judge::coverage(&carried.done, &phases);
    let facts = RunFacts {
        title,
        lag,
        options,
        plan: &plan,
        started,
        lasted,
        carried: &carried,
        verdict: &verdict,
        phases: &phases,
    };
    let mut report = RunReport::new(&facts, &abilities, &reigns, &coverage);
    report.seconds_in_all = begun.elapsed().as_secs_f64();
    let is_clean = verdict.report.is_clean() && verdict.violations.is_empty();
    let broke_c4 = verdict.report.violations().iter().any(|violation| violation.invariant == Invariant::C4);
    let is_as_expected = match (options.beyond_drift, options.expect_violation) {
        (true, _) => broke_c4,
        (false, true) => !is_clean,
        (false, false) => is_clean,
    };
    finish(options, &plan, &report, &verdict, is_as_expected)?;
    Ok(Outcome { report, coverage, is_as_expected })
}

/// All that a report is made of.
pub(super) struct RunFacts<'a> {
    pub(super) title: String,
    pub(super) lag: Lag,
    pub(super) options: &'a RunOptions,
    pub(super) plan: &'a Plan,
    pub(super) started: Moment,
    pub(super) lasted: Duration,
    pub(super) carried: &'a Carried,
    pub(super) verdict: &'a Verdict,
    pub(super) phases: &'a Phases,
}

/// Finds out what can be done, says what cannot, and draws the plan.
fn prepare(target: &Arc<dyn Target>, abilities: &mut Abilities, options: &RunOptions) -> Result<Plan> {
    target.brings().into_iter().for_each(|need| abilities.add(need));
    if disk::available().is_ok() {
        abilities.add(Need::PowerCuts);
        abilities.add(Need::Mounts);
    } else {
        abilities.remove(Need::Mounts);
    }
    if options.workload == Workload::Compete {
        // The same faults for all that are to be compared.
        Need::ALL.into_iter().filter(|need| need.is_of_the_target()).for_each(|need| abilities.remove(need));
    }
    abilities.announce()?;
    let plan = match &options.plan {
        Some(plan) => plan.clone(),
        None if options.beyond_drift => Plan::nothing(options.lasts),
        None => {
            let can = |fault| abilities.allow(fault) && (options.only.is_empty() || options.only.contains(&fault));
            Plan::draw(options.seed, options.lasts, &options.coverage, can)
        }
    };
    fs::write(options.folder.join("plan.json"), serde_json::to_string_pretty(&plan)?)?;
    Ok(plan)
}

/// Writes the reports; keeps the evidence of what went wrong, throws away that of what did not.
fn finish(
    options: &RunOptions,
    plan: &Plan,
    report: &RunReport,
    verdict: &Verdict,
    is_as_expected: bool,
) -> Result<()> {
    let folder = &options.folder;
    fs::write(folder.join("report.json"), serde_json::to_string_pretty(report)?)?;
    fs::write(folder.join("report.html"), super::report::page(report))?;
    fs::write(folder.join("verdict.txt"), format!("{}\n{}\n", verdict.report, verdict.violations.join("\n")))?;
    say(&report.summary());
    if !is_as_expected {
        say(&format!("{}\n{}", verdict.report, verdict.violations.join("\n")));
        say(&format!("the evidence is kept in {}", folder.display()));
        say(&format!("{} faults; repeat with: {}", plan.steps.len(), options.command));
        say(&format!("or the same plan with: {} --plan {}/plan.json", options.command, folder.display()));
    } else if !options.keep {
        forget(folder)?;
    }
    Ok(())
}

/// All but the reports.
fn forget(folder: &Path) -> Result<()> {
    const KEPT: [&str; 5] = ["report.json", "report.html", "plan.json", "verdict.txt", "output.txt"];
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            fs::remove_dir_all(path)?;
        } else if !path.file_name().is_some_and(|name| KEPT.iter().any(|kept| name == *kept)) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}
