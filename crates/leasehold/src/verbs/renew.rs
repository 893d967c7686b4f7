//! `leasehold renew`.

use std::time::Duration;

use leasehold_client::{Client, LeaseId, Renewed};
use serde::Serialize;

use super::{because, whole_millis};
use crate::cli::{ClientArgs, OutputArgs, duration};
use crate::exit::{Exit, Failure};
use crate::output::{self, Format};

#[derive(Debug, clap::Args)]
pub(crate) struct RenewArgs {
    /// The lease, as acquire printed it; or a session
    lease: String,
    /// Let it live this long from now (default: the ttl that it has)
    #[arg(long, value_parser = duration, value_name = "DUR")]
    ttl: Option<Duration>,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What `-o json` prints.
#[derive(Debug, Serialize)]
struct RenewJson<'a> {
    lease: &'a str,
    ttl_ms: u64,
}

pub(super) async fn run(args: RenewArgs) -> Result<Exit, Failure> {
    let client = Client::connect(args.client.options()).await?;
    let lease = LeaseId(args.lease);
    match client.renew(&lease, args.ttl).await? {
        Renewed::Alive { ttl } => {
            match args.output.output {
                Format::Json => {
                    output::json(&RenewJson { lease: lease.as_str(), ttl_ms: whole_millis(ttl) })?;
                }
                Format::Table => output::table(["LEASE", "TTL"], [[lease.to_string(), output::span(ttl)]]),
            }
            Ok(Exit::Ok)
        }
        Renewed::Ended { reason } => {
            Err(Failure::new(Exit::Refused, format!("lease {lease} has ended{}", because(reason))))
        }
    }
}
