//! `leasehold ls`.

use leasehold_client::{Client, LockInfo};

use super::locks::{LockJson, mode_text};
use crate::cli::{ClientArgs, OutputArgs};
use crate::exit::{Exit, Failure};
use crate::output::{self, Format, span_ms};

#[derive(Debug, clap::Args)]
pub(crate) struct LsArgs {
    /// Only locks whose names begin with this
    #[arg(default_value = "")]
    prefix: String,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) async fn run(args: LsArgs) -> Result<Exit, Failure> {
    let client = Client::connect(args.client.options()).await?;
    let locks = client.list(&args.prefix).await?;
    match args.output.output {
        Format::Json => {
            output::json(&locks.iter().map(LockJson::from).collect::<Vec<_>>())?;
        }
        Format::Table => {
            output::table(["LOCK", "MODE", "OWNER", "TOKEN", "LEFT", "WAITERS"], locks.iter().map(row));
        }
    }
    Ok(Exit::Ok)
}

fn row(lock: &LockInfo) -> [String; 6] {
    let none = || "-".to_owned();
    let (name, waiters) = (lock.name.clone(), lock.waiter_count.to_string());
    match lock.holders.as_slice() {
        [] if lock.delay_left_ms > 0 => {
            [name, "delayed".to_owned(), none(), none(), span_ms(lock.delay_left_ms), waiters]
        }
        [] => [name, none(), none(), none(), none(), waiters],
        [one] => {
            let mode = mode_text(one.mode(), one.permits, one.limit);
            [name, mode, one.owner.clone(), one.token.to_string(), span_ms(one.left_ms), waiters]
        }
        [first, ..] => {
            let taken: u32 = lock.holders.iter().map(|holder| holder.permits).sum();
            let mode = mode_text(first.mode(), taken, first.limit);
            [name, mode, format!("{} holders", lock.holder_count), none(), none(), waiters]
        }
    }
}
