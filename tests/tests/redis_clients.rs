//! Published Redis lock libraries, unchanged, against three real nodes: they behave as on a real Redis, and no two of them ever
//! hold a lock at once, also while the leader is killed.

mod judge;

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use leasehold_testkit::clients::tools::{self, Runner};
use leasehold_testkit::clients::{Program, RedisOptions, RedisServer, RespConnection};
use leasehold_testkit::cluster::{Cluster, ClusterOptions, eventually, leasehold_binary};
use leasehold_tests::alone;

use judge::{Hold, judge};

/// How long the behaviours of one library may take on all nodes.
const BEHAVIOURS_MAX: Duration = Duration::from_secs(120);
/// How long a workload may take to show what it should, and to end.
const WORKLOAD_MAX: Duration = Duration::from_secs(90);
/// Few, so that they are contended.
const LOCKS: [&str; 3] = ["contended-a", "contended-b", "contended-c"];
const WORKERS: usize = 4;
/// Holds of every program before the leader is killed, after that, and after it is back.
const HOLDS: usize = 25;

/// What runs a library's programs.
struct Library {
    name: &'static str,
    runner: Runner,
    behaviours: Vec<String>,
    contend: Vec<String>,
}

impl Library {
    fn script(name: &'static str, runner: Runner, folder: &str, extension: &str) -> Self {
        let program = |what: &str| {
            vec![tools::programs().join(folder).join(what).with_extension(extension).to_string_lossy().into_owned()]
        };
        Self { name, runner, behaviours: program("behaviours"), contend: program("contend") }
    }

    fn built(name: &'static str, runner: Runner) -> Self {
        Self { name, runner, behaviours: vec!["behaviours".into()], contend: vec!["contend".into()] }
    }

    fn redis_py() -> Result<Option<Self>> {
        let python = tools::python(&["redis.asyncio"])?;
        Ok(python.map(|runner| Self::script("redis-py", runner, "redis-py", "py")))
    }

    fn redlock() -> Result<Option<Self>> {
        let node = tools::node(&["ioredis", "redlock", "redlock4"])?;
        Ok(node.map(|runner| Self::script("redlock", runner, "redlock", "js")))
    }

    fn redsync() -> Result<Option<Self>> {
        Ok(tools::go("redsync")?.map(|runner| Self::built("redsync", runner)))
    }

    fn lock_redis() -> Result<Option<Self>> {
        Ok(tools::go("lock-redis")?.map(|runner| Self::built("lock.redis", runner)))
    }

    fn start(&self, arguments: &[String], addresses: &[String], cluster: Option<&Cluster>) -> Result<Program> {
        self.start_with(arguments, addresses, cluster, &[])
    }

    fn start_with(
        &self,
        arguments: &[String],
        addresses: &[String],
        cluster: Option<&Cluster>,
        environment: &[(&str, &str)],
    ) -> Result<Program> {
        let mut command: Command = self.runner.command();
        command.args(arguments).env("LEASEHOLD_REDIS", addresses.join(","));
        command.env("LEASEHOLD_LOCKS", LOCKS.join(",")).env("LEASEHOLD_WORKERS", WORKERS.to_string());
        match cluster {
            Some(cluster) => command
                .env("LEASEHOLD_BIN", leasehold_binary()?)
                .env("LEASEHOLD_ENDPOINTS", cluster.endpoints().join(",")),
            None => command.env_remove("LEASEHOLD_BIN"),
        };
        command.envs(environment.iter().copied());
        Program::start(self.name, command)
    }
}

/// All that are there.
fn libraries() -> Result<Vec<Library>> {
    let libraries = [Library::redis_py()?, Library::redlock()?, Library::redsync()?, Library::lock_redis()?];
    Ok(libraries.into_iter().flatten().collect())
}

fn with_redis() -> ClusterOptions {
    ClusterOptions { redis: true, ..ClusterOptions::default() }
}

fn redis_addresses(cluster: &Cluster) -> Vec<String> {
    cluster.ids().into_iter().map(|id| cluster.node(id).redis_address()).collect()
}

