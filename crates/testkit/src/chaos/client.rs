//! The driver's side of a client process.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use tokio::sync::mpsc;

use super::machine::Patience;
use super::phase::Phase;

/// Workers of all incarnations of one client process have numbers below this, beside its own.
const WORKERS_OF_CLIENT: u32 = 100_000;
/// Workers of one incarnation.
const WORKERS_MAX: u32 = 100;
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A lock comes into a phase, in this client process.
pub type PhaseWord = (u32, Phase);

/// What client processes are started with.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// Where the nodes are.
    pub endpoints: String,
    /// Workers of each.
    pub workers: u32,
    /// Locks that all compete for.
    pub locks: u32,
    /// What all random choices follow from.
    pub seed: u64,
    /// Where histories go.
    pub folder: PathBuf,
    /// The mode of this program that is such a client.
    pub mode: Vec<String>,
}

/// What the clients of a run do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Workload {
    /// Everything that clients of Leasehold can do.
    #[default]
    Everything,
    /// They compete for locks, the same way with every target; they are judged by what they counted on.
    Compete,
}

impl Workload {
    /// The mode of this program that is such a client of a target.
    #[must_use]
    pub fn mode(self, target: &str) -> Vec<String> {
        match self {
            Self::Everything => vec![format!("{target}-client")],
            Self::Compete => vec!["compete-client".into(), target.into()],
        }
    }
}

/// One client process, and those that were killed before it.
#[derive(Debug)]
pub struct ClientProcess {
    number: u32,
    host: Vec<String>,
    settings: ClientSettings,
    child: Option<Child>,
    stdin: Option<ChildStdin>,
    incarnation: u32,
    /// Grants of the present incarnation; those before it.
    granted: Arc<AtomicU64>,
    granted_before: u64,
    words: mpsc::Sender<PhaseWord>,
}

impl ClientProcess {
    /// One that does not run yet.
    #[must_use]
    pub fn new(number: u32, host: Vec<String>, settings: ClientSettings, words: mpsc::Sender<PhaseWord>) -> Self {
        let granted = Arc::default();
        Self { number, host, settings, child: None, stdin: None, incarnation: 0, granted, granted_before: 0, words }
    }

    /// Which client process a worker belongs to.
    #[must_use]
    pub fn of_worker(worker: u32) -> u32 {
        worker / WORKERS_OF_CLIENT
    }

    /// Its number, from 1.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Its process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Grants so far, of all incarnations.
    #[must_use]
    pub fn granted(&self) -> u64 {
        self.granted_before + self.granted.load(Ordering::Relaxed)
    }

    /// Starts it, with a new file for its history.
    pub fn start(&mut self) -> Result<()> {
        let first = self.number * WORKERS_OF_CLIENT + self.incarnation * WORKERS_MAX;
        let settings = &self.settings;
        let journal = settings.folder.join(format!("client-{}-{}.journal", self.number, self.incarnation));
        self.incarnation += 1;
        self.granted_before = self.granted();
        self.granted = Arc::default();
        let mut words = self.host.clone();
        words.extend(["setpriv", "--pdeathsig", "KILL"].map(str::to_owned));
        words.push(std::env::current_exe()?.display().to_string());
        words.extend(settings.mode.iter().cloned());
        for (name, value) in [
            ("--endpoints", settings.endpoints.clone()),
            ("--journal", journal.display().to_string()),
            ("--first-worker", first.to_string()),
            ("--workers", settings.workers.min(WORKERS_MAX).to_string()),
            ("--locks", settings.locks.to_string()),
            ("--seed", (settings.seed ^ u64::from(first)).to_string()),
        ] {
            words.extend([name.to_owned(), value]);
        }
        let log = settings.folder.join(format!("client-{}.log", self.number));
        let errors = File::options().create(true).append(true).open(log)?;
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let mut child = command.spawn().with_context(|| format!("{} does not start", words[0]))?;
        self.stdin = child.stdin.take();
        if let Some(stdout) = child.stdout.take() {
            let (number, granted, words) = (self.number, self.granted.clone(), self.words.clone());
            let listen = move || listen(number, BufReader::new(stdout), &granted, &words);
            std::thread::Builder::new().name(format!("client-{number}")).spawn(listen)?;
        }
        self.child = Some(child);
        Ok(())
    }

    /// Asks for a word at the next moment when one of its locks comes into that phase.
    pub fn aim(&mut self, phase: Phase) {
        self.tell(&format!("aim {phase}"));
    }

    /// A process that was just killed cannot be told anything.
    fn tell(&mut self, line: &str) {
        if let Some(stdin) = &mut self.stdin {
            let _ = writeln!(stdin, "{line}").and_then(|()| stdin.flush());
        }
    }

    /// A signal, if it runs.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        if let Some(child) = &self.child {
            let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("a child has a pid")?;
            kill_process(pid, signal)?;
        }
        Ok(())
    }

    /// kill -9, and waits for the process to be gone.
    pub fn kill(&mut self) -> Result<()> {
        self.stdin = None;
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// How it ended, if it did: it never should by itself.
    pub fn ended(&mut self) -> Result<Option<std::process::ExitStatus>> {
        let Some(child) = &mut self.child else { return Ok(None) };
        Ok(child.try_wait()?)
    }

    /// Tells it to end in an orderly way.
    pub fn stop(&mut self) {
        self.tell("stop");
        self.stdin = None;
    }

    /// Waits for that. A process that takes too long is killed: then the rest of its calls is unknown.
    pub async fn stopped(&mut self, patience: &Patience) -> Result<bool> {
        while self.ended()?.is_none() && self.child.is_some() {
            if patience.is_over() {
                self.kill()?;
                return Ok(false);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        self.child = None;
        Ok(true)
    }
}

impl Drop for ClientProcess {
    fn drop(&mut self) {
        // Nothing can be done about a process that cannot be killed.
        let _ = self.kill();
    }
}

/// Until the process ends.
fn listen(number: u32, from: impl BufRead, granted: &AtomicU64, words: &mpsc::Sender<PhaseWord>) {
    for line in from.lines().map_while(Result::ok) {
        match line.split_once(' ') {
            Some(("granted", count)) => granted.store(count.parse().unwrap_or(0), Ordering::Relaxed),
            // Nobody waits for more than a few.
            Some(("phase", name)) => drop(Phase::of_name(name).map(|phase| words.try_send((number, phase)))),
            _ => {}
        }
    }
}
