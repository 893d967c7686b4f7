//! Snapshot files: magic, format version, cluster id, log id, membership, rows, CRC.

use std::path::{Path, PathBuf};

use super::Checkpoint;
use crate::{ClusterId, EntryId, StateMachine};

/// Why a snapshot file cannot be written or used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file system.
    #[error("snapshot {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: std::io::Error,
    },
    /// Not a snapshot, cut short, or damaged.
    #[error("snapshot {path} is damaged: {problem}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Another format version wrote it.
    #[error("snapshot {path} has format version {found}; this build reads {supported}. Start the build that wrote it, or remove this node's data folder and replace the node")]
    Version {
        /// The file.
        path: PathBuf,
        /// Version in the file.
        found: u8,
        /// Version of this build.
        supported: u8,
    },
    /// It belongs to another cluster.
    #[error("snapshot {path} is of cluster {found}, not of {expected}")]
    Cluster {
        /// The file.
        path: PathBuf,
        /// Cluster in the file.
        found: ClusterId,
        /// Cluster of this node.
        expected: ClusterId,
    },
    /// The checkpoint that it is made from.
    #[error(transparent)]
    Checkpoint(#[from] super::CheckpointError),
}

/// What stands at the head of a snapshot file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotHead {
    /// The cluster; None before it was founded.
    pub cluster: Option<ClusterId>,
    /// Last entry that is included.
    pub last: Option<EntryId>,
    /// Membership as the consensus crate encoded it, and the entry that recorded it.
    pub membership: Option<(EntryId, Vec<u8>)>,
    /// Number of rows.
    pub rows: u64,
}

/// A snapshot file that was checked from magic to CRC.
#[derive(Debug, Clone)]
pub struct SnapshotFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Its head.
    pub head: SnapshotHead,
    /// Size in bytes.
    pub bytes: u64,
}

#[allow(unused_variables, clippy::todo)]
impl SnapshotFile {
    /// Streams the checkpoint into a new file in `dir` while checkpointing is held back; temporary name, fsync, rename,
    /// fsync of the directory. Older snapshots stay until [`Self::remove_older`]. Nothing to write: None.
    pub fn write(dir: &Path, checkpoint: &Checkpoint) -> Result<Option<Self>, SnapshotError> {
        todo!()
    }

    /// Writes a snapshot of tables in memory (tests, tools).
    pub fn write_state(dir: &Path, state: &mut StateMachine) -> Result<Self, SnapshotError> {
        todo!()
    }

    /// Opens a file and checks all of it (streaming).
    pub fn open(path: &Path) -> Result<Self, SnapshotError> {
        todo!()
    }

    /// The newest valid snapshot in `dir`. Damaged ones are an error only if no valid one is left, temporary files of an
    /// interrupted write are removed.
    pub fn newest(dir: &Path) -> Result<Option<Self>, SnapshotError> {
        todo!()
    }

    /// Reads the state.
    pub fn load(&self) -> Result<StateMachine, SnapshotError> {
        todo!()
    }

    /// Removes all valid snapshots in `dir` that are older than `self`.
    pub fn remove_older(&self, dir: &Path) -> Result<(), SnapshotError> {
        todo!()
    }
}
