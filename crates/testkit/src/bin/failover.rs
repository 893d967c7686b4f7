//! Measures what the end of a leader costs a three-node cluster of real processes on this machine, beside etcd in the same run.
//!
//! `cargo run --release -p leasehold-testkit --bin failover -- [OPTIONS]`: text to stderr, JSON to stdout.
//!
//! ```text
//! --kills N          kill -9 of the leader (default 30)
//! --freezes N        SIGSTOP of the leader (default 0)
//! --calm SECONDS     count elections without a fault, beside one busy thread a core (default 0)
//! --compete SECONDS  clients that compete under faults, judged by times (default 0)
//! --clients N        clients of the load (default 8)
//! --timing HEARTBEAT,MIN,MAX   in ms, instead of the defaults
//! --etcd             the same with etcd: default timing, and with a heartbeat and an election time-out like ours
//! --only etcd        only that
//! ```

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints what it measured")]

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use leasehold_testkit::clock::random_seed;
use leasehold_testkit::failover::gaps::{self, Fault};
use leasehold_testkit::failover::{EtcdCluster, EtcdTiming, LeaseholdCluster, Target, calm, exclusion};
use serde_json::{Map, Value, json};

/// etcd wants an election time-out of at least five heartbeats.
const ETCD_LIKE_OURS: EtcdTiming = EtcdTiming { heartbeat_ms: 50, election_ms: 250 };
const COMPETITORS: u32 = 9;

#[derive(Debug, Clone)]
struct Plan {
    kills: u64,
    freezes: u64,
    calm: Duration,
    compete: Duration,
    clients: usize,
    tuning: Vec<String>,
    leasehold: bool,
    etcd: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let plan = plan()?;
    let mut report = Map::new();
    if plan.leasehold {
        run(&mut LeaseholdCluster::start(plan.tuning.clone()).await?, &plan, &mut report).await?;
    }
    if plan.etcd {
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
    if !plan.calm.is_zero() {
        let burners = std::thread::available_parallelism()?.get();
        let calm = calm::watch(target, plan.calm, plan.clients, burners).await?;
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
    if !plan.compete.is_zero() {
        let seed = random_seed();
        let contest = exclusion::compete(target, plan.compete, COMPETITORS, seed).await?;
        eprint!("{}", contest.text());
        found.insert("compete".into(), json!({"seed": seed, "verdict": contest.json()}));
    }
    report.insert(name, Value::Object(found));
    Ok(())
}

fn plan() -> Result<Plan> {
    let mut plan = Plan {
        kills: 30,
        freezes: 0,
        calm: Duration::ZERO,
        compete: Duration::ZERO,
        clients: 8,
        tuning: Vec::new(),
        leasehold: true,
        etcd: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(flag) = arguments.next() {
        if flag == "--etcd" {
            plan.etcd = true;
            continue;
        }
        let value = arguments.next().with_context(|| format!("{flag} wants a value"))?;
        match flag.as_str() {
            "--kills" => plan.kills = value.parse()?,
            "--freezes" => plan.freezes = value.parse()?,
            "--calm" => plan.calm = Duration::from_secs(value.parse()?),
            "--compete" => plan.compete = Duration::from_secs(value.parse()?),
            "--clients" => plan.clients = value.parse()?,
            "--timing" => plan.tuning = tuning(&value)?,
            "--only" => {
                ensure!(value == "etcd", "--only knows etcd");
                (plan.leasehold, plan.etcd) = (false, true);
            }
            _ => bail!("there is no option {flag}"),
        }
    }
    ensure!(plan.clients > 0, "--clients: at least one");
    Ok(plan)
}

fn tuning(times: &str) -> Result<Vec<String>> {
    let times: Vec<u64> = times.split(',').map(str::parse).collect::<Result<_, _>>()?;
    let [heartbeat, min, max] = times.as_slice() else { bail!("--timing HEARTBEAT,MIN,MAX") };
    let line = |name: &str, ms: u64| format!("{name} = \"{ms}ms\"");
    Ok(vec![line("heartbeat", *heartbeat), line("election-min", *min), line("election-max", *max)])
}
