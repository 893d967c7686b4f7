//! A snapshot that comes in piece by piece.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use leasehold_failpoints::failpoint;

use super::snapshot::{FILE_PREFIX, file_name, io_error};
use super::temporary::TemporaryFile;
use super::{SnapshotError, SnapshotFile};
use crate::ClusterId;

/// Collects the bytes of a snapshot file in a temporary one; dropped unfinished, it removes that.
#[derive(Debug)]
pub struct SnapshotReceiver {
    dir: PathBuf,
    cluster: Option<ClusterId>,
    // Before the temporary file: closed before it is removed.
    file: BufWriter<File>,
    temporary: TemporaryFile,
    bytes: u64,
}

impl SnapshotReceiver {
    /// Begins a file in `dir`. Where the cluster is known, a snapshot of another one will be refused.
    pub fn create(dir: &Path, cluster: Option<ClusterId>) -> Result<Self, SnapshotError> {
        let (temporary, file) = TemporaryFile::create(dir, FILE_PREFIX).map_err(io_error(dir))?;
        Ok(Self { dir: dir.to_owned(), cluster, file: BufWriter::new(file), temporary, bytes: 0 })
    }

    /// Appends the next bytes.
    pub fn write_chunk(&mut self, chunk: &[u8]) -> Result<(), SnapshotError> {
        self.bytes += chunk.len() as u64;
        let written = failpoint!("receive::chunk::before").and_then(|()| self.file.write_all(chunk));
        written.and_then(|()| failpoint!("receive::chunk::after")).map_err(io_error(self.temporary.path()))
    }

    /// Bytes received so far: where the next chunk begins.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Checks all of it, then gives it its name, durably. A file that fails a check is removed.
    pub fn finish(self) -> Result<SnapshotFile, SnapshotError> {
        let Self { dir, cluster, file, temporary, .. } = self;
        let path = temporary.path().to_owned();
        drop(file.into_inner().map_err(io::IntoInnerError::into_error).map_err(io_error(&path))?);
        failpoint!("receive::check::before").map_err(|error| io_error(&path)(error))?;
        let mut snapshot = SnapshotFile::open(&path)?;
        failpoint!("receive::check::after").map_err(|error| io_error(&path)(error))?;
        if let Some(cluster) = cluster {
            snapshot.check_cluster(cluster)?;
        }
        snapshot.path = dir.join(file_name(snapshot.head.last));
        temporary.rename(&snapshot.path).map_err(io_error(&snapshot.path))?;
        Ok(snapshot)
    }
}
