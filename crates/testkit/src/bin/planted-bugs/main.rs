//! Plants each bug of `crates/testkit/planted` in a copy of the sources and says which test notices it, and how fast.
//!
//! `cargo run --release -p leasehold-testkit --bin planted-bugs`: a table to stdout; exit code 1 when one is not caught, 70 when a patch
//! does not apply or build, or when the tests fail without one.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints what it found")]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use leasehold_testkit::planted::{Patch, Report, Scratch, Sightings, TIERS, Tier, Trial, choose, patches, workspace};

const MISSED: u8 = 1;
const FAILED: u8 = 70;

/// Plants bugs, one at a time, and says which test notices.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only these, by name.
    #[arg(long, value_delimiter = ',', conflicts_with = "some")]
    only: Vec<String>,
    /// So many of those that are caught within seconds, chosen by --by.
    #[arg(long, requires = "by")]
    some: Option<usize>,
    /// A commit.
    #[arg(long)]
    by: Option<String>,
    /// Only these tiers.
    #[arg(long, value_delimiter = ',')]
    tiers: Vec<String>,
    /// Does not run the tests on clean sources first: they passed just now.
    #[arg(long)]
    trust_baseline: bool,
    /// Writes the table into a file too.
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// Where copy and builds lie: kept for the next time. Default: `planted-bugs` in the target folder.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Only what the simulation finds: the seeds that the heads name, with their fault and without it.
    #[arg(long, conflicts_with_all = ["some", "tiers", "trust_baseline"])]
    simulation: bool,
    /// Says which there are, and which rule each breaks.
    #[arg(long)]
    list: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(MISSED),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(FAILED)
        }
    }
}

async fn run(arguments: Arguments) -> Result<bool> {
    let patches = wanted(&arguments)?;
    if arguments.list {
        for patch in &patches {
            println!("{}\n    breaks: {}\n    so that: {}", patch.name, patch.rule, patch.harm);
        }
        return Ok(true);
    }
    let target = target()?;
    let folder = arguments.folder.clone().unwrap_or_else(|| target.join("planted-bugs"));
    let mut scratch = Scratch::at(&folder, &workspace())?;
    match scratch.borrow_dependencies(&target) {
        Ok(0) => {}
        Ok(files) => eprintln!("took {files} files of built dependencies from {}", target.display()),
        // Another file system, or a build that goes on there: they are built anew.
        Err(error) => eprintln!("dependencies are built anew: {error:#}"),
    }
    let trial = Trial::new(tiers(&arguments.tiers)?, &folder)?;
    if arguments.simulation {
        return simulate(&arguments, &trial, &mut scratch, &patches).await;
    }
    if !arguments.trust_baseline {
        for (tier, took) in trial.baseline(&mut scratch).await? {
            eprintln!("without a bug {} passes, in {:.1} s ({})", tier.name, took.as_secs_f64(), tier.what);
        }
    }
    let mut report = Report::default();
    let mut errors = Vec::new();
    for (number, patch) in patches.iter().enumerate() {
        eprint!("{:>2}/{} {} ", number + 1, patches.len(), patch.name);
        match trial.of(&mut scratch, patch).await {
            Ok(verdict) => {
                match &verdict.catch {
                    Some(catch) => eprintln!("caught by {}: {}", catch.tier.name, catch.by),
                    None => eprintln!("NOT CAUGHT"),
                }
                report.add(patch, verdict);
            }
            Err(error) => {
                eprintln!("ERROR\n{error:#}");
                errors.push(patch.name.as_str());
            }
        }
    }
    println!("{}", report.table());
    for note in report.notes() {
        println!("{note}");
    }
    println!("{}", report.summary());
    if let Some(path) = &arguments.markdown {
        std::fs::write(path, report.markdown()).with_context(|| format!("{}", path.display()))?;
    }
    ensure!(errors.is_empty(), "these cannot be tried: {}", errors.join(", "));
    Ok(report.all_caught())
}

/// Repeats what the heads say of the simulation.
async fn simulate(arguments: &Arguments, trial: &Trial, scratch: &mut Scratch, patches: &[Patch]) -> Result<bool> {
    let mut sightings = Sightings::default();
    for patch in patches {
        for sighting in &patch.simulation {
            eprint!("{}: {} ", sighting.fault, patch.name);
            let repeated = trial.repeat(scratch, patch, *sighting).await?;
            match &repeated.found {
                Some(found) => eprintln!("found by seed {}: {}", found.seed, found.broken),
                None => eprintln!("NOT FOUND"),
            }
            sightings.add(patch, *sighting, repeated);
        }
    }
    println!("{}", sightings.table());
    sightings.notes().for_each(|note| println!("{note}"));
    if let Some(path) = &arguments.markdown {
        std::fs::write(path, sightings.markdown()).with_context(|| format!("{}", path.display()))?;
    }
    Ok(sightings.all_found())
}

/// The patches to try, those that change the same files next to each other: fewer crates are built then.
fn wanted(arguments: &Arguments) -> Result<Vec<Patch>> {
    let all = patches()?;
    if let (Some(count), Some(commit)) = (arguments.some, &arguments.by) {
        return Ok(choose(all, count, commit));
    }
    for name in &arguments.only {
        ensure!(all.iter().any(|patch| patch.name == *name), "no planted bug is named {name}");
    }
    let mut wanted: Vec<(Vec<PathBuf>, Patch)> = Vec::new();
    for patch in all {
        if arguments.only.is_empty() || arguments.only.contains(&patch.name) {
            wanted.push((patch.apply(&workspace())?.into_iter().map(|(path, _)| path).collect(), patch));
        }
    }
    wanted.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(wanted.into_iter().map(|(_, patch)| patch).collect())
}

/// All that there are, or those that were asked for.
fn tiers(names: &[String]) -> Result<Vec<&'static Tier>> {
    let asked: Vec<&'static Tier> = if names.is_empty() {
        TIERS.iter().collect()
    } else {
        names.iter().map(|name| Tier::named(name)).collect::<Result<_>>()?
    };
    let (there, missing): (Vec<&Tier>, Vec<&Tier>) = asked.into_iter().partition(|tier| tier.is_in(&workspace()));
    for tier in missing {
        eprintln!("SKIPPED: these sources have no {}", tier.name);
    }
    if there.is_empty() {
        bail!("there is nothing to run");
    }
    Ok(there)
}

/// The target folder that this program lies in: …/target/release/planted-bugs.
fn target() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(2).context("this program lies in no target folder")?;
    Ok(target.to_owned())
}
