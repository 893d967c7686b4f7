//! Clients that compete for a few locks while leaders and followers are frozen and killed, judged by times on one clock: see
//! [`Competitor`] and [`Verdict`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use leasehold_client::CancellationToken;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use tokio::task::JoinSet;

use super::Target;
use super::belief::Verdict;
use super::competitor::{Competitor, Habits};
use crate::clock::Moment;
use crate::workload::Wire;

/// Time to live of all leases.
const TTL: Duration = Duration::from_secs(3);
/// A leader or follower that is frozen longer than a lease lives.
const FREEZE: Duration = Duration::from_millis(4_500);
const BETWEEN_FAULTS_MS: std::ops::Range<u64> = 1_000..4_000;

/// Few locks, held for long, and clients that are away themselves every now and then.
fn habits() -> Habits {
    Habits {
        names: 3,
        ttl: TTL,
        // Longer than a freeze, a lease that runs out meanwhile, and an election.
        wait: Duration::from_secs(12),
        away_one_in: 6,
        stays: Duration::from_millis(1_500),
        stays_long: (Duration::ZERO, 0),
        forgets_one_in: 4,
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Contest {
    faults: BTreeMap<&'static str, u64>,
    verdict: Verdict,
}

impl Contest {
    /// For a person.
    #[must_use]
    pub fn text(&self) -> String {
        let examples = self.verdict.examples.iter().map(|example| format!("    {example}\n"));
        format!("  under {:?}: {}\n{}", self.faults, self.verdict, examples.collect::<String>())
    }

    /// For a program.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        json!({"faults": self.faults, "found": self.verdict})
    }
}

/// Lets clients compete for so long.
pub async fn compete<T: Target>(target: &mut T, lasts: Duration, clients: u32, seed: u64) -> Result<Contest> {
    let stop = CancellationToken::new();
    let (mut tasks, mut wires) = (JoinSet::new(), Vec::new());
    for client in 0..clients {
        let locker = target.locker(client as usize).await?;
        let wire = Arc::new(Wire::new(client));
        tasks.spawn(Competitor::new(locker, client, habits(), seed, wire.clone()).run(stop.clone()));
        wires.push(wire);
    }
    let faults = trouble(target, lasts, StdRng::seed_from_u64(seed)).await;
    stop.cancel();
    while tasks.join_next().await.is_some() {}
    let records: Vec<_> = wires.iter().flat_map(|wire| wire.take()).collect();
    Ok(Contest { faults: faults?, verdict: Verdict::of(&records) })
}

/// One fault after another.
async fn trouble<T: Target>(
    target: &mut T,
    lasts: Duration,
    mut random: StdRng,
) -> Result<BTreeMap<&'static str, u64>> {
    let mut faults = BTreeMap::new();
    let begin = Moment::now();
    while begin.elapsed() < lasts {
        let leader = target.settle().await?;
        tokio::time::sleep(Duration::from_millis(random.random_range(BETWEEN_FAULTS_MS))).await;
        let follower = leader % 3 + 1;
        let what = match random.random_range(0..4) {
            0 | 1 => {
                target.pause(leader)?;
                tokio::time::sleep(FREEZE).await;
                target.resume(leader);
                "leader frozen"
            }
            2 => {
                target.kill(leader)?;
                tokio::time::sleep(Duration::from_millis(random.random_range(0..1_500))).await;
                target.start(leader)?;
                "leader killed"
            }
            _ => {
                target.pause(follower)?;
                tokio::time::sleep(FREEZE).await;
                target.resume(follower);
                "follower frozen"
            }
        };
        *faults.entry(what).or_default() += 1;
    }
    target.settle().await?;
    Ok(faults)
}
