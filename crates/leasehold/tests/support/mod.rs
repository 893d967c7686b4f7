//! The real binary, and a real node of it.
#![allow(dead_code, clippy::unwrap_used, reason = "support of tests; every binary uses its own part")]

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use leasehold_client::clock::{Clock, Moment};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) mod processes;
pub(crate) mod pty;

/// Long enough for a machine that does ten other things; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The binary, without what the environment says.
pub(crate) fn leasehold() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leasehold"));
    for variable in ["ENDPOINTS", "NAMESPACE", "LOCK", "TOKEN", "TOKENS", "LEASE"] {
        command.env_remove(format!("LEASEHOLD_{variable}"));
    }
    command.stdin(Stdio::null());
    command
}

/// What a run of the binary came to.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// The names in a JSON object, in their order.
pub(crate) fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

pub(crate) fn run(command: &mut Command) -> Run {
    command.output().unwrap().into()
}

/// Waits for something that has no way to tell.
pub(crate) fn eventually(what: &str, holds: impl FnMut() -> bool) {
    eventually_or(|| what.to_owned(), holds);
}

/// The same; `what` is asked for when it has failed.
pub(crate) fn eventually_or(what: impl Fn() -> String, mut holds: impl FnMut() -> bool) {
    let clock = Clock::system();
    let start = clock.now();
    while !holds() {
        assert!(clock.now().since(start) < PATIENCE, "{}: not within {PATIENCE:?}", what());
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Nodes of one cluster.
#[derive(Debug)]
pub(crate) struct Server {
    nodes: Vec<Child>,
    pub(crate) folder: TempDir,
    /// Of all nodes, as `--endpoints` takes them.
    pub(crate) endpoint: String,
}

impl Server {
    /// Starts one, a cluster of its own, and waits until it leads.
    pub(crate) fn start() -> Self {
        Self::led(Self::start_some_of(1, 1, &[]))
    }

    /// Starts a cluster of three.
    pub(crate) fn start_three() -> Self {
        Self::led(Self::start_some_of(3, 3, &[]))
    }

    /// Starts one with these flags.
    pub(crate) fn start_with(flags: &[&str]) -> Self {
        Self::led(Self::start_some_of(1, 1, flags))
    }

    fn led(server: Self) -> Self {
        eventually("a leader", || {
            let status = server.run(["cluster", "status", "-o", "json"]);
            status.code == 0 && status.json()["leader"].is_u64()
        });
        server
    }

    /// Starts the first `count` of `all` nodes that want to form a cluster, without the others.
    pub(crate) fn start_some_of(count: usize, all: usize, flags: &[&str]) -> Self {
        // Another process may take a port between our look and the node's bind: then it is tried again.
        for _ in 0..10 {
            let listeners: Vec<_> = (0..3 * all).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
            let address = |listener: &TcpListener| listener.local_addr().unwrap().to_string();
            let addresses: Vec<String> = listeners.iter().map(address).collect();
            drop(listeners);
            let folder = tempfile::tempdir().unwrap();
            let (client, peer, http) = (&addresses[..all], &addresses[all..2 * all], &addresses[2 * all..]);
            let listed: Vec<String> = (1..).zip(peer).map(|(id, peer)| format!("{id}={peer}")).collect();
            let start = |at: usize| {
                let id = (at + 1).to_string();
                let log = std::fs::File::create(folder.path().join(format!("log-{id}"))).unwrap();
                leasehold()
                    .args(["serve", "--node-id", &id, "--bootstrap", "--peers", &listed.join(",")])
                    .args(["--listen", &client[at], "--peer-listen", &peer[at], "--http-listen", &http[at]])
                    .arg("--data-dir")
                    .arg(folder.path().join(format!("data-{id}")))
                    .args(flags)
                    .stderr(log)
                    .spawn()
                    .unwrap()
            };
            let nodes = (0..count).map(start).collect();
            let mut server = Self { nodes, endpoint: client[..count].join(","), folder };
            if server.nodes.iter_mut().zip(client).all(|(node, client)| listens(node, client)) {
                return server;
            }
        }
        panic!("no node starts");
    }

    /// The data folder of the first node.
    pub(crate) fn data_dir(&self) -> String {
        self.folder.path().join("data-1").to_str().unwrap().to_owned()
    }

    /// The binary, talking to these nodes.
    pub(crate) fn command<const N: usize>(&self, arguments: [&str; N]) -> Command {
        let mut command = leasehold();
        command.args(arguments).env("LEASEHOLD_ENDPOINTS", &self.endpoint);
        command
    }

    pub(crate) fn run<const N: usize>(&self, arguments: [&str; N]) -> Run {
        run(&mut self.command(arguments))
    }

    /// To all nodes.
    pub(crate) fn signal(&self, signal: Signal) {
        self.nodes.iter().for_each(|node| send(node, signal));
    }

    /// Ends the first node as an operator would, and waits for that.
    pub(crate) fn stop(&mut self) -> i32 {
        send(&self.nodes[0], Signal::TERM);
        self.nodes[0].wait().unwrap().code().unwrap()
    }

    /// What `get` says of a lock.
    pub(crate) fn get(&self, name: &str) -> Value {
        self.run(["get", name, "-o", "json"]).json()
    }

    /// How many wait for `name`.
    pub(crate) fn waiters(&self, name: &str) -> usize {
        self.get(name)["waiters"].as_array().unwrap().len()
    }

    /// How many hold `name`.
    pub(crate) fn holders(&self, name: &str) -> usize {
        self.get(name)["holders"].as_array().unwrap().len()
    }

    /// Takes a lock; its token and lease.
    pub(crate) fn acquire(&self, name: &str) -> (String, String) {
        let run = self.run(["acquire", name, "--try", "-o", "json"]);
        assert_eq!(run.code, 0, "{run:?}");
        let text = |key: &str| run.json()[key].as_str().unwrap().to_owned();
        (text("token"), text("lease"))
    }
}

/// Waits until a node takes connections; false if it has ended.
fn listens(node: &mut Child, client: &str) -> bool {
    let mut ended = None;
    eventually("the port", || {
        ended = node.try_wait().unwrap();
        ended.is_some() || std::net::TcpStream::connect(client).is_ok()
    });
    ended.is_none()
}

impl Drop for Server {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            // It has ended already, or ends now.
            let _ = node.kill();
            let _ = node.wait();
        }
    }
}

