//! `leasehold observe`: who leads, as it changes.

use leasehold_client::{Client, Leader};
use serde::Serialize;

use crate::cli::{ClientArgs, OutputArgs};
use crate::exit::{Exit, Failure};
use crate::output::{self, Format, ValueJson, printable, value_text};

#[derive(Debug, clap::Args)]
pub(crate) struct ObserveArgs {
    /// The election: the name of its lock
    name: String,
    /// End after so many leaders or values
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    events: Option<u64>,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What `-o json` prints.
#[derive(Debug, Serialize)]
struct LeaderJson<'a> {
    name: &'a str,
    token: String,
    owner: &'a str,
    lease: &'a str,
    metadata: &'a str,
    version: u64,
    #[serde(flatten)]
    value: ValueJson,
}

pub(super) async fn run(args: ObserveArgs) -> Result<Exit, Failure> {
    let client = Client::connect(args.client.options()).await?;
    let mut leaders = client.election(&args.name).observe();
    let mut left = args.events;
    while left != Some(0) {
        let Some(leader) = leaders.next().await else { break };
        let leader = leader?;
        let read = match args.output.output {
            Format::Json => output::json(&json(&args.name, &leader))?,
            Format::Table => output::data(&line(&args.name, &leader)),
        };
        if !read {
            break;
        }
        left = left.map(|left| left - 1);
    }
    Ok(Exit::Ok)
}

fn json<'a>(name: &'a str, leader: &'a Leader) -> LeaderJson<'a> {
    let Leader { token, owner, lease, metadata, value, version } = leader;
    let (token, value) = (token.to_string(), value.as_slice().into());
    LeaderJson { name, token, owner, lease: lease.as_str(), metadata, version: *version, value }
}

fn line(name: &str, leader: &Leader) -> String {
    let Leader { token, owner, value, version, .. } = leader;
    let (name, owner, value) = (printable(name), printable(owner), printable(&value_text(value)));
    format!("{name}  leader {owner}  token {token}  version {version}  {value}").trim_end().to_owned()
}
