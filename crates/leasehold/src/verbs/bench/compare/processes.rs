//! Processes of other systems, started to be compared with, and ended in any case.

use std::fs::File;
use std::future::Future;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use crate::exit::{Exit, Failure};

/// By when a system serves after its start.
const READY_MAX: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Lines of a log that are shown when a system does not come up.
const LOG_LINES: usize = 10;

/// Dropping it kills all of them.
#[derive(Debug, Default)]
pub(super) struct Processes(Vec<Process>);

#[derive(Debug)]
struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Processes {
    /// Starts one, its output in a file of the folder.
    pub(super) fn start(&mut self, name: &str, folder: &Path, command: &mut Command) -> Result<(), Failure> {
        let failed = |error: std::io::Error| unavailable(&format!("{name} does not start: {error}"));
        let log = folder.join(format!("{name}.log"));
        let file = File::create(&log).map_err(failed)?;
        command.stdin(Stdio::null()).stdout(file.try_clone().map_err(failed)?).stderr(file);
        // Signals of the terminal are for the one who started it, who ends it in order.
        command.process_group(0).kill_on_drop(true);
        let child = command.spawn().map_err(failed)?;
        self.0.push(Process { name: name.to_owned(), child, log });
        Ok(())
    }

    /// Waits until `ready` finds what it looks for; fails when a process ends or it takes too long.
    pub(super) async fn wait<T, F: Future<Output = Option<T>>>(
        &mut self,
        what: &str,
        mut ready: impl FnMut() -> F,
    ) -> Result<T, Failure> {
        let looking = async {
            loop {
                self.check()?;
                if let Some(found) = ready().await {
                    return Ok(found);
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let looked = tokio::time::timeout(READY_MAX, looking).await;
        looked.unwrap_or_else(|_| Err(unavailable(&format!("{what}: not within {READY_MAX:?}{}", self.logged()))))
    }

    /// Says which process has ended by itself, if one has.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        for process in &mut self.0 {
            if let Ok(Some(status)) = process.child.try_wait() {
                let (name, logged) = (process.name.clone(), last_lines(&process.log));
                return Err(unavailable(&format!("{name} has ended: {status}{logged}")));
            }
        }
        Ok(())
    }

    fn logged(&self) -> String {
        self.0.iter().map(|process| last_lines(&process.log)).collect()
    }

    /// Kills all of them, and waits until they are gone.
    pub(super) async fn end(&mut self) {
        for mut process in self.0.drain(..) {
            // It has gone already, or is gone after this.
            let _ = process.child.kill().await;
        }
    }
}

fn last_lines(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(LOG_LINES)..];
    last.iter().map(|line| format!("\n  {line}")).collect()
}

pub(super) fn unavailable(problem: &str) -> Failure {
    Failure::new(Exit::Unavailable, format!("unavailable: {problem}"))
}

/// The program on the path; else says which package has it.
pub(super) fn find(program: &str, package: &str) -> Result<PathBuf, Failure> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file());
    found.ok_or_else(|| {
        unavailable(&format!("{program} is not found on the path; install it (Debian: apt-get install {package})"))
    })
}

/// The first line of what a program says of its version.
pub(super) async fn first_line(program: &Path, flag: &str) -> String {
    let output = Command::new(program).arg(flag).stdin(Stdio::null()).output().await;
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

/// So many ports of loopback that nobody has now.
pub(super) fn free_ports(count: usize) -> Result<Vec<u16>, Failure> {
    let failed = |error: std::io::Error| Failure::internal(format!("no free port: {error}"));
    // All at once, so that no two are the same.
    let listeners =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<std::io::Result<Vec<_>>>().map_err(failed)?;
    listeners.iter().map(|listener| Ok(listener.local_addr().map_err(failed)?.port())).collect()
}
