//! What nodes come by while they elect a leader.

use anyhow::Result;
use leasehold_testkit::checker::Invariant::{C1, C2, C6, C7, C11};

use super::lane::{Lane, busy, effects, tell};

pub(crate) const CASES: [&str; 8] = [
    "peer_vote::send::before",
    "peer_vote::answer::before",
    "peer_vote::answer::after",
    "vote::save::before",
    "vote::sync::before",
    "vote::save::after",
    "mark::sync::before",
    "mark::sync::after",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_every_step_of_an_election() -> Result<()> {
    let mut lane = Lane::start("at_every_step_of_an_election", busy(10_000_000)).await?;
    for point in CASES {
        for effect in effects(point, &mut lane.random) {
            let (leader, followers) = lane.leader_and_followers().await?;
            let fault = lane.run.fault_begins(point, None);
            for id in &followers {
                lane.failpoints(*id).set(point, effect.action()).await?;
            }
            lane.run.cluster.node_mut(leader).kill()?;
            // Whichever of them comes by first; the other one may too.
            let outcome = lane.until_struck(&followers, point, effect, &[leader]).await?;
            lane.run.fault_ends(fault);
            tell(point, effect, &format!("candidate or voter {outcome}"));
        }
    }
    lane.run.finish(&[C1, C2, C6, C7, C11]).await
}
