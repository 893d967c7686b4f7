//! A client process of a run: workers that record what they see in a file, and tell the driver where their locks are.
//!
//! The driver speaks to it in lines: `aim PHASE` asks for a line `phase PHASE` at the next moment when a lock comes into
//! it; `stop`, or the end of its input, ends it in an orderly way. It says `granted N` again and again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use leasehold_client::{CancellationToken, Client, ClientOptions};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::phase::Phase;
use super::recording::{PhaseWatch, Recording, say};
use super::resource::{self, Resources};
use super::target::TargetName;
use crate::failover::{Competitor, EtcdLocker, Habits, LeaseholdLocker, Locker};
use crate::history::Journal;
use crate::workload::{WorkloadOptions, drive};

/// Between two words about the grants so far.
const TELL_EVERY: Duration = Duration::from_millis(100);
/// How long an orderly end may take.
const SETTLE_MAX: Duration = Duration::from_secs(3);
const AFTER_ERROR: Duration = Duration::from_millis(100);

/// What a client process is started with.
#[derive(Debug, Clone, clap::Args)]
pub struct ClientArgs {
    /// Where the nodes are: HOST:PORT,…
    #[arg(long, value_delimiter = ',')]
    pub endpoints: Vec<String>,
    /// The file that everything is recorded in; must not exist
    #[arg(long)]
    pub journal: PathBuf,
    /// Number of its first worker
    #[arg(long)]
    pub first_worker: u32,
    /// How many workers
    #[arg(long)]
    pub workers: u32,
    /// Locks that all compete for
    #[arg(long)]
    pub locks: u32,
    /// What all random choices follow from
    #[arg(long)]
    pub seed: u64,
}

/// How clients compete that are to be compared: mostly for a moment, so that a gap shows.
fn habits(locks: u32) -> Habits {
    Habits {
        names: locks,
        // The least that etcd grants with its own times, in its whole seconds.
        ttl: Duration::from_secs(2),
        wait: Duration::from_secs(4),
        away_one_in: 0,
        stays: Duration::from_millis(60),
        stays_long: (Duration::from_secs(3), 10),
        forgets_one_in: 20,
    }
}

/// Does everything that a client of Leasehold can do, until it is told to stop.
pub async fn everything(args: ClientArgs) -> Result<()> {
    let folder = args.journal.parent().unwrap_or(Path::new("."));
    let resources = Resources::open(&resource::path(folder))?;
    let options = WorkloadOptions {
        clients: args.workers,
        locks: args.locks,
        outside: Some(Arc::new(resources)),
        ..WorkloadOptions::new(args.seed)
    };
    at_work(&args, |number, recording, journal, stop| {
        let mut client_options = ClientOptions::new(args.endpoints.iter().cloned());
        client_options.owner = format!("worker-{number}");
        client_options.session_ttl = options.session_ttl;
        client_options.observer = Some(recording);
        let options = options.clone();
        async move {
            let connected = until_connected(&stop, || Client::connect(client_options.clone())).await;
            let Some(client) = connected else { return };
            drive(number, client.clone(), &options, Arc::new(journal), stop).await;
            client.settle(SETTLE_MAX).await;
            client.close();
        }
    })
    .await
}

/// Competes for locks, the same way with every target, until it is told to stop.
pub async fn compete(target: TargetName, args: ClientArgs) -> Result<()> {
    at_work(&args, |number, recording, _, stop| {
        let (endpoints, habits, seed) = (args.endpoints.clone(), habits(args.locks), args.seed);
        async move {
            match target {
                TargetName::Leasehold => {
                    let connect = || LeaseholdLocker::connect(endpoints.clone(), format!("worker-{number}"));
                    compete_with(until_connected(&stop, connect).await, number, habits, seed, recording, stop).await;
                }
                TargetName::Etcd => {
                    let locker = EtcdLocker::new(endpoints.iter().map(String::as_str), number as usize);
                    compete_with(locker.ok(), number, habits, seed, recording, stop).await;
                }
            }
        }
    })
    .await
}

async fn compete_with<L: Locker>(
    locker: Option<L>,
    number: u32,
    habits: Habits,
    seed: u64,
    recording: Arc<Recording>,
    stop: CancellationToken,
) {
    if let Some(locker) = locker {
        Competitor::new(locker, number, habits, seed, recording).run(stop).await;
    }
}

/// Lets all workers of a process work until it is told to stop.
async fn at_work<F>(
    args: &ClientArgs,
    worker: impl Fn(u32, Arc<Recording>, Journal, CancellationToken) -> F,
) -> Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let journal = Journal::create(&args.journal)?;
    let (stop, watch) = (CancellationToken::new(), Arc::new(PhaseWatch::default()));
    let mut workers = JoinSet::new();
    for number in args.first_worker..args.first_worker + args.workers {
        let recording = Arc::new(Recording::new(number, journal.clone(), watch.clone()));
        workers.spawn(worker(number, recording, journal.clone(), stop.clone()));
    }
    tokio::select! {
        () = obey(&watch) => {}
        () = tell(&watch) => {}
    }
    stop.cancel();
    while workers.join_next().await.is_some() {}
    say("done");
    Ok(())
}

/// Until there is a node to talk to.
async fn until_connected<T, E, F>(stop: &CancellationToken, connect: impl Fn() -> F) -> Option<T>
where
    F: Future<Output = Result<T, E>>,
{
    while !stop.is_cancelled() {
        match connect().await {
            Ok(client) => return Some(client),
            Err(_) => sleep(AFTER_ERROR).await,
        }
    }
    None
}

async fn obey(watch: &PhaseWatch) {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if line == "stop" {
            return;
        }
        if let Some(phase) = line.strip_prefix("aim ").and_then(Phase::of_name) {
            watch.aim(phase);
        }
    }
}

async fn tell(watch: &PhaseWatch) {
    loop {
        say(&format!("granted {}", watch.grants()));
        sleep(TELL_EVERY).await;
    }
}
