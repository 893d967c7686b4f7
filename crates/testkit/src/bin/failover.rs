//! Measures what the end of a leader costs a three-node cluster of real processes on this machine, beside etcd in the same run.
//!
//! `cargo run --release -p leasehold-testkit --bin failover -- --help`: text to stderr, JSON to stdout.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints what it measured")]

use std::time::Duration;

use anyhow::Result;
use clap::builder::RangedU64ValueParser;
use clap::{Parser, ValueEnum};
use leasehold_testkit::clock::random_seed;
use leasehold_testkit::failover::gaps::{self, Fault};
use leasehold_testkit::failover::{EtcdCluster, EtcdTiming, LeaseholdCluster, Target, calm, exclusion};
use serde_json::{Map, Value, json};

/// etcd wants an election time-out of at least five heartbeats.
const ETCD_LIKE_OURS: EtcdTiming = EtcdTiming { heartbeat_ms: 50, election_ms: 250 };
const COMPETITORS: u32 = 9;

/// Measures what the end of a leader costs, in gaps of service; text to stderr, JSON to stdout.
#[derive(Debug, Clone, Parser)]
#[command(name = "failover")]
struct Plan {
    /// How often the leader is ended by kill -9.
    #[arg(long, value_name = "N", default_value_t = 30)]
    kills: u64,
    /// How often the leader is stopped by SIGSTOP.
    #[arg(long, value_name = "N", default_value_t = 0)]
    freezes: u64,
    /// Counts elections without a fault for so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    calm: u64,
    /// Threads that only burn time meanwhile (default: one a core).
    #[arg(long, value_name = "N")]
    burners: Option<usize>,
    /// Clients that compete under faults for so many seconds, judged by times.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    compete: u64,
    /// Clients of the load.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    clients: usize,
    /// Heartbeat and bounds of the election time-out in ms, instead of the defaults.
    #[arg(long, value_name = "HEARTBEAT,MIN,MAX", value_delimiter = ',', num_args = 3)]
    timing: Vec<u64>,
    /// The same with etcd: default timing, and with a heartbeat and an election time-out like ours.
    #[arg(long)]
    etcd: bool,
    /// Only one of them.
    #[arg(long)]
    only: Option<Only>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Only {
    Leasehold,
    Etcd,
}

#[tokio::main]
async fn main() -> Result<()> {
    let plan = Plan::parse();
    let mut report = Map::new();
    if plan.only != Some(Only::Etcd) {
        run(&mut LeaseholdCluster::start(tuning(&plan.timing)).await?, &plan, &mut report).await?;
    }
    if plan.only == Some(Only::Etcd) || plan.etcd && plan.only.is_none() {
        if EtcdCluster::version().is_none() {
            eprintln!("SKIPPED: the comparison with etcd: there is no `etcd` on this machine (Debian: etcd-server)");
        } else {
            run(&mut EtcdCluster::start(None).await?, &plan, &mut report).await?;
            run(&mut EtcdCluster::start(Some(ETCD_LIKE_OURS)).await?, &plan, &mut report).await?;
        }
    }
    println!("{}", Value::Object(report));
    Ok(())
}

async fn run<T: Target>(target: &mut T, plan: &Plan, report: &mut Map<String, Value>) -> Result<()> {
    let name = target.name();
    eprintln!("{name}");
    let mut found = Map::new();
    if plan.calm > 0 {
        let burners = plan.burners.unwrap_or(std::thread::available_parallelism()?.get());
        let calm = calm::watch(target, Duration::from_secs(plan.calm), plan.clients, burners).await?;
        eprint!("{}", calm.text());
        found.insert("calm".into(), calm.json());
    }
    for (what, fault, ends) in [("kill -9", Fault::Kill, plan.kills), ("SIGSTOP", Fault::Freeze, plan.freezes)] {
        if ends > 0 {
            let gaps = gaps::measure(target, fault, ends, plan.clients).await?;
            eprint!("  {what} of the leader:\n{}", gaps.text());
            found.insert(what.into(), gaps.json());
        }
    }
    if plan.compete > 0 {
        let seed = random_seed();
        let contest = exclusion::compete(target, Duration::from_secs(plan.compete), COMPETITORS, seed).await?;
        eprint!("{}", contest.text());
        found.insert("compete".into(), json!({"seed": seed, "verdict": contest.json()}));
    }
    report.insert(name, Value::Object(found));
    Ok(())
}

fn tuning(timing: &[u64]) -> Vec<String> {
    let names = ["heartbeat", "election-min", "election-max"];
    names.iter().zip(timing).map(|(name, ms)| format!("{name} = \"{ms}ms\"")).collect()
}
