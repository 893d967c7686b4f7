//! Measures a three-node cluster of real processes on this machine, beside what its disk can do in the same run.
//!
//! `cargo run --release -p leasehold-testkit --bin measure [-- --kills N]`: a table to stderr, JSON to stdout.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints what it measured")]

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use leasehold_client::{Acquisition, Client, ClientOptions, Wait};
use leasehold_testkit::clock::Moment;
use leasehold_testkit::cluster::{Cluster, ClusterOptions};
use leasehold_testkit::numbers::Numbers;
use serde_json::json;
use tokio::task::JoinSet;

const APPEND_BYTES: usize = 140;
const APPENDS: usize = 2_000;
const DISK_WRITERS: usize = 3;
const ACQUIRES: usize = 4_000;
const EXPIRIES: usize = 50;
const EXPIRY_TTL: Duration = Duration::from_millis(500);
const KILLS: u64 = 20;
const LOOK_EVERY: Duration = Duration::from_millis(10);
const MASS: usize = 50_000;
const MASS_TTL: Duration = Duration::from_secs(20);
const MASS_CALLERS: usize = 256;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let kills = match arguments.as_slice() {
        [] => KILLS,
        [flag, number] if flag == "--kills" => number.parse()?,
        _ => bail!("usage: measure [--kills N]"),
    };
    let mut cluster = Cluster::start(ClusterOptions { tuning: Vec::new(), ..ClusterOptions::default() }).await?;
    let disk = disk(&cluster.folder())?;
    let alone = acquires(&cluster, 1).await?;
    let crowd = acquires(&cluster, 64).await?;
    let expiry = expiries(&cluster).await?;
    let mass = mass_expiry(&cluster).await?;
    let gaps = kill_leaders(&mut cluster, kills).await?;
    for (what, numbers) in [
        ("durable append of 140 bytes, 3 writers", &disk),
        ("acquire, 1 caller", &alone),
        ("acquire, 64 callers", &crowd),
        ("grant to the next waiter, after the ttl", &expiry),
        ("acquire of others, 4 callers, before", &mass.before),
        ("the same while 50,000 leases run out", &mass.during),
        ("gap in service when the leader is killed", &gaps),
    ] {
        eprintln!(
            "{what:42} p50 {:>9.3} ms   p99 {:>9.3} ms   longest {:>9.3} ms   of {}",
            numbers.at(50),
            numbers.at(99),
            numbers.at(100),
            numbers.count()
        );
    }
    eprintln!("acquire / durable append, p50: {:.2}", alone.at(50) / disk.at(50));
    eprintln!("from the moment when {MASS} leases are due until the last is gone: {:?}", mass.lasted);
    println!(
        "{}",
        json!({
            "durable_append": disk.json(), "acquire_1": alone.json(), "acquire_64": crowd.json(),
            "expiry_lag": expiry.json(), "before_mass_expiry": mass.before.json(), "during_mass_expiry": mass.during.json(),
            "mass_expiry_ms": mass.lasted.as_secs_f64() * 1e3,
            "leader_kill_gap": gaps.json(),
        })
    );
    Ok(())
}

/// Three files, each appended to and fdatasynced by a writer of its own: what three nodes ask of one disk.
fn disk(folder: &Path) -> Result<Numbers> {
    let writers: Vec<_> = (0..DISK_WRITERS)
        .map(|number| {
            let path = folder.join(format!("append-{number}"));
            std::thread::spawn(move || -> Result<Vec<Duration>> {
                let mut file = File::create(path)?;
                let mut spans = Vec::new();
                for _ in 0..APPENDS {
                    let start = Moment::now();
                    file.write_all(&[7; APPEND_BYTES])?;
                    file.sync_data()?;
                    spans.push(start.elapsed());
                }
                Ok(spans)
            })
        })
        .collect();
    let mut spans = Vec::new();
    for writer in writers {
        spans.extend(writer.join().ok().context("a writer panicked")??);
    }
    Ok(Numbers::new(spans))
}

/// Time from an acquire to its grant; every caller has a lock of its own and releases it in between.
async fn acquires(cluster: &Cluster, callers: usize) -> Result<Numbers> {
    let client = Client::connect(ClientOptions::new(cluster.endpoints())).await?;
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let client = client.clone();
        tasks.spawn(async move {
            let name = format!("measured-{caller}");
            let mut spans = Vec::new();
            for _ in 0..ACQUIRES / callers {
                let start = Moment::now();
                let acquired = client.lock(&name).own_lease().acquire_raw(Wait::Try).await?;
                spans.push(start.elapsed());
                let Acquisition::Acquired(acquired) = acquired else { bail!("{name} is nobody else's") };
                client.release(&name, acquired.token).await?;
            }
            Ok(spans)
        });
    }
    let mut spans = Vec::new();
    while let Some(done) = tasks.join_next().await {
        spans.extend(done??);
    }
    Ok(Numbers::new(spans))
}

