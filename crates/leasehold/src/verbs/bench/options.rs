//! The command line of `leasehold bench`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::compare::CompareArgs;
use super::connection::Target;
use super::load::Workload;
use crate::cli::{ClientArgs, OutputArgs, duration};
use crate::exit::Failure;

/// Callers of one run: a node has 4,096 operations of a stream under way, and more callers than that only wait.
pub(super) const CALLERS_MAX: usize = 100_000;
/// Connections of one run.
pub(super) const CONNECTIONS_MAX: usize = 1_024;
/// Operations of one stream that a node works on at once.
const CALLERS_PER_CONNECTION_MAX: usize = 4_096;
/// Sessions of one run.
const SESSIONS_MAX: usize = 1_000_000;
/// Locks that are held beside the load.
const HELD_MAX: usize = 2_000_000;
/// Locks of one run.
const LOCKS_MAX: usize = 1_000;
/// Longest run.
const LENGTH_MAX: Duration = Duration::from_secs(12 * 60 * 60);
/// Longest warm-up: with the longest run less than a session may live.
const WARM_UP_MAX: Duration = Duration::from_secs(60 * 60);
/// Shortest run.
const LENGTH_MIN: Duration = Duration::from_millis(100);

#[derive(Debug, Subcommand)]
pub(crate) enum BenchVerb {
    /// Each caller acquires and releases a lock of its own
    Uncontended(LoadArgs),
    /// All callers wait for the same few locks; counts handovers
    Contended(LocksArgs),
    /// All callers try locks that are held, and are told so
    TryBusy(LocksArgs),
    /// Keeps many sessions alive
    Sessions(SessionsArgs),
    /// 70 % own locks, 15 % tries of held ones, 10 % waits for contended ones, 5 % reads
    Mixed(LocksArgs),
    /// Leases that run out while the next one waits; measures how late that is noticed
    Expiry(ExpiryArgs),
    /// The same work against other systems and Leasehold, in turn, on clusters that it starts itself
    Compare(CompareArgs),
}

/// What every run takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct LoadArgs {
    #[command(flatten)]
    pub(super) client: ClientArgs,
    /// Which of the nodes to connect to
    #[arg(long, value_enum, default_value_t = Target::All)]
    pub(super) target: Target,
    /// Measure three nodes that this starts itself, instead of --endpoints
    #[arg(long)]
    pub(super) start: bool,
    /// Callers: each has one operation under way
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = at_most(CALLERS_MAX))]
    pub(super) callers: usize,
    /// Connections that the callers share (at most as many as callers)
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = at_most(CONNECTIONS_MAX))]
    pub(super) connections: usize,
    /// Locks that are held all the time beside the load, each under a lease of its own (at most 2000000)
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = at_most_or_none(HELD_MAX))]
    pub(super) held: usize,
    /// Lets all of --held run out at once, so long after the first of them was taken (default: they outlive the run)
    #[arg(long, value_parser = duration, value_name = "DUR", requires = "held")]
    pub(super) held_for: Option<Duration>,
    /// Unary calls instead of streams
    #[arg(long)]
    pub(super) unary: bool,
    /// Length of what is measured, in seconds
    #[arg(long, default_value = "5", value_name = "S", value_parser = seconds)]
    pub(super) seconds: Duration,
    /// Load before that, which does not count
    #[arg(long, default_value = "1s", value_parser = warm_up, value_name = "DUR")]
    pub(super) warm_up: Duration,
    /// Time to live of a lease or session (default: 30s; sessions 10s, expiry 1s)
    #[arg(long, value_parser = duration, value_name = "DUR")]
    pub(super) ttl: Option<Duration>,
    /// Draw throughput over time and latencies into this file
    #[arg(long, value_name = "FILE")]
    pub(super) svg: Option<PathBuf>,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct LocksArgs {
    /// Locks that the callers share
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = at_most(LOCKS_MAX))]
    pub(super) locks: usize,
    #[command(flatten)]
    pub(super) load: LoadArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct SessionsArgs {
    /// Sessions to keep alive; --callers is not used: up to 500 sessions are renewed by one message
    #[arg(long, default_value_t = 1_000, value_name = "N", value_parser = at_most(SESSIONS_MAX))]
    pub(super) sessions: usize,
    /// Between two renewals of a session (default: a third of --ttl)
    #[arg(long, value_parser = duration, value_name = "DUR")]
    pub(super) every: Option<Duration>,
    #[command(flatten)]
    pub(super) load: LoadArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ExpiryArgs {
    /// Callers that acquire and release locks of their own meanwhile
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(super) background: usize,
    #[command(flatten)]
    pub(super) load: LoadArgs,
}

/// Parses a number from 1 up to `max`.
pub(super) fn at_most(max: usize) -> impl Fn(&str) -> Result<usize, String> + Clone {
    move |text| {
        let number = whole_number(text)?;
        if (1..=max).contains(&number) { Ok(number) } else { Err(format!("{number} is not between 1 and {max}")) }
    }
}

/// Parses a number from 0 up to `max`.
fn at_most_or_none(max: usize) -> impl Fn(&str) -> Result<usize, String> + Clone {
    move |text| {
        let number = whole_number(text)?;
        if number <= max { Ok(number) } else { Err(format!("{number} is above {max}")) }
    }
}

fn whole_number(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("{text:?} is not a whole number"))
}

