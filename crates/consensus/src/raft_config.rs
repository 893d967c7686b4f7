//! openraft's configuration, from ours.

use std::sync::Arc;
use std::time::Duration;

use openraft::{Config, SnapshotPolicy};

use crate::{StartError, Tuning};

const INSTALL_SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(120);
const ENTRIES_PER_APPEND_MAX: u64 = 64;
const PURGE_BATCH: u64 = 256;

pub(crate) fn config(tuning: &Tuning) -> Result<Arc<Config>, StartError> {
    let election_max = millis(tuning.election_max);
    let config = Config {
        cluster_name: "leasehold".into(),
        heartbeat_interval: millis(tuning.heartbeat),
        election_timeout_min: millis(tuning.election_min),
        election_timeout_max: election_max,
        install_snapshot_timeout: millis(INSTALL_SNAPSHOT_TIMEOUT),
        max_payload_entries: ENTRIES_PER_APPEND_MAX,
        replication_lag_threshold: tuning.keep_entries.max(1),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(tuning.snapshot_entries),
        max_in_snapshot_log_to_keep: tuning.keep_entries,
        purge_batch_size: PURGE_BATCH,
        enable_pre_vote: Some(true),
        // A restarted leader would go on under its old leader id, with a log time that it no longer knows.
        enable_leader_restore: Some(false),
        quorum_loss_probe_interval: Some(2 * election_max),
        ..Config::default()
    };
    config.validate().map(Arc::new).map_err(|error| StartError::Raft(error.to_string()))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
