//! The durable Raft log and vote: openraft's log store over the crate raft-log.
//!
//! Appends are readable at once and acknowledged after fdatasync. A failed fsync is never retried as if nothing had
//! happened: openraft stops the node on it.

#[cfg(test)]
mod crash_tests;
mod flusher;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod mark;
mod record;
#[cfg(test)]
mod sync_tests;
#[cfg(test)]
mod tests;
mod wal;

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use leasehold_failpoints::failpoint;
use leasehold_state_machine::storage::files;
use openraft::OptionalSend;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use flusher::{Flusher, Waiting};
use mark::MarkFile;
use record::{from_stored, to_stored};

pub use flusher::Synced;
pub use mark::MarkBytes;
pub(crate) use mark::open as open_mark;
pub use record::{StoredLogId, StoredPayload, StoredVote};
pub(crate) use wal::open as open_wal;
pub use wal::{Wal, WalState};

use crate::media::Media;
use crate::types::{Entry, LogId, TypeConfig, Vote};

const FORMAT_FILE: &str = "format";
const MARK_FILE: &str = "mark";
const FORMAT_MAGIC: [u8; 8] = *b"LHRAFTLG";
const FORMAT_VERSION: u8 = 1;
/// Bytes of entries that one read returns, at most (but one entry at least): what one append message may carry.
const READ_BYTES_MAX: usize = 4 << 20;

/// The log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// Our own marker of the format.
    #[error(transparent)]
    Format(#[from] files::RecordError),
    /// The file system, or a damaged record. A node never votes or serves from such a log.
    #[error(
        "the Raft log in {path} cannot be opened: {source}. A damaged log is not used: it may have forgotten a vote or an \
         entry that was acknowledged. If other members hold a quorum, replace this node with an empty data folder and a \
         new node id; otherwise restore the folder from a backup"
    )]
    Open {
        /// Folder of the log.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
}

/// Log and vote of one node. Cheap to clone: the clones are openraft's readers.
#[derive(Clone)]
pub(crate) struct LogStore {
    log: Arc<Mutex<Box<dyn Wal>>>,
    flusher: Arc<Flusher>,
}

impl LogStore {
    /// Opens the log in `dir`, or makes an empty one. Blocks.
    pub(crate) fn open(dir: &Path, media: &Media) -> Result<Self, LogError> {
        let io = |source| LogError::Open { path: dir.to_path_buf(), source };
        let log_dir = dir.join("wal");
        let marker = dir.join(FORMAT_FILE);
        if files::read_record(&marker, FORMAT_MAGIC, FORMAT_VERSION)?.is_none() {
            // A folder with nothing in it is what a node left that ended while it made it.
            if !is_empty(&log_dir).map_err(io)? || dir.join(MARK_FILE).exists() {
                return Err(io(io::Error::new(io::ErrorKind::InvalidData, format!("{} is missing", marker.display()))));
            }
            failpoint!("log::create::before").map_err(io)?;
            std::fs::create_dir_all(&log_dir).map_err(io)?;
            failpoint!("log::create::after").map_err(io)?;
            files::sync_dir(dir).map_err(io)?;
            files::write_record(&marker, FORMAT_MAGIC, FORMAT_VERSION, &[])?;
        }
        let mark_path = dir.join(MARK_FILE);
        failpoint!("log::open::before").map_err(io)?;
        let log = media.disk().open_log(&log_dir).map_err(io)?;
        failpoint!("log::open::after").map_err(io)?;
        let mark =
            media.disk().open_mark(&mark_path).and_then(|bytes| MarkFile::open(bytes, &mark_path)).map_err(io)?;
        check_against_mark(&log.state(), &mark).map_err(io)?;
        let log = Arc::new(Mutex::new(log));
        Ok(Self { flusher: Flusher::start(&log, mark), log })
    }

    pub(crate) fn last(&self) -> Option<LogId> {
        self.log.lock().state().last.map(LogId::from)
    }

    pub(crate) fn purged(&self) -> Option<LogId> {
        self.log.lock().state().purged.map(LogId::from)
    }

    pub(crate) fn committed(&self) -> Option<LogId> {
        self.log.lock().state().committed.map(LogId::from)
    }

