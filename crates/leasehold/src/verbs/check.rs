//! `leasehold check`: is this the current token?

use leasehold_client::{Client, Token};
use serde::Serialize;

use super::locks::{LossJson, loss_text};
use super::mode_name;
use crate::cli::{ClientArgs, OutputArgs};
use crate::exit::{Exit, Failure};
use crate::output::{self, Format, note, printable, span_ms};

#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// The lock
    name: String,
    /// A fencing token
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    token: u64,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What `-o json` prints.
#[derive(Debug, Serialize)]
struct CheckJson<'a> {
    current: bool,
    mode: Option<String>,
    left_ms: u64,
    lost: Option<LossJson<'a>>,
    revision: u64,
}

pub(super) async fn run(args: CheckArgs) -> Result<Exit, Failure> {
    let client = Client::connect(args.client.options()).await?;
    let answer = client.check_token(&args.name, Token(args.token)).await?;
    let mode = answer.current.then(|| mode_name(answer.mode()));
    if !answer.current {
        let why = answer.loss.as_ref().map_or(String::new(), |loss| format!("; {}", loss_text(loss)));
        note(&format!("leasehold: {} is not held under token {}{why}", printable(&args.name), args.token));
    }
    match args.output.output {
        Format::Json => {
            let (left_ms, lost) = (answer.left_ms, answer.loss.as_ref().map(Into::into));
            output::json(&CheckJson { current: answer.current, mode, left_ms, lost, revision: answer.revision })?;
        }
        Format::Table => {
            let (current, left) = if answer.current { ("yes", span_ms(answer.left_ms)) } else { ("no", String::new()) };
            let row = [args.name, args.token.to_string(), current.to_owned(), mode.unwrap_or_default(), left];
            output::table(["LOCK", "TOKEN", "CURRENT", "MODE", "LEFT"], [row]);
        }
    }
    Ok(if answer.current { Exit::Ok } else { Exit::Refused })
}
