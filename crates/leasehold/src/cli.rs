//! The command line: its verbs, and what several of them take.

use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand};
use leasehold_client::{ClientOptions, SessionId, TTL_DEFAULT};

use crate::dev::DevArgs;
use crate::output::Format;
use crate::reaper::{LaunchArgs, ReaperArgs};
use crate::serve::ServeArgs;
use crate::verbs::{
    AcquireArgs, BenchVerb, CheckArgs, CompletionsArgs, ConvertArgs, DebugLogArgs, DemoArgs, ElectArgs,
    ForceReleaseArgs, GetArgs, KeepAliveArgs, LockArgs, LsArgs, ManArgs, ObserveArgs, RaiseLevelArgs, ReleaseArgs,
    RenewArgs, SessionArgs, SessionLsArgs, SessionOpenArgs, SetValueArgs, StatusArgs, WatchArgs,
};

/// A Raft-replicated lock service: named locks, leases, fencing tokens.
#[derive(Debug, Parser)]
#[command(name = "leasehold", version, max_term_width = 100, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 done, 64 usage, 65 refused or stale, 69 unavailable or fate unknown, 70 internal, \
                  75 not acquired, 76 lock lost."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What there is to know for whoever writes CMD.
const COMMAND_HELP: &str = "\
CMD is told what it holds: LEASEHOLD_LOCK (names, a line each), LEASEHOLD_TOKEN (the fencing token, of one lock alone), \
LEASEHOLD_TOKENS (a line \"TOKEN NAME\" for each), LEASEHOLD_LEASE, and how to reach the cluster: LEASEHOLD_ENDPOINTS, \
LEASEHOLD_NAMESPACE. It has a process group of its own, which TERM, INT, HUP and QUIT are passed on to. When it has ended, or the \
lock is being lost, everything that came from it is ended: TERM, then KILL, before the lease ends.\n\n\
Exit code: that of CMD (128 + signal); 75 not acquired; 76 lock lost; 126 or 127 if CMD cannot be run.";

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run one node with temporary data on loopback
    Dev(DevArgs),
    /// Run one node of a cluster
    Serve(ServeArgs),
    /// Watch a real cluster lose its leader and keep its lock
    Demo(DemoArgs),
    /// Look at the cluster itself, and change it
    #[command(subcommand)]
    Cluster(ClusterVerb),
    /// Take a lock, or several at once; without --try or --wait, wait for it
    Acquire(AcquireArgs),
    /// Convert a held lock, shared to exclusive or back, without letting go
    Convert(ConvertArgs),
    /// Renew a lease or a session
    Renew(RenewArgs),
    /// Release locks by their fencing tokens
    Release(ReleaseArgs),
    /// End a grant whatever its holder says
    ForceRelease(ForceReleaseArgs),
    /// Show who holds a lock, who waits for it, and how it was last lost
    Get(GetArgs),
    /// List locks
    Ls(LsArgs),
    /// Ask whether a token is the current one of a lock
    Check(CheckArgs),
    /// Replace the value that a grant shows to others
    SetValue(SetValueArgs),
    /// Print what happens to locks and sessions, one event a line
    Watch(WatchArgs),
    /// Run a command while holding a lock, or several
    #[command(after_help = COMMAND_HELP)]
    Lock(LockArgs),
    /// Run a command while leading: wait to be elected, run it, resign
    #[command(after_help = COMMAND_HELP)]
    Elect(ElectArgs),
    /// Print who leads an election, as it changes
    Observe(ObserveArgs),
    /// Sessions: one keep-alive for many locks
    #[command(subcommand)]
    Session(SessionVerb),
    /// Measure a cluster under load, or beside other systems
    #[command(subcommand)]
    Bench(BenchVerb),
    /// Look inside a node's data
    #[command(subcommand)]
    Debug(DebugVerb),
    /// Print the completions of a shell
    Completions(CompletionsArgs),
    /// Print the manual, or write its pages into a folder
    Man(ManArgs),
    /// What `lock` runs its command under
    #[command(hide = true)]
    Reaper(ReaperArgs),
    /// What the reaper starts a command with that gets the terminal
    #[command(hide = true)]
    Launch(LaunchArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ClusterVerb {
    /// Show the members, the leader and how far each has applied the log
    Status(StatusArgs),
    /// Raise the format level, once every member runs a build that supports it
    RaiseLevel(RaiseLevelArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum SessionVerb {
    /// Open a session, and print its id; nobody keeps it alive but `keep-alive` and `renew`
    Open(SessionOpenArgs),
    /// Keep a session alive until it is lost or this ends; or, with --once, once
    KeepAlive(KeepAliveArgs),
    /// End a session, and every grant and wait under it
    Close(SessionArgs),
    /// List the open sessions
    Ls(SessionLsArgs),
    /// Show a session, with what it holds
    Get(SessionArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum DebugVerb {
    /// Print a stopped node's log: entries, outcomes, state hash
    Log(DebugLogArgs),
}

/// How to reach the cluster.
#[derive(Debug, Clone, Args)]
pub(crate) struct ReachArgs {
    /// Nodes to talk to, comma-separated
    #[arg(
        long,
        env = "LEASEHOLD_ENDPOINTS",
        default_value = "127.0.0.1:7400",
        value_delimiter = ',',
        value_name = "HOST:PORT"
    )]
    pub(crate) endpoints: Vec<String>,
    /// How long to try to reach the cluster and get an answer, waits in a queue apart
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "DUR")]
    pub(crate) timeout: Duration,
}

/// What every verb on locks takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClientArgs {
    #[command(flatten)]
    pub(crate) reach: ReachArgs,
    /// Namespace of the lock names
    #[arg(long, env = "LEASEHOLD_NAMESPACE", default_value = "default")]
    pub(crate) namespace: String,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct OutputArgs {
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,
}

/// How long to ask for a lock.
#[derive(Debug, Clone, Args)]
pub(crate) struct WaitArgs {
    /// Do not wait: if it is held, say so and exit 75
    #[arg(long = "try", conflicts_with = "wait")]
    pub(crate) try_once: bool,
    /// Wait at most this long, then exit 75
    #[arg(long, value_parser = duration, value_name = "DUR")]
    pub(crate) wait: Option<Duration>,
}

/// What others see of who asks.
#[derive(Debug, Clone, Args)]
pub(crate) struct SelfArgs {
    /// Who holds it, as others see it (default: user@host:pid, or the session's owner)
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    pub(crate) owner: Option<String>,
    /// A text that others see with the holder
    #[arg(long, value_name = "TEXT")]
    pub(crate) metadata: Option<String>,
    /// A value that others see on the grant, and that `set-value` replaces
    #[arg(long)]
    pub(crate) value: Option<String>,
}

/// How a lock is asked for.
#[derive(Debug, Clone, Args)]
pub(crate) struct TakeArgs {
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
    /// Share it with others that ask so (readers)
    #[arg(long, conflicts_with_all = ["permits", "limit"])]
    shared: bool,
    /// Take N of its --limit permits: a counting semaphore
    #[arg(long, requires = "limit", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    permits: Option<u32>,
    /// How many permits it has; all who use it must say the same
    #[arg(long, requires = "permits", value_name = "M", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Time to live between renewals (default: 30s)
    #[arg(long, value_parser = duration, value_name = "DUR", conflicts_with = "session")]
    ttl: Option<Duration>,
    /// Hang it on this session, as `session open` printed it
    #[arg(long, value_parser = session_id, value_name = "ID")]
    pub(crate) session: Option<SessionId>,
    /// Who within the session asks, for the search for deadlocks
    #[arg(long, requires = "session", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) actor: Option<String>,
    /// How long nobody gets it after this grant expired or was ended by force
    #[arg(long, value_parser = duration, value_name = "DUR")]
    pub(crate) lock_delay: Option<Duration>,
    #[command(flatten)]
    pub(crate) who: SelfArgs,
}

impl ReachArgs {
    pub(crate) fn options(&self) -> ClientOptions {
        let mut options = ClientOptions::new(self.endpoints.iter().map(|endpoint| endpoint.trim()));
        options.call_timeout = self.timeout;
        options.connect_timeout = options.connect_timeout.min(self.timeout);
        options
    }
}

impl ClientArgs {
    pub(crate) fn options(&self) -> ClientOptions {
        ClientOptions { namespace: self.namespace.clone(), ..self.reach.options() }
    }
}

impl WaitArgs {
    pub(crate) fn wait(&self) -> leasehold_client::Wait {
        use leasehold_client::Wait;
        match (self.try_once, self.wait) {
            (true, _) => Wait::Try,
            (false, Some(span)) => Wait::For(span),
            (false, None) => Wait::Forever,
        }
    }
}

impl TakeArgs {
    pub(crate) fn ttl(&self) -> Duration {
        self.ttl.unwrap_or(TTL_DEFAULT)
    }

    /// All of the locks, in the one mode.
    pub(crate) fn specs(&self, names: &[String]) -> Vec<leasehold_client::LockSpec> {
        use leasehold_client::{LockMode, LockSpec};
        let mode = match (self.shared, self.permits, self.limit) {
            (true, ..) => LockMode::Shared,
            (false, Some(permits), Some(limit)) => LockMode::Permits { permits, limit },
            (false, ..) => LockMode::Exclusive,
        };
        names.iter().map(|name| LockSpec { name: name.clone(), mode }).collect()
    }
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write for example 500ms, 30s or 2m"))
}

pub(crate) fn session_id(text: &str) -> Result<SessionId, leasehold_client::Error> {
    text.parse()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use leasehold_client::{LockMode, TTL_DEFAULT};

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    fn acquire(line: &[&str]) -> TakeArgs {
        let cli = Cli::try_parse_from(["leasehold", "acquire", "a"].iter().chain(line)).unwrap();
        let Verb::Acquire(args) = cli.verb else { panic!("acquire") };
        args.take
    }

    #[test]
    fn the_defaults_are_an_exclusive_lock_the_librarys_ttl_and_a_wait_without_end() {
        let take = acquire(&[]);
        assert_eq!(take.ttl(), TTL_DEFAULT);
        assert_eq!(take.wait.wait(), leasehold_client::Wait::Forever);
        assert_eq!(take.specs(&["a".into()])[0].mode, LockMode::Exclusive);
    }

    #[test]
    fn the_mode_is_that_of_all_names() {
        let specs = acquire(&["--permits", "2", "--limit", "5"]).specs(&["a".into(), "b".into()]);
        assert!(specs.iter().all(|spec| spec.mode == LockMode::Permits { permits: 2, limit: 5 }), "{specs:?}");
        assert_eq!(acquire(&["--shared"]).specs(&["a".into()])[0].mode, LockMode::Shared);
    }

    #[test]
    fn everything_after_the_dashes_belongs_to_the_command() {
        let cli = Cli::try_parse_from(["leasehold", "lock", "a", "--try", "--", "cmd", "--try", "-o", "json"]).unwrap();
        let Verb::Lock(args) = cli.verb else { panic!("lock") };
        assert_eq!(args.names, ["a"]);
        assert_eq!(args.command, ["cmd", "--try", "-o", "json"]);
    }
}
