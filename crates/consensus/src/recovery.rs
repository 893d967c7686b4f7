//! What a node finds in its data folder when it starts (DESIGN section 6).

use std::fs::File;
use std::path::{Path, PathBuf};

use leasehold_failpoints::failpoint;
use leasehold_state_machine::StateMachine;
use leasehold_state_machine::storage::{Checkpoint, SnapshotFile, files};
use rustix::fs::FlockOperation;

use crate::StartError;
use crate::level::{AboveLevel, LevelGuard};
use crate::log_store::LogStore;
use crate::media::{Disk, Media};
use crate::runtime::spawn_blocking;
use crate::types::log_id;

/// Names in a data folder.
pub(crate) struct DataDir {
    root: PathBuf,
    /// Held as long as the node runs: two processes on one folder would destroy it.
    _lock: File,
}

impl DataDir {
    /// Makes the folder if needed and locks it.
    pub(crate) fn lock(root: &Path) -> Result<Self, StartError> {
        let refuse = |error: &dyn std::fmt::Display| {
            StartError::Data(format!("data folder {} cannot be used: {error}", root.display()))
        };
        std::fs::create_dir_all(root).map_err(|error| refuse(&error))?;
        let lock = File::options().create(true).truncate(false).write(true).open(root.join("lock"));
        let lock = lock.map_err(|error| refuse(&error))?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| refuse(&"another process uses it; stop that one first"))?;
        failpoint!("recovery::lock::after").map_err(|error| refuse(&error))?;
        Ok(Self { root: root.to_path_buf(), _lock: lock })
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    pub(crate) fn checkpoint(&self) -> PathBuf {
        self.root.join("checkpoint")
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }
}

/// Everything that was found, agreeing with each other.
pub(crate) struct Recovered {
    pub(crate) log: LogStore,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) state: StateMachine,
    pub(crate) snapshot: Option<SnapshotFile>,
}

/// Opens log, checkpoint and snapshot, and brings them into agreement. Tables of a higher level than this node supports are
/// refused, and left as they are.
pub(crate) async fn recover(dir: &DataDir, media: Media, level_max: u32) -> Result<Recovered, StartError> {
    let (log_dir, checkpoint_dir, snapshot_dir) = (dir.log(), dir.checkpoint(), dir.snapshots());
    let work = move || open_all(&media, &log_dir, &checkpoint_dir, &snapshot_dir, level_max);
    let mut recovered = spawn_blocking(work).await.map_err(|error| StartError::Data(error.to_string()))??;
    let (applied, last) = (recovered.state.applied(), recovered.log.last());
    if let Some(applied) = applied
        && last.is_none_or(|last| last.index < applied.index)
    {
        // A follower applies before its own flush, so after a crash the tables can be ahead of the log.
        tracing::warn!(applied = applied.index, last = last.map(|id| id.index), "the log ends before the checkpoint");
        // What is purged must be in a snapshot: openraft insists on it, and a power cut may take the checkpoint.
        let (dir, checkpoint) = (dir.snapshots(), recovered.checkpoint.clone());
        let written = spawn_blocking(move || SnapshotFile::write(&dir, &checkpoint)).await;
        let written = written.map_err(|error| StartError::Data(error.to_string()))?;
        recovered.snapshot = written.map_err(|error| StartError::Data(error.to_string()))?.or(recovered.snapshot);
        let purged = recovered.log.purge_through(log_id(applied)).await;
        purged.map_err(|error| StartError::Data(format!("the log cannot be written: {error}")))?;
    }
    Ok(recovered)
}

