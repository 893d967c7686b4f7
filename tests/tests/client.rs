//! The client against clusters of real processes: every kind of guard, what ends it, and what it hears.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use leasehold_client::{
    Client, ClientOptions, Error, Guard, Leader, LockSpec, Loss, LossReason, Token, TryAcquire, UpgradeFailure, Wait,
    WatchItem, WatchTarget,
};
use leasehold_testkit::cluster::{Cluster, ClusterOptions, PATIENCE, eventually};
use leasehold_tests::{alone, seed};
use tokio::time::timeout;

async fn start(test: &str, nodes: u64) -> Result<Cluster> {
    seed("client", test);
    Cluster::start(ClusterOptions { nodes, ..ClusterOptions::default() }).await
}

async fn client_of(cluster: &Cluster, owner: &str) -> Result<Client> {
    let options = ClientOptions { owner: owner.to_owned(), ..ClientOptions::new(cluster.endpoints()) };
    Ok(Client::connect(options).await?)
}

/// Waits until so many wait for a lock.
async fn waiters(client: &Client, name: &str, count: u32) -> Result<()> {
    let queued = || async { (client.get(name).await.ok()?.waiter_count == count).then_some(()) };
    eventually(PATIENCE, "the queue has its length", queued).await
}

async fn in_time<T>(what: &'static str, future: impl Future<Output = T>) -> Result<T> {
    timeout(PATIENCE, future).await.context(what)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guards_of_every_mode_hold_what_they_say() -> Result<()> {
    let _alone = alone().await;
    let cluster = start("guards_of_every_mode_hold_what_they_say", 1).await?;
    let (anna, ben) = (client_of(&cluster, "anna").await?, client_of(&cluster, "ben").await?);
    let one = anna.lock("shared").shared().metadata("reads").acquire().await?;
    let two = ben.lock("shared").shared().acquire().await?;
    ensure!(one.token() < two.token(), "{one:?} then {two:?}");
    let refused = ben.lock("shared").try_acquire().await?;
    let TryAcquire::Held(held) = refused else { bail!("shared and exclusive at once: {refused:?}") };
    ensure!(held.by_self && held.holders.len() == 2, "{held:?}");
    ensure!(held.holders.iter().any(|holder| holder.owner == "anna" && holder.metadata == "reads"), "{held:?}");

    let pool = anna.lock("pool").permits(2, 3).acquire().await?;
    ensure!((pool.permits(), pool.limit()) == (2, 3), "{pool:?}");
    ensure!(ben.lock("pool").permits(2, 3).try_acquire().await?.acquired().is_none(), "4 of 3 permits");
    let conflict = ben.lock("pool").permits(1, 4).try_acquire().await;
    ensure!(matches!(&conflict, Err(Error::Refused { reason, .. }) if reason == "LIMIT_CONFLICT"), "{conflict:?}");
    let third = ben.lock("pool").permits(1, 3).acquire().await?;

    let several = [LockSpec::shared("shared"), LockSpec::exclusive("alone"), LockSpec::permits("pool", 1, 3)];
    let refused = anna.locks(several.clone()).try_acquire().await?;
    ensure!(matches!(&refused, TryAcquire::Held(held) if held.name == "pool"), "{refused:?}");
    ensure!(anna.get("alone").await?.holders.is_empty(), "all or nothing");
    drop(third);
    let all = in_time("the permit comes free", anna.locks(several).acquire()).await??;
    ensure!(all.grants().len() == 3 && all.is_held(), "{all:?}");
    let released = all.release().await?;
    ensure!(released.iter().all(|lock| lock.released), "{released:?}");
    // One session for all of it.
    ensure!(one.session() == pool.session() && one.session() != two.session(), "{one:?} {pool:?} {two:?}");
    ensure!(anna.list_sessions().await?.len() == 2, "one a client");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forced_release_reaches_its_guard_with_what_was_said() -> Result<()> {
    let _alone = alone().await;
    let cluster = start("a_forced_release_reaches_its_guard_with_what_was_said", 3).await?;
    let (anna, admin) = (client_of(&cluster, "anna").await?, client_of(&cluster, "admin").await?);
    let lost = anna.lock("a").lock_delay(Duration::from_secs(2)).acquire().await?;
    let several = anna.locks(["b", "c"]).acquire().await?;
    let of_its_own = anna.locks(["d", "e"]).own_lease().ttl(Duration::from_secs(3)).acquire().await?;
    let kept = anna.lock("f").acquire().await?;

    ensure!(admin.force_release("a", lost.token(), "host is gone").await?.released, "it was held");
    let loss = in_time("the guard hears of it", lost.lost()).await?;
    let said = Loss::Ended { reason: Some(LossReason::Forced), note: "host is gone".to_owned() };
    ensure!(loss == said, "{loss:?}");
    ensure!(!lost.release().await?.released, "there was nothing left to release");
    let TryAcquire::Held(held) = admin.lock("a").try_acquire().await? else { bail!("the lock-delay runs") };
    ensure!(held.holders.is_empty() && !held.delay_left.is_zero(), "{held:?}");

    let token = several.token_of("c").context("c is held")?;
    admin.force_release("c", token, "one of two").await?;
    in_time("the guard of several hears of it", several.lost()).await?;
    ensure!(several.lost_locks().iter().map(|(name, _)| name.as_str()).eq(["c"]), "{:?}", several.lost_locks());
    let checked = admin.check_token("b", several.token_of("b").context("b is held")?).await?;
    ensure!(checked.current, "{checked:?}");

    let token = of_its_own.token_of("e").context("e is held")?;
    admin.force_release("e", token, "without a session").await?;
    let loss = in_time("so does one without a session", of_its_own.lost()).await?;
    ensure!(matches!(&loss, Loss::Ended { note, .. } if note == "without a session"), "{loss:?}");
    ensure!(of_its_own.lost_locks().len() == 1, "{:?}", of_its_own.lost_locks());
    ensure!(kept.is_held(), "the session lives: {:?}", kept.loss());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_and_down_without_letting_go() -> Result<()> {
    let _alone = alone().await;
    let cluster = start("up_and_down_without_letting_go", 1).await?;
    let (anna, ben) = (client_of(&cluster, "anna").await?, client_of(&cluster, "ben").await?);
    let exclusive = anna.lock("a").value("v").acquire().await?;
    let first = exclusive.token();
    let hers = exclusive.downgrade().await.map_err(|failed| failed.error)?;
    ensure!(hers.token() > first, "{hers:?}");
    ensure!(anna.get("a").await?.holders[0].value == b"v", "the value stays");
    let his = ben.lock("a").shared().acquire().await?;

    // Not now, and not within so long: the shared guard comes back.
    let failed = hers.try_upgrade().await.err().context("his is shared")?;
    ensure!(matches!(failed.why, UpgradeFailure::Held(_)), "{failed:?}");
    let failed = failed.guard.upgrade_timeout(Duration::from_millis(300)).await.err().context("his is shared")?;
    ensure!(failed.why == UpgradeFailure::TimedOut && failed.guard.is_held(), "{failed:?}");

    // A dropped attempt keeps it, and leaves the queue.
    let mut upgrade = failed.guard.begin_upgrade();
    ensure!(timeout(Duration::from_millis(300), upgrade.attempt(Wait::Forever)).await.is_err(), "his is shared");
    let hers = in_time("the attempt is over", upgrade.give_up()).await?.context("it was not upgraded")?;
    ensure!(hers.is_held() && anna.get("a").await?.waiter_count == 0, "{hers:?}");
    ensure!(anna.check_token("a", hers.token()).await?.current, "under the token that the guard says");

    // Two upgraders wait for each other: the second one is told.
    let hers = tokio::spawn(hers.upgrade());
    waiters(&ben, "a", 1).await?;
    let failed = his.upgrade().await.err().context("a deadlock")?;
    ensure!(matches!(&failed.why, UpgradeFailure::Deadlock(deadlock) if deadlock.cycle.len() == 2), "{failed:?}");
    let given_back = failed.guard.token();
    failed.guard.release().await?;
    let hers =
        in_time("she is alone now", hers).await??.map_err(|failed| Error::Server { message: format!("{failed:?}") })?;
    ensure!(hers.token() > given_back && hers.is_held(), "{hers:?}");
    ensure!(ben.lock("a").shared().try_acquire().await?.acquired().is_none(), "it is exclusive");
    ensure!(hers.release().await?.released, "under its present token");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_waits_leave_the_queue_and_what_was_granted_too_late_is_given_back() -> Result<()> {
    let _alone = alone().await;
    let cluster = start("dropped_waits_leave_the_queue_and_what_was_granted_too_late_is_given_back", 1).await?;
    let (anna, ben) = (client_of(&cluster, "anna").await?, client_of(&cluster, "ben").await?);
    for round in 0..30u64 {
        let held = anna.lock("a").acquire().await?;
        let waiting = tokio::spawn(ben.lock("a").acquire());
        if round % 2 == 0 {
            waiters(&anna, "a", 1).await?;
        }
        // Sometimes the release comes first, sometimes the end of the wait.
        let releasing = tokio::spawn(held.release());
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        waiting.abort();
        releasing.await??;
        ensure!(ben.settle(PATIENCE).await, "cancels and releases are answered");
        let _ = waiting.await;
        ensure!(ben.settle(PATIENCE).await, "cancels and releases are answered");
        let lock = anna.get("a").await?;
        ensure!(lock.holders.is_empty() && lock.waiter_count == 0, "round {round}: {lock:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actors_are_told_of_their_deadlock() -> Result<()> {
    let _alone = alone().await;
    let cluster = start("actors_are_told_of_their_deadlock", 1).await?;
    let (anna, ben) = (client_of(&cluster, "anna").await?, client_of(&cluster, "ben").await?);
    let (her, his) = (anna.actor("her task"), ben.actor("his task"));
    let a = anna.lock("a").actor(&her).acquire().await?;
    let b = ben.lock("b").actor(&his).acquire().await?;
    let waiting = tokio::spawn(anna.lock("b").actor(&her).acquire());
    waiters(&ben, "b", 1).await?;
    let closing = ben.lock("a").actor(&his).acquire().await;
    let Err(Error::Deadlock(deadlock)) = closing else { bail!("the cycle is closed: {closing:?}") };
    let steps: Vec<_> = deadlock.cycle.iter().map(|step| (step.actor.as_str(), step.name.as_str())).collect();
    ensure!(steps == [("his task", "a"), ("her task", "b")], "{deadlock}");
    b.release().await?;
    let both = in_time("she has both", waiting).await???;
    ensure!(both.is_held() && a.is_held(), "{both:?}");
    drop(a);

    // A re-entrant lock: the same task again at once, another one of the same process not.
    let lock = anna.reentrant("r");
    let outer = lock.acquire(&her).await?;
    let inner = in_time("again", lock.acquire(&her)).await??;
    ensure!(inner.token() == outer.token() && inner.depth() == 2, "{inner:?}");
    let other = anna.new_actor();
    ensure!(lock.try_acquire(&other).await?.acquired().is_none(), "another task");
    ensure!(outer.release().await?.is_none(), "held still");
    ensure!(lock.acquire_timeout(&other, Duration::from_millis(200)).await?.is_none(), "held still");
    ensure!(inner.release().await?.is_some_and(|released| released.released), "the last one");
    ensure!(lock.acquire_timeout(&other, PATIENCE).await?.is_some(), "free now");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_election_goes_on_when_leaders_of_the_cluster_die() -> Result<()> {
    let _alone = alone().await;
    let mut cluster = start("an_election_goes_on_when_leaders_of_the_cluster_die", 3).await?;
    let (anna, ben) = (client_of(&cluster, "anna").await?, client_of(&cluster, "ben").await?);
    let observer = client_of(&cluster, "observer").await?;
    let election = observer.election("office");
    ensure!(election.leader().await?.is_none(), "nobody has campaigned");
    let mut leaders = election.observe();
    let mut watch = observer.watch(WatchTarget::Lock("office".to_owned()));
    let WatchItem::Started { .. } = in_time("the watch starts", watch.next()).await?.context("goes on")?? else {
        bail!("a watch says first from where")
    };
    let mut seen: Vec<Leader> = Vec::new();
    let mut next = async || -> Result<Leader> {
        let leader = in_time("a leader is seen", leaders.next()).await?.context("goes on")??;
        if let Some(last) = seen.last() {
            ensure!((last.token, last.version) < (leader.token, leader.version), "{last:?} then {leader:?}");
        }
        seen.push(leader.clone());
        Ok(leader)
    };
    let mut first = anna.election("office").campaign("anna").await?;
    ensure!(next().await?.owner == "anna", "the first");
    let ben_election = ben.election("office");
    let second = tokio::spawn(async move { ben_election.campaign("ben").await });
    waiters(&observer, "office", 1).await?;
    let leader = cluster.wait_leader().await?;
    cluster.node_mut(leader).kill()?;
    cluster.wait_leader().await?;
    first.proclaim("still anna").await?;
    let proclaimed = next().await?;
    ensure!((proclaimed.value.as_slice(), proclaimed.version) == (b"still anna", 1), "{proclaimed:?}");
    ensure!(first.resign().await?.released, "it led");
    let second = in_time("the next one leads", second).await???;
    let elected = next().await?;
    ensure!((elected.owner.as_str(), elected.token) == ("ben", second.token()), "{elected:?}");
    // Every step is in the watch, once, in order, across the nodes.
    let mut tokens: Vec<u64> = Vec::new();
    while tokens.last() != Some(&second.token().0) {
        match in_time("the watch goes on", watch.next()).await?.context("goes on")?? {
            WatchItem::Event(event) if event.r#type() == leasehold_client::EventType::Granted => {
                tokens.push(event.token)
            }
            WatchItem::Gap { after, from } => bail!("a gap from {after:?} to {from:?}"),
            _ => {}
        }
    }
    ensure!(tokens == [seen[0].token.0, second.token().0], "{tokens:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_gives_everything_back_and_a_crash_runs_out() -> Result<()> {
    let _alone = alone().await;
    let cluster = start("shutdown_gives_everything_back_and_a_crash_runs_out", 1).await?;
    let other = client_of(&cluster, "other").await?;
    let anna = client_of(&cluster, "anna").await?;
    let held: Vec<Guard> = vec![anna.lock("a").acquire().await?, anna.lock("b").acquire().await?];
    let session = held[0].session().context("the default session")?;
    let waiting = tokio::spawn(anna.lock("a").acquire());
    waiters(&other, "a", 1).await?;
    ensure!(anna.shutdown(PATIENCE).await, "answered in time");
    ensure!(held.iter().all(|guard| guard.loss() == Some(Loss::Closed)), "{held:?}");
    ensure!(waiting.await?.is_err(), "its wait ended with it");
    for name in ["a", "b"] {
        let lock = other.get(name).await?;
        ensure!(lock.holders.is_empty() && lock.waiter_count == 0, "{lock:?}");
        ensure!(lock.last_lost() == LossReason::LeaseClosed, "{lock:?}");
    }
    ensure!(other.get_session(session).await?.reason() == LossReason::LeaseClosed, "it says why it ended");

    let options = ClientOptions { session_ttl: Duration::from_millis(800), ..ClientOptions::new(cluster.endpoints()) };
    let crashed = Client::connect(options).await?;
    let guard = crashed.lock("a").acquire().await?;
    let token: Token = guard.token();
    crashed.close();
    let next = in_time("it runs out", other.lock("a").acquire()).await??;
    ensure!(next.token() > token && !guard.is_held(), "{next:?}");
    ensure!(other.get("a").await?.last_lost() == LossReason::Expired, "it was not given back");
    Ok(())
}
