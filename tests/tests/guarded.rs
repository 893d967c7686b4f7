//! C10: a resource that refuses tokens below the greatest it has seen loses no update when a holder stalls past its lease;
//! without that guard it does. A lock alone cannot stop a holder that was paused.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use leasehold_client::{Acquired, Acquisition, Client, ClientOptions, Wait};
use leasehold_testkit::checker::Invariant::C10;
use leasehold_testkit::checker::{Report, Resource, check_guarded};
use leasehold_testkit::cluster::{Cluster, ClusterOptions};
use leasehold_tests::{alone, seed};

const ROUNDS: u64 = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counter_guarded_by_tokens_loses_nothing() -> Result<()> {
    let counter = race("counter_guarded_by_tokens_loses_nothing", Resource::guarded()).await?;
    let mut report = Report::default();
    check_guarded("counter", &counter, &mut report);
    ensure!(report.is_clean() && report.checked(C10) > 0, "{report}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counter_without_guard_loses_updates() -> Result<()> {
    let counter = race("counter_without_guard_loses_updates", Resource::unguarded()).await?;
    ensure!(counter.lost() > 0, "nothing was lost: {counter:?}");
    Ok(())
}

/// In every round one client stalls between its read and its write until another has had the lock. Returns the counter.
async fn race(test: &str, mut counter: Resource) -> Result<Resource> {
    let _alone = alone().await;
    seed("guarded", test);
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    let staller = Client::connect(ClientOptions::new(cluster.endpoints())).await?;
    let other = Client::connect(ClientOptions::new(cluster.endpoints())).await?;
    for _ in 0..ROUNDS {
        let stalled = take(&staller).await?;
        let read = counter.read(stalled.token.0).context("the newest token may read")?;
        // The staller's lease runs out while it is away: that is what this waits for.
        let granted = take(&other).await?;
        ensure!(granted.token > stalled.token, "token {} follows {}", granted.token, stalled.token);
        increment(&mut counter, granted.token.0)?;
        ensure!(other.release("counter", granted.token).await?.released, "the lock was held");
        // The staller wakes up and writes what it had prepared.
        if !counter.write(stalled.token.0, read) {
            // Refused: it begins again, properly.
            let again = take(&staller).await?;
            increment(&mut counter, again.token.0)?;
            ensure!(staller.release("counter", again.token).await?.released, "the lock was held");
        }
    }
    Ok(counter)
}

fn increment(counter: &mut Resource, token: u64) -> Result<()> {
    let read = counter.read(token).context("the newest token may read")?;
    ensure!(counter.write(token, read), "the newest token may write");
    Ok(())
}

async fn take(client: &Client) -> Result<Acquired> {
    match client.lock("counter").own_lease().ttl(Duration::from_millis(600)).acquire_raw(Wait::Forever).await? {
        Acquisition::Acquired(acquired) => Ok(acquired),
        other => bail!("an endless wait came to {other:?}"),
    }
}
