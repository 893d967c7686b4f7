//! Brings real faults on real processes, and checks what they leave behind.
//!
//! `cargo run --release -p leasehold-testkit --bin chaos -- --seed S --minutes M`: one run. `-- --short --runs 20`: many short
//! ones. `-- --target etcd --seed S --minutes M` beside `-- --workload compete --seed S --minutes M`: a comparison. See `leasehold_testkit::chaos`.

#![expect(clippy::print_stdout, reason = "a program that says where its report is")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, Subcommand};
use leasehold_testkit::chaos::client::Workload;
use leasehold_testkit::chaos::client_process::{self, ClientArgs};
use leasehold_testkit::chaos::etcd::Etcd;
use leasehold_testkit::chaos::fault::{Fault, Need};
use leasehold_testkit::chaos::many::{ManyOptions, ManyOutcome, require, run_many};
use leasehold_testkit::chaos::run::{RunOptions, run};
use leasehold_testkit::chaos::target::{Leasehold, Target, TargetName};
use leasehold_testkit::chaos::{Abilities, Coverage, Plan, judge_again, net, say};
use leasehold_testkit::clock::{Moment, random_seed};
use leasehold_testkit::cluster::leasehold_binary;
use leasehold_testkit::disk;

const SHORT: Duration = Duration::from_secs(12);

/// Brings faults on a cluster of real processes, and checks everything that it leaves behind.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    mode: Option<Mode>,
    /// What everything follows from (default: a random one)
    #[arg(long)]
    seed: Option<u64>,
    /// How long faults are brought
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// A short run, of 12 s, instead
    #[arg(long)]
    short: bool,
    /// So many short runs, with seeds that follow one another
    #[arg(long, requires = "short")]
    runs: Option<u64>,
    /// Runs side by side
    #[arg(long, default_value_t = 2)]
    at_once: usize,
    /// Where everything is written (default: target/chaos/seed-S)
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Keeps the cells that were hit, over any number of runs, in this file; runs aim at those that were not
    #[arg(long, value_name = "FILE")]
    coverage: Option<PathBuf>,
    /// Aims at cells that are not in this file, and leaves it alone
    #[arg(long, value_name = "FILE", hide = true)]
    aim_beside: Option<PathBuf>,
    /// Fails if a cell was never hit; makes up to twice as many short runs until all were
    #[arg(long)]
    require_coverage: bool,
    /// Carries out this plan, instead of one drawn from the seed
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Only these faults
    #[arg(long, value_delimiter = ',')]
    only: Vec<Fault>,
    /// Clocks far beyond the drift bound: succeeds only if C4 breaks, which shows that the check can fail
    #[arg(long)]
    beyond_drift: bool,
    /// Succeeds only if something breaks: with a binary or an environment that is known to be wrong
    #[arg(long)]
    expect_violation: bool,
    /// More words of the nodes' environment
    #[arg(long, value_name = "NAME=VALUE")]
    node_env: Vec<String>,
    /// The binary under test (default: built)
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Client processes
    #[arg(long, default_value_t = 3)]
    clients: u32,
    /// Workers of each client process
    #[arg(long, default_value_t = 6)]
    workers: u32,
    /// Locks that all compete for
    #[arg(long, default_value_t = 8)]
    locks: u32,
    /// What is under test; etcd (Debian: etcd-server) for comparison
    #[arg(long, value_enum, default_value = "leasehold")]
    target: TargetName,
    /// What clients do (etcd: compete). Those that compete are under the faults that can be brought on every target
    #[arg(long, value_enum)]
    workload: Option<Workload>,
    /// Everything is kept after a clean run too
    #[arg(long)]
    keep: bool,
}

#[derive(Debug, Subcommand)]
enum Mode {
    /// Says what the checker makes of the evidence that an earlier run kept
    Judge {
        /// The folder of that run
        folder: PathBuf,
    },
    /// A client process of a run
    #[command(hide = true)]
    LeaseholdClient(ClientArgs),
    /// A client process that competes with others, with any target
    #[command(hide = true)]
    CompeteClient {
        target: TargetName,
        #[command(flatten)]
        client: ClientArgs,
    },
}

fn main() -> ExitCode {
    match start(Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("chaos: {error:#}"));
            ExitCode::from(2)
        }
    }
}

