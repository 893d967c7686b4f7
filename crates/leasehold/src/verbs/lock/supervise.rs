//! Watches over a command that runs under a lock, through its reaper.

use std::ffi::OsString;
use std::io;
use std::time::Duration;

use leasehold_client::clock::{Clock, Moment};
use leasehold_client::{Loss, MultiGuard};
use rustix::process::{Pid, Signal, getpid, set_child_subreaper};
use tokio::process::Child;
use tokio::time::{MissedTickBehavior, interval};

use super::environment::Environment;
use super::terminal::{Stop, Terminal};
use crate::exit::Failure;
use crate::output::{note, printable};
use crate::reaper::control::{Channel, Order, Outgoing, Report, Theirs};
use crate::reaper::{Margins, ReaperArgs, descendants};
use crate::verbs::locks::why_text;
use crate::verbs::signals::{JobSignals, Signals};

/// How long a command may take to end once the cluster has said that the lock is gone: every moment of it is one too many.
const GONE_GRACE: Duration = Duration::from_millis(500);
/// How often the reaper is told how long the lease lasts.
const TELL_EVERY: Duration = Duration::from_millis(100);
/// How long killing may take where the reaper cannot do it.
const SWEEP_MAX: Duration = Duration::from_secs(10);

/// What the command runs under.
pub(super) struct Subject<'a> {
    /// In words.
    pub(super) title: &'a str,
    pub(super) guard: &'a MultiGuard,
    pub(super) ttl: Duration,
}

/// How a command ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// By itself, or by a signal (128 + its number).
    Exited(u8),
    /// It was ended, because the lock was lost or about to be.
    Lost(String),
}

/// Runs the command to its end. Nothing that came from it is left afterwards.
pub(super) async fn supervise(
    command: &[OsString],
    environment: &Environment,
    subject: &Subject<'_>,
    signals: &mut Signals,
) -> Result<Ending, Failure> {
    let failed = |error: io::Error| Failure::internal(format!("the command's reaper cannot be started: {error}"));
    // Should the reaper die, all that it had comes to us.
    set_child_subreaper(Some(getpid())).map_err(|error| failed(error.into()))?;
    let mut job = JobSignals::listen()?;
    let Channel { orders, mut reports, theirs } = Channel::new().map_err(failed)?;
    let mut watch = Watch::new(subject, orders);
    let mut reaper = watch.start_reaper(&theirs, command, environment).map_err(failed)?;
    let mut theirs = Some(theirs);
    let mut tell = interval(TELL_EVERY.min(subject.ttl / 30).max(Duration::from_millis(5)));
    tell.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // A loss comes before a look at the clock: nothing is left of a lost lease, and why it was lost would not be told.
            biased;
            report = reports.next() => match report {
                Some(report) => {
                    // It has opened them: from now on the end of the reports is its end.
                    theirs = None;
                    watch.take_in(report);
                }
                None => break,
            },
            // Before it has said anything, its reports have no end.
            _ = reaper.wait(), if theirs.is_some() => break,
            signal = signals.next() => watch.orders.send(&Order::Signal(signal)),
            signal = job.next() => watch.job_signal(signal),
            loss = subject.guard.lost(), if watch.lost.is_none() => watch.lose(&loss),
            _ = tell.tick() => watch.look_at_the_clock(),
        }
    }
    drop(theirs);
    while let Some(report) = reports.next().await {
        watch.take_in(report);
    }
    watch.end(reaper).await
}

/// What is known of a command that runs.
struct Watch<'a> {
    subject: &'a Subject<'a>,
    orders: Outgoing,
    terminal: Option<Terminal>,
    /// The command has the terminal whenever our job is in the foreground.
    direct: bool,
    clock: Clock,
    margins: Margins,
    /// When nothing of the command may be left, as the reaper knows it.
    until: Moment,
    group: Option<Pid>,
    exited: Option<u8>,
    /// Why the lock is lost, or about to be.
    lost: Option<String>,
    /// The time is up and the reaper has not done its work: somebody must have stopped it.
    overdue: bool,
}

impl<'a> Watch<'a> {
    fn new(subject: &'a Subject<'a>, orders: Outgoing) -> Self {
        let (clock, margins) = (Clock::system(), Margins::of(subject.ttl));
        let until = clock.now().after(subject.guard.deadline_left());
        Self {
            subject,
            orders,
            terminal: Terminal::controlling(),
            direct: false,
            clock,
            margins,
            until,
            group: None,
            exited: None,
            lost: None,
            overdue: false,
        }
    }

