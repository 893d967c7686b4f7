//! sled behind a wall: what it panics on becomes an error, and what it does not survive is not tried twice.

use std::any::Any;
use std::fs::{File, TryLockError};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use leasehold_failpoints::failpoint;

use super::files::{sync_parent, with_suffix};
use super::{CheckpointError, RowBatch, RowScan, RowStore};

/// sled's page cache. Its default of 1 GiB would double the memory of a node for tables that are in memory anyway.
const CACHE_BYTES: u64 = 128 << 20;
/// A key that nobody writes, for calls that are about nothing.
const NO_KEY: &[u8] = b"";
/// A sled handle that was just dropped keeps its lock until its last background write is done: so often we ask again.
const LOCK_ATTEMPTS: u32 = 100;
const LOCK_RETRY: Duration = Duration::from_millis(10);

/// An open sled folder.
pub(super) struct Store {
    dir: PathBuf,
    /// None only while dropping.
    db: Option<sled::Db>,
    /// sled panicked: it is not asked again.
    broken: AtomicBool,
}

impl Store {
    /// Opens or makes the folder.
    pub(super) fn open(dir: &Path) -> Result<Self, CheckpointError> {
        failpoint!("checkpoint::open::before").map_err(|e| io_error(dir, e))?;
        std::fs::create_dir_all(dir).map_err(|e| io_error(dir, e))?;
        let _attempt = Attempt::begin(dir)?;
        let mut attempts = 0;
        loop {
            attempts += 1;
            match catch_unwind(|| config(dir).open()) {
                Ok(Ok(db)) => {
                    failpoint!("checkpoint::open::after").map_err(|e| io_error(dir, e))?;
                    return Ok(Self { dir: dir.to_owned(), db: Some(db), broken: AtomicBool::new(false) });
                }
                Ok(Err(error)) if is_locked(&error) => {
                    if attempts == LOCK_ATTEMPTS {
                        return Err(CheckpointError::InUse { path: dir.to_owned() });
                    }
                    std::thread::sleep(LOCK_RETRY);
                }
                Ok(Err(source)) => return Err(CheckpointError::Sled { path: dir.to_owned(), source }),
                Err(panic) => return Err(panicked(dir, panic.as_ref())),
            }
        }
    }

    /// Removes the folder, whatever is in it.
    pub(super) fn discard(dir: &Path) -> io::Result<()> {
        // The mark goes last: a removal that was interrupted is completed by the next one.
        let mark = mark_path(dir);
        failpoint!("checkpoint::discard::before")?;
        File::create(&mark)?;
        match std::fs::remove_dir_all(dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        sync_parent(dir)?;
        failpoint!("checkpoint::discard::after")?;
        std::fs::remove_file(&mark)?;
        sync_parent(dir)
    }

    /// Does something with the one tree. After a panic nothing more is done with it.
    fn run<T>(&self, work: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T, CheckpointError> {
        if self.broken.load(Ordering::Acquire) {
            return Err(CheckpointError::Panicked { path: self.dir.clone(), message: "it panicked before".to_owned() });
        }
        let db = self.db.as_ref().expect("the handle is there until it is dropped");
        match catch_unwind(AssertUnwindSafe(|| work(db))) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(source)) => Err(CheckpointError::Sled { path: self.dir.clone(), source }),
            Err(panic) => {
                self.broken.store(true, Ordering::Release);
                Err(panicked(&self.dir, panic.as_ref()))
            }
        }
    }
}

impl RowStore for Store {
    fn is_empty(&self) -> Result<bool, CheckpointError> {
        self.run(|db| Ok(db.is_empty()))
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, CheckpointError> {
        Ok(self.run(|db| db.get(key))?.map(|value| value.to_vec()))
    }

    fn insert(&self, key: &[u8], value: &[u8]) -> Result<(), CheckpointError> {
        self.run(|db| db.insert(key, value)).map(drop)
    }

    fn apply(&self, batch: RowBatch) -> Result<(), CheckpointError> {
        let rows = batch.len();
        let mut changes = sled::Batch::default();
        for (key, value) in batch {
            match value {
                Some(value) => changes.insert(key, value),
                None => changes.remove(key),
            }
        }
        failpoint!("checkpoint::batch::before").map_err(|e| io_error(&self.dir, e))?;
        self.run(|db| {
            db.apply_batch(changes)?;
            // A batch leaves some 5 KB of garbage per row, and sled frees a little of what it has with each call. With
            // nothing but batches it grows without end (measured: 700 MB after 400,000 rows of 200 bytes, 60 MB with
            // this); as many cheap calls as there were rows keep up with it.
            for _ in 0..rows {
                db.contains_key(NO_KEY)?;
            }
            Ok(())
        })?;
        failpoint!("checkpoint::batch::after").map_err(|e| io_error(&self.dir, e))
    }

    fn scan(&self, prefix: &[u8]) -> Result<RowScan<'_>, CheckpointError> {
        let rows = self.run(|db| Ok(db.scan_prefix(prefix)))?;
        Ok(Box::new(Scan { store: self, rows: Some(rows) }))
    }

