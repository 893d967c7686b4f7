//! The reaper: the process between `leasehold lock` and the command.
//!
//! It starts the command, and it is the one that ends it and everything that came from it, whatever sessions and process
//! groups these have made: orphans among them become its own children (child subreaper). It knows the end of the lease
//! itself, so that a `leasehold lock` that is stopped or starved endangers nothing, and it hears of the death of
//! `leasehold lock` (end of a pipe, parent-death signal). It ends when none of them is left.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitCode, ExitStatus};
use std::time::Duration;

use leasehold_client::clock::{Clock, Moment};
use rustix::process::{
    Pid, Signal, WaitStatus, getpid, getppid, kill_process_group, set_child_subreaper, set_parent_process_death_signal,
};
use tokio::net::unix::pipe;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use crate::exit::{Exit, Failure, report};
use crate::output::note;

pub(crate) mod control;
pub(crate) mod descendants;
pub(crate) mod foreground;
mod launch;
mod margins;

use control::{Incoming, Order, Outgoing, Report};
use descendants::{Reaped, Rounds};
pub(crate) use launch::{LaunchArgs, run as launch};
pub(crate) use margins::Margins;

/// This very binary, even if its file has been replaced.
const OWN_BINARY: &str = "/proc/self/exe";
/// How long processes that the command left behind may take to end.
const LEFTOVER_GRACE: Duration = Duration::from_secs(1);
/// The longest that a timer is trusted: timers do not count suspend, leases do.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Processes that cannot be killed are told of after so many rounds.
const ROUNDS_IN_SILENCE: u32 = 20;

/// Arguments of the hidden `leasehold reaper`, which only `leasehold lock` gives.
#[derive(Debug, clap::Args)]
pub(crate) struct ReaperArgs {
    /// Process id of `leasehold lock`
    #[arg(long)]
    parent: i32,
    /// Its descriptor of the pipe of orders
    #[arg(long)]
    orders: u32,
    /// Its descriptor of the pipe of reports
    #[arg(long)]
    reports: u32,
    /// End of the lease as known now, in ns of CLOCK_BOOTTIME
    #[arg(long)]
    until: u64,
    /// How long before that everything is told to end, in ms
    #[arg(long)]
    term_ms: u64,
    /// And killed, in ms
    #[arg(long)]
    kill_ms: u64,
    /// Process group of `leasehold lock`, if the command gets the terminal from it at once
    #[arg(long)]
    home: Option<i32>,
    /// The command
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

impl ReaperArgs {
    /// The command line of a reaper.
    pub(crate) fn command(
        theirs: &control::Theirs,
        until: Moment,
        margins: Margins,
        home: Option<Pid>,
        command: &[OsString],
    ) -> tokio::process::Command {
        let [orders, reports] = theirs.numbers();
        let mut reaper = tokio::process::Command::new(OWN_BINARY);
        reaper.arg0("leasehold").arg("reaper");
        reaper.args(["--parent", &std::process::id().to_string(), "--orders", &orders, "--reports", &reports]);
        reaper.args(["--until", &control::nanos(until).to_string()]);
        reaper.args(["--term-ms", &margins.term.as_millis().to_string()]);
        reaper.args(["--kill-ms", &margins.kill.as_millis().to_string()]);
        if let Some(home) = home {
            reaper.args(["--home", &home.as_raw_nonzero().to_string()]);
        }
        // A group of its own: what is meant for the group of `leasehold lock` is passed on by that alone.
        reaper.arg("--").args(command).process_group(0);
        reaper
    }
}

/// `leasehold reaper`, on the main thread: what it starts dies with threads otherwise.
pub(crate) fn run(args: ReaperArgs) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    report(match runtime {
        Ok(runtime) => runtime.block_on(reap(args)),
        Err(error) => Err(Failure::internal(format!("no runtime: {error}"))),
    })
}

async fn reap(args: ReaperArgs) -> Result<Exit, Failure> {
    let failed = |what: &str, error: std::io::Error| Failure::internal(format!("the reaper has no {what}: {error}"));
    // Every change of a child, and the death of the parent, which is looked at then.
    let mut changes = signal(SignalKind::child()).map_err(|error| failed("signals", error))?;
    set_parent_process_death_signal(Some(Signal::CHILD)).map_err(|error| failed("parent", error.into()))?;
    set_child_subreaper(Some(getpid())).map_err(|error| failed("children", error.into()))?;
    let pipe = |number: u32| format!("/proc/{}/fd/{number}", args.parent);
    let orders = pipe::OpenOptions::new().open_receiver(pipe(args.orders));
    let reports = Outgoing::open(&pipe(args.reports));
    let mut orders = Incoming::new(orders.map_err(|error| failed("orders", error))?);
    let reports = reports.map_err(|error| failed("reports", error))?;
    let (parent, clock) = (Pid::from_raw(args.parent), Clock::system());
    if getppid() != parent {
        return Err(Failure::internal("leasehold reaper is started by leasehold lock only"));
    }
    let command = match start(args.home, &args.command) {
        Ok(command) => command,
        Err(code) => {
            reports.send(&Report::Exited(code));
            return Ok(Exit::Ok);
        }
    };
    reports.send(&Report::Started(command));
    let margins = Margins { term: Duration::from_millis(args.term_ms), kill: Duration::from_millis(args.kill_ms) };
    let until = control::moment(args.until);
    let mut reaper = Reaper { command, exited: false, until, margins, phase: Phase::Running, clock, reports };
    while reaper.take_in_children() {
        reaper.look_at_the_clock();
        tokio::select! {
            order = orders.next(), if !reaper.is_killing() => match order {
                Some(order) => reaper.obey(order),
                None => reaper.kill(),
            },
            _ = changes.recv() => if getppid() != parent { reaper.kill() },
            () = sleep(reaper.nap()) => {}
        }
    }
    Ok(Exit::Ok)
}

