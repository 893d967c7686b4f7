//! The last checkpoint of the tables, in sled: a copy that can be rebuilt, never the only one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use leasehold_failpoints::failpoint;

use super::bounded_batch::BoundedBatch;
use super::gate::Gate;
use super::pages::{IntoPages, Page};
use super::snapshot_format::Head;
use super::store::{Store, io_error};
use super::{CheckpointError, ROW_KEY_BYTES_MAX, ROW_VALUE_BYTES_MAX, RowScan, RowStore, SnapshotError, SnapshotFile};
use crate::{Changes, HEADER_KEY, RestoreError, StateHead, StateMachine, decode_head};

/// Rows that one batch may have: sled needs some 5 KB of memory for each until it is done.
pub(super) const WRITE_ROWS_MAX: usize = 50_000;
/// Version of what this module puts into sled.
const VERSION: u8 = 2;
// The one tree. Rows of the tables, and pages of them, have ROW before their own key; what only this module knows lies before them.
const ROW: u8 = b'r';
const KEY_VERSION: &[u8] = b"m/version";
/// There while the whole content is replaced, or very much of it is written: what lies beside it is neither the old state nor the new one.
const KEY_REPLACING: &[u8] = b"m/replacing";

/// Handle to the sled folder. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    store: Box<dyn RowStore>,
    gate: Gate,
    /// [`KEY_REPLACING`] is there.
    replacing: AtomicBool,
}

impl Checkpoint {
    /// Opens or makes the folder. A folder that does not open gives an error; where that is
    /// [discardable](CheckpointError::is_discardable) the caller then calls [`Self::discard`]. Never panics.
    pub fn open(dir: &Path) -> Result<Self, CheckpointError> {
        Self::open_on(Box::new(Store::open(dir)?), dir)
    }

    /// The same on another store of rows; `dir` is what errors name.
    pub fn open_on(store: Box<dyn RowStore>, dir: &Path) -> Result<Self, CheckpointError> {
        let _attempt = store.attempt()?;
        if store.is_empty()? {
            store.insert(KEY_VERSION, &[VERSION])?;
        }
        let version = store.get(KEY_VERSION)?;
        match version.as_deref() {
            Some([VERSION]) => {}
            Some([found]) => {
                return Err(CheckpointError::Version { path: dir.to_owned(), found: *found, supported: VERSION });
            }
            _ => {
                let source = RestoreError::Inconsistent("there are rows, but no format version".to_owned());
                return Err(CheckpointError::Restore { path: dir.to_owned(), source });
            }
        }
        let replacing = store.get(KEY_REPLACING)?.is_some();
        Ok(Self {
            inner: Arc::new(Inner {
                dir: dir.to_owned(),
                store,
                gate: Gate::default(),
                replacing: AtomicBool::new(replacing),
            }),
        })
    }

    /// Removes a folder that cannot be used, and the mark beside it. All handles to it should be gone.
    pub fn discard(dir: &Path) -> std::io::Result<()> {
        Store::discard(dir)
    }

    /// The state of the last checkpoint; None when there is none, or when its replacement was interrupted. The hash is
    /// recomputed and checked. After None, a state that did not begin empty goes in by [`Self::install`] or
    /// [`Self::replace`] before any [`Self::write`].
    pub fn load(&self) -> Result<Option<StateMachine>, CheckpointError> {
        let _attempt = self.inner.store.attempt()?;
        if self.is_replacing() {
            tracing::warn!(path = %self.inner.dir.display(), "the checkpoint was being replaced: it is not used");
            return Ok(None);
        }
        if self.is_empty()? {
            return Ok(None);
        }
        self.state().map(Some)
    }

    /// What the header row says, without looking at the others: whether this build can read them may depend on it. None where
    /// [`Self::load`] gives none.
    pub fn head(&self) -> Result<Option<StateHead>, CheckpointError> {
        let _attempt = self.inner.store.attempt()?;
        if self.is_replacing() {
            return Ok(None);
        }
        let Some(row) = self.inner.store.get(&row_key(HEADER_KEY))? else { return Ok(None) };
        let undecodable = |source| self.unusable(RestoreError::Row { key: HEADER_KEY.to_vec(), source });
        decode_head(&row).map(Some).map_err(undecodable)
    }

