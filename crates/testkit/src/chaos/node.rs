//! One node of a run: a process on a host of its own, with whatever is wrapped around it.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::target::{NodePlace, StartAs, Target};

/// What of a node's log is looked at for its last words.
const WORDS_BYTES_MAX: u64 = 16 << 10;

/// What is wrapped around the process of a node.
#[derive(Debug, Clone, Default)]
pub struct Wrapping {
    /// Runs it on its host.
    pub host: Vec<String>,
    /// Seconds between its monotonic clock and ours, where they can be apart.
    pub monotonic_offset_s: Option<i64>,
    /// Library that fakes its wall clock, and the file that says by how much.
    pub fake_time: Option<(PathBuf, PathBuf)>,
    /// More words of its environment.
    pub environment: Vec<(String, String)>,
}

impl Wrapping {
    /// The words before its command.
    fn words(&self) -> Vec<String> {
        let mut words = self.host.clone();
        // Whatever becomes of the driver, its nodes end with it.
        words.extend(["setpriv", "--pdeathsig", "KILL"].map(str::to_owned));
        if let Some(offset) = self.monotonic_offset_s {
            words.extend(["unshare", "--time", "--monotonic"].map(str::to_owned));
            words.extend([offset.to_string(), "--boottime".to_owned(), offset.to_string()]);
        }
        if let Some((library, file)) = &self.fake_time {
            words.push("env".into());
            words.push(format!("LD_PRELOAD={}", library.display()));
            words.push(format!("FAKETIME_TIMESTAMP_FILE={}", file.display()));
            words.extend(["FAKETIME_CACHE_DURATION=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"].map(str::to_owned));
        }
        words
    }
}

/// One node.
#[derive(Debug)]
pub struct NodeProcess {
    /// Where it lives.
    pub place: NodePlace,
    /// How it is started the next time.
    pub how: StartAs,
    /// What is wrapped around it then.
    pub wrapping: Wrapping,
    log: PathBuf,
    child: Option<Child>,
    stopped: bool,
    /// Where the words of the present process begin in its log.
    words_from: u64,
}

impl NodeProcess {
    /// One that does not run yet.
    #[must_use]
    pub fn new(place: NodePlace, how: StartAs, wrapping: Wrapping) -> Self {
        let log = place.folder.join(format!("node-{}.log", place.id));
        Self { place, how, wrapping, log, child: None, stopped: false, words_from: 0 }
    }

    /// Starts the process.
    pub fn start(&mut self, target: &dyn Target) -> Result<()> {
        ensure!(self.child.is_none(), "node {} runs already", self.place.id);
        let output = OpenOptions::new().create(true).append(true).open(&self.log)?;
        self.words_from = output.metadata()?.len();
        let mut words = self.wrapping.words();
        words.extend(target.node_command(&self.place, &self.how)?);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).envs(self.wrapping.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        self.child = Some(command.spawn().with_context(|| format!("{} does not start", words[0]))?);
        self.stopped = false;
        Ok(())
    }

    /// Its process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether it runs, stopped or not.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.child.is_some()
    }

    /// kill -9, and waits for the process to be gone.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        self.stopped = false;
        Ok(())
    }

    /// A signal, if it runs.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if let Some(child) = &self.child {
            let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("a child has a pid")?;
            kill_process(pid, signal)?;
            self.stopped = match signal {
                Signal::STOP => true,
                Signal::CONT => false,
                _ => self.stopped,
            };
        }
        Ok(())
    }

    /// Whether it is stopped by SIGSTOP.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// How the process ended, if it did.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let Some(child) = &mut self.child else { return Ok(None) };
        let status = child.try_wait()?;
        if status.is_some() {
            self.child = None;
        }
        Ok(status)
    }

    /// What the present process, or the last one, has said: the end of it.
    pub fn words(&self) -> Result<String> {
        let mut file = File::open(&self.log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(self.words_from.max(length.saturating_sub(WORDS_BYTES_MAX))))?;
        let mut bytes = Vec::new();
        file.take(WORDS_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A folder beside its data.
    #[must_use]
    pub fn aside(&self, what: &str) -> PathBuf {
        self.place.folder.join(format!("node-{}-{what}", self.place.id))
    }
}

/// In words: how a process ended.
#[must_use]
pub fn ending(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) => format!("signal {signal}"),
        None => format!("exit code {}", status.code().unwrap_or(-1)),
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        // Nothing can be done about a process that cannot be killed.
        let _ = self.kill();
    }
}

/// Copies the content of a folder into another one, which is made.
pub fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let path = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &path)?;
        } else {
            fs::copy(entry.path(), path)?;
        }
    }
    Ok(())
}

/// What lies on the disk of a folder is there for good: an operator's hands are not what a power cut tests.
pub fn flush(folder: &Path) -> Result<()> {
    Ok(rustix::fs::syncfs(File::open(folder)?)?)
}

/// Empties a folder, which may be a mount point.
pub fn empty_folder(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
    }
    Ok(())
}
