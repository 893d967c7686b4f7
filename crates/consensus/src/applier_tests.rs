//! What applying an entry does to the clocks.

use std::sync::atomic::{AtomicU64, Ordering};

use leasehold_state_machine::{Event, LEVEL_MAX, LeaderStamp, LogTime};
use tempfile::TempDir;

use super::*;
use crate::ApplyObserver;
use crate::clock::{Clock, TimeSource};
use crate::media::Media;
use crate::recovery::{DataDir, recover};
use crate::types::LeaderId;

const LEADER: LeaderStamp = LeaderStamp { term: 1, node: 1 };
const START_MS: u64 = 100_000;

struct Deaf;

impl ApplyObserver for Deaf {
    fn applied(&self, _: Arc<[Event]>, _: &StateMachine) {}
    fn reset(&self, _: &StateMachine) {}
}

/// Real time as the test says.
struct Hands(AtomicU64);

impl TimeSource for Hands {
    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }

    fn unix(&self) -> Duration {
        self.monotonic()
    }
}

/// The applier of a node that has just become the leader, at log time 0.
struct Leading {
    applier: Applier,
    hands: Arc<Hands>,
    next: u64,
    _folder: TempDir,
}

impl Leading {
    async fn begin() -> Self {
        let folder = TempDir::new().unwrap();
        let dir = DataDir::lock(folder.path()).unwrap();
        let found = recover(&dir, Media::files(), LEVEL_MAX).await.unwrap();
        let hands = Arc::new(Hands(AtomicU64::new(START_MS)));
        let shared = Shared::new(Clock::new(hands.clone()), found.state, 0, LEVEL_MAX, Arc::new(Deaf));
        let checkpointer = Checkpointer::new(Arc::clone(&shared), found.checkpoint);
        let snapshots = Arc::new(Snapshots { dir: dir.snapshots(), newest: Mutex::new(None) });
        let applier = Applier::new(LEADER.node, shared, checkpointer, snapshots);
        let mut leading = Self { applier, hands, next: 1, _folder: folder };
        leading.apply(&EntryPayload::Blank);
        leading
    }

    fn passes(&self, ms: u64) {
        self.hands.0.fetch_add(ms, Ordering::Relaxed);
    }

    /// What the leader would write into an entry now.
    fn stamp(&self) -> LogTime {
        let shared = &self.applier.shared;
        shared.leader_clock.lock().stamp(shared.now(), shared.clock.monotonic(), true).unwrap().0
    }

    fn apply(&mut self, payload: &EntryPayload<BatchBytes, u64, Member>) {
        let leader_id = LeaderId { term: LEADER.term, node_id: LEADER.node };
        self.applier.apply_entry(LogId { leader_id, index: self.next }, payload).unwrap();
        self.next += 1;
    }

    fn apply_stamped(&mut self, at: LogTime) {
        self.apply(&EntryPayload::Normal(BatchBytes(codec::encode_batch(at, LEADER, &[]))));
    }
}

#[tokio::test]
async fn the_time_of_an_entry_is_its_stamp_and_no_nodes_clock() {
    let mut leading = Leading::begin().await;
    leading.passes(100);
    let at = leading.stamp();
    assert_eq!(at, LogTime(100));
    // It takes its time until a quorum has it; meanwhile the leader's clock runs on, and the followers know nothing of that.
    leading.passes(700);
    leading.apply_stamped(at);
    assert_eq!(leading.applier.shared.now(), at);
}

/// Both followers go away for 30 s under a leader that stays leader, with entries on their way to them.
#[tokio::test]
async fn what_an_entry_waited_for_is_not_counted() {
    let mut leading = Leading::begin().await;
    let mut stamps = Vec::new();
    for _ in 0..8 {
        leading.passes(100);
        stamps.push(leading.stamp());
    }
    assert_eq!(stamps.last(), Some(&LogTime(800)));
    leading.passes(30_000);
    for at in stamps {
        leading.apply_stamped(at);
    }
    // The clock was clamped to a second beyond what was applied before the outage ended.
    leading.passes(1);
    assert!(leading.stamp() <= LogTime(1_001), "{}", leading.stamp());
}