    /// The entries with these indexes that the log holds, up to `bytes_max` but at least one.
    pub(crate) fn read(&self, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        // raft-log panics on a range that ends before it begins.
        if from >= to {
            return Ok(Vec::new());
        }
        let stored = self.log.lock().read(from, to, bytes_max)?;
        stored.into_iter().map(from_stored).collect()
    }

    /// Everything written so far is on disk when this returns.
    async fn sync(&self) -> io::Result<()> {
        let (done, synced) = oneshot::channel();
        self.flusher.sync(&mut **self.log.lock(), Waiting::Task(done));
        synced.await.map_err(|_| io::Error::other("the log's worker has stopped"))?
    }

    /// Forgets everything through `id`, which may lie beyond the last entry (the checkpoint is ahead of the log).
    pub(crate) async fn purge_through(&self, id: LogId) -> io::Result<()> {
        failpoint!("recovery::purge::before")?;
        self.log.lock().purge(StoredLogId::from(id))?;
        self.sync().await?;
        failpoint!("recovery::purge::after")
    }

    /// The last committed id that openraft told, made durable as far as the operating system goes.
    pub(crate) async fn close(&self) -> io::Result<()> {
        self.sync().await
    }
}

/// Whether there is no such folder, or nothing in it.
fn is_empty(dir: &Path) -> io::Result<bool> {
    match std::fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

/// Refuses a log that contradicts itself, or has less than this node acknowledged.
fn check_against_mark(state: &WalState, mark: &MarkFile) -> io::Result<()> {
    let mark = mark.get();
    let damaged = |text: String| Err(io::Error::new(io::ErrorKind::InvalidData, text));
    if state.last < state.purged {
        return damaged(format!("it ends at {:?}, but was purged through {:?}", state.last, state.purged));
    }
    if state.last < mark.last {
        return damaged(format!("it ends at {:?}, but {:?} was acknowledged", state.last, mark.last));
    }
    if state.vote < mark.vote {
        return damaged(format!("its vote is {:?}, but {:?} was given", state.vote, mark.vote));
    }
    Ok(())
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<Entry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let from = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(index) => index.saturating_add(1),
            Bound::Excluded(index) => *index,
            Bound::Unbounded => u64::MAX,
        };
        if from >= to {
            return Ok(Vec::new());
        }
        self.read(from, to, usize::MAX)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        self.read(start, end, READ_BYTES_MAX)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.log.lock().state().vote.map(Vote::from))
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        Ok(LogState { last_purged_log_id: self.purged(), last_log_id: self.last() })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        failpoint!("vote::save::before")?;
        self.log.lock().save_vote((*vote).into())?;
        failpoint!("vote::sync::before")?;
        self.sync().await?;
        failpoint!("vote::save::after")
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        // Only a hint for the next start: it goes to disk with the next append. raft-log takes none beyond its last entry.
        let mut log = self.log.lock();
        if let Some(committed) = committed.map(StoredLogId::from)
            && log.state().last.is_some_and(|last| last >= committed)
            && log.state().committed.is_none_or(|known| known < committed)
        {
            failpoint!("log::commit::before")?;
            log.commit(committed)?;
            failpoint!("log::commit::after")?;
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.committed())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut log = self.log.lock();
        failpoint!("log::append::before")?;
        log.append(&mut entries.into_iter().map(to_stored))?;
        failpoint!("log::append::after")?;
        self.flusher.sync(&mut **log, Waiting::Append(callback));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        // Durable with whatever is written next: the records of one log keep their order.
        let mut log = self.log.lock();
        let held = log.state();
        let from = last.map_or(0, |id| id.index + 1);
        let from = from.max(held.purged.map_or(0, |id| id.index() + 1));
        if held.last.is_some_and(|last| last.index() >= from) {
            failpoint!("log::truncate::before")?;
            self.flusher.cut_back(last.map(StoredLogId::from).max(held.purged))?;
            failpoint!("log::cut::after")?;
            log.truncate(from)?;
            failpoint!("log::truncate::after")?;
        }
        Ok(())
    }

    async fn purge(&mut self, id: LogId) -> Result<(), io::Error> {
        failpoint!("log::purge::before")?;
        self.log.lock().purge(id.into())?;
        failpoint!("log::purge::after")?;
        let (done, _) = oneshot::channel();
        // Files are removed once the purge is on disk; nobody needs to wait for that.
        self.flusher.sync(&mut **self.log.lock(), Waiting::Task(done));
        Ok(())
    }
}
