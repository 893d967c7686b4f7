//! What follows when a leader's process ends.

use std::time::Duration;

use anyhow::{Context, Result};
use leasehold_testkit::cluster::{Cluster, ClusterOptions};
use tokio::time::timeout;

/// Long before the lease of the dead leader, 12 s, and an election time-out after it have passed.
const EARLY: Duration = Duration::from_secs(6);
/// Each time: followers take turns, so they do not get in each other's way.
const TIMES: u32 = 6;

/// Its followers' hosts tell them that nobody listens there any more: they wait neither for its lease nor for an election time-out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_process_is_gone_is_replaced_before_its_lease_ends() -> Result<()> {
    let tuning = vec!["election-min = \"10s\"".to_owned(), "election-max = \"12s\"".to_owned()];
    let mut cluster = Cluster::start(ClusterOptions { tuning, ..ClusterOptions::default() }).await?;
    for time in 0..TIMES {
        let leader = cluster.wait_all_applied().await?;
        cluster.node_mut(leader).kill()?;
        let next = timeout(EARLY, cluster.wait_leader()).await;
        let next =
            next.with_context(|| format!("time {time}: no other leads within {EARLY:?}\n{}", cluster.words()))??;
        assert_ne!(next, leader);
        cluster.node_mut(leader).start()?;
    }
    Ok(())
}
