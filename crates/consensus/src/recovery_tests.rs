//! Log, checkpoint and snapshot that a crash left at different positions.

use leasehold_state_machine::{EntryId, LEVEL_MAX, LeaderStamp};
use openraft::entry::EntryPayload;
use openraft::storage::{IOFlushed, RaftLogStorage as _};
use openraft::type_config::TypeConfigExt as _;
use tempfile::TempDir;

use super::*;
use crate::types::{Entry, LeaderId, LogId, TypeConfig};

const LEADER: LeaderStamp = LeaderStamp { term: 2, node: 1 };

fn id(index: u64) -> LogId {
    LogId { leader_id: LeaderId { term: LEADER.term, node_id: LEADER.node }, index }
}

fn applied_through(index: u64) -> StateMachine {
    let mut state = StateMachine::new();
    state.apply_blank(EntryId { leader: LEADER, index });
    state
}

/// A folder whose log holds the entries `from..=to`, whose checkpoint is of entry `checkpoint`.
async fn left(from: u64, to: u64, checkpoint: u64) -> (TempDir, DataDir) {
    let folder = TempDir::new().unwrap();
    let dir = DataDir::lock(folder.path()).unwrap();
    let mut log = LogStore::open(&dir.log(), &Media::files()).unwrap();
    let (done, flushed) = TypeConfig::oneshot();
    let entries: Vec<Entry> = (0..=to).map(|index| Entry { log_id: id(index), payload: EntryPayload::Blank }).collect();
    log.append(entries, IOFlushed::signal(done)).await.unwrap();
    flushed.await.unwrap().unwrap();
    if from > 0 {
        log.purge_through(id(from - 1)).await.unwrap();
    }
    let store = Checkpoint::open(&dir.checkpoint()).unwrap();
    store.write(applied_through(checkpoint).take_changes()).unwrap();
    store.flush().unwrap();
    (folder, dir)
}

#[tokio::test]
async fn a_checkpoint_within_the_log_is_what_a_node_goes_on_from() {
    let (_folder, dir) = left(3, 9, 5).await;
    let found = recover(&dir, Media::files(), LEVEL_MAX).await.unwrap();
    assert_eq!((index_of(&found.state), found.log.last()), (Some(5), Some(id(9))));
}

/// It would go on over a gap, with other tables than everybody else.
#[tokio::test]
async fn a_checkpoint_behind_the_purge_point_is_not_used() {
    let (_folder, dir) = left(8, 9, 5).await;
    let error =
        recover(&dir, Media::files(), LEVEL_MAX).await.err().expect("nothing is left to go on from").to_string();
    assert!(error.contains("begins after entry 7"), "{error}");
    SnapshotFile::write_state(&dir.snapshots(), &mut applied_through(8)).unwrap();
    let found = recover(&dir, Media::files(), LEVEL_MAX).await.unwrap();
    assert_eq!(index_of(&found.state), Some(8));
}

/// A follower applies before its own flush. openraft takes a log that ends before the applied state for a lost one.
#[tokio::test]
async fn a_log_that_ends_before_the_checkpoint_is_purged_through_it() {
    let (_folder, dir) = left(3, 9, 20).await;
    let found = recover(&dir, Media::files(), LEVEL_MAX).await.unwrap();
    assert_eq!(index_of(&found.state), Some(20));
    assert_eq!((found.log.purged(), found.log.last()), (Some(id(20)), Some(id(20))));
}

/// Before there is a snapshot, the log has it all.
#[tokio::test]
async fn a_checkpoint_that_was_cut_off_is_made_anew_from_the_log() {
    let (_folder, dir) = left(0, 9, 5).await;
    let store = Checkpoint::open(&dir.checkpoint()).unwrap();
    let rows = std::iter::once((b"a".to_vec(), Vec::new())).chain(std::iter::from_fn(|| panic!("cut off")));
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| store.replace(rows))).unwrap_err();
    assert!(store.is_replacing());
    store.flush().unwrap();
    drop(store);
    let found = recover(&dir, Media::files(), LEVEL_MAX).await.unwrap();
    assert_eq!((index_of(&found.state), found.log.last()), (None, Some(id(9))));
    // It can be written again.
    found.checkpoint.write(applied_through(7).take_changes()).unwrap();
    assert_eq!(found.checkpoint.load().unwrap().as_ref().and_then(index_of), Some(7));
}
