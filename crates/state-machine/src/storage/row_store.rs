//! What a checkpoint keeps its rows in: sled, or what a simulation puts in its place.

use std::any::Any;
use std::fmt::Debug;

use super::CheckpointError;

/// Rows in key order, as an iterator gives them.
pub type RowScan<'a> = Box<dyn Iterator<Item = Result<(Vec<u8>, Vec<u8>), CheckpointError>> + 'a>;

/// A durable, ordered map of rows. Everything in it blocks.
pub trait RowStore: Debug + Send + Sync + 'static {
    /// Whether there is no row at all.
    fn is_empty(&self) -> Result<bool, CheckpointError>;
    /// The value of one row.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, CheckpointError>;
    /// Writes one row.
    fn insert(&self, key: &[u8], value: &[u8]) -> Result<(), CheckpointError>;
    /// Applies changes, atomically. They may be lost by a crash until the next [`Self::flush`], never in part.
    fn apply(&self, batch: RowBatch) -> Result<(), CheckpointError>;
    /// The rows whose key begins with `prefix`, in key order.
    fn scan(&self, prefix: &[u8]) -> Result<RowScan<'_>, CheckpointError>;
    /// Makes everything written durable.
    fn flush(&self) -> Result<(), CheckpointError>;
    /// Marks that rows are about to be read that the process may not survive, until the returned value is dropped.
    fn attempt(&self) -> Result<Box<dyn Any>, CheckpointError>;
}

/// Changes of rows, in the order in which they are made.
#[derive(Debug, Default)]
pub struct RowBatch(Vec<(Vec<u8>, Option<Vec<u8>>)>);

impl RowBatch {
    /// Writes a row.
    pub fn insert(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.0.push((key, Some(value)));
    }

    /// Removes a row.
    pub fn remove(&mut self, key: Vec<u8>) {
        self.0.push((key, None));
    }

    /// Number of changes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl IntoIterator for RowBatch {
    type Item = (Vec<u8>, Option<Vec<u8>>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
