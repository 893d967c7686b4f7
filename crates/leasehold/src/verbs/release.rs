//! `leasehold release`.

use leasehold_client::{Client, Token};
use serde::Serialize;

use super::reason_name;
use crate::cli::ReleaseArgs;
use crate::exit::{Exit, Failure};
use crate::output::{self, Format};

/// What `-o json` prints.
#[derive(Debug, Serialize)]
struct ReleaseJson {
    released: bool,
    reason: Option<String>,
}

pub(super) async fn run(args: ReleaseArgs) -> Result<Exit, Failure> {
    let client = Client::connect(args.client.options()).await?;
    let answer = client.release(&args.name, Token(args.token)).await?;
    let reason = answer.reason.and_then(reason_name);
    if !answer.released {
        let why = reason.as_deref().map_or(String::new(), |reason| format!(": {reason}"));
        output::note(&format!("leasehold: {} was no longer held under token {}{why}", args.name, args.token));
    }
    match args.output.output {
        Format::Json => output::json(&ReleaseJson { released: answer.released, reason })?,
        Format::Table => {
            let row = [args.name, answer.released.to_string(), reason.unwrap_or_default()];
            output::table(["LOCK", "RELEASED", "REASON"], [row]);
        }
    }
    Ok(Exit::Ok)
}
