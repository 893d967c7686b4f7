//! Writes down what the clients of a process send and hear, and knows where their locks are.

use std::collections::HashMap;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use leasehold_client::Observer;
use leasehold_proto::v1::acquire_response::Result as Acquired;
use leasehold_proto::v1::{self, answer::Answer, operation::Operation};
use tokio::time::sleep;

use super::phase::Phase;
use crate::history::Journal;

/// An own lease counts as running out from this long before its end.
const BEFORE_EXPIRY: Duration = Duration::from_millis(30);
/// Acquires without answer that are kept in mind, to aim by.
const UNANSWERED_MAX: usize = 10_000;

/// To the driver. One that is gone does not listen, and this process is about to be ended then.
pub(super) fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{line}");
    let _ = stdout.flush();
}

/// Where the locks of this process are.
#[derive(Debug, Default)]
pub(super) struct PhaseWatch {
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
    /// Grants so far.
    pub(super) fn grants(&self) -> u64 {
        self.granted.load(Ordering::Relaxed)
    }

    /// Asks for a word at the next moment when a lock comes into that phase.
    pub(super) fn aim(&self, phase: Phase) {
        self.with(|state| state.aim = Some(phase));
    }

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
pub(super) struct Recording {
    worker: u32,
    sent: AtomicU64,
    /// Unanswered acquires that ask for a lease of their own, with its ttl.
    own: Mutex<HashMap<u64, u64>>,
    journal: Journal,
    watch: Arc<PhaseWatch>,
}

impl Recording {
    pub(super) fn new(worker: u32, journal: Journal, watch: Arc<PhaseWatch>) -> Self {
        Self { worker, sent: AtomicU64::new(0), own: Mutex::default(), journal, watch }
    }
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
