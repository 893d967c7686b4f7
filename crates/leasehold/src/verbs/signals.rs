//! The signals that end programs, taken instead of obeyed.

use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind};

use crate::exit::Failure;

/// TERM, INT and HUP, from [`Signals::listen`] on. One that this process was started to ignore (`nohup`, a shell's `&`)
/// stays ignored, also by what it starts.
#[derive(Debug)]
pub(super) struct Signals {
    term: Option<unix::Signal>,
    int: Option<unix::Signal>,
    hup: Option<unix::Signal>,
}

impl Signals {
    pub(super) fn listen() -> Result<Self, Failure> {
        let ignored = ignored();
        Ok(Self {
            term: take(Signal::TERM, ignored)?,
            int: take(Signal::INT, ignored)?,
            hup: take(Signal::HUP, ignored)?,
        })
    }

    /// The next one. Dropping the future loses none.
    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            () = arrives(&mut self.term) => Signal::TERM,
            () = arrives(&mut self.int) => Signal::INT,
            () = arrives(&mut self.hup) => Signal::HUP,
        }
    }
}

/// Signals of job control, and the one that asks for a core: taken only while a command runs.
#[derive(Debug)]
pub(super) struct JobSignals {
    stop: Option<unix::Signal>,
    go_on: Option<unix::Signal>,
    quit: Option<unix::Signal>,
}

impl JobSignals {
    pub(super) fn listen() -> Result<Self, Failure> {
        let ignored = ignored();
        Ok(Self {
            stop: take(Signal::TSTP, ignored)?,
            go_on: take(Signal::CONT, ignored)?,
            quit: take(Signal::QUIT, ignored)?,
        })
    }

    /// The next one. Dropping the future loses none.
    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            () = arrives(&mut self.stop) => Signal::TSTP,
            () = arrives(&mut self.go_on) => Signal::CONT,
            () = arrives(&mut self.quit) => Signal::QUIT,
        }
    }
}

async fn arrives(signal: &mut Option<unix::Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

fn take(signal: Signal, ignored: u64) -> Result<Option<unix::Signal>, Failure> {
    if ignored >> (signal.as_raw() - 1) & 1 == 1 {
        return Ok(None);
    }
    unix::signal(SignalKind::from_raw(signal.as_raw()))
        .map(Some)
        .map_err(|error| Failure::internal(format!("signals cannot be taken: {error}")))
}

/// The signals that this process ignores, a bit each; none where the kernel does not tell.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// How a process exits that a signal ended, as shells have it.
pub(super) fn exit_code(signal: Signal) -> u8 {
    u8::try_from(128 + signal.as_raw()).unwrap_or(255)
}
