//! C10: a resource that refuses tokens below the greatest it has seen loses no update when a holder stalls past its lease;
//! without that guard it does. A lock alone cannot stop a holder that was paused.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use leasehold_client::{Acquired, Acquisition, Client, ClientOptions, Wait};
use leasehold_testkit::cluster::{Cluster, ClusterOptions};
use leasehold_tests::{alone, seed};

const ROUNDS: u64 = 3;

/// A counter that somebody else keeps: read, then written back.
#[derive(Default)]
struct Counter {
    guarded: bool,
    value: u64,
    greatest_token: u64,
}

impl Counter {
    /// Whether the write was taken.
    fn write(&mut self, value: u64, token: u64) -> bool {
        if self.guarded && token < self.greatest_token {
            return false;
        }
        self.greatest_token = self.greatest_token.max(token);
        self.value = value;
        true
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counter_guarded_by_tokens_loses_nothing() -> Result<()> {
    let (increments, value) = race("counter_guarded_by_tokens_loses_nothing", true).await?;
    ensure!(value == increments, "{increments} increments were taken, the counter says {value}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counter_without_guard_loses_updates() -> Result<()> {
    let (increments, value) = race("counter_without_guard_loses_updates", false).await?;
    ensure!(value < increments, "{increments} increments were taken, the counter says {value}: nothing was lost");
    Ok(())
}

/// In every round one client stalls between its read and its write until another has had the lock. Returns the increments
/// that were taken, and the counter.
async fn race(test: &str, guarded: bool) -> Result<(u64, u64)> {
    let _alone = alone().await;
    seed("guarded", test);
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    let staller = Client::connect(ClientOptions::new(cluster.endpoints())).await?;
    let other = Client::connect(ClientOptions::new(cluster.endpoints())).await?;
    let mut counter = Counter { guarded, ..Counter::default() };
    let mut increments = 0;
    for _ in 0..ROUNDS {
        let stalled = take(&staller).await?;
        let read = counter.value;
        // The staller's lease runs out while it is away: that is what this waits for.
        let granted = take(&other).await?;
        ensure!(granted.token > stalled.token, "token {} follows {}", granted.token, stalled.token);
        increments += u64::from(counter.write(counter.value + 1, granted.token.0));
        ensure!(other.release("counter", granted.token).await?.released, "the lock was held");
        // The staller wakes up and writes what it had prepared.
        if counter.write(read + 1, stalled.token.0) {
            increments += 1;
            continue;
        }
        // Refused: it begins again, properly.
        let again = take(&staller).await?;
        increments += u64::from(counter.write(counter.value + 1, again.token.0));
        ensure!(staller.release("counter", again.token).await?.released, "the lock was held");
    }
    Ok((increments, counter.value))
}

async fn take(client: &Client) -> Result<Acquired> {
    match client.lock("counter").own_lease().ttl(Duration::from_millis(600)).acquire_raw(Wait::Forever).await? {
        Acquisition::Acquired(acquired) => Ok(acquired),
        other => bail!("an endless wait came to {other:?}"),
    }
}
