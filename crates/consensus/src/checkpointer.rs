//! Writes the tables' changed rows into the checkpoint every few hundred ms.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use leasehold_failpoints::failpoint;
use leasehold_state_machine::StateMachine;
use leasehold_state_machine::storage::{Checkpoint, SnapshotFile};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::runtime::{spawn, spawn_blocking};
use crate::shared::Shared;

/// Owner of the checkpoint: rows are taken and written under one lock, so that they reach the disk in order.
pub(crate) struct Checkpointer {
    shared: Arc<Shared>,
    checkpoint: Checkpoint,
    /// Held from taking rows until they are written, and while a snapshot replaces the tables. True once rows that were
    /// taken could not be written: nothing may be built on that checkpoint any more.
    broken: Mutex<bool>,
}

impl Checkpointer {
    pub(crate) fn new(shared: Arc<Shared>, checkpoint: Checkpoint) -> Arc<Self> {
        Arc::new(Self { shared, checkpoint, broken: Mutex::new(false) })
    }

    /// Checkpoints every `interval` until stopped. A checkpoint that cannot be written ends in `fatal`: a snapshot made
    /// from it would be wrong, and the log would be purged behind it.
    pub(crate) fn run(
        self: &Arc<Self>,
        interval: Duration,
        stop: CancellationToken,
        fatal: impl FnOnce(String) + Send + 'static,
    ) -> JoinHandle<()> {
        let this = Arc::clone(self);
        spawn(async move {
            let mut written = None;
            while stop.run_until_cancelled(tokio::time::sleep(interval)).await.is_some() {
                let applied = *this.shared.applied.borrow();
                if written == Some(applied) {
                    continue;
                }
                match this.checkpoint_now().await {
                    Ok(()) => written = Some(applied),
                    Err(error) => return fatal(format!("the checkpoint could not be written: {error}")),
                }
            }
        })
    }

    /// Writes what changed since the last checkpoint.
    pub(crate) async fn checkpoint_now(&self) -> io::Result<()> {
        let mut broken = self.broken.lock().await;
        if *broken {
            return Err(io::Error::other("an earlier checkpoint failed"));
        }
        // Until the rows are written they are nowhere but here: a failure, or a caller that goes away, breaks the chain.
        *broken = true;
        failpoint!("checkpoint::take::before")?;
        let changes = self.shared.state.write().take_changes();
        failpoint!("checkpoint::take::after")?;
        let checkpoint = self.checkpoint.clone();
        spawn_blocking(move || checkpoint.write(changes)).await.map_err(io::Error::other)?.map_err(io::Error::other)?;
        *broken = false;
        Ok(())
    }

    /// Reads a snapshot, replaces the checkpoint by it, then calls `swap` with its state before any other checkpoint.
    pub(crate) async fn install(&self, file: SnapshotFile, swap: impl FnOnce(StateMachine)) -> io::Result<()> {
        let mut broken = self.broken.lock().await;
        *broken = true;
        let checkpoint = self.checkpoint.clone();
        let work = move || -> io::Result<StateMachine> {
            failpoint!("install::load::before")?;
            let state = file.load().map_err(io::Error::other)?;
            failpoint!("install::load::after")?;
            checkpoint.install(&file).map_err(io::Error::other)?;
            failpoint!("install::checkpoint::after")?;
            Ok(state)
        };
        swap(spawn_blocking(work).await.map_err(io::Error::other)??);
        *broken = false;
        Ok(())
    }

    /// A last checkpoint, made as durable as it gets.
    pub(crate) async fn finish(&self) -> io::Result<()> {
        self.checkpoint_now().await?;
        let checkpoint = self.checkpoint.clone();
        spawn_blocking(move || checkpoint.flush()).await.map_err(io::Error::other)?.map_err(io::Error::other)
    }

    pub(crate) fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }
}
