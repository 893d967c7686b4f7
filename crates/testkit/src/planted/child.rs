//! A cargo that is run to its end, or to a limit.

use std::fs::File;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Command;

use crate::clock::Moment;

/// How a cargo ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// None: it was killed at the limit.
    pub(super) status: Option<ExitStatus>,
    pub(super) took: Duration,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Ended {
    pub(super) fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }
}

/// Runs cargo in `sources`, with its output in files below `notes`: a test may print more than a pipe holds.
pub(super) async fn cargo(
    words: &[&str],
    sources: &Path,
    target: &Path,
    notes: &Path,
    limit: Duration,
) -> Result<Ended> {
    let (stdout, stderr) = (notes.join("stdout"), notes.join("stderr"));
    let began = Moment::now();
    let mut child = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(words)
        .current_dir(sources)
        .env("CARGO_TARGET_DIR", target)
        .env("CARGO_TERM_COLOR", "never")
        .stdin(std::process::Stdio::null())
        .stdout(File::create(&stdout)?)
        .stderr(File::create(&stderr)?)
        // Whatever it starts is ended with it.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .context("cargo does not start")?;
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let status = match tokio::time::timeout(limit, child.wait()).await {
        Ok(status) => Some(status?),
        Err(_) => None,
    };
    let took = began.elapsed();
    if let Some(group) = group {
        // Nobody is left in it, mostly.
        let _ = kill_process_group(group, Signal::KILL);
    }
    if status.is_none() {
        child.wait().await?;
    }
    let read = |path: &Path| std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok(Ended { status, took, stdout: read(&stdout)?, stderr: read(&stderr)? })
}
