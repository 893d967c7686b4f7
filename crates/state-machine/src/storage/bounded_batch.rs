//! Many changes of the checkpoint, a bounded batch at a time.

use super::{CheckpointError, RowBatch, RowStore};

/// Rows of one batch while the whole checkpoint is replaced, and their bytes.
const REPLACE_BATCH_ROWS: usize = 1_000;
const REPLACE_BATCH_BYTES: usize = 1 << 20;

/// Changes that go in by batches of bounded size, in the order in which they are given.
pub(super) struct BoundedBatch<'a> {
    store: &'a dyn RowStore,
    batch: RowBatch,
    bytes: usize,
    rows_max: usize,
    bytes_max: usize,
}

impl<'a> BoundedBatch<'a> {
    pub(super) fn new(store: &'a dyn RowStore) -> Self {
        Self::bounded(store, REPLACE_BATCH_ROWS, REPLACE_BATCH_BYTES)
    }

    /// One batch, whatever its size: it goes in as a whole, or not at all.
    pub(super) fn whole(store: &'a dyn RowStore) -> Self {
        Self::bounded(store, usize::MAX, usize::MAX)
    }

    fn bounded(store: &'a dyn RowStore, rows_max: usize, bytes_max: usize) -> Self {
        Self { store, batch: RowBatch::default(), bytes: 0, rows_max, bytes_max }
    }

    /// Inserts, or removes where there is nothing to insert.
    pub(super) fn change(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) -> Result<(), CheckpointError> {
        match value {
            Some(value) => self.insert(key, value),
            None => self.remove(key),
        }
    }

    pub(super) fn insert(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), CheckpointError> {
        let bytes = key.len() + value.len();
        self.batch.insert(key, value);
        self.added(bytes)
    }

    pub(super) fn remove(&mut self, key: Vec<u8>) -> Result<(), CheckpointError> {
        let bytes = key.len();
        self.batch.remove(key);
        self.added(bytes)
    }

    fn added(&mut self, bytes: usize) -> Result<(), CheckpointError> {
        self.bytes += bytes;
        if self.batch.len() < self.rows_max && self.bytes < self.bytes_max { Ok(()) } else { self.apply() }
    }

    /// Applies what is left.
    pub(super) fn apply(&mut self) -> Result<(), CheckpointError> {
        self.bytes = 0;
        self.store.apply(std::mem::take(&mut self.batch))
    }
}
