//! `leasehold force-release`.

use leasehold_client::{Client, Token};
use serde::Serialize;

use super::{because, reason_name};
use crate::cli::{ClientArgs, OutputArgs};
use crate::exit::{Exit, Failure};
use crate::output::{self, Format, note, printable};

#[derive(Debug, clap::Args)]
pub(crate) struct ForceReleaseArgs {
    /// The lock
    name: String,
    /// The fencing token of the grant to end, as `get` shows it: no later grant is ended
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    token: u64,
    /// Why: recorded, and told to the one who loses it
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What `-o json` prints.
#[derive(Debug, Serialize)]
struct ForceReleaseJson {
    released: bool,
    reason: Option<String>,
}

pub(super) async fn run(args: ForceReleaseArgs) -> Result<Exit, Failure> {
    let client = Client::connect(args.client.options()).await?;
    let answer = client.force_release(&args.name, Token(args.token), &args.reason).await?;
    let reason = answer.reason.and_then(reason_name);
    if !answer.released {
        let (name, why) = (printable(&args.name), because(answer.reason));
        note(&format!("leasehold: {name} was no longer held under token {}{why}", args.token));
    }
    match args.output.output {
        Format::Json => {
            output::json(&ForceReleaseJson { released: answer.released, reason })?;
        }
        Format::Table => {
            let row = [args.name, answer.released.to_string(), reason.unwrap_or_default()];
            output::table(["LOCK", "RELEASED", "REASON"], [row]);
        }
    }
    Ok(Exit::Ok)
}
