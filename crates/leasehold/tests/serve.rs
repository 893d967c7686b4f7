//! `leasehold serve` and `dev` as processes: what they refuse, how they start, how they stop.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

fn leasehold() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leasehold"));
    command.env_remove("LEASEHOLD_LOG").stdin(Stdio::null());
    command
}

/// A node alone, on free ports.
fn serve(data_dir: &Path) -> Command {
    let mut command = leasehold();
    command.args(["serve", "--node-id", "1", "--peers", "1=127.0.0.1:1", "--bootstrap", "--log-format", "json"]);
    command.args(["--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]);
    command.arg("--data-dir").arg(data_dir);
    command
}

/// Exit code, and what was said on stderr.
fn refusal(command: &mut Command) -> (i32, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(stdout.is_empty(), "stdout is for data");
    (status.code().unwrap(), String::from_utf8(stderr).unwrap())
}

/// A running server, killed when the test ends.
struct Server {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Server {
    /// Starts it and returns once it has said so, with the fields of that line.
    fn start(mut command: Command) -> (Self, serde_json::Value) {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut server = Self { child, log };
        loop {
            let mut line = String::new();
            assert!(server.log.read_line(&mut line).unwrap() > 0, "it ended before it had started");
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            if line["fields"]["message"] == "node started" {
                return (server, line["fields"].clone());
            }
        }
    }

    /// Sends a signal; the exit code, and the rest of the log.
    fn end_by(&mut self, signal: Signal) -> (i32, String) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code().unwrap(), rest)
    }
}

fn http_get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Polls until the node takes calls.
fn until_ready(address: &str) {
    for _ in 0..3_000 {
        if http_get(address, "/readyz").starts_with("HTTP/1.1 200") {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("not ready in time: {}", http_get(address, "/readyz"));
}

#[test]
fn without_files_to_open_it_says_so_and_does_not_panic() {
    // Enough for the shell to become the server, too few for its runtime.
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 5; exec \"$0\" serve --node-id 1 --peers 1=127.0.0.1:1 --data-dir /nowhere"]);
    let (code, words) = refusal(command.arg(env!("CARGO_BIN_EXE_leasehold")).stdin(Stdio::null()));
    assert_eq!(code, 70, "{words}");
    assert!(words.contains("Too many open files") && !words.contains("panicked"), "{words}");
}

#[test]
fn a_port_in_use_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["listen", "peer-listen", "http-listen", "redis-listen"] {
        let mut command = leasehold();
        command.args(["serve", "--node-id", "1", "--peers", "1=127.0.0.1:1", "--data-dir"]).arg(folder.path());
        for other in ["listen", "peer-listen", "http-listen", "redis-listen"] {
            command.arg(format!("--{other}={}", if other == flag { &address } else { "127.0.0.1:0" }));
        }
        let (code, said) = refusal(&mut command);
        assert_eq!(code, 64);
        assert!(said.contains(&format!("{flag}: cannot listen on {address}")), "{said}");
    }
}

#[test]
fn a_folder_that_cannot_be_used_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let (code, said) = refusal(&mut serve(file.path()));
    assert_eq!(code, 64);
    assert!(said.contains("data-dir:") && said.contains(&file.path().display().to_string()), "{said}");
}

#[test]
fn bad_settings_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let (code, said) = refusal(leasehold().arg("serve").args(["--node-id", "1"]));
    assert_eq!((code, said.contains("data-dir: is required")), (64, true), "{said}");
    let (code, said) = refusal(serve(folder.path()).args(["--advertise", "nonsense"]));
    assert_eq!((code, said.contains("advertise:")), (64, true), "{said}");
    let (code, said) = refusal(serve(folder.path()).env("LEASEHOLD_LOG", "a=b=c"));
    assert_eq!((code, said.contains("LEASEHOLD_LOG")), (64, true), "{said}");

    let config = folder.path().join("leasehold.toml");
    std::fs::write(&config, "lisen = '127.0.0.1:1'\n").unwrap();
    let (code, said) = refusal(serve(folder.path()).arg("--config").arg(&config));
    assert_eq!(code, 64);
    assert!(said.contains("lisen") && said.contains("leasehold.toml"), "{said}");
    let (code, said) = refusal(serve(folder.path()).args(["--config", "/nonexistent.toml"]));
    assert_eq!((code, said.contains("/nonexistent.toml")), (64, true), "{said}");
}