/// How much later than the ttl, counted from the first holder's send, the next waiter has the lock.
async fn expiries(cluster: &Cluster) -> Result<Numbers> {
    let client = Client::connect(ClientOptions::new(cluster.endpoints())).await?;
    let mut lags = Vec::new();
    for round in 0..EXPIRIES {
        let name = format!("expires-{round}");
        let lock = || client.lock(&name).own_lease().ttl(EXPIRY_TTL);
        let start = Moment::now();
        let Acquisition::Acquired(_) = lock().acquire_raw(Wait::Try).await? else { bail!("{name} is free") };
        let Acquisition::Acquired(next) = lock().acquire_raw(Wait::Forever).await? else { bail!("{name} runs out") };
        lags.push(start.elapsed().saturating_sub(EXPIRY_TTL));
        client.release(&name, next.token).await?;
    }
    Ok(Numbers::new(lags))
}

/// What others feel of very many leases that run out at once.
struct MassExpiry {
    before: Numbers,
    during: Numbers,
    lasted: Duration,
}

/// Takes 50,000 locks whose leases end in one moment, and goes on acquiring others.
async fn mass_expiry(cluster: &Cluster) -> Result<MassExpiry> {
    let client = Client::connect(ClientOptions::new(cluster.endpoints())).await?;
    let begin = Moment::now();
    let mut tasks = JoinSet::new();
    for caller in 0..MASS_CALLERS {
        let client = client.clone();
        tasks.spawn(async move {
            for number in (caller..MASS).step_by(MASS_CALLERS) {
                let ttl = MASS_TTL.checked_sub(begin.elapsed()).context("taking the locks took too long")?;
                let lock = client.lock(format!("mass-{number:05}")).own_lease().ttl(ttl);
                let Acquisition::Acquired(_) = lock.acquire_raw(Wait::Try).await? else { bail!("{number} is free") };
            }
            Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    let before = acquires_until(cluster, || async { Ok(begin.elapsed() >= MASS_TTL - Duration::from_secs(1)) }).await?;
    let last = format!("mass-{:05}", MASS - 1);
    let all_gone = || async {
        let gone = begin.elapsed() > MASS_TTL && client.get(&last).await?.holders.is_empty();
        Ok(gone && client.list_page("mass-", "").await?.locks.is_empty())
    };
    let during = acquires_until(cluster, all_gone).await?;
    Ok(MassExpiry { before, during, lasted: begin.elapsed().saturating_sub(MASS_TTL) })
}

/// Times of acquires by four callers, until something is so.
async fn acquires_until<F>(cluster: &Cluster, mut done: impl FnMut() -> F) -> Result<Numbers>
where
    F: Future<Output = Result<bool>>,
{
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for caller in 0..4 {
        let client = Client::connect(ClientOptions::new(cluster.endpoints())).await?;
        let stop = stop.clone();
        tasks.spawn(async move {
            let name = format!("other-{caller}");
            let mut spans = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let start = Moment::now();
                let acquired = client.lock(&name).own_lease().acquire_raw(Wait::Try).await?;
                spans.push(start.elapsed());
                let Acquisition::Acquired(acquired) = acquired else { bail!("{name} is nobody else's") };
                client.release(&name, acquired.token).await?;
            }
            Ok(spans)
        });
    }
    while !done().await? {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut spans = Vec::new();
    while let Some(done) = tasks.join_next().await {
        spans.extend(done??);
    }
    Ok(Numbers::new(spans))
}

/// The longest time without a grant around each kill -9 of the leader, under four callers that never stop.
async fn kill_leaders(cluster: &mut Cluster, kills: u64) -> Result<Numbers> {
    let served = Arc::new(AtomicU64::new(0));
    let longest = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for caller in 0..4 {
        let (served, longest, stop) = (served.clone(), longest.clone(), stop.clone());
        let client = Client::connect(ClientOptions::new(cluster.endpoints())).await?;
        tasks.spawn(async move {
            let name = format!("served-{caller}");
            while !stop.load(Ordering::Relaxed) {
                let lock = client.lock(&name).own_lease().ttl(Duration::from_secs(2));
                let acquired = lock.acquire_raw(Wait::For(Duration::from_secs(5))).await;
                if let Ok(Acquisition::Acquired(acquired)) = acquired {
                    let now = Moment::now();
                    let last = served.swap(now.0, Ordering::Relaxed);
                    if last > 0 {
                        longest.fetch_max(now.0.saturating_sub(last), Ordering::Relaxed);
                    }
                    // One whose release gets lost runs out by itself.
                    let _ = client.release(&name, acquired.token).await;
                }
            }
        });
    }
    let mut gaps = Vec::new();
    for _ in 0..kills {
        let leader = cluster.wait_all_applied().await?;
        longest.store(0, Ordering::Relaxed);
        cluster.node_mut(leader).kill()?;
        cluster.wait_leader().await?;
        let killed = Moment::now();
        while served.load(Ordering::Relaxed) < killed.0 {
            tokio::task::yield_now().await;
        }
        gaps.push(Duration::from_nanos(longest.load(Ordering::Relaxed)));
        cluster.node_mut(leader).start()?;
    }
    stop.store(true, Ordering::Relaxed);
    tasks.shutdown().await;
    Ok(Numbers::new(gaps))
}
