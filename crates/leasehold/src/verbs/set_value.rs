//! `leasehold set-value`: what a grant shows to others.

use leasehold_client::{Client, Token, ValueSet};
use serde::Serialize;

use super::{because, reason_name};
use crate::cli::{ClientArgs, OutputArgs};
use crate::exit::{Exit, Failure};
use crate::output::{self, Format, note, printable};

#[derive(Debug, clap::Args)]
pub(crate) struct SetValueArgs {
    /// The lock
    name: String,
    /// The fencing token of the grant that carries the value
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    token: u64,
    /// The new value
    value: String,
    /// The version that it replaces: a grant begins with 0, and each change adds one
    #[arg(long)]
    version: u64,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What `-o json` prints.
#[derive(Debug, Serialize)]
struct SetValueJson {
    set: bool,
    /// In force now; absent where the grant has ended.
    version: Option<u64>,
    reason: Option<String>,
}

pub(super) async fn run(args: SetValueArgs) -> Result<Exit, Failure> {
    let SetValueArgs { name, token, value, version, client, output } = args;
    let client = Client::connect(client.options()).await?;
    let answer = client.set_value(&name, Token(token), version, value.as_bytes()).await.map_err(|error| {
        let Failure { exit, message } = error.into();
        // Here it is no flag.
        Failure::new(exit, message.strip_prefix("--value").map(|rest| format!("VALUE{rest}")).unwrap_or(message))
    })?;
    let shown = printable(&name);
    let json = match answer {
        ValueSet::Set { version } => SetValueJson { set: true, version: Some(version), reason: None },
        ValueSet::Conflict { version: current } => {
            note(&format!("leasehold: the value of {shown} has version {current} by now, not {version}"));
            SetValueJson { set: false, version: Some(current), reason: None }
        }
        ValueSet::NotHeld { reason } => {
            note(&format!("leasehold: {shown} is no longer held under token {token}{}", because(reason)));
            SetValueJson { set: false, version: None, reason: reason.and_then(reason_name) }
        }
    };
    let set = json.set;
    match output.output {
        Format::Json => {
            output::json(&json)?;
        }
        Format::Table => {
            let version = json.version.map_or(String::new(), |version| version.to_string());
            output::table(["LOCK", "SET", "VERSION"], [[name, set.to_string(), version]]);
        }
    }
    Ok(if set { Exit::Ok } else { Exit::Refused })
}