    /// To be called on the main thread: the end of the thread, not of the process, is what the reaper hears of.
    fn start_reaper(&mut self, theirs: &Theirs, command: &[OsString], environment: &Environment) -> io::Result<Child> {
        let home = self.terminal.as_ref().and_then(Terminal::to_give);
        self.direct = home.is_some();
        let mut reaper = ReaperArgs::command(theirs, self.until, self.margins, home, command);
        for (name, value) in &environment.0 {
            match value {
                Some(value) => reaper.env(name, value),
                None => reaper.env_remove(name),
            };
        }
        reaper.spawn()
    }

    fn take_in(&mut self, report: Report) {
        match report {
            Report::Started(group) => {
                self.group = Some(group);
                if let Some(terminal) = &mut self.terminal
                    && self.direct
                {
                    terminal.is_taken_by(group);
                }
            }
            Report::Stopped(by) => self.stopped(by),
            Report::Expiring => self.running_out(),
            Report::Exited(code) => {
                self.exited = Some(code);
                self.take_terminal_back();
            }
        }
    }

    fn stopped(&mut self, by: Signal) {
        let (Some(terminal), Some(group)) = (&mut self.terminal, self.group) else { return };
        if terminal.stopped(group, by) == Stop::GoOn {
            self.orders.send(&Order::Signal(Signal::CONT));
        }
    }

    fn job_signal(&mut self, signal: Signal) {
        if signal != Signal::CONT {
            return self.orders.send(&Order::Signal(signal));
        }
        // Back in the foreground, perhaps.
        if let (Some(terminal), Some(group), None) = (&mut self.terminal, self.group, self.exited)
            && self.direct
        {
            terminal.give(group);
        }
    }

    fn look_at_the_clock(&mut self) {
        let now = self.clock.now();
        if self.lost.is_none() {
            self.until = now.after(self.subject.guard.deadline_left());
            self.orders.send(&Order::Until(self.until));
        }
        if self.until.since(now) <= self.margins.kill / 2 {
            self.overdue = true;
            self.running_out();
            descendants::kill();
        }
    }

    fn lose(&mut self, loss: &Loss) {
        let grace = match loss {
            Loss::Expired => Duration::ZERO,
            Loss::Ended { .. } | Loss::SessionEnded { .. } | Loss::Closed => GONE_GRACE,
        };
        // Of several, those that it is about.
        let lost: Vec<String> = self.subject.guard.lost_locks().into_iter().map(|(name, _)| name).collect();
        let some = !lost.is_empty() && lost.len() < self.subject.guard.grants().len();
        let which = if some { format!("{}: ", printable(&lost.join(", "))) } else { String::new() };
        self.losing(format!("{which}{}", why_text(loss)));
        self.until = self.until.min(self.clock.now().after(grace + self.margins.kill));
        self.orders.send(&Order::Until(self.until));
        self.orders.send(&Order::End(grace));
    }

    fn running_out(&mut self) {
        if self.lost.is_none() {
            self.losing("its lease runs out and cannot be renewed".to_owned());
        }
    }

    fn losing(&mut self, why: String) {
        note(&format!("leasehold: {} is being lost: {why}; ending the command", self.subject.title));
        self.lost = Some(why);
    }

    fn take_terminal_back(&mut self) {
        if let Some(terminal) = &mut self.terminal {
            terminal.take_back(self.lost.is_some());
        }
    }

    /// The reaper has ended, and so has everything else, unless it was ended itself.
    async fn end(mut self, mut reaper: Child) -> Result<Ending, Failure> {
        let status = reaper.wait().await;
        if self.overdue || !status.as_ref().is_ok_and(std::process::ExitStatus::success) {
            descendants::kill_all(SWEEP_MAX).await;
        }
        self.take_terminal_back();
        match (self.lost, self.exited, status) {
            (Some(why), ..) => Ok(Ending::Lost(why)),
            (None, Some(code), _) => Ok(Ending::Exited(code)),
            (None, None, Ok(status)) => {
                Err(Failure::internal(format!("the command was ended, because its reaper had ended: {status}")))
            }
            (None, None, Err(error)) => Err(Failure::internal(format!("the reaper cannot be waited for: {error}"))),
        }
    }
}
