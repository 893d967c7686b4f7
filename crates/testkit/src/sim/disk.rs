//! A disk that forgets: what was written is there, what was synced survives a crash, of the rest a seeded part.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use leasehold_consensus::media::{
    Disk, MarkBytes, Media, StoredLogId, StoredPayload, StoredVote, Synced, Wal, WalState,
};
use leasehold_consensus::runtime;
use leasehold_state_machine::storage::{Checkpoint, CheckpointError, RowBatch, RowScan, RowStore};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// What a disk does to a crash, and how fast it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct DiskOptions {
    /// Shortest and longest sync.
    pub(super) sync: (Duration, Duration),
    /// Syncs are reported and not done.
    pub(super) lies: bool,
}

/// How a node ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// The process: what it had handed to the operating system is there.
    Process,
    /// The power: what was not synced is there in part, from the front, or not at all.
    Power,
}

/// One thing that was written to the log.
#[derive(Debug, Clone)]
enum Record {
    Append(StoredLogId, StoredPayload),
    Truncate(u64),
    Purge(StoredLogId),
    Vote(StoredVote),
    Commit(StoredLogId),
}

/// What a log holds after its records.
#[derive(Debug, Clone, Default)]
struct Log {
    state: WalState,
    entries: BTreeMap<u64, (StoredLogId, StoredPayload)>,
    /// Entries that were purged: the product never sees them again, the checker does.
    archive: BTreeMap<u64, (StoredLogId, StoredPayload)>,
}

impl Log {
    fn write(&mut self, record: &Record) {
        match record {
            Record::Append(id, payload) => {
                self.entries.insert(id.index(), (*id, payload.clone()));
                self.state.last = Some(*id);
            }
            Record::Truncate(from) => {
                self.entries.split_off(from);
                let last = self.entries.last_key_value().map(|(_, (id, _))| *id);
                self.state.last = last.or(self.state.purged);
            }
            Record::Purge(through) => {
                let rest = self.entries.split_off(&(through.index() + 1));
                let mut purged = std::mem::replace(&mut self.entries, rest);
                purged.split_off(&(self.committed_through(&purged, *through) + 1));
                self.archive.append(&mut purged);
                self.state.purged = Some(*through);
                self.state.last = self.state.last.max(Some(*through));
            }
            Record::Vote(vote) => self.state.vote = Some(*vote),
            Record::Commit(through) => self.state.committed = Some(*through),
        }
    }
}

impl Log {
    /// Up to where entries that are purged are the cluster's: a snapshot also goes over what an earlier leader left here and
    /// nobody committed.
    fn committed_through(&self, purged: &BTreeMap<u64, (StoredLogId, StoredPayload)>, through: StoredLogId) -> u64 {
        let has = |id: &StoredLogId| purged.get(&id.index()).is_some_and(|(found, _)| found == id);
        let known = [Some(through), self.state.committed].into_iter().flatten().filter(has);
        known.map(StoredLogId::index).max().unwrap_or(0)
    }
}

/// Rows written or removed, in one batch.
type RowChanges = Vec<(Vec<u8>, Option<Vec<u8>>)>;

struct Inner {
    options: DiskOptions,
    random: StdRng,
    /// The log as it is on the platter, what was written since, and both together.
    durable: Log,
    unsynced: Vec<Record>,
    log: Log,
    /// The mark: on the platter, and as written.
    mark_durable: Vec<u8>,
    mark: Vec<u8>,
    rows_durable: BTreeMap<Vec<u8>, Vec<u8>>,
    rows_unsynced: Vec<RowChanges>,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Syncs take so many times as long.
    slow: u32,
    /// The next syncs fail.
    failing: bool,
    /// A sync has failed: what it should have covered is on no platter and never will be, and a log ends at its first gap.
    gap: bool,
    syncs: u64,
    /// Rises with every crash: what was under way before it never ends.
    life: u64,
}

/// One node's disk. Cheap to clone; outlives the node.
#[derive(Clone)]
pub(super) struct SimDisk(Arc<Mutex<Inner>>);

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimDisk")
    }
}