    /// sled's own flush ends with `sync_file_range`, which a power cut does not respect: the file is fsynced after it.
    /// (Closing a second descriptor leaves sled's flock alone.)
    fn flush(&self) -> Result<(), CheckpointError> {
        if failpoint!("checkpoint::flush::before", step).map_err(|e| io_error(&self.dir, e))? {
            self.run(|db| db.flush().map(|_| ()))?;
            File::open(self.dir.join("db")).and_then(|file| file.sync_all()).map_err(|e| io_error(&self.dir, e))?;
        }
        failpoint!("checkpoint::flush::after").map_err(|e| io_error(&self.dir, e))
    }

    fn attempt(&self) -> Result<Box<dyn Any>, CheckpointError> {
        Ok(Box::new(Attempt::begin(&self.dir)?))
    }
}

impl std::fmt::Debug for Store {
    // sled's own Debug prints the whole tree.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let Some(db) = self.db.take() else { return };
        if self.broken.load(Ordering::Acquire) {
            // Dropping flushes, which waits for ever if it was a writing thread that panicked. It is leaked instead.
            std::mem::forget(db);
        } else if catch_unwind(AssertUnwindSafe(|| drop(db))).is_err() {
            tracing::warn!(path = %self.dir.display(), "sled panicked while the checkpoint was closed");
        }
    }
}

/// Iterator over rows of a [`Store`]. Ends after its first error.
struct Scan<'a> {
    store: &'a Store,
    rows: Option<sled::Iter>,
}

impl Iterator for Scan<'_> {
    type Item = Result<(Vec<u8>, Vec<u8>), CheckpointError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rows = self.rows.as_mut()?;
        let next = self.store.run(|_| rows.next().transpose()).transpose();
        if !matches!(next, Some(Ok(_))) {
            let rows = self.rows.take();
            if self.store.broken.load(Ordering::Acquire) {
                std::mem::forget(rows);
            }
        }
        next.map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec())))
    }
}

/// A mark beside the folder while sled reads it. A damaged folder can make sled abort the process, hang, or eat all
/// memory; with the mark that happens once, not at each start. It is locked while its process lives.
#[derive(Debug)]
struct Attempt {
    mark: PathBuf,
    _file: File,
}

impl Attempt {
    fn begin(dir: &Path) -> Result<Self, CheckpointError> {
        let mark = mark_path(dir);
        let (file, left_over) = match File::create_new(&mark) {
            Ok(file) => (file, false),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                (File::open(&mark).map_err(|e| io_error(dir, e))?, true)
            }
            Err(error) => return Err(io_error(dir, error)),
        };
        match file.try_lock() {
            Ok(()) if left_over => Err(CheckpointError::Interrupted { path: dir.to_owned() }),
            Ok(()) => Ok(Self { mark, _file: file }),
            Err(TryLockError::WouldBlock) => Err(CheckpointError::InUse { path: dir.to_owned() }),
            Err(TryLockError::Error(error)) => Err(io_error(dir, error)),
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.mark) {
            tracing::warn!(path = %self.mark.display(), %error, "mark cannot be removed; the checkpoint will be rebuilt");
        }
    }
}

fn config(dir: &Path) -> sled::Config {
    // No flusher thread. Every batch rolls the one before it out of the buffer, segments are cleaned in line with
    // writes, and what must be on disk is flushed where that matters (a snapshot, a clean stop). The thread would add
    // fsyncs beside those of the Raft log at times of its own, and if it ever panics, closing sled waits for it for ever.
    sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).flush_every_ms(None)
}

fn mark_path(dir: &Path) -> PathBuf {
    with_suffix(dir, ".opening")
}

fn is_locked(error: &sled::Error) -> bool {
    // sled has no kind of its own for this; the version is pinned, and a test holds it to the text.
    matches!(error, sled::Error::Io(error) if error.to_string().starts_with("could not acquire lock"))
}

pub(super) fn io_error(dir: &Path, error: io::Error) -> CheckpointError {
    CheckpointError::Sled { path: dir.to_owned(), source: sled::Error::Io(error) }
}

fn panicked(dir: &Path, panic: &(dyn std::any::Any + Send)) -> CheckpointError {
    let message = panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "a panic without a message".to_owned());
    CheckpointError::Panicked { path: dir.to_owned(), message }
}
