//! Where the binary under test comes from.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, ensure};

static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();

/// The `leasehold` binary: `LEASEHOLD_BIN`, or else built, once a process, into the folder and the profile of the test that
/// asks.
pub fn leasehold_binary() -> Result<&'static Path> {
    let found = BINARY.get_or_init(|| find().map_err(|error| format!("{error:#}")));
    found.as_deref().map_err(|error| anyhow!("no leasehold binary: {error}"))
}

fn find() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("LEASEHOLD_BIN") {
        let path = PathBuf::from(path).canonicalize().context("LEASEHOLD_BIN")?;
        return Ok(path);
    }
    // …/target/debug/deps/test-0123 or …/target/debug/measure
    let own = std::env::current_exe()?;
    let mut profile = own.parent().context("this program lies in no folder")?;
    if profile.ends_with("deps") || profile.ends_with("examples") {
        profile = profile.parent().context("deps lies in no folder")?;
    }
    let target = profile.parent().context("the profile's folder lies in no target folder")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "-p", "leasehold", "--bin", "leasehold", "--target-dir"]).arg(target);
    if profile.ends_with("release") {
        build.arg("--release");
    }
    build.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
    let status = build.status().context("cargo does not start")?;
    ensure!(status.success(), "`cargo build -p leasehold` failed: {status}");
    Ok(profile.join("leasehold"))
}