/// Parses a length in seconds.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| format!("{text:?} is not a number of seconds"))?;
    let length = Duration::try_from_secs_f64(number).unwrap_or_default();
    if (LENGTH_MIN..=LENGTH_MAX).contains(&length) {
        return Ok(length);
    }
    Err(format!("{text} is not between {} and {}", LENGTH_MIN.as_secs_f64(), LENGTH_MAX.as_secs()))
}

/// Parses the length of a warm-up.
pub(super) fn warm_up(text: &str) -> Result<Duration, String> {
    let length = duration(text)?;
    if length <= WARM_UP_MAX { Ok(length) } else { Err(format!("{length:?} is above {WARM_UP_MAX:?}")) }
}

impl LoadArgs {
    /// The time to live that a workload has by default.
    pub(super) fn ttl(&self, workload: &Workload) -> Duration {
        self.ttl.unwrap_or(match workload {
            Workload::Sessions { .. } => Duration::from_secs(10),
            Workload::Expiry { .. } => Duration::from_secs(1),
            _ => leasehold_client::TTL_DEFAULT,
        })
    }
}

impl BenchVerb {
    /// The workload of a single run, with its flags; none of `compare`.
    pub(super) fn workload(&self) -> Option<(Workload, &LoadArgs)> {
        Some(match self {
            Self::Uncontended(load) => (Workload::Uncontended, load),
            Self::Contended(args) => (Workload::Contended { locks: args.locks }, &args.load),
            Self::TryBusy(args) => (Workload::TryBusy { locks: args.locks }, &args.load),
            Self::Mixed(args) => (Workload::Mixed { locks: args.locks }, &args.load),
            Self::Expiry(args) => (Workload::Expiry { background: args.background }, &args.load),
            Self::Sessions(args) => {
                let ttl = args.load.ttl.unwrap_or(Duration::from_secs(10));
                let every = args.every.unwrap_or(ttl / 3);
                (Workload::Sessions { sessions: args.sessions, every }, &args.load)
            }
            Self::Compare(_) => return None,
        })
    }
}

/// What the parser of the command line cannot see: flags that do not go together.
pub(super) fn check(workload: &Workload, load: &LoadArgs, connections: usize) -> Result<(), Failure> {
    let ttl = load.ttl(workload);
    let problem = match workload {
        Workload::Sessions { every, .. } if every.is_zero() || *every >= ttl => {
            Some(format!("--every: {every:?} is not above zero and below --ttl ({ttl:?})"))
        }
        Workload::Expiry { .. } if ttl > Duration::from_secs(20) => {
            Some(format!("--ttl: {ttl:?} is above 20s, the longest that expiry waits for"))
        }
        Workload::Expiry { background } if *background > CALLERS_MAX => {
            Some(format!("--background: {background} is above {CALLERS_MAX}"))
        }
        Workload::Sessions { .. } => None,
        _ => return check_spread(load.callers, connections),
    };
    problem.map_or(Ok(()), |problem| Err(Failure::usage(problem)))
}

/// A node does not work on more than so many operations of a stream at once.
pub(super) fn check_spread(callers: usize, connections: usize) -> Result<(), Failure> {
    if callers.div_ceil(connections.max(1)) <= CALLERS_PER_CONNECTION_MAX {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "--callers: {callers} on {connections} connections are more than {CALLERS_PER_CONNECTION_MAX} on each"
    )))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Verb};

    fn parsed(line: &str) -> Result<BenchVerb, clap::Error> {
        let words = ["leasehold", "bench"].into_iter().chain(line.split_whitespace());
        let Verb::Bench(verb) = Cli::try_parse_from(words)?.verb else { panic!("bench") };
        Ok(verb)
    }

    fn refusal(line: &str) -> String {
        let verb = match parsed(line) {
            Ok(verb) => verb,
            Err(error) => return error.to_string(),
        };
        let (workload, load) = verb.workload().unwrap();
        check(&workload, load, load.connections).expect_err("is refused").message
    }

    #[test]
    fn what_cannot_be_is_refused_by_the_flags_name_and_limit() {
        for (line, said) in [
            ("uncontended --callers 0", "'--callers <N>': 0 is not between 1 and 100000"),
            ("uncontended --connections 2000", "'--connections <N>': 2000 is not between 1 and 1024"),
            ("uncontended --seconds 0", "'--seconds <S>': 0 is not between 0.1 and 43200"),
            ("uncontended --seconds many", "\"many\" is not a number of seconds"),
            ("uncontended --warm-up 2h", "'--warm-up <DUR>': 7200s is above 3600s"),
            ("contended --locks 1001", "'--locks <N>': 1001 is not between 1 and 1000"),
            ("uncontended --callers 9000 --connections 2", "--callers: 9000 on 2 connections are more than 4096"),
            ("uncontended --held 2000001", "'--held <N>': 2000001 is above 2000000"),
            ("sessions --ttl 3s --every 3s", "--every: 3s is not above zero and below --ttl (3s)"),
            ("expiry --ttl 1m", "--ttl: 60s is above 20s"),
        ] {
            let told = refusal(line);
            assert!(told.contains(said), "{line}: {told}");
        }
    }

    #[test]
    fn sessions_are_renewed_three_times_in_their_time_to_live() {
        let verb = parsed("sessions --ttl 9s").unwrap();
        let (workload, load) = verb.workload().unwrap();
        assert_eq!(workload, Workload::Sessions { sessions: 1_000, every: Duration::from_secs(3) });
        assert_eq!(load.ttl(&workload), Duration::from_secs(9));
    }
}
