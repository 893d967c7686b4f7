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
}

impl<'a> BoundedBatch<'a> {
    pub(super) fn new(store: &'a dyn RowStore) -> Self {
        Self { store, batch: RowBatch::default(), bytes: 0 }
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
        if self.batch.len() < REPLACE_BATCH_ROWS && self.bytes < REPLACE_BATCH_BYTES { Ok(()) } else { self.apply() }
    }

    /// Applies what is left.
    pub(super) fn apply(&mut self) -> Result<(), CheckpointError> {
        self.bytes = 0;
        self.store.apply(std::mem::take(&mut self.batch))
    }
}
