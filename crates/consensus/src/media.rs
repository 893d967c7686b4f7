//! What a node keeps its log and its checkpoint on. A simulation brings its own.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use leasehold_state_machine::storage::{Checkpoint, CheckpointError};

use crate::log_store::{open_mark, open_wal};

pub use crate::log_store::{MarkBytes, StoredLogId, StoredPayload, StoredVote, Synced, Wal, WalState};

/// Opens what log and checkpoint are kept on. Everything in it blocks.
pub trait Disk: Send + Sync + 'static {
    /// Opens the write-ahead log in this folder, or makes an empty one.
    fn open_log(&self, dir: &Path) -> io::Result<Box<dyn Wal>>;
    /// Opens the mark, or makes an empty one.
    fn open_mark(&self, path: &Path) -> io::Result<Box<dyn MarkBytes>>;
    /// Opens the checkpoint in this folder, or makes an empty one.
    fn open_checkpoint(&self, dir: &Path) -> Result<Checkpoint, CheckpointError>;
    /// Removes a checkpoint that cannot be used.
    fn discard_checkpoint(&self, dir: &Path) -> io::Result<()>;
}

/// A [`Disk`], shared. Cheap to clone.
#[derive(Clone)]
pub struct Media(Arc<dyn Disk>);

impl Media {
    /// Files of the operating system: raft-log and sled.
    #[must_use]
    pub fn files() -> Self {
        Self(Arc::new(Files))
    }

    /// Something else.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>) -> Self {
        Self(disk)
    }

    pub(crate) fn disk(&self) -> &dyn Disk {
        &*self.0
    }
}

impl fmt::Debug for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Media")
    }
}

struct Files;

impl Disk for Files {
    fn open_log(&self, dir: &Path) -> io::Result<Box<dyn Wal>> {
        open_wal(dir)
    }

    fn open_mark(&self, path: &Path) -> io::Result<Box<dyn MarkBytes>> {
        open_mark(path)
    }

    fn open_checkpoint(&self, dir: &Path) -> Result<Checkpoint, CheckpointError> {
        Checkpoint::open(dir)
    }

    fn discard_checkpoint(&self, dir: &Path) -> io::Result<()> {
        Checkpoint::discard(dir)
    }
}