#[test]
fn a_node_starts_serves_and_stops_when_told() {
    let folder = tempfile::tempdir().unwrap();
    for signal in [Signal::TERM, Signal::INT] {
        // The second time on the data of the first.
        let (mut server, said) = Server::start(serve(&folder.path().join("node")));
        until_ready(said["http"].as_str().unwrap());
        let (code, rest) = server.end_by(signal);
        assert_eq!(code, 0, "{rest}");
        assert!(rest.contains("\"stopped\""), "{rest}");
    }
}

/// Sends inline commands, and reads so many lines of reply.
fn redis(address: &str, commands: &str, lines: usize) -> Vec<String> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(commands.as_bytes()).unwrap();
    BufReader::new(stream).lines().take(lines).map(Result::unwrap).collect()
}

#[test]
fn the_redis_protocol_is_served_where_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (_closed, said) = Server::start(serve(&folder.path().join("closed")));
    assert!(said.get("redis").is_none(), "{said}");

    let config = folder.path().join("leasehold.toml");
    std::fs::write(&config, "[redis]\nlisten = '127.0.0.1:1'\n[[redis.passwords]]\npassword = 'sesame'\n").unwrap();
    let mut command = serve(&folder.path().join("open"));
    command.arg("--config").arg(&config).env("LEASEHOLD_REDIS_LISTEN", "127.0.0.1:0");
    let (mut server, said) = Server::start(command);
    until_ready(said["http"].as_str().unwrap());
    let address = said["redis"].as_str().unwrap();
    let replies = redis(address, "PING\r\nAUTH sesame\r\nSET k me NX PX 60000\r\nGET k\r\n", 5);
    assert_eq!(replies, ["-NOAUTH Authentication required.", "+OK", "+OK", "$2", "me"]);
    let (code, rest) = server.end_by(Signal::TERM);
    assert_eq!(code, 0, "{rest}");
    assert!(!rest.contains("sesame"), "{rest}");
}

#[test]
fn a_node_that_cannot_follow_its_cluster_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("node");
    let (mut server, said) = Server::start(serve(&data));
    until_ready(said["http"].as_str().unwrap());
    assert_eq!(server.end_by(Signal::TERM).0, 0);
    let (code, said) = refusal(serve(&data).args(["--level-max", "1"]));
    assert_eq!(code, 65, "{said}");
    assert!(said.contains("needs format level") && said.contains("supports level 1"), "{said}");
    let (mut server, said) = Server::start(serve(&data));
    until_ready(said["http"].as_str().unwrap());
    assert_eq!(server.end_by(Signal::TERM).0, 0);
}

#[test]
fn two_processes_cannot_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, _) = Server::start(serve(folder.path()));
    let (code, said) = refusal(&mut serve(folder.path()));
    assert_eq!(code, 70, "{said}");
    assert!(said.contains(&folder.path().display().to_string()), "{said}");
}

#[test]
fn dev_tells_how_to_use_it_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = leasehold()
        .arg("dev")
        .env("TMPDIR", folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert!(line.contains("is ready"), "{line}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let mut text = String::new();
    while !text.contains("redis-cli -p ") {
        assert!(out.read_line(&mut text).unwrap() > 0, "{text}");
    }
    let port = text.split("redis-cli -p ").nth(1).unwrap().split(' ').next().unwrap();
    assert_eq!(redis(&format!("127.0.0.1:{port}"), "SET a-lock me NX PX 60000\r\n", 1), ["+OK"]);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert!(text.contains("leasehold acquire"), "{text}{rest}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the data is gone");
}
