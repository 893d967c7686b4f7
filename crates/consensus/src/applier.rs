//! Applies committed entries to the tables: openraft's state machine on this node.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use leasehold_failpoints::failpoint;
use leasehold_state_machine::storage::{SnapshotError, SnapshotFile};
use leasehold_state_machine::{EntryId, StateMachine, codec};
use openraft::entry::EntryPayload;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot, SnapshotMeta};
use openraft::type_config::alias::{SnapshotMetaOf, SnapshotOf};
use parking_lot::{Mutex, RwLockWriteGuard};
use rustix::io::Errno;

use crate::checkpointer::Checkpointer;
use crate::divergence::Positions;
use crate::level::AboveLevel;
use crate::pace::Pace;
use crate::runtime::spawn_blocking;
use crate::shared::Shared;
use crate::types::{
    BatchBytes, LogId, Member, Outcomes, StoredMembership, TypeConfig, decode_membership, entry_id, log_id,
};

/// How long one entry waits for a snapshot that holds the checkpoint for too long.
const HOLD_WAIT_MAX: Duration = Duration::from_millis(20);

/// How long a snapshot waits for a file descriptor before it tries again.
const FILES_WAIT: Duration = Duration::from_secs(1);

/// The one writer of the tables.
#[derive(Clone)]
pub(crate) struct Applier {
    shared: Arc<Shared>,
    checkpointer: Arc<Checkpointer>,
    snapshots: Arc<Snapshots>,
    node_id: u64,
    pace: Pace,
}

/// The snapshots of this node: a folder, and the newest file in it.
pub(crate) struct Snapshots {
    pub(crate) dir: PathBuf,
    pub(crate) newest: Mutex<Option<SnapshotFile>>,
}

impl Snapshots {
    /// Makes a file that is safely on disk the newest one, and removes those before it.
    async fn keep(&self, file: SnapshotFile) -> io::Result<()> {
        *self.newest.lock() = Some(file.clone());
        let dir = self.dir.clone();
        let removed = spawn_blocking(move || file.remove_older(&dir)).await.map_err(io::Error::other)?;
        if let Err(error) = removed {
            tracing::warn!(%error, "an older snapshot could not be removed");
        }
        Ok(())
    }
}

impl Applier {
    pub(crate) fn new(
        node_id: u64,
        shared: Arc<Shared>,
        checkpointer: Arc<Checkpointer>,
        snapshots: Arc<Snapshots>,
    ) -> Self {
        Self { shared, checkpointer, snapshots, node_id, pace: Pace::default() }
    }

    /// A leader's clock starts when it has applied an entry of its own leader id.
    fn start_clock_if_leading(&self, entry: EntryId) {
        if entry.leader.node != self.node_id {
            return;
        }
        let mut clock = self.shared.leader_clock.lock();
        if clock.leader() != Some(entry.leader) {
            let now = self.shared.state.read().now();
            clock.start(entry.leader, now, self.shared.clock.monotonic());
            self.shared.proposer_wake.notify_one();
        }
    }

    fn apply_batch(&self, entry: EntryId, bytes: &BatchBytes) -> io::Result<Outcomes> {
        let batch = codec::decode_batch(&bytes.0).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidData, format!("log entry {}: {error}", entry.index))
        })?;
        if batch.stamped_by == entry.leader {
            // Before `now` moves on: what exceeds the clamp is dropped for ever.
            let (now, pending) = (self.shared.now(), self.shared.earliest_deadline().is_some());
            self.shared.leader_clock.lock().advance(now, self.shared.clock.monotonic(), pending);
        }
        let mut state = self.shared.state.write();
        // Before anything of it is applied: half an entry would be a state that no other node has.
        self.shared.level.check_batch(entry.index, &batch, &state).map_err(unsupported)?;
        let effects = state.apply(entry, &batch);
        assert_eq!(effects.outcomes.len(), batch.commands.len(), "one outcome per command");
        let state = RwLockWriteGuard::downgrade(state);
        self.shared.observer.applied(effects.events.into(), &state);
        self.shared.publish(&state);
        Ok(Outcomes(effects.outcomes))
    }

    /// Slows down while a snapshot that takes too long holds the checkpoint back: the rows that change meanwhile are kept
    /// in memory.
    async fn yield_to_snapshot(&self) -> io::Result<()> {
        let checkpoint = self.checkpointer.checkpoint();
        // Mostly nobody holds it: then the tables need not be looked at for every entry.
        if !checkpoint.is_held() || !checkpoint.is_hold_exceeded(self.shared.state.read().changed_rows()) {
            return Ok(());
        }
        let checkpoint = checkpoint.clone();
        spawn_blocking(move || checkpoint.wait_released(HOLD_WAIT_MAX)).await.map(drop).map_err(io::Error::other)
    }

    fn apply_entry(&self, id: LogId, payload: &EntryPayload<BatchBytes, u64, Member>) -> io::Result<Outcomes> {
        let entry = entry_id(id);
        let outcomes = match payload {
            EntryPayload::Blank => {
                self.shared.state.write().apply_blank(entry);
                Outcomes::default()
            }
            EntryPayload::Normal(bytes) => self.apply_batch(entry, bytes)?,
            EntryPayload::Membership(membership) => {
                self.shared.state.write().apply_membership(entry, codec::encode(membership));
                Outcomes::default()
            }
        };
        if Positions::is_position(entry.index) {
            let hash = self.shared.state.write().state_hash();
            self.shared.positions.lock().record(entry.index, hash);
        }
        self.start_clock_if_leading(entry);
        Ok(outcomes)
    }
}

