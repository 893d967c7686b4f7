//! The terminal that `leasehold lock` was started on, and job control on it.
//!
//! The command has a process group of its own, so it must be made the terminal's foreground group before it may read from
//! there, and a shell that controls our job must not notice: it sees our group alone. Where the command talks to the
//! terminal directly it gets it at once; in a pipeline, or with its output elsewhere, it gets it when it asks, for the others
//! of our group may need it meanwhile.

use std::fs::File;
use std::io::IsTerminal;

use rustix::process::{Pid, Signal, getpgid, getpgrp, getpid, getppid, getsid, kill_current_process_group};
use rustix::termios::{Termios, tcgetattr, tcgetpgrp, tcsetpgrp};

use crate::reaper::foreground::{controlling_terminal, make_foreground};

/// The controlling terminal of this process.
#[derive(Debug)]
pub(super) struct Terminal {
    file: File,
    /// Our own process group.
    home: Pid,
    /// The command's process group, while it has the terminal.
    given: Option<Pid>,
    /// How the terminal was set before.
    settings: Option<Termios>,
}

/// What to do about a command that was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Nothing: whoever stopped it knows why.
    Leave,
    /// It goes on.
    GoOn,
}

impl Terminal {
    /// `None` for a process without one.
    pub(super) fn controlling() -> Option<Self> {
        let file = controlling_terminal()?;
        let settings = tcgetattr(&file).ok();
        Some(Self { file, home: getpgrp(), given: None, settings })
    }

    /// Our process group, if the command is to have the terminal from the beginning: if we have it now, and the command is
    /// to talk to it on both ends, so that nobody else of our group can need it.
    pub(super) fn to_give(&self) -> Option<Pid> {
        let direct = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        (direct && self.is_ours()).then_some(self.home)
    }

    /// The command takes the terminal itself, as its first act.
    pub(super) fn is_taken_by(&mut self, group: Pid) {
        self.given = Some(group);
    }

    /// Makes `group` the foreground group, if we are that ourselves.
    pub(super) fn give(&mut self, group: Pid) {
        if !self.is_ours() {
            return;
        }
        // A group that has ended meanwhile cannot have it.
        if tcsetpgrp(&self.file, group).is_ok() {
            self.given = Some(group);
        }
    }

    /// Makes our own group the foreground group again, if the command had been that. What was killed leaves the terminal as
    /// it was before, if `restore` is set.
    pub(super) fn take_back(&mut self, restore: bool) {
        if self.given.take().is_none() {
            return;
        }
        make_foreground(&self.file, self.home, self.settings.as_ref().filter(|_| restore));
    }

    /// The command's group was stopped: what now? If our whole job is to stop, this returns when it goes on.
    pub(super) fn stopped(&mut self, group: Pid, by: Signal) -> Stop {
        let wants_terminal = by == Signal::TTIN || by == Signal::TTOU;
        if wants_terminal {
            self.give(group);
            // Now, or since it was stopped.
            if self.is_of(group) {
                return Stop::GoOn;
            }
        }
        if !has_job_control(self.home) {
            // Nobody could let us go on. ^Z has no effect then, as for every process without a shell above it.
            return if by == Signal::TSTP { Stop::GoOn } else { Stop::Leave };
        }
        let had_it = self.given.is_some();
        self.take_back(false);
        // The whole job, so that the shell sees it stopped. We stop here, too, until it is told to go on.
        let _ = kill_current_process_group(Signal::STOP);
        if had_it || wants_terminal {
            self.give(group);
        }
        Stop::GoOn
    }

    fn is_ours(&self) -> bool {
        self.is_of(self.home)
    }

    fn is_of(&self, group: Pid) -> bool {
        tcgetpgrp(&self.file).is_ok_and(|foreground| foreground == group)
    }
}

/// Whether a process of our session, outside of our group, looks after it: only then does stopping make sense.
fn has_job_control(home: Pid) -> bool {
    let Ok(session) = getsid(None) else { return false };
    let mut parent = (getpid() != session).then(getppid).flatten();
    while let Some(pid) = parent {
        if getsid(Some(pid)) != Ok(session) {
            return false;
        }
        if getpgid(Some(pid)) != Ok(home) {
            return true;
        }
        parent = parent_of(pid);
    }
    false
}

fn parent_of(pid: Pid) -> Option<Pid> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    Pid::from_raw(parent.trim().parse().ok()?)
}
