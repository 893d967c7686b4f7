//! A program that is run beside a cluster: what it says is kept, and it does not outlive its test.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::clock::Moment;

/// Lines of standard output that are kept; a program that says more fails.
const LINES_MAX: usize = 200_000;
/// Bytes of standard error that are kept: the first ones.
const COMPLAINTS_BYTES_MAX: u64 = 64 << 10;
/// Lines of output that an error shows.
const SHOWN_LINES: usize = 15;
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A child process. Dropped, it is killed.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    complaints: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Program {
    /// Starts it; its standard input stays open until [`Program::end_input`].
    pub fn start(name: &str, mut command: Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("{name} does not start"))?;
        let stdout = child.stdout.take().context("its standard output is piped")?;
        let stderr = child.stderr.take().context("its standard error is piped")?;
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let complaints: Arc<Mutex<String>> = Arc::default();
        let (kept_lines, kept_complaints) = (lines.clone(), complaints.clone());
        let readers = vec![
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    let mut kept = kept_lines.lock().unwrap_or_else(PoisonError::into_inner);
                    if kept.len() <= LINES_MAX {
                        kept.push(line);
                    }
                }
            }),
            std::thread::spawn(move || {
                let mut left = COMPLAINTS_BYTES_MAX;
                let mut stderr = BufReader::new(stderr);
                let mut line = Vec::new();
                // The rest is read and thrown away, so that the program is never held up.
                while stderr.by_ref().take(COMPLAINTS_BYTES_MAX).read_until(b'\n', &mut line).is_ok_and(|read| read > 0)
                {
                    if line.len() as u64 <= left {
                        left -= line.len() as u64;
                        let text = String::from_utf8_lossy(&line);
                        kept_complaints.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
                    }
                    line.clear();
                }
            }),
        ];
        Ok(Self { name: name.to_owned(), child, lines, complaints, readers })
    }

    /// What it is called in errors.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The lines of its standard output so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many lines these are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Its standard input ends: programs that work until then come to their end.
    pub fn end_input(&mut self) {
        drop(self.child.stdin.take());
    }

    /// An error if it has ended.
    pub fn still_runs(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended with {status}\n{}", self.name, self.words());
        }
        Ok(())
    }

    /// Waits for its end, which must be a success, and returns the lines of its standard output.
    pub async fn finish(mut self, patience: Duration) -> Result<Vec<String>> {
        self.end_input();
        let start = Moment::now();
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if start.elapsed() > patience {
                self.child.kill()?;
                self.child.wait()?;
                bail!("{} did not end within {patience:?}\n{}", self.name, self.words());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        for reader in self.readers.drain(..) {
            ensure!(reader.join().is_ok(), "the output of {} was not read", self.name);
        }
        ensure!(status.success(), "{} ended with {status}\n{}", self.name, self.words());
        let lines = self.lines();
        ensure!(lines.len() <= LINES_MAX, "{} said more than {LINES_MAX} lines", self.name);
        Ok(lines)
    }

    /// What it said, for an error.
    #[must_use]
    pub fn words(&self) -> String {
        let lines = self.lines();
        let last = lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n");
        let complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        format!("--- last of {} lines of {}\n{last}\n--- its standard error\n{complaints}", lines.len(), self.name)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // One that has ended cannot be killed, and need not.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
