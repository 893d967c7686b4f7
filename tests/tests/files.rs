//! What lies on disk: nodes that are killed while they write it, nodes that come back far behind, files that are damaged.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use leasehold_client::{Client, ClientOptions};
use leasehold_testkit::checker::Invariant::{C1, C2, C4, C6, C7, C11};
use leasehold_testkit::cluster::{Cluster, ClusterOptions, PATIENCE, eventually};
use leasehold_tests::{Run, alone, seed};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

/// Sets how many file descriptors a process may have; gives what it was.
fn limit_files(process: Option<Pid>, files: Option<u64>) -> Result<Option<u64>> {
    let maximum = prlimit(process, Resource::Nofile, getrlimit(Resource::Nofile))?.maximum;
    Ok(prlimit(process, Resource::Nofile, Rlimit { current: files, maximum })?.current)
}

fn options(lines: &[&str]) -> ClusterOptions {
    ClusterOptions { tuning: lines.iter().map(ToString::to_string).collect(), ..ClusterOptions::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_snapshots_and_checkpoints_are_written() -> Result<()> {
    let tuning = ["snapshot-entries = 20", "keep-entries = 10000000", "checkpoint-interval = \"10ms\""];
    let name = "killed_while_snapshots_and_checkpoints_are_written";
    let mut run = Run::start_with("files", name, options(&tuning)).await?;
    let mut random = StdRng::seed_from_u64(run.seed());
    for _ in 0..6 {
        let victim = random.random_range(1..=3);
        let fault = run.fault_begins("kill -9", Some(victim));
        let before = files_in(&run.cluster.node(victim).data_dir().join("snapshots"));
        let writes =
            || async { (files_in(&run.cluster.node(victim).data_dir().join("snapshots")) != before).then_some(()) };
        eventually(PATIENCE, "a snapshot is being written", writes).await?;
        run.cluster.node_mut(victim).kill()?;
        run.cluster.wait_leader().await?;
        run.cluster.node_mut(victim).start()?;
        run.cluster.wait_all_applied().await?;
        run.fault_ends(fault);
    }
    run.finish(&[C1, C2, C4, C6, C7, C11]).await
}

/// Found by the hour of faults: openraft ends a node whose snapshot fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_a_free_file_descriptor_goes_on_and_writes_its_snapshot_later() -> Result<()> {
    let tuning = ["snapshot-entries = 40", "keep-entries = 10000000"];
    let name = "a_node_without_a_free_file_descriptor_goes_on_and_writes_its_snapshot_later";
    let mut run = Run::start_with("files", name, options(&tuning)).await?;
    let leader = run.cluster.wait_leader().await?;
    let victim = run.cluster.ids().into_iter().find(|id| *id != leader).unwrap_or(leader);
    let fault = run.fault_begins("no file descriptors for a follower", Some(victim));
    let process = run.cluster.node(victim).pid().and_then(|pid| Pid::from_raw(pid.cast_signed()));
    let before = limit_files(process, Some(3))?;
    let waits = || async { run.cluster.node(victim).log_text().contains("waits for a free file").then_some(()) };
    eventually(PATIENCE, "a snapshot waits for a file descriptor", waits).await?;
    limit_files(process, before)?;
    let wrote = || async {
        let text = run.cluster.node(victim).log_text();
        text.rsplit("waits for a free file")
            .next()
            .is_some_and(|after| after.contains("wrote a snapshot"))
            .then_some(())
    };
    eventually(PATIENCE, "the snapshot is written", wrote).await?;
    ensure!(run.cluster.node_mut(victim).exited().is_none(), "the node has ended");
    run.fault_ends(fault);
    run.finish(&[C1, C2, C4, C11]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_far_behind_is_brought_up_by_a_snapshot() -> Result<()> {
    let tuning = ["snapshot-entries = 30", "keep-entries = 5"];
    let name = "node_far_behind_is_brought_up_by_a_snapshot";
    let mut run = Run::start_with("files", name, options(&tuning)).await?;
    let leader = run.cluster.wait_leader().await?;
    let victim = run.cluster.ids().into_iter().find(|id| *id != leader).unwrap_or(leader);
    let fault = run.fault_begins("kill -9 of a follower", Some(victim));
    run.cluster.node_mut(victim).kill()?;
    let applied = |status: leasehold_proto::v1::StatusResponse| {
        status.nodes.iter().find(|node| node.id == leader).map_or(0, |node| node.applied)
    };
    let left_at = run.cluster.status(leader).await.map_or(0, applied);
    let far = || async { (run.cluster.status(leader).await.map_or(0, applied) > left_at + 150).then_some(()) };
    eventually(PATIENCE, "the log is purged past the dead node", far).await?;
    run.cluster.node_mut(victim).start()?;
    run.cluster.wait_all_applied().await?;
    run.fault_ends(fault);
    run.finish(&[C1, C2, C4, C11]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_files_are_refused_by_name() -> Result<()> {
    let _alone = alone().await;
    seed("files", "damaged_files_are_refused_by_name");
    let mut cluster = Cluster::start(options(&["snapshot-entries = 20", "keep-entries = 5"])).await?;
    let client = Client::connect(ClientOptions::new(cluster.endpoints())).await?;
    let victim = 2;
    let data = cluster.node(victim).data_dir().to_owned();
    let mut rounds = 0;
    while files_in(&data.join("snapshots")).is_empty() {
        rounds += 1;
        ensure!(rounds < 2_000, "no snapshot after {rounds} grants");
        client.lock("a").acquire().await?.release().await?;
    }
    cluster.node_mut(victim).terminate()?;
    let aside = data.with_extension("aside");
    copy(&data, &aside)?;

    let snapshot = newest(&data.join("snapshots")).context("there is a snapshot")?;
    let log = newest(&data.join("log")).context("there is a log")?;
    let identity = fs::read_dir(&data)?
        .filter_map(Result::ok)
        .find(|file| file.file_name().to_string_lossy().contains("identity"))
        .context("there is an identity")?
        .path();
    for (what, file, at) in [
        ("a bit of the snapshot", &snapshot, Place::Middle),
        ("the version of the snapshot", &snapshot, Place::Version),
        ("a bit of the log", &log, Place::Middle),
        ("a bit of the identity", &identity, Place::Middle),
    ] {
        damage(file, at)?;
        // Without its checkpoint the node needs the snapshot.
        fs::remove_dir_all(data.join("checkpoint"))?;
        let from = cluster.node(victim).log_text().len();
        cluster.node_mut(victim).start()?;
        let mut ended = None;
        let start = leasehold_testkit::clock::Moment::now();
        while ended.is_none() && start.elapsed() < PATIENCE {
            client.lock("a").acquire().await?.release().await?;
            ended = cluster.node_mut(victim).exited();
        }
        let words = cluster.node(victim).log_text()[from..].to_owned();
        let status = ended.with_context(|| format!("{what} was flipped, and the node runs:\n{words}"))?;
        ensure!(!status.success(), "{what} was flipped, and the node ended with {status}:\n{words}");
        let folder = file.strip_prefix(&data)?.components().next().context("it lies in the data folder")?;
        let named = data.join(folder);
        ensure!(
            words.contains(&*named.to_string_lossy()),
            "{what}: the message does not name {}:\n{words}",
            named.display()
        );
        fs::remove_dir_all(&data)?;
        copy(&aside, &data)?;
    }
    // As it was, it starts.
    cluster.node_mut(victim).start()?;
    cluster.wait_all_applied().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_instead_of_the_checkpoint_is_rebuilt() -> Result<()> {
    let _alone = alone().await;
    seed("files", "garbage_instead_of_the_checkpoint_is_rebuilt");
    let mut cluster = Cluster::start(ClusterOptions::default()).await?;
    let client = Client::connect(ClientOptions::new(cluster.endpoints())).await?;
    for _ in 0..30 {
        client.lock("a").acquire().await?.release().await?;
    }
    let kept = client.lock("kept").acquire().await?;
    let victim = 1;
    cluster.node_mut(victim).terminate()?;
    let checkpoint = cluster.node(victim).data_dir().join("checkpoint");
    for file in all_files(&checkpoint) {
        fs::write(&file, b"this is no database, this is garbage of a length that looks like something")?;
    }
    cluster.node_mut(victim).start()?;
    cluster.wait_all_applied().await?;
    let words = cluster.node(victim).log_text();
    ensure!(words.contains("rebuilding it from snapshot and log"), "the log does not say so:\n{words}");
    let alone = Client::connect(ClientOptions::new([cluster.node(victim).client_address()])).await?;
    let holders = alone.get("kept").await?.holders;
    ensure!(holders.len() == 1 && holders[0].token == kept.token().0, "{holders:?}, not token {}", kept.token());
    kept.release().await?;
    Ok(())
}

#[derive(Clone, Copy)]
enum Place {
    Middle,
    /// Our files begin with a magic of eight bytes, then the version.
    Version,
}

fn damage(file: &Path, at: Place) -> Result<()> {
    let mut bytes = fs::read(file)?;
    let place = match at {
        Place::Middle => bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) / 2,
        Place::Version => 8,
    };
    let byte = bytes.get_mut(place).with_context(|| format!("{} is too short", file.display()))?;
    *byte ^= 0x55;
    Ok(fs::write(file, bytes)?)
}

/// All files below a folder, with their lengths.
fn files_in(folder: &Path) -> Vec<(PathBuf, u64)> {
    all_files(folder).into_iter().map(|file| (file.clone(), fs::metadata(&file).map_or(0, |meta| meta.len()))).collect()
}

fn all_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() { files.extend(all_files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

/// The longest file below a folder: what a damage hits most likely.
fn newest(folder: &Path) -> Option<PathBuf> {
    files_in(folder).into_iter().max_by_key(|(_, bytes)| *bytes).map(|(file, _)| file)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for file in all_files(from) {
        let target = to.join(file.strip_prefix(from)?);
        fs::create_dir_all(target.parent().context("a file lies in a folder")?)?;
        fs::copy(&file, &target)?;
    }
    Ok(())
}
