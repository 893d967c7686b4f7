//! One node: a process of the real binary, its folder, its ports, its output.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::ports::free_port;
use crate::clock::Moment;
use crate::disk::Disk;
use crate::dump::NodeLog;
use crate::failpoints::{Failpoints, VARIABLE};

/// How long an orderly end may take.
const END_MAX: Duration = Duration::from_secs(15);
const LOG_TAIL_LINES: usize = 40;

/// One node of a [`Cluster`](super::Cluster).
#[derive(Debug)]
pub struct Node {
    id: u64,
    binary: PathBuf,
    data_dir: PathBuf,
    log: PathBuf,
    config: Option<PathBuf>,
    peers: String,
    client_port: u16,
    peer_port: u16,
    http_port: u16,
    redis_port: Option<u16>,
    child: Option<Child>,
    stopped: bool,
    /// Failpoints that its process is started with, see [`Node::arm_at_start`].
    armed: Vec<(String, String)>,
    /// What its data folder lies on, if that is a disk of its own. Goes after the process.
    disk: Option<Disk>,
}

impl Node {
    pub(super) fn new(
        binary: &Path,
        folder: &Path,
        id: u64,
        peer_port: u16,
        peers: &str,
        config: Option<PathBuf>,
    ) -> Result<Self> {
        Ok(Self {
            id,
            binary: binary.to_owned(),
            data_dir: folder.join(format!("node-{id}")),
            log: folder.join(format!("node-{id}.log")),
            config,
            peers: peers.to_owned(),
            client_port: free_port()?,
            peer_port,
            http_port: free_port()?,
            redis_port: None,
            child: None,
            stopped: false,
            armed: Vec::new(),
            disk: None,
        })
    }

    /// Its data folder lies on that disk from now on. It has not been started yet.
    pub(super) fn lie_on(&mut self, disk: Disk) {
        self.data_dir = disk.path().join("data");
        self.disk = Some(disk);
    }

    /// The disk that its data folder lies on.
    ///
    /// # Panics
    /// When the cluster was not started with disks.
    pub fn disk_mut(&mut self) -> &mut Disk {
        self.disk.as_mut().expect("ClusterOptions.disks gives every node one")
    }

    /// The failpoints of its process; the cluster was started with the binary that has them.
    #[must_use]
    pub fn failpoints(&self) -> Failpoints {
        Failpoints::at(self.http_address())
    }

    /// From its next start on a failpoint does this from the first moment, see [`Failpoints::set`].
    pub fn arm_at_start(&mut self, name: &str, action: &str) {
        self.armed.push((name.to_owned(), action.to_owned()));
    }

    /// From its next start on it has no failpoint armed.
    pub fn disarm_at_start(&mut self) {
        self.armed.clear();
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Where clients connect.
    #[must_use]
    pub fn client_address(&self) -> String {
        format!("127.0.0.1:{}", self.client_port)
    }

    /// Where peers connect.
    #[must_use]
    pub fn peer_address(&self) -> String {
        format!("127.0.0.1:{}", self.peer_port)
    }

    /// Where health is asked for.
    #[must_use]
    pub fn http_address(&self) -> String {
        format!("127.0.0.1:{}", self.http_port)
    }

    /// From its next start on it listens for Redis clients.
    pub(super) fn open_redis_door(&mut self) -> Result<()> {
        self.redis_port = Some(free_port()?);
        Ok(())
    }

    /// Where Redis clients connect.
    ///
    /// # Panics
    /// When the cluster was not started with that door.
    #[must_use]
    pub fn redis_address(&self) -> String {
        format!("127.0.0.1:{}", self.redis_port.expect("ClusterOptions.redis opens the door"))
    }

    /// Its data folder.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Its process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether it runs and is not stopped by SIGSTOP.
    #[must_use]
    pub fn is_responsive(&self) -> bool {
        self.child.is_some() && !self.stopped
    }

    /// Starts the process.
    pub fn start(&mut self) -> Result<()> {
        ensure!(self.child.is_none(), "node {} runs already", self.id);
        let output = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(&self.binary);
        command.arg("serve").args(["--node-id", &self.id.to_string()]);
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        command.arg("--data-dir").arg(&self.data_dir);
        command.args(["--listen", &self.client_address(), "--peer-listen", &self.peer_address()]);
        command.args(["--http-listen", &self.http_address(), "--peers", &self.peers, "--bootstrap"]);
        if self.redis_port.is_some() {
            command.args(["--redis-listen", &self.redis_address()]);
        }
        if !self.armed.is_empty() {
            let armed: Vec<String> = self.armed.iter().map(|(name, action)| format!("{name}={action}")).collect();
            command.env(VARIABLE, armed.join(";"));
        }
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().with_context(|| format!("{} does not start", self.binary.display()))?;
        self.child = Some(child);
        self.stopped = false;
        Ok(())
    }

    /// kill -9, without waiting.
    pub(super) fn send_kill(&mut self) -> Result<()> {
        self.child.as_mut().map_or(Ok(()), Child::kill).context("it cannot be killed")
    }

    /// kill -9, and waits for the process to be gone.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        self.stopped = false;
        Ok(())
    }

