//! What a read through any node sees.

use leasehold_consensus::Tuning;
use leasehold_consensus::clock::deadline_after;

use crate::cluster::{Cluster, SOON, holds};

/// Followers hear of a commit with the next message of their leader: right after an acknowledgement they have not applied it yet.
const ROUNDS: usize = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_through_the_leader_is_read_through_a_follower() {
    let mut cluster = Cluster::start(3, Tuning::default()).await;
    let leader = cluster.leader().await;
    let follower = if leader == 1 { 2 } else { 1 };
    for round in 0..ROUNDS {
        let name = format!("lock-{round}");
        let token = cluster.grant(leader, &name).await;
        let node = &cluster.running[&follower];
        node.read_barrier(deadline_after(SOON)).await.unwrap();
        assert!(holds(node, &name, token), "round {round}");
    }
}
