//! The system's own tools, run for what they do.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Runs a program to its end; what it says when it fails is the error.
pub(super) fn run(words: &[&str]) -> Result<String> {
    feed(words, "")
}

/// The same with something to read.
pub(super) fn feed(words: &[&str], input: &str) -> Result<String> {
    let (program, arguments) = words.split_first().context("a command has a program")?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("{program} does not start"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends early says why itself.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output()?;
    let problem = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{}`: {}: {}", words.join(" "), output.status, problem.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a process is there and is one of ours: process ids are used again.
pub(super) fn is_chaos(pid: u32) -> bool {
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&command).contains("chaos")
}
