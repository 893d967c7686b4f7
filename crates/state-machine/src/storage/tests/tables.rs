//! Whole tables through checkpoint, crash and snapshot: the same state everywhere.

use proptest::prelude::*;

use super::super::SnapshotReceiver;
use super::*;
use crate::{
    Acquire, Batch, Command, Found, LEVEL_MAX, LeaseRequest, Limits, LockRequest, LogTime, Mode, Operation, RequestId,
    StateMachine, Wait,
};

/// Applies entries, and knows the next one.
pub(super) struct Log {
    pub(super) state: StateMachine,
    next: u64,
}

impl Log {
    pub(super) fn founded() -> Self {
        let mut log = Self { state: StateMachine::new(), next: 1 };
        log.state.apply_membership(entry(1, 1), b"three nodes".to_vec());
        log.next = 2;
        log.apply(
            0,
            Operation::Found(Found {
                cluster: CLUSTER,
                counter_start: 1 << 20,
                limits: Limits::default(),
                level: LEVEL_MAX,
            }),
        );
        log
    }

    fn apply(&mut self, step_ms: u64, operation: Operation) {
        let stamped_by = entry(0, 1).leader;
        let at = LogTime(self.state.now().0 + step_ms);
        let commands = vec![Command { principal: None, not_after: None, operation }];
        self.state.apply(entry(self.next, 1), &Batch { at, stamped_by, commands });
        self.next += 1;
    }

    pub(super) fn acquire(&mut self, lock: u32, ttl_ms: u64) {
        self.apply(
            50,
            Operation::Acquire(Acquire {
                request: RequestId { client: 7, counter: self.next },
                attempt: 1,
                lowest_unanswered: 1,
                namespace: "default".to_owned(),
                locks: vec![LockRequest { name: format!("lock-{lock}"), mode: Mode::Exclusive }],
                owner: "somebody".to_owned(),
                metadata: String::new(),
                lease: LeaseRequest::Own { ttl_ms },
                wait: Wait::For { wait_ms: 5_000 },
                actor: None,
                lock_delay_ms: 0,
                value: bytes::Bytes::new(),
            }),
        );
    }

    fn with_locks(count: u32) -> Self {
        let mut log = Self::founded();
        for lock in 0..count {
            log.acquire(lock % (count / 2).max(1), 1_000 + u64::from(lock) * 10);
        }
        log
    }
}

pub(super) fn assert_same(found: &mut StateMachine, expected: &mut StateMachine) {
    assert_eq!(found.applied(), expected.applied());
    assert_eq!(found.now(), expected.now());
    assert_eq!(found.state_hash(), expected.state_hash());
    assert_eq!(found.rows(), expected.rows());
}

#[test]
fn a_snapshot_of_a_checkpoint_holds_its_state() {
    let dir = tempfile::tempdir().unwrap();
    let (snapshots, received) = (dir.path().join("snapshots"), dir.path().join("received"));
    let checkpoint = Checkpoint::open(&dir.path().join("checkpoint")).unwrap();
    assert!(SnapshotFile::write(&snapshots, &checkpoint).unwrap().is_none(), "nothing was applied");

    let mut log = Log::with_locks(300);
    checkpoint.write(log.state.take_changes()).unwrap();
    let snapshot = SnapshotFile::write(&snapshots, &checkpoint).unwrap().unwrap();
    assert_eq!(snapshot.head.last, log.state.applied());
    assert_eq!(snapshot.head.cluster, Some(CLUSTER));
    assert_eq!(snapshot.head.membership, Some((entry(1, 1), b"three nodes".to_vec())));
    assert!(!checkpoint.is_held());
    assert_same(&mut snapshot.load().unwrap(), &mut log.state);
    assert_same(&mut checkpoint.load().unwrap().unwrap(), &mut log.state);

    // Over to an empty node, which then makes the very same file of it.
    let mut receiver = SnapshotReceiver::create(&received, Some(CLUSTER)).unwrap();
    receiver.write_chunk(&std::fs::read(&snapshot.path).unwrap()).unwrap();
    let arrived = receiver.finish().unwrap();
    let other = Checkpoint::open(&dir.path().join("other")).unwrap();
    other.install(&arrived).unwrap();
    assert_same(&mut other.load().unwrap().unwrap(), &mut log.state);
    let again = SnapshotFile::write(&dir.path().join("again"), &other).unwrap().unwrap();
    assert_eq!(std::fs::read(&again.path).unwrap(), std::fs::read(&snapshot.path).unwrap());
    let of_state = SnapshotFile::write_state(&dir.path().join("of-state"), &mut log.state).unwrap();
    assert_eq!(std::fs::read(&of_state.path).unwrap(), std::fs::read(&snapshot.path).unwrap());
}

