//! The commands of the README, run as they stand.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use leasehold_testkit::cluster::leasehold_binary;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).unwrap()
}

/// The lines of the first fenced block after `heading`.
fn block(text: &str, heading: &str) -> Vec<String> {
    let at = text.find(heading).unwrap_or_else(|| panic!("the README has no {heading:?}"));
    let rest = &text[at..];
    let start = rest.find("```").unwrap();
    let body = rest[start..].split_once('\n').unwrap().1;
    body[..body.find("```").unwrap()].lines().map(str::to_owned).collect()
}

/// A child that does not outlive the test.
struct Dev {
    child: Child,
    endpoint: String,
}

impl Dev {
    fn start() -> Self {
        let mut child = Command::new(leasehold_binary().unwrap())
            .arg("dev")
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let endpoint = lines
            .by_ref()
            .find_map(|line| line.unwrap().trim().strip_prefix("gRPC").map(|rest| rest.trim().to_owned()))
            .expect("dev tells its address");
        // Nothing more is read: the rest fits into the pipe.
        Self { child, endpoint }
    }

    /// Runs one line as a person would, with `leasehold` on the path.
    fn run(&self, line: &str) -> Output {
        let folder = leasehold_binary().unwrap().parent().unwrap();
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
        let output = Command::new("sh")
            .args(["-c", line])
            .env("PATH", path)
            .env("LEASEHOLD_ENDPOINTS", &self.endpoint)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "`{line}` ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        output
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The number that looks like a fencing token.
fn token_in(text: &str) -> String {
    let digits = |word: &&str| word.len() > 10 && word.bytes().all(|byte| byte.is_ascii_digit());
    text.split_whitespace().find(digits).unwrap_or_else(|| panic!("no token in {text}")).to_owned()
}

#[test]
fn the_commands_of_a_first_lock_work_as_they_stand() {
    let dev = Dev::start();
    let mut token = None;
    let mut ran = 0;
    for line in block(&readme(), "From the command line:") {
        let line = match &token {
            Some(token) => line.replace("TOKEN   ", &format!("{token}   ")),
            None => line,
        };
        let output = String::from_utf8(dev.run(&line).stdout).unwrap();
        if line.starts_with("leasehold acquire") {
            token = Some(token_in(&output));
        }
        if line.starts_with("leasehold lock") {
            assert!(output.starts_with("holding orders under token "), "{output}");
        }
        ran += 1;
    }
    assert!(ran >= 5, "only {ran} commands were found");
}

#[test]
fn the_grpcurl_commands_work_as_they_stand() {
    if Command::new("grpcurl").arg("--version").output().is_err() {
        eprintln!("SKIPPED: grpcurl is not installed (.ci/run installs it where Go is)");
        return;
    }
    let dev = Dev::start();
    let lines = block(&readme(), "With `grpcurl`");
    let outputs: Vec<String> = lines
        .iter()
        .map(|line| String::from_utf8(dev.run(&line.replace("127.0.0.1:7400", &dev.endpoint)).stdout).unwrap())
        .collect();
    assert!(outputs[0].contains("granted") && outputs[1].contains("\"owner\": \"me\""), "{outputs:?}");
}

#[test]
fn the_rust_of_the_readme_is_the_example_that_is_compiled() {
    let example = std::fs::read_to_string(root().join("crates/client/examples/first_lock.rs")).unwrap();
    let shown: Vec<String> = block(&readme(), "From Rust");
    // Lints of ours are no concern of a reader.
    assert_eq!(shown, example.lines().filter(|line| !line.starts_with("#![")).collect::<Vec<_>>());
}

#[test]
fn the_first_command_shows_what_it_says() {
    let mut demo = Command::new(leasehold_binary().unwrap())
        .args(["demo", "--exit"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = String::new();
    demo.stdout.take().unwrap().read_to_string(&mut told).unwrap();
    demo.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert!(demo.wait().unwrap().success(), "{told}");
    for step in ["kill -9", "still token", "bob, first in the queue", "caught up"] {
        assert!(told.contains(step), "{step:?} is missing in:\n{told}");
    }
}