fn unsupported(error: AboveLevel) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, error)
}

/// The membership that a state recorded, as openraft wants it.
pub(crate) fn stored_membership(recorded: Option<(EntryId, &[u8])>) -> io::Result<StoredMembership> {
    let Some((entry, encoded)) = recorded else { return Ok(StoredMembership::default()) };
    let membership = decode_membership(encoded)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("recorded membership: {error}")))?;
    Ok(StoredMembership::new(Some(log_id(entry)), membership))
}

/// Whether this process, or the machine, has no file descriptor left.
fn lacks_files(error: &SnapshotError) -> bool {
    let SnapshotError::Io { source, .. } = error else { return false };
    [Errno::MFILE, Errno::NFILE].map(|errno| Some(errno.raw_os_error())).contains(&source.raw_os_error())
}

fn snapshot_meta(file: &SnapshotFile) -> io::Result<SnapshotMetaOf<TypeConfig>> {
    let membership = file.head.membership.as_ref().map(|(entry, encoded)| (*entry, encoded.as_slice()));
    Ok(SnapshotMeta { last_log_id: file.head.last.map(log_id), last_membership: stored_membership(membership)? })
}

/// A snapshot file as openraft wants it.
pub(crate) fn as_snapshot(file: SnapshotFile) -> io::Result<SnapshotOf<TypeConfig, SnapshotFile>> {
    Ok(Snapshot { meta: snapshot_meta(&file)?, snapshot: file })
}

impl RaftStateMachine<TypeConfig> for Applier {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let state = self.shared.state.read();
        Ok((state.applied().map(log_id), stored_membership(state.membership())?))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + openraft::OptionalSend,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            self.yield_to_snapshot().await?;
            failpoint!("apply::entry::before")?;
            let outcomes = self.apply_entry(entry.log_id, &entry.payload)?;
            failpoint!("apply::entry::after")?;
            self.shared.applied.send_replace(entry.log_id.index);
            if let Some(responder) = responder {
                responder.send(outcomes);
                failpoint!("apply::answer::after", pass);
            }
            let changed = self.shared.state.read().changed_rows();
            if let Some(wait) = self.pace.applied(changed, &self.checkpointer.rate) {
                tokio::time::sleep(wait).await;
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self::SnapshotBuilder {
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMetaOf<TypeConfig>,
        snapshot: SnapshotFile,
    ) -> Result<(), io::Error> {
        failpoint!("install::snapshot::before")?;
        let index = meta.last_log_id.map_or(0, |id| id.index);
        let shared = Arc::clone(&self.shared);
        let file = snapshot.clone();
        let head =
            spawn_blocking(move || file.state_head()).await.map_err(io::Error::other)?.map_err(io::Error::other)?;
        self.shared.level.check_tables("snapshot", &snapshot.path, head.level).map_err(unsupported)?;
        // The file is durable already: a crash from here on finds it, whatever became of the checkpoint.
        let swap = move |state| {
            failpoint!("install::tables::before", pass);
            let mut tables = shared.state.write();
            *tables = state;
            shared.positions.lock().clear();
            let tables = RwLockWriteGuard::downgrade(tables);
            shared.observer.reset(&tables);
            shared.publish(&tables);
            failpoint!("install::tables::after", pass);
        };
        self.checkpointer.install(snapshot.clone(), swap).await?;
        self.shared.applied.send_replace(index);
        self.snapshots.keep(snapshot).await?;
        failpoint!("install::snapshot::after")?;
        tracing::info!(log_index = index, "installed a snapshot");
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<SnapshotOf<TypeConfig, SnapshotFile>>, io::Error> {
        self.snapshots.newest.lock().clone().map(as_snapshot).transpose()
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Applier {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<TypeConfig, SnapshotFile>, io::Error> {
        failpoint!("snapshot::build::before")?;
        self.checkpointer.checkpoint_now().await?;
        let dir = self.snapshots.dir.clone();
        let checkpoint = self.checkpointer.checkpoint().clone();
        let write = move || -> Result<SnapshotFile, SnapshotError> {
            match SnapshotFile::write(&dir, &checkpoint)? {
                Some(file) => Ok(file),
                // Nothing was applied yet: a snapshot of nothing.
                None => SnapshotFile::write_state(&dir, &mut StateMachine::new()),
            }
        };
        let file = loop {
            match spawn_blocking(write.clone()).await.map_err(io::Error::other)? {
                // Not the disk's fault, and nobody waits for a snapshot: openraft would end the node on an error.
                Err(error) if lacks_files(&error) => {
                    tracing::warn!(%error, "the snapshot waits for a free file descriptor");
                    tokio::time::sleep(FILES_WAIT).await;
                }
                written => break written.map_err(io::Error::other)?,
            }
        };
        self.snapshots.keep(file.clone()).await?;
        tracing::info!(log_index = file.head.last.map(|id| id.index), bytes = file.bytes, "wrote a snapshot");
        failpoint!("snapshot::build::after")?;
        as_snapshot(file)
    }
}

#[cfg(test)]
#[path = "applier_tests.rs"]
mod tests;
