//! openraft's own conformance suite on the log store and the applier.

use std::sync::Arc;

use leasehold_state_machine::{Event, LEVEL_MAX, StateMachine};
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use parking_lot::Mutex;
use tempfile::TempDir;

use crate::ApplyObserver;
use crate::applier::{Applier, Snapshots};
use crate::checkpointer::Checkpointer;
use crate::clock::Clock;
use crate::log_store::LogStore;
use crate::media::Media;
use crate::recovery::{DataDir, recover};
use crate::shared::Shared;
use crate::types::TypeConfig;

struct Deaf;

impl ApplyObserver for Deaf {
    fn applied(&self, _: Arc<[Event]>, _: &StateMachine) {}
    fn reset(&self, _: &StateMachine) {}
}

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, Applier, (TempDir, DataDir)> for Builder {
    async fn build(&self) -> Result<((TempDir, DataDir), LogStore, Applier), StorageError<TypeConfig>> {
        let folder = TempDir::new().unwrap();
        let dir = DataDir::lock(folder.path()).unwrap();
        let found = recover(&dir, Media::files(), LEVEL_MAX).await.unwrap();
        let shared = Shared::new(Clock::system(), found.state, 1_000, LEVEL_MAX, Arc::new(Deaf));
        let checkpointer = Checkpointer::new(Arc::clone(&shared), found.checkpoint);
        let snapshots = Arc::new(Snapshots { dir: dir.snapshots(), newest: Mutex::new(found.snapshot) });
        Ok(((folder, dir), found.log, Applier::new(1, shared, checkpointer, snapshots)))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_store_and_applier_pass_the_conformance_suite_of_openraft() {
    Suite::test_all(Builder).await.unwrap();
}
