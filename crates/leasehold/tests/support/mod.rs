//! The real binary, and a real node of it.
#![allow(dead_code, clippy::unwrap_used, reason = "support of tests; every binary uses its own part")]

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use leasehold_client::clock::{Clock, Moment};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Long enough for a machine that does ten other things; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The binary, without what the environment says.
pub(crate) fn leasehold() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leasehold"));
    command.env_remove("LEASEHOLD_ENDPOINTS").env_remove("LEASEHOLD_NAMESPACE").stdin(Stdio::null());
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

pub(crate) fn run(command: &mut Command) -> Run {
    command.output().unwrap().into()
}

/// Waits for something that has no way to tell.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let clock = Clock::system();
    let start = clock.now();
    while !holds() {
        assert!(clock.now().since(start) < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// One node, a cluster of its own.
#[derive(Debug)]
pub(crate) struct Server {
    process: Child,
    pub(crate) folder: TempDir,
    pub(crate) endpoint: String,
}

impl Server {
    /// Starts it, and waits until it leads.
    pub(crate) fn start() -> Self {
        let server = Self::start_one_of(1);
        eventually("a leader", || {
            let status = server.run(["cluster", "status", "-o", "json"]);
            status.code == 0 && status.json()["leader"] == 1
        });
        server
    }

    /// Starts the first of `count` nodes that want to form a cluster, without the others.
    pub(crate) fn start_one_of(count: usize) -> Self {
        // Another process may take a port between our look and the node's bind: then it is tried again.
        for _ in 0..10 {
            let listeners: Vec<_> = (0..count + 2).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
            let ports: Vec<u16> = listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
            drop(listeners);
            let address = |port: &u16| format!("127.0.0.1:{port}");
            let (client, http) = (address(&ports[0]), address(&ports[1]));
            let peers: Vec<String> = ports[2..].iter().map(address).collect();
            let listed: Vec<String> = (1..).zip(&peers).map(|(id, peer)| format!("{id}={peer}")).collect();
            let folder = tempfile::tempdir().unwrap();
            let log = std::fs::File::create(folder.path().join("log")).unwrap();
            let process = leasehold()
                .args(["serve", "--node-id", "1", "--bootstrap", "--peers", &listed.join(",")])
                .args(["--listen", &client, "--peer-listen", &peers[0], "--http-listen", &http])
                .arg("--data-dir")
                .arg(folder.path().join("data"))
                .stderr(log)
                .spawn()
                .unwrap();
            let mut server = Self { process, folder, endpoint: client };
            let mut ended = None;
            eventually("the port", || {
                ended = server.process.try_wait().unwrap();
                ended.is_some() || std::net::TcpStream::connect(&server.endpoint).is_ok()
            });
            if ended.is_none() {
                return server;
            }
        }
        panic!("no node starts");
    }

    /// The binary, talking to this node.
    pub(crate) fn command<const N: usize>(&self, arguments: [&str; N]) -> Command {
        let mut command = leasehold();
        command.args(arguments).env("LEASEHOLD_ENDPOINTS", &self.endpoint);
        command
    }

    pub(crate) fn run<const N: usize>(&self, arguments: [&str; N]) -> Run {
        run(&mut self.command(arguments))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        send(&self.process, signal);
    }

    /// Ends it as an operator would, and waits for that.
    pub(crate) fn stop(&mut self) -> i32 {
        self.signal(Signal::TERM);
        self.process.wait().unwrap().code().unwrap()
    }

    /// How many wait for `name`.
    pub(crate) fn waiters(&self, name: &str) -> usize {
        self.run(["get", name, "-o", "json"]).json()["waiters"].as_array().unwrap().len()
    }

    /// Takes a lock; its token and lease.
    pub(crate) fn acquire(&self, name: &str) -> (String, String) {
        let run = self.run(["acquire", name, "--try", "-o", "json"]);
        assert_eq!(run.code, 0, "{run:?}");
        let text = |key: &str| run.json()[key].as_str().unwrap().to_owned();
        (text("token"), text("lease"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already, or ends now.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn send(process: &Child, signal: Signal) {
    kill_process(Pid::from_child(process), signal).unwrap();
}

pub(crate) fn is_alive(pid: i32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // A zombie that nobody has waited for yet has ended.
    let ended = state.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']));
    test_kill_process(Pid::from_raw(pid).unwrap()).is_ok() && !ended
}

/// A run of the binary that goes on.
#[derive(Debug)]
pub(crate) struct Going {
    pub(crate) process: Child,
    stdout: BufReader<ChildStdout>,
    started: Moment,
    clock: Clock,
}

impl Going {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let clock = Clock::system();
        Self { process, stdout, started: clock.now(), clock }
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Reads up to the line that contains `text`.
    pub(crate) fn line_with(&mut self, text: &str) -> String {
        loop {
            let mut line = String::new();
            let read = self.stdout.read_line(&mut line).unwrap();
            assert_ne!(read, 0, "the output ended before {text:?}");
            if line.contains(text) {
                return line.trim_end().to_owned();
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        send(&self.process, signal);
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
        self.stdout.read_to_string(&mut stdout).unwrap();
        let mut stderr = String::new();
        self.process.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        let code = self.process.wait().unwrap().code().unwrap();
        Run { code, stdout, stderr }
    }
}