fn start(args: Args) -> Result<bool> {
    match args.mode {
        Some(Mode::Judge { folder }) => {
            let report = judge_again(&folder)?;
            println!("{report}");
            Ok(report.is_clean())
        }
        Some(Mode::LeaseholdClient(client)) => runtime()?.block_on(client_process::everything(client)).map(|()| true),
        Some(Mode::CompeteClient { target, client }) => {
            runtime()?.block_on(client_process::compete(target, client)).map(|()| true)
        }
        None if args.runs.is_some() => many(&args),
        None => one(&args),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// The binary under test, built before anything else: in a namespace there is nobody to ask.
fn binary(args: &Args) -> Result<PathBuf> {
    match &args.binary {
        Some(path) => path.canonicalize().with_context(|| path.display().to_string()),
        None => Ok(leasehold_binary()?.to_owned()),
    }
}

fn folder(args: &Args, name: &str) -> PathBuf {
    let own = std::env::current_exe().ok();
    let target = own.as_deref().and_then(Path::parent).and_then(Path::parent).unwrap_or(Path::new("target"));
    args.out.clone().unwrap_or_else(|| target.join("chaos").join(name))
}

fn one(args: &Args) -> Result<bool> {
    let seed = args.seed.unwrap_or_else(random_seed);
    if args.target == TargetName::Etcd {
        return in_hub(args, seed, Path::new("etcd"));
    }
    if std::env::var_os("LEASEHOLD_BIN").is_none() || args.binary.is_some() {
        let binary = binary(args)?;
        // Handed on to ourselves in the hub.
        return in_hub(args, seed, &binary);
    }
    in_hub(args, seed, leasehold_binary()?)
}

fn in_hub(args: &Args, seed: u64, binary: &Path) -> Result<bool> {
    let abilities = Abilities::probe();
    if abilities.has(Need::Namespaces) {
        net::remove_leftovers()?;
        net::enter(&[("LEASEHOLD_CHAOS_SEED", seed.to_string()), ("LEASEHOLD_BIN", binary.display().to_string())])?;
    } else {
        say("SKIPPED: the network: no root, or no `nft`: everything runs on loopback");
    }
    let seed = std::env::var("LEASEHOLD_CHAOS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(seed);
    if disk::available().is_ok() {
        disk::remove_left_over()?;
    }
    let options = options(args, seed)?;
    let target: Arc<dyn Target> = match args.target {
        TargetName::Leasehold => Arc::new(Leasehold::new(binary)),
        TargetName::Etcd => Arc::new(Etcd::new()?),
    };
    let can = target.brings();
    let outcome = runtime()?.block_on(run(target, abilities.clone(), &options))?;
    outcome.coverage.save(&options.folder.join("coverage.json"))?;
    println!("{}", options.folder.join("report.html").display());
    let mut all = outcome.coverage;
    if let Some(file) = &args.coverage {
        all.merge(&Coverage::load(file)?);
        all.save(file)?;
    }
    let covered = !args.require_coverage || require(&all, allowed(abilities, &can));
    Ok(outcome.is_as_expected && covered)
}

/// The faults that can be brought on this machine and this target.
fn allowed(mut abilities: Abilities, brings: &[Need]) -> impl Fn(Fault) -> bool + use<> {
    brings.iter().for_each(|need| abilities.add(*need));
    if disk::available().is_ok() {
        abilities.add(Need::PowerCuts);
    } else {
        abilities.remove(Need::Mounts);
    }
    move |fault| abilities.allow(fault)
}

fn options(args: &Args, seed: u64) -> Result<RunOptions> {
    let coverage = args.coverage.as_ref().or(args.aim_beside.as_ref());
    let plan =
        args.plan.as_ref().map(|file| -> Result<Plan> { Ok(serde_json::from_str(&std::fs::read_to_string(file)?)?) });
    Ok(RunOptions {
        seed,
        lasts: if args.short { SHORT } else { Duration::from_secs_f64(args.minutes * 60.0) },
        folder: folder(args, &format!("seed-{seed}")),
        coverage: coverage.map_or_else(|| Ok(Coverage::default()), |file| Coverage::load(file))?,
        plan: plan.transpose().context("the plan")?,
        only: args.only.clone(),
        beyond_drift: args.beyond_drift,
        expect_violation: args.expect_violation,
        environment: args.node_env.iter().map(|word| environment_word(word)).collect::<Result<_>>()?,
        clients: args.clients,
        workers: args.workers,
        locks: args.locks,
        workload: workload(args)?,
        keep: args.keep,
        command: command(args, seed),
    })
}

fn environment_word(word: &str) -> Result<(String, String)> {
    let (name, value) = word.split_once('=').with_context(|| format!("{word:?} is not NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

fn workload(args: &Args) -> Result<Workload> {
    match (args.target, args.workload) {
        (TargetName::Leasehold, workload) => Ok(workload.unwrap_or_default()),
        (TargetName::Etcd, None | Some(Workload::Compete)) => Ok(Workload::Compete),
        (TargetName::Etcd, Some(Workload::Everything)) => bail!("etcd cannot do everything: --workload compete"),
    }
}

/// What repeats a run.
fn command(args: &Args, seed: u64) -> String {
    let mut words = format!("cargo run --release -p leasehold-testkit --bin chaos -- --seed {seed}");
    let length = if args.short { " --short".to_owned() } else { format!(" --minutes {}", args.minutes) };
    words.push_str(&length);
    if args.beyond_drift {
        words.push_str(" --beyond-drift");
    }
    for word in &args.node_env {
        words.push_str(&format!(" --node-env '{word}'"));
    }
    if args.target == TargetName::Etcd {
        words.push_str(" --target etcd");
    } else if args.workload == Some(Workload::Compete) {
        words.push_str(" --workload compete");
    }
    let shape = [("clients", args.clients, 3), ("workers", args.workers, 6), ("locks", args.locks, 8)];
    for (name, value, _) in shape.into_iter().filter(|(_, value, default)| value != default) {
        words.push_str(&format!(" --{name} {value}"));
    }
    if let Some(binary) = &args.binary {
        words.push_str(&format!(" --binary {}", binary.display()));
    }
    words
}

fn many(args: &Args) -> Result<bool> {
    ensure!(args.target == TargetName::Leasehold && args.workload.is_none(), "--runs: one run at a time is compared");
    let binary = binary(args)?;
    // Room for those that follow.
    let seed = args.seed.unwrap_or_else(|| random_seed() >> 1);
    let mut arguments = vec!["--short".to_owned(), "--binary".into(), binary.display().to_string()];
    for (name, value) in [("--clients", args.clients), ("--workers", args.workers), ("--locks", args.locks)] {
        arguments.extend([name.to_owned(), value.to_string()]);
    }
    if !args.only.is_empty() {
        let only = args.only.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        arguments.extend(["--only".to_owned(), only]);
    }
    let options = ManyOptions {
        seed,
        runs: args.runs.unwrap_or(1),
        more: if args.require_coverage { args.runs.unwrap_or(1) } else { 0 },
        at_once: args.at_once,
        folder: folder(args, "short"),
        coverage: args.coverage.clone(),
        arguments,
    };
    let interrupted = Arc::new(AtomicBool::new(false));
    let runtime = runtime()?;
    let flag = interrupted.clone();
    runtime.spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            flag.store(true, Ordering::Relaxed);
        }
    });
    let start = Moment::now();
    let brings = Leasehold::new(&binary).brings();
    let can = allowed(Abilities::probe(), &brings);
    let outcome = run_many(&options, &can, || interrupted.load(Ordering::Relaxed))?;
    let covered = require(&outcome.coverage, can) || !args.require_coverage;
    println!("{}", summary(&outcome, start.elapsed()));
    Ok(outcome.bad.is_empty() && covered && !interrupted.load(Ordering::Relaxed))
}

fn summary(outcome: &ManyOutcome, took: Duration) -> String {
    let all = outcome.good + outcome.bad.len() as u64;
    let cells = Coverage::cells().count();
    let hit = cells - outcome.coverage.missing(|_| true).len();
    format!(
        "{} of {all} runs good in {:.0} s: {} faults, {} operations, {hit} of {cells} cells hit; bad seeds: {:?}",
        outcome.good,
        took.as_secs_f64(),
        outcome.faults,
        outcome.operations,
        outcome.bad
    )
}
