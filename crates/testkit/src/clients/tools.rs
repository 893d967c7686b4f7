//! Looks for what a test with published clients needs. What is missing makes the test a loud `SKIPPED: …` line, or fails it
//! where `LEASEHOLD_CLIENTS_REQUIRED` says that it must be there: `1` (everything), or some of the words `redis-server
//! python node go`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

/// Says what must be there.
pub const REQUIRED: &str = "LEASEHOLD_CLIENTS_REQUIRED";

/// What runs programs: an interpreter, or a program that was built.
#[derive(Debug, Clone)]
pub struct Runner {
    program: PathBuf,
    environment: Vec<(&'static str, OsString)>,
}

impl Runner {
    /// To be given its arguments, and started.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// The folder of the client programs, `tests/clients`.
#[must_use]
pub fn programs() -> PathBuf {
    root().join("tests/clients")
}

/// A Python that has these modules: `LEASEHOLD_PYTHON`, the one that `tests/clients/install` made, or the machine's.
pub fn python(modules: &[&str]) -> Result<Option<Runner>> {
    let imports = format!("import {}", modules.join(", "));
    let candidates = [
        std::env::var_os("LEASEHOLD_PYTHON").map(PathBuf::from),
        Some(tools().join("python/bin/python")),
        Some(PathBuf::from("python3")),
    ];
    let found = candidates.into_iter().flatten().find(|python| succeeds(Command::new(python).args(["-c", &imports])));
    let found = found.map(|program| Runner { program, environment: vec![("PYTHONUNBUFFERED", "1".into())] });
    found_or_skipped("python", &format!("no Python has the modules {}", modules.join(", ")), found)
}

/// A Node.js that finds these packages: in `LEASEHOLD_NODE_PATH`, or where `tests/clients/install` put them.
pub fn node(packages: &[&str]) -> Result<Option<Runner>> {
    let path =
        std::env::var_os("LEASEHOLD_NODE_PATH").map_or_else(|| tools().join("redlock/node_modules"), PathBuf::from);
    let imports: String = packages.iter().map(|package| format!("require('{package}');")).collect();
    let runner = Runner { program: "node".into(), environment: vec![("NODE_PATH", path.into_os_string())] };
    let found = succeeds(runner.command().args(["-e", &imports])).then_some(runner);
    found_or_skipped("node", &format!("no Node.js has the packages {}", packages.join(", ")), found)
}

/// A client program in Go: in `LEASEHOLD_GO_CLIENTS`, or where `tests/clients/install` built it.
pub fn go(program: &str) -> Result<Option<Runner>> {
    let folder = std::env::var_os("LEASEHOLD_GO_CLIENTS").map_or_else(|| tools().join("go"), PathBuf::from);
    let path = folder.join(program);
    let found = path.is_file().then_some(Runner { program: path, environment: Vec::new() });
    found_or_skipped("go", &format!("the Go program {program} is not built"), found)
}

/// A real redis-server: `LEASEHOLD_REDIS_SERVER`, or the one on the path.
pub fn redis_server() -> Result<Option<Runner>> {
    let program = std::env::var_os("LEASEHOLD_REDIS_SERVER").map_or_else(|| "redis-server".into(), PathBuf::from);
    let found = succeeds(Command::new(&program).arg("--version"));
    let found = found.then_some(Runner { program, environment: Vec::new() });
    found_or_skipped("redis-server", "no redis-server is installed", found)
}

#[expect(clippy::print_stderr, reason = "that a test was skipped belongs to its output")]
fn found_or_skipped<T>(word: &str, missing: &str, found: Option<T>) -> Result<Option<T>> {
    if found.is_none() {
        let required = std::env::var(REQUIRED).unwrap_or_default();
        if required == "1" || required.split_whitespace().any(|required| required == word) {
            bail!("{missing}, and {REQUIRED} is {required:?}");
        }
        eprintln!("SKIPPED: {missing} (tests/clients/install installs it)");
    }
    Ok(found)
}

fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn tools() -> PathBuf {
    root().join("target/tools")
}
