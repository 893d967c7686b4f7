//! All processes that come from one: found in `/proc`, whatever session or process group they have made themselves.

use std::fs;
use std::io;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, getpid, pidfd_open, pidfd_send_signal, wait};
use tokio::time::sleep;

/// Between two rounds of killing, at first.
const ROUND_MIN: Duration = Duration::from_millis(2);
/// And when nothing has helped for a while.
const ROUND_MAX: Duration = Duration::from_millis(100);

/// A process, which another one of the same number later is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: Pid,
    /// When it was started, in the kernel's own unit.
    started: u64,
}

/// The descendants of this process, parents before their children. None where `/proc` cannot be read.
pub(crate) fn all() -> Vec<Process> {
    let mut found = Vec::new();
    let mut rest = running().unwrap_or_default();
    let mut parents = vec![getpid()];
    while !parents.is_empty() {
        let (children, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(|(_, parent)| parents.contains(parent));
        parents = children.iter().map(|(child, _)| child.pid).collect();
        found.extend(children.into_iter().map(|(child, _)| child));
        rest = others;
    }
    found
}

/// Every process that there is, with its parent.
fn running() -> io::Result<Vec<(Process, Pid)>> {
    let pids = fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(pids.filter_map(Pid::from_raw).filter_map(look).collect())
}

fn look(pid: Pid) -> Option<(Process, Pid)> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    let (parent, started) = parse(&stat)?;
    Some((Process { pid, started }, parent))
}

/// Parent and start of a process, from its `stat`: the command's name in it may contain anything.
fn parse(stat: &str) -> Option<(Pid, u64)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok().and_then(Pid::from_raw)?;
    let started = fields.nth(17)?.parse().ok()?;
    Some((parent, started))
}

impl Process {
    /// Signals this process and no other that may have its number by now. One that has gone hears nothing.
    pub(crate) fn signal(self, signal: Signal) -> Result<(), Errno> {
        let gone = |errno| if errno == Errno::SRCH { Ok(()) } else { Err(errno) };
        let process = match pidfd_open(self.pid, PidfdFlags::empty()) {
            Ok(process) => process,
            Err(errno) => return gone(errno),
        };
        if look(self.pid).is_none_or(|(found, _)| found != self) {
            return Ok(());
        }
        pidfd_send_signal(&process, signal).or_else(gone)
    }
}

/// Asks all descendants to end. A stopped one goes on, so that it hears it.
pub(crate) fn ask_to_end() {
    for process in all() {
        for signal in [Signal::TERM, Signal::CONT] {
            // What may not be signalled is told when it is to be killed.
            let _ = process.signal(signal);
        }
    }
}

/// Kills all descendants that there are at this moment. Returns those that may not be.
pub(crate) fn kill() -> Vec<Pid> {
    let refused = |process: Process| process.signal(Signal::KILL).err().map(|_| process.pid);
    all().into_iter().filter_map(refused).collect()
}

/// What the children of this process came to, one after another.
pub(crate) enum Reaped {
    /// One has changed.
    Child(Pid, WaitStatus),
    /// Some live, and nothing has happened to them.
    Unchanged,
    /// There are none. For a subreaper: no descendants either.
    None,
}

/// Takes one child that has ended or was stopped off the kernel's list.
pub(crate) fn reap() -> Reaped {
    match wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
        Ok(Some((pid, status))) => Reaped::Child(pid, status),
        Ok(None) | Err(Errno::INTR) => Reaped::Unchanged,
        Err(_) => Reaped::None,
    }
}

/// Kills until no descendant is left, for at most `bound`. Says whether none is. Only for a subreaper.
pub(crate) async fn kill_all(bound: Duration) -> bool {
    let mut rounds = Rounds::new();
    let killing = async {
        loop {
            kill();
            loop {
                match reap() {
                    Reaped::Child(..) => {}
                    Reaped::Unchanged => break,
                    Reaped::None => return,
                }
            }
            sleep(rounds.pause()).await;
        }
    };
    tokio::time::timeout(bound, killing).await.is_ok()
}

/// Spaces rounds of killing: what was forked meanwhile is found at once, what cannot die is not asked a thousand times.
#[derive(Debug)]
pub(crate) struct Rounds(Duration);

impl Rounds {
    pub(crate) fn new() -> Self {
        Self(ROUND_MIN)
    }

    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (self.0 * 2).min(ROUND_MAX);
        pause
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_name_that_looks_like_fields_confuses_nothing() {
        let stat = "42 (a) S 1 (b) R 7 1 1 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 12345 0 0";
        let (parent, started) = parse(stat).unwrap();
        assert_eq!((parent.as_raw_nonzero().get(), started), (7, 12_345));
        assert!(parse("no such thing").is_none());
    }

    #[test]
    fn a_child_is_a_descendant_and_hears_signals() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid::from_child(&child);
        let found = all().into_iter().find(|process| process.pid == pid).unwrap();
        let impostor = Process { started: found.started + 1, ..found };
        impostor.signal(Signal::KILL).unwrap();
        assert!(child.try_wait().unwrap().is_none(), "another process of this number is not meant");
        found.signal(Signal::KILL).unwrap();
        child.wait().unwrap();
        found.signal(Signal::KILL).unwrap();
    }
}
