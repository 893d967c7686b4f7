//! Client processes of chaos runs: what they leave behind when they are killed.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use leasehold_testkit::chaos::resource;
use leasehold_testkit::checker::{Evidence, Invariant, check};
use leasehold_testkit::cluster::{Cluster, ClusterOptions};
use leasehold_testkit::failover::Verdict;
use leasehold_testkit::history::{History, Journal, Response};

const ENOUGH: u64 = 15;

/// A client process, killed when the test ends.
struct Client(Child);

impl Drop for Client {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

impl Client {
    fn start(cluster: &Cluster, mode: &[&str], journal: &Path, first_worker: u32) -> Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chaos"));
        command.args(mode).args(["--endpoints", &cluster.endpoints().join(","), "--journal"]).arg(journal);
        command.args(["--first-worker", &first_worker.to_string(), "--workers", "4", "--locks", "3", "--seed", "7"]);
        Ok(Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?))
    }

    /// Reads until it says a line for which `enough` holds.
    fn until(&mut self, enough: impl Fn(&str) -> bool) -> Result<()> {
        let stdout = self.0.stdout.as_mut().context("its output is piped")?;
        for line in BufReader::new(stdout).lines() {
            if enough(&line?) {
                return Ok(());
            }
        }
        anyhow::bail!("it ended")
    }

    fn tell(&mut self, line: &str) -> Result<()> {
        Ok(writeln!(self.0.stdin.as_mut().context("its input is piped")?, "{line}")?)
    }
}

fn granted_enough(line: &str) -> bool {
    line.strip_prefix("granted ").and_then(|count| count.parse::<u64>().ok()).is_some_and(|count| count >= ENOUGH)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_client_leaves_a_history_that_can_be_checked() -> Result<()> {
    let mut cluster = Cluster::start(ClusterOptions::default()).await?;
    let folder = tempfile::tempdir()?;
    let (killed, orderly) = (folder.path().join("killed"), folder.path().join("orderly"));
    let mut first = Client::start(&cluster, &["leasehold-client"], &killed, 100)?;
    first.until(granted_enough)?;
    first.0.kill()?;
    first.0.wait()?;
    let mut second = Client::start(&cluster, &["leasehold-client"], &orderly, 200)?;
    second.until(granted_enough)?;
    second.tell("aim renewing")?;
    second.until(|line| line == "phase renewing")?;
    second.tell("stop")?;
    second.until(|line| line == "done")?;
    ensure!(second.0.wait()?.success(), "an orderly end");
    let (mut records, more) = (Journal::read(&killed)?, Journal::read(&orderly)?);
    let open = records.iter().filter(|record| record.response == Response::Unknown).count();
    ensure!(open > 0, "four workers that are killed have something under way");
    records.extend(more);
    cluster.wait_all_applied().await?;
    let nodes = cluster.stop_and_dump(None)?;
    let report = check(&Evidence { history: History { records, faults: Vec::new() }, nodes, ..Evidence::default() });
    ensure!(report.is_clean(), "{report}");
    for invariant in [Invariant::C1, Invariant::C3, Invariant::C4, Invariant::C6] {
        ensure!(report.checked(invariant) > 0, "{invariant} had nothing to show");
    }
    // What they changed under their locks: both processes see the same.
    let resources = resource::replayed(&resource::path(folder.path()))?;
    let taken: usize = resources.values().map(|pair| pair.guarded.taken()).sum();
    let lost: usize = resources.values().map(|pair| pair.guarded.lost()).sum();
    ensure!(taken > 0 && lost == 0, "{taken} changes, {lost} lost");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_compete_leave_what_they_counted_on() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    let folder = tempfile::tempdir()?;
    let (one, other) = (folder.path().join("one"), folder.path().join("other"));
    let mode = ["compete-client", "leasehold"];
    let mut first = Client::start(&cluster, &mode, &one, 100)?;
    let mut second = Client::start(&cluster, &mode, &other, 200)?;
    first.until(granted_enough)?;
    first.0.kill()?;
    first.0.wait()?;
    second.until(granted_enough)?;
    second.tell("stop")?;
    second.until(|line| line == "done")?;
    let records = [Journal::read(&one)?, Journal::read(&other)?].concat();
    let verdict = Verdict::of(&records);
    ensure!(verdict.is_clean() && verdict.grants as u64 >= 2 * ENOUGH, "{verdict:?}");
    Ok(())
}
