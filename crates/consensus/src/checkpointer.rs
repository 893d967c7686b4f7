//! Writes the tables' changed rows into the checkpoint: every few hundred ms, and less often where that would take much of a core.
//!
//! A row that changes many times between two checkpoints is written once, and one that comes and goes not at all, so under load fewer
//! checkpoints are much less work. What bounds the pause: the log that a restart has to apply again, and the rows that are
//! encoded under the tables' lock.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use leasehold_failpoints::failpoint;
use leasehold_state_machine::StateMachine;
use leasehold_state_machine::storage::{Checkpoint, SnapshotFile};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::pace::CheckpointRate;
use crate::runtime::{spawn, spawn_blocking};
use crate::shared::Shared;

/// A checkpoint is followed by a pause of so many times what it took: it gets 5 % of a core.
const PAUSE_TIMES: u32 = 19;
/// The longest such pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// So many changed rows end it.
const PAUSE_ROWS_MAX: usize = 20_000;

fn pause_after(spent: Duration) -> Duration {
    (PAUSE_TIMES * spent).min(PAUSE_MAX)
}

/// Owner of the checkpoint: rows are taken and written under one lock, so that they reach the disk in order.
pub(crate) struct Checkpointer {
    shared: Arc<Shared>,
    checkpoint: Checkpoint,
    /// Held from taking rows until they are written, and while a snapshot replaces the tables. True once rows that were
    /// taken could not be written: nothing may be built on that checkpoint any more.
    broken: Mutex<bool>,
    /// For apply, which must not run away.
    pub(crate) rate: CheckpointRate,
}

impl Checkpointer {
    pub(crate) fn new(shared: Arc<Shared>, checkpoint: Checkpoint) -> Arc<Self> {
        Arc::new(Self { shared, checkpoint, broken: Mutex::new(false), rate: CheckpointRate::default() })
    }

    /// Checkpoints every `interval` until stopped, or less often, as above. A checkpoint that cannot be written ends in `fatal`: a snapshot made
    /// from it would be wrong, and the log would be purged behind it.
    pub(crate) fn run(
        self: &Arc<Self>,
        interval: Duration,
        stop: CancellationToken,
        fatal: impl FnOnce(String) + Send + 'static,
    ) -> JoinHandle<()> {
        let this = Arc::clone(self);
        spawn(async move {
            let (mut written, mut rested) = (None, Duration::ZERO);
            while stop.run_until_cancelled(tokio::time::sleep(interval)).await.is_some() {
                let applied = *this.shared.applied.borrow();
                let begin = this.shared.clock.monotonic();
                let many = || this.shared.state.read().changed_rows() >= PAUSE_ROWS_MAX;
                if written == Some(applied) || begin < rested && !many() {
                    continue;
                }
                match this.checkpoint_now().await {
                    Ok(()) => written = Some(applied),
                    Err(error) => return fatal(format!("the checkpoint could not be written: {error}")),
                }
                let end = this.shared.clock.monotonic();
                rested = end + pause_after(end.saturating_sub(begin));
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
        let begin = self.shared.clock.monotonic();
        let (shared, checkpoint) = (Arc::clone(&self.shared), self.checkpoint.clone());
        let write = move || -> io::Result<usize> {
            failpoint!("checkpoint::take::before")?;
            // In two steps: the tables are locked for the first only.
            let taken = shared.state.write().take();
            let changes = taken.into_changes();
            failpoint!("checkpoint::take::after")?;
            let rows = changes.rows.len();
            checkpoint.write(changes).map_err(io::Error::other)?;
            Ok(rows)
        };
        let rows = spawn_blocking(write).await.map_err(io::Error::other)??;
        self.rate.note(rows, self.shared.clock.monotonic().saturating_sub(begin));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_take_a_twentieth_of_the_time_until_the_pause_is_at_its_bound() {
        let ms = Duration::from_millis;
        assert_eq!(pause_after(ms(0)), ms(0));
        assert_eq!(pause_after(ms(10)), ms(190));
        assert_eq!(pause_after(ms(1_000)), PAUSE_MAX);
    }
}
