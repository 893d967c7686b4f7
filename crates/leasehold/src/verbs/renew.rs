//! `leasehold renew`.

use leasehold_client::{Client, LeaseId, Renewed};
use serde::Serialize;

use super::{reason_name, whole_millis};
use crate::cli::RenewArgs;
use crate::exit::{Exit, Failure};
use crate::output::{self, Format};

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
                Format::Json => output::json(&RenewJson { lease: lease.as_str(), ttl_ms: whole_millis(ttl) })?,
                Format::Table => output::table(["LEASE", "TTL"], [[lease.to_string(), output::span(ttl)]]),
            }
            Ok(Exit::Ok)
        }
        Renewed::Ended { reason } => {
            let reason = reason.and_then(reason_name).map_or(String::new(), |reason| format!(": {reason}"));
            Err(Failure::new(Exit::Refused, format!("lease {lease} has ended{reason}")))
        }
    }
}