/// Starts the command in a process group of its own; if it cannot be run, says so, and how a shell would exit.
fn start(home: Option<i32>, command: &[OsString]) -> Result<Pid, u8> {
    let Some((program, arguments)) = command.split_first() else { return Err(127) };
    let mut starting = match home {
        Some(home) => LaunchArgs::command(home, command),
        None => {
            let mut starting = Command::new(program);
            starting.args(arguments);
            starting
        }
    };
    // Its end is awaited with that of all others.
    let started = starting.process_group(0).spawn();
    started.map(|child| Pid::from_child(&child)).map_err(|error| unrunnable(program, &error))
}

/// Tells that a program cannot be run. The exit code is the one of shells.
fn unrunnable(program: &OsStr, error: &std::io::Error) -> u8 {
    note(&format!("leasehold: {} cannot be run: {error}", program.display()));
    if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 }
}

struct Reaper {
    /// The command, and its process group.
    command: Pid,
    exited: bool,
    until: Moment,
    margins: Margins,
    phase: Phase,
    clock: Clock,
    reports: Outgoing,
}

enum Phase {
    Running,
    /// Everything was told to end, and is killed then.
    Ending(Moment),
    Killing {
        rounds: Rounds,
        count: u32,
    },
}

impl Reaper {
    /// Says whether any child is left.
    fn take_in_children(&mut self) -> bool {
        loop {
            match descendants::reap() {
                Reaped::Child(pid, status) if pid == self.command => self.command_changed(status),
                Reaped::Child(..) => {}
                Reaped::Unchanged => return true,
                Reaped::None => return false,
            }
        }
    }

    fn command_changed(&mut self, status: WaitStatus) {
        if let Some(signal) = status.stopping_signal() {
            if let Some(signal) = Signal::from_named_raw(signal) {
                self.reports.send(&Report::Stopped(signal));
            }
            return;
        }
        self.exited = true;
        self.reports.send(&Report::Exited(exit_code(status)));
        self.end(LEFTOVER_GRACE);
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Until(until) => self.until = until,
            // Its number is its own until its end has been taken in.
            Order::Signal(signal) if !self.exited => {
                // A group that is gone hears nothing.
                let _ = kill_process_group(self.command, signal);
            }
            Order::Signal(_) => {}
            Order::End(grace) => self.end(grace),
        }
    }

    /// TERM, and KILL after `grace`, unless that is under way.
    fn end(&mut self, grace: Duration) {
        if matches!(self.phase, Phase::Running) {
            self.phase = Phase::Ending(self.clock.now().after(grace));
            descendants::ask_to_end();
        }
    }

    fn kill(&mut self) {
        if !self.is_killing() {
            self.phase = Phase::Killing { rounds: Rounds::new(), count: 0 };
        }
    }

    fn is_killing(&self) -> bool {
        matches!(self.phase, Phase::Killing { .. })
    }

    fn look_at_the_clock(&mut self) {
        let now = self.clock.now();
        let left = self.until.since(now);
        match &self.phase {
            Phase::Running if left <= self.margins.term => {
                self.reports.send(&Report::Expiring);
                self.end(self.margins.term);
            }
            Phase::Ending(at) if now >= *at => self.kill(),
            _ => {}
        }
        if left <= self.margins.kill {
            self.kill();
        }
        if let Phase::Killing { count, .. } = &mut self.phase {
            if !self.exited {
                // At least that, where /proc cannot be read.
                let _ = kill_process_group(self.command, Signal::KILL);
            }
            let refused = descendants::kill();
            *count += 1;
            if *count == ROUNDS_IN_SILENCE && !refused.is_empty() {
                let pids: Vec<String> = refused.iter().map(|pid| pid.as_raw_nonzero().to_string()).collect();
                note(&format!("leasehold: processes {} run on: they may not be killed", pids.join(", ")));
            }
        }
    }

    fn nap(&mut self) -> Duration {
        let now = self.clock.now();
        let left = self.until.since(now);
        let nap = match &mut self.phase {
            Phase::Running => left.saturating_sub(self.margins.term),
            Phase::Ending(at) => at.since(now).min(left.saturating_sub(self.margins.kill)),
            Phase::Killing { rounds, .. } => rounds.pause(),
        };
        // Timers are rounded up to whole milliseconds; a nap of nothing would be none.
        nap.clamp(Duration::from_millis(1), LOOK_EVERY)
    }
}

/// As shells have it.
fn exit_code(status: WaitStatus) -> u8 {
    let status = ExitStatus::from_raw(status.as_raw());
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(255)
}
