//! Dapr's published Python SDK, unchanged, beside three real nodes in the place of sidecars: it behaves as its documentation says,
//! no two applications ever hold a lock at once, also while the leader is killed, and what failed leaves no lock behind.

mod judge;

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use leasehold_proto::v1;
use leasehold_proto::v1::lock_service_client::LockServiceClient;
use leasehold_testkit::clients::Program;
use leasehold_testkit::clients::tools::{self, Runner};
use leasehold_testkit::cluster::{Cluster, ClusterOptions, PATIENCE, eventually, leasehold_binary};
use leasehold_tests::alone;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::Endpoint;

use judge::{Hold, judge};

const STORE: &str = "lockstore";
/// How long the behaviours may take on all nodes.
const BEHAVIOURS_MAX: Duration = Duration::from_secs(120);
/// How long a workload may take to show what it should, and to end.
const WORKLOAD_MAX: Duration = Duration::from_secs(90);
/// Few, so that they are contended.
const LOCKS: [&str; 2] = ["contended-a", "contended-b"];
const WORKERS: usize = 6;
/// Holds before the leader is killed, after that, and after it is back.
const HOLDS: usize = 40;
/// Tries at having an entry in the log of a leader that just lost its followers, which it may throw away with its leadership.
const STUCK_TRIES: usize = 10;

fn options() -> ClusterOptions {
    let config = vec!["[[dapr.stores]]".into(), format!("name = \"{STORE}\""), "app-id = \"default\"".into()];
    ClusterOptions { config, ..ClusterOptions::default() }
}

fn start(name: &str, python: &Runner, script: &str, cluster: &Cluster) -> Result<Program> {
    let node = |id| format!("{}/{}", cluster.node(id).client_address(), cluster.node(id).http_address());
    let nodes: Vec<String> = cluster.ids().into_iter().map(node).collect();
    let mut command = python.command();
    command.arg(tools::programs().join("dapr").join(script));
    command.env("LEASEHOLD_DAPR", nodes.join(",")).env("LEASEHOLD_DAPR_STORE", STORE);
    command.env("LEASEHOLD_BIN", leasehold_binary()?).env("LEASEHOLD_ENDPOINTS", cluster.endpoints().join(","));
    command.env("LEASEHOLD_LOCKS", LOCKS.join(",")).env("LEASEHOLD_WORKERS", WORKERS.to_string());
    Program::start(name, command)
}

