//! Where apply leaves events, and where watchers find them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use leasehold_consensus::ApplyObserver;
use leasehold_state_machine::{Event, Revision, StateMachine};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::filter::Filter;
use super::interests::{Interests, Signal};
use super::ring::{Chunk, Gone, Ring, RingBounds, all_of};
use crate::{CallError, FrontendOptions};

/// Entries that are taken out of the ring at once: apply waits meanwhile.
const ENTRIES_PER_READ: usize = 256;

/// The events and the watchers of one node.
#[derive(Debug)]
pub(crate) struct Hub {
    ring: Mutex<Ring>,
    /// Wakes the task that rings the watchers.
    news: Notify,
    interests: Mutex<Interests>,
    /// How many there are. Apply wakes nobody when there are none.
    watches: AtomicUsize,
    watches_max: usize,
    /// Index of the entry up to which all watchers were rung.
    rung_through: AtomicU64,
    stop: CancellationToken,
}

/// A place among the watches of a node; dropping it frees it.
#[derive(Debug)]
pub(crate) struct Place {
    hub: Arc<Hub>,
    filter: Filter,
    key: u64,
    signal: Arc<Signal>,
}

impl Hub {
    /// With bounds from the options.
    pub(crate) fn new(options: &FrontendOptions) -> Arc<Self> {
        let bounds = RingBounds { events_max: options.watch_events_max, bytes_max: options.watch_bytes_max };
        Arc::new(Self {
            ring: Mutex::new(Ring::new(bounds)),
            news: Notify::new(),
            interests: Mutex::default(),
            watches: AtomicUsize::new(0),
            watches_max: options.watches_max,
            rung_through: AtomicU64::new(0),
            stop: CancellationToken::new(),
        })
    }

    /// Rings the watchers that events concern, until the hub is closed.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut read = all_of(0);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.news.notified() => {}
            }
            while self.ring_watchers(&mut read) {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Rings for what follows `read`, and moves it on. True when more follows.
    fn ring_watchers(&self, read: &mut Revision) -> bool {
        let more = match self.after(*read) {
            Ok(chunk) => {
                let interests = self.interests.lock();
                let entries = chunk.entries.iter().flat_map(|events| events.iter());
                entries.filter(|event| event.revision > *read).for_each(|event| interests.ring(event));
                *read = chunk.through;
                chunk.more
            }
            Err(gone) => {
                self.interests.lock().ring_everybody(*read);
                *read = gone.oldest;
                true
            }
        };
        // Only now: whoever sees this has been rung.
        self.rung_through.store(read.index, Ordering::Release);
        more
    }

    /// Ends all watches and takes no more.
    pub(crate) fn close(&self) {
        self.stop.cancel();
    }

    /// Resolves when the hub is closed.
    pub(super) async fn closed(&self) {
        self.stop.cancelled().await;
    }

    /// Takes a place for one watch.
    pub(super) fn enter(self: &Arc<Self>, filter: Filter) -> Result<Place, CallError> {
        if self.stop.is_cancelled() {
            return Err(CallError::Stopping);
        }
        let mut interests = self.interests.lock();
        if interests.len() >= self.watches_max {
            return Err(CallError::LimitReached { limit: "watches_max", max: self.watches_max });
        }
        let signal = Arc::new(Signal::default());
        let key = interests.insert(&filter, Arc::clone(&signal));
        // Before the watcher looks into the ring: what is not there then is pushed by somebody who sees this.
        self.watches.store(interests.len(), Ordering::SeqCst);
        // Nobody was rung while nobody watched.
        self.news.notify_one();
        Ok(Place { hub: Arc::clone(self), filter, key, signal })
    }

    /// Watchers that were not rung have nothing to read up to here, if they asked for this first and for the ring then.
    pub(super) fn rung_through(&self) -> Revision {
        all_of(self.rung_through.load(Ordering::Acquire))
    }

    /// What follows a revision, a part at a time.
    pub(super) fn after(&self, revision: Revision) -> Result<Chunk, Gone> {
        self.ring.lock().after(revision, ENTRIES_PER_READ)
    }

    #[cfg(test)]
    pub(crate) fn watches(&self) -> usize {
        self.interests.lock().len()
    }

    /// Whether the task that rings the watchers was woken since this was asked last.
    #[cfg(test)]
    pub(crate) fn is_woken(&self) -> bool {
        use futures_util::FutureExt;
        self.news.notified().now_or_never().is_some()
    }
}

impl ApplyObserver for Hub {
    fn applied(&self, events: Arc<[Event]>, state: &StateMachine) {
        let index = state.applied().map_or(0, |entry| entry.index);
        self.ring.lock().push(index, events);
        if self.watches.load(Ordering::SeqCst) > 0 {
            self.news.notify_one();
        }
    }

    fn reset(&self, state: &StateMachine) {
        self.ring.lock().begin_after(state.applied().map_or(0, |entry| entry.index));
        self.news.notify_one();
    }
}

impl Place {
    pub(super) fn hub(&self) -> &Hub {
        &self.hub
    }

    pub(super) fn filter(&self) -> &Filter {
        &self.filter
    }

    pub(super) fn signal(&self) -> &Signal {
        &self.signal
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut interests = self.hub.interests.lock();
        interests.remove(&self.filter, self.key);
        self.hub.watches.store(interests.len(), Ordering::SeqCst);
    }
}
