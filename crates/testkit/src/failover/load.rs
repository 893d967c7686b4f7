//! A steady load: clients that take and give back locks of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::{Locker, Target};
use crate::clock::Moment;

/// Between two cycles of one client: a load that leaves the machine time for its nodes.
const PAUSE: Duration = Duration::from_millis(5);
/// Longer than any test of a gap.
const TTL: Duration = Duration::from_secs(10);
/// One attempt; then the next.
const ATTEMPT_MAX: Duration = Duration::from_secs(1);

/// When each client was granted something.
type Grants = Arc<Mutex<Vec<Moment>>>;

/// Clients at work.
pub(super) struct Load {
    clients: Vec<Grants>,
    failures: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Load {
    pub(super) async fn start<T: Target>(target: &T, clients: usize) -> Result<Self> {
        let mut load =
            Self { clients: Vec::new(), failures: Arc::default(), stop: Arc::default(), tasks: JoinSet::new() };
        for number in 0..clients {
            let grants = Grants::default();
            let locker = target.locker(number).await?;
            load.tasks.spawn(work(locker, number, grants.clone(), load.failures.clone(), load.stop.clone()));
            load.clients.push(grants);
        }
        Ok(load)
    }

    /// Whether every client was granted something after that moment.
    pub(super) fn all_served_after(&self, moment: Moment) -> bool {
        self.clients.iter().all(|grants| grants.lock().last().is_some_and(|last| *last > moment))
    }

    /// Takes the moments of all grants so far, one list a client; each keeps its last one.
    pub(super) fn take(&self) -> Vec<Vec<Moment>> {
        let take = |grants: &Grants| {
            let mut grants = grants.lock();
            let kept = grants.last().copied().into_iter().collect();
            std::mem::replace(&mut *grants, kept)
        };
        self.clients.iter().map(take).collect()
    }

    /// How many attempts ended without a grant so far.
    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    pub(super) async fn finish(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn work<L: Locker>(
    mut locker: L,
    number: usize,
    grants: Grants,
    failures: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) {
    let mut cycle = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        // A name of its own each time: what was lost with a leader stands in nobody's way.
        cycle += 1;
        match locker.lock(&format!("served-{number}-{cycle}"), TTL, ATTEMPT_MAX, true).await {
            Ok(Some(hold)) => {
                grants.lock().push(Moment::now());
                // One whose release gets lost runs out by itself.
                let _released = tokio::time::timeout(ATTEMPT_MAX, locker.unlock(hold)).await;
            }
            Ok(None) | Err(_) => {
                failures.fetch_add(1, Ordering::Relaxed);
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}
