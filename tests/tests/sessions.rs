//! Sessions, and very many of them, on clusters of real processes: what outlives a leader, what a partition ends, and in
//! which order.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use leasehold_client::{Client, ClientOptions, EventType, Guard, Loss, WatchItem, WatchTarget};
use leasehold_testkit::clock::Moment;
use leasehold_testkit::cluster::{Cluster, ClusterOptions, PATIENCE, Proxy, StatusClient, eventually};
use leasehold_tests::{alone, seed};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Waiters of one lock.
const WAITERS: usize = 10_000;
/// Clients that they belong to.
const WAITING_CLIENTS: usize = 20;
/// Longer than ten thousand handovers take on a small and busy machine.
const HANDOVERS_MAX: Duration = Duration::from_secs(300);

async fn client_of(endpoints: Vec<String>, ttl: Duration) -> Result<Client> {
    let mut options = ClientOptions::new(endpoints);
    options.session_ttl = ttl;
    Ok(Client::connect(options).await?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_and_its_locks_survive_leader_kills() -> Result<()> {
    let _alone = alone().await;
    seed("sessions", "a_session_and_its_locks_survive_leader_kills");
    let mut cluster = Cluster::start(ClusterOptions::default()).await?;
    let client = client_of(cluster.endpoints(), Duration::from_secs(5)).await?;
    let exclusive = client.lock("exclusive").acquire().await?;
    let shared = client.lock("shared").shared().acquire().await?;
    let permits = client.lock("pool").permits(2, 3).acquire().await?;
    let several = client.locks(["one", "two"]).acquire().await?;
    let session = exclusive.session().context("a guard of the default session")?;
    for _ in 0..3 {
        let leader = cluster.wait_leader().await?;
        cluster.node_mut(leader).kill()?;
        cluster.wait_leader().await?;
        // Alive by the word of the new leader: it was renewed there.
        let known = client.get_session(session).await?.session.context("the session is open")?;
        ensure!(known.grants.len() == 5, "it holds {:?}", known.grants);
        ensure!(exclusive.is_held() && shared.is_held() && permits.is_held() && several.is_held(), "a guard was lost");
        let holder = client.get("exclusive").await?.holders;
        ensure!(holder.len() == 1 && holder[0].token == exclusive.token().0, "{holder:?}");
        cluster.node_mut(leader).start()?;
        cluster.wait_all_applied().await?;
    }
    // Longer than its ttl: keep-alives reach whoever leads.
    let start = Moment::now();
    eventually(PATIENCE, "longer than the ttl", || async { (start.elapsed() > Duration::from_secs(6)).then_some(()) })
        .await?;
    ensure!(exclusive.is_held(), "lost: {:?}", exclusive.loss());
    let released = exclusive.release().await?;
    ensure!(released.released, "the lock was its own until the end");
    ensure!(client.shutdown(PATIENCE).await, "the session closes in time");
    let other = client_of(cluster.endpoints(), Duration::from_secs(5)).await?;
    for name in ["shared", "pool", "one", "two"] {
        ensure!(other.get(name).await?.holders.is_empty(), "{name} is still held after its session was closed");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partitioned_client_hears_of_its_loss_before_another_gets_its_locks() -> Result<()> {
    let _alone = alone().await;
    seed("sessions", "a_partitioned_client_hears_of_its_loss_before_another_gets_its_locks");
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    let mut wires = Vec::new();
    for endpoint in cluster.endpoints() {
        wires.push(Proxy::start(endpoint).await?);
    }
    let ttl = Duration::from_millis(1_500);
    let cut_off = client_of(wires.iter().map(Proxy::address).collect(), ttl).await?;
    let other = client_of(cluster.endpoints(), ttl).await?;
    for round in 0..3 {
        let first = cut_off.lock("first").acquire().await?;
        let second = cut_off.lock("second").shared().acquire().await?;
        let next = tokio::spawn({
            let other = other.clone();
            async move {
                let guard = other.locks(["first", "second"]).acquire().await?;
                anyhow::Ok((Moment::now(), guard))
            }
        });
        eventually(PATIENCE, "the other waits", || async {
            (other.get("first").await.ok()?.waiter_count == 1).then_some(())
        })
        .await?;
        for wire in &wires {
            wire.cut();
        }
        let loss = timeout(PATIENCE, first.lost()).await.context("it never hears of its loss")?;
        timeout(PATIENCE, second.lost()).await.context("it never hears of its second loss")?;
        let heard = Moment::now();
        let (granted, guard) = timeout(PATIENCE, next).await.context("the other never gets the locks")???;
        ensure!(matches!(loss, Loss::Expired), "round {round}: lost by its own clock, not {loss:?}");
        ensure!(heard <= granted, "round {round}: heard of the loss at {heard}, another was granted at {granted}");
        ensure!(!first.is_held() && !second.is_held(), "a loss is for ever");
        guard.release().await?;
        for wire in &wires {
            wire.heal();
        }
        // A session that is lost is replaced by a new one.
        let again = timeout(PATIENCE, cut_off.lock("first").acquire()).await.context("it never comes back")??;
        ensure!(again.token() > first.token(), "tokens only grow");
        ensure!(again.session() != first.session(), "a lost session does not come back");
        again.release().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_waiters_of_one_lock_are_granted_in_order() -> Result<()> {
    let _alone = alone().await;
    seed("sessions", "ten_thousand_waiters_of_one_lock_are_granted_in_order");
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    let ttl = Duration::from_secs(60);
    let watcher = client_of(cluster.endpoints(), ttl).await?;
    let first = watcher.lock("busy").acquire().await?;
    let mut watch = watcher.watch(WatchTarget::Lock("busy".into()));
    ensure!(matches!(watch.next().await, Some(Ok(WatchItem::Started { .. }))), "the watch begins");
    let mut tasks = JoinSet::new();
    for number in 0..WAITING_CLIENTS {
        let client = client_of(cluster.endpoints(), ttl).await?;
        tasks.spawn(async move {
            let mut waiters = JoinSet::new();
            for waiter in 0..WAITERS / WAITING_CLIENTS {
                let lock = client.lock("busy").owner(format!("waiter {number}/{waiter}"));
                waiters.spawn(async move { lock.acquire().await?.release().await });
            }
            let mut held = 0;
            while let Some(done) = waiters.join_next().await {
                ensure!(done??.released, "a waiter lost what it was granted");
                held += 1;
            }
            ensure!(client.shutdown(PATIENCE).await, "its session closes in time");
            Ok(held)
        });
    }
    eventually(HANDOVERS_MAX, "all of them wait", || async {
        (watcher.get("busy").await.ok()?.waiter_count as usize == WAITERS).then_some(())
    })
    .await?;
    first.release().await?;
    let (queued, granted) =
        timeout(HANDOVERS_MAX, order_of(&mut watch)).await.context("the handovers take too long")??;
    let mut held = 0;
    while let Some(done) = tasks.join_next().await {
        held += done??;
    }
    ensure!(held == WAITERS, "{held} of {WAITERS} waiters were granted the lock");
    ensure!(queued == granted, "granted in another order than queued");
    Ok(())
}

/// Who queued, in order, and who was granted, in order, by what a watch tells.
async fn order_of(watch: &mut leasehold_client::Watch) -> Result<(Vec<String>, Vec<String>)> {
    let (mut queued, mut granted) = (Vec::new(), Vec::new());
    let mut seen = std::collections::HashSet::new();
    let mut token = 0;
    while granted.len() < WAITERS {
        match watch.next().await.context("the watch ended")?? {
            WatchItem::Event(event) if event.r#type() == EventType::Queued => {
                // One that asks again keeps its place.
                if seen.insert(event.owner.clone()) {
                    queued.push(event.owner);
                }
            }
            WatchItem::Event(event) if event.r#type() == EventType::Granted => {
                ensure!(event.token > token, "token {} after {token}", event.token);
                token = event.token;
                granted.push(event.owner);
            }
            WatchItem::Gap { after, from } => anyhow::bail!("events between {after:?} and {from:?} were missed"),
            WatchItem::Event(_) | WatchItem::Started { .. } | WatchItem::Progress(_) => {}
        }
    }
    Ok((queued, granted))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_whose_lock_is_ended_by_force_is_told_why() -> Result<()> {
    let _alone = alone().await;
    seed("sessions", "a_holder_whose_lock_is_ended_by_force_is_told_why");
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    let client = client_of(cluster.endpoints(), Duration::from_secs(10)).await?;
    let operator = client_of(cluster.endpoints(), Duration::from_secs(10)).await?;
    let delay = Duration::from_millis(1_000);
    let kept: Guard = client.lock("kept").acquire().await?;
    let taken: Guard = client.lock("taken").lock_delay(delay).acquire().await?;
    let waiting = tokio::spawn({
        let operator = operator.clone();
        async move { operator.lock("taken").acquire().await }
    });
    eventually(PATIENCE, "the operator waits", || async {
        (operator.get("taken").await.ok()?.waiter_count == 1).then_some(())
    })
    .await?;
    let forced = Moment::now();
    ensure!(operator.force_release("taken", taken.token(), "maintenance at noon").await?.released, "it was held");
    let loss = timeout(PATIENCE, taken.lost()).await.context("the loser is never told")?;
    let Loss::Ended { reason: Some(leasehold_client::LossReason::Forced), note } = &loss else {
        anyhow::bail!("told {loss:?}");
    };
    ensure!(note == "maintenance at noon", "told {note:?}");
    ensure!(kept.is_held(), "the rest of the session is as it was");
    let next = timeout(PATIENCE, waiting).await.context("the lock-delay never ends")???;
    ensure!(forced.elapsed() >= delay, "the lock-delay of {delay:?} was not honoured");
    ensure!(next.token() > taken.token(), "tokens only grow");
    let known = operator.get("taken").await?.loss.context("why it was last lost is remembered")?;
    ensure!(known.note == "maintenance at noon" && known.token == taken.token().0, "{known:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_cluster_is_at_the_highest_level() -> Result<()> {
    let _alone = alone().await;
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    let status = StatusClient::ask(&cluster.endpoints()[0]).await.context("a node answers")?;
    ensure!(status.level == 2 && status.nodes.iter().all(|node| node.level_max == 2), "{status:?}");
    Ok(())
}