    /// Writes changed rows, which come in key order, in one atomic batch. Waits while a snapshot holds the checkpoint.
    ///
    /// More than 50,000 rows go in by smaller batches, under the mark of a replacement: after a crash in the middle
    /// there is no checkpoint, and the node begins with its snapshot and its log. sled would need some 5 KB of memory for each row.
    ///
    /// A kill may lose the last batches (this one too, although it returned: sled keeps it in a buffer until the next
    /// one), not a part of one, and none from before the last [`Self::flush`], [`Self::replace`] or [`Self::install`].
    /// A power cut may lose all since then.
    ///
    /// # Panics
    /// When a key or a value exceeds what a snapshot can hold.
    pub fn write(&self, changes: Changes) -> Result<(), CheckpointError> {
        let _writing = self.inner.gate.write();
        if self.is_replacing() {
            return Err(CheckpointError::Replacing { path: self.inner.dir.clone() });
        }
        let store = &*self.inner.store;
        let in_parts = changes.rows.len() > WRITE_ROWS_MAX;
        let mut batch = if in_parts {
            self.begin_replacing()?;
            BoundedBatch::new(store)
        } else {
            BoundedBatch::whole(store)
        };
        let mut open: Option<(Vec<u8>, Page)> = None;
        for row in changes.rows {
            check_row(&row.key, row.value.as_deref().unwrap_or_default());
            let place = Page::of(&row.key);
            // Rows come in key order: those of a page one after the other.
            if let Some((key, page)) = open.take_if(|(key, _)| place.as_ref().is_none_or(|place| *key != place.0)) {
                batch.change(row_key(&key), page.encode())?;
            }
            match place {
                None => batch.change(row_key(&row.key), row.value)?,
                Some((key, place)) => {
                    let (_, page) = match &mut open {
                        Some(open) => open,
                        None => open.insert((key.clone(), self.page(&key)?)),
                    };
                    page.set(place, row.value);
                }
            }
        }
        if let Some((key, page)) = open {
            batch.change(row_key(&key), page.encode())?;
        }
        if in_parts { self.end_replacing(batch) } else { batch.apply() }
    }

    /// A page as it is; empty when it is not there.
    fn page(&self, key: &[u8]) -> Result<Page, CheckpointError> {
        let Some(bytes) = self.inner.store.get(&row_key(key))? else { return Ok(Page::default()) };
        Page::decode(&bytes).ok_or_else(|| self.no_page(key))
    }

    fn no_page(&self, key: &[u8]) -> CheckpointError {
        self.unusable(RestoreError::Inconsistent(format!("what lies under {key:02x?} is no page of rows")))
    }

    /// From here on, and until [`Self::end_replacing`], a crash leaves no checkpoint.
    fn begin_replacing(&self) -> Result<(), CheckpointError> {
        let store = &*self.inner.store;
        failpoint!("checkpoint::replace::before").map_err(|e| io_error(&self.inner.dir, e))?;
        self.inner.replacing.store(true, Ordering::Release);
        store.insert(KEY_REPLACING, &[1])?;
        store.flush()?;
        failpoint!("checkpoint::replacing::after").map_err(|e| io_error(&self.inner.dir, e))
    }

    fn end_replacing(&self, mut batch: BoundedBatch<'_>) -> Result<(), CheckpointError> {
        failpoint!("checkpoint::replaced::before").map_err(|e| io_error(&self.inner.dir, e))?;
        batch.remove(KEY_REPLACING.into())?;
        batch.apply()?;
        self.inner.store.flush()?;
        self.inner.replacing.store(false, Ordering::Release);
        failpoint!("checkpoint::replace::after").map_err(|e| io_error(&self.inner.dir, e))
    }

    /// Replaces everything by these rows, which come in key order. Atomic for readers after a crash: either the old
    /// checkpoint, or none, or the new one is found. Prefer [`Self::install`] where there is a snapshot file: it needs no
    /// copy of the rows.
    ///
    /// # Panics
    /// When the rows are not in key order, or too large for a snapshot.
    pub fn replace<I>(&self, rows: I) -> Result<(), CheckpointError>
    where
        I: IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
    {
        self.replace_all(rows.into_iter().map(Ok::<_, CheckpointError>))
    }

    /// Replaces everything by the rows of a snapshot file, read one after the other. Atomic as [`Self::replace`].
    pub fn install(&self, snapshot: &SnapshotFile) -> Result<(), SnapshotError> {
        let (_, rows) = snapshot.rows()?;
        self.replace_all(rows)
    }

    /// Makes what was written so far durable.
    pub fn flush(&self) -> Result<(), CheckpointError> {
        self.inner.store.flush()
    }

    /// Holds the checkpoint as it is: writers wait until the returned value is dropped. Waits for a writer at work.
    #[must_use]
    pub fn hold(&self) -> Hold {
        self.inner.gate.hold();
        Hold { checkpoint: self.clone() }
    }

