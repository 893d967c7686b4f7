//! What a node comes by whose log ends in entries that never came to count.

use anyhow::Result;
use leasehold_testkit::checker::Invariant::{C1, C2, C6, C7, C11};
use leasehold_testkit::cluster::{PATIENCE, StatusClient, eventually};

use super::lane::{Lane, busy, effects, tell};

pub(crate) const CASES: [&str; 3] = ["log::truncate::before", "log::cut::after", "log::truncate::after"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_every_step_of_cutting_the_log_back() -> Result<()> {
    let mut lane = Lane::start("at_every_step_of_cutting_the_log_back", busy(10_000_000)).await?;
    for point in CASES {
        for effect in effects(point, &mut lane.random) {
            let (leader, followers) = lane.leader_and_followers().await?;
            let fault = lane.run.fault_begins(point, Some(leader));
            let failpoints = lane.failpoints(leader);
            failpoints.set(point, effect.action()).await?;
            // The leader goes on writing, and nobody hears of it.
            failpoints.set("peer_append::send::before", "pause").await?;
            let others: Vec<String> = followers.iter().map(|id| lane.run.cluster.node(*id).client_address()).collect();
            let elected = || async {
                for address in &others {
                    let named = StatusClient::ask(address).await?.leader?;
                    if named == leader {
                        return None;
                    }
                }
                Some(())
            };
            eventually(PATIENCE, "the others elect another leader", elected).await?;
            // The new leader's first message may have ended it already.
            let _may_be_gone = failpoints.set("peer_append::send::before", "off").await;
            let outcome = lane.until_struck(&[leader], point, effect, &[]).await?;
            lane.run.fault_ends(fault);
            tell(point, effect, &format!("former leader {outcome}"));
        }
    }
    lane.run.finish(&[C1, C2, C6, C7, C11]).await
}
