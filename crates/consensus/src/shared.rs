//! What the tasks of one node share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use leasehold_state_machine::{LogTime, StateMachine};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};

use crate::clock::Clock;
use crate::divergence::Positions;
use crate::leader_clock::LeaderClock;
use crate::level::LevelGuard;
use crate::node::ApplyObserver;

/// State that the apply task writes and others read.
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    /// One writer: the applier. Readers hold the lock shortly.
    pub(crate) state: RwLock<StateMachine>,
    /// Advanced by the applier and the proposer.
    pub(crate) leader_clock: Mutex<LeaderClock>,
    /// Index of the last applied entry; read barriers wait on it.
    pub(crate) applied: watch::Sender<u64>,
    pub(crate) observer: Arc<dyn ApplyObserver>,
    /// State hashes that nodes compare. Recorded by the applier.
    pub(crate) positions: Mutex<Positions>,
    /// What this node may apply.
    pub(crate) level: LevelGuard,
    /// Wakes the proposer: its clock started, a deadline came closer, or an entry of its own was applied.
    pub(crate) proposer_wake: Notify,
    /// The earliest pending deadline after the last applied entry; `u64::MAX` for none.
    earliest_deadline: AtomicU64,
    /// Applied log time, for readers that need nothing else.
    now: AtomicU64,
    /// The format level after the last applied entry.
    level_in_force: AtomicU32,
    /// Monotonic time, in ms, of the last word from a leader; 0 for never.
    leader_contact_ms: AtomicU64,
}

impl Shared {
    pub(crate) fn new(
        clock: Clock,
        state: StateMachine,
        drift_max_ppm: u32,
        level_max: u32,
        observer: Arc<dyn ApplyObserver>,
    ) -> Arc<Self> {
        let shared = Self {
            clock,
            leader_clock: Mutex::new(LeaderClock::new(drift_max_ppm)),
            applied: watch::Sender::new(state.applied().map_or(0, |entry| entry.index)),
            observer,
            positions: Mutex::default(),
            level: LevelGuard::new(level_max),
            proposer_wake: Notify::new(),
            earliest_deadline: AtomicU64::new(u64::MAX),
            now: AtomicU64::new(0),
            level_in_force: AtomicU32::new(0),
            leader_contact_ms: AtomicU64::new(0),
            state: RwLock::new(state),
        };
        {
            let state = shared.state.read();
            shared.publish(&state);
            shared.observer.reset(&state);
        }
        Arc::new(shared)
    }

    /// Publishes what the proposer and callers need of a state that was just changed.
    pub(crate) fn publish(&self, state: &StateMachine) {
        let earliest = state.earliest_deadline().map_or(u64::MAX, |deadline| deadline.0);
        self.now.store(state.now().0, Ordering::Release);
        self.level_in_force.store(state.level(), Ordering::Release);
        if self.earliest_deadline.swap(earliest, Ordering::AcqRel) > earliest {
            self.proposer_wake.notify_one();
        }
    }

    /// The state hash after the last applied entry, and that entry's index; None before the first.
    pub(crate) fn current_hash(&self) -> Option<(u64, u128)> {
        let mut state = self.state.write();
        let index = state.applied()?.index;
        Some((index, state.state_hash()))
    }

    /// The format level by what this node has applied; the lowest there is before the cluster was founded.
    pub(crate) fn level_in_force(&self) -> u32 {
        self.level_in_force.load(Ordering::Acquire)
    }

    /// Applied log time.
    pub(crate) fn now(&self) -> LogTime {
        LogTime(self.now.load(Ordering::Acquire))
    }

    pub(crate) fn earliest_deadline(&self) -> Option<LogTime> {
        match self.earliest_deadline.load(Ordering::Acquire) {
            u64::MAX => None,
            deadline => Some(LogTime(deadline)),
        }
    }

    /// Notes that a leader was heard of just now.
    pub(crate) fn note_leader_contact(&self) {
        let ms = u64::try_from(self.clock.monotonic().as_millis()).unwrap_or(u64::MAX).max(1);
        self.leader_contact_ms.store(ms, Ordering::Release);
    }

    /// Time since a leader was heard of; None for never.
    pub(crate) fn since_leader_contact(&self) -> Option<Duration> {
        match self.leader_contact_ms.load(Ordering::Acquire) {
            0 => None,
            at => Some(self.clock.monotonic().saturating_sub(Duration::from_millis(at))),
        }
    }
}
