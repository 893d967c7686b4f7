//! What is told while the disk has not answered yet: the test says when it does, and what.

use std::future::Future as _;
use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use leasehold_state_machine::storage::{Checkpoint, CheckpointError};
use openraft::entry::EntryPayload;
use openraft::storage::{IOFlushed, RaftLogStorage as _};
use openraft::type_config::TypeConfigExt as _;
use parking_lot::Mutex;
use tempfile::TempDir;

use super::wal::WalState;
use super::{LogStore, MarkBytes, StoredLogId, StoredPayload, StoredVote, Synced, Wal};
use crate::media::{Disk, Media};
use crate::types::{Entry, LeaderId, LogId, TypeConfig, Vote};

/// The syncs that were begun and not answered.
type Owed = Arc<Mutex<Vec<Synced>>>;

/// Files whose log is synced when the test says so.
struct Slow {
    files: Media,
    owed: Owed,
}

impl Disk for Slow {
    fn open_log(&self, dir: &Path) -> io::Result<Box<dyn Wal>> {
        Ok(Box::new(SlowWal { wal: self.files.disk().open_log(dir)?, owed: Arc::clone(&self.owed) }))
    }

    fn open_mark(&self, path: &Path) -> io::Result<Box<dyn MarkBytes>> {
        self.files.disk().open_mark(path)
    }

    fn open_checkpoint(&self, dir: &Path) -> Result<Checkpoint, CheckpointError> {
        self.files.disk().open_checkpoint(dir)
    }

    fn discard_checkpoint(&self, dir: &Path) -> io::Result<()> {
        self.files.disk().discard_checkpoint(dir)
    }
}

struct SlowWal {
    wal: Box<dyn Wal>,
    owed: Owed,
}

impl Wal for SlowWal {
    fn state(&self) -> WalState {
        self.wal.state()
    }

    fn read(&self, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<(StoredLogId, StoredPayload)>> {
        self.wal.read(from, to, bytes_max)
    }

    fn append(&mut self, entries: &mut dyn Iterator<Item = (StoredLogId, StoredPayload)>) -> io::Result<()> {
        self.wal.append(entries)
    }

    fn truncate(&mut self, from: u64) -> io::Result<()> {
        self.wal.truncate(from)
    }

    fn purge(&mut self, through: StoredLogId) -> io::Result<()> {
        self.wal.purge(through)
    }

    fn save_vote(&mut self, vote: StoredVote) -> io::Result<()> {
        self.wal.save_vote(vote)
    }

    fn commit(&mut self, through: StoredLogId) -> io::Result<()> {
        self.wal.commit(through)
    }

    fn sync(&mut self, done: Synced) -> io::Result<()> {
        self.owed.lock().push(done);
        Ok(())
    }
}

fn open(dir: &Path) -> (LogStore, Owed) {
    let owed = Owed::default();
    let disk = Slow { files: Media::files(), owed: Arc::clone(&owed) };
    (LogStore::open(dir, &Media::new(Arc::new(disk))).unwrap(), owed)
}

/// The one sync that is under way.
fn under_way(owed: &Owed) -> Synced {
    let mut owed = owed.lock();
    assert_eq!(owed.len(), 1, "one sync at a time");
    owed.pop().unwrap()
}

fn entry(index: u64) -> Entry {
    Entry { log_id: LogId { leader_id: LeaderId { term: 3, node_id: 1 }, index }, payload: EntryPayload::Blank }
}

fn vote(term: u64) -> Vote {
    Vote { leader_id: LeaderId { term, node_id: 2 }, committed: false }
}

#[tokio::test]
async fn nothing_is_acknowledged_before_it_is_synced() {
    let dir = TempDir::new().unwrap();
    let (mut log, owed) = open(dir.path());
    let (done, flushed) = TypeConfig::oneshot();
    log.append([entry(0)], IOFlushed::signal(done)).await.unwrap();
    let mut flushed = pin!(flushed);
    let mut looking = Context::from_waker(Waker::noop());
    let sync = under_way(&owed);
    assert!(flushed.as_mut().poll(&mut looking).is_pending(), "acknowledged before its sync was done");
    // What comes while a sync is under way is not in it.
    let (done, later) = TypeConfig::oneshot();
    log.append([entry(1)], IOFlushed::signal(done)).await.unwrap();
    let mut later = pin!(later);
    sync.report(Ok(()));
    flushed.await.unwrap().unwrap();
    assert!(later.as_mut().poll(&mut looking).is_pending(), "acknowledged by a sync that began before it");
}

#[tokio::test]
async fn a_vote_is_given_only_once_it_is_on_disk() {
    let dir = TempDir::new().unwrap();
    let (mut log, owed) = open(dir.path());
    let given = vote(4);
    {
        let mut saving = pin!(log.save_vote(&given));
        let mut looking = Context::from_waker(Waker::noop());
        assert!(saving.as_mut().poll(&mut looking).is_pending(), "given before it was synced");
        under_way(&owed).report(Ok(()));
        assert!(matches!(saving.as_mut().poll(&mut looking), Poll::Ready(Ok(()))));
    }
}

/// The kernel tells of a failed write once, and drops the pages: what the disk says to the next sync means nothing.
#[tokio::test]
async fn after_a_failed_fsync_nothing_is_acknowledged_any_more() {
    let dir = TempDir::new().unwrap();
    let (mut log, owed) = open(dir.path());
    let (done, flushed) = TypeConfig::oneshot();
    log.append([entry(0)], IOFlushed::signal(done)).await.unwrap();
    under_way(&owed).report(Err(io::Error::other("a sector is gone")));
    flushed.await.unwrap().unwrap_err();
    for index in 1..3 {
        let (done, flushed) = TypeConfig::oneshot();
        log.append([entry(index)], IOFlushed::signal(done)).await.unwrap();
        assert!(owed.lock().is_empty(), "it is not tried again");
        let error = flushed.await.unwrap().unwrap_err().to_string();
        assert!(error.contains("a sector is gone"), "{error}");
    }
}
