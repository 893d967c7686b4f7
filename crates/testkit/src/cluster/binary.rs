//! Where the binary under test comes from.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, ensure};

static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
static WITH_FAILPOINTS: OnceLock<Result<PathBuf, String>> = OnceLock::new();

/// The `leasehold` binary: `LEASEHOLD_BIN`, or else built, once a process, into the folder and the profile of the test that
/// asks.
pub fn leasehold_binary() -> Result<&'static Path> {
    let found = BINARY.get_or_init(|| find().map_err(|error| format!("{error:#}")));
    found.as_deref().map_err(|error| anyhow!("no leasehold binary: {error}"))
}

/// The same with failpoints compiled in: `LEASEHOLD_FAILPOINTS_BIN`, or else built, once a process, and put beside the other as
/// `leasehold-failpoints`.
pub fn leasehold_binary_with_failpoints() -> Result<&'static Path> {
    let found = WITH_FAILPOINTS.get_or_init(|| find_with_failpoints().map_err(|error| format!("{error:#}")));
    found.as_deref().map_err(|error| anyhow!("no leasehold binary with failpoints: {error}"))
}

fn find() -> Result<PathBuf> {
    match given("LEASEHOLD_BIN")? {
        Some(path) => Ok(path),
        None => build(&[]),
    }
}

fn find_with_failpoints() -> Result<PathBuf> {
    if let Some(path) = given("LEASEHOLD_FAILPOINTS_BIN")? {
        return Ok(path);
    }
    let built = build(&["--features", "failpoints"])?;
    // A name of its own: the next build without the feature puts the other binary in its place. By rename, because it may be running.
    let (own, new) = (built.with_file_name("leasehold-failpoints"), built.with_file_name("leasehold-failpoints.new"));
    std::fs::copy(&built, &new).context("the binary with failpoints cannot be copied")?;
    std::fs::rename(&new, &own)?;
    Ok(own)
}

fn given(variable: &'static str) -> Result<Option<PathBuf>> {
    std::env::var_os(variable).map(|path| PathBuf::from(path).canonicalize().context(variable)).transpose()
}

fn build(arguments: &[&str]) -> Result<PathBuf> {
    // …/target/debug/deps/test-0123 or …/target/debug/measure
    let own = std::env::current_exe()?;
    let mut profile = own.parent().context("this program lies in no folder")?;
    if profile.ends_with("deps") || profile.ends_with("examples") {
        profile = profile.parent().context("deps lies in no folder")?;
    }
    let target = profile.parent().context("the profile's folder lies in no target folder")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "-p", "leasehold", "--bin", "leasehold"]).args(arguments).arg("--target-dir").arg(target);
    if profile.ends_with("release") {
        build.arg("--release");
    }
    build.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
    let status = build.status().context("cargo does not start")?;
    ensure!(status.success(), "`cargo build -p leasehold` failed: {status}");
    Ok(profile.join("leasehold"))
}
