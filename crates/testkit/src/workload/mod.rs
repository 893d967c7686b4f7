//! Concurrent clients that do everything a client can, and record what they see.

mod wire;
mod worker;

pub use wire::Wire;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use leasehold_client::{CancellationToken, Client, ClientOptions};
use tokio::task::JoinSet;

use crate::cluster::{PATIENCE, eventually};
use crate::history::{History, Recorder, Sink};
use worker::Worker;

/// Resources outside of the cluster, one for each lock, that clients change while they hold it: they read, and write back what
/// they made of it.
pub trait Outside: fmt::Debug + Send + Sync + 'static {
    /// What is there.
    fn read(&self, worker: u32, lock: &str, token: u64) -> Version;
    /// Writes back what was made of that.
    fn write(&self, lock: &str, token: u64, read: Version);
}

/// What a client read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Version {
    /// Of the resource that is guarded by tokens; None: it was refused there.
    pub guarded: Option<u64>,
    /// Of the one that is not.
    pub unguarded: u64,
}

/// How many clients do what.
#[derive(Debug, Clone)]
pub struct WorkloadOptions {
    /// Concurrent clients, each with connections of its own.
    pub clients: u32,
    /// Locks that they compete for.
    pub locks: u32,
    /// Shortest and longest time to live that they ask for, in ms.
    pub ttl_ms: (u64, u64),
    /// Time to live of the clients' sessions.
    pub session_ttl: Duration,
    /// Whether there is one client more for every endpoint that knows no other: the rest gather at nodes that have not failed them.
    pub one_for_each_endpoint: bool,
    /// What all random choices follow from.
    pub seed: u64,
    /// What clients change under the locks that they hold alone.
    pub outside: Option<Arc<dyn Outside>>,
}

impl WorkloadOptions {
    /// Eight clients, four locks, leases of 1 to 2 seconds, sessions of 1.5.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let session_ttl = Duration::from_millis(1_500);
        let (clients, locks, ttl_ms) = (8, 4, (1_000, 2_000));
        Self { clients, locks, ttl_ms, session_ttl, one_for_each_endpoint: false, seed, outside: None }
    }
}

/// One client at work until `stop`, on whatever runtime and network its options name; what it sends and hears is in `wire`.
pub async fn work(
    number: u32,
    mut client_options: ClientOptions,
    options: &WorkloadOptions,
    (wire, recorder): (Arc<Wire>, Recorder),
    stop: CancellationToken,
) -> Result<()> {
    client_options.owner = format!("worker-{number}");
    client_options.session_ttl = options.session_ttl;
    client_options.observer = Some(wire);
    let client = Client::connect(client_options).await?;
    Worker::new(number, client.clone(), options, Arc::new(recorder)).run(stop).await;
    client.settle(SETTLE_MAX).await;
    client.close();
    Ok(())
}

/// Clients at work.
#[derive(Debug)]
pub struct Workload {
    recorder: Recorder,
    wires: Vec<Arc<Wire>>,
    clients: Vec<Client>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

/// One client at work until it is told to stop. What it sends and hears is its client's observer's to record; what it
/// believes goes to `sink`.
pub async fn drive(
    number: u32,
    client: Client,
    options: &WorkloadOptions,
    sink: Arc<dyn Sink>,
    stop: CancellationToken,
) {
    Worker::new(number, client, options, sink).run(stop).await;
}

/// How long clients that were told to stop may take to release and cancel what they have under way.
const SETTLE_MAX: Duration = Duration::from_secs(5);

impl Workload {
    /// Connects the clients and lets them go.
    pub async fn start(endpoints: &[String], options: &WorkloadOptions, recorder: &Recorder) -> Result<Self> {
        let stop = CancellationToken::new();
        let mut workload =
            Self { recorder: recorder.clone(), wires: Vec::new(), clients: Vec::new(), tasks: JoinSet::new(), stop };
        let of_one = endpoints.chunks(1).filter(|_| options.one_for_each_endpoint);
        let of_all = (0..options.clients).map(|_| endpoints);
        for (number, endpoints) in (0..).zip(of_all.chain(of_one)) {
            let wire = Arc::new(Wire::new(number));
            let mut client_options = ClientOptions::new(endpoints.iter().cloned());
            client_options.owner = format!("worker-{number}");
            client_options.session_ttl = options.session_ttl;
            client_options.observer = Some(wire.clone());
            let client = Client::connect(client_options).await?;
            let worker = Worker::new(number, client.clone(), options, Arc::new(recorder.clone()));
            let stop = workload.stop.clone();
            workload.tasks.spawn(async move { worker.run(stop).await });
            workload.wires.push(wire);
            workload.clients.push(client);
        }
        Ok(workload)
    }

    /// How many acquires were granted so far.
    #[must_use]
    pub fn granted(&self) -> u64 {
        self.wires.iter().map(|wire| wire.granted()).sum()
    }

    /// Waits for so many more grants: the cluster serves.
    pub async fn progress(&self, more: u64) -> Result<()> {
        let enough = self.granted() + more;
        let condition = format!("{more} more grants");
        eventually(PATIENCE, &condition, || async { (self.granted() >= enough).then_some(()) }).await
    }

    /// Ends the clients and takes the history of the run.
    pub async fn finish(&mut self) -> History {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        for client in &self.clients {
            client.settle(SETTLE_MAX).await;
            client.close();
        }
        for wire in &self.wires {
            for record in wire.take() {
                self.recorder.push(record);
            }
        }
        self.recorder.take()
    }
}
