//! What `leasehold lock` and its reaper tell each other: lines of text over two pipes.
//!
//! Both pipes are made by `leasehold lock`, which keeps both ends of each; the reaper opens the ends that it needs under
//! `/proc/PID/fd`. So nothing is inherited, by the command least of all, and the end of `leasehold lock`, however it comes,
//! is the end of the orders.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use leasehold_client::clock::{Clock, Moment, TimeSource};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::unix::pipe;

/// What the reaper is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// The lease is safe to count on until then; nothing may be left of the command at that moment.
    Until(Moment),
    /// Pass a signal on to the command's process group.
    Signal(Signal),
    /// End everything: TERM now, KILL after this long.
    End(Duration),
}

/// What the reaper has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Report {
    /// The command runs, in a process group of this number.
    Started(Pid),
    /// The command was stopped by this signal.
    Stopped(Signal),
    /// The lease runs out: everything is being ended.
    Expiring,
    /// The command has ended with this exit code (128 + the signal that ended it).
    Exited(u8),
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Until(moment) => write!(f, "until {}", nanos(*moment)),
            Self::Signal(signal) => write!(f, "signal {}", signal.as_raw()),
            Self::End(grace) => write!(f, "end {}", grace.as_millis()),
        }
    }
}

impl FromStr for Order {
    type Err = Garbled;

    fn from_str(line: &str) -> Result<Self, Garbled> {
        let order = match parts(line) {
            ("until", Some(number)) => Some(Self::Until(moment(number))),
            ("signal", Some(number)) => signal(number).map(Self::Signal),
            ("end", Some(number)) => Some(Self::End(Duration::from_millis(number))),
            _ => None,
        };
        order.ok_or_else(|| Garbled(line.to_owned()))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started(pid) => write!(f, "started {}", pid.as_raw_nonzero()),
            Self::Stopped(signal) => write!(f, "stopped {}", signal.as_raw()),
            Self::Expiring => f.write_str("expiring"),
            Self::Exited(code) => write!(f, "exited {code}"),
        }
    }
}

impl FromStr for Report {
    type Err = Garbled;

    fn from_str(line: &str) -> Result<Self, Garbled> {
        let report = match parts(line) {
            ("started", Some(number)) => i32::try_from(number).ok().and_then(Pid::from_raw).map(Self::Started),
            ("stopped", Some(number)) => signal(number).map(Self::Stopped),
            ("expiring", None) => Some(Self::Expiring),
            ("exited", Some(number)) => u8::try_from(number).ok().map(Self::Exited),
            _ => None,
        };
        report.ok_or_else(|| Garbled(line.to_owned()))
    }
}

/// A line that none of us writes.
#[derive(Debug)]
pub(crate) struct Garbled(String);

impl fmt::Display for Garbled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot be understood: {:?}", self.0)
    }
}

fn parts(line: &str) -> (&str, Option<u64>) {
    match line.split_once(' ') {
        Some((word, number)) => (word, number.parse().ok()),
        None => (line, None),
    }
}

fn signal(number: u64) -> Option<Signal> {
    i32::try_from(number).ok().and_then(Signal::from_named_raw)
}

/// A moment as processes tell it to each other: nanoseconds of `CLOCK_BOOTTIME`, which all of one machine share.
pub(crate) fn nanos(moment: Moment) -> u64 {
    u64::try_from(moment.since(origin()).as_nanos()).unwrap_or(u64::MAX)
}

/// The moment that another process told.
pub(crate) fn moment(nanos: u64) -> Moment {
    origin().after(Duration::from_nanos(nanos))
}

fn origin() -> Moment {
    struct Origin;
    impl TimeSource for Origin {
        fn boottime(&self) -> Duration {
            Duration::ZERO
        }
    }
    Clock::new(Arc::new(Origin)).now()
}

/// Lines that arrive.
#[derive(Debug)]
pub(crate) struct Incoming {
    lines: Lines<BufReader<pipe::Receiver>>,
}

impl Incoming {
    pub(crate) fn new(pipe: pipe::Receiver) -> Self {
        Self { lines: BufReader::new(pipe).lines() }
    }

    /// The next message; `None` when the other side has gone, or talks nonsense. Dropping the future loses none.
    pub(crate) async fn next<T: FromStr>(&mut self) -> Option<T> {
        let line = self.lines.next_line().await.ok()??;
        line.parse().ok()
    }
}

/// Lines that go out.
#[derive(Debug)]
pub(crate) struct Outgoing(File);

impl Outgoing {
    /// What is written to `pipe` never waits.
    pub(crate) fn new(pipe: io::PipeWriter) -> io::Result<Self> {
        let flags = fcntl_getfl(&pipe)?;
        fcntl_setfl(&pipe, flags | OFlags::NONBLOCK)?;
        Ok(Self(OwnedFd::from(pipe).into()))
    }

    /// The same, of another process.
    pub(crate) fn open(path: &str) -> io::Result<Self> {
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).map_err(io::Error::other)?;
        Ok(Self(File::options().write(true).custom_flags(flags).open(path)?))
    }

    /// Sends a message; a line is shorter than what a pipe takes at once. One that finds the pipe full or nobody reading is
    /// lost: what must not fail does not depend on it.
    pub(crate) fn send(&self, message: &impl fmt::Display) {
        let _ = (&self.0).write(format!("{message}\n").as_bytes());
    }
}

/// The side of `leasehold lock`: its own ends, and what the reaper must know to open the others.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) orders: Outgoing,
    pub(crate) reports: Incoming,
    /// The ends that the reaper opens for itself.
    pub(crate) theirs: Theirs,
}

/// Kept open until the reaper has opened them.
#[derive(Debug)]
pub(crate) struct Theirs {
    orders: io::PipeReader,
    reports: io::PipeWriter,
}

impl Theirs {
    /// Numbers of the descriptors, for the command line of the reaper.
    pub(crate) fn numbers(&self) -> [String; 2] {
        [self.orders.as_raw_fd().to_string(), self.reports.as_raw_fd().to_string()]
    }
}

impl Channel {
    pub(crate) fn new() -> io::Result<Self> {
        let (their_orders, orders) = io::pipe()?;
        let (reports, their_reports) = io::pipe()?;
        Ok(Self {
            orders: Outgoing::new(orders)?,
            reports: Incoming::new(pipe::Receiver::from_owned_fd(reports.into())?),
            theirs: Theirs { orders: their_orders, reports: their_reports },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_as_they_were_written() {
        let now = Clock::system().now();
        for order in [Order::Until(now), Order::Signal(Signal::HUP), Order::End(Duration::from_millis(500))] {
            assert_eq!(order.to_string().parse::<Order>().unwrap(), order);
        }
        let pid = Pid::from_raw(77).unwrap();
        for report in [Report::Started(pid), Report::Stopped(Signal::TTIN), Report::Expiring, Report::Exited(255)] {
            assert_eq!(report.to_string().parse::<Report>().unwrap(), report);
        }
    }

    #[test]
    fn nonsense_is_nothing() {
        for line in ["", "until", "until soon", "signal 9999", "end -1"] {
            assert!(line.parse::<Order>().is_err(), "{line}");
        }
        for line in ["", "started 0", "exited 256", "stopped", "expiring 1"] {
            assert!(line.parse::<Report>().is_err(), "{line}");
        }
    }
}
