//! Server processes of this very binary, on loopback, with temporary data: of a demonstration, of a measurement.

use std::fs::{File, OpenOptions};
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::exit::Failure;

/// Where nodes live, and what they are told beside that.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// Begins the name of their folder.
    pub(super) prefix: &'a str,
    /// The folder that theirs is made in; none: the one for temporary files.
    pub(super) parent: Option<&'a Path>,
    /// More flags of `leasehold serve`.
    pub(super) flags: &'a [&'a str],
}

/// All nodes, their data in one temporary folder. Dropping it kills them.
#[derive(Debug)]
pub(super) struct Nodes {
    program: PathBuf,
    folder: TempDir,
    flags: Vec<String>,
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    id: u64,
    client: String,
    peer: String,
    http: String,
    process: Option<Child>,
}

impl Nodes {
    /// Chooses folder and ports; starts nothing.
    pub(super) fn prepare(count: u64, place: Place<'_>) -> Result<Self, Failure> {
        let failed = |what: &str, error: io::Error| Failure::internal(format!("{what}: {error}"));
        let program = std::env::current_exe().map_err(|error| failed("the own binary is not known", error))?;
        let parent = place.parent.map_or_else(std::env::temp_dir, Path::to_owned);
        let folder = tempfile::Builder::new()
            .prefix(place.prefix)
            .tempdir_in(&parent)
            .map_err(|error| failed(&format!("no folder in {}", parent.display()), error))?;
        // All at once, so that no two are the same.
        let listeners = (0..3 * count)
            .map(|_| TcpListener::bind("127.0.0.1:0"))
            .collect::<io::Result<Vec<_>>>()
            .map_err(|error| failed("no free port", error))?;
        let addresses = listeners
            .iter()
            .map(|listener| listener.local_addr().map(|address| address.to_string()))
            .collect::<io::Result<Vec<_>>>()
            .map_err(|error| failed("no free port", error))?;
        let node = |(id, addresses): (u64, &[String])| match addresses {
            [client, peer, http] => {
                Some(Node { id, client: client.clone(), peer: peer.clone(), http: http.clone(), process: None })
            }
            _ => None,
        };
        let nodes = (1..).zip(addresses.chunks(3)).filter_map(node).collect();
        let flags = place.flags.iter().map(ToString::to_string).collect();
        Ok(Self { program, folder, flags, nodes })
    }

    pub(super) fn ids(&self) -> Vec<u64> {
        self.nodes.iter().map(|node| node.id).collect()
    }

    pub(super) fn endpoints(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.client.clone()).collect()
    }

    pub(super) fn endpoint(&self, id: u64) -> Result<String, Failure> {
        let node = self.nodes.iter().find(|node| node.id == id);
        node.map(|node| node.client.clone()).ok_or_else(|| Failure::internal(format!("there is no node {id}")))
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts the process of a node, with the data that it has. Its log goes to a file beside.
    pub(super) fn start(&mut self, id: u64) -> Result<(), Failure> {
        let failed = |error: io::Error| Failure::internal(format!("node {id} does not start: {error}"));
        let peers: Vec<String> = self.nodes.iter().map(|node| format!("{}={}", node.id, node.peer)).collect();
        let log = self.open_log(id).map_err(failed)?;
        let data_dir = self.folder.path().join(format!("node-{id}"));
        let (program, flags) = (self.program.clone(), self.flags.clone());
        let node = self.node(id)?;
        let process = Command::new(program)
            .arg("serve")
            .args(["--node-id", &id.to_string()])
            .arg("--data-dir")
            .arg(data_dir)
            .args(["--listen", &node.client, "--peer-listen", &node.peer, "--http-listen", &node.http])
            .args(["--peers", &peers.join(","), "--bootstrap"])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log)
            // Signals of the terminal are for the one who started them, who ends them in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        node.process = Some(process);
        Ok(())
    }

    fn open_log(&self, id: u64) -> io::Result<File> {
        OpenOptions::new().create(true).append(true).open(self.folder.path().join(format!("node-{id}.log")))
    }

    fn node(&mut self, id: u64) -> Result<&mut Node, Failure> {
        let node = self.nodes.iter_mut().find(|node| node.id == id);
        node.ok_or_else(|| Failure::internal(format!("there is no node {id}")))
    }

    /// kill -9; returns when the process is gone, with the id that it had.
    pub(super) async fn kill(&mut self, id: u64) -> Result<u32, Failure> {
        let failed = |error: io::Error| Failure::internal(format!("node {id} cannot be killed: {error}"));
        let mut process =
            self.node(id)?.process.take().ok_or_else(|| Failure::internal(format!("node {id} does not run")))?;
        let pid = process.id().unwrap_or_default();
        process.kill().await.map_err(failed)?;
        Ok(pid)
    }

    /// The process of a node, while it runs.
    pub(super) fn pid(&self, id: u64) -> Option<u32> {
        let node = self.nodes.iter().find(|node| node.id == id)?;
        node.process.as_ref()?.id()
    }

    /// Says which process has ended by itself, if one has.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        for node in &mut self.nodes {
            if let Some(Ok(Some(status))) = node.process.as_mut().map(Child::try_wait) {
                return Err(Failure::internal(format!("the process of node {} has ended: {status}", node.id)));
            }
        }
        Ok(())
    }

    /// Kills all of them, and waits until they are gone.
    pub(super) async fn end(&mut self) {
        for node in &mut self.nodes {
            if let Some(mut process) = node.process.take() {
                // It has gone already, or is gone after this.
                let _ = process.kill().await;
            }
        }
    }

    /// Leaves the folder in place, for a look at what went wrong.
    pub(super) fn keep_folder(self) -> PathBuf {
        let Self { folder, .. } = self;
        folder.keep()
    }
}