impl SimDisk {
    pub(super) fn new(options: DiskOptions, seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            options,
            random: StdRng::seed_from_u64(seed),
            durable: Log::default(),
            unsynced: Vec::new(),
            log: Log::default(),
            mark_durable: Vec::new(),
            mark: Vec::new(),
            rows_durable: BTreeMap::new(),
            rows_unsynced: Vec::new(),
            rows: BTreeMap::new(),
            slow: 1,
            failing: false,
            gap: false,
            syncs: 0,
            life: 0,
        })))
    }

    pub(super) fn media(&self) -> Media {
        Media::new(Arc::new(self.clone()))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn slow_down(&self, times: u32) {
        self.inner().slow = times;
    }

    pub(super) fn fail(&self, failing: bool) {
        self.inner().failing = failing;
    }

    pub(super) fn syncs(&self) -> u64 {
        self.inner().syncs
    }

    /// The node has ended: what is left is what it finds when it starts again.
    pub(super) fn crash(&self, loss: Loss) {
        let inner = &mut *self.inner();
        inner.life += 1;
        inner.slow = 1;
        inner.failing = false;
        // raft-log's worker writes in the background: even a kill may come before it did.
        let kept = inner.random.random_range(0..=inner.unsynced.len());
        let kept = if std::mem::take(&mut inner.gap) { 0 } else { kept };
        for record in std::mem::take(&mut inner.unsynced).into_iter().take(kept) {
            inner.durable.write(&record);
        }
        inner.log = inner.durable.clone();
        let kept = inner.random.random_range(0..=inner.rows_unsynced.len());
        for batch in std::mem::take(&mut inner.rows_unsynced).into_iter().take(kept) {
            write_rows(&mut inner.rows_durable, batch);
        }
        inner.rows = inner.rows_durable.clone();
        match loss {
            Loss::Process => inner.mark_durable = inner.mark.clone(),
            Loss::Power if inner.random.random() => inner.mark_durable = inner.mark.clone(),
            Loss::Power => inner.mark = inner.mark_durable.clone(),
        }
    }

    /// Every entry that this node ever had in its log and did not cut back, purged ones too; gaps are filled from `others`.
    pub(super) fn archive(&self, others: &[Self]) -> Self {
        let (options, mut log) = {
            let inner = self.inner();
            (inner.options, inner.log.clone())
        };
        let purged = log.state.purged.take().map_or(0, StoredLogId::index);
        let mut entries = std::mem::take(&mut log.archive);
        for other in others {
            let other = other.inner();
            for (index, entry) in
                other.log.archive.iter().chain(&other.log.entries).filter(|(index, _)| **index <= purged)
            {
                entries.entry(*index).or_insert_with(|| entry.clone());
            }
        }
        log.entries.append(&mut entries);
        let archive = Self::new(options, 0);
        archive.inner().log = log;
        archive
    }
}

fn write_rows(rows: &mut BTreeMap<Vec<u8>, Vec<u8>>, batch: RowChanges) {
    for (key, value) in batch {
        match value {
            Some(value) => rows.insert(key, value),
            None => rows.remove(&key),
        };
    }
}

impl Disk for SimDisk {
    fn open_log(&self, _: &Path) -> io::Result<Box<dyn Wal>> {
        Ok(Box::new(self.clone()))
    }

    fn open_mark(&self, _: &Path) -> io::Result<Box<dyn MarkBytes>> {
        Ok(Box::new(self.clone()))
    }

    fn open_checkpoint(&self, dir: &Path) -> Result<Checkpoint, CheckpointError> {
        Checkpoint::open_on(Box::new(self.clone()), dir)
    }

    fn discard_checkpoint(&self, _: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        inner.rows.clear();
        inner.rows_durable.clear();
        inner.rows_unsynced.clear();
        Ok(())
    }
}

impl SimDisk {
    fn write(&self, record: Record) -> io::Result<()> {
        let mut inner = self.inner();
        inner.log.write(&record);
        inner.unsynced.push(record);
        Ok(())
    }
}

impl Wal for SimDisk {
    fn state(&self) -> WalState {
        self.inner().log.state
    }