    /// Whether a snapshot holds the checkpoint.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.inner.gate.is_held()
    }

    /// Whether a hold exceeds a bound: more than [`super::HOLD_CHANGED_ROWS_MAX`] rows changed since the last checkpoint, or
    /// a checkpoint waiting for more than [`super::HOLD_MS_MAX`]. The applier then slows down: between entries it waits
    /// in [`Self::wait_released`].
    #[must_use]
    pub fn is_hold_exceeded(&self, changed_rows: usize) -> bool {
        self.inner.gate.is_exceeded(changed_rows)
    }

    /// Waits until nobody holds the checkpoint; false when that took longer than `timeout`.
    #[must_use]
    pub fn wait_released(&self, timeout: Duration) -> bool {
        self.inner.gate.wait_released(timeout)
    }

    /// A replacement, or a write of very many rows, was begun and not finished: it is no checkpoint until it is replaced.
    #[must_use]
    pub fn is_replacing(&self) -> bool {
        self.inner.replacing.load(Ordering::Acquire)
    }

    fn is_empty(&self) -> Result<bool, CheckpointError> {
        Ok(self.inner.store.scan(&[ROW])?.next().transpose()?.is_none())
    }

    fn state(&self) -> Result<StateMachine, CheckpointError> {
        let mut failed = None;
        let rows = self.load_rows()?.map_while(|row| row.map_err(|error| failed = Some(error)).ok());
        let state = StateMachine::from_rows(rows);
        match failed {
            Some(error) => Err(error),
            None => state.map_err(|source| self.unusable(source)),
        }
    }

    pub(super) fn unusable(&self, source: RestoreError) -> CheckpointError {
        CheckpointError::Restore { path: self.inner.dir.clone(), source }
    }

    pub(super) fn load_rows(&self) -> Result<Rows<'_>, CheckpointError> {
        Ok(Rows { checkpoint: self, stored: self.inner.store.scan(&[ROW])?, page: Vec::new().into_iter() })
    }

    /// Makes the content equal to `rows`. What is equal already is not written again: a follower that fell behind gets a
    /// snapshot of which it has most rows.
    pub(super) fn replace_all<I, E>(&self, rows: I) -> Result<(), E>
    where
        I: Iterator<Item = Result<(Vec<u8>, Vec<u8>), E>>,
        E: From<CheckpointError>,
    {
        let _writing = self.inner.gate.write();
        let store = &*self.inner.store;
        self.begin_replacing()?;

        let mut previous = None;
        let rows = rows.inspect(|row| {
            let Ok((key, value)) = row else { return };
            check_row(key, value);
            assert!(previous.as_ref().is_none_or(|previous| previous < key), "rows come in key order");
            previous = Some(key.clone());
        });
        let mut old = store.scan(&[ROW])?;
        let mut next_old = old.next().transpose()?;
        let mut batch = BoundedBatch::new(store);
        for stored in IntoPages::new(rows) {
            let (key, value) = stored?;
            let key = row_key(&key);
            while let Some((old_key, _)) = next_old.take_if(|(old_key, _)| *old_key < key) {
                batch.remove(old_key)?;
                next_old = old.next().transpose()?;
            }
            match next_old.take_if(|(old_key, _)| *old_key == key) {
                Some((_, old_value)) => {
                    if old_value != value {
                        batch.insert(key, value)?;
                    }
                    next_old = old.next().transpose()?;
                }
                None => batch.insert(key, value)?,
            }
        }
        while let Some((old_key, _)) = next_old {
            batch.remove(old_key)?;
            next_old = old.next().transpose()?;
        }
        self.end_replacing(batch).map_err(E::from)
    }
}

/// The checkpoint stays as it is while this lives. Readers only; see [`Checkpoint::hold`].
#[derive(Debug)]
pub struct Hold {
    checkpoint: Checkpoint,
}

impl Hold {
    /// What the checkpoint is of; None when there is nothing to make a snapshot from.
    pub(super) fn head(&self) -> Result<Option<Head>, CheckpointError> {
        if self.checkpoint.is_replacing() {
            return Ok(None);
        }
        let inner = &self.checkpoint.inner;
        let Some(row) = inner.store.get(&row_key(HEADER_KEY))? else { return Ok(None) };
        let head = Head::decode(&row)
            .map_err(|source| self.checkpoint.unusable(RestoreError::Row { key: HEADER_KEY.to_vec(), source }))?;
        Ok(head.last.is_some().then_some(head))
    }

    pub(super) fn rows(&self) -> Result<Rows<'_>, CheckpointError> {
        self.checkpoint.load_rows()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.checkpoint.inner.gate.release();
    }
}

/// Rows of the tables in key order.
pub(super) struct Rows<'a> {
    checkpoint: &'a Checkpoint,
    stored: RowScan<'a>,
    /// What is left of the page that was read last.
    page: std::vec::IntoIter<(Vec<u8>, Vec<u8>)>,
}

impl Iterator for Rows<'_> {
    type Item = Result<(Vec<u8>, Vec<u8>), CheckpointError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.page.next() {
                return Some(Ok(row));
            }
            let (mut key, value) = match self.stored.next()? {
                Ok(stored) => stored,
                Err(error) => return Some(Err(error)),
            };
            key.remove(0);
            if Page::of(&key).is_none() {
                return Some(Ok((key, value)));
            }
            match Page::decode(&value).and_then(|page| page.into_rows(&key)) {
                Some(rows) => self.page = rows.into_iter(),
                None => return Some(Err(self.checkpoint.no_page(&key))),
            }
        }
    }
}

fn row_key(key: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(1 + key.len());
    row.push(ROW);
    row.extend_from_slice(key);
    row
}

fn check_row(key: &[u8], value: &[u8]) {
    assert!(key.len() <= ROW_KEY_BYTES_MAX, "a row key of {} bytes exceeds {ROW_KEY_BYTES_MAX}", key.len());
    assert!(value.len() <= ROW_VALUE_BYTES_MAX, "a row of {} bytes exceeds {ROW_VALUE_BYTES_MAX}", value.len());
}
