//! What a call puts into the log.

use leasehold_consensus::{Tuning, debug};
use leasehold_state_machine::{CALL_MS_MAX, CancelAcquire, Cancelled, Operation, Outcome, RequestId, STEP_MS_MAX};
use serde_json::Value;

use crate::cluster::{Cluster, SOON};

/// The commands of a stopped node's log whose operation is named so.
fn logged(cluster: &Cluster, operation: &str) -> Vec<Value> {
    let mut dump = Vec::new();
    debug::dump_log(&cluster.data_dir(1), &mut dump).unwrap();
    let lines = dump.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let entries = lines.map(|line| serde_json::from_slice::<Value>(line).unwrap());
    let commands = entries.flat_map(|entry| entry["commands"].as_array().cloned().unwrap_or_default());
    commands.filter(|command| command["operation"].get(operation).is_some()).collect()
}

/// A cancel is repeated until it is answered, by whoever leads then: late is when it is needed most.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancels_carry_no_deadline() {
    let mut cluster = Cluster::start(1, Tuning::default()).await;
    cluster.leader().await;
    let cancel = CancelAcquire { request: RequestId { client: 7, counter: 5 }, attempt: 1 };
    let outcome = cluster.submit(1, Operation::CancelAcquire(cancel)).await.unwrap();
    assert_eq!(outcome, Outcome::Cancelled(Cancelled::NotFound));
    cluster.stop(1).await;
    let cancels = logged(&cluster, "CancelAcquire");
    assert!(cancels.len() == 1 && cancels[0]["not_after"].is_null(), "{cancels:?}");
}

/// Nothing may take effect later than what is remembered of it lasts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_carry_the_deadline_of_their_caller() {
    let mut cluster = Cluster::start(1, Tuning::default()).await;
    cluster.leader().await;
    cluster.grant(1, "a").await;
    let now = cluster.running[&1].state().now().0;
    cluster.stop(1).await;
    let acquires = logged(&cluster, "Acquire");
    assert_eq!(acquires.len(), 1);
    let not_after = acquires[0]["not_after"].as_u64().expect("an acquire has a deadline");
    let patience = u64::try_from(SOON.as_millis()).unwrap().min(CALL_MS_MAX);
    assert!(not_after > patience / 2 && not_after <= now + STEP_MS_MAX + patience, "{not_after}, at {now}");
}