    fn read(&self, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<(StoredLogId, StoredPayload)>> {
        let inner = self.inner();
        let mut bytes = 0;
        let mut entries: Vec<(StoredLogId, StoredPayload)> = Vec::new();
        for entry in inner.log.entries.range(from..to).map(|(_, entry)| entry) {
            bytes += entry.1.len();
            if bytes > bytes_max && !entries.is_empty() {
                break;
            }
            entries.push(entry.clone());
        }
        Ok(entries)
    }

    fn append(&mut self, entries: &mut dyn Iterator<Item = (StoredLogId, StoredPayload)>) -> io::Result<()> {
        for (id, payload) in entries {
            self.write(Record::Append(id, payload))?;
        }
        Ok(())
    }

    fn truncate(&mut self, from: u64) -> io::Result<()> {
        self.write(Record::Truncate(from))
    }

    fn purge(&mut self, through: StoredLogId) -> io::Result<()> {
        self.write(Record::Purge(through))
    }

    fn save_vote(&mut self, vote: StoredVote) -> io::Result<()> {
        self.write(Record::Vote(vote))
    }

    fn commit(&mut self, through: StoredLogId) -> io::Result<()> {
        self.write(Record::Commit(through))
    }

    fn sync(&mut self, done: Synced) -> io::Result<()> {
        let (takes, covered, life) = {
            let inner = &mut *self.inner();
            let (shortest, longest) = inner.options.sync;
            let takes = inner.random.random_range(shortest.as_micros()..=longest.as_micros());
            let takes = Duration::from_micros(u64::try_from(takes).unwrap_or(0)) * inner.slow;
            (takes, inner.unsynced.len(), inner.life)
        };
        let disk = self.clone();
        runtime::spawn(async move {
            tokio::time::sleep(takes).await;
            let result = {
                let inner = &mut *disk.inner();
                if inner.life != life {
                    // Of a node that is no more.
                    return;
                }
                if inner.failing {
                    // As Linux does: told once, and the pages are taken for clean. A later sync succeeds without them.
                    inner.gap = true;
                    Err(io::Error::other("simulated EIO"))
                } else {
                    inner.syncs += 1;
                    let covered = if inner.options.lies || inner.gap { 0 } else { covered };
                    for record in inner.unsynced.drain(..covered) {
                        inner.durable.write(&record);
                    }
                    Ok(())
                }
            };
            done.report(result);
        });
        Ok(())
    }
}

impl MarkBytes for SimDisk {
    fn read(&self) -> io::Result<Vec<u8>> {
        Ok(self.inner().mark.clone())
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut inner = self.inner();
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let length = inner.mark.len().max(offset + bytes.len());
        inner.mark.resize(length, 0);
        inner.mark[offset..offset + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut inner = self.inner();
        inner.mark_durable = inner.mark.clone();
        Ok(())
    }
}

impl RowStore for SimDisk {
    fn is_empty(&self) -> Result<bool, CheckpointError> {
        Ok(self.inner().rows.is_empty())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, CheckpointError> {
        Ok(self.inner().rows.get(key).cloned())
    }

    fn insert(&self, key: &[u8], value: &[u8]) -> Result<(), CheckpointError> {
        let mut batch = RowBatch::default();
        batch.insert(key.to_vec(), value.to_vec());
        self.apply(batch)
    }

    fn apply(&self, batch: RowBatch) -> Result<(), CheckpointError> {
        let batch: RowChanges = batch.into_iter().collect();
        let mut inner = self.inner();
        write_rows(&mut inner.rows, batch.clone());
        inner.rows_unsynced.push(batch);
        Ok(())
    }

    fn scan(&self, prefix: &[u8]) -> Result<RowScan<'_>, CheckpointError> {
        let inner = self.inner();
        let rows = inner.rows.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix));
        let rows: Vec<_> = rows.map(|(key, value)| Ok((key.clone(), value.clone()))).collect();
        Ok(Box::new(rows.into_iter()))
    }

    fn flush(&self) -> Result<(), CheckpointError> {
        let inner = &mut *self.inner();
        for batch in inner.rows_unsynced.drain(..) {
            write_rows(&mut inner.rows_durable, batch);
        }
        Ok(())
    }

    fn attempt(&self) -> Result<Box<dyn Any>, CheckpointError> {
        Ok(Box::new(()))
    }
}
