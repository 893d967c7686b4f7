//! What follows when a leader's process ends.

use anyhow::Result;
use leasehold_testkit::cluster::{Cluster, ClusterOptions};

/// Its followers' hosts tell them that nobody listens there any more: they wait neither for its lease nor for an election time-out. Both
/// together last longer here than a cluster of tests is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_process_is_gone_is_replaced_before_its_lease_ends() -> Result<()> {
    let tuning = vec!["election-min = \"40s\"".to_owned(), "election-max = \"60s\"".to_owned()];
    let mut cluster = Cluster::start(ClusterOptions { tuning, ..ClusterOptions::default() }).await?;
    for _ in 0..3 {
        let leader = cluster.wait_all_applied().await?;
        cluster.node_mut(leader).kill()?;
        let next = cluster.wait_leader().await?;
        assert_ne!(next, leader);
        cluster.node_mut(leader).start()?;
    }
    Ok(())
}
