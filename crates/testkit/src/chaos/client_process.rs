//! A client process of a run: workers that record what they see in a file, and tell the driver where their locks are.
//!
//! The driver speaks to it in lines: `aim PHASE` asks for a line `phase PHASE` at the next moment when a lock comes into
//! it; `stop`, or the end of its input, ends it in an orderly way. It says `granted N` again and again.

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use leasehold_client::{CancellationToken, Client, ClientOptions, Observer};
use leasehold_proto::v1::acquire_response::Result as Acquired;
use leasehold_proto::v1::{self, answer::Answer, operation::Operation};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::phase::Phase;
use crate::history::Journal;
use crate::workload::{WorkloadOptions, drive};

/// Between two words about the grants so far.
const TELL_EVERY: Duration = Duration::from_millis(100);
/// How long an orderly end may take.
const SETTLE_MAX: Duration = Duration::from_secs(3);
/// An own lease counts as running out from this long before its end.
const BEFORE_EXPIRY: Duration = Duration::from_millis(30);
/// Acquires without answer that are kept in mind, to aim by.
const UNANSWERED_MAX: usize = 10_000;
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

/// Works until it is told to stop.
pub async fn run(args: ClientArgs) -> Result<()> {
    let journal = Journal::create(&args.journal)?;
    let (stop, watch) = (CancellationToken::new(), Arc::new(PhaseWatch::default()));
    let options = WorkloadOptions { clients: args.workers, locks: args.locks, ..WorkloadOptions::new(args.seed) };
    let mut workers = JoinSet::new();
    for number in args.first_worker..args.first_worker + args.workers {
        let recorder = Recording {
            worker: number,
            sent: AtomicU64::new(0),
            own: Mutex::default(),
            journal: journal.clone(),
            watch: watch.clone(),
        };
        let mut client_options = ClientOptions::new(args.endpoints.iter().cloned());
        client_options.owner = format!("worker-{number}");
        client_options.session_ttl = options.session_ttl;
        client_options.observer = Some(Arc::new(recorder));
        let (options, journal, stop) = (options.clone(), journal.clone(), stop.clone());
        workers.spawn(async move {
            let Some(client) = connect(client_options, &stop).await else { return };
            drive(number, client.clone(), &options, Arc::new(journal), stop).await;
            client.settle(SETTLE_MAX).await;
            client.close();
        });
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
async fn connect(options: ClientOptions, stop: &CancellationToken) -> Option<Client> {
    while !stop.is_cancelled() {
        match Client::connect(options.clone()).await {
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
            watch.with(|state| state.aim = Some(phase));
        }
    }
}

async fn tell(watch: &PhaseWatch) {
    loop {
        say(&format!("granted {}", watch.granted.load(Ordering::Relaxed)));
        sleep(TELL_EVERY).await;
    }
}

/// A driver that is gone does not listen, and this process is about to be ended then.
fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{line}");
    let _ = stdout.flush();
}

/// Where the locks of this process are.
#[derive(Debug, Default)]
struct PhaseWatch {
    granted: AtomicU64,
    state: Mutex<Watched>,
}

#[derive(Debug, Default)]
struct Watched {
    aim: Option<Phase>,
    /// Leases of their own that nobody renewed or released yet, by the number of the grant.
    own: HashMap<u64, (String, Vec<u64>)>,
    grants: u64,
}

impl PhaseWatch {
    fn with<T>(&self, work: impl FnOnce(&mut Watched) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn comes_into(&self, phase: Phase) {
        if self.with(|state| state.aim.take_if(|aim| *aim == phase)).is_some() {
            say(&format!("phase {phase}"));
        }
    }

    /// Somebody looks after this lease or these tokens: it does not just run out.
    fn tended(&self, lease: &str, tokens: &[u64]) {
        self.with(|state| {
            state.own.retain(|_, (own, held)| own != lease && !held.iter().any(|token| tokens.contains(token)));
        });
    }

    /// `ttl_ms` where the grant has a lease of its own.
    fn granted(self: &Arc<Self>, granted: &v1::Granted, ttl_ms: Option<u64>) {
        self.granted.fetch_add(1, Ordering::Relaxed);
        self.comes_into(Phase::Granted);
        let Some(ttl_ms) = ttl_ms else { return };
        let tokens = granted.grants.iter().map(|grant| grant.token).collect();
        let number = self.with(|state| {
            state.grants += 1;
            state.own.insert(state.grants, (granted.lease.clone(), tokens));
            state.grants
        });
        let (watch, left) = (self.clone(), Duration::from_millis(ttl_ms));
        tokio::spawn(async move {
            sleep(left.saturating_sub(BEFORE_EXPIRY)).await;
            if watch.with(|state| state.own.remove(&number)).is_some() {
                watch.comes_into(Phase::Expiring);
            }
        });
    }
}

/// Records what one worker's client sends and hears.
#[derive(Debug)]
struct Recording {
    worker: u32,
    sent: AtomicU64,
    /// Unanswered acquires that ask for a lease of their own, with its ttl.
    own: Mutex<HashMap<u64, u64>>,
    journal: Journal,
    watch: Arc<PhaseWatch>,
}

impl Observer for Recording {
    fn sent(&self, operation: &Operation) -> u64 {
        let number = self.journal.sent(self.worker, || self.sent.fetch_add(1, Ordering::Relaxed), operation);
        if let Operation::Acquire(acquire) = operation
            && acquire.ttl_ms > 0
        {
            let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
            if own.len() >= UNANSWERED_MAX {
                own.clear();
            }
            own.insert(number, acquire.ttl_ms);
        }
        match operation {
            Operation::Acquire(acquire) if acquire.wait_ms.is_some() => self.watch.comes_into(Phase::Waiting),
            Operation::Renew(renew) => {
                renew.leases.iter().for_each(|lease| self.watch.tended(&lease.lease, &[]));
                self.watch.comes_into(Phase::Renewing);
            }
            Operation::Release(release) => {
                let tokens: Vec<u64> = release.locks.iter().map(|lock| lock.token).chain([release.token]).collect();
                self.watch.tended("", &tokens);
                self.watch.comes_into(Phase::Releasing);
            }
            Operation::Cancel(_) | Operation::CloseLease(_) => self.watch.comes_into(Phase::Releasing),
            _ => {}
        }
        number
    }

    fn answered(&self, number: u64, answer: &Answer) {
        self.journal.answered(self.worker, number, answer);
        let ttl_ms = self.own.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        if let Answer::Acquire(v1::AcquireResponse { result: Some(Acquired::Granted(granted)) }) = answer {
            self.watch.granted(granted, ttl_ms);
        }
    }
}
