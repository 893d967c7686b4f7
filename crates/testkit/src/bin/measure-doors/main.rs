//! Measures lock and unlock through every door of a three-node cluster, beside a real Redis that is as durable, in one run.
//!
//! `cargo run --release -p leasehold-testkit --bin measure-doors -- [--seconds S] [--rounds R] [--callers 1,16,64] [--follower]`:
//! a table to stderr, JSON to stdout. All go to the leader, or with `--follower` to another node. In every round each door has
//! its turn, in an order that moves on from round to round.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints what it measured")]

mod caller;
mod http;
mod report;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use leasehold_testkit::clients::{RedisOptions, RedisServer, tools};
use leasehold_testkit::clock::Moment;
use leasehold_testkit::cluster::{Cluster, ClusterOptions};
use leasehold_testkit::numbers::Numbers;
use tokio::task::JoinSet;

use caller::{Addresses, Caller, Door};
use report::{Measured, report};

/// A store whose resources are lock names as they are.
const CONFIG: [&str; 3] = ["[[dapr.stores]]", "name = \"lockstore\"", "key-prefix = \"none\""];
/// Cycles of every caller before the clock runs: connections are open then, scripts are loaded.
const WARM_UP: usize = 20;

/// What is measured.
struct Plan {
    seconds: u64,
    rounds: usize,
    callers: Vec<usize>,
    follower: bool,
}

impl Plan {
    fn of(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut plan = Self { seconds: 3, rounds: 5, callers: vec![1, 16, 64], follower: false };
        let mut arguments = arguments.peekable();
        while let Some(flag) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{flag} needs a value"));
            match flag.as_str() {
                "--seconds" => plan.seconds = value()?.parse()?,
                "--rounds" => plan.rounds = value()?.parse()?,
                "--callers" => plan.callers = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?,
                "--follower" => plan.follower = true,
                _ => bail!("usage: measure-doors [--seconds S] [--rounds R] [--callers 1,16,64] [--follower]"),
            }
        }
        let counts = plan.seconds > 0 && plan.rounds > 0 && !plan.callers.is_empty() && !plan.callers.contains(&0);
        ensure!(counts, "seconds, rounds and callers are at least 1");
        Ok(plan)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let plan = Plan::of(std::env::args().skip(1))?;
    let redis = match tools::redis_server()? {
        Some(server) => Some(RedisServer::start(&server, RedisOptions { durable: true }).await?),
        None => None,
    };
    let config = CONFIG.map(str::to_owned).to_vec();
    let options = ClusterOptions { tuning: Vec::new(), config, redis: true, ..ClusterOptions::default() };
    let cluster = Cluster::start(options).await?;
    let leader = cluster.wait_leader().await?;
    let asked = cluster.ids().into_iter().find(|id| (*id == leader) != plan.follower).context("there is a follower")?;
    let node = cluster.node(asked);
    let addresses = Addresses {
        client: node.client_address(),
        http: node.http_address(),
        redis_door: node.redis_address(),
        redis: redis.as_ref().map(RedisServer::address),
    };
    let doors: Vec<Door> = Door::ALL.into_iter().filter(|door| redis.is_some() || *door != Door::RedisServer).collect();
    let mut measured: BTreeMap<(usize, Door), Measured> = BTreeMap::new();
    for round in 0..plan.rounds {
        for callers in &plan.callers {
            for turn in 0..doors.len() {
                let door = doors[(round + turn) % doors.len()];
                let (rate, spans) = measure(door, &addresses, *callers, Duration::from_secs(plan.seconds)).await?;
                measured.entry((*callers, door)).or_default().add(rate, &spans);
            }
        }
        eprintln!("round {} of {} is done", round + 1, plan.rounds);
    }
    ensure!(cluster.wait_leader().await? == leader, "the leader changed while it was measured");
    let through = if plan.follower { "a follower" } else { "the leader" };
    println!("{}", report(&measured, through));
    Ok(())
}

/// Cycles a second of all callers together, and the times of their acquires.
async fn measure(door: Door, addresses: &Addresses, callers: usize, span: Duration) -> Result<(f64, Numbers)> {
    let mut ready = Vec::new();
    for number in 0..callers {
        let mut caller = Caller::connect(door, addresses, number).await?;
        for _ in 0..WARM_UP {
            caller.cycle().await?;
        }
        ready.push(caller);
    }
    let begin = Moment::now();
    let mut tasks = JoinSet::new();
    for mut caller in ready {
        tasks.spawn(async move {
            let mut spans = Vec::new();
            while begin.elapsed() < span {
                spans.push(caller.cycle().await?);
            }
            anyhow::Ok(spans)
        });
    }
    let mut spans = Vec::new();
    while let Some(done) = tasks.join_next().await {
        spans.extend(done??);
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let rate = spans.len() as f64 / begin.elapsed().as_secs_f64();
    Ok((rate, Numbers::new(spans)))
}