/// On the real Redis first, if there is one: what is expected of the nodes is what Redis does.
async fn behaves(library: Option<Library>) -> Result<()> {
    let Some(library) = library else { return Ok(()) };
    let _alone = alone().await;
    if let Some(server) = tools::redis_server()? {
        let redis = RedisServer::start(&server, RedisOptions::default()).await?;
        let program = library.start(&library.behaviours, &[redis.address()], None)?;
        program.finish(BEHAVIOURS_MAX).await.context("on a real redis-server")?;
    }
    let cluster = Cluster::start(with_redis()).await?;
    let addresses = redis_addresses(&cluster);
    let told = library.start(&library.behaviours, &addresses, Some(&cluster))?.finish(BEHAVIOURS_MAX).await?;
    for address in addresses {
        ensure!(told.iter().any(|line| line.contains(&address)), "nothing was shown on {address}: {told:#?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_py_behaves_as_on_redis_through_every_node() -> Result<()> {
    behaves(Library::redis_py()?).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn npm_redlock_behaves_as_on_redis_through_every_node() -> Result<()> {
    behaves(Library::redlock()?).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redsync_and_redislock_behave_as_on_redis_through_every_node() -> Result<()> {
    behaves(Library::redsync()?).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lock_component_of_a_dapr_sidecar_behaves_as_on_redis_through_every_node() -> Result<()> {
    behaves(Library::lock_redis()?).await
}

/// With a password the same libraries are in a namespace of their own, and without it nowhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_leads_every_library_to_its_namespace() -> Result<()> {
    let libraries = libraries()?;
    if libraries.is_empty() {
        return Ok(());
    }
    let _alone = alone().await;
    let config = ["[[redis.passwords]]", "password = \"open sesame\"", "namespace = \"orders\""];
    let config = config.map(str::to_owned).to_vec();
    let cluster = Cluster::start(ClusterOptions { nodes: 1, config, ..with_redis() }).await?;
    let addresses = redis_addresses(&cluster);
    let mut programs = Vec::new();
    for library in &libraries {
        // What the native API shows is looked for in that namespace.
        let environment = [("LEASEHOLD_REDIS_PASSWORD", "open sesame"), ("LEASEHOLD_NAMESPACE", "orders")];
        programs.push(library.start_with(&library.behaviours, &addresses, Some(&cluster), &environment)?);
    }
    for program in programs {
        program.finish(BEHAVIOURS_MAX).await?;
    }
    let mut stranger = RespConnection::connect(&addresses[0]).await?;
    let answer = stranger.call(&["SET", "a", "me", "NX", "PX", "1000"]).await?;
    ensure!(answer.starts_with(b"-NOAUTH"), "{}", String::from_utf8_lossy(&answer));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_two_libraries_hold_a_lock_at_once_while_the_leader_is_killed() -> Result<()> {
    let libraries = libraries()?;
    if libraries.is_empty() {
        return Ok(());
    }
    let _alone = alone().await;
    let mut cluster = Cluster::start(with_redis()).await?;
    let addresses = redis_addresses(&cluster);
    let mut programs = Vec::new();
    for library in &libraries {
        programs.push(library.start(&library.contend, &addresses, Some(&cluster))?);
    }
    let outcome = kill_a_leader(&mut cluster, &mut programs).await;
    let said: String = programs.iter().map(Program::words).collect();
    outcome.with_context(|| said)?;
    let mut holds = Vec::new();
    for program in programs {
        let name = program.name().to_owned();
        for line in program.finish(WORKLOAD_MAX).await? {
            holds.push(line.parse::<Hold>().with_context(|| format!("{name} said {line:?}"))?);
        }
    }
    let kept = keep(&holds)?;
    tell(&holds);
    judge(&holds, addresses.len(), "redis").with_context(|| format!("the holds are kept in {kept}"))
}

/// Every program goes on taking locks: with all nodes, without the killed leader, and with it back.
async fn kill_a_leader(cluster: &mut Cluster, programs: &mut [Program]) -> Result<()> {
    progress(programs, "all nodes").await?;
    let leader = cluster.wait_leader().await?;
    cluster.node_mut(leader).kill()?;
    progress(programs, "without the leader").await?;
    cluster.node_mut(leader).start()?;
    progress(programs, "with the old leader back").await
}

async fn progress(programs: &mut [Program], when: &str) -> Result<()> {
    let goals: Vec<usize> = programs.iter().map(|program| program.count() + HOLDS).collect();
    let reached = || {
        let reached = programs.iter_mut().zip(&goals).try_fold(true, |all, (program, goal)| {
            program.still_runs()?;
            Ok::<bool, anyhow::Error>(all && program.count() >= *goal)
        });
        async move {
            match reached {
                Ok(false) => None,
                Ok(true) => Some(Ok(())),
                Err(error) => Some(Err(error)),
            }
        }
    };
    eventually(WORKLOAD_MAX, "every program takes locks", reached).await.and_then(|done| done).context(when.to_owned())
}

#[expect(clippy::print_stderr, reason = "what was shown belongs to the output")]
fn tell(holds: &[Hold]) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for hold in holds {
        let library = hold.worker.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('-');
        *counts.entry(library).or_default() += 1;
    }
    let mut entered: Vec<u64> = holds.iter().map(|hold| hold.entered).collect();
    entered.sort_unstable();
    let gap = entered.windows(2).map(|pair| pair[1] - pair[0]).max().map(Duration::from_nanos);
    eprintln!("holds: {counts:?}; the longest time without a new one: {gap:?}");
}

fn keep(holds: &[Hold]) -> Result<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/evidence");
    fs::create_dir_all(folder)?;
    let path = format!("{folder}/redis-clients-holds.txt");
    let lines: Vec<String> = holds.iter().map(|hold| format!("{hold:?}")).collect();
    fs::write(&path, lines.join("\n"))?;
    Ok(path)
}
