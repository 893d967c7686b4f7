//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use leasehold_client::ClientOptions;

use crate::dev::DevArgs;
use crate::output::Format;
use crate::reaper::ReaperArgs;
use crate::serve::ServeArgs;

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

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run one node with temporary data on loopback
    Dev(DevArgs),
    /// Run one node of a cluster
    Serve(ServeArgs),
    /// Watch a real cluster lose its leader and keep its lock
    Demo(DemoArgs),
    /// Look at the cluster itself
    #[command(subcommand)]
    Cluster(ClusterVerb),
    /// Take a lock; without --try or --wait, wait for it
    Acquire(AcquireArgs),
    /// Renew a lease
    Renew(RenewArgs),
    /// Release a lock by its fencing token
    Release(ReleaseArgs),
    /// Show who holds a lock, and who waits for it
    Get(GetArgs),
    /// List locks
    Ls(LsArgs),
    /// Run a command while holding a lock
    Lock(LockArgs),
    /// Look inside a node's data
    #[command(subcommand)]
    Debug(DebugVerb),
    /// What `lock` runs its command under
    #[command(hide = true)]
    Reaper(ReaperArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ClusterVerb {
    /// Show the members, the leader and how far each has applied the log
    Status(StatusArgs),
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

/// How a lock is asked for.
#[derive(Debug, Clone, Args)]
pub(crate) struct TakeArgs {
    /// Do not wait: if it is held, say so and exit 75
    #[arg(long = "try", conflicts_with = "wait")]
    pub(crate) try_once: bool,
    /// Wait at most this long, then exit 75
    #[arg(long, value_parser = duration, value_name = "DUR")]
    pub(crate) wait: Option<Duration>,
    /// Time to live of the lease between renewals
    #[arg(long, default_value = "30s", value_parser = duration, value_name = "DUR")]
    pub(crate) ttl: Duration,
    /// Who holds it, as others see it (default: user@host:pid)
    #[arg(long)]
    pub(crate) owner: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct AcquireArgs {
    /// The lock
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) take: TakeArgs,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct LockArgs {
    /// The lock
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) take: TakeArgs,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    /// The command and its arguments; no shell is involved
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct RenewArgs {
    /// The lease, as acquire printed it
    pub(crate) lease: String,
    /// Let it live this long from now (default: the ttl that it has)
    #[arg(long, value_parser = duration, value_name = "DUR")]
    pub(crate) ttl: Option<Duration>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ReleaseArgs {
    /// The lock
    pub(crate) name: String,
    /// Its fencing token, as acquire printed it
    pub(crate) token: u64,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// The lock
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// Only locks whose names begin with this
    #[arg(default_value = "")]
    pub(crate) prefix: String,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) reach: ReachArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Nodes to start
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(3..=9))]
    pub(crate) nodes: u64,
    /// End when the demonstration is over, instead of leaving the cluster running
    #[arg(long)]
    pub(crate) exit: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DebugLogArgs {
    /// The node's data folder; the node must not be running
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
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

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write for example 500ms, 30s or 2m"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use leasehold_client::TTL_DEFAULT;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_default_ttl_is_the_librarys() {
        let cli = Cli::try_parse_from(["leasehold", "acquire", "a"]).unwrap();
        let Verb::Acquire(args) = cli.verb else { panic!("acquire") };
        assert_eq!(args.take.ttl, TTL_DEFAULT);
        assert_eq!(args.take.wait, None);
    }

    #[test]
    fn everything_after_the_dashes_belongs_to_the_command() {
        let cli = Cli::try_parse_from(["leasehold", "lock", "a", "--try", "--", "cmd", "--try", "-o", "json"]).unwrap();
        let Verb::Lock(args) = cli.verb else { panic!("lock") };
        assert_eq!(args.names, ["a"]);
        assert_eq!(args.command, ["cmd", "--try", "-o", "json"]);
    }
}