pub(crate) fn send(process: &Child, signal: Signal) {
    kill_process(Pid::from_child(process), signal).unwrap();
}

/// A zombie that nobody has waited for yet has ended.
pub(crate) fn is_alive(pid: i32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

/// A run of the binary that goes on.
#[derive(Debug)]
pub(crate) struct Going {
    pub(crate) process: Child,
    stdout: Option<BufReader<ChildStdout>>,
    started: Moment,
    clock: Clock,
}

impl Going {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = Some(BufReader::new(process.stdout.take().unwrap()));
        let clock = Clock::system();
        Self { process, stdout, started: clock.now(), clock }
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.as_mut().unwrap().read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Reads up to the line that contains `text`.
    pub(crate) fn line_with(&mut self, text: &str) -> String {
        loop {
            let mut line = String::new();
            let read = self.stdout.as_mut().unwrap().read_line(&mut line).unwrap();
            assert_ne!(read, 0, "the output ended before {text:?}");
            if line.contains(text) {
                return line.trim_end().to_owned();
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        send(&self.process, signal);
    }

    /// What it writes, for the caller to read or to close.
    pub(crate) fn take_stdout(&mut self) -> BufReader<ChildStdout> {
        self.stdout.take().unwrap()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.try_wait().unwrap().is_some()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn age(&self) -> Duration {
        self.clock.now().since(self.started)
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Run {
        let mut stdout = String::new();
        if let Some(mut rest) = self.stdout.take() {
            rest.read_to_string(&mut stdout).unwrap();
        }
        let mut stderr = String::new();
        self.process.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        let code = self.process.wait().unwrap().code().unwrap();
        Run { code, stdout, stderr }
    }
}
