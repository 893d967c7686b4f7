//! One cluster at work, to which one thing after the other is done.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use anyhow::{Context, Result, ensure};
use leasehold_failpoints::{Kind, POINTS};
use leasehold_testkit::clock::Moment;
use leasehold_testkit::cluster::{ClusterOptions, Ended, StatusClient};
use leasehold_testkit::failpoints::Failpoints;
use leasehold_tests::Run;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Clusters side by side: what a small machine can run.
const LANES: usize = 2;
/// Entries that a node applies after an error at a failpoint: then the error did not end it.
const GOES_ON_ENTRIES: u64 = 20;
/// Exit code of a node that failed.
const INTERNAL: i32 = 70;

static TURNS: Semaphore = Semaphore::const_new(LANES);

/// What happens at a failpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The process ends.
    Abort,
    /// The step fails with EIO.
    Io,
    /// The step fails with ENOSPC.
    Full,
}

impl Effect {
    pub(crate) fn action(self) -> &'static str {
        match self {
            Self::Abort => "abort,times=1",
            Self::Io => "error(EIO),times=1",
            Self::Full => "error(ENOSPC),times=1",
        }
    }

    /// What a node that stops over it says.
    fn words(self) -> &'static str {
        match self {
            Self::Abort => "a failpoint fires",
            Self::Io => "Input/output error",
            Self::Full => "No space left on device",
        }
    }
}

/// Whether everything is tried, or what the seed chooses.
pub(crate) fn is_full() -> bool {
    std::env::var("LEASEHOLD_SWEEP").is_ok_and(|sweep| sweep == "full")
}

/// Whether an error can be returned at a failpoint.
pub(crate) fn can_fail(point: &str) -> bool {
    POINTS.iter().any(|known| known.name == point && matches!(known.kind, Kind::Fails | Kind::Steps))
}

/// The effects that are to be tried at a failpoint.
pub(crate) fn effects(point: &str, random: &mut StdRng) -> Vec<Effect> {
    let error = if random.random() { Effect::Io } else { Effect::Full };
    match std::env::var("LEASEHOLD_SWEEP").as_deref() {
        _ if !can_fail(point) => vec![Effect::Abort],
        Ok("full") => vec![Effect::Abort, Effect::Io, Effect::Full],
        Ok("short") => vec![if random.random() { Effect::Abort } else { error }],
        _ => vec![Effect::Abort, error],
    }
}

/// A turn of those that run side by side.
pub(crate) async fn turn() -> Result<SemaphorePermit<'static>> {
    Ok(TURNS.acquire().await?)
}

/// Settings under which everything happens often.
pub(crate) fn busy(keep_entries: u64) -> ClusterOptions {
    let keep = format!("keep-entries = {keep_entries}");
    let often = ["snapshot-entries = 60", &keep, "checkpoint-interval = \"50ms\""];
    // Not what this is about: on a busy machine the cluster is to elect a leader when a failpoint has ended one.
    let patient = ["heartbeat = \"100ms\"", "election-min = \"600ms\"", "election-max = \"1200ms\""];
    let tuning = often.iter().chain(&patient).map(ToString::to_string).collect();
    ClusterOptions { tuning, failpoints: true, ..ClusterOptions::default() }
}

/// A cluster at work.
pub(crate) struct Lane {
    pub(crate) run: Run,
    pub(crate) random: StdRng,
    _turn: SemaphorePermit<'static>,
}

impl Lane {
    pub(crate) async fn start(test: &str, options: ClusterOptions) -> Result<Self> {
        let turn = turn().await?;
        let run = Run::start_beside("failpoints", test, options).await?;
        let random = StdRng::seed_from_u64(run.seed());
        Ok(Self { run, random, _turn: turn })
    }

    pub(crate) fn failpoints(&self, id: u64) -> Failpoints {
        self.run.cluster.node(id).failpoints()
    }

    pub(crate) async fn leader_and_followers(&self) -> Result<(u64, Vec<u64>)> {
        let leader = self.run.cluster.wait_leader().await?;
        Ok((leader, self.run.cluster.ids().into_iter().filter(|id| *id != leader).collect()))
    }

    pub(crate) async fn any_follower(&mut self) -> Result<u64> {
        let (_, followers) = self.leader_and_followers().await?;
        followers.choose(&mut self.random).copied().context("there are followers")
    }

    /// Arms a failpoint on running nodes; some hits pass before.
    pub(crate) async fn arm(&mut self, nodes: &[u64], point: &str, effect: Effect) -> Result<()> {
        let after = self.random.random_range(0..2);
        for id in nodes {
            self.failpoints(*id).set(point, &format!("{},after={after}", effect.action())).await?;
        }
        Ok(())
    }

