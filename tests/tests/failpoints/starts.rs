//! What a node comes by when it starts with what it has, and when it is told to stop.

use std::fs;

use anyhow::{Context, Result, ensure};
use leasehold_testkit::checker::Invariant::{C1, C2, C6, C7, C11};
use leasehold_testkit::cluster::{PATIENCE, eventually};
use leasehold_testkit::damage::all_files;

use super::lane::{Effect, Lane, busy, effects, tell};

/// What it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finds {
    /// What a kill left.
    All,
    /// A snapshot, and no checkpoint.
    NoCheckpoint,
    /// Garbage instead of the checkpoint.
    Garbage,
    /// A snapshot that was not finished.
    HalfSnapshot,
}

pub(crate) const CASES: &[(&str, Finds)] = &[
    ("recovery::lock::after", Finds::All),
    ("log::open::before", Finds::All),
    ("log::open::after", Finds::All),
    ("recovery::log::after", Finds::All),
    ("recovery::snapshot::after", Finds::All),
    ("checkpoint::open::before", Finds::All),
    ("checkpoint::open::after", Finds::All),
    ("recovery::checkpoint::after", Finds::All),
    ("snapshot::load::before", Finds::NoCheckpoint),
    ("recovery::install::before", Finds::NoCheckpoint),
    ("checkpoint::replacing::after", Finds::NoCheckpoint),
    ("checkpoint::replaced::before", Finds::NoCheckpoint),
    ("recovery::install::after", Finds::NoCheckpoint),
    ("checkpoint::discard::before", Finds::Garbage),
    ("checkpoint::discard::after", Finds::Garbage),
    ("snapshot::left_over::before", Finds::HalfSnapshot),
];

/// When the tables are ahead of the log.
pub(crate) const AHEAD: [&str; 2] = ["recovery::purge::before", "recovery::purge::after"];
/// When it is told to stop.
pub(crate) const STOPS: [&str; 3] = ["stop::checkpoint::before", "stop::log::before", "stop::log::after"];

/// Checkpoints after which the one that counts has left sled's buffer.
const BATCHES: u64 = 4;

impl Lane {
    /// Ends a node so that it finds this.
    async fn end_with(&mut self, victim: u64, finds: Finds) -> Result<()> {
        let data = self.run.cluster.node(victim).data_dir().to_owned();
        let snapshots = data.join("snapshots");
        let has_snapshot = || async { (!all_files(&snapshots).is_empty()).then_some(()) };
        eventually(PATIENCE, "there is a snapshot", has_snapshot).await?;
        if finds == Finds::HalfSnapshot {
            self.failpoints(victim).set("snapshot::row::before", "abort,after=3").await?;
            self.run.cluster.wait_ended(&[victim], || async { None::<()> }).await?;
            let half = all_files(&snapshots).iter().any(|file| file.extension().is_some_and(|end| end == "tmp"));
            return half.then_some(()).context("it left a snapshot that was not finished");
        }
        self.run.cluster.node_mut(victim).kill()?;
        match finds {
            Finds::NoCheckpoint => fs::remove_dir_all(data.join("checkpoint"))?,
            Finds::Garbage => {
                for file in all_files(&data.join("checkpoint")) {
                    fs::write(file, b"this is no database, this is garbage of a length that looks like something")?;
                }
            }
            Finds::All | Finds::HalfSnapshot => {}
        }
        Ok(())
    }

    /// Ends a follower that has applied, and written down, what its log has not.
    async fn end_ahead_of_its_log(&mut self) -> Result<u64> {
        let victim = self.any_follower().await?;
        let failpoints = self.failpoints(victim);
        // A disk that takes the log's writes and never gets to them.
        failpoints.set("log::flush::before", "skip").await?;
        let batches = || async { failpoints.hits("checkpoint::batch::after").await.ok() };
        let from = eventually(PATIENCE, "it answers", batches).await?;
        let enough = || async { batches().await.filter(|now| *now >= from + BATCHES) };
        eventually(PATIENCE, "checkpoints were written that the log does not reach", enough).await?;
        self.run.cluster.node_mut(victim).kill()?;
        Ok(victim)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_every_step_of_a_start_and_of_a_stop() -> Result<()> {
    let mut lane = Lane::start("at_every_step_of_a_start_and_of_a_stop", busy(10_000_000)).await?;
    for (point, finds) in CASES {
        for effect in effects(point, &mut lane.random) {
            let victim = lane.any_follower().await?;
            let fault = lane.run.fault_begins(point, Some(victim));
            lane.end_with(victim, *finds).await?;
            lane.run.cluster.node_mut(victim).arm_at_start(point, effect.action());
            lane.run.cluster.node_mut(victim).start()?;
            let outcome = lane.until_struck(&[victim], point, effect, &[]).await?;
            lane.run.fault_ends(fault);
            tell(point, effect, &format!("starting, finds {finds:?}, {outcome}"));
        }
    }
    for point in AHEAD {
        for effect in effects(point, &mut lane.random) {
            let fault = lane.run.fault_begins(point, None);
            let victim = lane.end_ahead_of_its_log().await?;
            lane.run.cluster.node_mut(victim).arm_at_start(point, effect.action());
            lane.run.cluster.node_mut(victim).start()?;
            let outcome = lane.until_struck(&[victim], point, effect, &[]).await?;
            lane.run.fault_ends(fault);
            tell(point, effect, &format!("starting, tables ahead of the log, {outcome}"));
        }
    }
    for point in STOPS {
        let (leader, _) = lane.leader_and_followers().await?;
        for victim in [leader, lane.any_follower().await?] {
            let fault = lane.run.fault_begins(point, Some(victim));
            lane.failpoints(victim).set(point, Effect::Abort.action()).await?;
            let from = lane.run.cluster.node(victim).log_text().len();
            lane.run.cluster.node_mut(victim).terminate()?;
            let words = lane.run.cluster.node(victim).log_text()[from..].to_owned();
            let killed = words.contains(point) && !words.contains("serve: stopped");
            ensure!(killed, "{point} was not hit:\n{words}");
            lane.heal(&[victim], &[]).await?;
            lane.run.fault_ends(fault);
            tell(point, Effect::Abort, "killed while it stopped");
        }
    }
    lane.run.finish(&[C1, C2, C6, C7, C11]).await
}

/// A disk that takes a write and never answers keeps the node from stopping in order; it ends all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_disk_hangs_ends_when_told_to() -> Result<()> {
    let mut lane = Lane::start("a_node_whose_disk_hangs_ends_when_told_to", busy(10_000_000)).await?;
    let victim = lane.any_follower().await?;
    let fault = lane.run.fault_begins("log::sync::before", Some(victim));
    let failpoints = lane.failpoints(victim);
    failpoints.set("log::sync::before", "pause").await?;
    let hangs = || async { failpoints.get("log::sync::before").await.ok().filter(|point| point.paused > 0) };
    eventually(PATIENCE, "a sync hangs", hangs).await?;
    lane.run.cluster.node_mut(victim).terminate()?;
    lane.heal(&[victim], &[]).await?;
    lane.run.fault_ends(fault);
    lane.run.finish(&[C1, C2, C6, C7, C11]).await
}
