//! What runs under a lock, as the kernel sees it.
#![allow(dead_code, clippy::unwrap_used, reason = "support of tests; every binary uses its own part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::setsid;

use super::is_alive;

/// Where a helper writes that it is alive.
pub(crate) const ALIVE: &str = "LEASEHOLD_TEST_ALIVE";

/// Processes that run under the lock with this token of the server at `endpoint`, or have come from one, and the reaper: all
/// have both in their environment. (Servers that are founded in one second give the same tokens.)
pub(crate) fn under(endpoint: &str, token: &str) -> Vec<i32> {
    let marks = [format!("LEASEHOLD_ENDPOINTS={endpoint}"), format!("LEASEHOLD_TOKEN={token}")];
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let marked = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        marks.iter().all(|mark| environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()))
    };
    pids.filter(marked).filter(|pid| is_alive(*pid)).collect()
}

/// The children of a process.
pub(crate) fn children(pid: u32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let lists = threads.map(|thread| fs::read_to_string(thread.path().join("children")).unwrap_or_default());
    lists.flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>()).collect()
}

/// Time since the machine started, suspend included: the clock that leases are counted on.
pub(crate) fn uptime() -> Duration {
    let text = fs::read_to_string("/proc/uptime").unwrap();
    Duration::from_secs_f64(text.split_whitespace().next().unwrap().parse().unwrap())
}

/// A process that leaves the session and the process group in which it was started, and writes again and again when it was
/// alive. It ignores what its shell was told to ignore.
///
/// A test binary is its own helper: a test of that name calls this, and does nothing unless [`ALIVE`] is set.
pub(crate) fn be_a_helper() {
    let Some(file) = std::env::var_os(ALIVE) else { return };
    setsid().unwrap();
    // Nobody waits for more than this.
    while uptime_left(Duration::from_secs(120)) {
        write_uptime(Path::new(&file));
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn uptime_left(most: Duration) -> bool {
    use std::sync::OnceLock;
    static START: OnceLock<Duration> = OnceLock::new();
    uptime() - *START.get_or_init(uptime) < most
}

fn write_uptime(file: &Path) {
    let new = file.with_extension("new");
    fs::write(&new, uptime().as_secs_f64().to_string()).unwrap();
    fs::rename(new, file).unwrap();
}

/// A helper of the test binary that runs, to be started from a shell under a lock.
pub(crate) struct Helper {
    folder: tempfile::TempDir,
}

impl Helper {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("alive")
    }

    /// Words for a shell: starts the helper, as an orphan, and goes on when it lives.
    pub(crate) fn start(&self) -> String {
        let binary = std::env::current_exe().unwrap();
        let (file, binary) = (self.file(), binary.display().to_string());
        let file = file.display();
        let start = format!("({ALIVE}={file} {binary} --exact helper >/dev/null 2>&1 &)");
        format!("{start}; until [ -e {file} ]; do sleep 0.01; done")
    }

    /// When it was last seen alive.
    pub(crate) fn last_alive(&self) -> Option<Duration> {
        let text = fs::read_to_string(self.file()).ok()?;
        Some(Duration::from_secs_f64(text.parse().unwrap()))
    }
}