    /// Waits until a failpoint that is armed on these nodes has had its effect on one of them; starts that one again if it ended, and
    /// waits until the cluster is whole. `down` are nodes that were ended on purpose. Tells what happened.
    pub(crate) async fn until_struck(
        &mut self,
        nodes: &[u64],
        point: &str,
        effect: Effect,
        down: &[u64],
    ) -> Result<String> {
        let start = Moment::now();
        let from: Vec<usize> = nodes.iter().map(|id| self.run.cluster.node(*id).log_text().len()).collect();
        let told: Vec<(u64, Failpoints)> = nodes.iter().map(|id| (*id, self.failpoints(*id))).collect();
        let fired = || async {
            for (id, failpoints) in &told {
                // One that has just ended, or not come up yet, does not answer.
                if failpoints.get(point).await.is_ok_and(|point| point.fired > 0) {
                    return Some(*id);
                }
            }
            None
        };
        let ended = self.run.cluster.wait_ended(nodes, fired).await;
        let ended = ended.with_context(|| format!("{point} with {} was not hit on {nodes:?}", effect.action()))?;
        let (id, outcome) = match ended {
            Ended::Process { id, status } => (id, self.ended(id, status, effect)),
            Ended::Otherwise(id) => (id, self.goes_on_or_ends(id, effect).await),
        };
        let at = nodes.iter().position(|node| *node == id).map_or(0, |at| from[at]);
        let outcome = outcome.with_context(|| {
            format!("{point} with {}:\n{}", effect.action(), tail(&self.run.cluster.node(id).log_text()[at..]))
        })?;
        self.heal(nodes, down).await.with_context(|| format!("after {point} with {}", effect.action()))?;
        Ok(format!("node {id} {outcome}, whole again after {} ms", start.elapsed().as_millis()))
    }

    /// Starts what is down, and waits until all nodes have caught up and serve.
    pub(crate) async fn heal(&mut self, nodes: &[u64], down: &[u64]) -> Result<()> {
        for id in nodes.iter().chain(down) {
            let failpoints = self.failpoints(*id);
            self.run.cluster.node_mut(*id).disarm_at_start();
            // One that has ended, or is about to, does not answer.
            if self.run.cluster.node(*id).is_responsive() {
                self.run.cluster.wait_ended(&[*id], || async { failpoints.clear().await.ok() }).await?;
            }
            if !self.run.cluster.node(*id).is_responsive() {
                self.run.cluster.node_mut(*id).start()?;
            }
        }
        self.run.cluster.wait_caught_up().await?;
        self.run.progress().await
    }

    /// A process may only end as it should.
    fn ended(&self, id: u64, status: ExitStatus, effect: Effect) -> Result<String> {
        let words = self.run.cluster.node(id).log_text();
        if effect == Effect::Abort {
            ensure!(status.signal() == Some(9), "the process was to be killed, it ended with {status}");
            return Ok("killed".into());
        }
        ensure!(status.code() == Some(INTERNAL), "the node was to stop with {INTERNAL}, it ended with {status}");
        ensure!(words.contains(effect.words()), "the node does not say {:?}", effect.words());
        Ok(format!("stopped, saying {:?}", effect.words()))
    }

    async fn goes_on_or_ends(&mut self, id: u64, effect: Effect) -> Result<String> {
        let address = self.run.cluster.node(id).client_address();
        let applied = || async {
            let status = StatusClient::ask(&address).await?;
            status.nodes.iter().find(|node| node.id == id).map(|node| node.applied)
        };
        let reached = match self.run.cluster.wait_ended(&[id], applied).await? {
            Ended::Process { status, .. } => return self.ended(id, status, effect),
            Ended::Otherwise(applied) => applied,
        };
        let goes_on = || async { applied().await.filter(|now| *now >= reached + GOES_ON_ENTRIES) };
        match self.run.cluster.wait_ended(&[id], goes_on).await? {
            Ended::Process { status, .. } => self.ended(id, status, effect),
            Ended::Otherwise(_) => {
                ensure!(effect != Effect::Abort, "the process was to be killed, and goes on");
                self.run.progress().await?;
                match self.run.cluster.node_mut(id).exited() {
                    Some(status) => self.ended(id, status, effect),
                    None => Ok("went on".into()),
                }
            }
        }
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

/// One line of what was done at a failpoint, and what came of it.
pub(crate) fn tell(point: &str, effect: Effect, outcome: &str) {
    tell_outcome(&format!("failpoint {point} | {}", effect.action()), outcome);
}

/// One line of what was done and seen.
#[expect(clippy::print_stderr, reason = "the table of failpoints is what these tests are for")]
pub(crate) fn tell_outcome(what: &str, outcome: &str) {
    eprintln!("{what} | {outcome}");
}