    /// SIGTERM, and waits for an orderly end. A process that takes too long is killed, and that is an error.
    pub fn terminate(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        signal(&child, Signal::TERM)?;
        let start = Moment::now();
        while child.try_wait()?.is_none() {
            if start.elapsed() > END_MAX {
                child.kill()?;
                child.wait()?;
                bail!("node {} did not end within {END_MAX:?} of SIGTERM\n{}", self.id, self.log_tail());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// SIGSTOP: the process freezes where it is.
    pub fn pause(&mut self) -> Result<()> {
        let child = self.child.as_ref().with_context(|| format!("node {} does not run", self.id))?;
        signal(child, Signal::STOP)?;
        self.stopped = true;
        Ok(())
    }

    /// SIGCONT, if it was stopped.
    pub fn resume(&mut self) {
        if let Some(child) = self.child.as_ref().filter(|_| self.stopped) {
            // A process that has ended cannot be continued, and need not.
            let _ = signal(child, Signal::CONT);
        }
        self.stopped = false;
    }

    /// Throws its data away. It must not run.
    pub fn wipe(&mut self) -> Result<()> {
        ensure!(self.child.is_none(), "node {} runs", self.id);
        fs::remove_dir_all(&self.data_dir)?;
        Ok(())
    }

    /// How the process ended, if it did by itself.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        Some(status)
    }

    /// All that it wrote to its standard output and error so far.
    #[must_use]
    pub fn log_text(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The end of [`Node::log_text`].
    #[must_use]
    pub fn log_tail(&self) -> String {
        let text = self.log_text();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }

    pub(super) fn lost_its_port(&self) -> bool {
        self.log_text().to_lowercase().contains("address already in use")
    }

    /// Its log as `leasehold debug log` prints it. It must not run.
    pub fn dump(&self) -> Result<NodeLog> {
        self.dump_beside(&[])
    }

    /// The same; what these logs of other nodes have already is not kept twice.
    pub fn dump_beside(&self, others: &[NodeLog]) -> Result<NodeLog> {
        ensure!(self.child.is_none(), "node {} runs", self.id);
        let path = self.log.with_extension("dump");
        let mut command = Command::new(&self.binary);
        command.args(["debug", "log", "--data-dir"]).arg(&self.data_dir);
        let output = command.stdin(Stdio::null()).stdout(File::create(&path)?).output()?;
        let problems = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`debug log` of node {}: {}: {problems}", self.id, output.status);
        Ok(NodeLog::read_beside(self.id, std::io::BufReader::new(File::open(&path)?), others)?)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Nothing can be done about a process that cannot be killed.
        let _ = self.kill();
    }
}

fn signal(child: &Child, signal: Signal) -> Result<()> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("a child has a pid")?;
    Ok(kill_process(pid, signal)?)
}