#[test]
fn rows_without_their_state_hash_make_neither_state_nor_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint::open(&dir.path().join("checkpoint")).unwrap();
    let mut log = Log::with_locks(20);
    let mut rows = log.state.rows();
    rows.pop();
    checkpoint.replace(rows).unwrap();
    let error = checkpoint.load().unwrap_err();
    assert!(matches!(error, CheckpointError::Restore { source: crate::RestoreError::Hash { .. }, .. }), "{error}");
    assert!(error.is_discardable());
    let snapshots = dir.path().join("snapshots");
    let error = SnapshotFile::write(&snapshots, &checkpoint).unwrap_err();
    assert!(matches!(error, SnapshotError::Checkpoint(CheckpointError::Restore { .. })), "{error}");
    assert!(names_in(&snapshots).is_empty());
    assert!(!checkpoint.is_held());
}

#[test]
fn changes_of_a_state_that_did_not_begin_here_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    let mut log = Log::with_locks(20);
    drop(log.state.take_changes());
    log.acquire(999, 5_000);
    checkpoint.write(log.state.take_changes()).unwrap();
    assert!(matches!(checkpoint.load(), Err(CheckpointError::Restore { .. })));
}

#[test]
fn a_snapshot_whose_head_is_not_that_of_its_rows_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log::with_locks(20);
    let snapshot = write_snapshot(dir.path(), 4_711, 1, &log.state.rows().into_iter().collect());
    assert!(matches!(snapshot.load(), Err(SnapshotError::Damaged { .. })));
}

#[derive(Debug, Clone)]
enum Step {
    Acquire(u32, u64),
    Tick(u64),
    Checkpoint,
    Snapshot,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..12_u32, 100..4_000_u64).prop_map(|(lock, ttl_ms)| Step::Acquire(lock, ttl_ms)),
        4 => (0..900_u64).prop_map(Step::Tick),
        3 => Just(Step::Checkpoint),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_last_checkpoint_and_every_snapshot_hold_the_state_of_their_time(
        steps in prop::collection::vec(step(), 1..80)
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (folder, snapshots) = (dir.path().join("checkpoint"), dir.path().join("snapshots"));
        let mut checkpoint = Checkpoint::open(&folder).unwrap();
        let mut log = Log::founded();
        // Rows and next entry as of the last checkpoint.
        let mut saved = None;
        for step in steps {
            match step {
                Step::Acquire(lock, ttl_ms) => log.acquire(lock, ttl_ms),
                Step::Tick(ms) => log.apply(ms, Operation::Tick),
                Step::Checkpoint => {
                    checkpoint.write(log.state.take_changes()).unwrap();
                    saved = Some((log.state.rows(), log.next));
                }
                Step::Snapshot => {
                    let snapshot = SnapshotFile::write(&snapshots, &checkpoint).unwrap();
                    prop_assert_eq!(snapshot.is_some(), saved.is_some());
                    if let (Some(snapshot), Some((rows, _))) = (snapshot, &saved) {
                        prop_assert_eq!(&snapshot.load().unwrap().rows(), rows);
                        prop_assert_eq!(SnapshotFile::newest(&snapshots).unwrap().unwrap().path, snapshot.path);
                    }
                }
                Step::Crash => {
                    drop(checkpoint);
                    checkpoint = Checkpoint::open(&folder).unwrap();
                    let loaded = checkpoint.load().unwrap();
                    prop_assert_eq!(loaded.is_some(), saved.is_some());
                    log = match (loaded, &saved) {
                        (Some(mut state), Some((rows, next))) => {
                            prop_assert_eq!(&state.rows(), rows);
                            Log { state, next: *next }
                        }
                        _ => Log::founded(),
                    };
                }
            }
        }
    }
}
