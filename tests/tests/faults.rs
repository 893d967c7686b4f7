//! Nodes die, freeze and come back under concurrent clients; then every invariant is checked on what the clients saw and on
//! the nodes' logs.

use std::time::Duration;

use anyhow::{Result, ensure};
use leasehold_client::{Client, ClientOptions};
use leasehold_testkit::checker::Invariant::{C1, C2, C3, C4, C5, C6, C7, C8, C9, C11, C12};
use leasehold_testkit::clock::Moment;
use leasehold_testkit::cluster::{Cluster, ClusterOptions, PATIENCE, eventually};
use leasehold_tests::{Run, alone, seed};

/// Longer than the longest lease of the workload.
const LONGER_THAN_A_TTL: Duration = Duration::from_millis(2_500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_leaders() -> Result<()> {
    let mut run = Run::start("faults", "killed_leaders").await?;
    for _ in 0..5 {
        let leader = run.cluster.wait_leader().await?;
        let fault = run.fault_begins("kill -9 of the leader", Some(leader));
        run.cluster.node_mut(leader).kill()?;
        run.cluster.wait_leader().await?;
        run.progress().await?;
        run.cluster.node_mut(leader).start()?;
        run.cluster.wait_all_applied().await?;
        run.fault_ends(fault);
    }
    run.finish(&[C1, C2, C3, C4, C6, C7, C8, C9, C11, C12]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leader_frozen_for_longer_than_a_ttl() -> Result<()> {
    let mut run = Run::start("faults", "leader_frozen_for_longer_than_a_ttl").await?;
    for _ in 0..2 {
        let leader = run.cluster.wait_leader().await?;
        let fault = run.fault_begins("SIGSTOP of the leader", Some(leader));
        run.cluster.node_mut(leader).pause()?;
        let frozen = Moment::now();
        run.cluster.wait_leader().await?;
        eventually(PATIENCE, "the pause is longer than a ttl", || async {
            (frozen.elapsed() > LONGER_THAN_A_TTL).then_some(())
        })
        .await?;
        run.cluster.node_mut(leader).resume();
        run.cluster.wait_all_applied().await?;
        run.progress().await?;
        run.fault_ends(fault);
    }
    run.finish(&[C1, C2, C3, C4, C6, C7, C8, C9, C11, C12]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_followers_frozen_for_longer_than_a_ttl() -> Result<()> {
    let mut run = Run::start("faults", "both_followers_frozen_for_longer_than_a_ttl").await?;
    let leader = run.cluster.wait_leader().await?;
    let endpoint = run.cluster.node(leader).client_address();
    let client = Client::connect(ClientOptions::new([endpoint])).await?;
    let ttl = Duration::from_millis(1_500);
    let leasehold_client::Acquisition::Acquired(held) =
        client.lock("renewed-at-once").own_lease().ttl(ttl).acquire_raw(leasehold_client::Wait::Try).await?
    else {
        anyhow::bail!("nobody else asks for this lock");
    };
    let fault = run.fault_begins("SIGSTOP of both followers", None);
    let followers: Vec<u64> = run.cluster.ids().into_iter().filter(|id| *id != leader).collect();
    for id in &followers {
        run.cluster.node_mut(*id).pause()?;
    }
    let frozen = Moment::now();
    eventually(PATIENCE, "the pause is longer than a ttl", || async {
        (frozen.elapsed() > LONGER_THAN_A_TTL).then_some(())
    })
    .await?;
    for id in &followers {
        run.cluster.node_mut(*id).resume();
    }
    // The outage is not counted: whoever renews at once still has the lock, under the same token.
    let renewed = client.renew(&held.lease, None).await?;
    ensure!(matches!(renewed, leasehold_client::Renewed::Alive { .. }), "a lease was lost in the outage: {renewed:?}");
    let holder = client.get("renewed-at-once").await?.holders;
    ensure!(holder.len() == 1 && holder[0].token == held.token.0, "{holder:?}, not token {}", held.token);
    run.cluster.wait_all_applied().await?;
    run.progress().await?;
    run.fault_ends(fault);
    run.finish(&[C1, C2, C4, C6, C7, C11]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_killed_and_restarted() -> Result<()> {
    let mut run = Run::start("faults", "everything_killed_and_restarted").await?;
    let client = Client::connect(ClientOptions::new(run.cluster.endpoints())).await?;
    let mut held = Vec::new();
    for number in 0..20 {
        let name = format!("kept-{number}");
        let lock = client.lock(&name).own_lease().ttl(Duration::from_secs(6));
        if let leasehold_client::Acquisition::Acquired(acquired) = lock.acquire_raw(leasehold_client::Wait::Try).await?
        {
            held.push(acquired);
        }
    }
    ensure!(held.len() == 20, "nobody else asks for these locks");
    let acquired = Moment::now();
    let fault = run.fault_begins("kill -9 of all nodes", None);
    for id in run.cluster.ids() {
        run.cluster.node_mut(id).kill()?;
    }
    // An outage longer than the leases: it is not counted.
    let down = Moment::now();
    eventually(PATIENCE, "the outage is longer than the leases", || async {
        (down.elapsed() > Duration::from_secs(6)).then_some(())
    })
    .await?;
    for id in run.cluster.ids() {
        run.cluster.node_mut(id).start()?;
    }
    run.cluster.wait_all_applied().await?;
    run.fault_ends(fault);
    for grant in &held {
        let holders = client.get(&grant.name).await?.holders;
        ensure!(
            holders.len() == 1 && holders[0].token == grant.token.0,
            "{}: {holders:?} after {:?}",
            grant.name,
            acquired.elapsed()
        );
        ensure!(holders[0].left_ms > 0 && holders[0].left_ms < 6_000, "{}: {} ms left", grant.name, holders[0].left_ms);
    }
    run.finish(&[C1, C2, C4, C6, C7, C9, C11]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wiped_node_is_refused_and_the_others_go_on() -> Result<()> {
    let mut run = Run::start("faults", "wiped_node_is_refused_and_the_others_go_on").await?;
    let leader = run.cluster.wait_leader().await?;
    let victim = run.cluster.ids().into_iter().find(|id| *id != leader).unwrap_or(leader);
    let fault = run.fault_begins("wiped", Some(victim));
    run.cluster.node_mut(victim).kill()?;
    run.cluster.node_mut(victim).wipe()?;
    run.cluster.node_mut(victim).start()?;
    let mut status = None;
    let start = Moment::now();
    while status.is_none() && start.elapsed() < PATIENCE {
        run.progress().await?;
        status = run.cluster.node_mut(victim).exited();
    }
    let status =
        status.ok_or_else(|| anyhow::anyhow!("the wiped node runs on:\n{}", run.cluster.node(victim).log_tail()))?;
    let words = run.cluster.node(victim).log_tail();
    ensure!(status.code() == Some(65), "the wiped node ended with {status}:\n{words}");
    ensure!(
        words.contains("emptied or swapped") && words.contains("add this one as a new node"),
        "it does not say what to do:\n{words}"
    );
    run.fault_ends(fault);
    run.finish_without(victim, &[C1, C2, C4, C6, C7, C8, C11]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quiet_cluster_under_load() -> Result<()> {
    let mut run = Run::start("faults", "quiet_cluster_under_load").await?;
    run.expect_all_kinds();
    for _ in 0..40 {
        run.progress().await?;
    }
    run.finish(&[C1, C2, C3, C4, C5, C6, C7, C8, C9, C11, C12]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_quorum_calls_end_in_time_and_work_again_afterwards() -> Result<()> {
    let _alone = alone().await;
    seed("faults", "without_quorum_calls_end_in_time_and_work_again_afterwards");
    let mut cluster = Cluster::start(ClusterOptions::default()).await?;
    let mut options = ClientOptions::new(cluster.endpoints());
    options.call_timeout = Duration::from_secs(3);
    let client = Client::connect(options).await?;
    client.lock("before").acquire().await?.release().await?;
    let leader = cluster.wait_leader().await?;
    let others: Vec<u64> = cluster.ids().into_iter().filter(|id| *id != leader).collect();
    for id in &others {
        cluster.node_mut(*id).kill()?;
    }
    let start = Moment::now();
    let write = client.lock("during").try_acquire().await;
    ensure!(write.as_ref().is_err_and(leasehold_client::Error::is_retryable), "a write without quorum: {write:?}");
    let read = client.get("before").await;
    ensure!(matches!(read, Err(leasehold_client::Error::Unavailable { .. })), "a read without quorum: {read:?}");
    ensure!(start.elapsed() < Duration::from_secs(8), "two calls of 3 s took {:?}", start.elapsed());
    for id in &others {
        cluster.node_mut(*id).start()?;
    }
    cluster.wait_leader().await?;
    client.lock("after").acquire().await?.release().await?;
    ensure!(client.get("before").await?.holders.is_empty(), "reads work again");
    Ok(())
}
