//! One process per run: tokio numbers its tasks per process, and drops them in that order at a crash.

use std::collections::VecDeque;
use std::io::{IsTerminal, Write};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use leasehold_testkit::clock::Moment;
use leasehold_testkit::sim::{SimOptions, SimOutcome, run};

use super::arguments::Arguments;
use super::summary::Summary;

/// Runs one seed and prints what came of it, one line of JSON.
pub(super) fn run_one(arguments: &Arguments) -> Result<bool> {
    let options = SimOptions {
        clients: arguments.clients,
        clock_ppm: arguments.clock_ppm,
        lying_disks: arguments.lying_disks,
        without: arguments.without.clone(),
        ..SimOptions::new(arguments.first, arguments.steps)
    };
    let outcome = run(&options, arguments.trace.as_deref())?;
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &outcome)?;
    out.write_all(b"\n")?;
    Ok(outcome.violations.is_empty())
}

/// What one seed came to: its two runs, or what kept them from ending.
pub(super) enum Verdict {
    Done(Box<SimOutcome>),
    /// Two runs of the seed were not the same.
    Differs(Box<SimOutcome>, u64),
    /// The process ended without a result: a panic.
    Broken(String),
}

/// Runs all seeds, some at a time.
pub(super) fn run_all(arguments: &Arguments) -> Result<bool> {
    let seeds: VecDeque<u64> = (0..arguments.seeds).map(|number| arguments.first.wrapping_add(number)).collect();
    let left = Mutex::new(seeds);
    let summary = Mutex::new(Summary::new(arguments));
    let begin = Moment::now();
    let work = || -> Result<()> {
        loop {
            let seed = left.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(seed) = seed else { return Ok(()) };
            let verdict = verdict(arguments, seed)?;
            let mut summary = summary.lock().unwrap_or_else(PoisonError::into_inner);
            summary.add(seed, verdict);
            if arguments.stop_at_first && summary.broken() > 0 {
                // Those that run already end: among them are all that come before this one.
                left.lock().unwrap_or_else(PoisonError::into_inner).clear();
            }
            if std::io::stderr().is_terminal() {
                eprint!("\r{} seeds of {}, {} violations ", summary.seeds(), arguments.seeds, summary.broken());
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..arguments.jobs).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| anyhow::bail!("a worker panicked")))
    })?;
    let summary = summary.into_inner().unwrap_or_else(PoisonError::into_inner);
    summary.print(begin.elapsed());
    if let Some(path) = &arguments.json {
        std::fs::write(path, summary.json(begin.elapsed())?).with_context(|| path.display().to_string())?;
    }
    Ok(summary.is_clean())
}

fn verdict(arguments: &Arguments, seed: u64) -> Result<Verdict> {
    let first = match child(arguments, seed)? {
        Ok(outcome) => outcome,
        Err(problem) => return Ok(Verdict::Broken(problem)),
    };
    if arguments.once {
        return Ok(Verdict::Done(Box::new(first)));
    }
    let second = match child(arguments, seed)? {
        Ok(outcome) => outcome,
        Err(problem) => return Ok(Verdict::Broken(problem)),
    };
    if first.digest == second.digest {
        return Ok(Verdict::Done(Box::new(first)));
    }
    Ok(Verdict::Differs(Box::new(first), second.digest))
}

fn child(arguments: &Arguments, seed: u64) -> Result<Result<SimOutcome, String>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--one").args(arguments.of_child(seed));
    if let Some(trace) = &arguments.trace {
        command.arg("--trace").arg(trace);
    }
    let output = command.stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().last().map(serde_json::from_str) {
        Some(Ok(outcome)) => Ok(Ok(outcome)),
        _ => Ok(Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))),
    }
}
