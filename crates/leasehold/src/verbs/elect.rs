//! `leasehold elect NAME -- CMD`: wait to lead, run a command while leading, resign.

use std::ffi::OsString;
use std::time::Duration;

use leasehold_client::{LockSpec, TTL_DEFAULT};

use super::lock::{Campaign, run_under};
use crate::cli::{ClientArgs, SelfArgs, WaitArgs, duration};
use crate::exit::{Exit, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct ElectArgs {
    /// The election: the name of its lock
    name: String,
    #[command(flatten)]
    wait: WaitArgs,
    /// Time to live of the leadership between renewals (default: 30s)
    #[arg(long, value_parser = duration, value_name = "DUR")]
    ttl: Option<Duration>,
    #[command(flatten)]
    who: SelfArgs,
    #[command(flatten)]
    client: ClientArgs,
    /// The command and its arguments; no shell is involved
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

pub(super) async fn run(args: ElectArgs) -> Result<Exit, Failure> {
    let ElectArgs { name, wait, ttl, who, client, command } = args;
    // A leader is who holds the lock of the election's name, exclusively, in a session.
    let campaign = Campaign {
        title: format!("the leadership of {name}"),
        locks: vec![LockSpec::exclusive(name)],
        wait: wait.wait(),
        ttl: ttl.unwrap_or(TTL_DEFAULT),
        session: None,
        actor: None,
        lock_delay: None,
        who,
        client,
        command,
    };
    run_under(campaign).await
}