fn python() -> Result<Option<Runner>> {
    tools::python(&["dapr.clients", "dapr.aio.clients"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_sdk_behaves_as_beside_a_sidecar_through_every_node() -> Result<()> {
    let Some(python) = python()? else { return Ok(()) };
    let _alone = alone().await;
    let cluster = Cluster::start(options()).await?;
    let told = start("behaviours", &python, "behaviours.py", &cluster)?.finish(BEHAVIOURS_MAX).await?;
    for address in cluster.endpoints() {
        ensure!(told.iter().filter(|line| line.contains(&address)).count() == 6, "through {address}: {told:#?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_two_applications_hold_a_lock_at_once_while_the_leader_is_killed() -> Result<()> {
    let Some(python) = python()? else { return Ok(()) };
    let _alone = alone().await;
    let mut cluster = Cluster::start(options()).await?;
    let mut program = start("contend", &python, "contend.py", &cluster)?;
    let outcome = kill_a_leader(&mut cluster, &mut program).await;
    outcome.with_context(|| program.words())?;
    let words = program.words();
    let mut holds = Vec::new();
    for line in program.finish(WORKLOAD_MAX).await? {
        holds.push(line.parse::<Hold>().with_context(|| format!("the program said {line:?}"))?);
    }
    let kept = keep(&holds)?;
    judge(&holds, cluster.ids().len(), "dapr-grpc")
        .with_context(|| format!("{words}\nthe holds are kept in {kept}"))?;
    for sort in ["dapr-aio-", "dapr-"] {
        let of_sort = holds.iter().filter(|hold| hold.worker.starts_with("dapr-aio-") == (sort == "dapr-aio-"));
        ensure!(of_sort.count() > 0, "no worker {sort}… held a lock");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_sdk_says_of_nodes_without_a_leader_is_no_hold() -> Result<()> {
    let Some(python) = python()? else { return Ok(()) };
    let _alone = alone().await;
    let mut cluster = Cluster::start(options()).await?;
    let leader = cluster.wait_leader().await?;
    let other = cluster.ids().into_iter().find(|id| *id != leader).context("three nodes")?;
    cluster.node_mut(leader).kill()?;
    cluster.node_mut(other).kill()?;
    let program = start("contend", &python, "contend.py", &cluster)?;
    let said = || async { program.words().contains("Health check on").then_some(()) };
    eventually(PATIENCE, "the SDK tells that a node is not healthy", said).await.with_context(|| program.words())?;
    ensure!(program.count() == 0, "{}", program.words());
    Ok(())
}

/// Applications go on taking locks: with all nodes, without the killed leader, and with it back.
async fn kill_a_leader(cluster: &mut Cluster, program: &mut Program) -> Result<()> {
    progress(program, "all nodes").await?;
    let leader = cluster.wait_leader().await?;
    cluster.node_mut(leader).kill()?;
    progress(program, "without the leader").await?;
    cluster.node_mut(leader).start()?;
    progress(program, "with the old leader back").await
}

async fn progress(program: &mut Program, when: &str) -> Result<()> {
    let goal = program.count() + HOLDS;
    let reached = || {
        let reached = program.still_runs().map(|()| program.count() >= goal);
        async move {
            match reached {
                Ok(false) => None,
                Ok(true) => Some(Ok(())),
                Err(error) => Some(Err(error)),
            }
        }
    };
    eventually(WORKLOAD_MAX, "applications take locks", reached).await.and_then(|done| done).context(when.to_owned())
}

fn keep(holds: &[Hold]) -> Result<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/evidence");
    fs::create_dir_all(folder)?;
    let path = format!("{folder}/dapr-holds.txt");
    let lines: Vec<String> = holds.iter().map(|hold| format!("{hold:?}")).collect();
    fs::write(&path, lines.join("\n"))?;
    Ok(path)
}

/// Asks for a lock over HTTP, and does not read the answer.
async fn ask(http: &str, resource: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(http).await?;
    let body = format!(r#"{{"resourceId":"{resource}","lockOwner":"o","expiryInSeconds":3600}}"#);
    let length = body.len();
    let head = format!("POST /v1.0-alpha1/lock/{STORE} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
    stream.write_all(format!("{head}content-length: {length}\r\n\r\n{body}").as_bytes()).await?;
    Ok(stream)
}

async fn get(address: &str, resource: &str) -> Option<v1::LockInfo> {
    let channel = Endpoint::from_shared(format!("http://{address}")).ok()?.connect().await.ok()?;
    let request = v1::GetRequest { name: format!("lock||default||{resource}"), ..Default::default() };
    LockServiceClient::new(channel).get(request).await.ok()?.into_inner().lock
}

fn bytes_in(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    files.map(|file| file.metadata().map_or(0, |meta| meta.len())).sum()
}

/// What the caller does while its acquire lies in the log of a leader without followers.
#[derive(Debug, Clone, Copy)]
enum Caller {
    GoesAway,
    IsToldOfTheFailure,
}

/// An acquire lies in a log and commits after its caller has given it up. True when it was granted then: it must not have stayed.
async fn stuck(cluster: &mut Cluster, caller: Caller, resource: &str) -> Result<bool> {
    let leader = cluster.wait_all_applied().await?;
    let followers: Vec<u64> = cluster.ids().into_iter().filter(|id| *id != leader).collect();
    let log = cluster.node(leader).data_dir().join("log/wal");
    let http = cluster.node(leader).http_address();
    for follower in &followers {
        cluster.node_mut(*follower).pause()?;
    }
    let before = bytes_in(&log);
    let mut stream = ask(&http, resource).await?;
    let written = || async { (bytes_in(&log) != before).then_some(()) };
    let written = eventually(Duration::from_secs(3), "the acquire is in the log", written).await;
    match caller {
        Caller::GoesAway => drop(stream),
        Caller::IsToldOfTheFailure => {
            let mut answer = String::new();
            tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await??;
            ensure!(answer.starts_with("HTTP/1.1 500 ") && answer.contains("ERR_TRY_LOCK"), "{answer}");
        }
    }
    for follower in &followers {
        cluster.node_mut(*follower).resume();
    }
    cluster.wait_all_applied().await?;
    let address = cluster.node(leader).client_address();
    let free = || async { get(&address, resource).await.filter(|lock| lock.holders.is_empty()) };
    let lock = eventually(PATIENCE, "nobody holds what nobody was given", free).await?;
    Ok(written.is_ok() && lock.last_lost() == v1::LossReason::Cancelled)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_came_to_nothing_leaves_no_lock_though_its_acquire_commits_later() -> Result<()> {
    let _alone = alone().await;
    let mut cluster = Cluster::start(options()).await?;
    for caller in [Caller::GoesAway, Caller::IsToldOfTheFailure] {
        let mut granted = false;
        for number in 0..STUCK_TRIES {
            granted = granted || stuck(&mut cluster, caller, &format!("{caller:?}-{number}")).await?;
        }
        ensure!(granted, "{caller:?}: no acquire was granted late in {STUCK_TRIES} tries, so nothing was shown");
    }
    Ok(())
}
