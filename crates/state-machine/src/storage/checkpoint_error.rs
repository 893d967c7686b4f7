//! What can be wrong with a checkpoint.

use std::path::PathBuf;

use crate::RestoreError;

/// Why a checkpoint cannot be used or written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// sled does not open the folder, or fails.
    #[error("checkpoint {path}: {source}. Remove the folder: it will be rebuilt from snapshot and log")]
    Sled {
        /// Folder of the checkpoint.
        path: PathBuf,
        /// What sled says.
        source: sled::Error,
    },
    /// sled panicked, which it does on some damage.
    #[error("checkpoint {path}: sled panicked: {message}. Remove the folder: it will be rebuilt from snapshot and log")]
    Panicked {
        /// Folder of the checkpoint.
        path: PathBuf,
        /// What it said.
        message: String,
    },
    /// An earlier process ended while it read the folder: it may be what ended it.
    #[error(
        "checkpoint {path}: a process ended while it opened this. Remove the folder: it will be rebuilt from snapshot and log"
    )]
    Interrupted {
        /// Folder of the checkpoint.
        path: PathBuf,
    },
    /// Another handle has it open. Not damage: nothing may be removed.
    #[error("checkpoint {path} is in use by another process. Stop that one, or give this one a data folder of its own")]
    InUse {
        /// Folder of the checkpoint.
        path: PathBuf,
    },
    /// A replacement was begun and not finished: only another [`Checkpoint::replace`](super::Checkpoint::replace) or [`Checkpoint::install`](super::Checkpoint::install) helps.
    #[error("checkpoint {path} was being replaced: it takes changed rows again once that is done")]
    Replacing {
        /// Folder of the checkpoint.
        path: PathBuf,
    },
    /// The rows are there, but do not make a state machine (hash, decoding, contradiction).
    #[error("checkpoint {path}: {source}. Remove the folder: it will be rebuilt from snapshot and log")]
    Restore {
        /// Folder of the checkpoint.
        path: PathBuf,
        /// What is wrong.
        source: RestoreError,
    },
    /// Another format version wrote the folder.
    #[error(
        "checkpoint {path} has format version {found}; this build reads {supported}. Remove the folder: it will be rebuilt from snapshot and log"
    )]
    Version {
        /// Folder of the checkpoint.
        path: PathBuf,
        /// Version on disk.
        found: u8,
        /// Version of this build.
        supported: u8,
    },
}

impl CheckpointError {
    /// Whether [`Checkpoint::discard`](super::Checkpoint::discard) and rebuilding from snapshot and log is the answer. Otherwise nothing in the
    /// folder is wrong.
    #[must_use]
    pub fn is_discardable(&self) -> bool {
        match self {
            Self::Sled { .. }
            | Self::Panicked { .. }
            | Self::Interrupted { .. }
            | Self::Restore { .. }
            | Self::Version { .. } => true,
            Self::InUse { .. } | Self::Replacing { .. } => false,
        }
    }
}
