//! Very many leases that are due at once.

use futures_util::future::join_all;
use leasehold_consensus::Tuning;
use leasehold_consensus::clock::deadline_after;
use leasehold_state_machine::{EXPIRIES_PER_ENTRY_MAX, LeaseRequest, Operation, Outcome};

use crate::cluster::{Cluster, SOON};

/// Several entries are needed for them, of either sort.
const LEASES: usize = 4 * EXPIRIES_PER_ENTRY_MAX;
const TTL_MS: u64 = 1_000;

fn held(cluster: &Cluster, names: &[String]) -> usize {
    let state = cluster.running[&1].state();
    let is_held = |name: &&String| state.lock("default", name).is_some_and(|lock| !lock.holders.is_empty());
    names.iter().filter(is_held).count()
}

async fn hold(cluster: &mut Cluster, prefix: &str) -> Vec<String> {
    let names: Vec<String> = (0..LEASES).map(|number| format!("{prefix}-{number}")).collect();
    let acquires: Vec<Operation> = names
        .iter()
        .map(|name| {
            let Operation::Acquire(mut acquire) = cluster.acquire(name) else { unreachable!("it is one") };
            acquire.lowest_unanswered = 1;
            acquire.lease = LeaseRequest::Own { ttl_ms: TTL_MS };
            Operation::Acquire(acquire)
        })
        .collect();
    for outcome in join_all(acquires.into_iter().map(|acquire| cluster.submit(1, acquire))).await {
        assert!(matches!(outcome, Ok(Outcome::Granted(_))), "{outcome:?}");
    }
    names
}

/// Entries with commands end few each, and the leader writes others only where no commands come: both ways all of them end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_that_are_due_together_end_with_commands_beside_them_and_without() {
    let mut cluster = Cluster::start(1, Tuning::default()).await;
    cluster.leader().await;
    cluster.grant(1, "founded").await;

    let names = hold(&mut cluster, "beside").await;
    let mut calls = 0;
    let busy = async {
        while held(&cluster, &names) > 0 {
            let ticks = (0..16).map(|_| cluster.submit(1, Operation::Tick));
            assert!(join_all(ticks).await.iter().all(|done| matches!(done, Ok(Outcome::Done))));
            calls += 1;
        }
    };
    tokio::time::timeout(SOON, busy).await.expect("they end while commands come");
    assert!(calls > 1, "nobody called meanwhile");

    let names = hold(&mut cluster, "idle").await;
    let idle = async {
        while held(&cluster, &names) > 0 {
            // A read is no command: it writes nothing.
            cluster.running[&1].read_barrier(deadline_after(SOON)).await.unwrap();
        }
    };
    tokio::time::timeout(SOON, idle).await.expect("they end while nobody calls");
}
