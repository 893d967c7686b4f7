//! What nodes come by when one is so far behind that it needs a snapshot.

use anyhow::Result;
use leasehold_testkit::checker::Invariant::{C1, C2, C11};
use leasehold_testkit::cluster::{PATIENCE, eventually};

use super::lane::{Lane, busy, effects, tell};

/// Entries that are kept behind a snapshot.
const KEPT: u64 = 5;
/// Behind by so many, a node misses what the next purge removes: more than lie between two snapshots, and are kept behind one.
const FAR: u64 = 80;

pub(crate) const RECEIVING: [&str; 16] = [
    "receive::chunk::before",
    "receive::chunk::after",
    "receive::check::before",
    "receive::check::after",
    "install::snapshot::before",
    "install::load::before",
    "snapshot::load::before",
    "install::load::after",
    "checkpoint::replace::before",
    "checkpoint::replacing::after",
    "checkpoint::replaced::before",
    "checkpoint::replace::after",
    "install::checkpoint::after",
    "install::tables::before",
    "install::tables::after",
    "install::snapshot::after",
];
pub(crate) const SENDING: [&str; 4] = [
    "peer_snapshot::send::before",
    "peer_snapshot::chunk::before",
    "peer_snapshot::answer::before",
    "peer_snapshot::answer::after",
];
pub(crate) const PURGING: [&str; 2] = ["log::purge::before", "log::purge::after"];

impl Lane {
    /// Kills a follower and waits until the others have purged what it misses.
    async fn leave_behind(&mut self) -> Result<u64> {
        let victim = self.any_follower().await?;
        self.run.cluster.node_mut(victim).kill()?;
        let leader = self.run.cluster.wait_leader().await?;
        let applied = || async {
            let status = self.run.cluster.status(leader).await?;
            status.nodes.iter().find(|node| node.id == leader).map(|node| node.applied)
        };
        let left_at = eventually(PATIENCE, "the leader tells what it has applied", applied).await?;
        let far = || async { applied().await.filter(|now| *now > left_at + FAR) };
        eventually(PATIENCE, "the dead node is far behind", far).await?;
        let failpoints = self.failpoints(leader);
        let purges = || async { failpoints.hits("log::purge::after").await.ok() };
        let before = eventually(PATIENCE, "the leader tells how often it has purged", purges).await?;
        let purged = || async { purges().await.filter(|now| *now > before) };
        eventually(PATIENCE, "the log is purged past the dead node", purged).await?;
        Ok(victim)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_every_step_of_receiving_a_snapshot() -> Result<()> {
    let mut lane = Lane::start("at_every_step_of_receiving_a_snapshot", busy(KEPT)).await?;
    for point in RECEIVING.into_iter().chain(["peer_snapshot::answer::before"]) {
        for effect in effects(point, &mut lane.random) {
            let fault = lane.run.fault_begins(point, None);
            let victim = lane.leave_behind().await?;
            lane.run.cluster.node_mut(victim).arm_at_start(point, effect.action());
            lane.run.cluster.node_mut(victim).start()?;
            let outcome = lane.until_struck(&[victim], point, effect, &[]).await?;
            lane.run.fault_ends(fault);
            tell(point, effect, &format!("receiver {outcome}"));
        }
    }
    lane.run.finish(&[C1, C2, C11]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_every_step_of_sending_a_snapshot_and_of_purging() -> Result<()> {
    let mut lane = Lane::start("at_every_step_of_sending_a_snapshot_and_of_purging", busy(KEPT)).await?;
    for point in SENDING.into_iter().filter(|point| *point != "peer_snapshot::answer::before") {
        for effect in effects(point, &mut lane.random) {
            let fault = lane.run.fault_begins(point, None);
            let victim = lane.leave_behind().await?;
            let leader = lane.run.cluster.wait_leader().await?;
            lane.failpoints(leader).set(point, effect.action()).await?;
            lane.run.cluster.node_mut(victim).start()?;
            let outcome = lane.until_struck(&[leader], point, effect, &[]).await?;
            lane.run.fault_ends(fault);
            tell(point, effect, &format!("sender {outcome}"));
        }
    }
    for point in PURGING {
        for effect in effects(point, &mut lane.random) {
            let (leader, _) = lane.leader_and_followers().await?;
            for node in [leader, lane.any_follower().await?] {
                let fault = lane.run.fault_begins(point, Some(node));
                lane.arm(&[node], point, effect).await?;
                let outcome = lane.until_struck(&[node], point, effect, &[]).await?;
                lane.run.fault_ends(fault);
                tell(point, effect, &outcome);
            }
        }
    }
    lane.run.finish(&[C1, C2, C11]).await
}
