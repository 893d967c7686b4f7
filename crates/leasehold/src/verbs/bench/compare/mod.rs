//! `leasehold bench compare`: the same work against other systems and Leasehold, each on a cluster that is started here, in turn, in
//! one run, in several rounds. A ratio is of two throughputs of the same round.

use std::path::{Path, PathBuf};
use std::time::Duration;

use leasehold_client::clock::Clock;

use super::connection::Target;
use super::load::Workload;
use super::options::{self, CALLERS_MAX, CONNECTIONS_MAX, at_most, seconds, warm_up};
use super::record::Record;
use super::schedule::Stop;
use crate::cli::{OutputArgs, duration};
use crate::exit::{Exit, Failure};
use crate::output::note;

mod etcd;
mod etcd_wire;
mod leasehold;
mod pipeline;
mod processes;
mod ratios;
mod redis;
mod report;
mod seat;
mod zookeeper;

/// Length of a trial of one number of connections.
const TRIAL: Duration = Duration::from_secs(1);
const TRIAL_WARM_UP: Duration = Duration::from_millis(500);
/// Trials of each, apart in time: a machine is not the same at all times.
const TRIAL_PASSES: u32 = 2;
/// Rounds of one run.
const ROUNDS_MAX: usize = 1_000;

/// A system that Leasehold is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Peer {
    Etcd,
    Redis,
    Zookeeper,
}

/// Workloads that make sense for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Work {
    Uncontended,
    Contended,
    TryBusy,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct CompareArgs {
    /// Systems to compare with, comma-separated
    #[arg(long, value_enum, value_delimiter = ',', default_value = "etcd,redis")]
    peers: Vec<Peer>,
    /// What all of them do
    #[arg(long, value_enum, default_value_t = Work::Uncontended)]
    workload: Work,
    /// Callers: each has one operation under way
    #[arg(long, default_value_t = 256, value_name = "N", value_parser = at_most(CALLERS_MAX))]
    callers: usize,
    /// Numbers of connections to try; each system gets the one that is best for it
    #[arg(long, value_delimiter = ',', default_value = "1,8,64", value_name = "N", value_parser = at_most(CONNECTIONS_MAX))]
    connections: Vec<usize>,
    /// Locks that the callers share (contended, try-busy)
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = at_most(64))]
    locks: usize,
    /// Length of each round, in seconds
    #[arg(long, default_value = "5", value_name = "S", value_parser = seconds)]
    seconds: Duration,
    /// Load before each round, which does not count
    #[arg(long, default_value = "1s", value_parser = warm_up, value_name = "DUR")]
    warm_up: Duration,
    /// Rounds, each with all systems in turn
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = at_most(ROUNDS_MAX))]
    rounds: usize,
    /// Which nodes of a replicated system to connect to
    #[arg(long, value_enum, default_value_t = Target::Leader)]
    target: Target,
    /// Time to live of a lock's lease
    #[arg(long, default_value = "30s", value_parser = duration, value_name = "DUR")]
    ttl: Duration,
    /// The folder in which all systems keep their data (default: the one for temporary files)
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Draw throughput by round and latencies into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

/// What one system is to do once.
#[derive(Debug, Clone)]
pub(super) struct Job {
    work: Work,
    callers: usize,
    connections: usize,
    locks: usize,
    ttl: Duration,
    warm_up: Duration,
    length: Duration,
    target: Target,
}

impl Job {
    /// Longer than the job: a lease that nobody has to renew meanwhile.
    fn long_ttl(&self) -> Duration {
        self.ttl.max(self.warm_up + self.length + Duration::from_secs(300))
    }

    fn workload(&self) -> Workload {
        match self.work {
            Work::Uncontended => Workload::Uncontended,
            Work::Contended => Workload::Contended { locks: self.locks },
            Work::TryBusy => Workload::TryBusy { locks: self.locks },
        }
    }
}

/// A running system.
enum System {
    Leasehold(leasehold::Leasehold),
    Etcd(etcd::Etcd),
    Redis(redis::Redis),
    Zookeeper(zookeeper::Zookeeper),
}

/// What is told of a system beside its numbers.
#[derive(Debug, Clone)]
struct About {
    name: &'static str,
    version: String,
    /// How it runs, and what it has on disk when it answers.
    durability: &'static str,
    /// What an acquire and a release are there.
    operations: &'static str,
}

impl System {
    async fn start(peer: Option<Peer>, folder: &Path) -> Result<Self, Failure> {
        Ok(match peer {
            None => Self::Leasehold(leasehold::Leasehold::start(folder).await?),
            Some(Peer::Etcd) => Self::Etcd(etcd::Etcd::start(folder).await?),
            Some(Peer::Redis) => Self::Redis(redis::Redis::start(folder).await?),
            Some(Peer::Zookeeper) => Self::Zookeeper(zookeeper::Zookeeper::start(folder).await?),
        })
    }

    fn about(&self, work: Work) -> About {
        match self {
            Self::Leasehold(_) => leasehold::about(),
            Self::Etcd(etcd) => etcd.about(work),
            Self::Redis(redis) => redis.about(work),
            Self::Zookeeper(zookeeper) => zookeeper.about(),
        }
    }

