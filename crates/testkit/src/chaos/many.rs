//! Several short runs as one command, some side by side, each a process of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use super::coverage::Coverage;
use super::fault::Fault;
use super::machine::{Machine, Patience};
use super::say;

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A run that takes longer hangs. It is told to end, so that it removes what it made.
const RUN_MAX: Duration = Duration::from_secs(240);

/// What the runs are to be.
#[derive(Debug, Clone)]
pub struct ManyOptions {
    /// Seed of the first one; the others follow.
    pub seed: u64,
    /// How many.
    pub runs: u64,
    /// So many more at most, until all cells were hit that can be.
    pub more: u64,
    /// How many at a time.
    pub at_once: usize,
    /// Where they write, each in a folder of its own.
    pub folder: PathBuf,
    /// Where the cells are kept that were hit.
    pub coverage: Option<PathBuf>,
    /// More arguments of each run.
    pub arguments: Vec<String>,
}

/// What came of them.
#[derive(Debug, Clone, Default)]
pub struct ManyOutcome {
    /// Runs that ended as they should.
    pub good: u64,
    /// Seeds of those that did not.
    pub bad: Vec<u64>,
    /// Operations, faults and milliseconds under faults of all of them.
    pub operations: u64,
    /// Faults.
    pub faults: u64,
    /// Cells hit so far, by others too.
    pub coverage: Coverage,
}

struct Running {
    seed: u64,
    child: Child,
    patience: Patience,
    folder: PathBuf,
}

/// Makes them all. `interrupted` says that nothing new is to be started and what runs is to be ended.
pub fn run_many(
    options: &ManyOptions,
    can: impl Fn(Fault) -> bool,
    interrupted: impl Fn() -> bool,
) -> Result<ManyOutcome> {
    fs::create_dir_all(&options.folder)?;
    let file = options.coverage.clone().unwrap_or_else(|| options.folder.join("coverage.json"));
    let mut outcome = ManyOutcome { coverage: Coverage::load(&file)?, ..ManyOutcome::default() };
    let mut running: Vec<Running> = Vec::new();
    let machine = Machine::watch()?;
    let (mut next, mut runs) = (0, options.runs);
    while next < runs || !running.is_empty() {
        while next < runs && running.len() < options.at_once && !interrupted() {
            running.push(start(options, options.seed + next, &file, &machine)?);
            next += 1;
        }
        if interrupted() {
            runs = next;
            running.iter().for_each(tell_to_end);
        }
        std::thread::sleep(LOOK_EVERY);
        let mut at = 0;
        while at < running.len() {
            if running[at].patience.is_over() {
                say(&format!("seed {}: it hangs", running[at].seed));
                tell_to_end(&running[at]);
            }
            let Some(status) = running[at].child.try_wait()? else {
                at += 1;
                continue;
            };
            let ended = running.remove(at);
            note(&mut outcome, &ended, status.success())?;
            // Those that start from now on aim at what is still missing.
            outcome.coverage.save(&file)?;
            let last = next == runs && runs < options.runs + options.more;
            runs += u64::from(last && !outcome.coverage.missing(&can).is_empty());
        }
    }
    Ok(outcome)
}

fn start(options: &ManyOptions, seed: u64, coverage: &Path, machine: &Machine) -> Result<Running> {
    let folder = options.folder.join(format!("seed-{seed}"));
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let output = File::create(folder.join("output.txt"))?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--seed", &seed.to_string(), "--out"]).arg(&folder).arg("--aim-beside").arg(coverage);
    command.args(&options.arguments).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    let child = command.spawn().context("a run does not start")?;
    Ok(Running { seed, child, patience: machine.patience(RUN_MAX), folder })
}

fn tell_to_end(running: &Running) {
    if let Some(pid) = i32::try_from(running.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        // It may have ended by now.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

fn note(outcome: &mut ManyOutcome, ended: &Running, success: bool) -> Result<()> {
    let output = fs::read_to_string(ended.folder.join("output.txt")).unwrap_or_default();
    let report = fs::read_to_string(ended.folder.join("report.json")).unwrap_or_default();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap_or_default();
    outcome.operations += report["operations"].as_u64().unwrap_or(0);
    outcome.faults += report["faults"].as_array().map_or(0, |faults| faults.len() as u64);
    let hit = ended.folder.join("coverage.json");
    outcome.coverage.merge(&Coverage::load(&hit)?);
    if success {
        outcome.good += 1;
        let summary = output.lines().rev().find(|line| line.starts_with("seed ")).unwrap_or("no summary");
        say(summary);
    } else {
        outcome.bad.push(ended.seed);
        say(&format!("seed {}: FAILED\n{output}", ended.seed));
    }
    Ok(())
}

/// Says which cells were never hit, of the faults that can be brought here. True when there are none.
pub fn require(coverage: &Coverage, can: impl Fn(Fault) -> bool) -> bool {
    let missing = coverage.missing(can);
    for cell in &missing {
        say(&format!("never hit: {} of {} while {}", cell.fault, cell.role, cell.phase));
    }
    missing.is_empty()
}
