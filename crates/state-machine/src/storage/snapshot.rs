//! Snapshot files: magic, format version, cluster id, log id, membership, rows, CRC.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use leasehold_failpoints::failpoint;

use super::snapshot_format::{FileRows, Head, Reader, Writer};
use super::temporary::{TemporaryFile, remove_if_there};
use super::{Checkpoint, CheckpointError};
use crate::{ClusterId, EntryId, HEADER_KEY, RowsCheck, StateHead, StateMachine, decode_head};

/// Begin and end of the names of snapshot files; log index and term stand between, so that names sort as positions do.
pub(super) const FILE_PREFIX: &str = "snapshot-";
const FILE_SUFFIX: &str = ".snap";

/// Why a snapshot file cannot be written or used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file system.
    #[error("snapshot {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
    /// Not a snapshot, cut short, or damaged.
    #[error(
        "snapshot {path} is damaged: {problem}. Move the file away: the node starts from an older snapshot if its log reaches back to that, and must be replaced otherwise"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Another format version wrote it.
    #[error(
        "snapshot {path} has format version {found}; this build reads {supported}. Start the build that wrote it, or remove this node's data folder and replace the node"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Version in the file.
        found: u8,
        /// Version of this build.
        supported: u8,
    },
    /// It belongs to another cluster.
    #[error(
        "snapshot {path} is of cluster {}, not of {expected}. Give the node the data folder that belongs to it, or remove the folder and replace the node",
        found.map_or_else(|| "none".to_owned(), |found| found.to_string())
    )]
    Cluster {
        /// The file.
        path: PathBuf,
        /// Cluster in the file; None: it was not founded yet.
        found: Option<ClusterId>,
        /// Cluster of this node.
        expected: ClusterId,
    },
    /// The checkpoint that it is made from.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
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

impl SnapshotFile {
    /// Streams the checkpoint into a new file in `dir` while checkpointing is held back; temporary name, fsync, rename,
    /// fsync of the directory. Rows that do not have the recorded state hash make no snapshot: the log is purged behind
    /// it. The checkpoint is flushed too, so that it does not lie behind the snapshot after a power cut. Older snapshots
    /// stay until [`Self::remove_older`]. Nothing to write: None.
    pub fn write(dir: &Path, checkpoint: &Checkpoint) -> Result<Option<Self>, SnapshotError> {
        let hold = checkpoint.hold();
        let Some(head) = hold.head()? else { return Ok(None) };
        let mut new = NewSnapshot::create(dir, head)?;
        let mut check = RowsCheck::default();
        for row in hold.rows()? {
            let (key, value) = row?;
            check.row(&key, &value).map_err(|error| checkpoint.unusable(error))?;
            new.row(&key, &value)?;
        }
        check.finish().map_err(|error| checkpoint.unusable(error))?;
        drop(hold);
        let snapshot = new.finish()?;
        checkpoint.flush()?;
        Ok(Some(snapshot))
    }

    /// Writes a snapshot of tables in memory (tests, tools).
    pub fn write_state(dir: &Path, state: &mut StateMachine) -> Result<Self, SnapshotError> {
        let mut new = NewSnapshot::create(dir, Head::of(state))?;
        for (key, value) in state.rows() {
            new.row(&key, &value)?;
        }
        new.finish()
    }

    /// Opens a file and checks all of it (streaming).
    pub fn open(path: &Path) -> Result<Self, SnapshotError> {
        let (mut reader, head) = Reader::open(path)?;
        let (mut key, mut value) = (Vec::new(), Vec::new());
        while reader.row(&mut key, &mut value)? {}
        let head = head.with_rows(reader.rows());
        Ok(Self { path: path.to_owned(), head, bytes: reader.bytes() })
    }

