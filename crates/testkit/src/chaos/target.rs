//! What is under test, behind a small seam: the same faults can be brought on another lock service.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::future::Future;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Result, ensure};
use leasehold_client::ClientOptions;

use super::fault::Need;
use crate::checker::NodeEnd;
use crate::cluster::StatusClient;
use crate::dump::NodeLog;
use crate::failpoints;

/// An answer that takes time.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where one node lives.
#[derive(Debug, Clone)]
pub struct NodePlace {
    /// Its id, from 1.
    pub id: u64,
    /// The address of its host.
    pub address: String,
    /// Where clients connect.
    pub client_port: u16,
    /// Where peers connect.
    pub peer_port: u16,
    /// Where HTTP is served.
    pub http_port: u16,
    /// Its data.
    pub data_dir: PathBuf,
    /// Everybody's `id=address:port` for peers.
    pub peers: String,
    /// The run's folder, for files that a target wants to make.
    pub folder: PathBuf,
}

impl NodePlace {
    /// `address:port` for clients.
    #[must_use]
    pub fn client_address(&self) -> String {
        format!("{}:{}", self.address, self.client_port)
    }
}

/// How a node is started.
#[derive(Debug, Clone, Default)]
pub struct StartAs {
    /// It supports format levels up to this one only.
    pub level_max: Option<u32>,
    /// A file that says how its clock goes, where the target reads one.
    pub clock_file: Option<PathBuf>,
    /// Snapshots often, and no log behind them.
    pub small_logs: bool,
}

/// What there is to test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum TargetName {
    /// Leasehold itself.
    Leasehold,
    /// etcd, as this machine has it, for comparison.
    Etcd,
}

/// A lock service of several nodes.
pub trait Target: fmt::Debug + Send + Sync {
    /// Its name, as client processes are told it.
    fn name(&self) -> &'static str;
    /// Its name for people.
    fn title(&self) -> String;
    /// Things that faults need and this target has.
    fn brings(&self) -> Vec<Need>;
    /// Program and arguments of a node.
    fn node_command(&self, place: &NodePlace, how: &StartAs) -> Result<Vec<String>>;
    /// The term that a node knows and who leads it, by its word; None when it does not answer.
    fn leader<'a>(&'a self, node: &'a NodePlace) -> Answer<'a, Option<(u64, Option<u64>)>>;
    /// Whether all nodes name one leader and have applied the same.
    fn is_settled<'a>(&'a self, nodes: &'a [NodePlace]) -> Answer<'a, bool>;
    /// Raises what the nodes may write, once all of them can.
    fn raise_level<'a>(&'a self, nodes: &'a [NodePlace]) -> Answer<'a, Result<()>>;
    /// Whether a node that ended so, with these last words, has refused its data.
    fn has_refused(&self, status: ExitStatus, words: &str) -> bool;
    /// Whether a node that was told to end has ended as it should.
    fn ended_in_order(&self, status: ExitStatus) -> bool {
        status.success()
    }
    /// How the running nodes end up, by their own words; without what their logs will tell.
    fn ends<'a>(&'a self, nodes: &'a [NodePlace]) -> Answer<'a, BTreeMap<u64, NodeEnd>> {
        Box::pin(async move {
            let mut ends = BTreeMap::new();
            for node in nodes {
                let leader = self.leader(node).await.and_then(|(_, leader)| leader);
                ends.insert(node.id, NodeEnd { leader, ..NodeEnd::default() });
            }
            ends
        })
    }
    /// What the logs of the stopped nodes say; empty for a target whose logs cannot be read.
    fn logs(&self, nodes: &[NodePlace]) -> Result<Vec<NodeLog>>;
}

/// Leasehold itself.
#[derive(Debug)]
pub struct Leasehold {
    binary: PathBuf,
    clock_knob: bool,
    failpoints: bool,
}

impl Leasehold {
    /// This binary.
    #[must_use]
    pub fn new(binary: &Path) -> Self {
        let help = Command::new(binary).args(["serve", "--test-clock", "x", "--help"]).stdin(Stdio::null()).output();
        let clock_knob = help.is_ok_and(|output| output.status.success());
        // Only a binary that has them knows the variable that sets them.
        let content = fs::read(binary).unwrap_or_default();
        let variable = failpoints::VARIABLE.as_bytes();
        let failpoints = content.windows(variable.len()).any(|window| window == variable);
        Self { binary: binary.to_owned(), clock_knob, failpoints }
    }

