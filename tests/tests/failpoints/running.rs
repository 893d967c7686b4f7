//! What nodes come by while they serve.

use anyhow::Result;
use leasehold_testkit::checker::Invariant::{C1, C2, C3, C4, C6, C7, C9, C11, C12};

use super::lane::{Lane, busy, effects, is_full, tell};

/// Where a failpoint is come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    Leader,
    Follower,
    Any,
    /// Wherever clients are connected.
    Everywhere,
    /// Wherever clients are connected that is not the leader.
    Followers,
}

pub(crate) const CASES: &[(&str, On)] = &[
    ("propose::entry::before", On::Leader),
    ("propose::entry::after", On::Leader),
    ("peer_append::send::before", On::Leader),
    ("peer_append::answer::before", On::Follower),
    ("peer_append::answer::after", On::Leader),
    ("peer_forward::send::before", On::Followers),
    ("peer_forward::answer::before", On::Leader),
    ("peer_forward::answer::after", On::Followers),
    ("peer_read_index::answer::before", On::Leader),
    ("acquire::submit::before", On::Everywhere),
    ("grant::answer::before", On::Everywhere),
    ("log::append::before", On::Any),
    ("log::append::after", On::Any),
    ("log::flush::before", On::Any),
    ("log::sync::before", On::Any),
    ("log::sync::after", On::Any),
    ("log::mark::before", On::Any),
    ("mark::write::before", On::Any),
    ("log::mark::after", On::Any),
    ("log::commit::before", On::Any),
    ("log::commit::after", On::Any),
    ("apply::entry::before", On::Any),
    ("apply::entry::after", On::Any),
    ("apply::answer::after", On::Leader),
    ("checkpoint::take::before", On::Any),
    ("checkpoint::take::after", On::Any),
    ("checkpoint::batch::before", On::Any),
    ("checkpoint::batch::after", On::Any),
    ("checkpoint::flush::before", On::Any),
    ("checkpoint::flush::after", On::Any),
    ("snapshot::build::before", On::Any),
    ("snapshot::create::before", On::Any),
    ("snapshot::create::after", On::Any),
    ("snapshot::row::before", On::Any),
    ("snapshot::end::before", On::Any),
    ("snapshot::sync::before", On::Any),
    ("snapshot::sync::after", On::Any),
    ("snapshot::rename::before", On::Any),
    ("snapshot::rename::after", On::Any),
    ("folder::sync::before", On::Any),
    ("folder::sync::after", On::Any),
    ("snapshot::remove::before", On::Any),
    ("snapshot::remove::after", On::Any),
    ("snapshot::build::after", On::Any),
];

/// One lane takes every second case.
async fn sweep(test: &str, first: usize) -> Result<()> {
    let mut lane = Lane::start(test, busy(10_000_000)).await?;
    for (point, on) in CASES.iter().skip(first).step_by(2) {
        for effect in effects(point, &mut lane.random) {
            let (leader, followers) = lane.leader_and_followers().await?;
            let follower = lane.any_follower().await?;
            let turns = match on {
                On::Leader => vec![vec![leader]],
                On::Follower => vec![vec![follower]],
                On::Any if is_full() => vec![vec![leader], vec![follower]],
                On::Any => vec![vec![if rand::Rng::random(&mut lane.random) { leader } else { follower }]],
                On::Everywhere => vec![lane.run.cluster.ids()],
                On::Followers => vec![followers],
            };
            for nodes in turns {
                let fault = lane.run.fault_begins(point, None);
                lane.arm(&nodes, point, effect).await?;
                let outcome = lane.until_struck(&nodes, point, effect, &[]).await?;
                lane.run.fault_ends(fault);
                tell(point, effect, &format!("leader was {leader}; {outcome}"));
            }
        }
    }
    lane.run.finish(&[C1, C2, C3, C4, C6, C7, C9, C11, C12]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_every_step_of_a_serving_node_odd() -> Result<()> {
    sweep("at_every_step_of_a_serving_node_odd", 0).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_every_step_of_a_serving_node_even() -> Result<()> {
    sweep("at_every_step_of_a_serving_node_even", 1).await
}
