//! The last checkpoint of the tables, in sled: a copy that can be rebuilt, never the only one.

use std::path::{Path, PathBuf};

use crate::{Changes, RestoreError, StateMachine};

/// Why a checkpoint cannot be used or written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// sled does not open the folder, or fails.
    #[error("checkpoint {path}: {source}")]
    Sled {
        /// Folder of the checkpoint.
        path: PathBuf,
        /// What sled says.
        source: sled::Error,
    },
    /// The rows are there, but do not make a state machine (hash, decoding, contradiction).
    #[error("checkpoint {path}: {source}")]
    Restore {
        /// Folder of the checkpoint.
        path: PathBuf,
        /// What is wrong.
        source: RestoreError,
    },
    /// Another format version wrote the folder.
    #[error("checkpoint {path} has format version {found}; this build reads {supported}. Remove the folder: it will be rebuilt from snapshot and log")]
    Version {
        /// Folder of the checkpoint.
        path: PathBuf,
        /// Version on disk.
        found: u8,
        /// Version of this build.
        supported: u8,
    },
}

/// Handle to the sled folder. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Checkpoint {}

#[allow(unused_variables, clippy::todo)]
impl Checkpoint {
    /// Opens or makes the folder. A folder that does not open gives an error; the caller then calls [`Self::discard`].
    pub fn open(dir: &Path) -> Result<Self, CheckpointError> {
        todo!()
    }

    /// Removes a folder that cannot be used.
    pub fn discard(dir: &Path) -> std::io::Result<()> {
        todo!()
    }

    /// The state of the last checkpoint; None when there is none. The hash is recomputed and checked.
    pub fn load(&self) -> Result<Option<StateMachine>, CheckpointError> {
        todo!()
    }

    /// Writes changed rows in one atomic batch. Waits while a snapshot holds the checkpoint.
    pub fn write(&self, changes: Changes) -> Result<(), CheckpointError> {
        todo!()
    }

    /// Replaces everything by these rows (after a snapshot install). Atomic for readers after a crash: either the old
    /// checkpoint, or none, or the new one is found.
    pub fn replace<I>(&self, rows: I) -> Result<(), CheckpointError>
    where
        I: IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
    {
        todo!()
    }

    /// Makes what was written so far as durable as sled can.
    pub fn flush(&self) -> Result<(), CheckpointError> {
        todo!()
    }
}