    fn config(place: &NodePlace, how: &StartAs) -> Result<PathBuf> {
        let (entries, keep) = if how.small_logs { (200, 50) } else { (2_000, 100_000_000) };
        let path = place.folder.join(format!("leasehold-{}.toml", place.id));
        fs::write(&path, format!("[tuning]\nsnapshot-entries = {entries}\nkeep-entries = {keep}\n"))?;
        Ok(path)
    }

    fn dump(&self, place: &NodePlace, others: &[NodeLog]) -> Result<NodeLog> {
        let path = place.folder.join(format!("node-{}.dump", place.id));
        let mut command = Command::new(&self.binary);
        command.args(["debug", "log", "--data-dir"]).arg(&place.data_dir);
        let output = command.stdin(Stdio::null()).stdout(File::create(&path)?).output()?;
        let problems = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`debug log` of node {}: {}: {problems}", place.id, output.status);
        Ok(NodeLog::read_beside(place.id, BufReader::new(File::open(&path)?), others)?)
    }
}

impl Target for Leasehold {
    fn name(&self) -> &'static str {
        "leasehold"
    }

    fn title(&self) -> String {
        "Leasehold".into()
    }

    fn brings(&self) -> Vec<Need> {
        let has = [
            (Need::ClockKnob, self.clock_knob),
            (Need::Failpoints, self.failpoints),
            (Need::FormatLevels, true),
            (Need::KnownFolder, true),
        ];
        has.into_iter().filter(|(_, has)| *has).map(|(need, _)| need).collect()
    }

    fn node_command(&self, place: &NodePlace, how: &StartAs) -> Result<Vec<String>> {
        let mut words: Vec<String> = vec![self.binary.display().to_string(), "serve".into()];
        words.extend(["--config".into(), Self::config(place, how)?.display().to_string()]);
        words.extend(["--node-id".into(), place.id.to_string()]);
        words.extend(["--data-dir".into(), place.data_dir.display().to_string()]);
        let address = &place.address;
        words.extend(["--listen".into(), place.client_address()]);
        words.extend(["--peer-listen".into(), format!("{address}:{}", place.peer_port)]);
        words.extend(["--http-listen".into(), format!("{address}:{}", place.http_port)]);
        words.extend(["--peers".into(), place.peers.clone(), "--bootstrap".into()]);
        if let Some(level) = how.level_max {
            words.extend(["--level-max".into(), level.to_string()]);
        }
        if let Some(file) = how.clock_file.as_ref().filter(|_| self.clock_knob) {
            words.extend(["--test-clock".into(), file.display().to_string()]);
        }
        Ok(words)
    }

    fn leader<'a>(&'a self, node: &'a NodePlace) -> Answer<'a, Option<(u64, Option<u64>)>> {
        Box::pin(async move {
            let status = StatusClient::ask(&node.client_address()).await?;
            Some((status.term, status.leader))
        })
    }

    fn is_settled<'a>(&'a self, nodes: &'a [NodePlace]) -> Answer<'a, bool> {
        Box::pin(async move {
            let mut said = Vec::new();
            for node in nodes {
                let Some(status) = StatusClient::ask(&node.client_address()).await else { return false };
                let own = status.nodes.iter().find(|state| state.id == node.id).map_or(0, |state| state.applied);
                said.push((status.leader, own));
            }
            said.iter().all(|one| *one == said[0] && one.0.is_some())
        })
    }

    fn raise_level<'a>(&'a self, nodes: &'a [NodePlace]) -> Answer<'a, Result<()>> {
        let options = ClientOptions::new(nodes.iter().map(NodePlace::client_address));
        Box::pin(async move {
            leasehold_client::raise_level(&options, None).await?;
            Ok(())
        })
    }

    fn has_refused(&self, status: ExitStatus, words: &str) -> bool {
        // Refused by the cluster, or by itself when it looked at its folder; never a panic.
        matches!(status.code(), Some(64 | 65 | 70)) && !words.contains("panicked")
    }

    fn logs(&self, nodes: &[NodePlace]) -> Result<Vec<NodeLog>> {
        let mut logs = Vec::new();
        for node in nodes {
            logs.push(self.dump(node, &logs)?);
        }
        NodeLog::share_commits(&mut logs);
        Ok(logs)
    }
}
