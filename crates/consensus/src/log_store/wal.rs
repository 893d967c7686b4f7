//! What the log store writes to: raft-log, or what a simulation puts in its place.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use leasehold_failpoints::failpoint;
use raft_log::RaftLog;
use raft_log::api::raft_log_writer::RaftLogWriter;

use super::flusher::Synced;
use super::record::{LogTypes, StoredLogId, StoredPayload, StoredVote};

const CHUNK_BYTES: usize = 64 << 20;
const CACHE_BYTES: usize = 32 << 20;
const CACHE_ENTRIES: usize = 20_000;
const QUEUE_BYTES_MAX: usize = 64 << 20;
const READ_BUFFER_BYTES: usize = 1 << 20;

/// What a log holds, written and perhaps not yet synced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WalState {
    /// The last entry, or what was purged last.
    pub last: Option<StoredLogId>,
    /// The last entry that was purged.
    pub purged: Option<StoredLogId>,
    /// The last entry that was noted as committed.
    pub committed: Option<StoredLogId>,
    /// The last vote.
    pub vote: Option<StoredVote>,
}

/// A write-ahead log of entries and votes. What was written is readable at once; it is durable, in the order in which it was written,
/// once a later [`Wal::sync`] was reported.
pub trait Wal: Send + 'static {
    /// What it holds.
    fn state(&self) -> WalState;
    /// The entries with indexes `from..to`, up to `bytes_max` of payload but at least one.
    fn read(&self, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<(StoredLogId, StoredPayload)>>;
    /// Adds entries that follow the last one.
    fn append(&mut self, entries: &mut dyn Iterator<Item = (StoredLogId, StoredPayload)>) -> io::Result<()>;
    /// Removes the entries from this index on.
    fn truncate(&mut self, from: u64) -> io::Result<()>;
    /// Removes the entries through this one, which may lie beyond the last.
    fn purge(&mut self, through: StoredLogId) -> io::Result<()>;
    /// Notes a vote.
    fn save_vote(&mut self, vote: StoredVote) -> io::Result<()>;
    /// Notes that the entries through this one are committed.
    fn commit(&mut self, through: StoredLogId) -> io::Result<()>;
    /// Begins to make durable what was written so far, and reports to `done`. The caller has one under way at a time.
    fn sync(&mut self, done: Synced) -> io::Result<()>;
}

/// Opens the real one, or makes an empty one.
pub(crate) fn open(dir: &Path) -> io::Result<Box<dyn Wal>> {
    open_in_files_of(dir, CHUNK_BYTES)
}

/// The same, with files of about this size.
pub(super) fn open_in_files_of(dir: &Path, chunk_bytes: usize) -> io::Result<Box<dyn Wal>> {
    let mut config = raft_log::Config::new(dir.display());
    config.log_cache_max_items = Some(CACHE_ENTRIES);
    config.log_cache_capacity = Some(CACHE_BYTES);
    config.wal.chunk_max_size = Some(chunk_bytes);
    config.wal.read_buffer_size = Some(READ_BUFFER_BYTES);
    config.wal.flush_queue_max_bytes = Some(QUEUE_BYTES_MAX);
    // Group commit is the flusher's; waiting for company here would only add to every fsync.
    config.wal.flush_batch_wait = Some(Duration::ZERO);
    Ok(Box::new(RaftLog::<LogTypes>::open(Arc::new(config))?))
}

impl Wal for RaftLog<LogTypes> {
    fn state(&self) -> WalState {
        let state = self.log_state();
        WalState {
            last: state.last().copied(),
            purged: state.purged().copied(),
            committed: state.committed().copied(),
            vote: state.vote().copied(),
        }
    }

    fn read(&self, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<(StoredLogId, StoredPayload)>> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        for stored in RaftLog::read(self, from, to) {
            let (id, payload) = stored?;
            bytes += payload.len();
            if bytes > bytes_max && !entries.is_empty() {
                break;
            }
            entries.push((id, payload));
        }
        Ok(entries)
    }

    fn append(&mut self, entries: &mut dyn Iterator<Item = (StoredLogId, StoredPayload)>) -> io::Result<()> {
        RaftLogWriter::append(self, entries).map(drop)
    }

    fn truncate(&mut self, from: u64) -> io::Result<()> {
        RaftLogWriter::truncate(self, from).map(drop)
    }

    fn purge(&mut self, through: StoredLogId) -> io::Result<()> {
        RaftLogWriter::purge(self, through).map(drop)
    }

    fn save_vote(&mut self, vote: StoredVote) -> io::Result<()> {
        RaftLogWriter::save_vote(self, vote).map(drop)
    }

    fn commit(&mut self, through: StoredLogId) -> io::Result<()> {
        RaftLogWriter::commit(self, through).map(drop)
    }

    fn sync(&mut self, done: Synced) -> io::Result<()> {
        // Left out, the entries are written and reported as synced.
        let sync = failpoint!("log::sync::before", step)?;
        self.flush(sync, Some(done))
    }
}
