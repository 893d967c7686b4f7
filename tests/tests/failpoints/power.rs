//! Nodes that lose what they had not synced, and disks that are full. Without root and loop devices: SKIPPED.

use anyhow::{Result, ensure};
use leasehold_testkit::checker::Invariant::{C1, C2, C3, C4, C6, C7, C11};
use leasehold_testkit::checker::Report;
use leasehold_testkit::cluster::{ClusterOptions, Ended};
use leasehold_testkit::disk::{BYTES_DEFAULT, skipped};
use rand::Rng;

use super::lane::{Lane, busy};

/// Everything that a node syncs.
const SYNCS: [&str; 6] = [
    "log::sync::before",
    "mark::sync::before",
    "record::sync::before",
    "folder::sync::before",
    "snapshot::sync::before",
    "checkpoint::flush::before",
];
/// Power cuts of one run.
const ROUNDS: usize = 3;

fn with_disks() -> ClusterOptions {
    ClusterOptions { disks: Some(BYTES_DEFAULT), ..busy(10_000_000) }
}

async fn cut_and_start(lane: &mut Lane, ids: &[u64]) -> Result<()> {
    lane.run.cluster.power_cut(ids)?;
    for id in ids {
        lane.run.cluster.node_mut(*id).start()?;
    }
    lane.run.cluster.wait_caught_up().await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_cut_of_one_node_loses_nothing() -> Result<()> {
    let name = "power_cut_of_one_node_loses_nothing";
    if skipped(name)? {
        return Ok(());
    }
    let mut lane = Lane::start(name, with_disks()).await?;
    for round in 0..ROUNDS {
        let leader = lane.run.cluster.wait_leader().await?;
        let victim = if round == 0 { leader } else { lane.random.random_range(1..=3) };
        let fault = lane.run.fault_begins("power cut of one node", Some(victim));
        cut_and_start(&mut lane, &[victim]).await?;
        lane.run.progress().await?;
        lane.run.fault_ends(fault);
    }
    lane.run.finish(&[C1, C2, C3, C4, C6, C7, C11]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_cut_of_all_nodes_loses_nothing() -> Result<()> {
    let name = "power_cut_of_all_nodes_loses_nothing";
    if skipped(name)? {
        return Ok(());
    }
    let mut lane = Lane::start(name, with_disks()).await?;
    for _ in 0..ROUNDS {
        let fault = lane.run.fault_begins("power cut of all nodes", None);
        cut_and_start(&mut lane, &[1, 2, 3]).await?;
        lane.run.progress().await?;
        lane.run.fault_ends(fault);
    }
    lane.run.finish(&[C1, C2, C3, C4, C6, C7, C11]).await
}

/// The same with disks that lie about fsync: what the method is for is seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_cut_of_all_nodes_is_found_out_when_fsync_does_nothing() -> Result<()> {
    let name = "power_cut_of_all_nodes_is_found_out_when_fsync_does_nothing";
    if skipped(name)? {
        return Ok(());
    }
    let mut lane = Lane::start(name, with_disks()).await?;
    for id in [1, 2, 3] {
        for point in SYNCS {
            lane.failpoints(id).set(point, "skip").await?;
        }
    }
    lane.run.progress().await?;
    lane.run.progress().await?;
    cut_and_start(&mut lane, &[1, 2, 3]).await?;
    lane.run.progress().await?;
    let report = lane.run.verdict().await?;
    ensure!(!report.is_clean(), "acknowledged grants were never synced, and nobody misses them:\n{report}");
    ensure!(names_a_loss(&report), "what was found is not that something acknowledged is gone:\n{report}");
    Ok(())
}

fn names_a_loss(report: &Report) -> bool {
    let text = report.to_string();
    ["C2", "C6", "C7"].iter().any(|invariant| text.contains(invariant))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_with_a_full_disk_says_so_and_comes_back_when_there_is_room() -> Result<()> {
    let name = "node_with_a_full_disk_says_so_and_comes_back_when_there_is_room";
    if skipped(name)? {
        return Ok(());
    }
    let mut lane = Lane::start(name, with_disks()).await?;
    let (leader, _) = lane.leader_and_followers().await?;
    for victim in [leader, lane.any_follower().await?] {
        let fault = lane.run.fault_begins("disk full", Some(victim));
        let from = lane.run.cluster.node(victim).log_text().len();
        lane.run.cluster.node_mut(victim).disk_mut().fill(0)?;
        let Ended::Process { status, .. } = lane.run.cluster.wait_ended(&[victim], || async { None::<()> }).await?
        else {
            unreachable!("nothing else was asked for")
        };
        let words = lane.run.cluster.node(victim).log_text()[from..].to_owned();
        ensure!(status.code() == Some(70), "it ended with {status}:\n{words}");
        ensure!(words.contains("No space left on device"), "it does not say why it stops:\n{words}");
        lane.run.progress().await?;
        lane.run.cluster.node_mut(victim).disk_mut().make_room()?;
        lane.run.cluster.node_mut(victim).start()?;
        lane.run.cluster.wait_caught_up().await?;
        lane.run.fault_ends(fault);
    }
    lane.run.finish(&[C1, C2, C6, C7, C11]).await
}