    /// The newest valid snapshot in `dir`; no folder, no snapshot. Damaged ones are an error only if no valid one is
    /// left, and are logged otherwise: the caller checks that its log reaches back to the one that it gets. One of
    /// another format version is an error. Temporary files of an interrupted write are removed.
    pub fn newest(dir: &Path) -> Result<Option<Self>, SnapshotError> {
        let mut files = list(dir)?;
        match TemporaryFile::remove_left_over(dir, FILE_PREFIX) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error(dir)(error)),
            _ => {}
        }
        files.sort_unstable();
        let mut damaged = None;
        for (position, path) in files.into_iter().rev() {
            match Self::open_at(position, &path) {
                Ok(snapshot) => return Ok(Some(snapshot)),
                Err(error @ SnapshotError::Damaged { .. }) => {
                    tracing::warn!(path = %path.display(), %error, "a snapshot is not used");
                    damaged = damaged.or(Some(error));
                }
                Err(error) => return Err(error),
            }
        }
        damaged.map_or(Ok(None), Err)
    }

    /// Reads the state.
    pub fn load(&self) -> Result<StateMachine, SnapshotError> {
        failpoint!("snapshot::load::before").map_err(|error| io_error(&self.path)(error))?;
        let (head, rows) = self.rows()?;
        let mut failed = None;
        let state = StateMachine::from_rows(rows.map_while(|row| row.map_err(|error| failed = Some(error)).ok()));
        if let Some(error) = failed {
            return Err(error);
        }
        let damaged = |problem| SnapshotError::Damaged { path: self.path.clone(), problem };
        let state = state.map_err(|error| damaged(error.to_string()))?;
        if Head::of(&state) != head {
            return Err(damaged("its head is not that of its rows".to_owned()));
        }
        Ok(state)
    }

    /// What the header row says, without looking at the others: whether this build can read them may depend on it.
    pub fn state_head(&self) -> Result<StateHead, SnapshotError> {
        let damaged = |problem| SnapshotError::Damaged { path: self.path.clone(), problem };
        let (_, mut rows) = self.rows()?;
        match rows.next().transpose()? {
            Some((key, value)) if key == HEADER_KEY => {
                decode_head(&value).map_err(|error| damaged(format!("its header row: {error}")))
            }
            _ => Err(damaged("it does not begin with the header row".to_owned())),
        }
    }

    /// Refuses a snapshot of another cluster.
    pub fn check_cluster(&self, expected: ClusterId) -> Result<(), SnapshotError> {
        if self.head.cluster == Some(expected) {
            return Ok(());
        }
        Err(SnapshotError::Cluster { path: self.path.clone(), found: self.head.cluster, expected })
    }

    /// The file, open for reading from its first byte, for sending it. It stays readable when it is removed meanwhile.
    pub fn reader(&self) -> Result<File, SnapshotError> {
        File::open(&self.path).map_err(io_error(&self.path))
    }

    /// Removes all snapshots in `dir` that are older than `self`, damaged ones too.
    pub fn remove_older(&self, dir: &Path) -> Result<(), SnapshotError> {
        let own = position(self.head.last);
        for (position, path) in list(dir)? {
            if position < own {
                failpoint!("snapshot::remove::before").map_err(|error| io_error(&path)(error))?;
                remove_if_there(&path).map_err(io_error(&path))?;
                failpoint!("snapshot::remove::after").map_err(|error| io_error(&path)(error))?;
            }
        }
        Ok(())
    }

    /// Head and rows. The file is known to be whole once the rows have ended without an error.
    pub(super) fn rows(&self) -> Result<(Head, FileRows), SnapshotError> {
        let (reader, head) = Reader::open(&self.path)?;
        Ok((head, FileRows::new(reader)))
    }

    fn open_at(expected: Position, path: &Path) -> Result<Self, SnapshotError> {
        let snapshot = Self::open(path)?;
        let found = position(snapshot.head.last);
        if found != expected {
            let problem = format!("it ends at log index {} of term {}, its name says otherwise", found.0, found.1);
            return Err(SnapshotError::Damaged { path: path.to_owned(), problem });
        }
        Ok(snapshot)
    }
}

/// A snapshot being written.
pub(super) struct NewSnapshot {
    dir: PathBuf,
    head: Head,
    writer: Writer,
    temporary: TemporaryFile,
}

impl NewSnapshot {
    pub(super) fn create(dir: &Path, head: Head) -> Result<Self, SnapshotError> {
        let (temporary, file) = TemporaryFile::create(dir, FILE_PREFIX).map_err(io_error(dir))?;
        let writer = Writer::new(file, &head).map_err(io_error(temporary.path()))?;
        Ok(Self { dir: dir.to_owned(), head, writer, temporary })
    }

    pub(super) fn row(&mut self, key: &[u8], value: &[u8]) -> Result<(), SnapshotError> {
        let written = failpoint!("snapshot::row::before").and_then(|()| self.writer.row(key, value));
        written.map_err(io_error(self.temporary.path()))
    }

    pub(super) fn finish(self) -> Result<SnapshotFile, SnapshotError> {
        let Self { dir, head, writer, temporary } = self;
        let finished = failpoint!("snapshot::end::before").and_then(|()| writer.finish());
        let (file, rows, bytes) = finished.map_err(io_error(temporary.path()))?;
        drop(file);
        let path = dir.join(file_name(head.last));
        temporary.rename(&path).map_err(io_error(&path))?;
        Ok(SnapshotFile { path, head: head.with_rows(rows), bytes })
    }
}

/// Log index and term: what snapshots are ordered by.
type Position = (u64, u64);

fn position(last: Option<EntryId>) -> Position {
    last.map_or((0, 0), |last| (last.index, last.leader.term))
}

pub(super) fn file_name(last: Option<EntryId>) -> String {
    let (index, term) = position(last);
    format!("{FILE_PREFIX}{index:020}-{term:020}{FILE_SUFFIX}")
}

fn parse_file_name(name: &str) -> Option<Position> {
    let (index, term) = name.strip_prefix(FILE_PREFIX)?.strip_suffix(FILE_SUFFIX)?.split_once('-')?;
    Some((index.parse().ok()?, term.parse().ok()?))
}

fn list(dir: &Path) -> Result<Vec<(Position, PathBuf)>, SnapshotError> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io_error(dir)(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(io_error(dir))?.path();
        if let Some(position) = path.file_name().and_then(|name| name.to_str()).and_then(parse_file_name) {
            files.push((position, path));
        }
    }
    Ok(files)
}

pub(super) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> SnapshotError {
    let path = path.to_owned();
    |source| SnapshotError::Io { path, source }
}