    async fn measure(&mut self, job: &Job, stop: &Stop) -> Result<Record, Failure> {
        match self {
            Self::Leasehold(leasehold) => Box::pin(leasehold.measure(job, stop)).await,
            Self::Etcd(etcd) => Box::pin(etcd.measure(job, stop)).await,
            Self::Redis(redis) => Box::pin(redis.measure(job, stop)).await,
            Self::Zookeeper(zookeeper) => Box::pin(zookeeper.measure(job, stop)).await,
        }
    }

    async fn end(&mut self) {
        match self {
            Self::Leasehold(leasehold) => leasehold.end().await,
            Self::Etcd(etcd) => etcd.processes.end().await,
            Self::Redis(redis) => redis.processes.end().await,
            Self::Zookeeper(zookeeper) => zookeeper.processes.end().await,
        }
    }
}

/// A system with what was found out about it.
struct Contender {
    system: System,
    about: About,
    /// Throughput by number of connections, the mean of the trials.
    trials: Vec<(usize, f64)>,
    connections: usize,
    rounds: Vec<Record>,
}

impl Peer {
    fn check(self, work: Work) -> Result<(), Failure> {
        match self {
            Self::Etcd => etcd::program().map(drop),
            Self::Redis => redis::program().map(drop),
            Self::Zookeeper if work == Work::Contended => Err(Failure::usage(
                "--peers: zookeeper has no blocking lock to compare with; contended is for etcd and redis",
            )),
            Self::Zookeeper => zookeeper::program().map(drop),
        }
    }
}

pub(super) async fn run(args: CompareArgs) -> Result<Exit, Failure> {
    let mut args = args;
    let mut known = Vec::new();
    args.peers.retain(|peer| {
        !known.contains(peer) && {
            known.push(*peer);
            true
        }
    });
    args.connections.sort_unstable();
    args.connections.dedup();
    options::check_spread(args.callers, args.connections[0])?;
    args.connections.retain(|connections| *connections <= args.callers);
    if args.connections.is_empty() {
        return Err(Failure::usage(format!("--connections: none of them is at most --callers ({})", args.callers)));
    }
    args.peers.iter().try_for_each(|peer| peer.check(args.workload))?;
    let parent = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    let folder = tempfile::Builder::new()
        .prefix("leasehold-compare-")
        .tempdir_in(&parent)
        .map_err(|error| Failure::usage(format!("--dir: {}: {error}", parent.display())))?;
    let stop = Stop::default();
    let mut contenders = Vec::new();
    let ended = super::until_signalled(&stop, async {
        for peer in std::iter::once(None).chain(args.peers.iter().copied().map(Some)) {
            if stop.is_asked() {
                return Ok(Exit::Ok);
            }
            let system = System::start(peer, folder.path()).await?;
            let about = system.about(args.workload);
            note(&format!("leasehold: {} {} runs", about.name, about.version));
            contenders.push(Contender { system, about, trials: Vec::new(), connections: 1, rounds: Vec::new() });
        }
        compare(&args, &mut contenders, &stop).await?;
        if !stop.is_asked() {
            report::print(&args, &contenders)?;
        }
        Ok(Exit::Ok)
    })
    .await;
    for contender in &mut contenders {
        contender.system.end().await;
    }
    ended
}

/// Finds each system's best number of connections; then the rounds.
async fn compare(args: &CompareArgs, contenders: &mut [Contender], stop: &Stop) -> Result<(), Failure> {
    let job = |connections: usize, warm_up: Duration, length: Duration| Job {
        work: args.workload,
        callers: args.callers,
        connections,
        locks: args.locks,
        ttl: args.ttl,
        warm_up,
        length,
        target: args.target,
    };
    for pass in 0..TRIAL_PASSES {
        for contender in &mut *contenders {
            for (place, connections) in args.connections.iter().enumerate() {
                if stop.is_asked() {
                    return Ok(());
                }
                let job = job(*connections, TRIAL_WARM_UP, TRIAL.min(args.seconds));
                let rate = contender.system.measure(&job, stop).await?.throughput();
                if pass == 0 {
                    contender.trials.push((*connections, 0.0));
                }
                contender.trials[place].1 += rate / f64::from(TRIAL_PASSES);
            }
        }
    }
    for contender in &mut *contenders {
        let best = contender.trials.iter().max_by(|one, other| one.1.total_cmp(&other.1));
        contender.connections = best.map_or(1, |(connections, _)| *connections);
        note(&format!("leasehold: {}: {} connections are best", contender.about.name, contender.connections));
    }
    let clock = Clock::system();
    let start = clock.now();
    for round in 0..args.rounds {
        for place in 0..contenders.len() {
            if stop.is_asked() {
                return Ok(());
            }
            let turn = (round + place) % contenders.len();
            let contender = &mut contenders[turn];
            let job = job(contender.connections, args.warm_up, args.seconds);
            let record = contender.system.measure(&job, stop).await?;
            contender.rounds.push(record);
        }
        let rates = contenders.iter().map(|contender| {
            let rate = contender.rounds.last().map_or(0.0, Record::throughput);
            format!("{} {rate:.0}", contender.about.name)
        });
        let rates = rates.collect::<Vec<_>>().join(", ");
        let since = clock.now().since(start).as_secs_f64();
        note(&format!("leasehold: round {} of {}, {since:.0} s: {rates} /s", round + 1, args.rounds));
    }
    Ok(())
}