fn open_all(
    media: &Media,
    log_dir: &Path,
    checkpoint_dir: &Path,
    snapshot_dir: &Path,
    level_max: u32,
) -> Result<Recovered, StartError> {
    let data = |error: &dyn std::fmt::Display| StartError::Data(error.to_string());
    let log = LogStore::open(log_dir, media).map_err(|error| data(&error))?;
    failpoint!("recovery::log::after").map_err(|error| data(&error))?;
    std::fs::create_dir_all(snapshot_dir).map_err(|error| data(&error))?;
    // The folders of log and snapshots must be there after a power cut: without them the node would take itself for a new one.
    files::sync_parent(snapshot_dir).map_err(|error| data(&error))?;
    let snapshot = SnapshotFile::newest(snapshot_dir).map_err(|error| data(&error))?;
    failpoint!("recovery::snapshot::after").map_err(|error| data(&error))?;
    let purged = log.purged().map(|id| id.index);
    let level = LevelGuard::new(level_max);
    let (checkpoint, state) = open_checkpoint(media.disk(), checkpoint_dir, &level)?;
    failpoint!("recovery::checkpoint::after").map_err(|error| data(&error))?;
    let state = match choose(state, snapshot.as_ref(), purged)? {
        Source::Checkpoint(state) => *state,
        Source::Nothing => {
            // Cut off in the middle before there was a snapshot: what is left of it is of no use.
            if checkpoint.is_replacing() {
                checkpoint.replace(Vec::new()).map_err(|error| data(&error))?;
                tracing::info!("rebuilding the tables from the log");
            }
            StateMachine::new()
        }
        Source::Snapshot(file) => {
            let head = file.state_head().map_err(|error| data(&error))?;
            level.check_tables("snapshot", &file.path, head.level).map_err(above)?;
            let state = file.load().map_err(|error| data(&error))?;
            failpoint!("recovery::install::before").map_err(|error| data(&error))?;
            checkpoint.install(file).map_err(|error| data(&error))?;
            failpoint!("recovery::install::after").map_err(|error| data(&error))?;
            tracing::info!(log_index = index_of(&state), "rebuilt the tables from snapshot {}", file.path.display());
            state
        }
    };
    Ok(Recovered { log, checkpoint, state, snapshot })
}

enum Source<'a> {
    Checkpoint(Box<StateMachine>),
    Snapshot(&'a SnapshotFile),
    Nothing,
}

fn index_of(state: &StateMachine) -> Option<u64> {
    state.applied().map(|id| id.index)
}

/// The newest state that the log continues. A checkpoint behind the purge point is of no use.
fn choose(
    checkpoint: Option<StateMachine>,
    snapshot: Option<&SnapshotFile>,
    purged: Option<u64>,
) -> Result<Source<'_>, StartError> {
    let checkpoint = checkpoint.filter(|state| index_of(state) >= purged);
    let snapshot = snapshot.filter(|file| file.head.last.map(|id| id.index) >= purged);
    match (checkpoint, snapshot) {
        (Some(state), Some(file)) if file.head.last > state.applied() => Ok(Source::Snapshot(file)),
        (Some(state), _) => Ok(Source::Checkpoint(Box::new(state))),
        (None, Some(file)) => Ok(Source::Snapshot(file)),
        (None, None) => match purged {
            None => Ok(Source::Nothing),
            Some(purged) => Err(StartError::Data(format!(
                "the log begins after entry {purged}, and neither the checkpoint nor a snapshot holds what came before. If \
                 other members hold a quorum, replace this node with an empty data folder and a new node id; otherwise \
                 restore the folder from a backup"
            ))),
        },
    }
}

fn above(error: AboveLevel) -> StartError {
    StartError::Level(error.to_string())
}

/// Opens the checkpoint; one that cannot be used is thrown away, because snapshot and log have it all. One of a higher level
/// than this node supports is not even read: it is whole, for another build.
fn open_checkpoint(
    disk: &dyn Disk,
    dir: &Path,
    level: &LevelGuard,
) -> Result<(Checkpoint, Option<StateMachine>), StartError> {
    let opened = disk.open_checkpoint(dir).and_then(|checkpoint| {
        let head = checkpoint.head()?;
        let refused = head.and_then(|head| level.check_tables("checkpoint", dir, head.level).err());
        let state = if refused.is_none() { checkpoint.load()? } else { None };
        Ok((checkpoint, state, refused))
    });
    match opened {
        Ok((_, _, Some(refused))) => Err(above(refused)),
        Ok((checkpoint, state, None)) => Ok((checkpoint, state)),
        Err(error) if !error.is_discardable() => Err(StartError::Data(error.to_string())),
        Err(error) => {
            tracing::warn!(%error, "the checkpoint cannot be used; rebuilding it from snapshot and log");
            let again =
                |error: &dyn std::fmt::Display| StartError::Data(format!("checkpoint {}: {error}", dir.display()));
            disk.discard_checkpoint(dir).map_err(|error| again(&error))?;
            Ok((disk.open_checkpoint(dir).map_err(|error| again(&error))?, None))
        }
    }
}

#[cfg(test)]
#[path = "recovery_tests.rs"]
mod tests;
